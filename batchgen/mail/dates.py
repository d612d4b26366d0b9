"""The Date header of a mail → a moment in UTC, as far as the header tells it for sure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz

_DATE_CHARACTERS = 200  # of a Date header that are looked at
_FIRST_YEAR = 1900  # earlier ones are slips of programs, such as 0124 for 2024

_ZONES = {
    # Names that mean one zone only; others (IST, CST in China) are not guessed.
    **dict.fromkeys(("WEST", "BST", "CET", "MET", "MEZ"), 1),
    **dict.fromkeys(("CEST", "MEST", "MESZ", "EET", "SAST"), 2),
    **dict.fromkeys(("EEST", "MSK"), 3),
    **dict.fromkeys(("SGT", "HKT"), 8),
    **dict.fromkeys(("JST", "KST"), 9),
    **dict.fromkeys(("AEST",), 10),
    **dict.fromkeys(("AEDT",), 11),
    **dict.fromkeys(("NZST",), 12),
    **dict.fromkeys(("NZDT",), 13),
}
_GMT_OFFSET = re.compile(r"\b(?:GMT|UTC)\s?([+-])(\d{1,2}):?(\d\d)?(?!\d)")
_ZONE_NAME = re.compile(r"\d\s+([A-Z]{2,5})\s*(?:\(.*)?$")
_OFFSET = re.compile(r"(?<=\d)(\s+)([+-])(\d{1,2})(?::(\d\d))?(?=[\s(]|$)")
_HALF_OF_DAY = re.compile(r"\b(\d{1,2})((?::\d\d){1,2})(?:\.\d+)?\s*([AP])\.?M\b\.?", re.IGNORECASE)
_FRACTION = re.compile(r"(?<=:\d\d)[.,]\d{1,9}(?!\d)")
_DOT_AFTER = re.compile(r"(\b\d{1,2}|[^\W\d]{3,})\.(?=\s)")  # of a day or the short name of a month
_ZONE_BEFORE_YEAR = re.compile(r"(:\d\d\s+)([A-Z]{2,5})\s+(\d{4})\s*$")
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")


def read_date(text: str | None) -> tuple[datetime | None, str | None, str | None]:
    """Return the time in UTC, the header's own text where that is doubtful or no time, and a note on the doubt.

    A date without a zone is taken as UTC.
    """
    if not text:
        return None, None, None
    short = text[:_DATE_CHARACTERS].replace("\u2212", "-").strip("\"' ")
    short = _GMT_OFFSET.sub(lambda m: f"{m[1]}{int(m[2]):02d}{m[3] or '00'}", short)
    try:
        if _ISO.match(short):
            found = _iso(short)
            if found is not None:
                return found, None, None
        short = _HALF_OF_DAY.sub(_in_24_hours, _FRACTION.sub("", short))
        short = _DOT_AFTER.sub(r"\1", _ZONE_BEFORE_YEAR.sub(r"\1\3 \2", short))
        short = _OFFSET.sub(lambda m: f"{m[1]}{m[2]}{int(m[3]):02d}{m[4] or '00'}", short)
        fields = parsedate_tz(short)
        if fields is None:
            found = _iso(short)
            return found, None if found else text, None
        named = _ZONE_NAME.search(short)
        seconds, note = fields[9], None
        if not seconds and named is not None and named[1] not in ("UT", "UTC", "GMT"):
            hours = _ZONES.get(named[1])
            seconds = None if hours is None else hours * 3600
            note = None if hours is not None else f"the zone of the date ({named[1]}) is not known: taken as UTC"
        if fields[0] < _FIRST_YEAR:
            return None, text, None
        zone = timezone(timedelta(seconds=seconds or 0))
        second = min(fields[5], 59)  # 60 is a leap second
        return datetime(*fields[:5], second, tzinfo=zone).astimezone(UTC), text if note else None, note
    except (ValueError, TypeError, IndexError, OverflowError):
        return None, text, None


def _iso(text: str) -> datetime | None:
    """Return a time in the form of ISO 8601, also with a space before its zone."""
    try:
        found = datetime.fromisoformat(re.sub(r"\s+(?=[+-]\d)", "", re.sub(r"\s*(?:UTC|GMT|Z)$", "Z", text.strip())))
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def _in_24_hours(match: re.Match[str]) -> str:
    hour, half = int(match[1]), match[3].upper()
    if 1 <= hour <= 12:
        hour = hour % 12 + (12 if half == "P" else 0)
    return f"{hour:02d}{match[2]}"
