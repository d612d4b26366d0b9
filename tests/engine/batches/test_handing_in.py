"""Files on their way to the vendor."""

import batchgen
from batchgen.transport.file_client import FileClient
from batchgen.values import Response
from tests.engine.batches.conftest import books_agree
from tests.engine.batches.virtual import VirtualVendor


def test_a_file_that_is_too_large_for_the_vendor(job, server, monkeypatch):
    """Its limit may be below the one that is known: the rows go in smaller files, without an attempt used."""
    made = FileClient.call
    refused = []

    async def call(self, call, *, timeout_s):
        if call.upload is not None and call.upload.stat().st_size > 2_000:
            refused.append(call.file_name)
            body = b'{"error":{"message":"File is too large","type":"invalid_request_error"}}'
            return Response(413, {"content-type": "application/json"}, body)
        return await made(self, call, timeout_s=timeout_s)

    monkeypatch.setattr(FileClient, "call", call)
    done = batchgen.run(job(30, retry={"max_attempts": 1}))
    assert (done.state, done.succeeded, done.attempts) == ("complete", 30, 30)
    assert 1 <= len(refused) < 8
    books_agree(server, done)


def test_a_file_that_can_never_be_used_is_uploaded_anew(job, server, tmp_path, monkeypatch):
    """The vendor takes the upload, ends its check as `error`, and refuses every batch that names the file: trying that
    again would never end."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=("file_error=1x",))
    done = vendor.run(job(12, batch={"poll_s": 60}))
    assert (done.state, done.succeeded, done.attempts) == ("complete", 12, 12)
    assert vendor.hours < 3
    assert vendor.books()["billed_lanes"]["batch"]["requests"] == 12
