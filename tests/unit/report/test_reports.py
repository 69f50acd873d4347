import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.cli import judge as judge_verb
from bench.cli import main
from bench.cli.judge import judged_again
from bench.errors import UnknownScenario
from bench.evidence.reader import StoredRun, load_run
from bench.evidence.store import RunStore
from bench.model.check import Basis, Check, CheckResult, Kind, Relation, Statistic
from bench.model.evidence import Fidelity, Outcome, RunRecord
from bench.model.measurement import Measurement, Source
from bench.model.units import Unit
from bench.model.verdict import Verdict
from bench.registry import Registry, scenario
from bench.report.document import EMBEDDED_STAMP, run_document
from bench.report.junit import render_junit
from bench.report.text import render_run

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RECORD = RunRecord(
    run_id="r-1",
    fidelity=Fidelity.EMBEDDED,
    target="lab",
    bench_version="0.1.0",
    server_version="v1.36.0",
    cluster_uid="u",
    started=NOW,
    is_complete=True,
)


def result(verdict, claim="the split is right", observed=0.91, basis=Basis.CHECKLIST):
    return CheckResult(
        claim=claim,
        verdict=verdict,
        observed=observed,
        bound="max at most 0.9",
        reason="max of 3 value(s) is 0.91",
        because="two half-widths",
        basis=basis,
        kind=Kind.CONFORMANCE,
        measurement="share_ratio",
        labels={"backend": "a"},
    )


def outcome(verdict, *checks, name="routing", **rest):
    return Outcome(
        scenario=name,
        requirement="ai_inference",
        claim="Traffic is split.",
        verdict=verdict,
        started=NOW,
        ended=NOW + timedelta(seconds=12.5),
        checks=checks,
        parameters={"requests": "2000"},
        **rest,
    )


RUN = StoredRun(
    folder=Path("results/r-1"),
    record=RECORD,
    outcomes=(
        outcome(Verdict.FAIL, result(Verdict.FAIL), result(Verdict.PASS, claim="nothing is lost", basis=Basis.OURS)),
        outcome(Verdict.SKIPPED, name="gang", reason="no gang scheduler was seen"),
        outcome(Verdict.ERROR, name="broken", reason="the bench broke"),
        outcome(Verdict.INCONCLUSIVE, result(Verdict.INCONCLUSIVE, observed=None), name="unknown"),
    ),
    warnings=("a/evidence.json was changed after the run",),
)


def text(run):
    console = Console(width=140, no_color=True)
    with console.capture() as captured:
        console.print(render_run(run))
    return captured.get()


def test_the_stamp_of_the_lab_comes_before_everything_and_only_there():
    assert text(RUN).strip().startswith(EMBEDDED_STAMP)
    real = dataclasses.replace(RUN, record=dataclasses.replace(RECORD, fidelity=Fidelity.CLUSTER))
    assert EMBEDDED_STAMP not in text(real)
    assert run_document(RECORD, RUN.outcomes, RUN.folder)["stamp"] == EMBEDDED_STAMP


def test_the_text_says_what_failed_why_and_who_demands_it():
    page = text(RUN)

    for words in (
        "fail  routing (ai_inference): Traffic is split.",
        "max of 3 value(s) is 0.91, at backend a",
        "ours, stricter",
        "no gang scheduler was seen",
        "mind: a/evidence.json was changed after the run",
        "error: 1 of 3 checks passed; scenarios: 1 skipped, 1 inconclusive, 1 fail, 1 error",
    ):
        assert words in page


def test_markup_in_what_a_cluster_says_is_shown_and_not_obeyed():
    odd = outcome(Verdict.ERROR, name="odd", reason="[/] [bold]pod[/bold] [link=x]")

    assert "[/] [bold]pod[/bold] [link=x]" in text(dataclasses.replace(RUN, outcomes=(odd,)))


def test_the_document_has_the_keys_that_programs_read():
    document = json.loads(json.dumps(run_document(RECORD, RUN.outcomes, RUN.folder, RUN.warnings), allow_nan=False))

    assert document["run_id"] == "r-1"
    assert document["path"] == "results/r-1"
    assert document["fidelity"] == "embedded"
    assert document["verdict"] == "error"
    check = document["scenarios"][0]["checks"][0]
    assert {key: check[key] for key in ("claim", "verdict", "observed", "bound", "basis")} == {
        "claim": "the split is right",
        "verdict": "fail",
        "observed": 0.91,
        "bound": "max at most 0.9",
        "basis": "checklist",
    }


