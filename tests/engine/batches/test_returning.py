"""Batches that are refused as a whole."""

import json

import pytest

from batchgen.simulator.batches import desk
from batchgen.values import Response
from tests.engine.batches.virtual import Client, Live, VirtualVendor


def test_all_lines_that_a_refusal_names_are_asked_live_at_once(job, tmp_path, monkeypatch):
    """Thirty-four of a hundred, and not one after the other: the rest is handed in once more, once."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=("failed_lines=1x",))
    done = vendor.run(job(100, batch={"poll_s": 60}))
    assert (done.state, done.succeeded, done.attempts, Live.asked) == ("complete", 100, 100, 34)
    assert len(vendor.books()["batches"]) == 2


def test_a_refusal_of_every_line_stops_the_run(job, tmp_path, monkeypatch):
    """It is not the rows that are at fault: they are not all asked at the full price."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0)
    made = job(12, batch={"poll_s": 60})

    def refuse_all(batch, path, settings):
        batch.total = 12
        batch.failure = [desk.failure("invalid_request", "Not in a batch.", line) for line in range(1, 13)]
        yield

    monkeypatch.setattr(desk, "scan", refuse_all)
    stopped = vendor.run(made)
    assert (stopped.state, stopped.pending, stopped.error["kind"]) == ("stopped", 12, "ProviderStop")
    assert Live.asked == 0


def test_a_row_that_is_refused_without_a_reason_is_asked_live(job, tmp_path, monkeypatch):
    """Halving ends at single rows; without a reason nobody knows that it is the row that is at fault."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=("failed_bare",))
    done = vendor.run(job(4, batch={"poll_s": 60}))
    assert (done.state, done.succeeded, done.attempts, Live.asked) == ("complete", 4, 4, 4)
    assert {batch["status"] for batch in vendor.books()["batches"]} == {"failed"}


@pytest.mark.parametrize(
    ("oddity", "errors", "live"),
    [("failed_tokens=2x", b"", 0), ("failed_lines=1x", b'{"code": "invalid_request", "message": "Bad."}\n', 34)],
)
def test_a_refused_batch_may_have_a_file_of_errors_that_names_no_row(job, tmp_path, monkeypatch, oddity, errors, live):
    """As Azure gives it: no row has run, so that none has used an attempt or may be billed."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=(oddity,))
    call, download = Client.call, Client.download

    async def with_file(self, asked, *, timeout_s):
        response = await call(self, asked, timeout_s=timeout_s)
        shown = json.loads(response.body) if isinstance(response, Response) else {}
        if shown.get("object") != "batch" or shown["status"] != "failed":
            return response
        return Response(200, {}, json.dumps({**shown, "error_file_id": "file-none"}).encode())

    async def without_rows(self, asked, path, *, timeout_s):
        if "file-none" not in asked.url:
            return await download(self, asked, path, timeout_s=timeout_s)
        path.write_bytes(errors)
        return Response(200, {}, b"")

    monkeypatch.setattr(Client, "call", with_file)
    monkeypatch.setattr(Client, "download", without_rows)
    done = vendor.run(job(100, batch={"poll_s": 60}))
    assert (done.state, done.succeeded, done.attempts, Live.asked) == ("complete", 100, 100, live)
    assert done.possibly_billed.requests == 0
