"""Sending one request, and looking at what went wrong."""

from __future__ import annotations

import re

import anyio

from batchgen.values import Request
from tests.transport.conftest import CANARY

LONG_S = 20.0  # never reached
HEADERS = {"content-type": "application/json", "X-Team": "a"}


async def send(transport, url, *, timeout_s=LONG_S, streamed=False):
    with anyio.fail_after(15):
        return await transport.send(request_to(url, streamed=streamed), timeout_s=timeout_s)


def check_message(failure):
    """A message says what happened, names the host, and holds no key."""
    assert re.search(r"127\.0\.0\.1|localhost|\.test|\.invalid", failure.message)
    assert len(failure.message) > 30
    assert "()" not in failure.message
    assert CANARY not in repr(failure)


async def until(condition):
    """Wait for what another thread will have noticed soon."""
    with anyio.fail_after(5):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.01)


def request_to(url, *, streamed=False, body=b'{"a": 1}'):
    return Request(url, body, HEADERS, streamed=streamed)
