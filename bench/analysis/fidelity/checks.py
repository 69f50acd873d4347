"""What is asked of every accelerator's metrics, by the question: are they there, in time, true, and whose are they?"""

import dataclasses
import itertools
from collections.abc import Iterator

from bench.analysis.fidelity.looking import LOOK_AT
from bench.model.check import Basis, Check, Kind, Relation, Statistic


def checks(*, asks_the_metrics_api: bool) -> Iterator[Check]:
    """All of them, each with where to look first; that of the custom metrics API only where it is asked."""
    families = [_presence_checks(), _time_checks(), _value_checks(), _name_checks()]
    if asks_the_metrics_api:
        families.append(_view_checks())
    for check in itertools.chain.from_iterable(families):
        yield dataclasses.replace(check, look_at=LOOK_AT[check.measurement])


def _none_of(claim: str, measurement: str, because: str, basis: Basis = Basis.OURS) -> Check:
    return Check(
        claim=claim,
        measurement=measurement,
        statistic=Statistic.MAX,
        relation=Relation.AT_MOST,
        bound=0.0,
        because=because,
        basis=basis,
    )


def _bounded(claim: str, measurement: str, relation: Relation, bound: float, because: str) -> Check:
    return Check(
        claim=claim,
        measurement=measurement,
        statistic=Statistic.MIN if relation is Relation.AT_LEAST else Statistic.MAX,
        relation=relation,
        bound=bound,
        because=because,
    )


def _presence_checks() -> Iterator[Check]:
    yield Check(
        claim="an exporter answers on every node with accelerators",
        measurement="exporter_answer_seconds",
        statistic=Statistic.MAX,
        relation=Relation.AT_MOST,
        bound=10.0,
        because="Prometheus gives a target ten seconds; a node without an exporter leaves this unknown",
        basis=Basis.CHECKLIST,
    )
    yield _none_of(
        "every device that NVML shows has metrics",
        "device_unseen_total",
        "KAR-0059: metrics per accelerator; of all nodes, not of the one that a Service happens to hit",
        Basis.KAR,
    )
    yield _bounded(
        "at rest the utilisation metric is low",
        "idle_seen_ratio",
        Relation.AT_MOST,
        0.10,
        "a control: NVML saw each of these devices at rest",
    )
    yield _bounded(
        "under full load the utilisation metric is high",
        "load_seen_ratio",
        Relation.AT_LEAST,
        0.90,
        "a control: NVML saw each of these devices full",
    )
    yield Check(
        claim="every scrape of an exporter brings every metric of every device",
        measurement="coverage_ratio",
        statistic=Statistic.MIN,
        relation=Relation.AT_LEAST,
        bound=0.98,
        because="`up` stays 1 while samples are lost; the upper end of Wilson's interval decides",
    )
    yield Check(
        claim="the exporters are scraped as often as they should",
        measurement="scrape_coverage_ratio",
        statistic=Statistic.MIN,
        relation=Relation.AT_LEAST,
        bound=0.95,
        because="the upper end of Wilson's interval of the scrapes that were made",
        kind=Kind.PERFORMANCE,
    )


def _time_checks() -> Iterator[Check]:
    yield _bounded(
        "the exporter collects as often as it is configured to",
        "collect_interval_measured_to_configured_ratio",
        Relation.AT_MOST,
        1.5,
        "a variable with a wrong name is ignored, and the interval stays 30 s",
    )
    yield _none_of(
        "no sample is older than the collect interval",
        "sample_age_excess_seconds",
        "95 of 100 samples, beyond 0.3 s and a twentieth of the interval, which clocks and passes explain",
    )
    yield _bounded(
        "no metric is later than the exporter's own reading of the device",
        "field_delay_seconds",
        Relation.AT_MOST,
        0.5,
        "all fields are read in one pass; tried by the shift that explains the values best",
    )
    yield _none_of(
        "no metric stands still while its device moves",
        "frozen_seconds",
        "three samples alike that the device left, or a counter that stops, which no live device's does",
    )


def _value_checks() -> Iterator[Check]:
    yield _bounded(
        "the values are the device's",
        "unexplained_error_ratio",
        Relation.AT_MOST,
        0.03,
        "lower end of a 95 % interval; what rounding and 0.15 s about the reading explain is taken out",
    )
    yield Check(
        claim="every metric is in the unit that it is declared in",
        measurement="unit_factor_ratio",
        statistic=Statistic.LAST,
        relation=Relation.EQUALS,
        bound=1.0,
        because="watts for milliwatts, bytes for MiB, a ratio for percent: no rule notices",
    )
    yield _none_of(
        "no mark for a blank is shown as a number", "sentinels_total", "DCGM's blanks are about 9e18 and win every sum"
    )
    yield _none_of("every value can be", "out_of_range_total", "no utilisation above 1, nothing below 0")
    yield _bounded(
        "used, free and reserved memory are all the memory",
        "memory_imbalance_bytes",
        Relation.AT_MOST,
        3.0 * 1048576,
        "three values, each cut to a MiB",
    )
    yield _none_of("no counter falls", "counter_resets_total", "rate() takes each fall for a restart")
    yield Check(
        claim="the energy counter rises as power says",
        measurement="energy_to_power_ratio",
        statistic=Statistic.LAST,
        relation=Relation.WITHIN,
        bound=1.0,
        tolerance=0.1,
        because="dcgmproftester's own tolerance of 10 %",
    )
    yield _bounded(
        "the profiling counter means what NVML's utilisation means",
        "engine_unexplained_ratio",
        Relation.AT_MOST,
        0.05,
        "both tell the time in which any kernel ran, on however few multiprocessors, within dcgmproftester's 10 %",
    )
    yield _none_of(
        "SM activity, where it is shown, tells a kernel on part of the multiprocessors from one on all of them",
        "partial_kernels_hidden_total",
        "utilisation tells 100 % of both; half way from the part to all decides, since libraries choose their blocks",
    )


def _name_checks() -> Iterator[Check]:
    yield _none_of(
        "every device in use names its pod", "missing_labels_total", "beyond two scrapes after the pod's start"
    )
    yield _none_of(
        "each pod that shares a device is named at it",
        "sharers_unnamed_total",
        "an exporter with one label set a device names the sharer that the kubelet lists last, as if it had it alone",
    )
    yield _none_of("no device names a pod that never had it", "wrong_pods_total", "what the pods saw inside decides")
    yield _none_of(
        "no pod is named after its end", "ghosts_total", "beyond two scrapes after it; kubelets before 1.34 do"
    )
    yield _none_of("no device is shown twice", "duplicates_total", "sums over pods would count it twice")
    yield _none_of("labels come within two scrapes", "label_late_seconds", "they are as of the scrape")
    yield _none_of(
        "no sample is lost when a device changes hands", "hand_over_lost_total", "one series ends where the next begins"
    )
    yield _bounded(
        "no label but the pod's changes",
        "series_unexplained_total",
        Relation.AT_MOST,
        3.0,
        "each change of a label begins a new series of every metric; a restarted exporter explains some",
    )
    yield _none_of(
        "what pods that share a device are told adds up to the device",
        "shares_wrong_total",
        "each told the whole of it, sums are as often too high as there are sharers",
    )


def _view_checks() -> Iterator[Check]:
    yield Check(
        claim="the metrics API tells what Prometheus holds",
        measurement="view_mismatch_ratio",
        statistic=Statistic.LAST,
        relation=Relation.AT_MOST,
        bound=0.05,
        because="an answer may fall between a scrape and its storage; else it is no sum, mean or maximum",
    )
