"""Variables, resolv.conf and hosts of a container."""

from typing import Any

import pytest

from bench.lab.kubelet import environment
from bench.lab.kubelet.environment import ConfigMissing

POD: dict[str, Any] = {
    "metadata": {
        "name": "web-0",
        "namespace": "shop",
        "uid": "u1",
        "labels": {"app": "web", "tier": 'fr"ont'},
        "annotations": {"note": "x"},
    },
    "spec": {"serviceAccountName": "seller"},
}
OBJECTS = {("configMap", "colours"): {"sky": "blue", "bad key!": "x"}, ("secret", "keys"): {"door": "1234"}}


def lookup(kind: str, name: str) -> dict[str, str] | None:
    return OBJECTS.get((kind, name))


def made(container: dict[str, Any], base: dict[str, str] | None = None) -> dict[str, str]:
    return environment.container_environment(container, base or {}, lookup, lambda source: str(sorted(source)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-2"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(A)", "$(A)"),
        ("$A ${A}", "$A ${A}"),
        ("$$$(A)", "$1"),
        ("$(A", "$(A"),
    ],
)
def test_references_are_expanded_and_escapes_kept(text: str, expected: str) -> None:
    assert environment.expand(text, {"A": "1", "B": "2"}) == expected


def test_a_later_variable_may_refer_to_an_earlier_one_and_not_the_other_way() -> None:
    entries = [
        {"name": "EARLY", "value": "$(LATE)"},
        {"name": "LATE", "value": "1"},
        {"name": "SUM", "value": "$(LATE)+1"},
    ]

    assert made({"env": entries}) == {"EARLY": "$(LATE)", "LATE": "1", "SUM": "1+1"}


def test_variables_come_over_whole_objects_and_those_over_services() -> None:
    container = {
        "envFrom": [{"configMapRef": {"name": "colours"}, "prefix": "P_"}],
        "env": [{"name": "P_sky", "value": "grey"}],
    }

    assert made(container, {"P_sky": "none", "KEPT": "yes"}) == {"P_sky": "grey", "KEPT": "yes"}


def test_keys_that_cannot_be_variables_are_left_out() -> None:
    assert made({"envFrom": [{"configMapRef": {"name": "colours"}}]}) == {"sky": "blue"}


def test_a_missing_object_or_key_is_named_unless_it_is_optional() -> None:
    absent = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "a"}}}
    wrong = {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "colours", "key": "sea"}}}
    optional = {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "colours", "key": "sea", "optional": True}}}

    with pytest.raises(ConfigMissing, match='secret "gone" not found'):
        made({"env": [absent]})
    with pytest.raises(ConfigMissing, match="couldn't find key sea in ConfigMap colours"):
        made({"env": [wrong]})
    assert made({"env": [optional]}) == {}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-0"),
        ("metadata.labels['app']", "web"),
        ("metadata.annotations['absent']", ""),
        ("metadata.labels", 'app="web"\ntier="fr\\"ont"'),
        ("spec.serviceAccountName", "seller"),
        ("status.podIP", "198.18.1.1"),
    ],
)
def test_fields_of_the_downward_api(path: str, value: str) -> None:
    assert environment.field(path, POD, {"status.podIP": "198.18.1.1"}) == value


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", "1", "1"),
        ("limits.cpu", "1m", "250"),
        ("limits.memory", "1Mi", "64"),
        ("limits.ephemeral-storage", "1Gi", "100"),
        ("requests.cpu", "1m", "0"),
    ],
)
def test_resources_are_rounded_up_and_default_to_the_node_s(resource: str, divisor: str, value: str) -> None:
    container = {"resources": {"limits": {"cpu": "250m", "memory": "64Mi"}}}
    ref = {"resource": resource, "divisor": divisor}

    assert environment.resource_field(ref, container, {"ephemeral-storage": "100Gi"}) == value


def test_a_service_is_told_in_both_spellings_and_a_headless_one_not_at_all() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    web = {"metadata": {"name": "my-web"}, "spec": {"clusterIP": "198.19.0.7", "ports": ports}}
    headless = {"metadata": {"name": "no"}, "spec": {"clusterIP": "None", "ports": ports}}

    told = environment.service_variables([web, headless])

    assert told["MY_WEB_SERVICE_HOST"] == told["MY_WEB_PORT_53_UDP_ADDR"] == "198.19.0.7"
    assert told["MY_WEB_SERVICE_PORT"] == told["MY_WEB_SERVICE_PORT_HTTP"] == "80"
    assert told["MY_WEB_PORT"] == told["MY_WEB_PORT_80_TCP"] == "tcp://198.19.0.7:80"
    assert not [name for name in told if name.startswith("NO_")]


def test_without_links_only_the_api_server_is_visible() -> None:
    services = [
        {"metadata": {"namespace": space, "name": name}}
        for space, name in (("default", "kubernetes"), ("shop", "web"), ("default", "other"))
    ]

    linked = environment.visible_services(services, "shop", links=True)
    alone = environment.visible_services(services, "shop", links=False)

    assert [each["metadata"]["name"] for each in linked] == ["kubernetes", "web"]
    assert [each["metadata"]["name"] for each in alone] == ["kubernetes"]


CLUSTER = "nameserver 198.19.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, CLUSTER),
        ({"hostNetwork": True}, ""),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, CLUSTER),
        ({"dnsPolicy": "Default"}, ""),
        (
            {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["198.18.0.9"], "options": [{"name": "rotate"}]}},
            "nameserver 198.18.0.9\noptions rotate\n",
        ),
        (
            {"dnsConfig": {"searches": ["x.org"], "options": [{"name": "ndots", "value": "2"}]}},
            CLUSTER.replace("cluster.local\nopt", "cluster.local x.org\nopt").replace("ndots:5", "ndots:2"),
        ),
    ],
)
def test_resolv_conf_follows_the_dns_policy(spec: dict[str, Any], expected: str) -> None:
    assert environment.resolv_conf(spec, "shop") == expected


def test_a_pod_with_a_subdomain_finds_itself_by_its_full_name() -> None:
    pod = {"metadata": POD["metadata"], "spec": {"hostname": "zero", "subdomain": "web"}}

    lines = environment.hosts(pod, "node-1", "198.18.1.1").splitlines()

    assert "198.18.1.1\tzero.web.shop.svc.cluster.local\tzero" in lines


def test_a_long_pod_name_is_cut_to_a_host_name() -> None:
    pod = {"metadata": {"name": "a" * 62 + ".b"}, "spec": {}}

    assert environment.hostname(pod, "node-1") == "a" * 62
    assert environment.hostname({**pod, "spec": {"hostNetwork": True}}, "node-1") == "node-1"
