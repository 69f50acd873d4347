"""Events as readings; holders asked as they come; the path by which each type of metric is asked for."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from bench.cluster.recorder import Followed
from bench.cluster.watch import Change, Event
from bench.errors import NotFound
from bench.model.measurement import Measurement
from bench.model.scenario import ScaledMetric
from bench.rig import watched
from bench.rig.cluster_rig import metric_path
from bench.rig.cost import CostMeter
from bench.rig.holders import Holders
from bench.rig.polling import Poller

UUID = "GPU-69b7d2b5-cf5d-53dc-a418-d9d0ff39ad44"


def event(at: float, found: Mapping[str, Any], change: Change = Change.MODIFIED) -> Event:
    return Event(
        change=change,
        object=dict(found),
        received_monotonic_seconds=at,
        received_utc_seconds=at,
        relisted=False,
    )


def pod(*conditions: str, running: bool = False, deleted: bool = False) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "1"}
    metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {}
    state = {"running": {}} if running else {"waiting": {}}
    status = {
        "conditions": [{"type": each, "status": "True"} for each in conditions],
        "containerStatuses": [{"state": state}],
    }
    return {"metadata": metadata, "status": status}


def test_each_moment_of_a_pod_is_the_first_time_it_was_seen() -> None:
    course = [
        event(1.0, pod(), Change.ADDED),
        event(2.0, pod("PodScheduled")),
        event(3.0, pod("PodScheduled", running=True)),
        event(4.0, pod("PodScheduled", "Ready", running=True)),
        event(5.0, pod("PodScheduled", "Ready", running=True, deleted=True)),
        event(6.0, pod("PodScheduled", deleted=True), Change.DELETED),
    ]

    readings = [each for each in watched.pod_moments(course) if isinstance(each, Measurement)]

    assert {each.labels["moment"]: each.values[0] for each in readings} == {
        "created": 1.0,
        "scheduled": 2.0,
        "started": 3.0,
        "ready": 4.0,
        "deleted": 5.0,
        "gone": 6.0,
    }


def test_what_an_autoscaler_shows_is_read_from_its_status_whatever_the_type() -> None:
    known = {"currentMetrics": [{"type": "Object", "object": {"current": {"averageValue": "47500m"}}}]}
    not_had = {"currentMetrics": [{"type": ""}]}

    (shown,) = watched.hpa_values(
        [event(at, {"metadata": {}, "status": each}) for at, each in ((1.0, not_had), (2.0, known))]
    )

    assert isinstance(shown, Measurement)
    assert shown.values.tolist() == [47.5]


def test_nothing_seen_is_no_reading() -> None:
    assert list(watched.hpa_values([])) == []
    assert list(watched.counts([], "ready_replicas_total", ("status", "readyReplicas"))) == []


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        (ScaledMetric(kind="Object", metric="m"), "/apis/custom.metrics.k8s.io/v1beta1/namespaces/n/metrics/m"),
        (ScaledMetric(kind="Pods", metric="m"), "/apis/custom.metrics.k8s.io/v1beta1/namespaces/n/pods/*/m"),
        (ScaledMetric(kind="External", metric="m"), "/apis/external.metrics.k8s.io/v1beta1/namespaces/n/m"),
    ],
)
def test_a_metric_is_asked_for_where_the_autoscaler_asks(asked: ScaledMetric, path: str) -> None:
    assert metric_path(asked, "n")[0] == path


def followed(*pods: Mapping[str, Any]) -> Followed:
    found = Followed(path="/api/v1/namespaces/n/pods")
    for number, each in enumerate(pods):
        found._take(event(float(number), each, Change.ADDED))
    return found


def learnt(holders: Holders, heard: threading.Event) -> dict[str, str]:
    assert heard.wait(10.0)
    holders.close()
    return {each.labels["uuid"]: each.labels["pod"] for each in holders.readings() if isinstance(each, Measurement)}


def test_a_pod_is_asked_for_its_devices_once_it_is_ready() -> None:
    heard = threading.Event()

    def read_log(_: Mapping[str, Any]) -> str:
        heard.set()
        return f"GPU 0: NVIDIA H100 (UUID: {UUID})"

    assert learnt(Holders(followed(pod("Ready")), read_log), heard) == {UUID: "p"}


def test_a_pod_that_goes_while_it_is_asked_holds_no_known_device() -> None:
    heard = threading.Event()

    def read_log(_: Mapping[str, Any]) -> str:
        heard.set()
        raise NotFound("it is gone", status=404)

    assert learnt(Holders(followed(pod("Ready")), read_log), heard) == {}


def test_questions_without_an_answer_count_against_the_share_that_was_answered() -> None:
    answers = iter([1.0, None, 1.0, None])
    done = threading.Event()

    def ask() -> float | None:
        value = next(answers, "over")
        if value == "over":
            done.set()
            return None
        assert not isinstance(value, str)
        return value

    with Poller(ask, hertz=200.0) as poller:
        assert poller.wait_until(lambda value: value == 1.0, within_seconds=10.0)
        assert done.wait(10.0)

    answered = poller.answered("metrics_api_answered_ratio", "a test")
    assert isinstance(answered, Measurement)
    assert answered.values[:4].tolist() == [1.0, 0.0, 1.0, 0.0]


def test_what_is_behind_a_silence_is_looked_at_while_it_lasts_and_when_it_is_over() -> None:
    answers = iter([1.0, None, None, 1.0, 1.0])
    seen: list[str] = []
    done = threading.Event()

    def ask() -> float | None:
        value = next(answers, "over")
        seen.append(f"asked {value}")
        if value == "over":
            done.set()
            return 1.0
        assert not isinstance(value, str)
        return value

    with Poller(ask, hertz=200.0, look=lambda: seen.append("looked")):
        assert done.wait(10.0)

    told = ["asked 1.0", "asked None", "looked", "asked None", "asked 1.0", "looked", "asked 1.0", "asked over"]
    assert seen[: len(told)] == told


def test_the_cost_is_counted_from_the_beginning_of_the_scenario() -> None:
    meter = CostMeter(requests_total=100)

    cpu, rate = (each for each in meter.readings(requests_total=100) if isinstance(each, Measurement))

    assert cpu.values[0] >= 0.0
    assert rate.values[0] == 0.0
