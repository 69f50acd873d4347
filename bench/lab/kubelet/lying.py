"""What the kubelet stand-in does late or wrong when its lab was told so; without a fault, nothing."""

import asyncio
import fnmatch
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.lab.faults.state import Faults

_WAIT_FOR_THE_END: Final = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"
DOES_NOTHING: Final[Mapping[str, Any]] = {"command": ["/bin/sh", "-c", _WAIT_FOR_THE_END], "args": []}
"""In place of a container's own command; ends when it is told to."""


def delay_seconds(faults: Faults, stage: str) -> float:
    """By how much this stage is slowed down."""
    slow = faults.find("slow-stage")
    return slow.number("seconds") if slow is not None and slow.text("stage") == stage else 0.0


def is_mute(faults: Faults, image: str) -> bool:
    """Whether a container of this image is told as Ready without its program ever running."""
    fault = faults.find("ready-without-serving")
    return fault is not None and fnmatch.fnmatchcase(image, fault.text("image"))


def after_delay(faults: Faults, stage: str, do: Callable[[], None]) -> None:
    """At once, or later where the stage is slowed down."""
    seconds = delay_seconds(faults, stage)
    if seconds:
        asyncio.get_running_loop().call_later(seconds, do)
    else:
        do()


class Readiness:
    """Hands on what probes say of one container; that it is ready comes later where that stage is slowed down."""

    def __init__(self, faults: Faults, tell: Callable[[bool], None]) -> None:
        self._faults = faults
        self._tell = tell
        self._coming: asyncio.TimerHandle | None = None
        self._said = False

    def say(self, ready: bool) -> None:
        """As last probed; the same again changes nothing."""
        if ready == self._said:
            return
        self.forget()
        self._said = ready
        seconds = delay_seconds(self._faults, "ready") if ready else 0.0
        if seconds:
            self._coming = asyncio.get_running_loop().call_later(seconds, self._tell, True)
        else:
            self._tell(ready)

    def forget(self) -> None:
        """The container has ended or begins anew: nothing was said of it."""
        self._said = False
        if self._coming is not None:
            self._coming.cancel()
            self._coming = None
