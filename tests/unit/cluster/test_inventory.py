from typing import Any

import pytest

from bench.cluster.inventory import Seen, inventory_of


def node(name: str = "a", *, gpus: int = 2, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {},
        "status": {
            "allocatable": {"cpu": "1900m", "nvidia.com/gpu": str(gpus)},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def resource_slice(generation: int, *uuids: str) -> dict[str, Any]:
    devices = [
        {"name": f"gpu-{k}", "attributes": {"uuid": {"string": uuid}}, "capacity": {"memory": {"value": "80Gi"}}}
        for k, uuid in enumerate(uuids)
    ]
    pool = {"name": "a", "generation": generation, "resourceSliceCount": 1}
    return {"spec": {"driver": "gpu.nvidia.com", "nodeName": "a", "pool": pool, "devices": devices}}


def seen(group_versions: tuple[str, ...] = ("v1",), **objects: tuple[dict[str, Any], ...]) -> Seen:
    names = (
        "nodes resource_slices device_classes gateway_classes storage_classes runtime_classes definitions "
        "deployments daemon_sets services"
    )
    everything = {name: objects.get(name, ()) for name in names.split()}
    return Seen(version="v1.37.1", cluster_uid="u", group_versions=group_versions, objects=everything, warnings=())


def test_devices_of_a_device_plugin_are_counted() -> None:
    inventory = inventory_of(seen(nodes=(node(gpus=2, labels={"nvidia.com/gpu.product": "T4"}),)))

    assert [(device.node, device.product) for device in inventory.devices] == [("a", "T4"), ("a", "T4")]
    assert inventory.allocatable_total("nvidia.com/gpu") == 2
    assert inventory.allocatable_total("cpu") == pytest.approx(1.9)


def test_shares_of_one_device_are_one_device() -> None:
    inventory = inventory_of(seen(nodes=(node(gpus=8, labels={"nvidia.com/gpu.replicas": "4"}),)))

    assert [device.shares for device in inventory.devices] == [4, 4]


def test_only_the_newest_generation_of_a_pool_counts() -> None:
    slices = (resource_slice(1, "GPU-old"), resource_slice(2, "GPU-new"))

    inventory = inventory_of(seen(resource_slices=slices))

    assert [(device.uuid, device.memory_bytes) for device in inventory.devices] == [("GPU-new", 80 * 2**30)]


def test_a_gateway_class_that_nobody_accepted_does_not_count() -> None:
    accepted = {"metadata": {"name": "good"}, "status": {"conditions": [{"type": "Accepted", "status": "True"}]}}
    waiting = {"metadata": {"name": "bad"}, "status": {"conditions": [{"type": "Accepted", "status": "Unknown"}]}}

    assert inventory_of(seen(gateway_classes=(accepted, waiting))).gateway_classes == ("good",)


def test_a_gang_scheduler_is_known_by_its_api_group() -> None:
    inventory = inventory_of(seen(group_versions=("v1", "kueue.x-k8s.io/v1beta2")))

    assert inventory.gang_schedulers == ("Kueue",)
