"""Probes and life cycle hooks of one running container."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.lab.kubelet.launching import Prepared, container_group
from bench.lab.kubelet.probes import ProbeAnswer, ProbeKind, ProbeTarget, watch_probe
from bench.lab.kubelet.process import CommandResult, ContainerProcess, Setting
from bench.lab.kubelet.setting import PodSetting

_HOOK_SECONDS: Final = 60.0
"""For a postStart hook; upstream sets no bound, but a hook that hangs must not outlive its test."""


class HookFailed(Exception):  # told as an Event
    """A postStart or preStop hook did not succeed."""


class Probing:
    """What probes and hooks need to know of one start of a container."""

    def __init__(
        self, setting: PodSetting, container: Mapping[str, Any], process: ContainerProcess, prepared: Prepared
    ) -> None:
        self._setting = setting
        self._container = container
        self._process = process
        self._prepared = prepared
        ports = container.get("ports") or ()
        named = {each["name"]: int(each["containerPort"]) for each in ports if each.get("name")}
        self._target = ProbeTarget(address=setting.network.address, ports=named, run=self._run)

    async def _run(self, command: list[str], within_seconds: float) -> CommandResult:
        setting = Setting(
            environment=self._prepared.environment,
            within_seconds=within_seconds,
            group=container_group(self._setting, self._container),
            own_user_namespace=self._prepared.own_user_namespace,
        )
        return await self._setting.host.spawner.run_inside(self._process, command, setting)

    async def watch(
        self, *, started: Callable[[], None], ready: Callable[[bool], None], unhealthy: Callable[[str], None]
    ) -> None:
        """Startup first, then readiness and liveness beside each other; until cancelled."""
        if self._probe(ProbeKind.STARTUP) and not await self._startup(unhealthy):
            return
        started()
        async with asyncio.TaskGroup() as group:
            if self._probe(ProbeKind.READINESS):
                group.create_task(self._readiness(ready))
            if self._probe(ProbeKind.LIVENESS):
                group.create_task(self._liveness(unhealthy))

    def has(self, kind: ProbeKind) -> bool:
        """Whether the container declares it."""
        return self._probe(kind) is not None

    def _probe(self, kind: ProbeKind) -> Mapping[str, Any] | None:
        return self._container.get(f"{kind}Probe")

    async def _startup(self, unhealthy: Callable[[str], None]) -> bool:
        verdict = False

        def decide(result: bool, _message: str) -> bool:
            nonlocal verdict
            verdict = result
            self._note(ProbeKind.STARTUP, result)
            if not result:
                unhealthy(ProbeKind.STARTUP)
            return True

        await self._watch(ProbeKind.STARTUP, decide)
        return verdict

    async def _readiness(self, ready: Callable[[bool], None]) -> None:
        last: bool | None = None

        def decide(result: bool, _message: str) -> bool:
            nonlocal last
            if result != last:
                self._note(ProbeKind.READINESS, result)
            last = result
            ready(result)
            return False

        await self._watch(ProbeKind.READINESS, decide)

    async def _liveness(self, unhealthy: Callable[[str], None]) -> None:
        def decide(result: bool, _message: str) -> bool:
            if not result:
                self._note(ProbeKind.LIVENESS, result)
                unhealthy(ProbeKind.LIVENESS)
            return not result

        await self._watch(ProbeKind.LIVENESS, decide)

    async def _watch(self, kind: ProbeKind, decide: Callable[[bool, str], bool]) -> None:
        probe = self._probe(kind)
        assert probe is not None

        async def ask(each: Mapping[str, Any]) -> ProbeAnswer:
            return await self._setting.host.asker.ask(each, self._target)

        def on_answer(answer: ProbeAnswer) -> None:
            if not answer.ok:
                message = f"{kind.capitalize()} probe failed: {answer.message}"
                self._setting.tell("Warning", "Unhealthy", message, container=self._container["name"])

        await watch_probe(probe, ask, on_answer, decide)

    def _note(self, kind: ProbeKind, result: bool) -> None:
        event = "probe-passed" if result else "probe-failed"
        self._setting.note(event, container=self._container["name"], probe=str(kind))

    async def post_start(self) -> None:
        """Raises HookFailed."""
        hook = (self._container.get("lifecycle") or {}).get("postStart")
        if hook:
            await self._hook("PostStart", hook, _HOOK_SECONDS)

    async def pre_stop(self, within_seconds: float) -> None:
        """Raises HookFailed."""
        hook = (self._container.get("lifecycle") or {}).get("preStop")
        if hook:
            await self._hook("PreStop", hook, within_seconds)

    async def _hook(self, name: str, hook: Mapping[str, Any], within_seconds: float) -> None:
        if "sleep" in hook:
            await asyncio.sleep(min(float(hook["sleep"]["seconds"]), within_seconds))
            return
        if "httpGet" in hook:
            answer = await self._setting.host.asker.http(hook["httpGet"], self._target, within_seconds)
            if not answer.ok:
                raise HookFailed(f"{name}Hook failed: {answer.message}")
            return
        result = await self._run(list((hook.get("exec") or {}).get("command") or ()), within_seconds)
        if result.timed_out:
            raise HookFailed(f"{name}Hook failed: no end after {within_seconds:g} s")
        if result.code:
            raise HookFailed(f"{name}Hook failed: command exited with {result.code}: {result.output.strip()}")
