"""Small SVG charts, drawn by hand: bars over a logarithmic scale, and lines over time. Numbers in, markup out.

A chart is drawn for 400 points of width and shown at about that, so that its text has one size on every screen.
Colours come from the page's style sheet; series differ in dash and label too, never in colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape
from msgspec import Struct

from batchgen.report.values import Bin
from batchgen.text.figures import duration, quantity

WIDTH, HEIGHT = 400, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 20, 34
_PLOT_WIDTH, _PLOT_HEIGHT = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
_BASE = _TOP + _PLOT_HEIGHT
_CLOSEST_LABELS = 50  # points between two labels of the horizontal axis
_LETTER = 6.2  # points that a letter takes, about
_MARK_ROOM = 28  # points that the name of a mark takes
_CUTS_NAMED = 3

Format = Callable[[float], str]


class Series(Struct, frozen=True):
    """One line of a time chart: `values` at the chart's times, None where there is none. `look`: s1, s2, s3."""

    name: str
    values: Sequence[float | None]
    look: str = "s1"
    area: bool = False


class Moments(Struct, frozen=True):
    """The times of a chart's values: seconds since the epoch, and how long each moment lasts."""

    starts: Sequence[float]
    spans: Sequence[float]


class Mark(Struct, frozen=True):
    """A vertical line in a histogram."""

    name: str
    value: float


