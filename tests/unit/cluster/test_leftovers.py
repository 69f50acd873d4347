from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cluster.client import Cluster
from bench.cluster.heartbeat import Heartbeat, beating, lease_of
from bench.cluster.journal import Journal, leftovers
from bench.cluster.leftovers import find_labelled, in_order, remove_all, still_there
from bench.cluster.objects import Ref
from bench.cluster.sandbox import RUN_LABEL, Sandbox, labelled
from tests.unit.cluster.fake_api import FakeApi, serving

NAMESPACE = Ref(api_version="v1", kind="Namespace", name="mine")


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def cluster(api: FakeApi) -> Iterator[Cluster]:
    with serving(api) as cluster:
        yield cluster


def put(api: FakeApi, path: str, run_id: str = "", **metadata: Any) -> None:
    labels = {RUN_LABEL: run_id} if run_id else {}
    api.put(path, {"metadata": {"name": path.rsplit("/", 1)[1], "labels": labels, **metadata}})


def test_what_carries_the_label_is_found_in_whatever_is_served(api: FakeApi, cluster: Cluster) -> None:
    put(api, "/api/v1/namespaces/mine", "r1")
    put(api, "/api/v1/namespaces/others/pods/one", "r1", namespace="others")
    put(api, "/api/v1/namespaces/foreign")

    found = find_labelled(cluster)

    pod = Ref(api_version="v1", kind="Pod", name="one", namespace="others")
    assert found.refs == {"r1": (pod, NAMESPACE)}


def test_what_another_object_owns_goes_with_it_and_is_not_named(api: FakeApi, cluster: Cluster) -> None:
    put(api, "/api/v1/namespaces/others/pods/one", "r1", namespace="others", ownerReferences=[{"name": "it"}])

    assert find_labelled(cluster).refs == {}


def test_what_lies_in_a_namespace_that_goes_is_left_to_it() -> None:
    inside = Ref(api_version="v1", kind="Pod", name="one", namespace="mine")

    assert in_order([inside, NAMESPACE]) == (NAMESPACE,)


def test_after_a_crash_the_journal_leads_to_what_was_left(api: FakeApi, cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        Sandbox(cluster=cluster, journal=journal, run_id="r1").create(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}}
        )
    with path.open("a") as crashed:
        crashed.write('{"event": "inten')

    left = remove_all(cluster, still_there(cluster, leftovers(path), run_id="r1"), run_id="r1")

    assert left == ()
    assert api.objects == {}


def test_a_namesake_of_another_run_is_let_be(api: FakeApi, cluster: Cluster) -> None:
    put(api, "/api/v1/namespaces/mine", "r2")

    assert still_there(cluster, [NAMESPACE], run_id="r1") == ()


@pytest.mark.timeout(10)
def test_a_run_whose_lease_is_renewed_is_at_work_and_one_whose_is_not_is_over(api: FakeApi, cluster: Cluster) -> None:
    for namespace, run_id in (("mine", "r1"), ("yours", "r2")):
        Heartbeat(cluster, labelled(lease_of(namespace, run_id), run_id)).stop()
    path = next(path for path in api.objects if "/mine/leases/" in path)

    class Beats(Cluster):
        """Renews the first run's lease when the watch has begun."""

        def stream(self, *arguments: Any, **options: Any) -> Any:
            answer = super().stream(*arguments, **options)
            api.put(path, api.objects[path], "MODIFIED")
            return answer

    watching = Beats(cluster._api, server=cluster.server)

    assert beating(watching, RUN_LABEL, within_seconds=0.5) == {"r1": True, "r2": False}


def test_a_heartbeat_that_may_not_be_written_ends_no_run(api: FakeApi, cluster: Cluster) -> None:
    api.denied.add("POST")

    Heartbeat(cluster, lease_of("mine", "r1")).stop()

    assert api.objects == {}
