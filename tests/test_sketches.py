"""Charts: whatever the numbers are, what is drawn lies within the chart, and nothing that stands out is lost."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree.ElementTree import Element

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelkeep.markup import render
from modelkeep.sketches import HEIGHT, MOST, WIDTH, Series, line_chart

FLOATS = st.floats(allow_nan=True, allow_infinity=True)


def chart_of(*series: Series, x: str = "step", y: str = "loss") -> Element:
    chart = line_chart(series, x=x, y=y)
    assert chart is not None
    return chart


def lines_of(chart: Element) -> list[Element]:
    """The lines themselves, without those of the legend."""
    curves = [one for one in chart.iter("path") if "curve" in one.get("class", "")]
    return [one for one in curves if numbers(one)[1] < HEIGHT]


def numbers(path: Element) -> list[float]:
    return [float(text) for text in re.findall(r"-?[0-9.]+", path.get("d", ""))]


@given(st.lists(st.tuples(FLOATS, FLOATS), max_size=40))
@example([(0.0, 0.0), (1.0, 5e-324)])
@example([(0.0, -1.7e308), (1.0, 1.7e308)])
def test_any_numbers_give_a_chart_within_its_frame_or_none(points: list[tuple[float, float]]) -> None:
    chart = line_chart([Series("a", [x for x, _ in points], [y for _, y in points])], x="x", y="y")
    finite = [point for point in points if all(map(math.isfinite, point))]
    assert (chart is None) == (not finite)
    for line in lines_of(chart) if chart is not None else []:
        placed = numbers(line)
        assert len(placed) % 2 == 0
        assert all(0 <= x <= WIDTH for x in placed[::2])
        assert all(0 <= y <= HEIGHT for y in placed[1::2])


@given(st.floats(-1e300, 1e300), st.floats(0, 1e300))
def test_the_names_on_an_axis_are_numbers_in_order_no_two_alike(low: float, span: float) -> None:
    chart = chart_of(Series("a", [0, 1], [low, low + span]), x="", y="a")
    names = [one.text or "" for one in chart.iter("text") if one.get("text-anchor") == "end"]
    values = [float(name.replace(",", "")) for name in names]
    assert all(a < b for a, b in pairwise(values))


def test_a_long_line_keeps_its_ends_and_the_one_point_that_stands_out() -> None:
    y = [0.0] * 10_000
    y[6_123] = 1.0
    (line,) = lines_of(chart_of(Series("a", range(10_000), y)))
    placed = numbers(line)
    assert len(placed) < 2_000
    heights = placed[1::2]
    assert heights.count(min(heights)) == 1
    assert placed[0] == min(placed[::2])
    assert placed[-2] == max(placed[::2])


def test_steps_that_go_to_and_fro_are_thinned_too() -> None:
    (line,) = lines_of(chart_of(Series("a", [n % 2 for n in range(50_000)], range(50_000))))
    assert len(numbers(line)) < 10_000


def test_what_is_no_number_is_a_gap_in_the_line() -> None:
    (line,) = lines_of(chart_of(Series("a", range(5), [1, 2, math.nan, 3, 4])))
    assert re.findall("[ML]", line.get("d", "")) == ["M", "L", "M", "L"]


def test_series_differ_in_dash_and_marker_so_that_colour_is_not_needed() -> None:
    chart = chart_of(*(Series(f"s{n}", [0, 1], [n, n]) for n in range(MOST)))
    lines = lines_of(chart)
    assert len({line.get("stroke-dasharray") for line in lines}) == MOST
    points = [one.get("d", "") for one in chart.iter("path") if "point" in one.get("class", "")]
    assert len({re.split(r"M[0-9.]+ [0-9.]+", shape)[-1] for shape in points}) == MOST


def test_series_beyond_what_can_be_told_apart_are_counted() -> None:
    chart = chart_of(*(Series(f"s{n}", [0, 1], [n, n]) for n in range(MOST + 3)))
    assert len(lines_of(chart)) == MOST
    assert "and 3 more" in [one.text for one in chart.iter("text")]


def test_axes_series_and_marks_have_their_names() -> None:
    chart = line_chart([Series("fit", [1, 2], [1, 2]), Series("val", [1, 2], [2, 1])], x="s", y="J", marks={2: "best"})
    assert chart is not None
    texts = {one.text for one in chart.iter("text")}
    assert {"s", "J", "fit", "val", "best"} <= texts


def test_whole_numbers_get_no_ticks_between_them() -> None:
    chart = chart_of(Series("loss", [1, 2, 3], [0.1, 0.2, 0.3]))
    assert [one.text for one in chart.iter("text") if one.get("y") == str(HEIGHT - 42 + 15)] == ["1", "2", "3"]


@pytest.mark.parametrize("name", ["<script>x</script>", "a" * 1000, "\x00\u202e"])
def test_a_name_is_text_and_short(name: str) -> None:
    html = render(chart_of(Series(name, [0, 1], [0, 1]), Series("b", [0], [0])))
    assert "<script" not in html
    assert "\u202e" not in html
    assert "a" * 31 not in re.sub("<title>.*?</title>", "", html)
