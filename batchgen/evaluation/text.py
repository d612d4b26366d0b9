"""Figures and values of an evaluation as words for people, free of control characters."""

from __future__ import annotations

import unicodedata

from batchgen.evaluation.statistics import Measure

_WIDEST = 60


def interval_text(measure: Measure) -> str:
    """Return `84.2 % [81.0, 87.1]`, or a dash for what is undefined."""
    if measure.value is None or measure.low is None or measure.high is None:
        return "–"
    return f"{percent(measure.value)} [{100 * measure.low:.1f}, {100 * measure.high:.1f}]"


def percent(value: float | None) -> str:
    """Return a share in percent."""
    return "–" if value is None else f"{100 * value:.1f} %"


def shown(text: str | None) -> str:
    """Return a value in quotes, or the word null."""
    return "null" if text is None else f'"{plain(text)}"'


def plain(text: str, widest: int = _WIDEST) -> str:
    """Return text on one line and safe for a terminal: no control or direction characters, cut to `widest`."""
    text = text[: 4 * widest]
    text = "".join(
        " " if c.isspace() else c for c in text if c.isspace() or not unicodedata.category(c).startswith("C")
    )
    text = " ".join(text.split())
    return text if len(text) <= widest else text[: widest - 1] + "…"
