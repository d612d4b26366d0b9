"""Open batches: cancelled for sure, and looked for long enough."""

import pytest

from batchgen.values import Response
from tests.engine.batches.conftest import books_agree
from tests.engine.batches.virtual import Client, Live, VirtualVendor


@pytest.mark.parametrize("oddity", ["cancel_500=2x", "cancel_409=2x", "cancel_lost=1x"])
def test_a_cancellation_that_was_refused_is_repeated(job, tmp_path, monkeypatch, oddity):
    """Otherwise what was given up would go on at the vendor, and be paid."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, batch_hours=9, oddities=(oddity,))
    made = job(40, batch={"rows": 20, "poll_s": 60})
    vendor.run(made, mode="detach")
    vendor.clock.now_s += 2 * 3600
    cancelled = vendor.run(made, mode="cancel")
    assert cancelled.succeeded < 20
    assert vendor.hours < 3
    books_agree(vendor, cancelled)


def test_a_cancellation_is_repeated_before_a_deadline(job, tmp_path, monkeypatch):
    """The rest is asked live once, and nothing counts as possibly billed."""
    oddities = ("stuck", "cancel_500=2x", "cancel_409=2x")
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=oddities)
    done = vendor.run(job(30, batch={"rows": 10, "poll_s": 60, "deadline": "5h"}))
    assert (done.state, done.succeeded, Live.asked) == ("complete", 30, 30)
    assert done.possibly_billed.requests == 0
    assert vendor.hours <= 5


@pytest.mark.parametrize("rows", [10, 20])
def test_a_disturbance_is_no_loss(job, tmp_path, monkeypatch, rows):
    """A batch that is not found for half an hour, also the only one, and at once, is not bought again."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0)
    made, seen = Client.call, []

    async def call(self, call, *, timeout_s):
        name = call.url.rpartition("/")[2]
        if call.method == "GET" and name.startswith("batch_"):
            seen.append(name)
            if vendor.hours < 0.5 and (name != seen[0] or rows == 20):
                return Response(404, {}, b'{"error": {"message": "No such Batch object", "code": "BatchNotFound"}}')
        return await made(self, call, timeout_s=timeout_s)

    monkeypatch.setattr(Client, "call", call)
    done = vendor.run(job(20, batch={"rows": rows, "poll_s": 60}))
    assert (done.state, done.succeeded, done.possibly_billed.requests) == ("complete", 20, 0)
    assert len({*seen}) == len(vendor.books()["batches"]) == 20 / rows


def test_results_that_are_never_there_are_not_bought_for_ever(job, tmp_path, monkeypatch):
    """Rows are handed in once more, then the run stops, as often as it is started; `cancel` gives them up."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=("download_404",))
    made = job(30, batch={"poll_s": 60})
    for _ in range(2):
        stopped = vendor.run(made)
        assert (stopped.state, stopped.error["kind"], stopped.pending) == ("stopped", "ProviderStop", 30)
        assert "batchgen cancel" in stopped.error["remedy"]
        assert len(vendor.books()["batches"]) == 2
    given_up = vendor.run(made, mode="cancel")
    assert (given_up.pending, given_up.possibly_billed.requests) == (30, 60)
    assert not [batch for batch in given_up.batches if batch.state != "cleaned"]
