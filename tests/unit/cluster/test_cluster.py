import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.cluster.client import Cluster
from bench.cluster.journal import Journal, is_held, leftovers
from bench.cluster.objects import Ref
from bench.cluster.sandbox import END_GRACE_SECONDS, RUN_LABEL, Sandbox
from bench.cluster.wait import wait_until, wait_until_gone
from bench.cluster.watch import Change, Watch
from bench.errors import (
    ApiRefused,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    NoSuchContext,
    NotFound,
    RunGoesOn,
    Unreachable,
)
from tests.unit.cluster.fake_api import FakeApi, serving

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "namespace": "mine"}}
PODS = "/api/v1/namespaces/mine/pods"


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


@pytest.fixture
def cluster(api: FakeApi) -> Iterator[Cluster]:
    with serving(api) as cluster:
        yield cluster


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.jsonl") as journal:
        yield journal


def pod(name: str, phase: str = "Pending") -> dict[str, object]:
    metadata = {"name": name, "namespace": "mine"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}}


def running(found: dict[str, object]) -> bool:
    return found["status"] == {"phase": "Running"}


def test_what_is_not_there_is_found_to_be_none(cluster: Cluster) -> None:
    assert cluster.find(Ref.of(POD)) is None


def test_a_kind_that_is_not_served_is_named(cluster: Cluster) -> None:
    with pytest.raises(NotFound, match="serves no kind Gateway in v1"):
        cluster.collection(Ref(api_version="v1", kind="Gateway", name="g"))


def test_discovery_is_asked_once(api: FakeApi, cluster: Cluster) -> None:
    cluster.find(Ref.of(POD))
    cluster.find(Ref.of(POD))

    assert api.requests.count(("GET", "/api/v1")) == 1


def test_a_missing_right_names_verb_and_resource(api: FakeApi, cluster: Cluster) -> None:
    api.denied.add("POST")

    with pytest.raises(Forbidden, match='cannot create resource "namespaces"'):
        cluster.create(NAMESPACE)


def test_a_server_that_is_away_is_unreachable(api: FakeApi) -> None:
    with serving(api) as cluster:
        pass

    with pytest.raises(Unreachable, match="does not answer"):
        cluster.get(Ref.of(NAMESPACE))


def test_a_context_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("apiVersion: v1\nkind: Config\nclusters: []\nusers: []\ncontexts: []\n")

    with pytest.raises(NoSuchContext, match="'nowhere'"):
        Cluster.open(kubeconfig=kubeconfig, context="nowhere")


def test_a_watch_tells_what_is_there_and_then_what_changes(api: FakeApi, cluster: Cluster) -> None:
    api.put(f"{PODS}/one", pod("one"))
    stop = threading.Event()
    seen = []

    for event in Watch(cluster, PODS, stop=stop):
        seen.append((event.change, event.object["metadata"]["name"], event.relisted))
        if len(seen) == 1:
            api.put(f"{PODS}/two", pod("two"))
        elif len(seen) == 2:
            api.remove(f"{PODS}/one")
        else:
            break

    assert seen == [(Change.ADDED, "one", True), (Change.ADDED, "two", False), (Change.DELETED, "one", False)]


def test_a_watch_whose_place_was_forgotten_lists_again_and_misses_no_deletion(api: FakeApi, cluster: Cluster) -> None:
    api.put(f"{PODS}/one", pod("one"))
    api.put(f"{PODS}/two", pod("two"))
    seen = []

    for event in Watch(cluster, PODS):
        seen.append((event.change, event.object["metadata"]["name"]))
        if len(seen) == 2:
            with api.changed:  # while nobody looks: one goes, three comes, and the server forgets
                api.objects.pop(f"{PODS}/one")
                api.version += 1
                three = {**pod("three"), "metadata": {"name": "three", "resourceVersion": "9", "uid": "uid-three"}}
                api.objects[f"{PODS}/three"] = three
                api.forgotten_below = api.version
                api.changed.notify_all()
        elif len(seen) == 4:
            break

    assert seen[2:] == [(Change.DELETED, "one"), (Change.ADDED, "three")]


def test_waiting_returns_the_object_of_which_the_claim_became_true(api: FakeApi, cluster: Cluster) -> None:
    api.put(f"{PODS}/one", pod("one"))
    later = threading.Timer(0.05, api.put, (f"{PODS}/one", pod("one", "Running"), "MODIFIED"))
    later.start()

    found = wait_until(cluster, Ref.of(POD), running, within_seconds=10)

    assert found["status"]["phase"] == "Running"


