"""What must hold of the readings that follow from a run: claims, bounds, and why they are these."""

from collections.abc import Iterator
from typing import Any, Final

from bench.analysis.autoscaling.looking import LOOK_AT
from bench.analysis.autoscaling.reacting import FEWEST
from bench.model.check import Basis, Check, Kind, Relation, Statistic
from bench.model.presence import Part

_METRIC: Final = (Part.API_SERVER, Part.PROMETHEUS)
"""What the metric comes through, on its way to the HPA and to us: without one of them nothing is scaled."""
_ROUTES: Final = (Part.API_SERVER,)
"""Where a Gateway hears of pods that come and go."""


def checks(*, repeats: int) -> Iterator[Check]:
    """Of a run with so many steps up; few of them show no distribution."""
    yield from _metric_checks()
    yield from _scaling_checks()
    yield from _timing_checks()
    if repeats >= FEWEST:
        yield _distribution_check()


def _check(claim: str, measurement: str, because: str, **more: Any) -> Check:
    """Of the last value, not above nothing, of our own basis, and seen by the metric, unless it is said otherwise."""
    told = {"statistic": Statistic.MAX, "relation": Relation.AT_MOST, "bound": 0.0, "basis": Basis.OURS, **more}
    told = {"depends_on": _METRIC, **told}
    return Check(claim=claim, measurement=measurement, because=because, look_at=LOOK_AT[measurement], **told)


def _metric_checks() -> Iterator[Check]:
    yield _check(
        "the metrics API answers when the HPA's metric is asked for",
        "metrics_api_answered_ratio",
        "an HPA whose metric is not served does nothing; a tenth allows for restarts",
        statistic=Statistic.MEAN,
        relation=Relation.AT_LEAST,
        bound=0.9,
        basis=Basis.KAR,
    )
    yield _check(
        "Prometheus has every device of the pods, under the pods' names",
        "devices_in_prometheus_ratio",
        "what is dropped or labelled otherwise is missing in the HPA's sum",
        statistic=Statistic.LAST,
        relation=Relation.AT_LEAST,
        bound=1.0,
    )
    yield _check(
        "the target lies between an idle and a full device",
        "target_to_full_device_ratio",
        "a ratio held against percents, or watts against kilowatts, is a hundred times off and more",
        statistic=Statistic.LAST,
        relation=Relation.WITHIN,
        bound=0.5,
        tolerance=0.45,
    )
    yield _check(
        "the HPA is given what the devices show",
        "metrics_api_to_device_ratio",
        "within 10 % as in dcgmproftester; a wrong unit, a wrong sum or a foreign device is beyond it",
        statistic=Statistic.LAST,
        relation=Relation.WITHIN,
        bound=1.0,
        tolerance=0.1,
        basis=Basis.KAR,
    )


def _scaling_checks() -> Iterator[Check]:
    yield _check(
        "under load the replicas reach the predicted number",
        "replicas_short_of_predicted_total",
        "KAR-0057: over the target the HPA adds replicas; how many follows from its arithmetic and the measured demand",
        basis=Basis.KAR,
    )
    yield _check(
        "every replica that is added becomes Ready",
        "replicas_never_ready_total",
        "a replica that is asked for and waits relieves nobody",
        basis=Basis.KAR,
        depends_on=(),
    )
    yield _check(
        "without load the replicas go back to the minimum",
        "replicas_left_over_total",
        "KAR-0057: under the target the HPA removes replicas after stabilisation",
        basis=Basis.KAR,
    )
    yield _check("nothing is scaled while idle", "scaled_while_idle_total", "a control without load")
    yield _check(
        "every pod holds a device",
        "pods_without_a_device_total",
        "the pods ask for one each",
        basis=Basis.KAR,
        depends_on=(),
    )
    yield _check(
        "no two pods hold one device at a time",
        "pods_that_share_a_device_total",
        "whole devices were asked for",
        depends_on=(),
    )
    yield _check(
        "every pod that became Ready answers through the Gateway",
        "ready_pods_that_never_answered_total",
        "a replica that gets no traffic relieves nobody",
        depends_on=_ROUTES,
    )
    yield _check(
        "no request is lost", "requests_failed_total", "scaling is not to be felt as errors", depends_on=_ROUTES
    )
    yield _check(
        "the replicas change direction at most once within a step",
        "direction_changes_total",
        "a constant load has one right answer",
        bound=1.0,
    )


def _timing_checks() -> Iterator[Check]:
    yield _check(
        "the exporter collects as often as it is configured to",
        "collect_interval_measured_to_configured_ratio",
        "a variable with a wrong name is ignored, and the interval stays 30 s",
        statistic=Statistic.LAST,
        bound=1.5,
        depends_on=(),
    )
    yield _check(
        "each reaction comes within the worst that the measured intervals allow",
        "reaction_to_predicted_worst_ratio",
        "NVML window, collect, scrape and sync are clocks that nobody aligned; their sum is the worst case",
        bound=1.0,
        kind=Kind.PERFORMANCE,
    )
    yield _check(
        "no stage takes longer than its configuration allows",
        "stage_beyond_its_worst_seconds",
        "the median of each stage against its own clock; the guilty one is named",
        kind=Kind.PERFORMANCE,
    )


def _distribution_check() -> Check:
    return _check(
        "the reactions are spread as the measured intervals predict",
        "reaction_ks_p_value_ratio",
        "Kolmogorov-Smirnov against the sum of the uniform waits; one sound run of a thousand is below",
        statistic=Statistic.LAST,
        relation=Relation.AT_LEAST,
        bound=0.001,
        kind=Kind.PERFORMANCE,
    )
