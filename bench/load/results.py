"""The result of a run as one JSON object: counts, distributions, goodput, flags, and histograms to merge it by."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from bench.load.clocks import ClockOffset
from bench.load.histograms import Histogram
from bench.load.orders import LoadOrder, LoopKind
from bench.load.tallies import Second, Tally

SCHEMA = "gpu-bench.load/1"
#: The generator's own lateness beyond which its figures say more of itself than of the server.
LATENESS_P99_BOUND_SECONDS = 0.005
#: Doubt about a worker's clock beyond which its part of the schedule is no part of it any more.
CLOCK_BOUND_SECONDS = 0.05
#: Share of a core beyond which a worker may have been waited for.
WORKER_CPU_BOUND_RATIO = 0.9


class Exit(IntEnum):
    """Exit codes of `bench load`."""

    PASSED = 0
    FAILED = 1
    WRONG_USAGE = 2
    NOT_JUDGED = 3
    BROKE = 4
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known of a run beside what was counted."""

    engine: str
    workers: int
    planned: int | None
    started_at: str
    wall_seconds: float
    interrupted: bool = False
    kernel_stamps: bool = False
    stamp_bound_seconds: float = 0.0
    clocks: tuple[ClockOffset | None, ...] = ()
    """Of workers that do not share the master's clock; None for one that did not answer."""
    workers_lost: int = 0
    origin_unix_seconds: float = 0.0
    cpu_seconds: float = 0.0
    busiest_second_ratio: float = 0.0
    peak_memory_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """A finished run."""

    order: LoadOrder
    tally: Tally
    circumstances: Circumstances
    notes: tuple[str, ...] = field(default=())

    @property
    def flags(self) -> list[str]:
        """Why this run may not be judged; empty if it may."""
        flags = []
        lateness = self.tally.series["lateness"].quantile_seconds(0.99)
        if lateness is not None and lateness > LATENESS_P99_BOUND_SECONDS:
            flags.append(f"the generator itself was late: p99 {lateness:.4f} s, bound {LATENESS_P99_BOUND_SECONDS} s")
        busy = self.circumstances.busiest_second_ratio
        if busy > WORKER_CPU_BOUND_RATIO:
            flags.append(f"a worker used {busy:.2f} of its core in a second, bound {WORKER_CPU_BOUND_RATIO}")
        flags += _clock_flags(self.circumstances.clocks)
        if lost := self.circumstances.workers_lost:
            flags.append(f"{lost} of {self.circumstances.workers} workers did not tell the end of their part")
        if self.tally.sums["sent"] == 0:
            flags.append("no request was sent")
        return flags

    @property
    def not_sent(self) -> int:
        """Planned, and never begun: a stop, a failed conversation, the limit of requests."""
        planned = self.circumstances.planned
        return 0 if planned is None else max(0, planned - self.tally.sums["started"])

    @property
    def goodput_share(self) -> float | None:
        """Good requests of all that were due; None without objectives or without requests."""
        due = self.circumstances.planned or self.tally.sums["started"]
        return self.tally.sums["good"] / due if self.order.objectives.bounds and due else None

    @property
    def exit_code(self) -> Exit:
        if self.circumstances.interrupted:
            return Exit.INTERRUPTED
        if self.tally.failed:
            return Exit.FAILED
        if self.flags:
            return Exit.NOT_JUDGED
        share = self.goodput_share
        return Exit.FAILED if share is not None and share < self.order.objectives.share_ratio else Exit.PASSED

    def steady(self) -> Sequence[Second]:
        """The seconds after the warm-up and within the time asked for."""
        return self.tally.seconds[round(self.order.warmup_seconds) : max(1, round(self.order.shape.duration_seconds))]

    def to_json(self, *, with_histograms: bool = True) -> dict[str, Any]:
        tally, order, around = self.tally, self.order, self.circumstances
        told: dict[str, Any] = {
            "schema": SCHEMA,
            "engine": around.engine,
            "loop": order.loop.value,
            "target": {"url": f"{order.endpoint.origin}{order.endpoint.path}", "protocol": order.protocol.value},
            "http": "2" if order.http2 else "1.1",
            "arrivals": str(order.arrivals) if order.loop is LoopKind.OPEN else None,
            "seed": order.seed,
            "started_at": around.started_at,
            "duration_seconds": order.shape.duration_seconds,
            "wall_seconds": around.wall_seconds,
            "workers": around.workers,
            "interrupted": around.interrupted,
            "clock": _clock(around),
            "requests": self._requests(),
            "tokens": self._tokens(),
            "lateness_seconds": tally.series["lateness"].summary(),
            "connect_seconds": tally.series["connect"].summary(),
            **_pairs(tally.series),
            "itl_seconds": tally.series["itl"].summary(),
            "tpot_seconds": tally.series["tpot"].summary(),
            "server_prefill_seconds": tally.series["server_prefill"].summary(),
            "server_total_seconds": tally.series["server_total"].summary(),
            "goodput": self._goodput(),
            "warmup": {"seconds": order.warmup_seconds, "after_it": self._after_warmup()},
            "generator": {
                "cpu_seconds": around.cpu_seconds,
                "busiest_second_ratio": around.busiest_second_ratio,
                "peak_memory_bytes": around.peak_memory_bytes,
            },
            "backends": {name: _backend(backend.counts, backend.series) for name, backend in tally.backends.items()},
            "flags": self.flags,
            "notes": list(self.notes),
            "seconds": [_second(at, second) for at, second in enumerate(tally.seconds)],
        }
        return told | ({"histograms": tally.to_json()} if with_histograms else {})

    def _requests(self) -> dict[str, Any]:
        sums = self.tally.sums
        return {
            "planned": self.circumstances.planned,
            "started": sums["started"],
            "sent": sums["sent"],
            "not_sent": self.not_sent,
            "ok": sums["ok"],
            "failed": {
                name: {"count": failures.count, "example": failures.example, "by_status": failures.by_status}
                for name, failures in sorted(self.tally.failures.items())
            },
            "connections_opened": sums["connections_opened"],
        }

    def _tokens(self) -> dict[str, Any]:
        sums = self.tally.sums
        usage, counted = sums["output_tokens_usage"], sums["output_tokens_counted"]
        sources = [name for name, count in (("usage", usage), ("counted", counted)) if count]
        steady = self.steady()
        rate = sum(second.counts["output_tokens"] for second in steady) / len(steady) if steady else None
        return {
            "prompt": sums["prompt_tokens"],
            "output": usage + counted,
            "output_source": "+".join(sources) or None,
            "output_per_second": rate,
        }

    def _goodput(self) -> dict[str, Any] | None:
        if not self.order.objectives.bounds:
            return None
        steady = self.steady()
        return {
            "objectives_seconds": self.order.objectives.bounds,
            "share_wanted": self.order.objectives.share_ratio,
            "good": self.tally.sums["good"],
            "share": self.goodput_share,
            "per_second": sum(second.counts["good"] for second in steady) / len(steady) if steady else None,
        }

    def _after_warmup(self) -> dict[str, Any] | None:
        if not self.order.warmup_seconds:
            return None
        names = (
            "ttft_from_intended",
            "ttft_from_sent",
            "e2e_from_intended",
            "e2e_from_sent",
            "itl",
            "tpot",
            "lateness",
        )
        return {name: self.tally.window(name, self.steady()).summary() for name in names}


