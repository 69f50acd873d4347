import dataclasses

import pytest

from bench.model import needs
from bench.model.inventory import Device, Inventory, Node

EMPTY = Inventory(server_version="v1.36.0", cluster_uid="u")


def node(name, gpus, *, is_ready=True, is_schedulable=True):
    return Node(name=name, is_ready=is_ready, is_schedulable=is_schedulable, allocatable={"nvidia.com/gpu": gpus})


def with_nodes(*nodes, devices=()):
    return dataclasses.replace(EMPTY, nodes=nodes, devices=devices)


@pytest.mark.parametrize(
    ("need", "met_by"),
    [
        (needs.ApiServed(group_version="resource.k8s.io/v1"), {"api_group_versions": ("resource.k8s.io/v1",)}),
        (needs.AnyApiServed(group_versions=("a/v1", "a/v2")), {"api_group_versions": ("a/v2",)}),
        (needs.Allocatable(resource="nvidia.com/gpu", at_least=1), {"nodes": (node("n", 1),)}),
        (needs.DeviceClassOffered(name="gpu.nvidia.com"), {"device_classes": ("gpu.nvidia.com",)}),
        (needs.Gateways(), {"gateway_classes": ("traefik",)}),
        (needs.PrometheusReachable(), {"prometheus_url": "http://prometheus:9090"}),
        (needs.MetricServed(names=("A", "B")), {"metric_names": ("B",)}),
        (needs.GangScheduler(), {"gang_schedulers": ("kueue",)}),
        (needs.NodeAutoscaler(), {"autoscalers": ("karpenter",)}),
        (needs.CustomResource(name="rayjobs.ray.io"), {"custom_resource_definitions": ("rayjobs.ray.io",)}),
        (needs.Accelerators(at_least=1), {"nodes": (node("n", 1),)}),
    ],
)
def test_each_need_is_unmet_by_an_empty_target_and_met_by_what_it_asks_for(need, met_by):
    assert isinstance(need, needs.Need)
    assert need.unmet_by(EMPTY)
    assert need.unmet_by(dataclasses.replace(EMPTY, **met_by)) is None


def test_an_api_that_is_served_in_another_version_is_named():
    inventory = dataclasses.replace(EMPTY, api_group_versions=("resource.k8s.io/v1beta1",))

    assert "resource.k8s.io/v1beta1" in needs.ApiServed(group_version="resource.k8s.io/v1").unmet_by(inventory)


def test_neighbours_are_counted_on_one_node():
    two_nodes = with_nodes(node("a", 1), node("b", 1))

    assert needs.Accelerators(at_least=2).unmet_by(two_nodes) is None
    assert "1 seen" in needs.Accelerators(at_least=2, on_one_node=True).unmet_by(two_nodes)


def test_nodes_that_take_no_pods_count_for_nothing():
    inventory = with_nodes(node("a", 4, is_ready=False), node("b", 4, is_schedulable=False))

    assert "0 seen" in needs.Accelerators(at_least=1).unmet_by(inventory)
    assert inventory.allocatable_total("nvidia.com/gpu") == 0


def test_four_shares_of_one_device_are_one_accelerator():
    inventory = with_nodes(node("a", 4), devices=(Device(node="a", uuid="GPU-1", product="T4", shares=4),))

    assert "1 seen" in needs.Accelerators(at_least=2).unmet_by(inventory)
    assert inventory.allocatable_total("nvidia.com/gpu") == 4


def test_devices_that_are_all_cut_into_instances_are_told_with_their_profiles():
    cut = Device(node="a", uuid="MIG-1", product="H100", mig_profile="1g.10gb")
    whole = Device(node="a", uuid="GPU-1", product="H100")

    assert "all 2 accelerators are MIG instances (1g.10gb)" in needs.WholeDevices().unmet_by(
        with_nodes(devices=(cut, cut))
    )
    assert needs.WholeDevices().unmet_by(with_nodes(devices=(cut, whole))) is None
    assert needs.WholeDevices().unmet_by(EMPTY) is None


def test_devices_that_a_device_plugin_counts_are_not_to_be_claimed():
    counted, sliced = (Device(node="a", uuid=uuid, product="H100") for uuid in ("", "GPU-1"))
    need = needs.DeviceClassOffered(name="gpu.nvidia.com", at_least=2)

    for devices, is_met in (((counted, sliced), False), ((sliced, sliced), True)):
        offered = dataclasses.replace(with_nodes(devices=devices), device_classes=("gpu.nvidia.com",))
        assert (need.unmet_by(offered) is None) is is_met
