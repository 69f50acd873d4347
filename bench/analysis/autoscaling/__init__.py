"""
From what was watched around load steps to what can be judged: stages, reactions, replicas, devices, answers.

Pure: readings in, readings out, so that a stored run can be analysed again. The readings are those that the scenario
`pod-autoscaling` yields; what one of them lacks becomes an `Absent` with the reason, never a number.
"""

from collections.abc import Iterator, Sequence

from bench.analysis.autoscaling.advising import advice
from bench.analysis.autoscaling.checking import checks
from bench.analysis.autoscaling.reaching import reach
from bench.analysis.autoscaling.reacting import intervals, reactions
from bench.analysis.autoscaling.scaling import idle, replicas
from bench.analysis.autoscaling.serving import agreement, answers, devices, readiness
from bench.analysis.autoscaling.staging import courses_of, stages
from bench.analysis.autoscaling.view import Rules, View
from bench.analysis.hpa import Hpa
from bench.analysis.hpa_spec import HpaSpec, read_hpa
from bench.analysis.reach import Aggregation
from bench.model.measurement import Reading

__all__ = ["Aggregation", "Hpa", "HpaSpec", "Rules", "checks", "derive", "read_hpa"]


def derive(readings: Sequence[Reading], rules: Rules) -> Iterator[Reading]:
    """All that follows from the readings, in the order in which a report tells it."""
    view = View(readings, rules)
    yield from intervals(view)
    yield from reach(view)
    courses = {direction: courses_of(view, direction) for direction in ("up", "down")}
    for direction, course in courses.items():
        yield from stages(view, direction, course)
    yield from reactions(view, courses["up"])
    yield from replicas(view)
    yield from idle(view)
    yield readiness(view)
    yield from devices(view)
    yield from answers(view)
    yield from agreement(view)
    yield from advice(view)
