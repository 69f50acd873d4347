"""The lab's services, as objects: what they refer to exists."""

import ipaddress
import json
from pathlib import Path

import pytest
import yaml

from bench.errors import WrongUsage
from bench.lab import network
from bench.lab.build.catalogue import part
from bench.lab.build.finding import part_key
from bench.lab.build.store import Store
from bench.lab.config import LabConfig
from bench.lab.images import Catalogue
from bench.lab.parts import adapter, available, exporter, in_order, load, ollama, prometheus, ready_of
from bench.lab.parts.objects import Ready
from bench.lab.programs.dcgm_counters import DEFAULT_COLLECTORS, parse_counters, read_counters

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(autouse=True)
def definitions(tmp_path, monkeypatch):
    """The Gateway part reads definitions that were built; one stands for them here, put where the build puts it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    store, crds = Store(tmp_path / "gpu-bench"), part("gateway-crds")
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "gateways.gateway.networking.k8s.io"},
        "spec": {"group": "gateway.networking.k8s.io"},
    }
    with store.place(crds.name, part_key(crds)) as place:
        (place / "crds.json").write_text(json.dumps([definition]))
        store.commit(place, crds.name, part_key(crds), {"gateway-crds": "crds.json"})


def objects_of(name, config=None):
    return load(name).manifests(config or LabConfig())


def pods_of(manifests):
    return [m["spec"]["template"]["spec"] for m in manifests if m["kind"] in {"Deployment", "DaemonSet"}]


def test_an_unknown_part_is_refused_with_those_that_exist():
    with pytest.raises(WrongUsage, match="it has adapter, dns, exporter, gateway, ollama, prometheus"):
        load("istio")


def test_the_default_lab_has_parts_that_exist():
    assert set(LabConfig().parts) <= set(available())


@pytest.mark.parametrize("name", available())
def test_what_a_part_waits_for_is_among_its_objects(name):
    made = {(m["kind"], m["metadata"].get("namespace", ""), m["metadata"]["name"]) for m in objects_of(name)}

    assert {(r.kind, r.namespace, r.name) for r in load(name).ready} <= made


@pytest.mark.parametrize("name", available())
def test_every_image_is_in_the_catalogue_of_the_lab(name):
    catalogue = Catalogue.load()
    for pod in pods_of(objects_of(name)):
        for container in pod["containers"]:
            assert catalogue.find(container["image"]) is not None


@pytest.mark.parametrize("name", available())
def test_every_probe_asks_a_port_that_the_container_has(name):
    for pod in pods_of(objects_of(name)):
        for container in pod["containers"]:
            named = {port["name"] for port in container["ports"]}
            for kind in ("readinessProbe", "livenessProbe"):
                port = container.get(kind, {}).get("httpGet", {}).get("port")
                assert port is None or isinstance(port, int) or port in named


@pytest.mark.parametrize("name", available())
def test_volumes_and_accounts_that_a_pod_names_exist(name):
    manifests = objects_of(name)
    made = {(m["kind"], m["metadata"]["name"]) for m in manifests}
    for pod in pods_of(manifests):
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        mounted = {m["name"] for container in pod["containers"] for m in container.get("volumeMounts", [])}
        assert mounted == volumes
        assert "serviceAccountName" not in pod or ("ServiceAccount", pod["serviceAccountName"]) in made
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in made


@pytest.mark.parametrize("name", available())
def test_a_service_selects_the_pods_of_its_part(name):
    manifests = objects_of(name)
    labels = [
        m["spec"]["template"]["metadata"]["labels"] for m in manifests if m["kind"] in {"Deployment", "DaemonSet"}
    ]
    for service in (m for m in manifests if m["kind"] == "Service"):
        assert any(service["spec"]["selector"].items() <= each.items() for each in labels)


def test_fixed_service_addresses_are_in_the_range_that_the_api_server_keeps_for_them():
    """Of a /16 the first 256 are given out last."""
    first = ipaddress.ip_network(network.SERVICE_NETWORK).network_address
    addresses = [
        m["spec"]["clusterIP"]
        for name in available()
        for m in objects_of(name)
        if m["kind"] == "Service" and "clusterIP" in m["spec"]
    ]

    assert len(addresses) == len(set(addresses)) == 3
    assert all(0 < int(ipaddress.ip_address(each)) - int(first) < 256 for each in addresses)


def test_definitions_come_before_the_objects_of_their_kind_and_namespaces_first():
    kinds = [m["kind"] for m in in_order(objects_of("gateway"))]

    assert kinds[0] == "Namespace"
    assert kinds.index("CustomResourceDefinition") < kinds.index("Deployment") < kinds.index("Gateway")


def test_a_namespace_of_two_parts_is_applied_once():
    kinds = [m["metadata"]["name"] for m in in_order([*objects_of("prometheus"), *objects_of("adapter")])]

    assert kinds.count("monitoring") == 1


def test_intervals_of_the_lab_reach_the_programs():
    config = LabConfig(scrape_interval_seconds=2.5, exporter_interval_seconds=1.0)
    assert prometheus.configuration(config)["global"]["scrape_interval"] == "2500ms"
    assert prometheus.configuration(config)["global"]["scrape_timeout"] == "2500ms"

    (pod,) = pods_of(exporter.manifests(config))
    assert {"name": "DCGM_EXPORTER_INTERVAL", "value": "1000"} in pod["containers"][0]["env"]


def test_an_untuned_exporter_is_not_told_an_interval():
    """As with the chart: then the program's own 30 seconds hold."""
    (pod,) = pods_of(exporter.manifests(LabConfig()))

    assert all(each["name"] != "DCGM_EXPORTER_INTERVAL" for each in pod["containers"][0]["env"])


