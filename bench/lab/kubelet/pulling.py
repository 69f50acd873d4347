"""Finds a container's image in the catalogue, and fails as a registry would where it is not there."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.lab.images import Image, Reference
from bench.lab.kubelet.backoff import PullBackoff
from bench.lab.kubelet.setting import PodSetting
from bench.lab.kubelet.shelf import ProgramMissing

_LOOK_SECONDS: Final = 1.0
"""How long the first failure is told before the wait is; upstream's next look at the pod comes about as soon."""
_NEVER_SECONDS: Final = 10.0
_CATALOGUE: Final = "the lab's image catalogue (bench/lab/images.yaml; `bench lab up --images FILE` adds entries)"


class Pulls:
    """Of one container."""

    def __init__(self, setting: PodSetting, container: Mapping[str, Any], wait_as: Callable[[str, str], None]) -> None:
        self._setting = setting
        self._container = container
        self._wait_as = wait_as
        self._backoff = PullBackoff()
        self._name: str = container["image"]

    async def pull(self) -> Image | None:
        """The image, however often it takes; None when the pod stops meanwhile."""
        while not self._setting.stopping.is_set():
            image = self._setting.host.catalogue.find(self._name)
            if image is None and self._container.get("imagePullPolicy") == "Never":
                await self._cannot_ever()
                continue
            fault = self._fault_of(image)
            if image is not None and not fault:
                self._tell("Normal", "Pulled", f'Container image "{self._name}" already present on machine')
                return image
            await self._failed(fault)
        return None

    def image_id(self, image: Image) -> str:
        """As a Pod's status names what was pulled."""
        return f"{Reference.parse(self._name).repository}@{image.digest}"

    def _fault_of(self, image: Image | None) -> str:
        head = f'failed to pull and unpack image "{self._name}"'
        if image is None:
            return f"{head}: not found in {_CATALOGUE}"
        try:
            self._setting.host.shelf.show(image)
        except ProgramMissing as error:
            return f"{head}: {error}"
        return ""

    def _tell(self, kind: str, reason: str, message: str) -> None:
        self._setting.tell(kind, reason, message, container=self._container["name"])

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._setting.stopping.wait()

    async def _cannot_ever(self) -> None:
        message = f'Container image "{self._name}" is not present with pull policy of Never'
        self._tell("Warning", "ErrImageNeverPull", message)
        self._tell("Warning", "Failed", "Error: ErrImageNeverPull")
        self._wait_as("ErrImageNeverPull", message)
        await self._pause(_NEVER_SECONDS)

    async def _failed(self, fault: str) -> None:
        self._tell("Normal", "Pulling", f'Pulling image "{self._name}"')
        self._tell("Warning", "Failed", f'Failed to pull image "{self._name}": {fault}')
        self._tell("Warning", "Failed", "Error: ErrImagePull")
        self._wait_as("ErrImagePull", fault)
        await self._pause(_LOOK_SECONDS)
        self._tell("Normal", "BackOff", f'Back-off pulling image "{self._name}"')
        self._tell("Warning", "Failed", "Error: ImagePullBackOff")
        self._wait_as("ImagePullBackOff", f'Back-off pulling image "{self._name}": ErrImagePull: {fault}')
        await self._pause(self._backoff.after_failure())
