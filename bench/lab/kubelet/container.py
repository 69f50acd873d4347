"""One container of one pod, from its image to its last exit."""

import asyncio
import contextlib
import secrets
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from bench.lab.api import ApiError
from bench.lab.images import Image
from bench.lab.kubelet import logs, lying, times
from bench.lab.kubelet.backoff import Backoff
from bench.lab.kubelet.environment import ConfigMissing
from bench.lab.kubelet.hooks import HookFailed, Probing
from bench.lab.kubelet.launching import Prepared, container_group, prepare
from bench.lab.kubelet.probes import ProbeKind
from bench.lab.kubelet.process import ContainerProcess, NotStarted
from bench.lab.kubelet.pulling import Pulls
from bench.lab.kubelet.setting import PodSetting
from bench.lab.kubelet.shelf import ProgramMissing
from bench.lab.kubelet.status import should_restart

_CONFIG_RETRY_SECONDS: Final = 2.0
_LEAST_GRACE_SECONDS: Final = 2.0
"""A container has this long to end even if its pod's grace is shorter or used up by a hook, as upstream."""
_START_ERROR: Final = 128
_KILLED: Final = 137
_MESSAGE_BYTES: Final = 4096


class Role(StrEnum):
    """What its end means."""

    INIT = "init"
    SIDECAR = "sidecar"
    MAIN = "main"


@dataclass(slots=True, kw_only=True)
class Record:
    """What the Pod's status tells of a container."""

    state: dict[str, Any]
    last_state: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""
    image_id: str = ""


