"""
What a target has, observed: `see` reads the API server, `inventory_of` draws the conclusions.

Nothing is taken from configuration, and what may not be read is a warning and not a nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.cluster.client import Cluster
from bench.cluster.objects import Object, Ref, holds, path_of
from bench.errors import Forbidden, NotFound
from bench.model.inventory import Device, Inventory, Node
from bench.model.units import kubernetes_quantity

GPU_DRIVER: Final = "gpu.nvidia.com"
GPU_RESOURCE: Final = "nvidia.com/gpu"
SYSTEM_NAMESPACE: Final = "kube-system"
"""Its UID stands for the cluster's: there is one in every cluster, and it is never made anew."""

COLLECTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "nodes": ("v1", "nodes"),
    "resource_slices": ("resource.k8s.io/v1", "resourceslices"),
    "device_classes": ("resource.k8s.io/v1", "deviceclasses"),
    "gateway_classes": ("gateway.networking.k8s.io/v1", "gatewayclasses"),
    "storage_classes": ("storage.k8s.io/v1", "storageclasses"),
    "runtime_classes": ("node.k8s.io/v1", "runtimeclasses"),
    "definitions": ("apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "deployments": ("apps/v1", "deployments"),
    "daemon_sets": ("apps/v1", "daemonsets"),
    "services": ("v1", "services"),
}

