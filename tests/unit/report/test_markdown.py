import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import OUTCOME, autoscaling, check, stored

from bench.model.verdict import Verdict
from bench.report.blocks import Cell, Code, Prose, Table
from bench.report.markdown import _block, _plain, render


def test_what_a_cluster_says_is_no_markup_and_calls_nobody(tmp_path):
    odd = check(Verdict.FAIL, "a | b <script> *c* @root `d`\n# e", reason="r")
    text = render(stored(tmp_path, [], outcomes=(dataclasses.replace(OUTCOME, checks=(odd,)),)))

    assert r"a \| b \<script\> \*c\* @" in text
    assert "@root" not in text
    assert "\n# e" not in text


@settings(max_examples=100)
@given(st.text(max_size=40))
def test_a_cell_never_ends_its_row(words):
    lines = list(
        _block(Table(headings=("a", "b"), rows=[(Cell(text=words, note=words), Cell(text=words, is_code=True))]))
    )

    assert len(lines) == 3
    assert lines[2].replace("\\\\", "").replace("\\|", "").count("|") == 3


def test_the_checks_are_open_and_the_rest_is_folded_away(tmp_path):
    text = render(stored(tmp_path, autoscaling()))
    opened = text.split("<details>")[0]

    assert "no stage takes longer than it may" in opened
    assert "<details><summary>Stages</summary>" in text
    assert text.count("<details>") == text.count("</details>")
    assert "<svg" not in text


def test_a_reason_and_warnings_are_told(tmp_path):
    broken = dataclasses.replace(OUTCOME, verdict=Verdict.ERROR, reason="the bench broke", checks=())
    run = dataclasses.replace(stored(tmp_path, [], outcomes=(broken,)), warnings=("a was changed",))
    text = render(run)

    assert "**the bench broke**" in text
    assert "- a was changed" in text
    assert "look at: The bench broke; this says nothing about the cluster." in text


def test_paragraphs_and_commands_keep_their_form():
    assert list(_block(Prose(text="a_b", is_strong=True))) == ["**a\\_b**"]
    assert list(_block(Code(text="bench list"))) == ["```console", "bench list", "```"]
    assert _plain("  a\n b ") == "a b"
