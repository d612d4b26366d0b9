"""Numbers, money, times and foreign texts as people read them, safe on a terminal and in a page."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal

UNKNOWN = "–"

_DURATION_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(days?|d|hours?|h|minutes?|min|m|seconds?|s)\b", re.IGNORECASE)
_DURATION = re.compile(rf"\s*(?:{_DURATION_PART.pattern}\s*)+", re.IGNORECASE)
_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}


def plain(text: str, most: int = 200) -> str:
    """Return foreign text on one line of at most `most` characters, without characters that control a terminal.

    Control characters (terminal escapes among them), bidirectional overrides and other invisible format characters
    become U+FFFD; line breaks and tabs become spaces.
    """
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(" " if char in "\n\r\t" else _safe(char) for char in cut)


def plain_lines(text: str, most: int = 1_500) -> str:
    """Return foreign text as `plain` does, but with its line breaks; several empty lines become one."""
    lines = [plain(line, most) for line in text[:most].splitlines()]
    kept = [line for before, line in zip(["x", *lines], lines, strict=False) if line.strip() or before.strip()]
    return "\n".join(kept) + ("…" if len(text) > most else "")


def _safe(char: str) -> str:
    """Return a character, or U+FFFD for one that is unsafe. Joiners, which many scripts need, are kept."""
    if char in "\u200c\u200d":
        return char
    return "\ufffd" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") else char


def count(number: float | None) -> str:
    """Return a number without decimals and with commas between thousands."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def quantity(number: int, one: str, more: str = "") -> str:
    """Return a number with what it counts (`1 row`, `2,000 rows`); `more` where the plural is not `one` with an s."""
    return f"1 {one}" if number == 1 else f"{number:,} {more or one + 's'}"


def figure(number: float | None) -> str:
    """Return a number to three significant digits, or without decimals from a hundred on."""
    if number is None:
        return UNKNOWN
    if abs(number) >= 100 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.3g}"


def amount(value: Decimal | float | None, currency: str | None) -> str:
    """Return money with its currency."""
    if value is None:
        return "unknown"
    return money(value if isinstance(value, Decimal) else Decimal(repr(value)), currency or "")


def share(part: float, whole: float) -> str:
    """Return a share in percent. A small one is never shown as 0 %, one just below the whole never as 100 %."""
    if not whole:
        return UNKNOWN
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.3g} %"


def latency(milliseconds: float | None) -> str:
    """Return a latency in ms or s."""
    if milliseconds is None:
        return UNKNOWN
    return f"{figure(milliseconds)} ms" if milliseconds < 1000 else f"{milliseconds / 1000:,.3g} s"


def duration(seconds: float | None) -> str:
    """Return a duration in its two largest units (`2 h 5 min`)."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next(place for place, (number, _) in enumerate(units) if number)
    return " ".join(f"{number} {unit}" for number, unit in units[first : first + 2] if number)


def seconds_of(text: str) -> float | None:
    """Return the seconds in a duration such as `20h`, `1d 12h`, `90 min` or `45s`; None if it is none."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _SECONDS[unit[0].lower()] for number, unit in _DURATION_PART.findall(text))


def moment(iso: str) -> str:
    """Return an ISO 8601 time to the minute, in UTC."""
    return datetime.fromisoformat(iso).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def money(amount: Decimal, currency: str) -> str:
    """Return an amount of money with two decimals, or four significant digits below one."""
    text = f"{amount:,.2f}" if amount >= 1 or amount == 0 else f"{amount:.4g}"
    if "e" in text.lower():
        text = f"{amount:.12f}".rstrip("0")
    return f"{text} {currency}".rstrip()
