"""All simulated devices of a lab: who holds which, what each container sees of them, and what they measure."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.lab.config import Allocation, LabConfig
from bench.lab.faults.state import Faults
from bench.lab.gpu import allocation, dra, faults, leaks
from bench.lab.gpu.board import Board
from bench.lab.gpu.containers import View, container_devices
from bench.lab.gpu.fleet import Gpu, Unit, initial_nodes, make_gpus, units_of
from bench.lab.gpu.grants import ContainerDevices, InsufficientDevices, Mount, PodUsage
from bench.lab.gpu.holdings import Holding, Meter, control_group, pod_resources
from bench.lab.gpu.labels import node_labels
from bench.lab.paths import LabPaths
from bench.lab.truth import TruthLog

__all__ = ["ContainerDevices", "Devices", "InsufficientDevices", "Mount", "PodUsage"]

LONGEST_STEP_SECONDS = 1.0
"""A longer pause of the agent counts as this much: what its pods did in the pause is spread over no more."""


class Devices:
    """One object for all nodes of a lab; not for use from several threads."""

    def __init__(
        self, config: LabConfig, paths: LabPaths, truth: TruthLog, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._paths = paths
        self._truth = truth
        self._clock = clock
        self._faults = Faults(paths.faults)
        self._ghosts: dict[str, Holding] = {}
        """Of pods that are gone, which a kubelet that was told to lie still lists."""
        self._with_memory: dict[str, Holding] = {}
        """By pod uid: those whose devices showed memory at the last sample."""
        self._boards: dict[str, tuple[Board, ...]] = {}
        self._slots: dict[str, tuple[allocation.Slot, ...]] = {}
        self._units: dict[str, Unit] = {}
        self._holdings: dict[str, Holding] = {}
        self._meter = Meter()
        self._sampled_at = clock()
        for node in initial_nodes(config):
            self.add_node(node, config.gpus_per_node)

    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes that the lab starts with."""
        return initial_nodes(self._config)

    def add_node(self, node: str, gpus: int) -> None:
        """A node that an autoscaler made; a second call for the same node changes nothing."""
        if node in self._boards:
            return
        made = make_gpus(self._config, node, gpus)
        self._boards[node] = tuple(Board(gpu, self._paths, self._truth) for gpu in made)
        self._slots[node] = allocation.slots_of(made, self._config.time_slices)
        self._units |= {unit.uuid: unit for gpu in made for unit in units_of(gpu)}
        for board in self._boards[node]:
            board.publish(_now_microseconds())

    def remove_node(self, node: str) -> None:
        """The node is gone, and its devices, their holders and their state pages with it."""
        for holding in [holding for holding in self._holdings.values() if holding.node == node]:
            self.release(holding.pod_uid)
        for board in self._boards.pop(node, ()):
            board.remove()
            for unit in units_of(board.gpu):
                del self._units[unit.uuid]
        self._slots.pop(node, None)

    def node_labels(self, node: str) -> Mapping[str, str]:
        """As GPU feature discovery and the GPU operator set them."""
        return node_labels(self._gpus(node), self._config.time_slices)

    def node_taints(self, node: str) -> Sequence[Mapping[str, str]]:  # noqa: ARG002 - by node, as the labels are
        """Taints as in `Node.spec.taints`: none, the operator leaves that to the cluster's owner."""
        return ()

    def extended_resources(self, node: str) -> Mapping[str, str]:
        """Capacity and allocatable beyond cpu and memory, as ``{"nvidia.com/gpu": "2"}``."""
        counts: dict[str, int] = {}
        for slot in self._slots.get(node, ()):
            counts[slot.resource] = counts.get(slot.resource, 0) + 1
        return {resource: str(count) for resource, count in counts.items()}

    def device_classes(self) -> list[dict[str, Any]]:
        """Bodies of resource.k8s.io/v1 DeviceClass; empty where no device is offered by DRA."""
        return [] if self._config.allocation is Allocation.DEVICE_PLUGIN else [dra.device_class()]

    def resource_slices(self, node: str, node_uid: str) -> list[dict[str, Any]]:
        """Bodies of resource.k8s.io/v1 ResourceSlice, owned by the Node."""
        body = dra.resource_slice(node, node_uid, self._gpus(node))
        return [body] if body["spec"]["devices"] else []

    def claim_devices(self, claim: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What belongs into ``status.devices`` of an allocated ResourceClaim of ours."""
        return [dra.device_status(device, self._claimed_gpu(device)) for device in dra.claimed_devices(claim)]

    def allocate(
        self, node: str, pod: Mapping[str, Any], claims: Sequence[Mapping[str, Any]]
    ) -> Mapping[str, ContainerDevices]:
        """
        By container name, init containers too; the same answer when asked again for the same pod.

        `claims` are the ResourceClaims that the pod refers to. Raises InsufficientDevices when the node has not what
        the pod asks for, or a claim of the pod is missing or not allocated.
        """
        uid = pod["metadata"]["uid"]
        if uid in self._holdings:
            return self._holdings[uid].containers
        taken = frozenset(self._taken_ids(node))
        slots = allocation.allocate_slots(pod, self._slots.get(node, ()), taken)
        claimed = _claimed_by_container(pod, claims)
        views = {container["name"]: self._view(node, container, slots, claimed) for container in _containers(pod)}
        units = tuple(dict.fromkeys(unit for view in views.values() for unit in view.units))
        group, cores = self._group(node, units)
        shown = leaks.leaked(tuple(_containers(pod)), views, self._around(node), self._faults)
        begun = {unit.uuid for unit in units} - {unit.uuid for unit in self._held(node)}
        for board in self._boards.get(node, ()):
            board.scrub(holds=not self._faults.find("memory-not-scrubbed"))
            board.forget_kernels(begun)
        containers = {
            container["name"]: replace(
                container_devices(container, shown[container["name"]], self._paths), cgroup=group, cpu_cores=cores
            )
            for container in _containers(pod)
        }
        self._holdings[uid] = Holding(
            pod_uid=uid,
            node=node,
            namespace=pod["metadata"]["namespace"],
            pod=pod["metadata"]["name"],
            slots=slots,
            claimed=claimed,
            units=units,
            containers=containers,
        )
        self._tell("device-allocated", self._holdings[uid])
        return containers

    def release(self, pod_uid: str) -> None:
        """The pod's processes are gone; a pod that holds nothing is no error."""
        holding = self._holdings.pop(pod_uid, None)
        self._meter.forget(pod_uid)
        if holding:
            self._tell("device-released", holding)
            if self._faults.find("ghost-pod"):
                self._ghosts[pod_uid] = holding

    def holders(self) -> frozenset[str]:
        """Uids of the pods that hold a device: those that `sample` wants to hear of."""
        return frozenset(uid for uid, holding in self._holdings.items() if holding.units)

    @property
    def are_at_work(self) -> bool:
        """Whether `sample` has something to tell: devices that are held, or told to show errors."""
        return bool(self.holders()) or faults.is_any_planted(self._faults)

    def pod_resources(self, node: str) -> list[dict[str, Any]]:
        """What the kubelet's PodResources List tells, one entry a pod that holds devices."""
        if not self._faults.find("ghost-pod"):
            self._ghosts.clear()
        # A ghost comes last: the exporter names the last pod of those that are listed with a device.
        listed = (*self._holdings.values(), *self._ghosts.values())
        return [pod_resources(holding) for holding in listed if holding.node == node and holding.units]

    @property
    def count(self) -> int:
        """Of all nodes."""
        return sum(len(boards) for boards in self._boards.values())

    def sample(self, usage: Mapping[str, PodUsage]) -> None:
        """Called each 100 ms with every pod uid that holds a device; advances the model, writes the state pages."""
        now = self._clock()
        seconds = min(now - self._sampled_at, LONGEST_STEP_SECONDS)
        if seconds <= 0:
            return
        self._sampled_at = now
        slow = self._faults.find("slow-stage")
        keeps_memory = slow is not None and slow.text("stage") == "device-free"
        uses = self._meter.uses(tuple(self._holdings.values()), usage, keeps_memory=keeps_memory)
        stamp = _now_microseconds()
        for boards in self._boards.values():
            for board in boards:
                board.advance(uses.get(board.gpu.uuid, {}), seconds, stamp)
        self._tell_of_freed()

    def _tell_of_freed(self) -> None:
        """Memory goes with the processes, before the kubelet has cleared away the rest of the pod."""
        before = self._with_memory
        self._with_memory = {uid: held for uid, held in self._holdings.items() if self._meter.memory_bytes(uid) > 0}
        for uid in before.keys() - self._with_memory.keys():
            self._tell("device-memory-freed", before[uid])

    def _gpus(self, node: str) -> tuple[Gpu, ...]:
        return tuple(board.gpu for board in self._boards.get(node, ()))

    def _taken_ids(self, node: str) -> Iterator[str]:
        for holding in self._holdings.values():
            if holding.node == node:
                yield from (slot.device_id for slots in holding.slots.values() for slot in slots)

    def _view(
        self,
        node: str,
        container: Mapping[str, Any],
        slots: Mapping[str, tuple[allocation.Slot, ...]],
        claimed: Mapping[str, tuple[dra.ClaimedDevice, ...]],
    ) -> View:
        name = container["name"]
        granted = name in slots or name in claimed
        plugin_units = tuple(self._units[slot.uuid] for slot in slots.get(name, ()))
        claimed_units = tuple(units_of(self._claimed_gpu(device))[0] for device in claimed.get(name, ()))
        if self._faults.find("two-pods-one-device"):
            plugin_units = self._taken_instead(node, plugin_units)
            claimed_units = self._taken_instead(node, claimed_units)
        # a grant sets the variable itself, over whatever the pod says
        chosen = () if granted else allocation.visible_by_variable(container, self._gpus(node))
        return View(
            plugin_units=plugin_units,
            claimed_units=claimed_units,
            page_uuids=tuple(gpu.uuid for gpu in chosen),
            minors=tuple(gpu.minor for gpu in chosen),
        )

    def _taken_instead(self, node: str, granted: tuple[Unit, ...]) -> tuple[Unit, ...]:
        """Devices that other pods of the node hold, as far as there are any; what is listed as held stays as it was."""
        taken = self._held(node)
        return (*taken[: len(granted)], *granted[len(taken) :])

    def _held(self, node: str) -> tuple[Unit, ...]:
        held = (unit for holding in self._holdings.values() if holding.node == node for unit in holding.units)
        return tuple(dict.fromkeys(held))

    def _around(self, node: str) -> leaks.Neighbourhood:
        return leaks.Neighbourhood(gpus=self._gpus(node), held_by_others=self._held(node))

    def _group(self, node: str, units: tuple[Unit, ...]) -> tuple[str, float]:
        """A device's own; or one quota for all of the node, so that each device slows the others."""
        group, cores = control_group(units)
        if group and self._faults.find("neighbours-slow"):
            return f"{leaks.ONE_QUOTA}{node}", units[0].cores
        return group, cores

    def _claimed_gpu(self, device: dra.ClaimedDevice) -> Gpu:
        for gpu in self._gpus(device.pool):
            if gpu.device_name == device.device and gpu.offered_by is Allocation.DRA:
                return gpu
        raise InsufficientDevices(
            f"claim {device.namespace}/{device.claim} was given {device.device} of pool {device.pool}, "
            f"which driver {dra.DRIVER} does not offer"
        )

    def _tell(self, event: str, holding: Holding) -> None:
        if holding.units:
            self._truth.write(
                event,
                node=holding.node,
                namespace=holding.namespace,
                pod=holding.pod,
                pod_uid=holding.pod_uid,
                uuids=[unit.uuid for unit in holding.units],
            )


def _containers(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from pod["spec"].get("initContainers") or []
    yield from pod["spec"]["containers"]


def _claimed_by_container(
    pod: Mapping[str, Any], claims: Sequence[Mapping[str, Any]]
) -> Mapping[str, tuple[dra.ClaimedDevice, ...]]:
    by_name = dra.claims_of_pod(pod, claims)
    claimed: dict[str, tuple[dra.ClaimedDevice, ...]] = {}
    for container in _containers(pod):
        for reference in (container.get("resources") or {}).get("claims") or []:
            claim = by_name.get(reference["name"])
            if claim is None or not claim.get("status", {}).get("allocation"):
                raise InsufficientDevices(
                    f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']}: "
                    f"its claim {reference['name']!r} is not there or not allocated"
                )
            wanted = reference.get("request")
            results = tuple(device for device in dra.claimed_devices(claim) if wanted in {None, device.request})
            claimed[container["name"]] = claimed.get(container["name"], ()) + results
    return claimed


def _now_microseconds() -> int:
    return time.time_ns() // 1000