@pytest.mark.timeout(10)
def test_a_deadline_says_what_was_seen_last(api: FakeApi, cluster: Cluster) -> None:
    api.put(f"{PODS}/one", pod("one"))

    with pytest.raises(DeadlineExceeded, match=r"Pod mine/one: not running after 0.1 s; last seen: phase Pending"):
        wait_until(cluster, Ref.of(POD), running, within_seconds=0.1)


def test_what_a_run_creates_carries_its_label_and_is_journaled_before(cluster: Cluster, journal: Journal) -> None:
    sandbox = Sandbox(cluster=cluster, journal=journal, run_id="r1")

    sandbox.namespace("mine")

    assert cluster.get(Ref.of(NAMESPACE))["metadata"]["labels"] == {RUN_LABEL: "r1"}
    assert leftovers(journal.path) == (Ref.of(NAMESPACE),)


def test_leaving_the_sandbox_removes_what_it_created(api: FakeApi, cluster: Cluster, journal: Journal) -> None:
    with Sandbox(cluster=cluster, journal=journal, run_id="r1") as sandbox:
        sandbox.namespace("mine")
        sandbox.create(POD)

    assert sandbox.left == []
    assert "/api/v1/namespaces/mine" not in api.objects
    assert leftovers(journal.path) == ()


@pytest.mark.timeout(10)
def test_all_namespaces_are_asked_to_go_before_the_first_is_waited_for(
    api: FakeApi, cluster: Cluster, journal: Journal
) -> None:
    api.goes_after["/api/v1/namespaces/second"] = "/api/v1/namespaces/first"

    with Sandbox(cluster=cluster, journal=journal, run_id="r1") as sandbox:
        sandbox.namespace("first")
        sandbox.namespace("second")

    assert sandbox.left == []
    assert leftovers(journal.path) == ()


def test_pods_of_a_namespace_that_goes_are_given_little_time_and_are_not_replaced(
    api: FakeApi, cluster: Cluster, journal: Journal
) -> None:
    pod = "/api/v1/namespaces/mine/pods/of-a-controller"

    with Sandbox(cluster=cluster, journal=journal, run_id="r1") as sandbox:
        sandbox.namespace("mine")
        api.put(pod, {"metadata": {"name": "of-a-controller", "namespace": "mine"}})
        api.goes_after["/api/v1/namespaces/mine"] = pod

    deleted = [path for method, path in api.requests if method == "DELETE"]
    assert deleted.index("/api/v1/namespaces/mine") < deleted.index(pod)
    assert api.graces == {pod: END_GRACE_SECONDS}
    assert sandbox.left == []


def test_an_object_that_was_there_before_is_not_taken_for_ours(
    api: FakeApi, cluster: Cluster, journal: Journal
) -> None:
    api.put("/api/v1/namespaces/mine", NAMESPACE)

    with Sandbox(cluster=cluster, journal=journal, run_id="r1") as sandbox, pytest.raises(Conflict):
        sandbox.namespace("mine")

    assert "/api/v1/namespaces/mine" in api.objects


def test_what_an_interruption_overtook_is_removed_all_the_same(
    api: FakeApi, cluster: Cluster, journal: Journal
) -> None:
    """The server has it, and the answer never came."""
    sandbox = Sandbox(cluster=cluster, journal=journal, run_id="r1")
    create = cluster.create

    def interrupted(manifest: Mapping[str, Any], *, dry_run: bool = False) -> Any:
        create(manifest, dry_run=dry_run)
        raise KeyboardInterrupt

    cluster.create = interrupted  # type: ignore[method-assign]
    with sandbox, pytest.raises(KeyboardInterrupt):
        sandbox.namespace("mine")

    assert api.objects == {}


def test_a_journal_is_held_by_one_process_at_a_time(journal: Journal) -> None:
    assert is_held(journal.path)
    with pytest.raises(RunGoesOn, match="goes on in another process"):
        Journal(journal.path)

    journal.close()

    assert not is_held(journal.path)


def test_a_patient_client_waits_for_a_server_that_is_shutting_down(api: FakeApi, cluster: Cluster) -> None:
    cluster.patience_seconds = 10.0
    api.busy_for = 2

    assert cluster.find(Ref.of(POD)) is None


def test_without_patience_a_busy_server_is_told_at_once(api: FakeApi, cluster: Cluster) -> None:
    api.busy_for = 1

    with pytest.raises(ApiRefused, match="shutting down"):
        cluster.find(Ref.of(POD))


def test_waiting_for_an_object_that_is_gone_returns_at_once(cluster: Cluster) -> None:
    wait_until_gone(cluster, Ref.of(POD), within_seconds=0.1)
