"""The measurements behind the lab's budgets: each a function that gives the single values, in base units."""

import json
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from tests.contract.pods import pod, shell
from tests.contract.target import ConditionNotMet, Object, Target
from tests.lab.leftovers import interfaces, now_ticks, seconds_until_nothing_is_left, take_traces
from tests.lab.running import RunningLab, bench, running_lab, unique_name

IDLE_SECONDS = 30.0
SETTLE_SECONDS = 20.0
"""After the last service is Ready: controllers finish their first rounds, Prometheus makes its first scrapes."""
GONE_SECONDS = 30.0
PROMPT = 'trap "exit 0" TERM; while true; do sleep 3600 & wait $!; done'
"""A program that ends at once when it is asked to, so that its own time is next to nothing."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long coming up, going down and dying took, a value a lab."""

    up_seconds: list[float]
    down_seconds: list[float]
    killed_seconds: list[float]


def lifetimes(rounds: int, say: Callable[[str], None]) -> Lifetimes:
    """Labs of the default size, one after another: each comes up, and ends by `down` or by a kill of its supervisor."""
    up: list[float] = []
    down: list[float] = []
    killed: list[float] = []
    for number in range(2 * rounds):
        before = interfaces()
        with running_lab(unique_name("bench")) as lab:
            up.append(lab.up_seconds)
            traces = take_traces(lab, before)
            began, end_ticks = time.monotonic(), now_ticks()
            if number % 2 == 0:
                ended = bench("lab", "down", "--name", lab.name)
                assert ended.returncode == 0, ended.stderr
            else:
                os.kill(lab.pid, signal.SIGKILL)
            seconds_until_nothing_is_left(traces, end_ticks, within_seconds=GONE_SECONDS)
            (down if number % 2 == 0 else killed).append(time.monotonic() - began)
        gone = (down, killed)[number % 2][-1]
        say(f"lab {number + 1} of {2 * rounds}: up after {up[-1]:.2f} s, gone after {gone:.2f} s")
    return Lifetimes(up_seconds=up, down_seconds=down, killed_seconds=killed)


# what the lab uses


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """What all processes of a lab use while nothing is asked of it."""

    cores: float
    resident_bytes: int
    """Every process's resident memory; a page that several share counts for each."""
    proportional_bytes: int
    """The same, each shared page counted once."""
    by_program: dict[str, tuple[float, int]]
    """Program → cores, resident bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    parent: int
    program: str
    cpu_seconds: float


def _read_processes() -> dict[int, _Process]:
    """CPU time with that of children which ended and were waited for: nothing that ran in between is lost."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            head, _, tail = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
        except OSError:
            continue
        fields = tail.split()
        cpu_seconds = sum(int(field) for field in fields[11:15]) / _TICKS
        found[int(name)] = _Process(parent=int(fields[1]), program=head.partition("(")[2], cpu_seconds=cpu_seconds)
    return found


def _tree(table: dict[int, _Process], root: int) -> set[int]:
    found, added = {root} & set(table), {root}
    while added:
        added = {pid for pid, process in table.items() if process.parent in added} - found
        found |= added
    return found


def _memory(pid: int) -> tuple[int, int]:
    """Resident and proportional bytes."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0, 0
    kibibytes = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if line.endswith("kB")}
    return kibibytes.get("Rss", 0) * 1024, kibibytes.get("Pss", 0) * 1024


def idle(lab: RunningLab) -> Idle:
    """CPU over half a minute, memory at its end; the keeper, outside of the lab's namespaces, is not counted."""
    pause = threading.Event()
    pause.wait(SETTLE_SECONDS)
    before, began = _read_processes(), time.monotonic()
    pause.wait(IDLE_SECONDS)
    after, seconds = _read_processes(), time.monotonic() - began
    pids = _tree(after, lab.pid)
    by_program: dict[str, tuple[float, int]] = {}
    resident = proportional = 0
    for pid in pids:
        earlier = before[pid].cpu_seconds if pid in before else 0.0
        own_resident, own_proportional = _memory(pid)
        cores = max(0.0, after[pid].cpu_seconds - earlier) / seconds
        known_cores, known_bytes = by_program.get(after[pid].program, (0.0, 0))
        by_program[after[pid].program] = (known_cores + cores, known_bytes + own_resident)
        resident, proportional = resident + own_resident, proportional + own_proportional
    cores = sum(used for used, _ in by_program.values())
    return Idle(cores=cores, resident_bytes=resident, proportional_bytes=proportional, by_program=by_program)


# pods