def time_chart(
    chart_id: str,
    title: str,
    *,
    times: Moments,
    series: Sequence[Series],
    form: Format,
) -> Markup:
    """Draw series over time. Times between two moments that do not follow on each other are cut and marked.

    The horizontal axis counts seconds of activity from 0.
    """
    spans = times.spans
    places, cuts, total = _activity(times.starts, spans)
    highest = max((value for one in series for value in one.values if value is not None), default=0.0)
    top, ticks = _axis(highest)

    def x(active_s: float) -> float:
        return _LEFT + _PLOT_WIDTH * active_s / total

    def y(value: float) -> float:
        return _BASE - _PLOT_HEIGHT * value / top

    parts = [_grid(ticks, y, form)]
    step = _nice_duration(total / 4)
    for number in range(math.floor(total / step + 1e-9) + 1):
        parts.append(_under(x(number * step), duration(number * step) if number else "0"))
    longest = sorted(cuts, key=lambda cut: -cut[1])[:_CUTS_NAMED]
    for number, (place, pause_s) in enumerate(cuts):
        at = x(place)
        parts.append(Markup('<line class="cut" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(at, _TOP, _BASE))
        if (place, pause_s) in longest:
            anchor, shift = ("end", -4) if at > WIDTH / 2 else ("start", 4)
            height = _TOP + 12 + 13 * (number % _CUTS_NAMED)
            parts.append(_text(at + shift, height, f"pause {duration(pause_s)}", "label", anchor))
    for one in series:
        parts.append(_line(one, places, spans, cuts=dict(cuts), x=x, y=y))
    parts.append(_legend(series))
    return _svg(chart_id, title, parts)


def histogram(
    chart_id: str, title: str, *, bins: Sequence[Bin], marks: Sequence[Mark], form: Format, unit: str
) -> Markup:
    """Draw bins side by side in equal width; `marks` (ascending) are placed on the scale of the bins."""
    top, ticks = _axis(max((found.rows for found in bins), default=0))
    width = _PLOT_WIDTH / max(1, len(bins))

    def y(value: float) -> float:
        return _BASE - _PLOT_HEIGHT * value / top

    parts = [_grid(ticks, y, lambda value: f"{value:,.0f}")]
    parts += [_under(_LEFT + width * place, form(value)) for place, value in _labels(bins, width)]
    for number, found in enumerate(bins):
        left = _LEFT + number * width
        if found.rows:
            tall = max(1.0, _BASE - y(found.rows))
            span = f"{form(found.low)} to {form(found.high)}" if found.high > found.low else form(found.low)
            parts.append(
                Markup(
                    '<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"><title>{}</title></rect>'
                ).format(
                    left + 0.5, _BASE - tall, max(1.0, width - 1), tall, f"{span} {unit}: {quantity(found.rows, 'row')}"
                )
            )
    labels: list[tuple[float, list[str]]] = []  # those too close to each other share one
    for mark in marks:
        at = _LEFT + width * _position(bins, mark.value)
        parts.append(
            Markup('<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(at, _TOP - 4, _BASE)
        )
        names = [mark.name]
        while labels and _reach(at, names)[0] < _reach(*labels[-1])[1]:
            names = labels.pop()[1] + names
        labels.append((at, names))
    for at, names in labels:
        place, anchor = (at + 4, "end") if len(names) > 1 else (at, "middle")
        parts.append(_text(place, _TOP - 8, " ".join(names), "label", anchor))
    return _svg(chart_id, title, parts)


def _reach(at: float, names: Sequence[str]) -> tuple[float, float]:
    """Return where the label of marks begins and ends: in the middle of one, to the left of the last of several."""
    if len(names) == 1:
        return at - _MARK_ROOM / 2, at + _MARK_ROOM / 2
    return at + 4 - _MARK_ROOM * len(names), at + 4


def range_chart(
    chart_id: str,
    title: str,
    *,
    low: float,
    expected: float | None,
    high: float,
    actual: float | None,
    scale: tuple[float, float] | None = None,
) -> Markup:
    """Draw an interval with its expected value, and the actual one against it; on a `scale` that several share."""
    ends: list[float] = [low, high, *(scale or ())] + ([actual] if actual is not None else [])
    start, end = min(ends), max(ends)
    room = (end - start or end or 1) * 0.08
    start, end = start - room, end + room

    def x(value: float) -> float:
        return 8 + (WIDTH - 16) * (value - start) / (end - start)

    parts = [
        Markup('<rect class="range" x="{:.1f}" y="12" width="{:.1f}" height="16" rx="3"/>').format(
            x(low), max(2.0, x(high) - x(low))
        ),
    ]
    if expected is not None:
        parts.append(Markup('<line class="mark" x1="{0:.1f}" x2="{0:.1f}" y1="9" y2="31"/>').format(x(expected)))
    if actual is not None:
        parts.append(Markup('<path class="actual" d="M{0:.1f} 8l6 12l-6 12l-6-12z"/>').format(x(actual)))
    if scale is not None:
        parts.append(Markup('<line class="base" x1="{:.1f}" x2="{:.1f}" y1="34" y2="34"/>').format(x(start), x(end)))
    return _svg(chart_id, title, parts, height=40)


def _activity(starts: Sequence[float], spans: Sequence[float]) -> tuple[list[float], list[tuple[float, float]], float]:
    """Return each moment's place in seconds of activity, the cuts (place, length of the pause), and the whole."""
    places, cuts = [], []
    at = 0.0
    for number, (start, span) in enumerate(zip(starts, spans, strict=True)):
        if number:
            pause_s = start - starts[number - 1] - spans[number - 1]
            if pause_s > max(1.0, 0.5 * spans[number - 1]):
                cuts.append((at, pause_s))
        places.append(at)
        at += span
    return places, cuts, at or 1.0


def _line(
    one: Series,
    places: Sequence[float],
    spans: Sequence[float],
    *,
    cuts: dict[float, float],
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> Markup:
    """Draw a line through the middles of the moments, broken at cuts and where there is no value."""
    stretches: list[list[tuple[float, float]]] = [[]]
    for place, span, value in zip(places, spans, one.values, strict=True):
        if value is None or place in cuts:
            stretches.append([])
        if value is not None:
            stretches[-1].append((x(place + span / 2), y(value)))
    drawn = Markup("")
    for points in stretches:
        if not points:
            continue
        if len(points) == 1:
            (at, height) = points[0]
            drawn += Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(one.look, at, height)
            continue
        path = "L".join(f"{at:.1f} {height:.1f}" for at, height in points)
        if one.area:
            drawn += Markup('<path class="area {}" d="M{:.1f} {}L{}L{:.1f} {}z"/>').format(
                one.look, points[0][0], _BASE, path, points[-1][0], _BASE
            )
        drawn += Markup('<path class="line {}" d="M{}"/>').format(one.look, path)
    return drawn


def _legend(series: Sequence[Series]) -> Markup:
    """Name the lines above the plot; a single one is named by the chart's caption."""
    if len(series) < 2:
        return Markup("")
    parts = Markup("")
    at = float(_LEFT)
    for one in series:
        parts += Markup('<path class="line {}" d="M{:.0f} 8h18"/>').format(one.look, at)
        parts += _text(at + 22, 12, one.name, "label", "start")
        at += 34 + _LETTER * len(one.name)
    return parts


def _grid(ticks: Sequence[float], y: Callable[[float], float], form: Format) -> Markup:
    parts = Markup("")
    for tick in ticks:
        parts += Markup('<line class="{}" x1="{}" x2="{}" y1="{y:.1f}" y2="{y:.1f}"/>').format(
            "rule" if tick else "base", _LEFT, WIDTH - _RIGHT, y=y(tick)
        )
        parts += _text(_LEFT - 6, y(tick) + 4, form(tick), "tick", "end")
    return parts


def _under(x: float, text: str) -> Markup:
    anchor = "end" if x + _LETTER * len(text) / 2 > WIDTH else "middle"
    return Markup('<line class="base" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>').format(
        x, _BASE, _BASE + 4
    ) + _text(x, _BASE + 18, text, "tick", anchor)


def _text(x: float, y: float, text: str, look: str, anchor: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(look, x, y, anchor, text)


def _svg(chart_id: str, title: str, parts: Sequence[Markup], height: int = HEIGHT) -> Markup:
    return Markup(
        '<svg id="{id}" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{id}-title">'
        '<title id="{id}-title">{title}</title>{body}</svg>'
    ).format(id=chart_id, width=WIDTH, height=height, title=title, body=Markup("").join(map(escape, parts)))


def _axis(highest: float) -> tuple[float, list[float]]:
    """Return the top of a vertical axis from 0 and its ticks at round numbers: three to six of them."""
    if highest <= 0:
        return 1.0, [0.0]
    step = _nice(highest / 4)
    steps = math.ceil(highest / step - 1e-9)
    return step * steps, [round(step * number, 12) for number in range(steps + 1)]


def _nice(step: float) -> float:
    size: float = 10.0 ** math.floor(math.log10(step))
    return next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= step * (1 - 1e-9))


_DURATIONS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def _nice_duration(step_s: float) -> float:
    if step_s < 1:
        return _nice(step_s)
    return next((nice for nice in _DURATIONS if nice >= step_s), 86400 * math.ceil(step_s / 86400))


_ROUND = ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0), tuple(number / 10 for number in range(10, 100)))


def _labels(bins: Sequence[Bin], width: float) -> list[tuple[float, float]]:
    """Return places (in bins) and values of the horizontal labels: the roundest numbers of which three or more fit."""
    best: list[tuple[float, float]] = []
    scaled = [found for found in bins if found.low > 0]
    zero = [(0.5, 0.0)] if len(scaled) < len(bins) else []
    if not scaled:
        return zero
    low, high = scaled[0].low, scaled[-1].high
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for mantissas in _ROUND:
        chosen = list(zero)
        for value in (mantissa * 10.0**decade for decade in decades for mantissa in mantissas):
            if low <= value <= high:
                place = _position(bins, value)
                if not chosen or (place - chosen[-1][0]) * width >= _CLOSEST_LABELS:
                    chosen.append((place, value))
        if len(chosen) > len(best):
            best = chosen
        if len(best) >= 3:
            break
    return best


def _position(bins: Sequence[Bin], value: float) -> float:
    """Return where a value stands on the scale, in bins from the left."""
    for number, found in enumerate(bins):
        if found.low <= value < found.high or value == found.low:
            inside = math.log(value / found.low) / math.log(found.high / found.low) if found.low > 0 else 0.5
            return number + inside
    return float(len(bins))
