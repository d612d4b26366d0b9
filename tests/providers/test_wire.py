"""Headers and text: waits, limits, and what may be shown."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest

from batchgen.providers.wire import UnreadableError, decode_json, printable, rate_limits, retry_after_s, word_or_none
from batchgen.values import KEPT_HEADERS, RateLimits

from .samples import read

NOW = datetime(2026, 9, 21, 12, 0, tzinfo=UTC).timestamp()


@pytest.fixture
def somewhere_else(monkeypatch):
    """A machine far from Greenwich."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Shanghai")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Mon, 21 Sep 2026 12:01:00 GMT"}, 60.0),
        ({"retry-after": "Mon, 21 Sep 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1814400"}, 1814400.0),
        ({"retry-after": "99999999999"}, None),
        ({"retry-after": "999999999"}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, None),
        ({"retry-after-ms": "99999999999999"}, None),
        ({"retry-after": "20s"}, 20.0),
        ({"retry-after": "500ms"}, 0.5),
        ({"retry-after": "1m30s"}, 90.0),
        ({"retry-after": "2 minutes"}, 120.0),
        ({"retry-after": "30 seconds"}, 30.0),
        ({"retry-after": "PT1M30S"}, 90.0),
        ({"retry-after": "P1D"}, 86400.0),
        ({"retry-after": "5, 7"}, 7.0),
        ({"retry-after": '"5"'}, 5.0),
        ({"retry-after": "5;q=1"}, 5.0),
        ({"retry-after": "250 milliseconds"}, 0.25),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after-ms": "-1", "retry-after": "3"}, 3.0),
        ({"retry-after": "Mon, 21 Sep 2026 12:01:00"}, 60.0),
        ({"retry-after": "Mon, 21 Sep 2026 20:01:00 +0800"}, 60.0),
        ({"retry-after": "Mon, 21 Sep 2026 12:01:00 +99999999999999999999"}, None),
        ({"retry-after": "Mon, 21 Sep 2026 12:01:00 +9999"}, None),
    ],
)
def test_retry_after_in_every_form(headers, expected, somewhere_else):
    """Milliseconds first, then seconds or a date (UTC, whatever the machine's zone); nonsense is no wish."""
    assert retry_after_s(headers, NOW) == expected


@pytest.mark.parametrize(
    ("reset", "expected"),
    [
        ("20ms", 0.02),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("12", 12.0),
        ("soon", None),
        ("1m 2s", 62.0),
        ("30 seconds", 30.0),
        ("PT30S", 30.0),
        (str(int(NOW) + 30), 30.0),
        (str(int(NOW * 1000) + 1500), 1.5),
        ("2026-09-21T12:00:10Z", 10.0),
        ("2026-09-21T12:00:10+00:00", 10.0),
    ],
)
def test_resets_are_durations_or_times(reset, expected):
    """Some servers send durations, others Unix or ISO times; all become seconds from now."""
    headers = {"x-ratelimit-remaining-requests-day": "0", "x-ratelimit-reset-requests-day": reset}
    wait_s = retry_after_s(headers, NOW)
    assert wait_s == (pytest.approx(expected, abs=0.01) if expected else None)


@pytest.mark.parametrize(("limit", "expected"), [("1,000", 1000), ("500, 500;w=60", 500), ("500;w=60", 500)])
def test_limits_with_commas_or_windows(limit, expected):
    """A number in groups of three is one; of a list the first counts."""
    assert rate_limits({"x-ratelimit-limit-requests": limit}).limit_requests == expected


LIMIT_FORMS = [
    (  # Cerebras
        {
            "x-ratelimit-limit-requests-day": "14400",
            "x-ratelimit-limit-tokens-minute": "60000",
            "x-ratelimit-remaining-tokens-minute": "59000",
            "x-ratelimit-reset-tokens-minute": "11.38",
        },
        RateLimits(limit_tokens=60000, remaining_tokens=59000),
    ),
    (  # Mistral
        {
            "x-ratelimit-limit-req-minute": "720",
            "x-ratelimit-remaining-req-minute": "717",
            "x-ratelimit-limit-tokens-minute": "5000000",
        },
        RateLimits(limit_requests=720, remaining_requests=717, limit_tokens=5000000),
    ),
    ({"ratelimit-policy": '"a";q=10;w=1, "b";q=300;w=60'}, RateLimits(limit_requests=300)),
    ({"ratelimit-policy": '"day";q=1000;w=86400'}, None),
    ({"ratelimit-policy": '"bytes";q=1000;w=60;qu="content-bytes"'}, None),
    ({"x-ratelimit-limit-tokens-prompt": "3600000", "x-ratelimit-limit-tokens-generated": "36000"}, None),  # Fireworks
    ({"x-ratelimit-limit": "10"}, None),  # of which time is not said
]


