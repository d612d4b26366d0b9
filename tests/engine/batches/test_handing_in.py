"""Files on their way to the vendor."""

import batchgen
from batchgen.transport.file_client import FileClient
from batchgen.values import Response
from tests.engine.batches.conftest import books_agree


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
