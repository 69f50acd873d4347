"""
The forms that are text, held against files word for word.

After a change that is meant: ``python tests/unit/report/test_golden.py`` writes the files anew; look at the difference.
"""

import io
import json
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from made_up import autoscaling, stored
from rich.console import Console

from bench.report.document import run_document
from bench.report.junit import render_junit
from bench.report.markdown import render as render_markdown
from bench.report.text import render_run

GOLDEN = Path(__file__).parent / "golden"


def as_text(run):
    page = io.StringIO()
    Console(file=page, width=100, no_color=True).print(render_run(run))
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


def as_json(run):
    return json.dumps(run_document(run.record, run.outcomes, Path("results/r-1"), run.warnings), indent=1) + "\n"


FORMS = {"text.txt": as_text, "markdown.md": render_markdown, "junit.xml": render_junit, "run.json": as_json}


@pytest.mark.parametrize("name", FORMS)
def test_the_form_is_word_for_word_what_it_was(tmp_path, name):
    assert FORMS[name](stored(tmp_path, autoscaling())) == (GOLDEN / name).read_text(encoding="utf-8")


def test_the_first_lines_say_what_failed_by_how_much_where_and_what_to_look_at():
    first = (GOLDEN / "text.txt").read_text(encoding="utf-8").split("pod-autoscaling (pod_autoscaling)")[0]

    for words in (
        "fail  pod-autoscaling: replicas reach <three>",
        "by  1 beyond; observed 1, bound: last at most 0",
        "where  step 1, pod ollama-7c-x1",
        "look at  kubectl describe hpa | less",
        "where  stage exporter, direction up",
        "and  no two pods hold one device",
    ):
        assert words in first


def test_junit_is_a_suite_a_scenario_whose_counts_are_those_of_its_cases():
    root = ET.parse(GOLDEN / "junit.xml").getroot()

    assert root.tag == "testsuites"
    for suite in root:
        cases = suite.findall("testcase")
        assert [child.tag for child in suite] == ["properties"] + ["testcase"] * len(cases)
        marks = [case.find(tag) for case in cases for tag in ("failure", "error", "skipped")]
        assert {"tests": str(len(cases))}.items() <= suite.attrib.items()
        assert sum(mark is not None for mark in marks) == sum(
            int(suite.get(key)) for key in ("failures", "errors", "skipped")
        )
        assert all(mark.get("message") and mark.get("type") for mark in marks if mark is not None)
        assert all(case.get("name") and case.get("classname") == suite.get("name") for case in cases)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        told = stored(Path(folder), autoscaling())
        for file, form in FORMS.items():
            (GOLDEN / file).write_text(form(told), encoding="utf-8")
            sys.stdout.write(f"{GOLDEN / file}\n")
