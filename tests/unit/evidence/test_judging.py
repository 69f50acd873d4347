from bench.evidence.judging import judge
from bench.model.check import Check, Relation, Statistic
from bench.model.measurement import Measurement, Source
from bench.model.units import Unit
from bench.model.verdict import Verdict


def ratio(value, name="x_ratio"):
    return Measurement(name=name, unit=Unit.RATIO, values=(value,), source=Source.LOAD, statement="s")


def below(bound, name="x_ratio"):
    return Check(
        claim=f"{name} stays below",
        measurement=name,
        statistic=Statistic.MAX,
        relation=Relation.AT_MOST,
        bound=bound,
        because="so",
    )


class Plain:
    def needs(self):
        return ()

    def run(self, rig):
        return ()

    def checks(self):
        yield below(0.5)
        yield below(0.9)


class Deriving(Plain):
    def analyse(self, readings):
        value = 1.0 / (1.0 - readings[0].values[0].item())
        yield Measurement(name="y_ratio", unit=Unit.RATIO, values=(value,), source=Source.ANALYSIS, statement="s")

    def checks(self):
        yield below(2.0, name="y_ratio")


class Unchecked(Plain):
    def checks(self):
        return ()


def test_the_worst_check_is_the_verdict():
    judgement = judge(Plain(), [ratio(0.7)])

    assert judgement.verdict is Verdict.FAIL
    assert [each.verdict for each in judgement.checks] == [Verdict.FAIL, Verdict.PASS]


def test_checks_see_what_was_derived():
    assert judge(Deriving(), [ratio(0.4)]).verdict is Verdict.PASS
    assert judge(Deriving(), [ratio(0.6)]).verdict is Verdict.FAIL


def test_an_analysis_that_breaks_is_an_error_and_accuses_nobody():
    assert judge(Deriving(), [ratio(1.0)]).verdict is Verdict.ERROR
    assert "IndexError" in judge(Deriving(), []).reason


def test_no_checks_show_nothing():
    judgement = judge(Unchecked(), [ratio(0.1)])

    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "no checks" in judgement.reason


def test_what_an_earlier_analysis_derived_is_derived_anew():
    first = judge(Deriving(), [ratio(0.4)])
    stale = Measurement(name="y_ratio", unit=Unit.RATIO, values=(99.0,), source=Source.ANALYSIS, statement="s")

    assert judge(Deriving(), [ratio(0.4), *first.derived, stale]) == first
