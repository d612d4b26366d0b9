"""Progress where there is no terminal: lines with a time stamp at events and every 30 seconds; the clock is given."""

import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.engine.reporter import Progress, RecentRate
from batchgen.progress.log import JsonLog, ProgressLog, Reporters, RunEvents

NOON = datetime(2026, 11, 28, 12, 0, 5, tzinfo=UTC)


def at(settled, **values):
    """Progress of a run of 1,000 rows."""
    return Progress(rows=1_000, settled=settled, **values)


def said(steps, every_s=30.0):
    """Return the events of (seconds, progress) steps; the first one begins the run."""
    events = RunEvents(every_s)
    found = []
    for number, (now_s, standing) in enumerate(steps):
        found += events.moved(standing, now_s) if number else events.started(standing, now_s)
    return [(event.kind, event.text) for event in found]


def test_progress_every_thirty_seconds():
    """Rate, time left, failures and cost; nothing in between."""
    steps = [(s, at(10 * s, failed=s // 10, spent=Decimal(s), currency="USD")) for s in range(0, 49, 2)]
    assert said(steps) == [
        ("started", "1,000 rows"),
        ("progress", "300 of 1,000 rows (30 %), 10 rows/s, about 1 min 10 s left, 3 failed, cost 30.00 USD"),
    ]


def test_half_way_is_said_once_and_not_again_after_a_resume():
    """At the row that passes the half."""
    assert [kind for kind, _ in said([(0, at(0)), (1, at(499)), (2, at(500)), (3, at(900))])] == ["started", "half-way"]
    assert said([(0, at(600)), (2, at(900))]) == [("started", "1,000 rows, 600 finished before")]


def test_a_wait_is_said_within_seconds_and_so_is_its_end():
    """A short hiccup is not; the last error stands beside the wait."""
    waiting = at(5, waits_for="the provider fails every request", trouble="HTTP 503: loading")
    steps = [
        (0, at(0)),
        (2, waiting),
        (4, at(6)),
        (6, waiting),
        (8, waiting),
        (10, waiting),
        (14, waiting),
        (16, at(7)),
    ]
    assert said(steps)[1:] == [
        ("paused", "the provider fails every request. The last error: HTTP 503: loading"),
        ("resumed", "requests go out again after 10 s"),
    ]


def test_a_limit_is_said_when_it_is_found():
    """Once for each kind that lasts, whatever its figures do later; guesses of the first moments are not said."""
    requests, concurrency = "requests per minute, about {} found", "concurrency (16)"
    found = [(1, at(1, limited_by="tokens per minute, 9 given")), (2, at(1, limited_by=requests.format(583)))]
    found += [(4, at(2, limited_by=requests.format(590))), (8, at(2, limited_by=requests.format(592)))]
    found += [(10, at(3, limited_by=concurrency)), (16, at(3, limited_by=concurrency))]
    found += [(20, at(4, limited_by=requests.format(600))), (29, at(4, limited_by=requests.format(600)))]
    assert said([(0, at(0)), *found])[1:] == [
        ("limit", "the pace is limited by requests per minute, about 592 found"),
        ("limit", "the pace is limited by concurrency (16)"),
    ]


def test_a_retry_storm():
    """More failures than rows in half a minute; said again after five minutes only."""
    steps = [(s, at(s // 10, refused=s, retried=s, trouble="HTTP 429: slow down")) for s in range(0, 331, 2)]
    storms = [text for kind, text in said(steps) if kind == "retry storm"]
    assert storms[0] == "in 30 s 60 attempts failed and 3 rows were finished. The last error: HTTP 429: slow down"
    assert len(storms) == 2
    assert "retry storm" not in [kind for kind, _ in said([(s, at(2 * s, refused=s)) for s in range(0, 90, 2)])]


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 50), st.booleans(), st.integers(0, 40)), max_size=60))
def test_lines_stay_few_whatever_happens(steps):
    """Never more lines of progress than half minutes; every pause that was said ends at most once."""
    now_s, standing, told = 0.0, at(0), []
    events = RunEvents()
    told += events.started(standing, now_s)
    for seconds, rows, waits, refused in steps:
        now_s += seconds
        standing = at(
            min(1_000, standing.settled + rows), refused=standing.refused + refused, waits_for="x" if waits else None
        )
        told += events.moved(standing, now_s)
    kinds = [event.kind for event in told]
    assert kinds.count("progress") <= now_s / 30
    assert 0 <= kinds.count("paused") - kinds.count("resumed") <= 1
    assert kinds.count("half-way") <= 1
    assert kinds.count("retry storm") <= 1 + now_s / 300


def test_lines_for_people():
    """A time stamp, one line each, no carriage return and no control character."""
    shown = io.StringIO()
    log = ProgressLog(file=shown, clock=lambda: 0.0, now=lambda: NOON)
    log.started(at(0))
    log.note("part\x1b]0;gone\x07\nis damaged\r")
    log.finished(at(1_000))
    assert shown.getvalue().splitlines() == [
        "2026-11-28T12:00:05Z started: 1,000 rows",
        "2026-11-28T12:00:05Z part]0;gone is damaged",
        "2026-11-28T12:00:05Z finished: 1,000 of 1,000 rows (100 %)",
    ]
    assert "\r" not in shown.getvalue()


def test_lines_for_programs():
    """One JSON object each, money as text."""
    shown = io.StringIO()
    log = JsonLog(shown, clock=lambda: 0.0, now=lambda: NOON)
    log.started(at(5, failed=2, spent=Decimal("0.10"), currency="USD", in_flight=7))
    log.note("careful")
    first, second = map(json.loads, shown.getvalue().splitlines())
    assert first["event"] == "started"
    assert (first["rows"], first["succeeded"], first["failed"], first["pending"]) == (1_000, 3, 2, 995)
    assert (first["cost"], first["currency"], first["in_flight"]) == ("0.10", "USD", 7)
    assert first["time"] == "2026-11-28T12:00:05.000+00:00"
    assert (second["event"], second["text"], second["rows"]) == ("note", "careful", 1_000)


def test_a_stop_says_why():
    """With where the run stands, and no time left, as nobody works on it."""
    events = RunEvents()
    list(events.started(at(0), 0.0))
    list(events.moved(at(100), 10.0))
    assert [(one.kind, one.text) for one in events.finished(at(100, handed_in=True))] == [
        ("handed in", "100 of 1,000 rows (10 %), 10 rows/s"),
    ]
    assert [(one.kind, one.text) for one in events.finished(at(100, stopped="The account is empty."))] == [
        ("stopped", "The account is empty. (100 of 1,000 rows (10 %), 10 rows/s)")
    ]


def test_reused_answers_make_no_rate():
    """A thousand answers taken over in a moment say nothing of how long the others will take."""
    steps = [(0, at(0)), (1, at(400, reused=400)), (30, at(430, reused=400))]
    assert said(steps)[-1] == ("progress", "430 of 1,000 rows (43 %), 1 rows/s, about 9 min 30 s left")


class Full(io.StringIO):
    """A disk without room."""

    def write(self, text):
        raise OSError(28, "No space left on device")


def test_a_log_that_cannot_be_written_takes_nothing_with_it():
    """The other reporter goes on."""
    shown = io.StringIO()
    both = Reporters(JsonLog(Full(), clock=lambda: 0.0), ProgressLog(file=shown, clock=lambda: 0.0))
    both.started(at(0))
    both.moved(at(500))
    both.note("here")
    both.finished(at(1_000))
    assert len(shown.getvalue().splitlines()) == 4


@pytest.mark.parametrize(("now_s", "finished", "rate"), [(0, 100, 0), (10, 150, 5), (40, 300, 5), (100, 900, 10)])
def test_the_rate_is_of_the_last_minute(now_s, finished, rate):
    """Until there has been a minute, since the beginning."""
    recent = RecentRate(100, 0.0)
    for second in range(now_s):
        recent.rows_per_s(second, 100 + 5 * min(second, 40) + 10 * max(0, second - 40))
    assert recent.rows_per_s(now_s, finished) == pytest.approx(rate, rel=0.06)