class Receipts:
    """Changes of pods with the time at which a watch brought them."""

    def __init__(self, target: Target, namespace: str) -> None:
        self._queue: queue.Queue[tuple[float, str, Object]] = queue.Queue()
        self._closed = False
        since = target.listing("v1", "Pod", namespace)["metadata"]["resourceVersion"]
        told = target.events_since(since, "v1", "Pod", namespace, within_seconds=900)
        threading.Thread(target=self._read, args=(told,), daemon=True).start()

    def close(self) -> None:
        """Nobody asks any more; the watch ends with its lab."""
        self._closed = True

    def _read(self, told: Iterator[tuple[str, Object]]) -> None:
        try:
            for change, item in told:
                self._queue.put((time.monotonic(), change, item))
        except HTTPError:
            if not self._closed:
                raise

    def until(
        self, is_last: Callable[[str, Object], bool], *, within_seconds: float
    ) -> list[tuple[float, str, Object]]:
        """All changes up to the first for which `is_last` holds."""
        deadline = time.monotonic() + within_seconds
        taken = []
        while True:
            try:
                taken.append(self._queue.get(timeout=max(0.001, deadline - time.monotonic())))
            except queue.Empty:
                last = {item["metadata"]["name"]: item["status"] for _, _, item in taken}
                stuck = {name: status for name, status in last.items() if status.get("phase") != "Running"}
                raise ConditionNotMet(f"after {within_seconds:g} s of {len(last)} pods wait: {stuck}") from None
            if is_last(taken[-1][1], taken[-1][2]):
                return taken


def _first(changes: list[tuple[float, str, Object]], holds: Callable[[Object], Any]) -> float:
    return next(at for at, _, item in changes if holds(item))


@dataclass(frozen=True, slots=True, kw_only=True)
class PodTimes:
    """One value a pod."""

    running_seconds: list[float]
    """Bound to a node → Running, as a watch brings them."""
    started_seconds: list[float]
    """Bound, as a watch brings it → the program's process started, by the lab's own log."""
    gone_seconds: list[float]
    """Asked to end → gone."""


def pod_times(lab: RunningLab, target: Target, count: int) -> PodTimes:
    """Pods one after another, each alone: what the lab needs for one."""
    namespace = target.make_namespace()
    receipts = Receipts(target, namespace)
    running: list[float] = []
    gone: list[float] = []
    bound_at: dict[str, float] = {}
    gone_at: dict[str, float] = {}
    for number in range(count):
        made = target.create(pod(namespace, f"timed-{number}", shell(PROMPT), terminationGracePeriodSeconds=30))
        changes = receipts.until(lambda _, item: item["status"].get("phase") == "Running", within_seconds=60)
        bound_at[made["metadata"]["uid"]] = bound = _first(changes, lambda item: item["spec"].get("nodeName"))
        running.append(changes[-1][0] - bound)
        target.delete(made)
        changes = receipts.until(lambda change, _: change == "DELETED", within_seconds=60)
        gone_at[made["metadata"]["uid"]] = changes[-1][0]
        gone.append(changes[-1][0] - _first(changes, lambda item: "deletionTimestamp" in item["metadata"]))
    receipts.close()
    target.give_back(namespace)
    starts, ends = _told(lab, "container-started"), _told(lab, "container-ended")
    early = [uid for uid, at in gone_at.items() if uid not in ends or ends[uid] > at]
    assert not early, f"gone by the API while the program still ran: {early}"
    started = [starts[uid] - bound for uid, bound in bound_at.items()]
    return PodTimes(running_seconds=running, started_seconds=started, gone_seconds=gone)


def _told(lab: RunningLab, event: str) -> dict[str, float]:
    """Pod → when this first happened to it, by the monotonic clock that all processes of this machine share."""
    times: dict[str, float] = {}
    for line in lab.paths.truth.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        if told["event"] == event:
            times.setdefault(told["uid"], told["monotonic_seconds"])
    return times


def crowd_seconds(target: Target, count: int) -> float:
    """From the creation of a Deployment until the last of its pods runs."""
    namespace = target.make_namespace()
    receipts = Receipts(target, namespace)
    labels = {"app": "crowd"}
    spec = pod(namespace, "x", shell(PROMPT))["spec"] | {"restartPolicy": "Always"}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "crowd", "namespace": namespace},
        "spec": {
            "replicas": count,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    running: set[str] = set()

    def all_run(_: str, item: Object) -> bool:
        if item["status"].get("phase") == "Running":
            running.add(item["metadata"]["name"])
        return len(running) == count

    began = time.monotonic()
    target.create(manifest)
    changes = receipts.until(all_run, within_seconds=300)
    receipts.close()
    target.give_back(namespace)
    return changes[-1][0] - began


@contextmanager
def connected(lab: RunningLab, scratch: Path) -> Iterator[Target]:
    """The official client on a lab."""
    target = Target(lab.kubeconfig, scratch, strict=True)
    try:
        yield target
    finally:
        target.close()
