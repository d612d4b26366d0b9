"""When batches are due, by clocks that are wrong or set back."""

import pytest

from batchgen.engine.batches.due_times import DueTimes
from tests.engine.batches.conftest import books_agree
from tests.engine.batches.virtual import VirtualVendor


def test_a_clock_that_is_set_back_makes_nothing_wait_longer():
    """What was to wait a minute waits a minute from then on."""
    now = [1000.0]
    due = DueTimes(lambda: now[0])
    assert due.of(1) == 0.0
    due.put(1, 60)
    assert due.of(1) == 1060
    now[0] = 400.0
    assert due.of(1) == due.of(1) == 460
    due.forget(1)
    assert due.of(1) == 0.0


@pytest.mark.parametrize("clock", ["clock_ahead", "clock_behind"])
def test_a_vendor_with_another_clock(job, tmp_path, monkeypatch, clock):
    """Batches are looked at as soon as ever, and found again after a lost reply."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=(clock, "create_lost=2x"))
    done = vendor.run(job(30, batch={"rows": 10, "poll_s": 60}))
    assert (done.state, done.succeeded, done.attempts) == ("complete", 30, 30)
    assert len(vendor.books()["batches"]) == 3
    assert vendor.hours < 2
    books_agree(vendor, done)


def test_a_clock_that_is_set_back_while_batches_are_open(job, tmp_path, monkeypatch):
    """By ten days: they are collected as soon as they have ended."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0)
    sleep, slept = vendor.clock.sleep, []

    async def sleep_and_set_back(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            vendor.clock.back_s = 10 * 86_400
        await sleep(seconds)

    monkeypatch.setattr(vendor.clock, "sleep", sleep_and_set_back)
    done = vendor.run(job(20, batch={"rows": 10, "poll_s": 60}))
    assert (done.state, done.succeeded) == ("complete", 20)
    assert vendor.hours < 3
