"""What a probe pod tells is heard once, however often its log breaks off."""

import itertools
import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from bench.errors import NotFound, Unreachable
from bench.model.measurement import Absent, Measurement
from bench.rig.probe_pods import REPORTS, ProbePlan, ProbePods

PLAN = ProbePlan(namespace="n", image="i", exporters={"node": ""}, metrics=(), seconds=60.0)


def line(at: float) -> bytes:
    return json.dumps({"device": [[at, "GPU-1", 50, None, None, None, None, None]]}).encode() + b"\n"


class Answer:
    """A log that ends as it is told."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces

    def stream(self, amt: int | None) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


class Logs:
    """A cluster of which nothing is asked but a log, answered in turn."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self._answers = list(answers)

    def stream(self, path: str, **_: Any) -> Answer:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def heard(*answers: Answer | Exception) -> Any:
    pods: Any = ProbePods(Logs(*answers), PLAN)  # type: ignore[arg-type]
    pods.listen("node").join()
    return next(each for each in pods.readings() if each.name == "gpu_busy_time_ratio")


@pytest.mark.timeout(20)
def test_a_log_that_breaks_off_is_taken_up_again_and_no_line_counts_twice() -> None:
    reading = heard(
        Answer(line(1.0), line(2.0)[:10], urllib3.exceptions.ProtocolError("ended prematurely")),
        Unreachable("the API server is away"),
        Answer(line(1.0), line(2.0), line(3.0)),
    )

    assert isinstance(reading, Measurement)
    assert list(reading.times_seconds) == [1.0, 2.0, 3.0]


@pytest.mark.timeout(20)
def test_who_catches_up_has_what_a_probe_read_before_it_told_it() -> None:
    lines: queue.Queue[bytes] = queue.Queue()
    log = Answer()
    log.stream = lambda amt: iter(lines.get, b"")  # type: ignore[method-assign]
    pods = ProbePods(Logs(log), PLAN)  # type: ignore[arg-type]
    pods.listen("node")
    lines.put(line(1.0))
    caught_up = threading.Thread(target=pods.catch_up, kwargs={"within_seconds": 15.0})
    caught_up.start()
    for at in itertools.count(2):
        if not caught_up.is_alive():
            break
        lines.put(line(float(at)))
        caught_up.join(0.01)
    lines.put(b"")

    (reading,) = [each for each in pods.readings() if each.name == "gpu_busy_time_ratio"]
    assert isinstance(reading, Measurement)
    assert reading.values.size >= REPORTS


@pytest.mark.timeout(20)
def test_a_probe_that_tells_no_more_is_not_waited_for() -> None:
    pods = ProbePods(Logs(Answer(line(1.0))), PLAN)  # type: ignore[arg-type]
    pods.listen("node").join()

    pods.catch_up(within_seconds=threading.TIMEOUT_MAX)


@pytest.mark.timeout(20)
def test_a_log_of_a_pod_that_is_gone_is_not_asked_for_again() -> None:
    reading = heard(NotFound("pods probe-node not found", status=404))

    assert isinstance(reading, Absent)
    assert reading.reason == "the log of the probe pod cannot be read: pods probe-node not found"
