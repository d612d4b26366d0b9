"""Bytes and headers of any provider → plain values: tolerant JSON, printable text, waits and limits.

Everything here accepts whatever a server may send and never raises anything but `UnreadableError`. The odd bodies
(NaN, numbers of thousands of digits, lone surrogates, bad UTF-8, a byte order mark) take a second, slower look, so
that a well-formed reply pays nothing for them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from batchgen.text.storable import whole_value
from batchgen.text.terminal import harmless
from batchgen.values import LIMIT_HEADERS, POLICY, SERVICE_LIMIT, USED_UP_HEADERS, RateLimits

MESSAGE_CAP = 2_000
"""Most characters kept of a vendor's error message, code or other word."""

_BOM = b"\xef\xbb\xbf"
_LONGEST_INTEGER = 4000  # digits; int() refuses more than 4,300 and no real field has more than 20
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|us|µs|ns|d|h|m|s))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_UNIT_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_EPOCH_S = 1e9  # a bare reset number above this is a Unix time, not a duration (it would be 31 years)
_EPOCH_MS = 1e12
_LARGEST = 10**15  # of a limit or a wait; beyond it nothing is meant
_LONGEST_WAIT_S = 366 * 86400.0  # what asks for more is a mistake, such as a time in another unit
_TIMES = (
    r"(?:\d{1,9}(?:\.\d{1,12})? ?(?:ms|milliseconds?|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|[smhd])\b"
    r"(?:,? and |,? )?){1,4}|(?:\d{1,9}(?:\.\d{1,12})?(?:ms|[smhd])){2,4}"
)
_HINT = re.compile(
    r"(?:try again|retry|wait|resets?|replenished|available)(?: again)?(?: in| after| for)?[: ]{1,3}(?:about )?"
    rf"(?:(?P<hours>\d{{1,2}}):(?P<minutes>\d\d):(?P<seconds>\d\d)|(?P<times>{_TIMES}))|"
    r'"retry_?delay":"(?P<delay>\d{1,9}(?:\.\d{1,12})?s)"|'
    r'retry[-_ ]?after(?P<unit>_ms|_milliseconds)?(?:_s|_seconds)?["\']?[:= ]{1,3}["\']?'
    r"(?P<bare>\d{1,9}(?:\.\d{1,12})?)(?!\s?[\w%:-]|\.\d)|"
    r'"x-ratelimit-reset":"?(?P<moment>\d{10,13})\b|'
    r"(?P<han>\d{1,6}(?:\.\d{1,12})?) ?(?P<han_unit>毫秒|秒|分钟|小时)钟?(?:之?后|以后|再试|重试)",
    re.IGNORECASE,
)
_IN_WORDS = re.compile(_TIMES)
_HINT_PART = re.compile(r"(\d+(?:\.\d+)?) ?(ms|[smhd])")
_HAN_S = {"毫秒": 1e-3, "秒": 1.0, "分钟": 60.0, "小时": 3600.0}
_NEXT_VALUE = re.compile(r",\s*(?=\d+(?:\.\d+)?\w*\s*(?:[,;]|$)|(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,)", re.IGNORECASE)
_PARAMETER = re.compile(r"([a-z]+)\s*=\s*\"?([^;\"\s]+)")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3}){1,4}")
ANY_LIMITS = frozenset({POLICY, *(name for names in LIMIT_HEADERS.values() for name in names)})
_LONGEST_PACED_S = 60  # a longer window, such as a day's, is no pace: all of it may be used at once
_LONGEST_PLAIN_S = 3600.0  # some servers write such a number in milliseconds


class UnreadableError(ValueError):
    """The bytes are no JSON document; the text says what they look like instead."""


