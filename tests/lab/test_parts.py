"""The lab's own services do their work, and are workloads like any other."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.pods import holds
from tests.contract.target import Object, Target
from tests.lab.asking import query, wait_until
from tests.lab.running import RunningLab

pytestmark = pytest.mark.lab

UP_SECONDS = 60.0
DEVICES_OF_EXPORTERS = "count by (pod) (count by (pod, UUID) (DCGM_FI_DEV_GPU_UTIL))"


@pytest.fixture(scope="module")
def cluster(lab: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    target = Target(lab.kubeconfig, tmp_path_factory.mktemp("parts"), strict=True)
    yield target
    target.close()


def read_json(target: Target, path: str) -> Object:
    with target.open("GET", path) as response:
        told: Object = json.loads(response.read())
    return told


def test_every_scrape_target_is_up(lab: RunningLab) -> None:
    wanted = {"dcgm-exporter", "kubernetes-pods", "prometheus"}
    wait_until(lambda: wanted <= {each["metric"]["job"] for each in query(lab, "up")}, within_seconds=UP_SECONDS)

    assert [each["metric"] for each in query(lab, "up == 0")] == []


def test_one_exporter_a_node_tells_the_devices_of_its_node(lab: RunningLab, cluster: Target) -> None:
    devices = wait_until(lambda: query(lab, DEVICES_OF_EXPORTERS), within_seconds=UP_SECONDS)
    nodes = [n for n in cluster.items("v1", "Node") if n["metadata"]["labels"].get("nvidia.com/gpu.present") == "true"]

    assert len(devices) == len(nodes) > 0
    per_node = {int(n["metadata"]["labels"]["nvidia.com/gpu.count"]) for n in nodes}
    assert {int(each["value"][1]) for each in devices} == per_node


def test_labels_of_the_exporter_itself_are_its_own_pod_s(lab: RunningLab) -> None:
    for series in wait_until(lambda: query(lab, "DCGM_FI_DEV_GPU_TEMP"), within_seconds=UP_SECONDS):
        assert series["metric"]["namespace"] == "gpu-operator"
        assert series["metric"]["pod"].startswith("dcgm-exporter-")
        assert series["metric"]["job"] == "dcgm-exporter"


def test_prometheus_scrapes_at_the_interval_that_was_asked_for(lab: RunningLab) -> None:
    url = f"{lab.status['prometheus_url']}/api/v1/status/config"
    with urllib.request.urlopen(url, timeout=10) as answer:
        told = json.load(answer)["data"]["yaml"]

    assert "scrape_interval: 2s" in told


def test_the_gateway_is_accepted_and_programmed_and_has_an_address(cluster: Target) -> None:
    gateway_class = cluster.get("gateway.networking.k8s.io/v1", "GatewayClass", "traefik")
    gateway = cluster.get("gateway.networking.k8s.io/v1", "Gateway", "lab", "traefik")
    service = cluster.get("v1", "Service", "traefik", "traefik")

    assert holds("Accepted")(gateway_class)
    assert holds("Accepted")(gateway)
    assert holds("Programmed")(gateway)
    assert [each["value"] for each in gateway["status"]["addresses"]] == [service["spec"]["clusterIP"]]


def test_a_path_without_a_route_is_not_found_by_the_gateway_itself(lab: RunningLab) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{lab.status['gateway_url']}/no-such-route", timeout=10)
    refused.value.close()

    assert refused.value.code == 404


@pytest.mark.parametrize("version", ["custom.metrics.k8s.io/v1beta2", "external.metrics.k8s.io/v1beta1"])
def test_the_adapter_serves_its_apis(cluster: Target, version: str) -> None:
    assert read_json(cluster, f"/apis/{version}")["kind"] == "APIResourceList"


@pytest.mark.parametrize(
    ("namespace", "label"),
    [
        ("kube-system", "k8s-app=kube-dns"),
        ("monitoring", "app.kubernetes.io/name=prometheus-adapter"),
        ("traefik", "app.kubernetes.io/name=traefik"),
    ],
)
def test_a_service_whose_pod_is_deleted_is_back_by_itself(cluster: Target, namespace: str, label: str) -> None:
    (before,) = cluster.items("v1", "Pod", namespace, label_selector=label)
    cluster.delete(before, gracePeriodSeconds=0)

    def another(pods: Any) -> Object | None:
        fresh = [p for p in pods.values() if p["metadata"]["uid"] != before["metadata"]["uid"]]
        return next((p for p in fresh if holds("Ready")(p)), None)

    cluster.wait_until("v1", "Pod", namespace, another, within_seconds=UP_SECONDS, label_selector=label)
