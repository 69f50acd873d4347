"""
Ctrl-C at any moment of a run, on an API server in one file: nothing stays, or the journal names what does.

The signal is a real one. It comes while the server has a request of ours in hand, at each request in turn.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench import interruption
from bench.cluster import sandbox
from bench.cluster.client import Cluster
from bench.cluster.journal import Journal, leftovers
from bench.evidence.reader import load_run
from bench.evidence.store import RunStore, ScenarioStore
from bench.model.evidence import Fidelity, Outcome, Plan, RunRecord
from bench.model.inventory import Inventory
from bench.model.measurement import Reading
from bench.rig.cluster_rig import ClusterRig, Surroundings
from bench.rig.load_files import LoadPlan
from bench.rig.load_process import LoadProcess
from bench.runner import Runner
from tests.unit.cluster.fake_api import FakeApi, serving
from tests.unit.test_runner import Listener, registry_of, step, wait_of

pytestmark = pytest.mark.timeout(120)


class SignallingApi(FakeApi):
    """Sends this process a signal while it has the request of that number in hand."""

    def __init__(self, *at: int, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.at = at
        self.number = number

    def take(self, method: str, path: str) -> None:
        super().take(method, path)
        if len(self.requests) in self.at:
            os.kill(os.getpid(), self.number)

    def remove(self, path: str) -> None:
        super().remove(path)
        for each in [each for each in self.objects if each.startswith(f"{path}/") and path not in self.objects]:
            super().remove(each)


@dataclass
class Ended:
    """What became of a run."""

    api: FakeApi
    outcomes: tuple[Outcome, ...]
    folder: Path
    told: list[int] = field(default_factory=list)

    @property
    def journaled(self) -> list[str]:
        return [ref.name for ref in leftovers(self.folder / "journal.jsonl")]

    @property
    def there(self) -> list[str]:
        ours = [each for each in self.api.objects.values() if each["kind"] != "Lease"]
        return [each["metadata"]["name"] for each in ours if sandbox.RUN_LABEL in each["metadata"].get("labels", {})]


def pod(namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": {}}


def trial(rig: ClusterRig) -> Iterator[Reading]:
    """Creates, follows, waits, removes, and measures something between all of it."""
    namespace = rig.namespace("trial")
    pods = rig.follow("v1", "pods", namespace=namespace)
    first, second = pod(namespace, "first"), pod(namespace, "second")
    rig.create(first)
    yield wait_of(0.1)
    rig.wait_until(first, lambda found: True, within_seconds=5.0)
    rig.create(second)
    rig.observe(pods, lambda present: len(present) == 2, 5.0)
    rig.remove(first)
    yield wait_of(0.2)
    rig.observe(pods, lambda present: False, 0.05)
    yield wait_of(0.3)


def executed(folder: Path, api: FakeApi, script: Callable[[ClusterRig], Iterator[Reading]] = trial) -> Ended:
    """The script as the one scenario of a run, signals heard as `bench run` hears them."""
    record = RunRecord(
        run_id="r1",
        fidelity=Fidelity.EMBEDDED,
        target="t",
        bench_version="0",
        server_version="v1.37.1",
        cluster_uid="u",
        started=datetime.now(UTC),
    )
    store = RunStore.create(folder, record)
    told: list[int] = []
    with serving(api) as cluster:

        def open_rig(_: Any, kept: ScenarioStore) -> ClusterRig:
            return ClusterRig(around(cluster, kept.folder, store.folder / "journal.jsonl"))

        runner = Runner(registry=registry_of("waits", script), store=store, rig_of=open_rig, narrator=Listener())
        with interruption.heard(told.append):
            outcomes = tuple(runner.execute(Plan(steps=(step(), step()))))
    return Ended(api, outcomes, store.folder, told)


def around(cluster: Cluster, folder: Path, journal: Path) -> Surroundings:
    return Surroundings(
        cluster=cluster,
        prometheus=None,
        inventory=Inventory(server_version="v1.37.1", cluster_uid="u"),
        gateway_url="",
        run_id="r1",
        folder=folder,
        journal=Journal(journal),
    )


MOMENTS = 14
"""Requests of the script, its clean-up's among them; a few more than there are do no harm."""


