import dataclasses
import io
from html.parser import HTMLParser

from made_up import OUTCOME, RECORD, absent, autoscaling, reading, stored
from rich.console import Console

from bench.cli.run import _write_page
from bench.evidence.reader import load_run
from bench.model.evidence import Fidelity
from bench.model.verdict import Verdict
from bench.report.document import EMBEDDED_STAMP
from bench.report.html import render


def page(tmp_path, readings=(), **more):
    return render(stored(tmp_path, readings, **more))


class Outline(HTMLParser):
    """Every tag that opens, closes; what is fetched from elsewhere; headings of tables say what they head."""

    VOID = frozenset({"meta", "br", "img", "link"})

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.text, self.ids, self.unscoped = [], [], [], [], 0

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [named[name] for name in ("src", "href") if not named.get(name, "#").startswith("#")]
        self.ids += [named["id"]] if "id" in named else []
        self.unscoped += tag == "th" and "scope" not in named

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def outline(html):
    parsed = Outline()
    parsed.feed(html)
    assert parsed.open == []
    return parsed


def text(html):
    return " ".join(" ".join(outline(html).text).split())


def test_the_page_is_whole_small_and_fetches_nothing(tmp_path):
    html = page(tmp_path, autoscaling())
    parsed = outline(html)

    assert len(html.encode()) < 250_000
    assert parsed.fetched == []
    assert "<script" not in html
    assert parsed.unscoped == 0
    assert len(parsed.ids) == len(set(parsed.ids))
    for words in (
        "replicas reach <three>",
        "It scales & serves.",
        "the nodes are fixed",
        "6.1 <x86>",
        "ours, stricter",
    ):
        assert words in text(html)


def test_the_stamp_comes_first_and_then_what_did_not_hold_and_where_to_look(tmp_path):
    told = text(page(tmp_path, autoscaling()))
    body = told[told.index(EMBEDDED_STAMP) :]
    places = [
        body.index(words)
        for words in (
            "What did not hold",
            "1 beyond; observed 1, bound: last at most 0",
            "step 1, pod ollama-7c-x1",
            "kubectl describe hpa | less",
            "Scenarios",
        )
    ]

    assert places == sorted(places)
    assert "fail: 1 of 5 checks passed; scenarios: 1 fail" in body


def test_a_guilty_stage_is_named_in_words_with_its_own_next_step(tmp_path):
    told = text(page(tmp_path, autoscaling()))

    assert "GUILTY: 9.50 s too long" in told
    assert "13.50 s (13.00 to 14.00)" in told
    assert "stage exporter, direction up the exporter's collect interval (DCGM_EXPORTER_INTERVAL" in told


def test_a_run_in_which_all_passed_has_no_list_of_what_did_not_hold(tmp_path):
    fine = dataclasses.replace(OUTCOME, verdict=Verdict.PASS, checks=OUTCOME.checks[:1])

    assert "What did not hold" not in text(page(tmp_path, outcomes=(fine,)))


def test_every_figure_has_its_content_in_words(tmp_path):
    html = page(tmp_path, autoscaling())

    assert html.count("<svg") == html.count("</desc>") == 7
    assert "Step 2 up, the longest of 2: device 0.80 s, exporter 14.00 s" in text(html)


def test_it_tells_how_to_do_it_again(tmp_path):
    told = text(page(tmp_path))

    assert "bench run pod-autoscaling \\ --target lab:small \\ --set pod-autoscaling.target=70" in told
    assert "--set 'pod-autoscaling.metric=a b'" in told
    assert "hpa_file=" not in told.split("Do it again")[1]
    assert "bench judge r-1" in told


def test_a_real_cluster_bears_no_stamp_and_names_its_target(tmp_path):
    record = dataclasses.replace(RECORD, fidelity=Fidelity.CLUSTER, target="prod")
    html = page(tmp_path, record=record)

    assert EMBEDDED_STAMP not in html
    assert "--target prod" in html


def test_what_was_left_out_is_told_with_its_reason_once(tmp_path):
    told = text(page(tmp_path, [absent("stage_seconds", "no samples", step=str(step)) for step in range(3)]))

    assert "stage_seconds step 0 and 2 more no samples" in told


def test_a_long_list_of_absences_is_cut_and_says_so(tmp_path):
    told = text(page(tmp_path, [absent("stage_seconds", f"reason {number}") for number in range(100)]))

    assert "40 more are in readings.jsonl" in told


def test_a_scenario_without_readings_of_a_section_has_no_such_section(tmp_path):
    told = text(page(tmp_path, [reading("share_ratio", 0.9)]))

    for title in ("What happened", "Stages", "Reaction times", "Latencies", "What to change", "In numbers"):
        assert title not in told


def test_a_run_of_an_hour_on_many_devices_stays_below_two_megabytes(tmp_path):
    many = [reading("gpu_busy_time_ratio", [0.5] * 36000, times=range(36000), uuid=f"GPU-{n}") for n in range(32)]
    waits = [
        reading("request_ttft_seconds", [0.5] * 20000, times=range(20000), backend=f"p-{n}", direction="up")
        for n in range(9)
    ]
    html = page(tmp_path, [*many, *waits])

    assert len(html.encode()) < 2_000_000
    assert "busy ratio by NVML: 6 of 32" in text(html)
    assert "by pod: 6 of 9 pods" in text(html)


def test_the_page_beside_the_evidence_is_no_part_of_it(tmp_path):
    run = stored(tmp_path, autoscaling())
    _write_page(run.folder, Console(file=io.StringIO()))

    assert (run.folder / "report.html").read_text(encoding="utf-8") == render(run)
    assert load_run(run.folder).warnings == ()


def test_a_page_that_cannot_be_written_is_told_and_takes_nothing_from_the_run(tmp_path):
    run = stored(tmp_path, [])
    (run.folder / "report.html").mkdir()
    said = io.StringIO()
    _write_page(run.folder, Console(file=said))

    assert "report.html was not written: IsADirectoryError" in said.getvalue()
