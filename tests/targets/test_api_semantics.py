"""What every client of the API server counts on."""

from typing import Any

import pytest
from kubernetes.dynamic.exceptions import BadRequestError, ConflictError, NotFoundError, UnprocessibleEntityError

from tests.contract.target import Object, Target, message_of

STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"


def config_map(namespace: str, name: str, data: dict[str, str] | None = None, **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "data": data or {},
    }


def deployment(namespace: str, name: str, replicas: int = 0) -> Object:
    labels = {"app": name}
    container = {"name": "main", "image": "busybox:1.36", "command": ["sleep", "3600"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


def owned_by(owner: Object) -> list[Object]:
    return [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
    ]


def test_a_name_can_be_taken_once(target: Target, namespace: str) -> None:
    target.create(config_map(namespace, "one"))

    with pytest.raises(ConflictError) as refused:
        target.create(config_map(namespace, "one"))

    assert '"one" already exists' in message_of(refused.value)


def test_generated_names_differ(target: Target, namespace: str) -> None:
    wanted = config_map(namespace, "")
    wanted["metadata"] = {"generateName": "some-", "namespace": namespace}

    names = {target.create(wanted)["metadata"]["name"] for _ in range(5)}

    assert len(names) == 5
    assert all(name.startswith("some-") and len(name) > len("some-") for name in names)


def test_a_write_on_a_stale_version_is_a_conflict(target: Target, namespace: str) -> None:
    stale = target.create(config_map(namespace, "shared", {"count": "1"}))
    target.patch(stale, {"data": {"count": "2"}})

    with pytest.raises(ConflictError) as refused:
        target.replace({**stale, "data": {"count": "3"}})

    assert "the object has been modified" in message_of(refused.value)
    assert target.again(stale)["data"] == {"count": "2"}


def test_a_merge_patch_with_null_removes_a_key_and_keeps_the_rest(target: Target, namespace: str) -> None:
    made = target.create(config_map(namespace, "patched", {"a": "1", "b": "2"}))

    patched = target.patch(made, {"data": {"a": None, "c": "3"}})

    assert patched["data"] == {"b": "2", "c": "3"}
    assert int(patched["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


def test_a_strategic_patch_merges_containers_by_their_name(target: Target, namespace: str) -> None:
    made = target.create(deployment(namespace, "patched"))
    change = {"spec": {"template": {"spec": {"containers": [{"name": "second", "image": "busybox:1.36"}]}}}}

    patched = target.patch(made, change, STRATEGIC)

    assert {c["name"] for c in patched["spec"]["template"]["spec"]["containers"]} == {"main", "second"}
    assert patched["metadata"]["generation"] == made["metadata"]["generation"] + 1


def test_a_json_patch_applies_whole_or_not_at_all(target: Target, namespace: str) -> None:
    made = target.create(config_map(namespace, "patched", {"a": "1"}))
    set_b = {"op": "add", "path": "/data/b", "value": "2"}

    with pytest.raises(UnprocessibleEntityError):
        target.patch(made, [set_b, {"op": "test", "path": "/data/a", "value": "9"}], JSON_PATCH)
    assert target.again(made)["data"] == {"a": "1"}

    patched = target.patch(made, [set_b, {"op": "test", "path": "/data/a", "value": "1"}], JSON_PATCH)
    assert patched["data"] == {"a": "1", "b": "2"}


def test_applying_a_field_of_another_manager_is_a_conflict_that_names_both(target: Target, namespace: str) -> None:
    target.apply(config_map(namespace, "applied", {"size": "1"}), manager="first")

    with pytest.raises(ConflictError) as refused:
        target.apply(config_map(namespace, "applied", {"size": "2"}), manager="second")

    assert 'conflict with "first": .data.size' in message_of(refused.value)


def test_applying_by_force_takes_the_field_over(target: Target, namespace: str) -> None:
    target.apply(config_map(namespace, "applied", {"size": "1"}), manager="first")

    taken = target.apply(config_map(namespace, "applied", {"size": "2"}), manager="second", force=True)

    assert taken["data"] == {"size": "2"}
    owners = {entry["manager"]: entry["fieldsV1"].get("f:data", {}) for entry in taken["metadata"]["managedFields"]}
    assert "f:size" in owners["second"]
    assert "f:size" not in owners.get("first", {})


def test_a_field_that_its_only_manager_applies_no_more_is_removed(target: Target, namespace: str) -> None:
    target.apply(config_map(namespace, "applied", {"a": "1", "b": "2"}), manager="first")
    target.apply(config_map(namespace, "applied", {"c": "3"}), manager="second")

    left = target.apply(config_map(namespace, "applied", {"a": "1"}), manager="first")

    assert left["data"] == {"a": "1", "c": "3"}


def test_managers_share_a_field_on_whose_value_they_agree(target: Target, namespace: str) -> None:
    target.apply(config_map(namespace, "applied", {"a": "1"}), manager="first")
    target.apply(config_map(namespace, "applied", {"a": "1"}), manager="second")

    target.apply(config_map(namespace, "applied", {}), manager="first")

    assert target.get("v1", "ConfigMap", "applied", namespace)["data"] == {"a": "1"}


def test_a_watch_tells_every_change_since_its_version_in_order(target: Target, namespace: str) -> None:
    target.create(config_map(namespace, "before"))
    since = target.listing("v1", "ConfigMap", namespace)["metadata"]["resourceVersion"]
    made = target.create(config_map(namespace, "watched", {"n": "1"}))
    target.patch(made, {"data": {"n": "2"}})
    target.patch(made, {"data": {"n": "3"}})
    target.delete(made)

    told: list[tuple[str, str]] = []
    for change, item in target.events_since(since, "v1", "ConfigMap", namespace, within_seconds=20):
        if item["metadata"]["name"] == "watched":
            told.append((change, item["data"]["n"]))
        if change == "DELETED":
            break

    assert told == [("ADDED", "1"), ("MODIFIED", "2"), ("MODIFIED", "3"), ("DELETED", "3")]


def test_a_watch_tells_nothing_from_before_its_version(target: Target, namespace: str) -> None:
    target.create(config_map(namespace, "before"))
    since = target.listing("v1", "ConfigMap", namespace)["metadata"]["resourceVersion"]
    target.create(config_map(namespace, "after"))

    first = next(target.events_since(since, "v1", "ConfigMap", namespace, within_seconds=20))

    assert (first[0], first[1]["metadata"]["name"]) == ("ADDED", "after")


def test_a_list_in_pages_is_one_snapshot(target: Target, namespace: str) -> None:
    for number in range(5):
        target.create(config_map(namespace, f"page-{number}"))
    wanted = "metadata.name!=kube-root-ca.crt"

    first = target.listing("v1", "ConfigMap", namespace, limit=2, field_selector=wanted)
    late = target.create(config_map(namespace, "page-9"))
    names, page = [i["metadata"]["name"] for i in first["items"]], first
    for _ in range(5):
        if not page["metadata"].get("continue"):
            break
        page = target.listing(
            "v1", "ConfigMap", namespace, limit=2, field_selector=wanted, _continue=page["metadata"]["continue"]
        )
        names += [i["metadata"]["name"] for i in page["items"]]

    assert names == [f"page-{number}" for number in range(5)]
    assert late["metadata"]["name"] not in names


def test_deleting_an_owner_deletes_what_it_owns(target: Target, namespace: str) -> None:
    owner = target.create(config_map(namespace, "owner"))
    child = target.create(config_map(namespace, "child", ownerReferences=owned_by(owner)))
    grandchild = target.create(config_map(namespace, "grandchild", ownerReferences=owned_by(child)))
    bystander = target.create(config_map(namespace, "bystander"))

    target.delete(owner)

    target.wait_until_gone(grandchild, within_seconds=60)
    target.wait_until_gone(child, within_seconds=60)
    assert target.again(bystander)["metadata"]["uid"] == bystander["metadata"]["uid"]


def test_an_orphaning_deletion_leaves_what_was_owned(target: Target, namespace: str) -> None:
    owner = target.create(config_map(namespace, "owner"))
    child = target.create(config_map(namespace, "child", ownerReferences=owned_by(owner)))

    target.delete(owner, propagationPolicy="Orphan")

    target.wait_until_gone(owner, within_seconds=60)
    orphan = target.wait_for(
        child, lambda c: not c["metadata"].get("ownerReferences"), within_seconds=60, what="an orphan without an owner"
    )
    assert orphan["metadata"]["uid"] == child["metadata"]["uid"]


def test_a_foreground_deletion_ends_with_the_owner(target: Target, namespace: str) -> None:
    owner = target.create(config_map(namespace, "owner"))
    child = target.create(
        config_map(namespace, "child", ownerReferences=owned_by(owner), finalizers=["bench.example.com/held"])
    )

    target.delete(owner, propagationPolicy="Foreground")

    target.wait_for(
        child, lambda c: "deletionTimestamp" in c["metadata"], within_seconds=60, what="a child that is being deleted"
    )
    assert "foregroundDeletion" in target.again(owner)["metadata"]["finalizers"]
    target.patch(child, {"metadata": {"finalizers": None}})
    target.wait_until_gone(owner, within_seconds=60)


def test_a_deleted_deployment_takes_its_replica_sets_and_pods_along(target: Target, namespace: str) -> None:
    made = target.create(deployment(namespace, "cascade", replicas=2))
    target.wait_until("v1", "Pod", namespace, lambda pods: len(pods) == 2, within_seconds=30)

    target.delete(made)

    target.wait_until("apps/v1", "ReplicaSet", namespace, lambda sets: not sets, within_seconds=60)
    target.wait_until("v1", "Pod", namespace, lambda pods: not pods, within_seconds=60)


def test_a_finalizer_holds_an_object_until_it_is_taken_off(target: Target, namespace: str) -> None:
    made = target.create(config_map(namespace, "held", finalizers=["bench.example.com/held"]))

    target.delete(made)
    held = target.again(made)
    assert held["metadata"]["deletionTimestamp"]

    target.patch(made, {"metadata": {"finalizers": None}})
    with pytest.raises(NotFoundError):
        target.again(made)


def test_an_invalid_object_is_refused_by_the_name_of_its_field(target: Target, namespace: str) -> None:
    wrong = deployment(namespace, "wrong")
    wrong["spec"]["selector"] = {"matchLabels": {"app": "another"}}

    with pytest.raises(UnprocessibleEntityError) as refused:
        target.create(wrong)

    assert "spec.template.metadata.labels" in message_of(refused.value)


def test_strict_validation_refuses_an_unknown_field(target: Target, namespace: str) -> None:
    wrong = deployment(namespace, "wrong")
    wrong["spec"]["replica"] = 3

    with pytest.raises(BadRequestError) as refused:
        target.create(wrong, query_params=[("fieldValidation", "Strict")])

    assert 'unknown field "spec.replica"' in message_of(refused.value)


def test_a_dry_run_leaves_nothing(target: Target, namespace: str) -> None:
    shown = target.create(config_map(namespace, "imagined"), dry_run="All")

    assert shown["metadata"]["uid"]
    with pytest.raises(NotFoundError):
        target.get("v1", "ConfigMap", "imagined", namespace)
