"""Where a finished request goes in a tally, for the Python engine; the native one does the same for itself."""

import itertools
from dataclasses import dataclass, field

from bench.load.streams import Meaning, ServerTimes
from bench.load.tallies import Backend, Failures, Tally

_SECOND = 1_000_000_000


@dataclass(slots=True, kw_only=True)
class Record:
    """What is known of one request; nanoseconds of the monotonic clock, 0 is "did not happen"."""

    number: int
    template: int
    intended: int
    turn: int = 0
    began: int = 0
    connected: int = 0
    sent: int = 0
    first_byte: int = 0
    tokens_at: list[int] = field(default_factory=list)
    end: int = 0
    status: int = 0
    body_bytes: int = 0
    error: str | None = None
    message: str = ""

    def fail(self, error: str, message: str) -> None:
        self.error, self.message = error, message[:400]


@dataclass(slots=True)
class Sums:
    """Puts one finished request where the native engine would put it."""

    tally: Tally
    origin: int
    slo: dict[str, int]

    def add(self, record: Record, meaning: Meaning) -> None:
        second = self.tally.second(self._at(record.intended))
        second.counts["due"] += 1
        self.tally.sums["body_bytes"] += record.body_bytes
        backend = self.tally.backends.setdefault(meaning.backend, Backend()) if meaning.backend else None
        if record.sent:
            self.tally.sums["sent"] += 1
            self.tally.second(self._at(record.sent)).counts["sent"] += 1
            connecting = max(0, record.connected - record.began)
            self._both("lateness", record.intended, record.sent - record.intended - connecting)
        if record.connected:
            self.tally.sums["connections_opened"] += 1
            self.tally.series["connect"].record(record.connected - record.began)
        if record.error is not None:
            failures = self.tally.failures.setdefault(record.error, Failures())
            failures.count += 1
            failures.example = failures.example or record.message
            if record.error == "status":
                failures.by_status[record.status] = failures.by_status.get(record.status, 0) + 1
            self.tally.second(self._at(record.end)).counts["failed"] += 1
            if backend is not None:
                backend.counts["failed"] += 1
            return
        self._add_answer(record, meaning)
        if backend is not None:
            self._add_backend(backend, record)

    def _at(self, stamp: int) -> int:
        return min(max(0, stamp - self.origin) // _SECOND, 10_800)

    def _both(self, name: str, stamp: int, value: int) -> None:
        self.tally.series[name].record(value)
        self.tally.second(self._at(stamp)).series[name].record(value)

    def _add_answer(self, record: Record, meaning: Meaning) -> None:
        sums, stamps = self.tally.sums, record.tokens_at
        sums["ok"] += 1
        counted = meaning.output_tokens is None
        tokens = len(stamps) if meaning.output_tokens is None else meaning.output_tokens
        sums["output_tokens_counted" if counted else "output_tokens_usage"] += tokens
        sums["prompt_tokens"] += meaning.prompt_tokens or 0
        self.tally.second(self._at(record.end)).counts["answered"] += 1
        values = {"e2e": record.end - record.intended}
        self._both("e2e_from_intended", record.intended, record.end - record.intended)
        self._both("e2e_from_sent", record.intended, record.end - record.sent)
        if stamps:
            values["ttft"] = stamps[0] - record.intended
            self._both("ttft_from_intended", record.intended, stamps[0] - record.intended)
            self._both("ttft_from_sent", record.intended, stamps[0] - record.sent)
        gaps = [late - early for early, late in itertools.pairwise(stamps)]
        values |= {"itl": sum(gaps) // len(gaps) if gaps else 0, "tpot": 0}
        if tokens > 1 and gaps:
            values["tpot"] = (stamps[-1] - stamps[0]) // (tokens - 1)
            self._both("tpot", record.intended, values["tpot"])
        for stamp, gap in zip(stamps[1:], gaps, strict=True):
            self._both("itl", stamp, gap)
            self.tally.second(self._at(stamp)).counts["output_tokens"] += 1
        first = stamps[0] if stamps else record.end
        self.tally.second(self._at(first)).counts["output_tokens"] += max(0, tokens - len(gaps))
        server = meaning.server_times or ServerTimes()
        for name, duration in (("server_total", server.total), ("server_prefill", server.prefill)):
            if duration is not None:
                self.tally.series[name].record(duration)
        self._judge(record, values)

    def _judge(self, record: Record, values: dict[str, int]) -> None:
        bounds = {name.removesuffix("_ns"): bound for name, bound in self.slo.items()}
        if all(name in values and values[name] <= bound for name, bound in bounds.items()):
            self.tally.sums["good"] += 1
            self.tally.second(self._at(record.intended)).counts["good"] += 1

    def _add_backend(self, backend: Backend, record: Record) -> None:
        backend.counts["answered"] += 1
        backend.counts["output_tokens"] += len(record.tokens_at)
        backend.series["e2e_from_sent"].record(record.end - record.sent)
        if record.tokens_at:
            backend.series["ttft_from_sent"].record(record.tokens_at[0] - record.sent)
        for early, late in itertools.pairwise(record.tokens_at):
            backend.series["itl"].record(late - early)