def test_an_exporter_that_is_told_of_more_fields_has_them_in_the_file_that_it_reads_by_default():
    made = exporter.manifests(LabConfig(exporter_fields=("DCGM_FI_PROF_SM_ACTIVE",)))
    (stored,) = [m for m in made if m["kind"] == "ConfigMap"]
    (pod,) = pods_of(made)
    (text,) = stored["data"].values()

    assert [each.field for each in parse_counters(text)] == [
        *(each.field for each in read_counters(DEFAULT_COLLECTORS)),
        "DCGM_FI_PROF_SM_ACTIVE",
    ]
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "collectors"]
    assert f"{mount['mountPath']}/{next(iter(stored['data']))}" == DEFAULT_COLLECTORS
    assert {"name": "collectors", "configMap": {"name": stored["metadata"]["name"]}} in pod["volumes"]


def test_an_untuned_exporter_reads_the_file_of_its_image():
    made = exporter.manifests(LabConfig())
    (pod,) = pods_of(made)

    assert [m for m in made if m["kind"] == "ConfigMap"] == []
    assert [each["name"] for each in pod["volumes"]] == ["pod-gpu-resources"]


def test_a_scrape_never_times_out_after_the_next_one():
    for seconds in (1.0, 15.0, 60.0):
        told = prometheus.configuration(LabConfig(scrape_interval_seconds=seconds))["global"]
        assert int(told["scrape_timeout"][:-2]) <= int(told["scrape_interval"][:-2])


def test_metrics_are_summed_so_that_a_third_replica_can_be_reached():
    by_name = {rule["name"]["as"]: rule for rule in adapter.rules()["rules"]}

    assert by_name["gpu_utilization"]["metricsQuery"].startswith("sum(")
    assert by_name["gpu_utilization"]["resources"]["overrides"]["exported_namespace"] == {"resource": "namespace"}


def test_configurations_are_yaml_that_reads_back():
    (stored,) = [m for m in prometheus.manifests(LabConfig()) if m["kind"] == "ConfigMap"]

    assert yaml.safe_load(stored["data"]["prometheus.yml"]) == prometheus.configuration(LabConfig())


def test_an_inference_server_holds_one_gpu_and_joins_the_gateway():
    deployment, _, route = ollama.server("anywhere", name="chat", path="/chat")

    assert deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 1}
    assert route["spec"]["parentRefs"] == [{"name": "lab", "namespace": "traefik"}]


@pytest.mark.parametrize(
    ("found", "is_met"),
    [
        (
            {
                "spec": {"replicas": 1},
                "status": {"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 1},
            },
            True,
        ),
        (
            {
                "spec": {"replicas": 1},
                "status": {"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": 1},
            },
            False,
        ),
        (
            {
                "spec": {"replicas": 2},
                "status": {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 1},
            },
            False,
        ),
        (
            {
                "spec": {"replicas": 2},
                "status": {"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 2},
            },
            False,
        ),
        ({"spec": {"replicas": 1}}, False),
    ],
)
def test_a_deployment_is_up_when_its_newest_generation_is_available(found, is_met):
    ready = Ready(kind="Deployment", namespace="a", name="b")

    assert ready.is_met_by({"metadata": {"generation": 2}, **found}) is is_met


def test_a_gateway_is_up_when_its_controller_says_so():
    ready = Ready(kind="Gateway", namespace="a", name="b")
    told = [{"type": "Accepted", "status": "True"}, {"type": "Programmed", "status": "False"}]

    assert not ready.is_met_by({"metadata": {}, "status": {"conditions": told}})
    told[1]["status"] = "True"
    assert ready.is_met_by({"metadata": {}, "status": {"conditions": told}})


def test_an_exporter_that_was_looked_at_before_the_nodes_came_is_not_up():
    (ready,) = ready_of("exporter", LabConfig())
    status = {"observedGeneration": 1, "desiredNumberScheduled": 0}

    assert not ready.is_met_by({"metadata": {"generation": 1}, "status": status})
    status |= {"desiredNumberScheduled": 2, "numberAvailable": 2}
    assert ready.is_met_by({"metadata": {"generation": 1}, "status": status})


def test_without_devices_no_exporter_is_waited_for():
    assert ready_of("exporter", LabConfig(gpus_per_node=0)) == ()


def test_the_manifest_that_users_are_shown_is_what_the_part_makes():
    shown = list(yaml.safe_load_all((ROOT / "tests" / "lab" / "data" / "ollama.yaml").read_text()))

    assert shown == ollama.manifests(LabConfig())