def _clock_flags(clocks: Sequence[ClockOffset | None]) -> Iterator[str]:
    for worker, clock in enumerate(clocks):
        if clock is None:
            yield f"the clock of worker {worker} was not measured"
        elif clock.bound_ns > CLOCK_BOUND_SECONDS * 1e9:
            doubt = clock.bound_ns / 1e9
            yield f"the clock of worker {worker} is in doubt by {doubt:.3f} s, bound {CLOCK_BOUND_SECONDS} s"


def _clock(around: Circumstances) -> dict[str, Any]:
    receive = "kernel (SO_TIMESTAMPNS, last segment of the read)" if around.kernel_stamps else "at the read"
    return {
        "send": "before the write, after the connection stands",
        "receive": receive,
        "axis": "CLOCK_MONOTONIC",
        "bound_seconds": _clock_bound(around),
        "workers": [None if clock is None else clock.to_json() for clock in around.clocks],
        "origin_unix_seconds": around.origin_unix_seconds,
    }


def _clock_bound(around: Circumstances) -> float | None:
    """By how much two stamps of this run may disagree at most; None where a worker's clock is not known."""
    known = [clock.bound_ns / 1e9 for clock in around.clocks if clock is not None]
    if len(known) < len(around.clocks):
        return None
    return around.stamp_bound_seconds + max(known, default=0.0)


def _pairs(series: Mapping[str, Histogram]) -> dict[str, Any]:
    return {
        f"{name}_seconds": {start: series[f"{name}_{start}"].summary() for start in ("from_intended", "from_sent")}
        for name in ("ttft", "e2e")
    }


def _backend(counts: Mapping[str, int], series: Mapping[str, Histogram]) -> dict[str, Any]:
    return {
        **counts,
        "ttft_seconds": series["ttft_from_sent"].summary(),
        "e2e_seconds": series["e2e_from_sent"].summary(),
        "itl_seconds": series["itl"].summary(),
    }


def _second(at: int, second: Second) -> dict[str, Any]:
    def quantiles(name: str) -> dict[str, float | None]:
        histogram = second.series[name]
        return {"p50": histogram.quantile_seconds(0.5), "p99": histogram.quantile_seconds(0.99)}

    return {
        "second": at,
        **second.counts,
        "ttft_seconds": quantiles("ttft_from_intended"),
        "e2e_seconds": quantiles("e2e_from_intended"),
        "itl_seconds": quantiles("itl"),
        "lateness_seconds": quantiles("lateness"),
    }