@pytest.mark.parametrize(("headers", "expected"), LIMIT_FORMS)
def test_limits_under_the_names_of_other_vendors(headers, expected):
    """Those of a minute are a pace; a day's, or a part of the tokens, are none."""
    assert rate_limits(headers) == expected
    kept = {name: value for name, value in headers.items() if name in KEPT_HEADERS}
    assert rate_limits(kept) == expected


USED_UP = [
    ({"x-ratelimit-remaining-requests-day": "0", "x-ratelimit-reset-requests-day": "33011.4"}, 33011.4),
    ({"x-ratelimit-remaining-requests-day": "5", "x-ratelimit-reset-requests-day": "33011"}, None),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "7"}, 7),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "600000"}, None),
    ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 9)}, 9),
    ({"ratelimit": '"a";r=0;t=30, "b";r=5;t=900'}, 30),
    ({"ratelimit": "limit=10, remaining=0, reset=12"}, 12),
    ({"ratelimit": '"a";r=0'}, None),
    ({"ratelimit-remaining": "0", "ratelimit-reset": "4", "retry-after": "2"}, 2),
    ({"retry-after": "5, Wed, 21 Oct 2015 07:28:00 GMT, 40"}, 40),
    ({"retry-after-ms": "500, 900"}, 0.9),
]


@pytest.mark.parametrize(("headers", "wait_s"), USED_UP)
def test_the_wait_of_a_limit_that_is_used_up(headers, wait_s):
    """What a server asks for by name comes first, and of several the longest."""
    assert retry_after_s(headers, NOW) == wait_s
    assert set(headers) <= set(KEPT_HEADERS)


HINTS = [
    ({"error": {"message": "Try again in 2 minutes and 5 seconds."}}, 125.0),
    ({"error": {"message": "The limit resets in 1 hour 5 minutes"}}, 3900.0),
    ({"error": {"message": "Please retry after 10."}}, 10.0),
    ({"error": {"message": "Retry-After: 7"}}, 7.0),
    ({"error": {"message": "请在 5 秒后重试"}}, 5.0),
    ({"error": {"message": "slow", "retry_after": 7}}, 7.0),
    ({"error": {"message": "slow", "metadata": {"retry_after_ms": 1500}}}, 1.5),
    ({"error": "slow", "retryAfter": "7"}, 7.0),
    ({"message": "You are being rate limited.", "retry_after": 7.5}, 7.5),
    ({"error": {"message": "slow", "metadata": {"headers": {"X-RateLimit-Reset": "1790000030000"}}}}, 30.0),
    ({"error": {"message": "retry after 10 requests"}}, None),
    ({"error": {"message": "retry after 2026-09-21"}}, None),
]


@pytest.mark.parametrize(("body", "expected"), HINTS)
def test_a_wait_that_the_body_asks_for(body, expected):
    """In words, or in a field of its own."""
    assert read("vllm", json.dumps(body).encode(), 429).retry_after_s == expected


def test_no_rate_limit_headers_is_unknown():
    """What no header says stays unknown, and nonsense says nothing."""
    assert rate_limits({"retry-after": "1"}) is None
    assert rate_limits({"x-ratelimit-limit-tokens": "many"}) is None


def test_decoding_is_tolerant_but_not_credulous():
    """Odd JSON is read, broken JSON is refused, whatever its depth."""
    assert decode_json(b'{"a\\ud800": ["\\udfff"]}') == {"a\ufffd": ["\ufffd"]}
    assert decode_json(b'{"a": [NaN, -Infinity], "b": "x\ny"}') == {"a": [None, None], "b": "x\ny"}
    for broken in (b'{"a":', b"[" * 100_000 + b"]" * 100_000, b"", b"{'a': 1}"):
        with pytest.raises(UnreadableError):
            decode_json(broken)


def test_words_cannot_drive_a_terminal_either():
    """Codes, ids, models and reasons lose control characters and what is too long; what is no text is none."""
    assert word_or_none("InvalidApiKey") == "InvalidApiKey"
    assert word_or_none("a\x1b]0;title\x07b\u202e") == "a]0;titleb"
    assert word_or_none("x" * 3000) == "x" * 2000
    assert [word_or_none(value) for value in ("", "\x1b", 7, None, ["a"])] == [None] * 5


def test_printable_keeps_newlines_and_tabs():
    """A traceback of a server stays readable; escapes and C1 codes go."""
    assert printable("a\n\tb\x1b[0m\x9b\x00\ud800 ") == "a\n\tb[0m\ufffd"
