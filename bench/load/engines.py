"""The port behind which an engine runs, and the choice between the native one and the Python one."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from bench.errors import BenchBroke, CannotRun, WrongUsage
from bench.load.engine import find_native
from bench.load.orders import Share


class EngineKind(StrEnum):
    """Which engine ran."""

    NATIVE = "native"
    PYTHON = "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What a live view shows of a run."""

    elapsed_seconds: float = 0.0
    started: int = 0
    finished: int = 0
    failed: int = 0
    in_flight: int = 0
    output_tokens: int = 0
    ttft_p50_seconds: float = 0.0
    ttft_p99_seconds: float = 0.0
    lateness_p99_seconds: float = 0.0
    records_dropped: int = 0


class Engine(Protocol):
    """A run that has begun."""

    kind: EngineKind

    def wait(self, within_seconds: float) -> bool:
        """True once the run is over."""

    def stop(self) -> None:
        """No request leaves after this; open ones may end within the drain time."""

    def glance(self) -> Glance: ...

    def tally(self) -> dict[str, Any]:
        """Everything counted so far, in the form that `tallies` reads."""


class NativeEngine:
    """The compiled engine, on a thread of its own that never holds the interpreter lock."""

    kind = EngineKind.NATIVE

    def __init__(self, share: Share) -> None:
        native = find_native()
        if native is None:
            raise CannotRun("the native engine was not built; build it with: python -m bench.load.engine.build")
        try:
            self._run = native.Engine(json.dumps(share.config), share.offsets.tobytes(), share.numbers.tobytes())
        except ValueError as error:
            raise WrongUsage(f"the engine refuses the order: {error}") from error

    def wait(self, within_seconds: float) -> bool:
        try:
            return bool(self._run.wait(within_seconds))
        except RuntimeError as error:
            raise BenchBroke(f"the engine: {error}") from error

    def stop(self) -> None:
        self._run.stop()

    def glance(self) -> Glance:
        return Glance(**self._run.glance())

    def tally(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._run.results())
        return told


def start(share: Share, kind: EngineKind | None = None) -> Engine:
    """Starts a run at once; without a wish, natively where the engine was built."""
    if kind is None:
        kind = EngineKind.NATIVE if find_native() is not None else EngineKind.PYTHON
    if kind is EngineKind.NATIVE:
        return NativeEngine(share)
    from bench.load.fallback import PythonEngine  # noqa: PLC0415 -- aiohttp is half a second that the native engine saves

    return PythonEngine(share)
