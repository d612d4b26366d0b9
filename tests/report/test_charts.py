"""Charts: well-formed, true to their numbers, labels that do not collide."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from batchgen.report.charts import WIDTH, Mark, Moments, Series, histogram, range_chart, time_chart
from batchgen.report.values import Bin


def drawn(markup):
    """Parse a chart as XML."""
    return ElementTree.fromstring(str(markup).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" '))


def find(chart, tag, look=None):
    """All elements of a tag, of a class if given."""
    found = chart.iter(f"{{http://www.w3.org/2000/svg}}{tag}")
    return [element for element in found if look is None or look in (element.get("class") or "").split()]


def points(path):
    """The coordinates of a path."""
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.get("d"))]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def test_a_line_is_true_to_its_numbers():
    """Heights are proportional to values, from the zero line to the top of the axis."""
    values = [0.0, 5.0, 10.0, 20.0]
    chart = drawn(
        time_chart(
            "c", "t", times=Moments([0, 1, 2, 3], [1] * 4), series=[Series("a", values)], form=lambda v: f"{v:g}"
        )
    )
    (line,) = find(chart, "path", "line")
    heights = [y for _, y in points(line)]
    assert (heights[0] - heights[2]) / (heights[0] - heights[3]) == pytest.approx(0.5, abs=0.005)
    ticks = {
        text.text: float(text.get("y")) - 4 for text in find(chart, "text", "tick") if text.get("text-anchor") == "end"
    }
    assert ticks["0"] == pytest.approx(heights[0], abs=0.1)
    assert ticks["20"] == pytest.approx(heights[3], abs=0.1)


def test_lines_break_at_pauses_and_gaps():
    """A pause is marked and named; a missing value leaves a gap; lone points are dots."""
    series = [Series("a", [1.0, 1.0, 2.0, 2.0]), Series("b", [None, 1.0, None, 1.0])]
    chart = drawn(
        time_chart("c", "t", times=Moments([0, 10, 7200, 7210], [10] * 4), series=series, form=lambda v: f"{v:g}")
    )
    assert len(find(chart, "line", "cut")) == 1
    assert find(chart, "text", "label")[0].text == "pause 1 h 59 min"
    assert len([path for path in find(chart, "path", "line") if "h18" not in path.get("d")]) == 2
    assert len(find(chart, "circle", "dot")) == 2


def test_nothing_and_zero_can_be_drawn():
    """Charts without height or width do not divide by zero."""
    drawn(time_chart("c", "t", times=Moments([], []), series=[Series("a", [])], form=str))
    drawn(time_chart("c", "t", times=Moments([0], [1]), series=[Series("a", [0.0]), Series("b", [None])], form=str))
    drawn(histogram("c", "t", bins=[], marks=[], form=str, unit=""))
    drawn(histogram("c", "t", bins=[Bin(0, 0, 3)], marks=[Mark("p50", 0)], form=str, unit=""))
    drawn(range_chart("c", "t", low=0, expected=0, high=0, actual=0))


def test_bars_are_true_to_their_rows():
    """Heights are proportional; a bin of one row is still seen; a bin of none is not drawn."""
    bins = [Bin(1, 10, 1000), Bin(10, 100, 0), Bin(100, 1000, 500), Bin(1000, 10000, 1)]
    bars = find(drawn(histogram("c", "t", bins=bins, marks=[], form=lambda v: f"{v:g}", unit="x")), "rect", "bar")
    heights = [float(bar.get("height")) for bar in bars]
    assert len(heights) == 3
    assert heights[1] / heights[0] == pytest.approx(0.5, abs=0.01)
    assert heights[2] >= 1
    assert bars[0][0].text == "1 to 10 x: 1,000 rows"


@pytest.mark.parametrize("apart", range(2, 40))
def test_a_label_that_marks_share_takes_in_the_one_before_where_it_would_lie_on_it(apart):
    """A shared label stands to the left of its last mark, so it needs more room there than one does."""
    bins = [Bin(n, n + 1, 1) for n in range(100)]
    marks = [Mark("p50", 40), Mark("p95", 40 + apart), Mark("p99", 41 + apart)]
    chart = drawn(histogram("c", "t", bins=bins, marks=marks, form=lambda v: f"{v:g}", unit=""))
    texts = sorted(find(chart, "text", "label"), key=lambda text: float(text.get("x")))
    names = [text.text for text in texts if text.text.startswith("p")]
    assert names in (["p50", "p95 p99"], ["p50 p95 p99"])
    if len(names) == 2:
        first, second = (float(text.get("x")) for text in texts if text.text.startswith("p"))
        assert second - 2 * 28 >= first + 14


def test_marks_stand_at_their_value_and_share_a_label_when_close():
    """On a logarithmic scale a value in the middle of a bin's ratio stands in its middle."""
    bins = [Bin(1, 100, 5), Bin(100, 10000, 5)]
    marks = [Mark("p50", 10), Mark("p95", 9000), Mark("p99", 9500)]
    chart = drawn(histogram("c", "t", bins=bins, marks=marks, form=lambda v: f"{v:g}", unit=""))
    places = [float(line.get("x1")) for line in find(chart, "line", "mark")]
    first = find(chart, "rect", "bar")[0]
    middle = float(first.get("x")) + float(first.get("width")) / 2
    assert places[0] == pytest.approx(middle, abs=0.2)
    assert [text.text for text in find(chart, "text", "label")] == ["p50", "p95 p99"]


@pytest.mark.parametrize("high", [12, 90, 1000, 123_456_789])
def test_labels_of_the_scale_keep_their_distance(high):
    """At least two labels where two fit, none closer than its width, all inside."""
    bins = [Bin(10 * (high / 10) ** (n / 20), 10 * (high / 10) ** ((n + 1) / 20), 1) for n in range(20)]
    chart = drawn(histogram("c", "t", bins=bins, marks=[], form=lambda v: f"{v:g}", unit=""))
    base = max(float(text.get("y")) for text in find(chart, "text", "tick"))
    places = [float(text.get("x")) for text in find(chart, "text", "tick") if float(text.get("y")) == base]
    assert len(places) >= 2
    assert all(after - before >= 49 for before, after in pairwise(places))
    assert all(0 <= place <= WIDTH for place in places)


def test_a_label_near_the_edge_keeps_its_place_where_it_fits():
    """Shifted to the left it would lie on the one before it, 50 points away; a long one is shifted."""
    bins = [Bin(0.15 * 10 ** (n / 10), 0.15 * 10 ** ((n + 1) / 10), 1) for n in range(26)]
    for unit, anchor in (("", "middle"), (" milliseconds", "end")):
        chart = drawn(histogram("c", "t", bins=bins, marks=[], form=lambda v, unit=unit: f"{v:g}{unit}", unit=""))
        last = find(chart, "text", "tick")[-1]
        assert float(last.get("x")) > WIDTH - 30
        assert last.get("text-anchor") == anchor


def test_text_is_escaped():
    """Names of series and marks are data."""
    series = [Series("<b>", [1.0]), Series("&", [1.0])]
    chart = drawn(time_chart("c", "<i>", times=Moments([0], [1]), series=series, form=lambda v: "<u>"))
    assert find(chart, "title")[0].text == "<i>"
    assert [text.text for text in find(chart, "text", "label")] == ["<b>", "&"]
