"""
One Prometheus, asked for readings.

Series are read as the samples that were stored, with their own timestamps (an instant query of a range selector), not
as a range query, which would resample them and hide their age.
"""

import contextlib
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from bench import interruption
from bench.errors import Unreachable
from bench.model.measurement import Absent, Measurement, Reading, Source, Window
from bench.model.presence import Presence
from bench.model.units import Unit

TIMEOUT_SECONDS: Final = 10
RETRY_SECONDS: Final = 0.5
STALE_NAN: Final = "NaN"
_UNITS_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}

Labels = Mapping[str, str]
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One series: its labels, and its samples as stored."""

    labels: Labels
    times_seconds: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """One scrape target that is active."""

    pool: str
    url: str
    error: str
    """Of the last scrape; empty where it went well."""
    interval_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockOffset:
    """How far Prometheus' clock is ahead of ours: the truth lies within `bound_seconds` of `offset_seconds`."""

    offset_seconds: float
    bound_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a query's answer is to be called, in which unit, and the factor that brings it there."""

    name: str
    unit: Unit
    factor: float = 1.0


class Prometheus:
    """Raises `Unreachable` when it does not answer, answers with a redirection, or is no Prometheus."""

    def __init__(self, url: str, *, session: requests.Session | None = None) -> None:
        self.url = url.rstrip("/")
        self.patience_seconds = 0.0
        """How long a question is asked again while nobody answers it: a restart. Of none, that is told at once."""
        self.presence = Presence()
        self._session = session or requests.Session()
        # A redirection is mostly a login page: following it would end in HTML that no error message explains.
        self._session.max_redirects = 0
        self._api = PrometheusConnect(
            url=self.url,
            session=self._session,
            timeout=TIMEOUT_SECONDS,
            retry=Retry(total=2, backoff_factor=0.2, status_forcelist=(502, 503, 504), raise_on_status=False),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._api.close()

    def query(self, promql: str, *, at_utc_seconds: float | None = None) -> Sequence[Series]:
        """The answer of an instant query, now or at a time; of a range selector, the samples as stored."""
        params = {} if at_utc_seconds is None else {"time": f"{at_utc_seconds:.3f}"}

        def ask() -> tuple[Series, ...]:
            return tuple(_series(each) for each in self._api.custom_query(promql, params=params))

        return self._patiently(promql, ask)

    def metric_names(self) -> Sequence[str]:
        """The names of all metrics that are stored, those that ended long ago among them."""
        return self._patiently("the names of its metrics", lambda: tuple(self._api.get_label_values("__name__")))

    def current_names(self, prefix: str) -> Sequence[str]:
        """Of the metrics whose names begin so, those that have series at present."""
        found = self.query(f'group by (__name__) ({{__name__=~"{prefix}.+"}})')
        return tuple(sorted(each.labels["__name__"] for each in found))

    def scrapes(self) -> tuple[Scrape, ...]:
        """What it scrapes. Raises `Unreachable` also where it is a store that scrapes nothing itself."""
        found = self._patiently("its scrape targets", lambda: self._api.get_targets(state="active")["activeTargets"])
        return tuple(_scrape(each) for each in found)

    def configured_seconds(self) -> float:
        """When it was last given a configuration, by its own clock; at its start at the latest."""
        return self._patiently("its configuration", lambda: _time(self._runtime()["lastConfigTime"]))

    def _runtime(self) -> Any:
        answer = self._session.get(f"{self.url}/api/v1/status/runtimeinfo", timeout=TIMEOUT_SECONDS)
        if answer.status_code != requests.codes.ok:
            raise PrometheusApiClientException(f"HTTP Status Code {answer.status_code} ({answer.content[:300]!r})")
        return answer.json()["data"]

    def look(self) -> None:
        """Ask once whether it is there; `presence` knows what came of it."""
        with contextlib.suppress(Unreachable):
            self._once("vector(1)", lambda: self._api.custom_query("vector(1)"))

    def _patiently(self, asked: str, ask: Callable[[], Answer]) -> Answer:
        deadline = time.monotonic() + self.patience_seconds
        while True:
            try:
                return self._once(asked, ask)
            except Unreachable as error:
                # Who wants the end of the run does not want to wait for a Prometheus.
                is_over = time.monotonic() > deadline or interruption.is_asked()
                if is_over or not _is_away(error.__cause__):
                    raise
            interruption.wait(threading.Event(), RETRY_SECONDS)

    def _once(self, asked: str, ask: Callable[[], Answer]) -> Answer:
        asked_seconds = time.time()
        try:
            with self._translated(asked):
                answer = ask()
        except Unreachable as error:
            if _is_away(error.__cause__):
                self.presence.silent(asked_seconds)
            raise
        self.presence.answered()
        return answer

    @contextlib.contextmanager
    def _translated(self, asked: str) -> Iterator[None]:
        try:
            yield
        except PrometheusApiClientException as error:
            raise Unreachable(f"Prometheus at {self.url} refuses {asked!r}: {str(error)[:300]}.") from error
        except requests.TooManyRedirects as error:
            raise Unreachable(
                f"Prometheus at {self.url} redirects, as a login page does. Give the URL behind it."
            ) from error
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise Unreachable(f"Prometheus at {self.url} does not answer ({error}). Is the URL right?") from error

    def read(self, promql: str, meaning: Meaning, *, at_utc_seconds: float | None = None) -> tuple[Reading, ...]:
        """The answer as readings, one a series; one `Absent` where no series matched or all samples are NaN."""
        found = [each for each in self.query(promql, at_utc_seconds=at_utc_seconds) if each.values]
        if not found:
            reason = f"no series matched at {self.url}"
            absent = Absent(name=meaning.name, source=Source.PROMETHEUS, statement=promql, reason=reason)
            return (absent,)
        return tuple(_measurement(each, promql, meaning) for each in found)

    def samples(self, selector: str, meaning: Meaning, window: Window) -> tuple[Reading, ...]:
        """The stored samples of a plain selector within a window."""
        length_milliseconds = max(1, math.ceil(window.duration_seconds * 1000))
        promql = f"{selector}[{length_milliseconds}ms]"
        return self.read(promql, meaning, at_utc_seconds=window.end.timestamp())

    def clock_offset(self, *, tries: int = 5) -> ClockOffset:
        """Prometheus' clock against ours, as NTP does it: the try with the shortest round trip decides."""
        return min((self._ask_time() for _ in range(tries)), key=lambda each: each.bound_seconds)

    def _ask_time(self) -> ClockOffset:
        before_utc, before = time.time(), time.monotonic()
        answer = self.query("vector(time())")
        round_trip_seconds = time.monotonic() - before
        if not answer:
            raise Unreachable(f"Prometheus at {self.url} gives no answer to vector(time()): it is no Prometheus.")
        server = answer[0].values[-1]
        middle = before_utc + round_trip_seconds / 2
        return ClockOffset(offset_seconds=server - middle, bound_seconds=round_trip_seconds / 2)


def _is_away(cause: BaseException | None) -> bool:
    """Whether nobody answered, or somebody before it said so; not, whether it refused."""
    if isinstance(cause, PrometheusApiClientException):
        return "Status Code 5" in str(cause)
    return isinstance(cause, requests.ConnectionError | requests.Timeout)


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _scrape(raw: Any) -> Scrape:
    return Scrape(
        pool=raw["scrapePool"],
        url=raw["scrapeUrl"],
        error=raw["lastError"],
        interval_seconds=duration_seconds(raw["scrapeInterval"]),
    )


def duration_seconds(text: str) -> float:
    """Of Prometheus' way to write one, such as ``1m30s``."""
    parts = re.findall(r"(\d+)(ms|[smhdwy])", text)
    return float(sum(int(count) * _UNITS_SECONDS[unit] for count, unit in parts))


def _series(raw: Any) -> Series:
    samples = raw["values"] if "values" in raw else [raw["value"]]
    # Prometheus marks the end of a series by a stale NaN, which is no value.
    real = [(float(at), float(value)) for at, value in samples if value != STALE_NAN]
    return Series(
        labels=dict(raw["metric"]),
        times_seconds=tuple(at for at, _ in real),
        values=tuple(value for _, value in real),
    )


def _measurement(series: Series, promql: str, meaning: Meaning) -> Measurement:
    return Measurement(
        name=meaning.name,
        unit=meaning.unit,
        values=[value * meaning.factor for value in series.values],
        times_seconds=series.times_seconds,
        source=Source.PROMETHEUS,
        statement=promql,
        window=Window.of_seconds(series.times_seconds[0], series.times_seconds[-1]),
        labels=series.labels,
    )