class Container:
    """Owns its process, its log and its record; one task runs it."""

    def __init__(self, setting: PodSetting, spec: dict[str, Any], role: Role) -> None:
        self.name: str = spec["name"]
        self.role = role
        self.record = Record(state={"waiting": {"reason": "ContainerCreating"}})
        self.log: logs.LogWriter | None = None
        self._setting = setting
        self._spec = spec
        self._process: ContainerProcess | None = None
        self._probing: Probing | None = None
        self._ending = False
        self._killer: asyncio.Task[None] | None = None
        """Held so that it is not lost while it works."""
        self._settled = False
        self._backoff = Backoff()
        self._pulls = Pulls(setting, spec, self._wait_as)
        self._has_run = False
        self._changed = asyncio.Event()
        self._readiness = lying.Readiness(setting.host.faults, self._on_ready)
        self._is_mute = False

    @property
    def pid(self) -> int:
        """Of its first process; 0 while none runs."""
        return self._process.pid if self._process is not None and not self._process.is_over else 0

    @property
    def is_up(self) -> bool:
        """Running and past its startup probe, or ended for good: who waits for it may go on."""
        return self.record.started or "terminated" in self.record.state

    def log_path(self, *, previous: bool = False) -> Path:
        """Where its output lies; that of the start before the last with `previous`."""
        return self._setting.folder / "logs" / self.name / f"{self.record.restarts - previous}.log"

    async def wait_until_up(self) -> None:
        """Returns when `is_up` or the pod stops."""
        while not self.is_up and not self._setting.stopping.is_set():
            await self._changed.wait()

    def status(self) -> dict[str, Any]:
        """As the API has it."""
        record = self.record
        told: dict[str, Any] = {
            "name": self.name,
            "image": self._spec.get("image", ""),
            "imageID": record.image_id,
            "state": record.state,
            "lastState": record.last_state,
            "ready": record.ready,
            "started": record.started,
            "restartCount": record.restarts,
        }
        return {**told, "containerID": record.container_id} if record.container_id else told

    def resume(self, before: Mapping[str, Any]) -> None:
        """Take up the count of an agent that died: its containers died with it."""
        if not before.get("containerID"):
            return
        self.record.restarts = int(before.get("restartCount", 0)) + 1
        running = (before.get("state") or {}).get("running")
        ended = (before.get("state") or {}).get("terminated") or {
            "exitCode": _KILLED,
            "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the node agent restarted",
            "startedAt": (running or {}).get("startedAt"),
            "finishedAt": times.now(),
            "containerID": before["containerID"],
        }
        self.record.last_state = {"terminated": ended}
        self._has_run = False
        if self.role is Role.MAIN and not self._restarts(ended["exitCode"]):
            self._settled = True
            self.record.restarts -= 1
            self.record.container_id, self.record.image_id = before["containerID"], before.get("imageID", "")
            self.record.state, self.record.last_state = self.record.last_state, before.get("lastState") or {}

    @property
    def is_settled(self) -> bool:
        """It ended under an earlier agent, and its pod does not restart it."""
        return self._settled

    def lose(self) -> None:
        """The pod ends before the container ever ran."""
        if "waiting" in self.record.state:
            message = "The container could not be located when the pod was terminated"
            ended = {"exitCode": _KILLED, "reason": "ContainerStatusUnknown", "message": message}
            self._become({"terminated": {**ended, "startedAt": None, "finishedAt": None}})

    async def run(self) -> None:
        """Until it has ended for good or the pod stops."""
        while not self._setting.stopping.is_set() and not self._settled:
            image = await self._pulls.pull()
            if image is None:
                return
            self.record.image_id = self._pulls.image_id(image)
            prepared = await self._prepare(image)
            if prepared is None:
                return
            if self.role is Role.MAIN and not self._has_run:
                await self._pause(lying.delay_seconds(self._setting.host.faults, "started"))
            begun = asyncio.get_running_loop().time()
            code = await self._run_once(prepared)
            if self._setting.stopping.is_set() or not self._restarts(code):
                return
            await self._wait_before_restart(self._backoff.after_end(asyncio.get_running_loop().time() - begun))

    def _restarts(self, code: int) -> bool:
        policy = self._setting.pod["spec"].get("restartPolicy", "Always")
        if self.role is Role.INIT and "restartPolicy" not in self._spec:
            policy = "OnFailure" if policy == "Always" else policy
        return should_restart(policy, self._spec, code)

    def _become(self, state: dict[str, Any]) -> None:
        self.record.state = state
        self._tell_change()

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        self._setting.changed()

    def _wait_as(self, reason: str, message: str = "") -> None:
        waiting = {"reason": reason, "message": message} if message else {"reason": reason}
        self._become({"waiting": waiting})

    async def _pause(self, seconds: float) -> None:
        """Returns early when the pod stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._setting.stopping.wait()

    async def _wait_before_restart(self, seconds: float) -> None:
        if not seconds:
            return
        metadata = self._setting.pod["metadata"]
        pod = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
        words = f"restarting failed container={self.name} pod={pod}"
        self.record.last_state = self.record.state
        self._wait_as("CrashLoopBackOff", f"back-off {_duration(seconds)} {words}")
        self._tell("Warning", "BackOff", f"Back-off restarting failed container {self.name} in pod {pod}")
        await self._pause(seconds)

    def _tell(self, kind: str, reason: str, message: str) -> None:
        self._setting.tell(kind, reason, message, container=self.name)

    async def _prepare(self, image: Image) -> Prepared | None:
        """Everything that the start needs; None when the pod stops before all of it is there."""
        self._is_mute = lying.is_mute(self._setting.host.faults, self._spec["image"])
        spec = {**self._spec, **lying.DOES_NOTHING} if self._is_mute else self._spec
        told = ""
        while not self._setting.stopping.is_set():
            try:
                return await prepare(self._setting, spec, image, self.record.restarts + self._has_run)
            except (ConfigMissing, ProgramMissing, ApiError, OSError) as error:
                if str(error) != told:
                    told = str(error)
                    self._tell("Warning", "Failed", f"Error: {told}")
                    self._wait_as("CreateContainerConfigError", told)
                await self._pause(_CONFIG_RETRY_SECONDS)
        return None

    async def _run_once(self, prepared: Prepared) -> int:
        """One start, to its end; the exit code."""
        self._begin()
        assert self.log is not None
        self._tell("Normal", "Created", "Container created")
        try:
            self._process = await self._setting.host.spawner.start(prepared.launch, self.log.feed)
        except OSError as error:
            return self._not_started(str(error))
        started_at = times.now()
        self._ending = False
        self._become({"running": {"startedAt": started_at}})
        self._tell("Normal", "Started", "Container started")
        self._setting.note("container-started", container=self.name, restarts=self.record.restarts)
        self._probing = Probing(self._setting, self._spec, self._process, prepared)
        if self._setting.stopping.is_set():
            self._killer = asyncio.create_task(self.stop())
        beside = asyncio.create_task(self._accompany(self._probing))
        try:
            code = await asyncio.shield(self._process.ended)
        except NotStarted as error:
            return self._not_started(str(error))
        finally:
            beside.cancel()
            self.log.close()
        self._ended(code, started_at, prepared)
        return code

    def _begin(self) -> None:
        """Numbers and names of the coming start."""
        if self._has_run:
            self.record.restarts += 1
            if "terminated" in self.record.state:
                self.record.last_state = self.record.state
            self._forget_old_logs()
        self._has_run = True
        self.record.container_id = f"lab://{secrets.token_hex(32)}"
        self.record.started = self.record.ready = False
        self.log = logs.LogWriter(self.log_path())

    def _forget_old_logs(self) -> None:
        """The last start's is kept for `--previous`; upstream keeps one too."""
        forgotten = self._setting.folder / "logs" / self.name / f"{self.record.restarts - 2}.log"
        forgotten.unlink(missing_ok=True)
        logs.older(forgotten).unlink(missing_ok=True)

    def _not_started(self, message: str) -> int:
        self._tell("Warning", "Failed", f"Error: {message}")
        self._terminated(
            _START_ERROR, {"reason": "StartError", "message": message, "startedAt": "1970-01-01T00:00:00Z"}
        )
        return _START_ERROR

    def _ended(self, code: int, started_at: str, prepared: Prepared) -> None:
        group = container_group(self._setting, self._spec)
        out_of_memory = bool(code and group and self._setting.host.groups.oom_kills(group))
        reason = "OOMKilled" if out_of_memory else ("Error" if code else "Completed")
        details = {"reason": reason, "startedAt": started_at}
        message = self._last_message(prepared, code)
        self._terminated(code, {**details, "message": message} if message else details)
        self._setting.note("container-ended", container=self.name, exit_code=code, reason=reason)

    def _terminated(self, code: int, details: dict[str, Any]) -> None:
        self._readiness.forget()
        self.record.started = False
        self.record.ready = self.role is Role.INIT and code == 0
        own = {"exitCode": code, "finishedAt": times.now(), "containerID": self.record.container_id}
        self._become({"terminated": {**details, **own}})

    def _last_message(self, prepared: Prepared, code: int) -> str:
        with prepared.termination_log.open("rb") as written:
            message = written.read(_MESSAGE_BYTES).decode(errors="replace")
        falls_back = self._spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if not message and code and falls_back:
            return logs.tail(self.log_path())
        return message

    async def _accompany(self, probing: Probing) -> None:
        """Hooks and probes of one start; cancelled at its end."""
        if self._is_mute:
            self.record.started = True
            self._readiness.say(True)
            return
        try:
            await probing.post_start()
        except HookFailed as error:
            self._tell("Warning", "FailedPostStartHook", str(error))
            await self._end_process("FailedPostStartHook", self._setting.grace_seconds)
            return
        await probing.watch(
            started=self._on_started(probing),
            ready=self._readiness.say,
            unhealthy=self._on_unhealthy,
        )

    def _on_started(self, probing: Probing) -> Callable[[], None]:
        def started() -> None:
            self.record.started = True
            self._readiness.say(not probing.has(ProbeKind.READINESS))
            self._tell_change()

        return started

    def _on_ready(self, ready: bool) -> None:
        if ready != self.record.ready:
            self.record.ready = ready
            self._tell_change()

    def _on_unhealthy(self, kind: str) -> None:
        if self._setting.stopping.is_set():
            return
        probe = self._spec.get(f"{kind}Probe") or {}
        grace = probe.get("terminationGracePeriodSeconds")
        seconds = self._setting.grace_seconds if grace is None else float(grace)
        message = f"Container {self.name} failed {kind} probe, will be restarted"
        self._killer = asyncio.create_task(self._end_process(message, seconds))

    async def stop(self) -> None:
        """The pod stops: end what runs, within the pod's grace; returns at once if nothing does."""
        if self._process is not None and not self._process.is_over:
            await self._until_over(self._process, lying.delay_seconds(self._setting.host.faults, "last-answer"))
        await self._end_process(f"Stopping container {self.name}", self._setting.grace_seconds)

    async def _end_process(self, message: str, grace_seconds: float) -> None:
        process = self._process
        if process is None or process.is_over or self._ending:
            return
        self._ending = True
        self._tell("Normal", "Killing", message)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_seconds
        if grace_seconds > 0:
            await self._pre_stop(process, grace_seconds)
        process.signal(self._stop_signal())
        await self._until_over(process, max(deadline - loop.time(), _LEAST_GRACE_SECONDS))
        process.kill()

    async def _pre_stop(self, process: ContainerProcess, within_seconds: float) -> None:
        assert self._probing is not None
        hook = asyncio.ensure_future(self._probing.pre_stop(within_seconds))
        enough = asyncio.ensure_future(self._setting.out_of_grace.wait())
        first: set[asyncio.Future[Any]] = {hook, enough, process.ended}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        enough.cancel()
        if not hook.done():
            hook.cancel()
            return
        try:
            hook.result()
        except HookFailed as error:
            self._tell("Warning", "FailedPreStopHook", str(error))

    async def _until_over(self, process: ContainerProcess, within_seconds: float) -> None:
        enough = asyncio.ensure_future(self._setting.out_of_grace.wait())
        first: set[asyncio.Future[Any]] = {process.ended, enough}
        await asyncio.wait(first, timeout=within_seconds, return_when=asyncio.FIRST_COMPLETED)
        enough.cancel()

    def _stop_signal(self) -> int:
        name = (self._spec.get("lifecycle") or {}).get("stopSignal") or "SIGTERM"
        return int(getattr(signal, name, signal.SIGTERM))


def _duration(seconds: float) -> str:
    """As Go prints it: ``10s``, ``1m20s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
