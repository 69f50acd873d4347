"""One execution of `secure-accelerator-access`: the pods that it sends to a node, and what they tell."""

import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench import Absent, Measurement, Reading, Source, Unit, isolation
from workloads import intruder
from workloads.burning_pods import GpuBurn
from workloads.gpu_burn import Step
from workloads.intruder import Intruder

if TYPE_CHECKING:
    from scenarios.secure_accelerator_access import SecureAcceleratorAccess

SEED = Path(__file__).with_name("secure_accelerator_access.yaml")
"""The three pods of RKE2's procedure, as they stand there."""
SEED_TELLS = (
    ("nbody_results_total", "first"),
    ("nbody_kept_pending_total", "second"),
    ("nbody_results_total", "third"),
)
"""What is read of which of them."""
DRIVER = "gpu.nvidia.com"
CLAIM = "device"
MOUNT_LIST = "/var/run/nvidia-container-devices"
"""Where a mount tells NVIDIA's toolkit a device, if it was told to listen to mounts."""
WINDOW_SPREAD = (0.6, 1.4)
"""Of a window's mean length."""
BASELINE = {"pod-security.kubernetes.io/enforce": "baseline"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """A pod that is to look, and where what it tells belongs."""

    pod: Intruder
    place: isolation.Place


class Trial:
    """One execution: the node that was chosen, and the pods that are sent to it."""

    def __init__(self, told: "SecureAcceleratorAccess", rig: Any, ground: isolation.Ground) -> None:
        self._told = told
        self._rig = rig
        self._ground = ground
        self._claims: Any = None
        self._known: set[str] = {each.uuid for each in rig.inventory.devices if each.uuid}

    def open(self) -> Iterator[Reading]:
        """Two namespaces: one for pods with devices, and one that admits no pod with privileges."""
        rig = self._rig
        self._devices, self._guarded = rig.namespace("devices"), rig.namespace("guarded", BASELINE)
        for namespace in (self._devices, self._guarded):
            rig.create(intruder.source(namespace))
        if "dra" in self._ground.ways:
            exactly = {"deviceClassName": DRIVER, "allocationMode": "ExactCount", "count": 1}
            spec = {"spec": {"devices": {"requests": [{"name": CLAIM, "exactly": exactly}]}}}
            metadata = {"name": CLAIM, "namespace": self._devices}
            kind = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate"}
            rig.create({**kind, "metadata": metadata, "spec": spec})
            self._claims = rig.follow("resource.k8s.io/v1", "resourceclaims", namespace=self._devices)
        statement = f"nodes and ResourceSlices; node {self._ground.node}"
        for way in self._ground.ways:
            labels = {"node": self._ground.node, "way": way}
            yield _counted("device_shares_total", float(self._ground.shares_of(way)), statement, labels)

    def repetition(self, number: str) -> Iterator[Reading]:
        """First a pod alone with its device; then pods beside each other, those that hold none among them."""
        chosen = self._told.chosen
        self._rig.say(f"repetition {number} of {self._told.repeats}: a pod alone")
        for way in self._ground.ways:  # one after the other: alone means alone
            yield from self._wave([self._holder("control", way, number)])
        beside = list(self._beside(number)) if "pair" in chosen else []
        if "none" in chosen:
            beside.append(self._sent("none", number, {}))
        if "bypass" in chosen:
            beside += self._bypasses(number)
            yield from self._admissions()
        self._rig.say(f"repetition {number} of {self._told.repeats}: pods beside each other")
        yield from self._wave(beside)
        if "second-container" in chosen:
            self._rig.say(f"repetition {number} of {self._told.repeats}: pods with a second container")
            yield from self._wave(
                [self._holder("second-container", way, number, has_other=True) for way in self._ground.ways]
            )

    def _beside(self, number: str) -> Iterator[_Sent]:
        """Pods that hold devices at one time."""
        held = (f"--hold-seconds={self._told.hold_seconds:g}",)
        for way, count in self._ground.holders.items():
            for index in range(count):
                yield self._holder("pair", way, number, suffix=f"-{index}", arguments=held)

    def _holder(self, part: str, way: str, number: str, *, suffix: str = "", **fields: Any) -> _Sent:
        asks = {"claim_template": CLAIM} if way == "dra" else {"resource": self._told.resource}
        memory = f"--memory-bytes={self._told.memory_bytes}" if "residue" in self._told.chosen else "--memory-bytes=0"
        arguments = (memory, *fields.pop("arguments", ()))
        return self._sent(part, number, {**asks, **fields, "arguments": arguments}, way=way, suffix=suffix)

    def _sent(self, part: str, number: str, fields: Mapping[str, Any], *, way: str = "none", suffix: str = "") -> _Sent:
        name = f"{part}{'' if way == 'none' else '-' + way}{suffix}-{number}"
        attempted = fields.get("attempted", "")
        known = tuple(f"--uuid={uuid}" for uuid in sorted(self._known))
        made = {key: value for key, value in fields.items() if key not in {"attempted", "arguments"}}
        has_class = "nvidia" in self._rig.inventory.runtime_classes
        pod = Intruder(
            name=name,
            namespace=self._guarded if way == "none" else self._devices,
            node=self._ground.node,
            image=self._told.probe_image,
            runtime_class="nvidia" if has_class else "",
            arguments=(f"--run={self._rig.run_id}", *known, *fields.get("arguments", ())),
            **made,
        )
        place = isolation.Place(
            part=part,
            way=way,
            attempted=attempted,
            node=self._ground.node,
            repetition=number,
            pod=name,
            container=intruder.CONTAINER,
        )
        return _Sent(pod=pod, place=place)

    def _bypasses(self, number: str) -> Iterator[_Sent]:
        """Ways to tell the container runtime a device, none of which a pod without privileges should have."""
        named = min(self._known, default="0")
        empty: dict[str, Any] = {"emptyDir": {}}
        ways: dict[str, dict[str, Any]] = {
            "NVIDIA_VISIBLE_DEVICES=all": {"environment": {"NVIDIA_VISIBLE_DEVICES": "all"}},
            "NVIDIA_VISIBLE_DEVICES=UUID": {"environment": {"NVIDIA_VISIBLE_DEVICES": named}},
            "NVIDIA_VISIBLE_DEVICES=0": {"environment": {"NVIDIA_VISIBLE_DEVICES": "0"}},
            "volume-mount all": {"mounts": {f"{MOUNT_LIST}/all": empty}},
            "volume-mount UUID": {"mounts": {f"{MOUNT_LIST}/{named}": empty}},
            "CDI annotation": {"annotations": {"cdi.k8s.io/bench": "nvidia.com/gpu=all"}},
        }
        for index, (attempted, fields) in enumerate(ways.items()):
            yield self._sent("bypass", number, {**fields, "attempted": attempted}, suffix=f"-{index}")

    def _admissions(self) -> Iterator[Reading]:
        """Whether the guarded namespace would admit the node's /dev, and a pod without it."""
        host = {"hostPath": {"path": "/dev"}}
        listed = {f"{MOUNT_LIST}/all": {"hostPath": {"path": "/dev/null"}}}
        for attempted, mounts in (("hostPath /dev", {"/host-dev": host}), ("hostPath volume-mount all", listed)):
            yield self._admission("host_path_admitted_total", attempted, mounts)
        yield self._admission("plain_pod_admitted_total", "no volume", {})

    def _admission(self, name: str, attempted: str, mounts: Mapping[str, Any]) -> Reading:
        pod = Intruder(
            name="asked", namespace=self._guarded, node=self._ground.node, image=self._told.probe_image, mounts=mounts
        )
        refusal = self._rig.refusal(pod.manifest())
        refusal = refusal.partition("is forbidden: ")[2] or refusal
        labels = {"part": "bypass", "attempted": attempted, "outcome": refusal[:200] or "admitted"}
        return _counted(name, 0.0 if refusal else 1.0, "dry run of a Pod in a namespace of level baseline", labels)

    def _wave(self, wave: Sequence[_Sent]) -> Iterator[Reading]:
        """All at once; what each tells."""
        ended = self._rig.errands([sent.pod.manifest() for sent in wave], within_seconds=self._told.pod_seconds)
        for sent in wave:
            errand = ended[sent.pod.name]
            if errand.reason:
                yield isolation.missing(sent.place, errand.reason)
            for container, text in errand.logs.items():
                for reading in isolation.read_log(text, sent.place.of(container)):
                    self._known |= {reading.labels["uuid"]} if reading.name == "device_seen_total" else set()
                    yield reading

    def allocated(self) -> Iterator[Reading]:
        """What the claims of this run's pods were allocated, whenever that was."""
        if self._claims is not None:
            yield from self._rig.allocations(self._claims)

    def interference(self) -> Iterator[Reading]:
        """One device burns all the time, its neighbour in every second window; both keep to one clock."""
        told, ground, roles = self._told, self._ground, ("measured", "neighbour")
        whole = {way: devices for way, devices in ground.ways.items() if ground.shares_of(way) == 1}
        way = next((way for way, devices in whole.items() if devices >= len(roles)), "")
        if not way:
            reason = "two devices of one node are needed, each of them one pod's alone"
            if not whole:
                reason = (
                    f"{ground.shares} pods share a device by time slicing, and that they slow each other is by design"
                )
            yield absent("burn_rate_flops", "workloads/gpu_burn.py", reason, {"role": "measured"})
            return
        self._rig.say("a neighbour at work", left_seconds=told.windows * told.window_seconds)
        begin = time.time() + told.window_seconds
        pods = [self._burner(role, way, begin) for role in roles]
        within = told.pod_seconds + told.windows * told.window_seconds
        ended = self._rig.errands(pods, within_seconds=within)
        for role in roles:
            errand = ended[f"burn-{role}"]
            yield from isolation.read_burn(errand.logs.get("burn", ""), role, errand.reason)

    def _burner(self, role: str, way: str, begin: float) -> Mapping[str, Any]:
        """The pod of the workload's Deployment, alone and on our node."""
        told = self._told
        # random lengths, the same for both, so that nothing else on the node falls into step with the windows
        lengths = random.Random(self._rig.run_id)  # noqa: S311 - no secret
        steps = tuple(
            Step(
                seconds=round(lengths.uniform(*WINDOW_SPREAD) * told.window_seconds, 3),
                duty_ratio=1.0 if role == "measured" or number % 2 else 0.0,
            )
            for number in range(told.windows)
        )
        burn = GpuBurn(
            name=f"burn-{role}", steps=steps, begin_utc_seconds=begin, image=told.burn_image, resource=told.resource
        )
        program, deployment = burn.manifests()
        self._rig.create(_into(self._devices, program))
        spec = deployment["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        holder = self._holder("interference", way, role).pod.manifest()["spec"]
        (held,) = holder["containers"]
        taken = {key: holder[key] for key in PLACED if key in holder}
        containers = [{**container, "resources": held["resources"]}]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": burn.name}}
        return _into(self._devices, {**pod, "spec": {**spec, **taken, "containers": containers}})

    def seed(self) -> Iterator[Reading]:
        """
        RKE2's three pods as they stand there, where one device is free; others are occupied meanwhile.

        Where no node offers what they ask for, they ask for the resource that this run was told: a MIG instance, say.
        """
        told, rig = self._told, self._rig
        resource = isolation.seed_resource(rig.inventory, told.resource)
        free = rig.unused(resource)
        text = SEED.read_text(encoding="utf-8").replace(f"{isolation.SEED_RESOURCE}:", f"{resource}:")
        pods = list(yaml.safe_load_all(text))
        refusals = [refusal for pod in pods if (refusal := rig.refusal(pod))]
        reason = isolation.why_none_is_left(resource, sum(free.values()), told.seed_placeholders) or "".join(
            refusals[:1]
        )
        if reason:
            for name, pod in SEED_TELLS:
                yield absent(name, SEED.name, reason, {"pod": pod})
            return
        rig.say("three nbody pods and one free device")
        kept = min(free)
        left = {node: count - (node == kept) for node, count in free.items()}
        fillers = [self._filler(str(at), node, resource, left[node]) for at, node in enumerate(left) if left[node]]
        yield from self._seed_readings(pods, fillers, resource)

    def _filler(self, number: str, node: str, resource: str, count: int) -> Mapping[str, Any]:
        """A pod that holds so many devices of a node until it is removed."""
        fields = {"arguments": ("--hold-seconds=3600",), "resource": resource, "count": count}
        pod = self._sent("placeholder", number, fields, way="device-plugin").pod
        return replace(pod, node=node).manifest()

    def _seed_readings(
        self, pods: Sequence[Mapping[str, Any]], fillers: Sequence[Mapping[str, Any]], resource: str
    ) -> Iterator[Reading]:
        rig, within = self._rig, self._told.pod_seconds
        for filler in fillers:
            rig.create(filler)
        for filler in fillers:
            rig.wait_until(filler, is_running, within_seconds=within)
        followed = rig.follow("v1", "pods", namespace=pods[0]["metadata"]["namespace"])
        for pod in pods:
            rig.create(pod)
        first, second, third = pods
        rig.observe(followed, lambda present: kept_pending(present.get(_key(second), {})) != "", within)
        texts = {name: self._spoken(followed, pod, within) for name, pod in (("first", first), ("third", third))}
        pending = kept_pending(followed.present().get(_key(second), {}))
        yield from isolation.read_nbody(texts, pending, resource)
        # a shell that is a container's first process does not hear SIGTERM: it would use up its half minute
        rig.remove(*pods, *fillers, grace_seconds=1)

    def _spoken(self, followed: Any, pod: Mapping[str, Any], within_seconds: float) -> str:
        """A container's log as soon as it tells a result or an error; what there is when the time is over."""
        metadata, text = pod["metadata"], ""
        container = pod["spec"]["containers"][0]["name"]
        deadline = time.monotonic() + within_seconds
        while time.monotonic() < deadline and not SPOKEN.search(text):
            found = followed.present().get(_key(pod), {})
            if found.get("status", {}).get("phase") == "Running":
                text = self._rig.logs(namespace=metadata["namespace"], pod=metadata["name"], container=container)
            # a log is not to be watched from its end without losing its beginning: it is asked once a second
            self._rig.observe(followed, lambda _: False, 1.0)
        return text


PLACED = ("affinity", "tolerations", "runtimeClassName", "resourceClaims", "restartPolicy")
"""What of a pod's spec decides where it runs and what it is given."""
SPOKEN = re.compile(r"GFLOP/s|error", re.IGNORECASE)
"""In the log of an nbody pod, when one of its runs is over."""


def kept_pending(pod: Mapping[str, Any]) -> str:
    """The scheduler's reason, where it is that no device is to be had."""
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            message = str(condition.get("message", ""))
            return message if "nvidia.com/" in message else ""
    return ""


def is_running(pod: Mapping[str, Any]) -> bool:
    """Its containers were started."""
    return bool(pod.get("status", {}).get("phase") == "Running")


def _key(pod: Mapping[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _into(namespace: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


def _counted(name: str, value: float, statement: str, labels: Mapping[str, str]) -> Measurement:
    values, source = [value], Source.KUBERNETES
    return Measurement(name=name, unit=Unit.TOTAL, values=values, source=source, statement=statement, labels=labels)


def absent(name: str, statement: str, reason: str, labels: Mapping[str, str]) -> Absent:
    return Absent(name=name, source=Source.WORKLOAD, statement=statement, reason=reason, labels=labels)
