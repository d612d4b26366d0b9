"""The vendor's queue: its limit is learnt from refusals, which use up no attempt, and is shared by runs."""

import math

import pytest

from batchgen.engine.batches.queue_room import KEPT_S, QueueRoom
from tests.engine.batches.virtual import Live, VirtualVendor

SHARES = [
    pytest.param(share, marks=() if share in (0.6, 1.5) else pytest.mark.slow) for share in (0.02, 0.15, 0.6, 1.5, 3.5)
]
"""The queue's limit as a share of a file's tokens; the very small ones make a batch of every row."""


@pytest.mark.parametrize("share", SHARES)
def test_a_limit_that_nobody_told(job, tmp_path, monkeypatch, share):
    """The job ends, few files are refused, no attempt is used, nothing is asked live."""
    rows, each = 64, 16
    probe = VirtualVendor(tmp_path / "probe", monkeypatch, batch_sigma=0)
    first = probe.run(job(rows, name="probe", batch={"rows": each}))
    tokens = first.input_tokens * each / rows
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, queued_tokens=max(20, int(tokens * share)))
    done = vendor.run(job(rows, batch={"rows": each, "poll_s": 60}))
    assert (done.state, done.succeeded, done.attempts) == ("complete", rows, rows), vendor.notes.said
    assert Live.asked == 0
    refused = [one for one in vendor.books()["batches"] if one["status"] == "failed"]
    assert len(refused) <= math.log2(rows), [one["total"] for one in vendor.books()["batches"]]


class Wall:
    now_s = 1_000_000.0

    def __call__(self):
        return self.now_s


def test_runs_share_what_waits_and_what_was_learnt(tmp_path):
    """Two runs of one account: together they keep to the limit that one of them has met."""
    wall, path = Wall(), tmp_path / "state" / "queue.json"
    one, other = QueueRoom(path, "one", None, wall), QueueRoom(path, "other", None, wall)
    assert one.may_take(1, "m", 600)
    assert other.may_take(1, "m", 600)
    assert not other.refused(1, "m", 600, None)
    assert not other.may_take(2, "m", 600)
    assert not one.may_take(2, "m", 700)
    assert other.may_take(3, "m", 500)
    assert other.may_take(4, "another model", 600)
    one.leave(1, "m")
    assert other.may_take(2, "m", 600)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("passed_s", [KEPT_S + 1, -400 * KEPT_S])
def test_what_was_learnt_is_forgotten_after_a_day(passed_s):
    """Others may have filled the queue then; or the clock was a year ahead, and has been set right."""
    wall = Wall()
    room = QueueRoom(None, "one", None, wall)
    assert room.may_take(1, "m", 1000)
    assert room.refused(1, "m", 1000, None)
    assert room.limit("m") <= 500
    wall.now_s += passed_s
    assert room.limit("m") > 10**9


def test_a_limit_that_is_told_or_given(tmp_path):
    """The vendor's number, or the job's own, whichever is less."""
    room = QueueRoom(tmp_path / "q.json", "one", 5_000, Wall())
    assert room.limit("m") == 5_000
    room.refused(1, "m", 6_000, 2_000)
    assert room.limit("m") == 2_000
    assert room.may_take(1, "m", 1_900)
    assert not room.may_take(2, "m", 200)
