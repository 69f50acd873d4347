import json
import threading
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchBroke, Unreachable
from bench.model.measurement import Absent, Measurement, Reading
from bench.model.units import Unit
from bench.probes.in_pod import Teller, Ticks, parse
from bench.rig.cluster_rig import is_available
from bench.rig.load_files import LoadPlan
from bench.rig.load_process import LoadProcess
from bench.rig.polling import Poller

TEXT = """\
# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-1",pod="a"} 97
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-2"} 0
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-1"} 512
"""


def test_of_an_exporters_text_only_what_was_asked_for_is_kept() -> None:
    assert parse(TEXT, frozenset({"DCGM_FI_DEV_GPU_UTIL"})) == {"DCGM_FI_DEV_GPU_UTIL": {"GPU-1": 97.0, "GPU-2": 0.0}}


def test_samples_of_one_second_are_one_line_and_none_are_none() -> None:
    lines: list[str] = []
    teller = Teller(lines.append)
    teller.device([1.0, "GPU-1", 50, None, 70000, 12])
    teller.exporter([1.0, 1.1, {"m": {"GPU-1": 50.0}}])

    teller.flush()
    teller.flush()

    (line,) = lines
    assert json.loads(line)["device"] == [[1.0, "GPU-1", 50, None, 70000, 12]]


def test_ticks_after_a_slow_call_are_left_out_instead_of_made_up() -> None:
    stop = threading.Event()
    now = [0.0]
    calls: list[float] = []

    def call() -> None:
        calls.append(now[0])
        now[0] += 3.5 if len(calls) == 1 else 0.0
        if len(calls) == 3:
            stop.set()

    class Waiting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            now[0] += timeout or 0.0
            return stop.is_set()

    Ticks(Waiting(), clock=lambda: now[0]).run(1.0, call)

    assert calls == [0.0, 3.5, 4.5]


@pytest.mark.timeout(10)
def test_a_poll_that_never_succeeds_is_absent_with_its_commonest_reason() -> None:
    asked = threading.Semaphore(0)

    def refuse() -> float:
        asked.release()
        raise Unreachable("the adapter is away")

    with Poller(refuse, hertz=100.0) as poller:
        for _ in range(3):
            asked.acquire()
    reading = poller.reading("metrics_api_metric_value", Unit.METRIC_VALUE, "GET /apis")

    assert isinstance(reading, Absent)
    assert reading.reason == "the adapter is away"


@pytest.mark.timeout(10)
def test_what_was_polled_is_a_measurement_with_times_that_go_forward() -> None:
    asked = threading.Semaphore(0)

    def answer() -> float:
        asked.release()
        return 42.0

    with Poller(answer, hertz=200.0) as poller:
        for _ in range(3):
            asked.acquire()
    reading = poller.reading("metrics_api_metric_value", Unit.METRIC_VALUE, "GET /apis")

    assert isinstance(reading, Measurement)
    assert set(reading.values) == {42.0}
    assert list(reading.times_seconds) == sorted(reading.times_seconds)


def record(intended: float, **changes: Any) -> dict[str, Any]:
    told = {
        "intended_seconds": intended,
        "sent_seconds": intended + 0.001,
        "first_byte_seconds": intended + 0.2,
        "end_seconds": intended + 0.5,
        "error": None,
        "backend": "pod-a",
    }
    return {**told, **changes}


def told_of(tmp_path: Path, records: list[dict[str, Any]]) -> list[Reading]:
    """What a load process makes of the files that `bench load` wrote; the process itself refuses its arguments."""
    process = LoadProcess(LoadPlan(url="http://127.0.0.1:1", steps="nonsense"), tmp_path)
    process.finish(within_seconds=30)
    (tmp_path / "load.json").write_text(json.dumps({"clock": {"origin_unix_seconds": 1000.0}}))
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    return list(process.readings({"step": "1"}))


@pytest.mark.timeout(60)
def test_records_become_one_series_a_backend_in_the_order_of_their_intention(tmp_path: Path) -> None:
    records = [record(2.0), record(1.0, backend="pod-b"), record(0.5), record(3.0, error="status", backend=None)]

    readings = told_of(tmp_path, records)

    ttft = {
        each.labels["backend"]: (list(each.times_seconds), list(each.values.round(3)))
        for each in readings
        if isinstance(each, Measurement) and each.name == "request_ttft_seconds"
    }
    assert ttft == {"pod-a": ([1000.5, 1002.0], [0.2, 0.2]), "pod-b": ([1001.0], [0.2])}
    failed = [each for each in readings if each.name == "request_failed_total"]
    assert [each.labels for each in failed] == [{"step": "1", "error": "status"}]


@pytest.mark.timeout(60)
def test_a_generator_that_wrote_nothing_is_a_fault_of_the_bench_with_its_last_words(tmp_path: Path) -> None:
    process = LoadProcess(LoadPlan(url="http://127.0.0.1:1", steps="nonsense"), tmp_path)
    process.finish(within_seconds=30)

    with pytest.raises(BenchBroke, match=r"it said: .*nonsense"):
        list(process.readings({}))


def test_a_deployment_whose_change_was_not_yet_seen_is_not_available() -> None:
    deployment = {
        "metadata": {"generation": 2},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, "availableReplicas": 1},
    }

    assert not is_available(deployment)
    assert is_available({**deployment, "metadata": {"generation": 1}})