def test_junit_counts_each_verdict_as_what_it_is():
    root = ET.fromstring(render_junit(RUN))

    assert {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "2",
    }
    suite = root.find("testsuite")
    assert suite.find("properties/property[@name='stamp']").get("value") == EMBEDDED_STAMP
    assert suite.find("testcase/failure").get("message").endswith("[basis: checklist]")
    assert suite.get("time") == "12.500"


@given(st.text(st.characters(), max_size=60))
def test_junit_is_xml_whatever_a_cluster_says(words):
    odd = outcome(Verdict.ERROR, result(Verdict.FAIL, claim=words or "c"), reason=words)
    run = dataclasses.replace(RUN, outcomes=(odd,))

    assert ET.fromstring(render_junit(run)).get("errors") == "1"


class Routing:
    """Traffic is split."""

    most: float = 0.95

    def needs(self):
        return ()

    def run(self, rig):
        return ()

    def checks(self):
        yield Check(
            claim="the split is right",
            measurement="share_ratio",
            statistic=Statistic.MAX,
            relation=Relation.AT_MOST,
            bound=self.most,
            because="so",
        )


def stored(tmp_path, *, verdict=Verdict.FAIL, **rest):
    store = RunStore.create(tmp_path, RECORD)
    with store.scenario("routing") as kept:
        kept.append(
            Measurement(name="share_ratio", unit=Unit.RATIO, values=(0.91,), source=Source.LOAD, statement="load")
        )
        kept.conclude(dataclasses.replace(outcome(verdict, result(Verdict.FAIL)), **{"parameters": {}, **rest}))
    store.finish(RECORD)
    return load_run(store.folder)


def registry():
    known = Registry()
    scenario("routing", requirement="ai_inference", registry=known)(Routing)
    return known


def test_a_run_is_judged_again_with_the_checks_of_today(tmp_path):
    again = judged_again(stored(tmp_path), registry())

    assert again.outcomes[0].verdict is Verdict.PASS
    assert again.outcomes[0].checks[0].observed == 0.91
    assert load_run(tmp_path / "r-1").outcomes[0].verdict is Verdict.FAIL


def test_it_is_judged_with_the_parameters_it_ran_with(tmp_path):
    assert judged_again(stored(tmp_path, parameters={"most": "0.9"}), registry()).outcomes[0].verdict is Verdict.FAIL


def test_what_broke_or_was_skipped_is_not_judged_into_something_else(tmp_path):
    assert judged_again(stored(tmp_path, verdict=Verdict.ERROR), registry()).outcomes[0].verdict is Verdict.ERROR


def test_what_was_broken_off_shows_nothing_whatever_its_checks_say(tmp_path):
    (again,) = judged_again(stored(tmp_path, is_complete=False, reason="the run was interrupted"), registry()).outcomes

    assert again.verdict is Verdict.INCONCLUSIVE
    assert again.checks[0].verdict is Verdict.PASS
    assert again.reason == "the run was interrupted"


def test_a_scenario_that_is_gone_is_told(tmp_path):
    with pytest.raises(UnknownScenario):
        judged_again(stored(tmp_path), Registry())


def test_the_verb_tells_what_changed_since(tmp_path):
    before = stored(tmp_path)
    after = judged_again(before, registry())
    console = Console(width=140, no_color=True)
    with console.capture() as captured:
        judge_verb._print(console, before, after)

    assert "routing: fail then, pass now" in captured.get()


@pytest.mark.parametrize("form", ["text", "json", "junit"])
def test_a_run_is_reported_in_each_form_to_the_screen_and_to_a_file(tmp_path, capsys, form):
    stored(tmp_path)
    base = ["report", "r-1", "--results", str(tmp_path), "--as", form]

    assert main(base) == 0
    assert "routing" in capsys.readouterr().out
    assert main([*base, "--out", str(tmp_path / "out")]) == 0
    assert "routing" in (tmp_path / "out").read_text()
    assert main([*base, "--out", str(tmp_path / "no" / "out")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_run_that_is_not_there_is_wrong_usage(tmp_path, capsys):
    for verb in ("report", "judge"):
        assert main([verb, "r-9", "--results", str(tmp_path)]) == 2
        assert "There is no run 'r-9'" in capsys.readouterr().err


def test_every_scenario_is_listed_and_can_be_shown(capsys):
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    for each in listed:
        assert main(["show", each["id"], "--json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["claim"] == each["claim"]
        assert all(check["because"] for check in shown["checks"])
        assert main(["show", each["id"]]) == 0
        assert each["id"] in capsys.readouterr().out
    assert main(["list"]) == 0


def test_an_unknown_scenario_or_version_is_wrong_usage(capsys):
    assert main(["show", "no-such-scenario"]) == 2
    assert main(["list", "--kubernetes", "1.2"]) == 2
    assert "1.33" in capsys.readouterr().err