@pytest.mark.parametrize("moment", range(1, MOMENTS + 1))
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_a_signal_at_any_request_nothing_stays(tmp_path: Path, moment: int, number: int) -> None:
    ended = executed(tmp_path, SignallingApi(moment, number=number))

    (outcome,) = ended.outcomes  # the second step was not begun
    assert ended.there == []
    assert ended.journaled == []
    assert outcome.warnings == ()
    kept = load_run(ended.folder).readings("waits", [])
    assert len(kept) == 3 if outcome.is_complete else outcome.reason == "the run was interrupted"


@pytest.mark.parametrize("moment", range(2, MOMENTS + 1))
def test_after_two_signals_at_any_request_the_journal_names_what_stays(tmp_path: Path, moment: int) -> None:
    api = SignallingApi(moment - 1, moment)
    api.holds.add("/api/v1/namespaces/bench-r1-trial")

    ended = executed(tmp_path, api)

    (outcome,) = ended.outcomes
    assert set(ended.there) <= set(ended.journaled)
    if ended.there:
        assert outcome.warnings == ("left behind: Namespace bench-r1-trial: its removal was interrupted",)
        assert ended.told[-1] == 2


def test_what_can_not_be_removed_is_told_as_soon_as_the_user_gives_up(tmp_path: Path) -> None:
    api = SignallingApi()
    api.holds.add("/api/v1/namespaces/bench-r1-trial")
    began = time.monotonic()

    def signals_twice(rig: ClusterRig) -> Iterator[Reading]:
        rig.namespace("trial")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
        yield wait_of(0.1)

    ended = executed(tmp_path, api, signals_twice)

    assert ended.journaled == ["bench-r1-trial"]
    assert "its removal was interrupted" in ended.outcomes[0].warnings[0]
    assert time.monotonic() - began < 10.0 < sandbox.REMOVAL_SECONDS


def test_a_third_signal_ends_the_process_where_it_is(tmp_path: Path) -> None:
    def signals_thrice(rig: ClusterRig) -> Iterator[Reading]:
        yield wait_of(0.1)
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        yield wait_of(0.2)

    ended = executed(tmp_path, SignallingApi(), signals_thrice)

    assert load_run(ended.folder).readings("waits", []) == (wait_of(0.1),)
    assert ended.outcomes[0].reason == "the run was interrupted"


def test_other_threads_are_not_broken_off() -> None:
    seen: list[bool] = []

    def waits() -> None:
        seen.append(interruption.wait(threading.Event(), 0.0))

    with interruption.heard(lambda _: None):
        signal.raise_signal(signal.SIGINT)
        thread = threading.Thread(target=waits)
        thread.start()
        thread.join()
        with pytest.raises(KeyboardInterrupt):
            interruption.check()

    assert seen == [False]


def test_pythons_own_handling_is_back_after_the_block() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    with interruption.heard(lambda _: None):
        pass

    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    interruption.check()


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and answers none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


def test_a_load_hears_no_ctrl_c_of_the_terminal_and_ends_with_the_bench(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from bench.rig.load_files import LoadPlan; "
        "from bench.rig.load_process import LoadProcess; "
        "load = LoadProcess(LoadPlan(url=sys.argv[1], steps='5:60', arguments=('--drain', '1')), Path(sys.argv[2])); "
        "print(load._process.pid, os.getsid(load._process.pid) != os.getsid(0), flush=True); time.sleep(60)"
    )
    with silent_server() as url:
        bench = subprocess.Popen([sys.executable, "-c", program, url, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert bench.stdout is not None
        pid, has_own_session = bench.stdout.readline().split()
        bench.kill()
        bench.wait()
        bench.stdout.close()

        descriptor = os.pidfd_open(int(pid))
        is_ended = bool(select.select([descriptor], [], [], 30.0)[0])
        os.close(descriptor)

    assert has_own_session == "True"
    assert is_ended


def test_a_load_that_was_asked_to_stop_is_asked_once(tmp_path: Path) -> None:
    with silent_server() as url, interruption.heard(lambda _: None):
        load = LoadProcess(LoadPlan(url=url, steps="5:60", arguments=("--drain", "1")), tmp_path)
        while not load.now():
            interruption.wait(threading.Event(), 0.05)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            load.finish(within_seconds=60.0)
        with interruption.cleaning():
            load.stop()

    assert any(reading.name == "request_lateness_seconds" for reading in load.readings({}))
