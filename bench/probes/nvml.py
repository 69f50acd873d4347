"""
A session with NVML: opened once, closed always, every error told by what it means.

A call that the driver does not support is an answer too: it is absent with its reason, never a zero.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import pynvml

from bench.errors import CannotRun

Plain = None | bool | int | float | str | list[Any] | dict[str, Any]
Handle = Any


class NoDriver(CannotRun):
    """This machine has no NVML that answers."""


class Kind(StrEnum):
    """What an NVML error means for what was asked."""

    NOT_SUPPORTED = "not supported"
    NOT_ALLOWED = "not allowed"
    NOTHING_THERE = "nothing there"
    NOT_NOW = "not now"
    DEVICE_LOST = "device lost"
    DRIVER = "driver"
    OUR_FAULT = "wrong call"
    UNKNOWN = "unknown"


_MEANINGS: Final = {
    1: (Kind.OUR_FAULT, "NVML is not initialised"),
    2: (Kind.NOT_SUPPORTED, "this device takes no such argument"),
    3: (Kind.NOT_SUPPORTED, "this device or driver does not support it"),
    4: (Kind.NOT_ALLOWED, "this user may not ask for it; root may"),
    6: (Kind.NOTHING_THERE, "nothing was found"),
    7: (Kind.OUR_FAULT, "the buffer was too small"),
    8: (Kind.DEVICE_LOST, "the external power cables are not attached"),
    9: (Kind.DRIVER, "the NVIDIA driver is not loaded"),
    10: (Kind.NOT_NOW, "it timed out"),
    11: (Kind.DRIVER, "the kernel has an interrupt problem with the device"),
    12: (Kind.DRIVER, "libnvidia-ml.so.1 was not found"),
    13: (Kind.NOT_SUPPORTED, "this driver's library does not have the call"),
    14: (Kind.DEVICE_LOST, "the device's infoROM is corrupted"),
    15: (Kind.DEVICE_LOST, "the device fell off the bus"),
    16: (Kind.DEVICE_LOST, "the device must be reset"),
    17: (Kind.NOT_ALLOWED, "the operating system blocked it"),
    18: (Kind.DRIVER, "the driver and its library are of different versions; reload the driver or reboot"),
    19: (Kind.NOT_NOW, "the device is in use"),
    20: (Kind.NOT_NOW, "there is not enough memory"),
    21: (Kind.NOTHING_THERE, "there are no data"),
    22: (Kind.NOT_SUPPORTED, "virtual GPUs need ECC off for it"),
    23: (Kind.NOT_NOW, "there is not enough of a resource"),
    24: (Kind.NOT_SUPPORTED, "this frequency is not supported"),
    25: (Kind.NOT_SUPPORTED, "this driver knows another version of the structure"),
    26: (Kind.NOT_SUPPORTED, "this driver has given the call up"),
    27: (Kind.NOT_NOW, "it is not ready"),
    28: (Kind.NOTHING_THERE, "no GPU was found"),
    999: (Kind.UNKNOWN, "the driver failed inside"),
}
# A driver of these kinds does not answer anything else either.
_FATAL: Final = frozenset({Kind.DRIVER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one call answered, or why it did not."""

    statement: str
    value: Plain = None
    kind: Kind | None = None
    reason: str = ""

    @property
    def is_there(self) -> bool:
        """Whether the call answered."""
        return self.kind is None


def meaning_of(code: int) -> tuple[Kind, str]:
    """Kind and sentence of an NVML return code; unknown ones keep their number."""
    return _MEANINGS.get(code, (Kind.UNKNOWN, f"NVML error {code}"))


def ask(statement: str, call: Callable[[], Any]) -> Answer:
    """Make one NVML call; what NVML refuses becomes an absent answer, anything else is raised."""
    try:
        return Answer(statement=statement, value=plain(call()))
    except pynvml.NVMLLibraryMismatchError:
        # not an NVMLError: pynvml's own word for a call that this library has in another version
        code = int(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    except pynvml.NVMLError as error:
        code = int(error.value)
        if code == 0:  # some calls of pynvml raise on success where there is nothing to list
            return Answer(statement=statement, value=[])
    kind, sentence = meaning_of(code)
    return Answer(statement=statement, kind=kind, reason=f"{kind}: {sentence} (NVML {code})")


@contextmanager
def session() -> Iterator[None]:
    """
    NVML, from init to shutdown.

    Raises:
        NoDriver: this machine has no NVML that answers, with what is missing.

    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        _, sentence = meaning_of(int(error.value))
        raise NoDriver(
            f"NVML does not answer on this machine: {sentence}. Run this on a machine with an NVIDIA driver, "
            "or in a container that was given a GPU."
        ) from error
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def device_handles() -> list[Handle | Answer]:
    """
    A handle for each device by index; an answer with the reason in the place of a device that cannot be opened.

    Raises:
        NoDriver: NVML stopped answering, or does not count its devices.

    """
    count = ask("nvmlDeviceGetCount", pynvml.nvmlDeviceGetCount)
    if not isinstance(count.value, int):
        raise NoDriver(f"NVML does not count its devices: {count.reason}.")
    return [_open(index) for index in range(count.value)]


def _open(index: int) -> Handle | Answer:
    try:
        return pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError as error:
        kind, sentence = meaning_of(int(error.value))
        return Answer(statement=f"nvmlDeviceGetHandleByIndex({index})", kind=kind, reason=f"{kind}: {sentence}")


def plain(value: Any) -> Plain:
    """A ctypes value as what JSON takes; pointers and handles, which mean nothing outside, as nothing."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, ctypes.Structure):
        return {name: plain(getattr(value, name)) for name, *_ in value._fields_}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | ctypes.Array):
        return [plain(item) for item in value]
    # numbers of ctypes have a `value`; handles too, but theirs means nothing outside this process
    return plain(value.value) if hasattr(value, "value") and not isinstance(value, ctypes.c_void_p) else None
