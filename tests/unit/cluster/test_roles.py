from bench.cluster.rights import INVENTORY_RIGHTS, missing_rights, proxied_service, roles
from bench.model.rights import GATEWAYS, LOGS, Right, made, on
from tests.unit.cluster.fake_api import FakeApi, serving


def test_a_right_that_the_server_denies_is_missing_and_others_are_not() -> None:
    api = FakeApi()
    api.lacking = {("create", "deployments"), ("get", "pods/log")}

    with serving(api) as cluster:
        missing = missing_rights(cluster, (*made("Deployment"), *LOGS, *GATEWAYS))

    assert [str(each) for each in missing] == ["get pods/log", "create deployments.apps"]


def test_roles_hold_each_right_once_and_nothing_beside() -> None:
    rights = (*made("Pod"), *made("ConfigMap"), *LOGS, *LOGS)

    (role,) = roles(rights)

    assert role["kind"] == "ClusterRole"
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["configmaps", "pods"], "verbs": ["create", "delete", "get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]


def test_a_right_in_one_namespace_is_a_role_there_and_names_its_object() -> None:
    bound = list(
        roles((*on("pods", "list"), proxied_service("monitoring", "prom", "9090")), service_account=("ci", "b"))
    )

    assert [(each["kind"], each["metadata"].get("namespace")) for each in bound] == [
        ("ClusterRole", None),
        ("ClusterRoleBinding", None),
        ("Role", "monitoring"),
        ("RoleBinding", "monitoring"),
    ]
    assert bound[2]["rules"] == [
        {"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"], "resourceNames": ["prom:9090"]}
    ]
    assert bound[3]["subjects"] == [{"kind": "ServiceAccount", "namespace": "ci", "name": "b"}]


def test_the_inventory_only_reads() -> None:
    assert {right.verb for right in INVENTORY_RIGHTS} == {"get", "list"}
    assert Right(verb="list", group="", resource="nodes") in INVENTORY_RIGHTS
