from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.drawing.axes import Axis, logarithmic, round_step, upright
from bench.drawing.bars import Bar, draw_bars
from bench.drawing.curves import Plot, distribution, draw_curves
from bench.drawing.lines import Level, Line, legend, legend_rows, thinned, within
from bench.drawing.panels import Band, Figure, Panel, Rows, Span, draw_over_time

WORDS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), max_size=12)


def figure(*parts, bands=(), end=10.0):
    return draw_over_time(Figure(title="t", words="w", parts=parts, start=0.0, end=end, bands=bands))


def line(*values, name="x", **more):
    return Line(name=name, xs=np.arange(float(len(values))), ys=np.array(values, float), **more)


def words_of(svg):
    return "".join(ET.fromstring(svg).itertext())


@settings(max_examples=60)
@given(st.lists(st.lists(st.floats(width=32), max_size=30), min_size=1, max_size=7), WORDS, st.booleans())
def test_a_figure_is_svg_whatever_the_numbers_and_names_are(columns, name, is_marks):
    lines = tuple(line(*values, name=name, is_marks=is_marks) for values in columns)
    panel = Panel(title=name, lines=lines, levels=(Level(name=name, value=0.5),))
    spans = (Span(name=name, start=1.0, end=3.0), Span(name=name, start=3.0, end=2.0, is_bad=True))
    svg = figure(panel, Rows(title=name, rows=((name, spans),)), bands=(Band(name=name, start=0.0, end=5.0),))

    assert ET.fromstring(svg).tag.endswith("svg")
    assert "nan" not in svg.replace(name, "")
    assert "inf" not in svg.replace(name, "")


@settings(max_examples=60)
@given(st.lists(st.lists(st.floats(width=32), max_size=30), min_size=1, max_size=4), WORDS, st.booleans())
def test_a_plot_of_curves_is_svg_or_nothing(columns, name, is_log):
    lines = [distribution(name, np.array(values, float)) for values in columns]
    svg = draw_curves(Plot(title=name, words=name, x_label=name, y_label=name, lines=lines, is_log=is_log))

    if svg:
        assert ET.fromstring(svg).tag.endswith("svg")
        assert "nan" not in svg.replace(name, "")
    else:
        assert not any(np.isfinite(value) and (value > 0 or not is_log) for values in columns for value in values)


def test_every_figure_says_in_words_what_it_shows():
    root = ET.fromstring(figure(Panel(title="load", lines=(line(1, 2),))))

    assert [child.text for child in root[:2]] == ["t", "w"]
    assert root.get("role") == "img"


def test_lines_are_told_apart_by_their_dashes_and_marks_by_their_shapes():
    lines = tuple(line(1, 2, name=str(number)) for number in range(6))
    root = ET.fromstring(figure(Panel(title="six", lines=lines)))
    paths = [each for each in root.iter() if each.tag.endswith("path")]

    assert len({each.get("stroke-dasharray") for each in paths}) == 6
    marks = ET.fromstring(
        figure(Panel(title="six", lines=tuple(line(1, name=each.name, is_marks=True) for each in lines)))
    )
    shapes = {
        each.get("d").split(",", 1)[1].lstrip("0123456789.") for each in marks.iter() if each.tag.endswith("path")
    }
    assert len(shapes) == 6


def test_a_line_is_broken_where_nothing_was_measured():
    root = ET.fromstring(figure(Panel(title="gap", lines=(line(1, np.nan, 2, 3),))))
    path = next(each.get("d") for each in root.iter() if each.tag.endswith("path"))

    assert path.count("M") == 2


def test_no_peak_is_lost_when_a_line_is_thinned():
    values = np.zeros(100_000)
    values[54_321], values[77_777] = 9.0, -9.0
    values[:1000] = np.nan
    thin = thinned(Line(name="x", xs=np.arange(100_000.0), ys=values))

    assert thin.ys.size <= 1200
    assert (np.nanmax(thin.ys), np.nanmin(thin.ys)) == (9.0, -9.0)
    assert (np.diff(thin.xs) >= 0).all()


