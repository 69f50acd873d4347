from collections.abc import Iterator

import pytest

from bench.cluster.client import Cluster
from bench.cluster.recorder import Present, Recorder
from bench.cluster.watch import Change
from bench.errors import DeadlineExceeded, Forbidden
from tests.unit.cluster.fake_api import FakeApi, serving

PODS = "/api/v1/namespaces/mine/pods"


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def cluster(api: FakeApi) -> Iterator[Cluster]:
    with serving(api) as cluster:
        yield cluster


def pod(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "mine"}}


def two_there(present: Present) -> bool:
    return len(present) == 2


def test_what_happens_is_kept_in_its_order(api: FakeApi, cluster: Cluster) -> None:
    api.put(f"{PODS}/one", pod("one"))

    with Recorder(cluster) as recorder:
        pods = recorder.follow(PODS)
        pods.wait_until(lambda present: len(present) == 1, within_seconds=5)
        api.put(f"{PODS}/two", pod("two"))
        pods.wait_until(two_there, within_seconds=5)
        api.remove(f"{PODS}/one")
        pods.wait_until(lambda present: "mine/one" not in present, within_seconds=5)

    seen = [(event.change, event.object["metadata"]["name"]) for event in pods.events()]
    assert seen == [(Change.ADDED, "one"), (Change.ADDED, "two"), (Change.DELETED, "one")]
    times = [event.received_monotonic_seconds for event in pods.events()]
    assert times == sorted(times)


def test_a_deadline_names_what_there_is(api: FakeApi, cluster: Cluster) -> None:
    api.put(f"{PODS}/one", pod("one"))

    with Recorder(cluster) as recorder:
        pods = recorder.follow(PODS)
        pods.wait_until(bool, within_seconds=5)

        with pytest.raises(DeadlineExceeded, match=r"not two there after 0\.05 s; there is mine/one"):
            pods.wait_until(two_there, within_seconds=0.05)


def test_a_watch_that_may_not_be_made_is_told_where_its_events_are_asked_for(api: FakeApi, cluster: Cluster) -> None:
    api.denied.add("GET")

    with Recorder(cluster) as recorder:
        pods = recorder.follow(PODS)

        with pytest.raises(Forbidden):
            pods.wait_until(two_there, within_seconds=5)
