"""The lab's own services do their work, and are workloads like any other."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from tests.contract.pods import holds
from tests.contract.target import Object, Target
from tests.lab.asking import Series, query, wait_until
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
    nodes = [n for n in cluster.items("v1", "Node") if n["metadata"]["labels"].get("nvidia.com/gpu.present") == "true"]

    def one_a_node() -> list[Series] | None:
        found = query(lab, DEVICES_OF_EXPORTERS)
        return found if len(found) == len(nodes) else None

    devices = wait_until(one_a_node, within_seconds=UP_SECONDS)
    assert devices is not None
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


def value_of(told: Object) -> float:
    """The value of the first item of a MetricValueList; thousandths are written with an m."""
    text = told["items"][0]["value"]
    units = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}
    return float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text)


@pytest.fixture
def holder(cluster: Target) -> Iterator[Object]:
    """A pod that holds one device and leaves it idle."""
    namespace = cluster.make_namespace()
    container = {
        "name": "main",
        "image": "busybox",
        "command": ["sleep", "3600"],
        "resources": {"limits": {"nvidia.com/gpu": 1}},
    }
    pod = cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "holder", "namespace": namespace},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
        }
    )
    yield cluster.wait_for(pod, holds("Ready"), within_seconds=UP_SECONDS)
    cluster.give_back(namespace)


def test_a_device_is_told_under_the_pod_that_holds_it(lab: RunningLab, cluster: Target, holder: Object) -> None:
    """What Prometheus has in MiB and percent, the metrics APIs tell in bytes and percent, by pod and by namespace."""
    namespace, name = holder["metadata"]["namespace"], holder["metadata"]["name"]
    selector = f'exported_namespace="{namespace}",exported_pod="{name}"'
    held = wait_until(lambda: query(lab, f"DCGM_FI_DEV_FB_USED{{{selector}}} > 0"), within_seconds=UP_SECONDS)
    custom = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}"
    external = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/gpu_memory_used_bytes"

    def told(path: str) -> float | None:
        try:
            return value_of(read_json(cluster, path))
        except (ApiException, IndexError):  # until the adapter has listed the new series
            return None

    assert len(held) == 1
    expected = pytest.approx(float(held[0]["value"][1]) * (1 << 20), rel=0.1)
    by_pod = f"{custom}/pods/{name}/gpu_memory_used_bytes"
    assert wait_until(lambda: told(by_pod), within_seconds=UP_SECONDS) == expected
    assert told(f"{custom}/metrics/gpu_memory_used_bytes") == expected
    assert told(f"{custom}/metrics/gpu_utilization") == 0
    by_namespace = f"{external}?labelSelector=exported_namespace%3D{namespace}"
    assert wait_until(lambda: told(by_namespace), within_seconds=UP_SECONDS) == expected  # listed by itself


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


def test_the_truth_log_tells_each_refresh_of_each_exporter(lab: RunningLab) -> None:
    def refreshed_twice() -> bool:
        told = [json.loads(line) for line in lab.paths.truth.read_text().splitlines()]
        passes = [each for each in told if each["event"] == "exporter-refreshed"]
        assert all(each["began_utc_seconds"] <= each["ended_utc_seconds"] <= each["utc_seconds"] for each in passes)
        nodes = [each["node"] for each in passes]
        return len(set(nodes)) == 2 and all(nodes.count(node) >= 2 for node in nodes)

    assert wait_until(refreshed_twice, within_seconds=UP_SECONDS)