def decode_json(data: bytes, *, whole: bool = True) -> Any:
    """Return the JSON value in `data`; raise UnreadableError if there is none.

    NaN and infinities become None, lone surrogates (unless `whole` is false) and invalid UTF-8 become U+FFFD, integers
    beyond all sense None.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    text = data.removeprefix(_BOM).decode("utf-8", "replace")
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_int=_integer, strict=False)
        return whole_value(value) if whole and _SURROGATE_ESCAPE.search(text) else value
    except (ValueError, RecursionError) as error:
        raise UnreadableError("nested too deeply" if isinstance(error, RecursionError) else "not JSON") from None


def _no_constant(_word: str) -> None:
    return None


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else None


def printable(text: str) -> str:
    """Return a vendor's text safe to show and short enough to keep: no control characters, at most 2,000 long."""
    return harmless(text[: 4 * MESSAGE_CAP]).strip()[:MESSAGE_CAP]


def word_or_none(value: Any) -> str | None:
    """Return a vendor's code, id, name or reason fit to be shown and kept, None for '' and for what is no text.

    Gateways fill unknown fields with ''. As `printable`, which one look finds to be needless nearly always.
    """
    if not isinstance(value, str):
        return None
    return (value if value.isprintable() and len(value) <= MESSAGE_CAP else printable(value)) or None


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Return the wait the server asks for, from `retry-after-ms`, else `retry-after`.

    That is seconds, an HTTP date, or what gateways make of it: `30s`, `500ms`, an ISO date.
    A date is measured against `now` (Unix seconds); one in the past gives 0. The order is the OpenAI SDK's. A wait of
    more than a year is none: it would stop the run.
    """
    wait_s = _stated_wait_s(headers, now)
    return wait_s if wait_s is None or wait_s <= _LONGEST_WAIT_S else None


def _stated_wait_s(headers: Mapping[str, str], now: float) -> float | None:
    milliseconds = [_number(value) for value in _each(headers.get("retry-after-ms"))]
    if None not in milliseconds and milliseconds:
        return max(value for value in milliseconds if value is not None) / 1000
    waits = [_one_wait_s(value, now) for value in _each(headers.get("retry-after"))]
    stated = max((wait_s for wait_s in waits if wait_s is not None), default=None)
    return _used_up_s(headers, now) if stated is None else stated


def _one_wait_s(value: str, now: float) -> float | None:
    value = value.partition(";")[0].strip("\"' ")
    wait_s = _reset_s(value, now)
    return hinted_wait_s(f"retry after {value}", now) if wait_s is None else wait_s


def _each(value: str | None) -> list[str]:
    """Return the values of a header that may have come more than once; a date has a comma of its own."""
    return [] if value is None else _NEXT_VALUE.split(value)


def hinted_wait_s(text: str, now: float) -> float | None:
    """Return the wait that an error asks for in words ("Please try again in 7m16.8s") or in a field, None if it asks
    for none. A moment is measured against `now` (Unix seconds)."""
    found = _HINT.search(text)
    if found is None:
        return None
    if found["hours"] is not None:
        return int(found["hours"]) * 3600.0 + int(found["minutes"]) * 60.0 + int(found["seconds"])
    if found["bare"] is not None:
        return float(found["bare"]) / (1000 if found["unit"] else 1)
    if found["moment"] is not None:
        return _wait_or_time(float(found["moment"]), now)
    if found["han"] is not None:
        return float(found["han"]) * _HAN_S[found["han_unit"]]
    return _sum_s(found["times"] or found["delay"])


def _sum_s(times: str) -> float:
    times = times.lower().replace("milli", "m")  # `5 mseconds` is read as ms
    return sum(float(amount) * _UNIT_S[unit] for amount, unit in _HINT_PART.findall(times))


def _used_up_s(headers: Mapping[str, str], now: float) -> float | None:
    """Return the time until a limit of which nothing is left is filled again; None if no header tells of one."""
    found: list[float] = []
    for left, reset in USED_UP_HEADERS:
        if left in headers and _whole(headers[left]) == 0:
            wait_s = _reset_s(headers.get(reset, "").partition(",")[0] or None, now)
            if wait_s is not None and (wait_s <= _LONGEST_PLAIN_S or reset.endswith("-day")):
                found.append(wait_s)
    for item in _items(headers.get(SERVICE_LIMIT)):
        wait_s = _reset_s(item.get("t", item.get("reset")), now)
        if wait_s is not None and _whole(item.get("r", item.get("remaining"))) == 0:
            found.append(wait_s)
    return max(found, default=None)


def _items(value: str | None) -> list[dict[str, str]]:
    """Return the parameters of each item of a header: `"burst";q=10;w=1, "minute";q=100;w=60`.

    An older draft has one item whose parameters are parted by commas: `limit=10, remaining=0, reset=5`.
    """
    if not value:
        return []
    pairs = [dict(_PARAMETER.findall(item)) for item in value.lower().split(",")]
    if "remaining" in value.lower():
        return [{name: text for one in pairs for name, text in one.items()}]
    return pairs


def _policy(headers: Mapping[str, str]) -> int | None:
    """Return the requests per minute that the policies of a server allow; None if they name none."""
    allowed: list[float] = []
    for item in _items(headers.get(POLICY)):
        quota, window = _whole(item.get("q")), _whole(item.get("w"))
        if quota and window and window <= _LONGEST_PACED_S and item.get("qu", "requests") == "requests":
            allowed.append(quota * 60 / window)
    return int(min(allowed)) if allowed else None


def rate_limits(headers: Mapping[str, str]) -> RateLimits | None:
    """Return what headers say about limits (`LIMIT_HEADERS`), None if there are none that can be read.

    https://developers.openai.com/api/docs/guides/rate-limits
    """
    if ANY_LIMITS.isdisjoint(headers):
        return None
    said: list[str | None] = []
    for names in LIMIT_HEADERS.values():
        for name in names:
            if name in headers:
                said.append(headers[name])
                break
        else:
            said.append(None)
    limit, limit_tokens, left, left_tokens = said
    requests = _whole(limit)
    limits = RateLimits(
        limit_requests=_policy(headers) if requests is None else requests,
        limit_tokens=_whole(limit_tokens),
        remaining_requests=_whole(left),
        remaining_tokens=_whole(left_tokens),
    )
    return None if limits == RateLimits() else limits


def _number(text: str | None) -> float | None:
    """Return a finite number ≥ 0, else None."""
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number <= _LARGEST else None  # no NaN either


def _whole(text: str | None) -> int | None:
    """Return a count, also one with commas, or the first of a list with its windows (`500, 500;w=60`)."""
    number = _number(text)
    if number is None and text:
        grouped = _GROUPED.fullmatch(text.strip())
        number = _number(text.replace(",", "") if grouped else re.split("[,;]", text)[0])
    return None if number is None else int(number)


def _reset_s(text: str | None, now: float) -> float | None:
    """Return the wait in a header: a duration (`20ms`, `6m0s`, `PT30S`), bare seconds, or a Unix or ISO time."""
    if text is None:
        return None
    number = _number(text)
    if number is not None:
        return _wait_or_time(number, now)
    text = text.strip().lower()
    plain = text[1:].replace("t", "") if text.startswith("p") else text.replace(" ", "")  # `PT1M30S`, `1m 30s`
    if _DURATION.fullmatch(plain):
        wait_s = sum(float(amount) * _UNIT_S[unit] for amount, unit in _DURATION_PART.findall(plain))
        return wait_s if wait_s <= _LARGEST else None
    if _IN_WORDS.fullmatch(text):
        return _sum_s(text)
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            return max(0.0, _utc(parse(text.upper())).timestamp() - now)
        except (ValueError, OverflowError):
            continue
    return None


def _wait_or_time(number: float, now: float) -> float:
    """Return the wait that a bare number means: seconds, or what is left until a Unix time (in seconds or in ms)."""
    moment = number / 1000 if number >= _EPOCH_MS else number
    return max(0.0, moment - now) if moment >= _EPOCH_S else number


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
