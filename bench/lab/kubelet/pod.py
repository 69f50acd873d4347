"""One pod, from being bound to being gone. One task; its containers are tasks below it."""

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Mapping
from typing import Any, Final

from bench.lab.api import ApiError
from bench.lab.cgroups import Limits
from bench.lab.gpu.devices import InsufficientDevices
from bench.lab.kubelet import claims, environment, lying, status, times
from bench.lab.kubelet.admission import Rejection, limits, requests
from bench.lab.kubelet.container import Container, Role
from bench.lab.kubelet.host import Host
from bench.lab.kubelet.launching import container_limits, pod_limits
from bench.lab.kubelet.network import HOST_NETWORK, PodNetwork
from bench.lab.kubelet.publishing import SETTLE_SECONDS, START_TOGETHER_SECONDS, StatusReport
from bench.lab.kubelet.setting import PodSetting
from bench.lab.kubelet.volumes import VolumeMissing, Volumes, VolumeSetting
from bench.lab.network import BRIDGE_ADDRESS

_FIRST_STATUS_SECONDS: Final = 0.1
"""A pod that starts sooner is told as Running at once; one patch less for each of hundreds."""
_FIRST_RETRY_SECONDS: Final = 0.5
_LAST_RETRY_SECONDS: Final = 30.0
_FORCED_GRACE_SECONDS: Final = 2.0
_TO_COME: Final = ("ContainerCreating", "PodInitializing")
"""Why a container waits that was not started yet."""
_DEADLINE: Final = {
    "reason": "DeadlineExceeded",
    "message": "Pod was active on the node longer than the specified deadline",
}

_log = logging.getLogger(__name__)


