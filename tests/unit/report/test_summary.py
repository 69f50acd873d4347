import dataclasses

from made_up import CHECKS, OUTCOME, check

from bench.model.verdict import Verdict
from bench.report.summary import findings, headline, missed, together


def test_nothing_ran_and_nothing_was_judged_are_said():
    assert headline(()) == "inconclusive: no check was judged; scenarios: nothing ran"


def test_the_worst_comes_first_and_what_passed_is_not_told():
    broken = dataclasses.replace(OUTCOME, scenario="other", verdict=Verdict.ERROR, reason="it broke", checks=())
    found = findings((OUTCOME, broken))

    assert [each.verdict.value for each in found] == ["error", "fail", "fail", "inconclusive", "inconclusive"]
    assert found[0].missed == "it broke"
    assert found[0].look_at == "The bench broke; this says nothing about the cluster."


def test_a_skipped_scenario_tells_its_unmet_need_and_accuses_nobody():
    skipped = dataclasses.replace(OUTCOME, verdict=Verdict.SKIPPED, reason="no Gateway", checks=())

    assert [(each.missed, each.look_at) for each in findings((skipped,))] == [("no Gateway", "")]


def test_one_cause_of_several_findings_is_told_once():
    groups = together(findings((OUTCOME,)))

    assert [len(group) for group in groups] == [1, 1, 2]


def test_a_stage_has_its_own_next_step_a_check_its_own_and_else_the_readings_are_named():
    plain = check(Verdict.FAIL, "c")
    found = findings((dataclasses.replace(OUTCOME, checks=(*CHECKS, plain)),))
    steps = {each.claim: each.look_at for each in found}

    assert steps["replicas reach <three>"] == "kubectl describe hpa | less"
    assert "DCGM_EXPORTER_INTERVAL" in steps["no stage takes longer than it may"]
    assert steps["c"] == "the readings named replicas_short_total in pod-autoscaling/readings.jsonl"
    assert steps["every pod holds a device"] == ""


def test_a_miss_is_told_in_the_unit_of_its_measurement():
    late = check(Verdict.FAIL, "c", measurement="reaction_seconds", observed=12.5, beyond=2.5, bound="max at most 10")

    assert missed(late) == "2.5 s beyond; observed 12.5 s, bound: max at most 10"
    assert missed(dataclasses.replace(late, beyond=None)) == "observed 12.5 s, bound: max at most 10"
