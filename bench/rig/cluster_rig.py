"""All that a scenario may touch during one run, on one target."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bench import interruption
from bench.cluster.client import Cluster
from bench.cluster.journal import Journal
from bench.cluster.objects import Object, Ref, path_of
from bench.cluster.recorder import Followed, Recorder
from bench.cluster.sandbox import Sandbox
from bench.cluster.wait import wait_until, wait_until_gone
from bench.errors import ApiRefused, BenchBroke, DeadlineExceeded, Forbidden, NotFound
from bench.metrics.dcgm import FIELDS
from bench.metrics.prometheus import Meaning, Prometheus
from bench.model.inventory import Inventory
from bench.model.measurement import NO_LABELS, Reading, Source, Window
from bench.model.presence import Part
from bench.model.scenario import Errand, LoadWorkers, Progress, ScaledMetric, Workload
from bench.model.units import Unit, kubernetes_quantity
from bench.rig import answers, watched
from bench.rig.clocks import Clocks
from bench.rig.cost import CostMeter
from bench.rig.errands import Sender, allocations, unused
from bench.rig.exporters import exporter_readings, find_exporters
from bench.rig.holders import Holders
from bench.rig.load_files import LoadPlan
from bench.rig.load_pods import LoadPods, PodLoad, PodsPlan
from bench.rig.load_process import LoadProcess
from bench.rig.polling import Poller
from bench.rig.probe_pods import ProbePlan, ProbePods
from bench.rig.seen import Seen

CUSTOM_METRICS: Final = "custom.metrics.k8s.io/v1beta1"
EXTERNAL_METRICS: Final = "external.metrics.k8s.io/v1beta1"


class Clock:
    """This machine's."""

    def utc_seconds(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic_seconds(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAddress:
    """A Gateway that routes may be attached to, and where it listens."""

    name: str
    namespace: str
    url: str
    inside_url: str
    """By which pods of the cluster reach it."""


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """What a rig is given: the opened target, and where the scenario keeps files."""

    cluster: Cluster
    prometheus: Prometheus | None
    inventory: Inventory
    gateway_url: str
    run_id: str
    folder: Path
    journal: Journal
    tell: Callable[[Progress], None] = lambda _: None
    """Where progress goes."""


@dataclass(slots=True)
class ClusterRig:
    """The rig of one scenario; leaving it removes what the scenario created, and stops what it started."""

    around: Surroundings
    clock: Clock = field(default_factory=Clock)
    _closing: ExitStack = field(default_factory=ExitStack)
    _sandbox: Sandbox = field(init=False)
    _recorder: Recorder = field(init=False)
    _meter: CostMeter = field(init=False)
    _loads: int = 0
    _load_pods: dict[LoadWorkers, LoadPods] = field(default_factory=dict)
    _errands: dict[str, Followed] = field(default_factory=dict)
    _seen: Seen = field(default_factory=Seen)
    _began_seconds: float = field(default_factory=time.time)

    def __enter__(self) -> Self:
        around = self.around
        self._closing.enter_context(around.journal)  # first in, last out: the sandbox writes to it while it closes
        self._sandbox = self._closing.enter_context(
            Sandbox(cluster=around.cluster, journal=around.journal, run_id=around.run_id)
        )
        self._recorder = self._closing.enter_context(Recorder(around.cluster))
        self._meter = CostMeter(around.cluster.requests_total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with interruption.cleaning():
            self._closing.__exit__(kind, error, trace)

    @property
    def run_id(self) -> str:
        """Label value of every object of this run."""
        return self.around.run_id

    @property
    def inventory(self) -> Inventory:
        """What the target was seen to have."""
        return self.around.inventory

    @property
    def leftovers(self) -> tuple[str, ...]:
        """What would not go, a sentence each."""
        return tuple(f"{each.ref}: {each.reason}" for each in self._sandbox.left)

    def say(self, phase: str, *, left_seconds: float | None = None, **figures: float) -> None:
        """Tell whoever watches what is done now."""
        self.around.tell(Progress(phase=phase, left_seconds=left_seconds, figures=figures))

    def figures(self) -> Mapping[str, float]:
        """What can be seen at this moment of what the scenario follows, polls, probes and loads."""
        return self._seen.figures()

    def namespace(self, purpose: str, labels: Mapping[str, str] = NO_LABELS) -> str:
        """A namespace of the run's own."""
        return self._sandbox.namespace(f"bench-{self.run_id}-{purpose}"[:63].rstrip("-"), labels)

    def create(self, manifest: Mapping[str, Any]) -> Object:
        """Create one object of the run's own."""
        return self._sandbox.create(manifest)

    def refusal(self, manifest: Mapping[str, Any]) -> str:
        """Why the API server would not admit this object, in its words; empty where it would. Nothing is created."""
        try:
            self.around.cluster.create(manifest, dry_run=True)
        except (ApiRefused, Forbidden) as refused:
            return str(refused)
        return ""

    def remove(self, *manifests: Mapping[str, Any], grace_seconds: int | None = None) -> None:
        """Remove objects before the end, all at once."""
        self._sandbox.remove(*map(Ref.of, manifests), grace_seconds=grace_seconds)

    def errands(self, pods: Iterable[Mapping[str, Any]], *, within_seconds: float) -> Mapping[str, Errand]:
        """Create these pods at once, and return what each wrote when all have ended; by name."""
        pods = list(pods)
        followed = {name: self._pods_in(name) for name in {pod["metadata"]["namespace"] for pod in pods}}
        sender = Sender(
            create=self.create,
            remove=self.remove,
            observe=self.observe,
            logs=lambda namespace, pod, container: self.logs(namespace=namespace, pod=pod, container=container),
            clock=self.clock.monotonic_seconds,
        )
        return sender.run(pods, followed, within_seconds)

    def _pods_in(self, namespace: str) -> Followed:
        if namespace not in self._errands:
            self._errands[namespace] = self.follow("v1", "pods", namespace=namespace)
        return self._errands[namespace]

    def allocations(self, followed: Followed) -> Iterator[Reading]:
        """Which devices the followed ResourceClaims were allocated until now, pod by pod."""
        slices = self.around.cluster.list("/apis/resource.k8s.io/v1/resourceslices").items
        yield from allocations([event.object for event in followed.events()], slices)

    def unused(self, resource: str) -> Mapping[str, int]:
        """Node → how much of an extended resource no pod has asked for."""
        usable = (node for node in self.inventory.nodes if node.is_ready and node.is_schedulable)
        offered = {node.name: node.allocatable.get(resource, 0.0) for node in usable}
        return unused(offered, self.around.cluster.list("/api/v1/pods").items, resource)

    def deploy(self, workload: Workload, *, within_seconds: float) -> None:
        """Create a workload's objects and wait until its Deployments are available."""
        manifests = list(workload.manifests())
        for manifest in manifests:
            self.create(manifest)
        for manifest in manifests:
            if manifest["kind"] == "Deployment":
                self.wait_until(manifest, is_available, within_seconds=within_seconds)

    def wait_until(
        self, manifest: Mapping[str, Any], claim: Callable[[Object], bool], *, within_seconds: float
    ) -> Object:
        """The object as soon as the claim is true of it."""
        return wait_until(self.around.cluster, Ref.of(manifest), claim, within_seconds=within_seconds)

    def wait_until_gone(self, manifest: Mapping[str, Any], *, within_seconds: float) -> None:
        """Returns when the object is not there."""
        wait_until_gone(self.around.cluster, Ref.of(manifest), within_seconds=within_seconds)

    def follow(self, api_version: str, plural: str, *, namespace: str, label_selector: str = "") -> Followed:
        """Begin to follow a collection."""
        followed = self._recorder.follow(path_of(api_version, plural, namespace), label_selector=label_selector)
        self._seen.followed.append(followed)
        return followed

    def observe(self, followed: Followed, claim: Callable[[Any], bool], within_seconds: float) -> bool:
        """Whether the claim became true of what is followed, within the time."""
        try:
            followed.wait_until(claim, within_seconds=within_seconds)
        except DeadlineExceeded:
            return False
        return True

    def holders(self, followed: Followed, *, container: str) -> Holders:
        """The devices that the followed pods tell in the log of a container."""

        def read_log(pod: Mapping[str, Any]) -> str:
            metadata = pod["metadata"]
            return self.logs(namespace=metadata["namespace"], pod=metadata["name"], container=container)

        return self._closing.enter_context(Holders(followed, read_log))

    def counts(self, followed: Followed, name: str, path: tuple[str, str], *, of: str) -> Iterator[Reading]:
        """A count of the object of this name at each of its changes."""
        yield from watched.counts(
            [each for each in followed.events() if each.object["metadata"]["name"] == of], name, path
        )

    def hpa_values(self, followed: Followed) -> Iterator[Reading]:
        """What the followed HPA showed of its metric."""
        yield from watched.hpa_values(followed.events())

    def pod_moments(self, followed: Followed) -> Iterator[Reading]:
        """When each followed pod was first seen in each state."""
        yield from watched.pod_moments(followed.events())

    def cost(self) -> Iterator[Reading]:
        """What the bench itself takes since the scenario began: of one core, and requests a second."""
        yield from self._meter.readings(self.around.cluster.requests_total)

    def away(self) -> Iterator[Reading]:
        """When the API server and Prometheus did not answer; nothing where they always did."""
        asked = [(Part.API_SERVER, Source.KUBERNETES, self.around.cluster.presence)]
        if self.around.prometheus is not None:
            asked.append((Part.PROMETHEUS, Source.PROMETHEUS, self.around.prometheus.presence))
        for part, source, presence in asked:
            yield from presence.away(part, source=source, since_seconds=self._began_seconds)

    def logs(self, *, namespace: str, pod: str, container: str) -> str:
        """What a container has written so far."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        answer = self.around.cluster.stream(path, query={"container": container}, read_timeout_seconds=30.0)
        return bytes(answer.data).decode(errors="replace")

    def poll_metric(self, asked: ScaledMetric, *, namespace: str, hertz: float) -> Poller:
        """The metrics API, asked as the autoscaler asks it; of several answers the sum."""
        path, query = metric_path(asked, namespace)

        def ask() -> float | None:
            items = self.around.cluster.request("GET", path, query=query).get("items") or ()
            return sum(kubernetes_quantity(each["value"]) for each in items) if items else None

        look = self.around.prometheus.look if self.around.prometheus else lambda: None
        poller = self._closing.enter_context(Poller(ask, hertz=hertz, look=look))
        self._seen.pollers.append(poller)
        return poller

    def probes(self, *, namespace: str, image: str, metrics: tuple[str, ...], seconds: float) -> ProbePods:
        """A probe pod on every node with accelerators, started."""
        plan = ProbePlan(
            namespace=namespace, image=image, exporters=self._exporters(), metrics=metrics, seconds=seconds
        )
        pods = ProbePods(self.around.cluster, plan)
        pods.start(self._sandbox)
        self._seen.probes.append(pods)
        return pods

    def clocks(self) -> Clocks:
        """Clocks of the API server and of Prometheus against this machine's, asked from now on."""
        return self._closing.enter_context(Clocks(self.around.cluster, self.around.prometheus))

    def exporters(self) -> Iterator[Reading]:
        """What each exporter of GPU metrics is told to do and declares; a node with devices and none is an absence."""
        return exporter_readings(self.around.cluster, {device.node for device in self.inventory.devices})

    def device_samples(self, *, start_seconds: float, end_seconds: float) -> Iterator[Reading]:
        """Of every device metric that is known under any of its names, all samples, in base units."""
        window = Window.of_seconds(start_seconds, end_seconds)
        for known in FIELDS.values():
            meaning = Meaning(name=known.measurement, unit=known.unit, factor=known.factor)
            yield from self._prometheus().samples(known.selector(), meaning, window)

    def samples(self, selector: str, *, name: str, start_seconds: float, end_seconds: float) -> tuple[Reading, ...]:
        """The samples of a selector that Prometheus has stored, in the unit in which it shows them."""
        meaning = Meaning(name=name, unit=Unit.METRIC_VALUE)
        return self._prometheus().samples(selector, meaning, Window.of_seconds(start_seconds, end_seconds))

    def _prometheus(self) -> Prometheus:
        if self.around.prometheus is None:
            raise BenchBroke("The scenario asks Prometheus without needing one.")
        return self.around.prometheus

    def load(
        self, *, url: str, steps: str, arguments: tuple[str, ...] = (), workers: LoadWorkers | None = None
    ) -> LoadProcess | PodLoad:
        """Start `bench load` with these steps, here or in pods of the cluster; it ends with the rig at the latest."""
        plan = LoadPlan(url=url, steps=steps, arguments=arguments)
        self._loads += 1
        folder = self.around.folder / f"load-{self._loads}"
        folder.mkdir()
        process = LoadProcess(plan, folder) if workers is None else self._pods_of(workers).begin(plan, folder)
        self._closing.callback(process.stop)
        self._seen.load = process
        return process

    def gateway(self) -> GatewayAddress:
        """The first programmed Gateway; the URL that the user gave, or else its own address."""
        listed = self.around.cluster.list("/apis/gateway.networking.k8s.io/v1/gateways").items
        for each in listed:
            addresses = each.get("status", {}).get("addresses") or ()
            if addresses:
                metadata = each["metadata"]
                url = (
                    self.around.gateway_url or f"http://{addresses[0]['value']}:{each['spec']['listeners'][0]['port']}"
                )
                return GatewayAddress(
                    name=metadata["name"],
                    namespace=metadata["namespace"],
                    url=url,
                    inside_url=self._inside_url(addresses[0]["value"], each["spec"]["listeners"][0]["port"]),
                )
        raise NotFound("No Gateway has an address. `kubectl get gateways -A` shows their state.")

    def is_answered(self, url: str, *, hostname: str, by_header: str, within_seconds: float) -> bool:
        """Whether the Gateway brought a GET for this host to a pod, which answers with the header, within the time."""
        return answers.is_answered(url, hostname=hostname, by_header=by_header, within_seconds=within_seconds)

    def _pods_of(self, workers: LoadWorkers) -> LoadPods:
        """The pods that make loads, started at their first load and kept for the next."""
        if workers not in self._load_pods:
            namespace = self.namespace("load" if not self._load_pods else f"load-{len(self._load_pods) + 1}")
            pods = LoadPods(self.around.cluster, PodsPlan(namespace=namespace, workers=workers))
            pods.start(self._sandbox)
            self._load_pods[workers] = pods
        return self._load_pods[workers]

    def _inside_url(self, address: str, port: int) -> str:
        """By the Service that has the Gateway's address, whose port may be another than the listener's; else by it."""
        for service in self.around.cluster.list("/api/v1/services").items:
            spec, metadata = service["spec"], service["metadata"]
            outside = [each.get("ip") for each in service.get("status", {}).get("loadBalancer", {}).get("ingress", ())]
            if address in {spec.get("clusterIP"), *(spec.get("externalIPs") or ()), *outside}:
                offered = [each["port"] for each in spec["ports"]]
                chosen = port if port in offered else offered[0]
                return f"http://{metadata['name']}.{metadata['namespace']}.svc:{chosen}"
        return f"http://{address}:{port}"

    def _exporters(self) -> Mapping[str, str]:
        """Node with accelerators → URL of its exporter's text, empty where none runs."""
        nodes = {device.node for device in self.inventory.devices}
        found = dict.fromkeys(sorted(nodes), "")
        found |= {each.node: each.url for each in find_exporters(self.around.cluster) if each.node in nodes}
        return found


def is_available(deployment: Mapping[str, Any]) -> bool:
    """All the replicas that are asked for are there and ready."""
    status = deployment.get("status", {})
    wanted = deployment["spec"].get("replicas", 1)
    is_observed = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return bool(is_observed and status.get("availableReplicas", 0) >= wanted)


def metric_path(asked: ScaledMetric, namespace: str) -> tuple[str, Mapping[str, str]]:
    """
    Where the autoscaler asks for a metric of this type, as its controller does.

    An Object metric of a Namespace is asked for in the HPA's own namespace, whatever `describedObject` names.
    """
    inside = f"namespaces/{namespace}"
    match asked.kind:
        case "External":
            return f"/apis/{EXTERNAL_METRICS}/{inside}/{asked.metric}", {}
        case "Pods":
            return f"/apis/{CUSTOM_METRICS}/{inside}/pods/*/{asked.metric}", {"labelSelector": asked.pod_selector}
        case _:
            return f"/apis/{CUSTOM_METRICS}/{inside}/metrics/{asked.metric}", {}
