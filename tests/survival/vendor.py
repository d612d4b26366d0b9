"""A provider made of faults: good answers that echo the row, behind any script of the transport tests."""

import json
import threading
from collections import Counter

from tests.transport.fault_scripts import fault
from tests.transport.faults import FAULTS, FaultServer

WHOLE_FAULTS = (
    "html_502",
    "empty_204",
    "bad_utf8",
    "close_before_reply",
    "reset_before_reply",
    "stale_close",
    "stale_reset",
    "cut_head",
    "reset_in_body",
    "short_length",
    "cut_chunk",
    "cut_between_chunks",
    "cut_gzip",
    "gzip_garbage",
    "unknown_encoding",
    "two_lengths",
    "tls_alert",
    "ok_until_close",
    "html_200",
    "hang",
    "hang_in_body",
    "trickle",
    "trickle_head",
    "drip_comments",
    "endless",
)
"""Faults of `tests/transport` that a row must survive when its next try is answered well."""


def question(exchange):
    """Return the user's message."""
    body = json.loads(exchange.body)
    return body.get("input", body)["messages"][-1]["content"]


def echo(text):
    """Return the one right answer to a question."""
    return f"You said: {text}. " * 20


@fault
async def answer(exchange):
    """A good answer to a native or a compatible request, plain or streamed."""
    body = json.loads(exchange.body)
    text = echo(question(exchange))
    usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
    if "input" in body:
        message = {"role": "assistant", "content": text}
        choice = {"finish_reason": "stop", "message": message}
        told = {"output": {"choices": [choice]}, "usage": usage, "request_id": "r-1"}
        if b"text/event-stream" not in exchange.head.lower():
            await exchange.reply(json.dumps(told).encode())
            return
        await exchange.start_chunked("content-type: text/event-stream\r\n")
        for piece, reason in ((text[:50], "null"), (text[50:], "stop")):
            choice.update(message={"role": "assistant", "content": piece}, finish_reason=reason)
            await exchange.chunk(b"id:1\nevent:result\ndata:" + json.dumps(told).encode() + b"\n\n")
        await exchange.chunk(b"")
        return
    used = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    if not body.get("stream"):
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        await exchange.reply(json.dumps({"id": "c-1", "choices": [choice], "usage": used}).encode())
        return
    await exchange.start_chunked("content-type: text/event-stream\r\n")
    for piece, reason in ((text[:50], None), (text[50:], "stop")):
        choice = {"index": 0, "delta": {"content": piece}, "finish_reason": reason}
        await exchange.chunk(b"data: " + json.dumps({"id": "c-1", "choices": [choice]}).encode() + b"\n\n")
    last = {"id": "c-1", "choices": [], "usage": used}
    await exchange.chunk(b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n")
    await exchange.chunk(b"")


class Vendor(FaultServer):
    """Answers well, but a row whose text names a fault (`fault:hang ...`) meets it on its first try."""

    def __init__(self, **options):
        self.tries = Counter()
        self._counting = threading.Lock()
        super().__init__(choose=self._choice, **options)

    def _choice(self, exchange):
        if not exchange.body:
            return "proxy_502"
        text = question(exchange)
        with self._counting:
            self.tries[text] += 1
            tries = self.tries[text]
        word = text.split(" ")[0]
        if word.startswith("always:"):
            return word.removeprefix("always:")
        if word.startswith("fault:") and tries == 1:
            return word.removeprefix("fault:")
        return "answer"


assert not set(WHOLE_FAULTS) - set(FAULTS)
