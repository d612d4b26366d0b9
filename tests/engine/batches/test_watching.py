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


def test_a_disturbance_is_no_loss(job, tmp_path, monkeypatch):
    """A batch that is not found for half an hour, while another one is, is not bought again."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0)
    made, seen = Client.call, []

    async def call(self, call, *, timeout_s):
        name = call.url.rpartition("/")[2]
        if call.method == "GET" and name.startswith("batch_"):
            seen.append(name)
            if vendor.hours < 0.5 and name != seen[0]:
                return Response(404, {}, b'{"error": {"message": "No such Batch object", "code": "BatchNotFound"}}')
        return await made(self, call, timeout_s=timeout_s)

    monkeypatch.setattr(Client, "call", call)
    done = vendor.run(job(20, batch={"rows": 10, "poll_s": 60}))
    assert (done.state, done.succeeded, done.possibly_billed.requests) == ("complete", 20, 0)
    assert len({*seen}) == len(vendor.books()["batches"]) == 2