# Each by what its own installation brings: an API group where it has one, the name of its controller where it has none.
GANG_SCHEDULERS: Final[Mapping[str, str]] = {
    "kueue.x-k8s.io": "Kueue",
    "scheduling.volcano.sh": "Volcano",
    "scheduling.run.ai": "KAI",
    "scheduling.x-k8s.io": "coscheduling",
    "scheduling.k8s.io/v1beta1": "Kubernetes PodGroup",
}
AUTOSCALERS: Final[Mapping[str, str]] = {
    "cluster-autoscaler": "cluster-autoscaler",
    "karpenter": "Karpenter",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the API server said, as it said it."""

    version: str
    cluster_uid: str
    group_versions: tuple[str, ...]
    objects: Mapping[str, tuple[Object, ...]]
    warnings: tuple[str, ...]


def see(cluster: Cluster) -> Seen:
    """Read what the inventory is made of: about a dozen requests, all of them GET."""
    groups = cluster.request("GET", "/apis").get("groups", ())
    group_versions = {"v1"} | {each["groupVersion"] for group in groups for each in group["versions"]}
    objects: dict[str, tuple[Object, ...]] = {}
    warnings: list[str] = []
    for name, (api_version, plural) in COLLECTIONS.items():
        objects[name] = ()
        if api_version in group_versions:
            try:
                objects[name] = cluster.list(path_of(api_version, plural)).items
            except (Forbidden, NotFound) as refusal:
                warnings.append(f"{plural} could not be listed: {refusal}")
    return Seen(
        version=cluster.request("GET", "/version")["gitVersion"],
        cluster_uid=cluster_uid(cluster),
        group_versions=tuple(sorted(group_versions)),
        objects=objects,
        warnings=tuple(warnings),
    )


def cluster_uid(cluster: Cluster) -> str:
    """What tells this cluster from any other."""
    system = cluster.get(Ref(api_version="v1", kind="Namespace", name=SYSTEM_NAMESPACE))
    return str(system["metadata"]["uid"])


def inventory_of(seen: Seen, *, prometheus_url: str = "", metric_names: Iterable[str] = ()) -> Inventory:
    """The conclusions, without a look at anything else."""
    of = seen.objects
    controllers = sorted({_title(each) for each in (*of["deployments"], *of["daemon_sets"])})
    nodes = tuple(_node(each) for each in of["nodes"])
    return Inventory(
        server_version=seen.version,
        cluster_uid=seen.cluster_uid,
        api_group_versions=seen.group_versions,
        nodes=nodes,
        devices=(*_sliced_devices(of["resource_slices"]), *_counted_devices(of["nodes"])),
        device_classes=_names(of["device_classes"]),
        gateway_classes=_names(each for each in of["gateway_classes"] if holds(each, "Accepted")),
        storage_classes=_names(of["storage_classes"]),
        runtime_classes=_names(of["runtime_classes"]),
        custom_resource_definitions=_names(of["definitions"]),
        controllers=tuple(controllers),
        gang_schedulers=tuple(sorted(_matching(GANG_SCHEDULERS, seen.group_versions))),
        autoscalers=tuple(sorted(_matching(AUTOSCALERS, controllers))),
        metric_names=tuple(sorted(metric_names)),
        prometheus_url=prometheus_url,
        warnings=seen.warnings,
    )


def _matching(known: Mapping[str, str], found: Iterable[str]) -> set[str]:
    return {name for each in found for mark, name in known.items() if mark in each}


def _names(objects: Iterable[Object]) -> tuple[str, ...]:
    return tuple(sorted(each["metadata"]["name"] for each in objects))


def _title(found: Object) -> str:
    """``kueue-system/kueue-controller-manager image:tag``: where it is and which version it says it is."""
    containers = found["spec"]["template"]["spec"]["containers"]
    return f"{found['metadata']['namespace']}/{found['metadata']['name']} {containers[0]['image']}"


def _node(found: Object) -> Node:
    spec = found.get("spec", {})
    allocatable = found.get("status", {}).get("allocatable") or {}
    return Node(
        name=found["metadata"]["name"],
        is_ready=holds(found, "Ready"),
        is_schedulable=not spec.get("unschedulable", False),
        allocatable={name: kubernetes_quantity(str(value)) for name, value in allocatable.items()},
        labels=found["metadata"].get("labels") or {},
        taints=tuple(f"{taint['key']}:{taint['effect']}" for taint in spec.get("taints") or ()),
    )


def _sliced_devices(slices: Iterable[Object]) -> Iterator[Device]:
    """The devices of the DRA driver's newest pool generation; an older slice of a pool is on its way out."""
    ours = [each["spec"] for each in slices if each["spec"]["driver"] == GPU_DRIVER]
    newest: dict[str, int] = {}
    for spec in ours:
        pool = spec["pool"]
        newest[pool["name"]] = max(newest.get(pool["name"], 0), pool["generation"])
    for spec in ours:
        if spec["pool"]["generation"] == newest[spec["pool"]["name"]]:
            yield from (_sliced(spec, device) for device in spec.get("devices") or ())


def _sliced(spec: Mapping[str, Any], device: Mapping[str, Any]) -> Device:
    attributes = {name.rpartition("/")[2]: value for name, value in (device.get("attributes") or {}).items()}
    memory = (device.get("capacity") or {}).get("memory", {}).get("value")
    return Device(
        node=spec.get("nodeName", ""),
        uuid=attributes.get("uuid", {}).get("string", ""),
        product=attributes.get("productName", {}).get("string", ""),
        memory_bytes=None if memory is None else kubernetes_quantity(str(memory)),
        driver_version=attributes.get("driverVersion", {}).get("version", ""),
        mig_profile=attributes.get("profile", {}).get("string", ""),
    )


def _counted_devices(nodes: Iterable[Object]) -> Iterator[Device]:
    """What a device plugin publishes: a count in allocatable, and the product and the shares as labels beside it."""
    for node in nodes:
        labels = node["metadata"].get("labels") or {}
        shares = max(1, int(labels.get("nvidia.com/gpu.replicas", "1") or 1))
        for resource, count in (node.get("status", {}).get("allocatable") or {}).items():
            profile = resource.removeprefix("nvidia.com/mig-") if resource.startswith("nvidia.com/mig-") else ""
            if resource != GPU_RESOURCE and not profile:
                continue
            for _ in range(int(kubernetes_quantity(str(count))) // (1 if profile else shares)):
                yield Device(
                    node=node["metadata"]["name"],
                    uuid="",
                    product=labels.get("nvidia.com/gpu.product", ""),
                    driver_version=labels.get("nvidia.com/cuda.driver-version.full", ""),
                    mig_profile=profile,
                    shares=1 if profile else shares,
                )
