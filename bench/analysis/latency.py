"""
Latency and goodput from the record of every request, never from buckets.

Counted from when a request was meant to be sent: a generator or a server that stalls must not hide the requests that
waited. The same from when it was really sent is told beside it; the difference is the queue in front.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from bench.analysis.intervals import Interval, wilson_interval
from bench.model.load import LoadRecords
from bench.model.measurement import FloatArray

QUANTILES = (0.5, 0.9, 0.95, 0.99)


class Since(StrEnum):
    """From when a latency counts."""

    INTENDED = "intended"
    SENT = "sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Quantiles that were really seen, and the worst; of `count` answered requests."""

    count: int
    mean_seconds: float
    quantiles_seconds: tuple[float, ...]
    max_seconds: float

    def quantile_seconds(self, share: float) -> float:
        """
        One of `QUANTILES`.

        Raises:
            ValueError: another share.

        """
        return self.quantiles_seconds[QUANTILES.index(share)]


def _starts(records: LoadRecords, since: Since) -> FloatArray:
    return records.intended_seconds if since is Since.INTENDED else records.sent_seconds


def first_token_seconds(records: LoadRecords, since: Since) -> FloatArray:
    """Time to first token of each request that was answered well; NaN of the others."""
    return np.where(records.is_ok, records.first_token_seconds - _starts(records, since), np.nan)


def whole_seconds(records: LoadRecords, since: Since) -> FloatArray:
    """Time to the end of the answer of each request that was answered well; NaN of the others."""
    return np.where(records.is_ok, records.end_seconds - _starts(records, since), np.nan)


def per_token_seconds(records: LoadRecords) -> FloatArray:
    """Time per output token after the first; NaN where an answer has fewer than two."""
    tokens = np.where(records.is_ok & (records.output_tokens_total > 1), records.output_tokens_total - 1, np.nan)
    spans: FloatArray = (records.end_seconds - records.first_token_seconds) / tokens
    return spans


def summarise(latencies: FloatArray) -> Latencies | None:
    """Quantiles of the latencies that are there; None where none is."""
    known = latencies[np.isfinite(latencies)]
    if known.size == 0:
        return None
    quantiles = np.quantile(known, QUANTILES, method="inverted_cdf")
    return Latencies(
        count=int(known.size),
        mean_seconds=float(known.mean()),
        quantiles_seconds=tuple(float(each) for each in quantiles),
        max_seconds=float(known.max()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """Bounds that one request keeps or not; an unset one asks nothing."""

    first_token_seconds: float = np.inf
    per_token_seconds: float = np.inf
    whole_seconds: float = np.inf


def meets_slo(
    records: LoadRecords, slo: Slo, since: Since = Since.INTENDED
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether each request was answered well and within every bound; an unanswered one never is."""
    first = first_token_seconds(records, since) <= slo.first_token_seconds
    whole = whole_seconds(records, since) <= slo.whole_seconds
    per_token = per_token_seconds(records)
    steady = np.isnan(per_token) | (per_token <= slo.per_token_seconds)
    kept: np.ndarray[tuple[int], np.dtype[np.bool_]] = first & whole & steady
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodput:
    """Requests a second that met the SLO, their share of all that were meant, and errors."""

    per_second: float
    share: Interval
    requests_total: int
    failed_total: int


def goodput(records: LoadRecords, slo: Slo, *, start_seconds: float, end_seconds: float) -> Goodput:
    """Of the requests meant to be sent within the window; what was never sent counts as failed."""
    inside = (records.intended_seconds >= start_seconds) & (records.intended_seconds < end_seconds)
    good = int((meets_slo(records, slo) & inside).sum())
    total = int(inside.sum())
    return Goodput(
        per_second=good / (end_seconds - start_seconds),
        share=wilson_interval(good, total),
        requests_total=total,
        failed_total=int((inside & ~records.is_ok).sum()),
    )


def windowed_quantile(
    times_seconds: FloatArray, latencies: FloatArray, edges_seconds: FloatArray, share: float
) -> FloatArray:
    """A quantile for each window between edges, NaN where a window has no answer; for plots over time."""
    places = np.digitize(times_seconds, edges_seconds) - 1
    found = np.full(edges_seconds.size - 1, np.nan)
    for window in range(found.size):
        inside = latencies[(places == window) & np.isfinite(latencies)]
        if inside.size:
            found[window] = np.quantile(inside, share, method="inverted_cdf")
    return found
