"""Who may do what, and how much: role-based access, service account tokens, quota, limit ranges."""

from pathlib import Path

import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ForbiddenError

from tests.contract.target import Object, Target, message_of

RBAC = "rbac.authorization.k8s.io"


def service_account(namespace: str, name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def grant(target: Target, namespace: str, account: str, verbs: list[str], resources: list[str]) -> None:
    """Lets a service account do something in its namespace."""
    metadata = {"name": f"{account}-may", "namespace": namespace}
    rules = [{"apiGroups": [""], "resources": resources, "verbs": verbs}]
    target.create({"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": rules})
    target.create(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": metadata["name"]},
        }
    )


def sleeper(namespace: str, name: str, resources: Object | None = None) -> Object:
    container = {"name": "main", "image": "busybox:1.36", "command": ["sleep", "3600"], "resources": resources or {}}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def quota(namespace: str, hard: dict[str, str]) -> Object:
    metadata = {"name": "limited", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}}


def enforced(target: Target, wanted: Object) -> Object:
    """A quota that is in force: its controller has counted."""
    made = target.create(wanted)
    hard = wanted["spec"]["hard"]
    return target.wait_for(made, lambda q: q.get("status", {}).get("hard") == hard, within_seconds=30, what="a quota")


def test_an_account_without_a_role_is_refused_by_name(target: Target, namespace: str, tmp_path: Path) -> None:
    target.create(service_account(namespace, "nobody"))
    nobody = target.as_service_account(namespace, "nobody", tmp_path)

    with pytest.raises(ForbiddenError) as refused:
        nobody.listing("v1", "Pod", namespace)

    said = message_of(refused.value)
    assert f'User "system:serviceaccount:{namespace}:nobody" cannot list resource "pods"' in said
    assert f'in the namespace "{namespace}"' in said


def test_a_role_grants_its_verbs_and_no_others(target: Target, namespace: str, tmp_path: Path) -> None:
    target.create(service_account(namespace, "reader"))
    grant(target, namespace, "reader", ["get", "list"], ["configmaps"])
    reader = target.as_service_account(namespace, "reader", tmp_path)
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": namespace}}

    assert "kube-root-ca.crt" in {c["metadata"]["name"] for c in reader.items("v1", "ConfigMap", namespace)}
    with pytest.raises(ForbiddenError):
        reader.create(config_map)
    with pytest.raises(ForbiddenError):
        reader.listing("v1", "Secret", namespace)
    with pytest.raises(ForbiddenError):
        reader.listing("v1", "ConfigMap", "kube-system")


def test_nobody_grants_rights_that_they_do_not_have(target: Target, namespace: str, tmp_path: Path) -> None:
    target.create(service_account(namespace, "climber"))
    metadata = {"name": "climb", "namespace": namespace}
    rules = [{"apiGroups": [RBAC], "resources": ["roles"], "verbs": ["create"]}]
    target.create({"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "climber", "namespace": namespace}
    role = {"apiGroup": RBAC, "kind": "Role", "name": "climb"}
    binding = {"apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": metadata}
    target.create({**binding, "subjects": [subject], "roleRef": role})
    climber = target.as_service_account(namespace, "climber", tmp_path)
    more = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]

    with pytest.raises(ForbiddenError) as refused:
        climber.create(
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": "Role",
                "metadata": {"name": "all", "namespace": namespace},
                "rules": more,
            }
        )

    assert "attempting to grant RBAC permissions not currently held" in message_of(refused.value)


def test_a_request_without_a_valid_token_is_unauthorized(target: Target, tmp_path: Path) -> None:
    with pytest.raises(ApiException) as refused:
        target.with_token("no-such-token", tmp_path).listing("v1", "Pod", "default")

    assert refused.value.status == 401


def test_a_quota_refuses_the_pod_over_it_and_counts_what_is_there(target: Target, namespace: str) -> None:
    limit = enforced(target, quota(namespace, {"pods": "1"}))
    first = target.create(sleeper(namespace, "first"))

    with pytest.raises(ForbiddenError) as refused:
        target.create(sleeper(namespace, "second"))

    assert "exceeded quota: limited, requested: pods=1, used: pods=1, limited: pods=1" in message_of(refused.value)
    target.delete(first, gracePeriodSeconds=0)
    target.wait_for(limit, lambda q: q["status"]["used"] == {"pods": "0"}, within_seconds=60, what="a free quota")
    target.create(sleeper(namespace, "second"))


def test_a_quota_on_gpus_refuses_a_pod_that_asks_for_one(target: Target, namespace: str) -> None:
    enforced(target, quota(namespace, {"requests.nvidia.com/gpu": "0"}))

    with pytest.raises(ForbiddenError) as refused:
        target.create(sleeper(namespace, "greedy", {"limits": {"nvidia.com/gpu": "1"}}))

    assert "exceeded quota" in message_of(refused.value)
    assert target.create(sleeper(namespace, "modest"))["metadata"]["uid"]


def test_a_limit_range_gives_containers_their_defaults(target: Target, namespace: str) -> None:
    limits = [{"type": "Container", "default": {"memory": "64Mi"}, "defaultRequest": {"memory": "32Mi"}}]
    metadata = {"name": "defaults", "namespace": namespace}
    target.create({"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": limits}})

    made = target.create(sleeper(namespace, "plain"), dry_run="All")

    given = made["spec"]["containers"][0]["resources"]
    assert given == {"limits": {"memory": "64Mi"}, "requests": {"memory": "32Mi"}}