def test_a_part_of_a_line_begins_and_ends_with_the_values_it_has_there():
    cut = within(line(0, 10, 20, 30), 0.5, 2.5)
    held = within(line(0, 10, 20, 30, is_stepped=True), 0.5, 2.5)

    assert list(zip(cut.xs, cut.ys, strict=True)) == [(0.5, 5.0), (1.0, 10.0), (2.0, 20.0), (2.5, 25.0)]
    assert list(held.ys) == [0.0, 10.0, 20.0, 20.0]
    assert within(line(1, 2, 3, is_marks=True), 0.5, 1.5).xs.tolist() == [1.0]
    assert within(line(), 0.0, 1.0).xs.size == 0


def test_a_legend_wraps_and_what_is_alone_has_none():
    long = [line(1, name="a name of some length, number " + str(number)) for number in range(6)]

    assert legend_rows(long) > 1
    assert len(legend(long, 0.0)) == 12
    assert legend(long[:1], 0.0) == []


@given(st.floats(1e-6, 1e9))
def test_steps_are_round_and_not_smaller_than_asked(raw):
    step = round_step(raw)

    assert raw * (1 - 1e-6) <= step <= raw * 2.5 * (1 + 1e-6)
    assert float(f"{step:e}".split("e", maxsplit=1)[0]) in (1.0, 2.0, 5.0)


def test_an_axis_of_replicas_counts_in_whole_ones():
    assert upright(1.0, 3.0, top=0.0, bottom=100.0).ticks(3) == [0.0, 1.0, 2.0, 3.0]
    assert upright(-7.6, 11.7, top=0.0, bottom=100.0).low == -10.0


def test_a_logarithmic_axis_ends_at_round_numbers_and_never_leaves_the_paper():
    axis = logarithmic(0.03, 24.0, start=0.0, end=100.0)

    assert (axis.low, axis.high) == (0.02, 50.0)
    assert axis.ticks(8) == [0.1, 1.0, 10.0]
    assert (axis.place(1e-9), axis.place(1e9)) == (0.0, 100.0)
    assert logarithmic(2.0, 2.0, start=0.0, end=1.0).high == pytest.approx(20.0)
    assert Axis(low=2.0, high=4.0, start=0.0, end=1.0, is_log=True).ticks(8) == [2.0]


def bar(name, *values, **more):
    values = np.array(values, float)
    return Bar(name=name, values=values, estimate=float(np.median(values)), low=values.min(), high=values.max(), **more)


def test_bars_of_nothing_are_nothing_and_overlapping_stages_are_drawn_to_the_left():
    assert draw_bars([], title="x", words="x") == ""
    root = ET.fromstring(draw_bars([bar("ready", -2.0), bar("serving", 4.0)], title="x", words="w"))
    left, right = (each for each in root.iter() if each.tag.endswith("rect"))

    assert float(left.get("x")) + float(left.get("width")) == pytest.approx(float(right.get("x")), abs=0.2)


def test_a_bad_bar_is_named_in_bold_and_outlined_and_every_repetition_is_a_ring():
    root = ET.fromstring(
        draw_bars([bar("exporter", 1, 2, 3, worst=2.5, is_bad=True, words="GUILTY")], title="x", words="w")
    )

    assert [each.text for each in root.iter() if each.get("font-weight") == "bold"] == ["exporter", "GUILTY"]
    assert sum(each.tag.endswith("circle") for each in root.iter()) == 3


def test_a_distribution_rises_from_nothing_to_all():
    found = distribution("x", np.array([3.0, 1.0, np.nan]))

    assert found.xs.tolist() == [1.0, 1.0, 3.0]
    assert found.ys.tolist() == [0.0, 0.5, 1.0]


def test_levels_and_names_are_on_the_plot():
    plot = Plot(
        title="t",
        words="w",
        x_label="seconds",
        y_label="share",
        lines=[distribution("up", np.array([1.0, 2.0])), distribution("down", np.array([3.0]))],
        at_x=(Level(name="SLO", value=1.5), Level(name="a name at the far right", value=3.0)),
        at_y=(Level(name="half", value=0.5),),
    )

    for words in ("SLO", "a name at the far right", "half", "up", "down", "seconds", "share"):
        assert words in words_of(draw_curves(plot))
