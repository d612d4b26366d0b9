"""A near-free provider for benchmarks: each request gets the same bytes, at once or after a fixed latency.

It parses no more than it must, so that what a benchmark measures is the client. Requests to a path that ends in
`/generation` get DashScope's native shape, all others that of chat completions.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import cast

ANSWER = "x" * 1200


def replies(answer=ANSWER):
    """Return a native and a chat reply, whole, with this answer."""
    native = {
        "output": {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": answer}}]},
        "usage": {"input_tokens": 520, "output_tokens": 240, "total_tokens": 760},
        "request_id": "8f3c2e1a-0b4d-9c7e-a5f6-d2c1b0a99887",
    }
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "logprobs": None,
        "message": {"role": "assistant", "content": answer, "refusal": None},
    }
    chat = {
        "id": "chatcmpl-8f3c2e1a0b4d",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "qwen-plus",
        "choices": [choice],
        "usage": {"prompt_tokens": 520, "completion_tokens": 240, "total_tokens": 760},
    }
    return _reply(native), _reply(chat)


def _reply(document):
    body = json.dumps(document).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: r\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def pin(core):
    """Keep this process on one core, where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})


class Answering(asyncio.Protocol):
    """Answers each whole request."""

    def __init__(self, latency_s, replies):
        self._latency_s = latency_s
        self._native, self._chat = replies
        self._buffer = b""

    def connection_made(self, transport):
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data):
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            reply = self._native if self._buffer.find(b"/generation ", 0, end) > 0 else self._chat
            self._buffer = self._buffer[whole:]
            if self._latency_s:
                asyncio.get_running_loop().call_later(self._latency_s, self._late, reply)
            else:
                self._transport.write(reply)

    def _late(self, reply):
        if not self._transport.is_closing():
            self._transport.write(reply)


async def serve(port, latency_s, characters, certificate=None):
    """Serve until the process is ended; in TLS with the certificate and the key of a file."""
    loop = asyncio.get_running_loop()
    sent = replies(ANSWER[0] * characters)
    tls = None
    if certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(certificate)
    server = await loop.create_server(lambda: Answering(latency_s, sent), "127.0.0.1", port, backlog=4096, ssl=tls)
    await server.serve_forever()


@contextmanager
def serving(latency_s=0.0, characters=len(ANSWER), certificate=None):  # noqa: B008 - a constant
    """Run the server in a process of its own, on core 1, with answers of so many characters; yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    arguments = [str(port), str(latency_s), str(characters), *([] if certificate is None else [str(certificate)])]
    with subprocess.Popen([sys.executable, "-m", "tests.benchmarks.server", *arguments]) as server:
        try:
            for _ in range(1000):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.01)
            else:
                raise SystemExit("the server did not start")
            yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{port}"
        finally:
            server.terminate()


if __name__ == "__main__":
    import uvloop

    pin(1)
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]))