class Pod:
    """What the agent does with one Pod object that is bound to one of its nodes."""

    def __init__(self, host: Host, node: str, capacity: Mapping[str, str], pod: dict[str, Any]) -> None:
        self._host = host
        self._setting = PodSetting(host=host, node=node, pod=pod, capacity=capacity, changed=self._on_change)
        spec = pod["spec"]
        self._inits = [
            Container(self._setting, each, Role.SIDECAR if status.is_sidecar(each) else Role.INIT)
            for each in spec.get("initContainers") or ()
        ]
        self._mains = [Container(self._setting, each, Role.MAIN) for each in spec["containers"]]
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._report = StatusReport(host.publisher, pod["metadata"], self._compose)
        self._deleted = asyncio.Event()
        self._started_at: str = (pod.get("status") or {}).get("startTime") or times.now()
        self._conditions: list[dict[str, Any]] = list((pod.get("status") or {}).get("conditions") or ())
        self._network: PodNetwork | None = None
        self._address = ""
        self._rejection: Rejection | None = None
        self._missed_deadline = False
        self._over = (pod.get("status") or {}).get("phase") in status.FINAL_PHASES
        self._told_ready = False
        self._timers: list[asyncio.TimerHandle] = []
        self._take_up(pod.get("status") or {})

    @property
    def node(self) -> str:
        return self._setting.node

    @property
    def name(self) -> tuple[str, str]:
        """Namespace and name."""
        metadata = self._setting.pod["metadata"]
        return metadata["namespace"], metadata["name"]

    @property
    def uid(self) -> str:
        return self._setting.uid

    @property
    def group(self) -> str:
        """Its control group; empty where there are none."""
        return self._setting.group

    @property
    def pids(self) -> list[int]:
        """The first process of each running container."""
        return [each.pid for each in (*self._inits, *self._mains) if each.pid]

    def container(self, name: str) -> Container | None:
        """By name, init containers too."""
        return next((each for each in (*self._inits, *self._mains) if each.name == name), None)

    def _take_up(self, before: Mapping[str, Any]) -> None:
        """Counts and last states, if an earlier agent ran this pod."""
        known = {
            each["name"]: each
            for kind in ("initContainerStatuses", "containerStatuses")
            for each in before.get(kind) or ()
        }
        waiting = "PodInitializing" if self._inits else "ContainerCreating"
        for each in (*self._inits, *self._mains):
            each.record.state = {"waiting": {"reason": waiting}}
            if each.name in known:
                each.resume(known[each.name])

    def update(self, pod: dict[str, Any]) -> None:
        """The object changed."""
        before = self._setting.pod["metadata"].get("deletionGracePeriodSeconds")
        gates = self._setting.pod["spec"].get("readinessGates")
        self._setting.pod = pod
        if self._setting.volumes is not None:
            self._setting.volumes.update(pod)
        if "deletionTimestamp" in pod["metadata"]:
            grace = pod["metadata"].get("deletionGracePeriodSeconds")
            if not self._deleted.is_set() or grace != before:
                self._end_within(self._setting.grace_seconds)
        elif gates and not self._over:
            self._report.touch()

    def vanish(self) -> None:
        """The object is gone: deleted by force, or with its node."""
        self._report.close()
        self._end_within(min(self._setting.grace_seconds, _FORCED_GRACE_SECONDS))

    def power_off(self) -> None:
        """Its node is gone: nothing is told, nothing has any grace."""
        self._report.close()
        self._setting.out_of_grace.set()
        self._end_within(0)

    def _end_within(self, seconds: float) -> None:
        self._deleted.set()
        self._setting.stopping.set()
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(max(seconds, _FORCED_GRACE_SECONDS), self._setting.out_of_grace.set))

    async def run(self) -> None:
        """All of its life; returns when nothing is left of it."""
        try:
            if "deletionTimestamp" in self._setting.pod["metadata"]:
                self._end_within(0)
            if not self._over:
                await self._live()
            await self._deleted.wait()
            await self._report.remove()
            self._setting.note("pod-gone")
        finally:
            for timer in self._timers:
                timer.cancel()
            self._report.close()
            shutil.rmtree(self._setting.folder, ignore_errors=True)

    async def _live(self) -> None:
        try:
            self._rejection = await self._admit()
            if self._rejection is None:
                self._report.touch(_FIRST_STATUS_SECONDS)
                self._watch_deadline()
                if await self._prepare():
                    await self._run_containers()
            else:
                self._setting.tell("Warning", self._rejection.reason, self._rejection.message)
        finally:
            self._over = True
            for each in self._mains if self._was_initialized() else ():
                each.lose()
            await self._release()
        await self._report.flush()

    def _was_initialized(self) -> bool:
        """A container for which no init container made way stays waiting: upstream's `hasPodInitialized`."""
        ran = any(each.record.container_id or "waiting" not in each.record.state for each in self._mains)
        return ran or not self._inits or self._inits[-1].record.ready

    async def _admit(self) -> Rejection | None:
        setting = self._setting
        no_room = self._host.rooms.take(setting.node, setting.uid, setting.pod["spec"])
        if no_room is not None:
            return no_room
        while not setting.stopping.is_set():
            try:
                found = await claims.claims_of(self._host.api, setting.pod)
                setting.devices = self._host.devices.allocate(setting.node, setting.pod, found)
                await claims.tell_devices(self._host.api, self._host.devices, found)
            except InsufficientDevices as error:
                return Rejection(reason="UnexpectedAdmissionError", message=str(error))
            except (claims.ClaimNotReady, ApiError) as error:
                setting.tell(
                    "Warning", "FailedPrepareDynamicResources", f"Failed to prepare dynamic resources: {error}"
                )
                await self._pause(_FIRST_RETRY_SECONDS)
            else:
                break
        return None

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._setting.stopping.wait()

    def _watch_deadline(self) -> None:
        seconds = self._setting.pod["spec"].get("activeDeadlineSeconds")
        if seconds is None:
            return
        passed = (times.parse(times.now()) - times.parse(self._started_at)).total_seconds()
        self._timers.append(asyncio.get_running_loop().call_later(max(0.0, seconds - passed), self._miss_deadline))

    def _miss_deadline(self) -> None:
        self._missed_deadline = True
        self._setting.tell("Normal", _DEADLINE["reason"], _DEADLINE["message"])
        self._setting.stopping.set()

    async def _prepare(self) -> bool:
        """Volumes, network, control groups; False when the pod stops before all of it is there."""
        setting = self._setting
        self._make_groups()
        await self._make_network()
        folder = setting.folder / "volumes"
        folder.mkdir(parents=True, exist_ok=True)
        setting.volumes = Volumes(
            setting.pod,
            VolumeSetting(
                api=self._host.api,
                objects=self._host.objects,
                folder=folder,
                node_root=self._host.paths.node_root(setting.node),
                field=setting.field,
                capacity=setting.capacity,
            ),
        )
        retry_seconds = _FIRST_RETRY_SECONDS
        while not setting.stopping.is_set():
            try:
                await setting.volumes.provide()
            except VolumeMissing as error:
                setting.tell("Warning", "FailedMount", str(error))
                self._report.touch()
                await self._wait_for_volumes(retry_seconds)
                retry_seconds = min(2 * retry_seconds, _LAST_RETRY_SECONDS)
            else:
                return True
        return False

    async def _wait_for_volumes(self, seconds: float) -> None:
        """Until a missing object may have come, the time is over, or the pod stops."""
        assert self._setting.volumes is not None
        change = asyncio.ensure_future(self._setting.volumes.wait_for_change(seconds))
        stop = asyncio.ensure_future(self._setting.stopping.wait())
        await asyncio.wait({change, stop}, return_when=asyncio.FIRST_COMPLETED)
        change.cancel()
        stop.cancel()

    def _make_groups(self) -> None:
        groups, spec = self._host.groups, self._setting.pod["spec"]
        if not groups.available:
            return
        device = next((each for each in self._setting.devices.values() if each.cgroup), None)
        parent = device.cgroup if device is not None else "pods"
        groups.make(parent, Limits(cpu_cores=device.cpu_cores if device is not None else 0.0))
        self._setting.group = f"{parent}/pod-{self.uid}"
        lasting = [*spec["containers"], *(each for each in spec.get("initContainers") or () if status.is_sidecar(each))]
        asked = requests(spec)
        whole = pod_limits(limits(lasting, "cpu"), limits(lasting, "memory"), asked.get("cpu", limits([], "cpu")))
        groups.make(self._setting.group, whole)
        for each in (*(spec.get("initContainers") or ()), *spec["containers"]):
            groups.make(f"{self._setting.group}/{each['name']}", container_limits(each))

    async def _make_network(self) -> None:
        setting, networks = self._setting, self._host.networks
        if setting.pod["spec"].get("hostNetwork"):
            self._network = HOST_NETWORK
        else:
            loop = asyncio.get_running_loop()
            self._network = await loop.run_in_executor(networks.thread, networks.make)
        setting.network = self._network
        self._address = self._network.address
        etc = setting.folder / "etc"
        etc.mkdir(parents=True, exist_ok=True)
        spec, namespace = setting.pod["spec"], setting.pod["metadata"]["namespace"]
        (etc / "resolv.conf").write_text(environment.resolv_conf(spec, namespace), encoding="utf-8")
        (etc / "hosts").write_text(environment.hosts(setting.pod, setting.node, self._address), encoding="utf-8")
        name = environment.hostname(setting.pod, setting.node)
        (etc / "hostname").write_text(f"{name}\n", encoding="utf-8")

    async def _run_containers(self) -> None:
        """Until all have ended for good; ends them when the pod stops."""
        assert self._setting.volumes is not None
        fresh = asyncio.create_task(self._setting.volumes.keep_fresh()) if self._setting.volumes.has_content else None
        running = asyncio.create_task(self._run_in_order())
        stop = asyncio.create_task(self._setting.stopping.wait())
        await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        self._setting.stopping.set()
        await self._stop_all()
        await running
        if fresh is not None:
            fresh.cancel()

    async def _run_in_order(self) -> None:
        if all(each.is_settled for each in self._mains):
            return
        for each in self._inits:
            task = self._start(each)
            if each.role is Role.SIDECAR:
                await each.wait_until_up()
            else:
                await task
            failed = each.role is Role.INIT and not each.record.ready
            if failed or self._setting.stopping.is_set():
                return
        await asyncio.gather(*(self._start(each) for each in self._mains))

    def _start(self, container: Container) -> asyncio.Task[None]:
        self._tasks[container.name] = asyncio.create_task(container.run())
        return self._tasks[container.name]

    async def _stop_all(self) -> None:
        """Sidecars last, and the last one first: the others may need them to the end."""
        firsts = [each for each in (*self._inits, *self._mains) if each.role is not Role.SIDECAR]
        await asyncio.gather(*(self._stop(each) for each in firsts))
        for each in reversed(self._inits):
            if each.role is Role.SIDECAR:
                await self._stop(each)

    async def _stop(self, container: Container) -> None:
        task = self._tasks.get(container.name)
        if task is not None:
            await container.stop()
            await task

    async def _release(self) -> None:
        """Give back what the pod held; its processes are gone."""
        if self._setting.volumes is not None:
            self._setting.volumes.close()
        if self._network is not None and not self._network.is_host:
            networks = self._host.networks
            await asyncio.get_running_loop().run_in_executor(networks.thread, networks.remove, self._network)
        self._network = None
        if self._setting.group and not self._host.groups.remove(self._setting.group):
            _log.warning("the control group %s is not empty yet", self._setting.group)
        lying.after_delay(self._host.faults, "device-free", lambda: self._host.devices.release(self.uid))
        self._host.rooms.give_back(self._setting.node, self.uid)

    def _on_change(self) -> None:
        self._report.touch(START_TOGETHER_SECONDS if self._is_starting() else SETTLE_SECONDS)

    def _is_starting(self) -> bool:
        """Whether some of its containers run and others are about to: upstream tells of them together."""
        states = [each.record.state for each in self._mains]
        coming = any(each.get("waiting", {}).get("reason") in _TO_COME for each in states)
        return coming and any("running" in each for each in states)

    def _compose(self) -> dict[str, Any]:
        """The whole status, as the API server is to have it."""
        if self._rejection is not None:
            message = f"Pod was rejected: {self._rejection.message}"
            return {
                "phase": "Failed",
                "reason": self._rejection.reason,
                "message": message,
                "startTime": self._started_at,
            }
        spec = self._setting.pod["spec"]
        inits, mains = [each.status() for each in self._inits], [each.status() for each in self._mains]
        failure = _DEADLINE if self._missed_deadline else {"reason": None, "message": None}
        phase = "Failed" if self._missed_deadline else status.phase(spec, inits, mains, over=self._over)
        told: dict[str, Any] = {
            **failure,
            "phase": phase,
            "startTime": self._started_at,
            "observedGeneration": self._setting.pod["metadata"].get("generation", 1),
            "conditions": self._compose_conditions(spec, inits, mains, phase),
            "hostIP": BRIDGE_ADDRESS,
            "hostIPs": [{"ip": BRIDGE_ADDRESS}],
        }
        if self._address:
            # The list merges by address; a pod that was started anew has another one.
            told |= {"podIP": self._address, "podIPs": [{"ip": self._address}, {"$patch": "replace"}]}
        if inits:
            told["initContainerStatuses"] = inits
        return {**told, "containerStatuses": mains}

    def _compose_conditions(
        self, spec: Mapping[str, Any], inits: list[dict[str, Any]], mains: list[dict[str, Any]], phase: str
    ) -> list[dict[str, Any]]:
        known = (self._setting.pod.get("status") or {}).get("conditions") or ()
        of_containers = status.containers_ready(spec, [*inits, *mains], phase)
        ready = status.ready(spec, of_containers, known)
        self._note_ready(holds=ready["status"] == "True")
        conditions = (
            status.sandbox_ready(holds=self._network is not None),
            status.initialized(spec, inits, mains, phase),
            ready,
            of_containers,
        )
        self._conditions = status.with_times(times.now(), conditions, self._conditions)
        generation = self._setting.pod["metadata"].get("generation", 1)
        # What a condition said before stays in a merge unless it is taken away.
        empty = {"reason": None, "message": None, "observedGeneration": generation}
        return [{**empty, **each} for each in self._conditions]

    def _note_ready(self, *, holds: bool) -> None:
        if holds != self._told_ready:
            self._told_ready = holds
            self._setting.note("pod-ready" if holds else "pod-not-ready")
