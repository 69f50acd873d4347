"""The whole order of a run: where, what, how often, for how long, within which objectives."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import WrongUsage
from bench.load.arrivals import Arrivals, Shape, schedule, share_out
from bench.load.endpoints import Endpoint, Protocol, TlsOptions
from bench.load.requests import RequestSource, make_templates


class LoopKind(StrEnum):
    """Whether a slow answer delays the next request."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """What a good answer keeps; of requests, TTFT and E2E from intended, ITL as the mean gap of the request."""

    ttft_seconds: float | None = None
    itl_seconds: float | None = None
    tpot_seconds: float | None = None
    e2e_seconds: float | None = None
    share_ratio: float = 0.99

    @classmethod
    def parse(cls, text: str) -> "Objectives":
        """`ttft=0.5,itl=0.05` in seconds; also tpot, e2e, and share (of requests that must be good; 0.99)."""
        known: dict[str, float] = {}
        for part in text.split(","):
            name, _, value = part.strip().partition("=")
            try:
                number = float(value)
            except ValueError:
                number = 0.0
            highest = 1.0 if name == "share" else 1e6
            if name not in ("ttft", "itl", "tpot", "e2e", "share") or not 0 < number <= highest:
                raise WrongUsage(f"SLO {text!r}: {part!r} is none of ttft=S, itl=S, tpot=S, e2e=S, share=R")
            known["share_ratio" if name == "share" else f"{name}_seconds"] = number
        if known.keys() == {"share_ratio"}:
            raise WrongUsage(f"SLO {text!r}: a share of what? Add ttft=S, itl=S, tpot=S or e2e=S")
        return cls(**known)

    @property
    def bounds(self) -> dict[str, float]:
        told = {"ttft": self.ttft_seconds, "itl": self.itl_seconds, "tpot": self.tpot_seconds, "e2e": self.e2e_seconds}
        return {name: bound for name, bound in told.items() if bound is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds a run and each request of it."""

    requests_max: int = 1_000_000
    timeout_seconds: float = 120.0
    connect_timeout_seconds: float = 10.0
    drain_seconds: float = 30.0
    connections_max: int = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """How requests are found again in servers' logs, and how backends are told apart."""

    header: str = "x-request-id"
    prefix: str = "bench"
    backend_header: str | None = None
    backend_member: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOrder:
    """A run as it was asked for. Open loop: `shape` is requests a second. Closed: users."""

    endpoint: Endpoint
    protocol: Protocol
    loop: LoopKind
    shape: Shape
    arrivals: Arrivals = field(default_factory=Arrivals)
    source: RequestSource = field(default_factory=RequestSource)
    think_seconds: tuple[float, float] = (0.0, 0.0)
    tls: TlsOptions = field(default_factory=TlsOptions)
    http2: bool = False
    limits: Limits = field(default_factory=Limits)
    identity: Identity = field(default_factory=Identity)
    objectives: Objectives = field(default_factory=Objectives)
    warmup_seconds: float = 0.0
    seed: int = 1
    kernel_stamps: bool = True

    def engine_config(self, *, start_ns: int = 0, records_file: Path | None = None) -> dict[str, Any]:
        """What every worker of the run is told; its own share comes beside it."""
        templates = make_templates(self.source, protocol=self.protocol, path=self.endpoint.path, seed=self.seed)
        return {
            "target": self.endpoint.to_json(),
            "tls": self.tls.to_json(),
            "http2": self.http2,
            "protocol": self.protocol.value,
            "templates": [template.to_json() for template in templates],
            "loop": self.loop.value,
            "think_ns": [_ns(seconds) for seconds in self.think_seconds],
            "seed": self.seed,
            "start_ns": start_ns,
            "duration_ns": _ns(self.shape.duration_seconds),
            "requests_max": self.limits.requests_max,
            "timeout_ns": _ns(self.limits.timeout_seconds),
            "connect_timeout_ns": _ns(self.limits.connect_timeout_seconds),
            "drain_ns": _ns(self.limits.drain_seconds),
            "connections_max": self.limits.connections_max,
            "slo": {f"{name}_ns": _ns(bound) for name, bound in self.objectives.bounds.items()},
            "id_header": self.identity.header,
            "id_prefix": self.identity.prefix,
            "backend_header": self.identity.backend_header,
            "backend_member": self.identity.backend_member,
            "records_file": str(records_file) if records_file else None,
            "kernel_stamps": self.kernel_stamps,
        }


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One worker's part of an order."""

    config: dict[str, Any]
    offsets: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    numbers: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))

    @property
    def planned(self) -> int:
        """Requests that the schedule holds; of a closed loop none are planned."""
        turns = [
            len(template["session"]["turns"]) if "session" in template else 1 for template in self.config["templates"]
        ]
        if set(turns) == {1}:
            return len(self.offsets)
        return int(np.asarray(turns)[self.numbers.astype(np.int64) % len(turns)].sum())


def shares(order: LoadOrder, *, workers: int, start_ns: int, records_file: Path | None = None) -> Sequence[Share]:
    """The order cut into one part a worker; together they send what one worker would have sent."""
    configs = []
    for worker in range(workers):
        file = records_file
        if records_file is not None and workers > 1:
            file = records_file.with_name(f"{records_file.name}.{worker}")
        configs.append(order.engine_config(start_ns=start_ns, records_file=file))
    if order.loop is LoopKind.OPEN:
        offsets = schedule(order.arrivals, order.shape, seed=order.seed, requests_max=order.limits.requests_max)
        parts = share_out(offsets, workers=workers, seed=order.seed)
        return [
            Share(config=config, offsets=times, numbers=numbers)
            for config, (times, numbers) in zip(configs, parts, strict=True)
        ]
    return [_closed_share(order, config, worker, workers) for worker, config in enumerate(configs)]


def _closed_share(order: LoadOrder, config: dict[str, Any], worker: int, workers: int) -> Share:
    def part(whole: int) -> int:
        return whole // workers + (1 if worker < whole % workers else 0)

    users = [[_ns(offset), part(level)] for offset, level in order.shape.steps()]
    config |= {
        "users": users,
        "requests_max": max(1, part(order.limits.requests_max)),
        "seed": order.seed * 1009 + worker,
    }
    return Share(config=config)
