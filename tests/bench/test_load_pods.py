"""Load from pods: their programs as processes of this machine, asked as the API server's proxy would ask them."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchBroke, Unreachable
from bench.load.clocks import ClockOffset
from bench.model.measurement import Measurement
from bench.model.scenario import LoadWorkers
from bench.rig.load_files import LoadPlan
from bench.rig.load_pods import FOLDER, LoadPods, PodsPlan, manifests, on_our_clock, packed
from tests.unit.load.faulty_server import FaultyServer, faulty_server

WORKERS = 2
BETWEEN_LOOKS_SECONDS = 0.02
"""So that the processes that are waited for get the processor."""


class Proxying:
    """A cluster that does one thing: passes POSTs on to a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def request(self, method: str, path: str, *, body: Mapping[str, Any]) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/{path.rpartition('/proxy/')[2]}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), method=method)) as told:
                return dict(json.load(told))
        except OSError as error:
            raise Unreachable(str(error)) from error


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@pytest.fixture(scope="module")
def pods() -> Iterator[LoadPods]:
    http, joined = free_ports()
    plan = PodsPlan(namespace="n", workers=LoadWorkers(count=WORKERS))
    told = {"BENCH_LOAD_HTTP_PORT": str(http), "BENCH_LOAD_PORT": str(joined), "BENCH_LOAD_TOKEN": plan.token}
    told |= {"BENCH_LOAD_WORKERS": str(WORKERS), "BENCH_LOAD_MASTER": "127.0.0.1"}
    command = [sys.executable, "-m", "bench.load.pod"]
    with contextlib.ExitStack() as stack:
        for role in ("master", *["worker"] * WORKERS):
            process = subprocess.Popen([*command, role], env=os.environ | told)
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield LoadPods(Proxying(http), plan, "load-master-0")  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with faulty_server() as server:
        yield server


def begin(pods: LoadPods, plan: LoadPlan, folder: Path) -> Any:
    """As soon as the master listens; bounded by the test's own time limit."""
    while True:
        with contextlib.suppress(Unreachable):
            return pods.begin(plan, folder)
        threading.Event().wait(BETWEEN_LOOKS_SECONDS)


@pytest.mark.timeout(30)
def test_two_workers_send_one_schedule_and_tell_it_together(
    pods: LoadPods, server: FaultyServer, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{server.port}/good"
    arguments = ("--arrivals", "constant", "--backend-header", "x-backend")
    load = begin(pods, LoadPlan(url=url, steps="40:1", arguments=arguments), tmp_path)
    load.finish(within_seconds=20)
    told = json.loads((tmp_path / "load.json").read_text())
    readings = {each.name: each for each in load.readings({})}

    assert told["workers"] == WORKERS
    assert told["requests"]["ok"] == told["requests"]["planned"] == 40
    # Both share this machine's clock, so its true offset is none.
    assert all(abs(clock["offset_seconds"]) <= clock["bound_seconds"] for clock in told["clock"]["workers"])
    assert abs(told["clock"]["master"]["offset_seconds"]) <= told["clock"]["master"]["bound_seconds"]
    assert isinstance(readings["request_ttft_seconds"], Measurement)
    assert readings["request_ttft_seconds"].values.size == 40

    # The same pods send the next load, and one that is ended early is still told.
    folder = tmp_path / "next"
    folder.mkdir()
    second = pods.begin(LoadPlan(url=url, steps="20:60"), folder)
    while not second.now().get("finished"):
        threading.Event().wait(BETWEEN_LOOKS_SECONDS)
    second.stop()
    told = json.loads((folder / "load.json").read_text())
    assert told["interrupted"]
    assert 0 < told["requests"]["ok"] == told["requests"]["sent"] < told["requests"]["planned"]


@pytest.mark.timeout(30)
def test_an_order_that_is_refused_is_the_benchs_fault_with_the_reason(pods: LoadPods, tmp_path: Path) -> None:
    load = begin(pods, LoadPlan(url="http://192.0.2.1", steps="1:1"), tmp_path)
    load.finish(within_seconds=20)

    with pytest.raises(BenchBroke, match="is another machine"):
        list(load.readings({}))


@pytest.mark.timeout(30)
def test_without_the_token_the_master_hears_nothing(pods: LoadPods, tmp_path: Path, server: FaultyServer) -> None:
    stranger = LoadPods(pods.cluster, PodsPlan(namespace="n", workers=LoadWorkers()), "load-master-0")
    begin(pods, LoadPlan(url=f"http://127.0.0.1:{server.port}/good", steps="10:1"), tmp_path).stop()

    with pytest.raises(Unreachable, match="403"):
        stranger.ask("state", {})


def test_files_that_a_load_reads_go_along(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("CA")
    (tmp_path / "times").write_text("0.1")

    words, files = packed(["--cacert", f"{tmp_path}/ca", "--arrivals", f"trace:{tmp_path}/times", "--rate", "1"])

    assert words == ["--cacert", f"{FOLDER}/1", "--arrivals", f"trace:{FOLDER}/3", "--rate", "1"]
    assert files == {"1": "Q0E=", "3": "MC4x"}


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(BenchBroke, match="/nowhere"):
        packed(["--key=/nowhere"])


def test_the_origin_is_put_on_our_clock() -> None:
    told = on_our_clock({"clock": {"origin_unix_seconds": 100.0}}, ClockOffset(offset_ns=2 * 10**9, bound_ns=10**6))

    assert told["clock"]["origin_unix_seconds"] == 98.0
    assert told["clock"]["master"] == {"offset_seconds": 2.0, "bound_seconds": 0.001}


def test_the_token_lies_in_the_secret_alone() -> None:
    plan = PodsPlan(namespace="n", workers=LoadWorkers(count=3))
    secret, *others = manifests(plan)
    (workers,) = [each for each in others if each["metadata"]["name"] == "load-workers"]

    assert secret["stringData"]["token"] == plan.token
    assert plan.token not in json.dumps(others)
    assert (workers["spec"]["completions"], workers["spec"]["completionMode"]) == (3, "Indexed")
