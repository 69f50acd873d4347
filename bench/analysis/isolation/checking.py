"""What must hold of the readings that follow from what pods saw and tried: claims, bounds, and why they are these."""

from collections.abc import Iterator, Sequence
from typing import Final

from bench.analysis.isolation.looking import LOOK_AT
from bench.model.check import Basis, Check, Kind, Relation, Statistic

_NOTHING: Final = (
    (
        "control",
        "a pod that asked for one device sees exactly one",
        "holder_sees_other_than_one_total",
        Basis.UPSTREAM_TEST,
        "one was asked for; by device files, NVML and CUDA alike",
    ),
    (
        "control",
        "what a pod sees is what it was allocated",
        "seen_other_than_allocated_total",
        Basis.KAR,
        "a claim names its devices, the device plugin their number",
    ),
    (
        "none",
        "a pod that asked for none sees none",
        "seen_without_request_total",
        Basis.UPSTREAM_TEST,
        "access is mediated by what was asked for; the control sees one from the same image on the same node",
    ),
    (
        "pair",
        "a device is held by no more pods at a time than it has shares",
        "holders_beyond_shares_total",
        Basis.KAR,
        "whole devices are one pod's; time slices are as many as the node advertises",
    ),
    (
        "pair",
        "no pod reaches the device of another",
        "foreign_devices_reached_total",
        Basis.KAR,
        "each tries while the other holds, by device files, by files of its own making, and by UUID",
    ),
    (
        "second-container",
        "a container that asked for none sees none of its pod's",
        "seen_by_second_container_total",
        Basis.UPSTREAM_TEST,
        "access is a container's, not its pod's; the first container sees the device",
    ),
    (
        "bypass",
        "no pod without privileges comes to devices around the allocation",
        "devices_seen_by_bypass_total",
        Basis.OURS,
        "the toolkit's defaults let NVIDIA_VISIBLE_DEVICES of any pod choose; its documentation shows how to close it",
    ),
    (
        "bypass",
        "Pod Security refuses a pod the node's /dev",
        "host_path_devices_admitted_total",
        Basis.OURS,
        "the namespace enforces the level baseline, which has no hostPath volumes",
    ),
    (
        "residue",
        "an owner finds nothing that the owner before it left in memory",
        "marks_of_earlier_owners_total",
        Basis.OURS,
        "device memory is cleared between owners, or a model's weights and prompts are the next tenant's",
    ),
)
"""Part, claim, measurement of what must not be, basis, reason."""


def checks(parts: Sequence[str], *, slowdown_budget_ratio: float) -> Iterator[Check]:
    """Of the parts that are run."""
    for part, claim, measurement, basis, because in _NOTHING:
        if part in parts:
            yield _exactly(0.0, claim, measurement, because=because, basis=basis)
    if "interference" in parts:
        yield Check(
            claim="a neighbour at work takes no more of a device's rate than the budget",
            measurement="slowdown_at_least_ratio",
            look_at=LOOK_AT["slowdown_at_least_ratio"],
            statistic=Statistic.LAST,
            relation=Relation.AT_MOST,
            bound=slowdown_budget_ratio,
            because="heat and buses take some percent; the lower end of the interval, so that noise does not fail, and "
            "unknown where the budget lies inside it",
            basis=Basis.OURS,
            kind=Kind.PERFORMANCE,
        )
    if "seed" in parts:
        yield from _seed_checks()


def _exactly(  # noqa: PLR0913  (what a check is made of)
    bound: float, claim: str, measurement: str, *, because: str, basis: Basis, pod: str = ""
) -> Check:
    return Check(
        claim=claim,
        measurement=measurement,
        statistic=Statistic.MAX,
        relation=Relation.EQUALS,
        bound=bound,
        because=because,
        basis=basis,
        look_at=LOOK_AT[measurement],
        labels={"pod": pod} if pod else {},
    )


def _seed_checks() -> Iterator[Check]:
    yield Check(
        claim="of three nbody pods and one free device, the first computes",
        measurement="nbody_results_total",
        look_at=LOOK_AT["nbody_results_total"],
        statistic=Statistic.MAX,
        relation=Relation.AT_LEAST,
        bound=1.0,
        because="RKE2's procedure: it holds the device",
        basis=Basis.CHECKLIST,
        labels={"pod": "first"},
    )
    yield _exactly(
        1.0,
        "of three nbody pods and one free device, the second is kept Pending",
        "nbody_kept_pending_total",
        because="RKE2's procedure: the scheduler says that the device is not to be had",
        basis=Basis.CHECKLIST,
        pod="second",
    )
    yield _exactly(
        0.0,
        "of three nbody pods and one free device, the third, which asked for none, computes nothing",
        "nbody_results_without_request_total",
        because="RKE2's procedure: it runs and finds no device, while the first one computes",
        basis=Basis.CHECKLIST,
    )
