"""One scenario tried on a running lab within this process, so that a test can act between two of its readings."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.cluster.journal import Journal
from bench.evidence.judging import Judgement, judge
from bench.model.measurement import Reading
from bench.model.scenario import Scenario
from bench.registry import discover
from bench.rig.cluster_rig import ClusterRig, Surroundings
from bench.targets.lab import lab_target
from bench.targets.opening import opened


def made(scenario: str, **parameters: object) -> Scenario:
    """The scenario with these parameters."""
    return discover().get(scenario).make({name: str(value) for name, value in parameters.items()})


@contextmanager
def rig_on(lab: str, run_id: str) -> Iterator[ClusterRig]:
    """A rig as a run gives it; what was made through it is gone when the block ends, or the test fails."""
    with tempfile.TemporaryDirectory() as folder, opened(lab_target(lab)) as target:
        around = Surroundings(
            cluster=target.cluster,
            prometheus=target.prometheus,
            inventory=target.inventory,
            gateway_url=target.target.gateway_url,
            run_id=run_id,
            folder=Path(folder),
            journal=Journal(Path(folder) / "journal.jsonl"),
        )
        rig = ClusterRig(around)
        with rig:
            yield rig
        assert rig.leftovers == ()


def judged(scenario: Scenario, readings: list[Reading]) -> Judgement:
    """As a run judges it."""
    return judge(scenario, readings)


def failed(judgement: Judgement) -> set[str]:
    """The measurements of the checks that failed."""
    return {check.measurement for check in judgement.checks if check.verdict == "fail"}


def of(readings: Any, name: str, **labels: str) -> list[Any]:
    """The readings of a name with these labels."""
    return [
        each
        for each in readings
        if each.name == name and all(each.labels.get(key) == value for key, value in labels.items())
    ]
