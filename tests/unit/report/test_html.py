import dataclasses
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.evidence.reader import load_run
from bench.evidence.store import RunStore
from bench.model.check import Basis, CheckResult, Kind
from bench.model.evidence import Fidelity, Outcome, RunRecord
from bench.model.measurement import Absent, Measurement, Source
from bench.model.units import find_unit
from bench.model.verdict import Verdict
from bench.report.document import EMBEDDED_STAMP
from bench.report.html import render
from bench.report.svg import Bar, Line, Panel, bars, panels, thinned

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RECORD = RunRecord(
    run_id="r-1",
    fidelity=Fidelity.EMBEDDED,
    target="lab",
    bench_version="0.1.0",
    server_version="v1.36.0",
    cluster_uid="u",
    started=NOW,
    environment={"kernel": "6.1 <x86>"},
)
CHECK = CheckResult(
    claim="replicas reach <three>",
    verdict=Verdict.FAIL,
    observed=1.0,
    bound="last at most 0",
    reason="last is 1",
    because="the HPA's own arithmetic",
    basis=Basis.OURS,
    kind=Kind.CONFORMANCE,
    measurement="replicas_short_total",
)
OUTCOME = Outcome(
    scenario="pod-autoscaling",
    requirement="pod_autoscaling",
    claim="It scales & serves.",
    verdict=Verdict.FAIL,
    started=NOW,
    ended=NOW + timedelta(seconds=300),
    parameters={"target": "70"},
    checks=(CHECK,),
)


def reading(name, values, *, labels=None, source=Source.NVML, times=None):
    values = np.asarray(values, float)
    return Measurement(
        name=name,
        unit=find_unit(name),
        values=values,
        times_seconds=1.7e9 + np.arange(values.size) if times is None else times,
        source=source,
        statement="s",
        labels=labels or {},
    )


def stage(name, seconds, step):
    labels = {"direction": "up", "stage": name, "step": str(step)}
    return reading("stage_seconds", [seconds], labels=labels, source=Source.ANALYSIS, times=())


def page(tmp_path, readings, record=RECORD):
    store = RunStore.create(tmp_path, record)
    with store.scenario("pod-autoscaling") as kept:
        for each in readings:
            kept.append(each)
        kept.conclude(OUTCOME)
    store.finish(record)
    return render(load_run(store.folder))


def readings():
    rng = np.random.default_rng(1)
    yield reading("gpu_busy_time_ratio", rng.random(36000), labels={"uuid": "GPU-00000000-1111-2222-3333-444444444444"})
    yield reading("desired_replicas_total", [1, 2, 3, 1], source=Source.KUBERNETES)
    for step in (1, 2, 3):
        yield stage("device", 0.4 * step, step)
        yield stage("exporter", 12.0 + step, step)
    beyond = {"direction": "up", "stage": "exporter"}
    yield reading("stage_beyond_its_worst_seconds", [9.5], labels=beyond, source=Source.ANALYSIS, times=())
    yield Absent(name="stage_seconds", source=Source.ANALYSIS, statement="s", reason="the nodes are fixed")


class Outline(HTMLParser):
    """Every tag that opens, closes; what is fetched from elsewhere."""

    VOID = frozenset({"meta", "br", "img", "link"})

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [value for name, value in attributes if name in ("src", "href") and not value.startswith("#")]

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def outline(html):
    parsed = Outline()
    parsed.feed(html)
    assert parsed.open == []
    return parsed


def test_the_page_is_whole_small_and_fetches_nothing(tmp_path):
    html = page(tmp_path, readings())
    parsed = outline(html)

    assert len(html.encode()) < 200_000
    assert parsed.fetched == []
    assert "<script" not in html
    text = "".join(parsed.text)
    assert text.index(EMBEDDED_STAMP) < text.index("pod-autoscaling")
    for words in (
        "replicas reach <three>",
        "It scales & serves.",
        "the nodes are fixed",
        "6.1 <x86>",
        "ours, stricter",
    ):
        assert words in text


def test_the_guilty_stage_is_named_in_words_and_not_only_by_colour(tmp_path):
    text = "".join(outline(page(tmp_path, readings())).text)

    assert "GUILTY: 9.50 s too long" in text
    assert "14.00 s (13.00 to 15.00)" in text


def test_it_tells_how_to_do_it_again(tmp_path):
    text = "".join(outline(page(tmp_path, [])).text)

    assert "bench run pod-autoscaling" in text
    assert "--set pod-autoscaling.target=70" in text
    assert "bench judge r-1" in text


def test_a_real_cluster_bears_no_stamp_and_names_its_target(tmp_path):
    record = dataclasses.replace(RECORD, fidelity=Fidelity.CLUSTER, target="prod")
    html = page(tmp_path, [], record)

    assert EMBEDDED_STAMP not in html
    assert "--target prod" in html


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.floats(width=32), max_size=30), min_size=1, max_size=4),
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), max_size=12),
)
def test_a_plot_is_svg_whatever_the_numbers_and_names_are(columns, name):
    arrays = [np.array(values, float) for values in columns]
    lines = tuple(Line(name=name, times_seconds=np.arange(float(each.size)), values=each) for each in arrays)
    svg = panels([Panel(title=name, lines=lines)], title=name)

    if any(columns):
        assert ET.fromstring(svg).tag.endswith("svg")
        assert "nan" not in svg.replace(name, "")
        assert "inf" not in svg.replace(name, "")
    else:
        assert svg == ""


def test_no_peak_is_lost_when_a_line_is_thinned():
    values = np.zeros(100_000)
    values[54_321], values[77_777] = 9.0, -9.0
    thin = thinned(Line(name="x", times_seconds=np.arange(100_000.0), values=values))

    assert thin.values.size <= 1200
    assert (thin.values.max(), thin.values.min()) == (9.0, -9.0)
    assert (np.diff(thin.times_seconds) >= 0).all()


def test_bars_of_nothing_are_nothing_and_overlapping_stages_are_drawn():
    assert bars([], title="x") == ""
    overlapping = Bar(name="ready", median_seconds=-0.5, least_seconds=-1.0, most_seconds=0.0)

    assert "-0.50 s" in "".join(ET.fromstring(bars([overlapping], title="x")).itertext())
