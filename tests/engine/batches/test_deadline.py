"""The hour that a run has to be done by, in virtual time."""

import json
import random
from decimal import Decimal

import msgspec
import pytest

from batchgen.engine.batches.deadline import Deadline
from tests.engine.batches.conftest import price_of
from tests.engine.batches.virtual import Live, VirtualVendor, random_history

ROWS = 40
HISTORIES = [pytest.param(seed, marks=() if seed < 5 else pytest.mark.slow) for seed in range(100)]


@pytest.mark.parametrize("seed", HISTORIES)
def test_a_deadline_is_met_within_the_budget(job, tmp_path, monkeypatch, seed):
    """Whatever batches do: rows are answered by batches or live by then, and no more is spent than the budget."""
    rng = random.Random(seed)
    vendor = VirtualVendor(tmp_path, monkeypatch, **random_history(rng))
    hours = rng.choice([2, 6, 20])
    budget = rng.choice([0.03, 0.06, 1.0])
    done = vendor.run(job(ROWS, batch={"rows": 10, "poll_s": 60, "deadline": f"{hours}h"}, limits={"budget": budget}))
    assert vendor.hours <= hours, vendor.notes.said
    assert done.state == "complete" or done.error["kind"] == "BudgetStop", (done.error, vendor.notes.said)
    assert done.cost + done.possibly_billed.cost <= Decimal(str(budget))
    books = vendor.books()
    billed = price_of(books["billed_lanes"].get("batch", {"input_tokens": 0, "output_tokens": 0}))
    assert billed <= Decimal(str(budget))
    if done.state == "complete":
        assert done.succeeded == ROWS


def test_what_is_stuck_is_cancelled_in_time_and_asked_live(job, tmp_path, monkeypatch):
    """Two batches are stuck: what they have not done is asked live before the hour."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=("stuck=2x",))
    done = vendor.run(job(30, batch={"rows": 10, "poll_s": 60, "deadline": "5h"}))
    assert (done.state, done.succeeded) == ("complete", 30)
    assert 3 < vendor.hours <= 5
    assert Live.asked == 20
    assert done.possibly_billed.requests == 0


def test_a_deadline_may_be_waited_past(job, tmp_path, monkeypatch):
    """`after_deadline = "wait"`: nothing is cancelled."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, batch_hours=8)
    settings = {"rows": 10, "poll_s": 60, "deadline": "2h", "after_deadline": "wait"}
    done = vendor.run(job(20, batch=settings))
    assert (done.state, done.succeeded, Live.asked) == ("complete", 20, 0)
    assert vendor.hours > 8


def test_times_of_a_short_deadline():
    """Cancelling and asking live have their share of it, no more."""
    whole = Deadline(1000.0, 1000.0)
    assert 0 < whole.cancel_s(10) < whole.last_call_s(10) < 1000
    assert Deadline(None).cancel_s(10) is None
    assert Deadline(1000.0, 1000.0, waits=True).cancel_s(10) is None


def test_a_batch_that_has_just_ended_is_not_asked_live(job, tmp_path, monkeypatch):
    """It took most of a quarter of an hour to be cancelled, and nobody had looked for minutes: what it has done is
    delivered, only the rest is asked."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, batch_hours=6)
    cancelled_s = []
    made = vendor.behaviour.reply

    def slow(request, now_s):
        reply = made(request, now_s)
        if "/cancel" in request.target and not cancelled_s:
            cancelled_s.append(now_s)
        if cancelled_s and now_s < cancelled_s[0] + 880 and request.method == "GET" and b'"batch"' in reply.body:
            shown = json.loads(reply.body)
            shown |= {"status": "cancelling", "output_file_id": None, "error_file_id": None}
            return msgspec.structs.replace(reply, body=json.dumps(shown).encode())
        return reply

    vendor.behaviour.reply = slow
    done = vendor.run(job(30, batch={"rows": 10, "poll_s": 60, "deadline": "5h"}))
    assert (done.state, done.succeeded) == ("complete", 30)
    assert vendor.hours <= 5
    assert done.possibly_billed.requests == 0
    bought = vendor.books()["billed_lanes"]["batch"]["requests"]
    assert bought > 10
    assert bought + Live.asked == 30


def test_a_last_look_takes_nothing_of_the_time_for_live_rows():
    """However many batches there are, and however short the deadline."""
    whole = Deadline(10_000.0, 10_000.0)
    last_s = whole.last_call_s(10)
    assert whole.last_look_s(last_s, 10) == pytest.approx(30.0)
    assert whole.last_look_s(last_s + 31, 10) == 0
    short = Deadline(100.0, 100.0)
    assert short.last_look_s(short.last_call_s(10), 10) == pytest.approx(1.0)
    assert short.last_look_s(90.0, 10) == 0  # what live rows need is theirs
    assert Deadline(None).last_look_s(5.0, 10) == 0
