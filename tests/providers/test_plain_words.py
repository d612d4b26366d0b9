"""What servers and proxies say in plain words or in XML, in the place of an answer or in the middle of one."""

from __future__ import annotations

import pytest

from batchgen.values import Completion, FailureKind, Verdict

from .samples import read

BEGUN = b'data: {"choices":[{"index":0,"delta":{"content":"Bl"}}]}\n\n'
ENDED = b'data: {"choices":[{"index":0,"delta":{"content":"ue"},"finish_reason":"stop"}]}\n\n'


@pytest.mark.parametrize(
    ("body", "kind", "verdict", "words"),
    [
        (b"data: Internal Server Error\n\n", FailureKind.UNREADABLE, Verdict.RETRY, "Internal Server Error"),
        (
            b"data: rate limit exceeded\n\ndata: [DONE]\n\n",
            FailureKind.RATE_LIMITED,
            Verdict.WAIT,
            "rate limit exceeded",
        ),
        (b": alive\n\ncould not reach the model\n", FailureKind.UNREADABLE, Verdict.RETRY, "could not reach the model"),
        (BEGUN + b"data: upstream disconnected\n\n", FailureKind.UNREADABLE, Verdict.RETRY, "upstream disconnected"),
        (b": alive\n\n: alive\n\n", FailureKind.RATE_LIMITED, Verdict.WAIT, "empty body"),
        (
            b"id: 1\nretry: 9\n:HTTP_STATUS/200\n\ndata: [DONE]\n\n",
            FailureKind.RATE_LIMITED,
            Verdict.WAIT,
            "empty body",
        ),
    ],
)
def test_words_in_a_stream_are_told(body, kind, verdict, words):
    """They are no empty reply, for which the run would wait at no attempt's cost."""
    outcome = read("vllm", body, stream=True)
    assert (outcome.kind, outcome.verdict) == (kind, verdict)
    assert words in outcome.message
    assert outcome.maybe_billed is (kind is FailureKind.UNREADABLE)


@pytest.mark.parametrize("blanks", [b" ", b"\t", b"    "])
def test_blanks_before_the_names_of_fields_change_nothing(blanks):
    """A gateway has indented the lines."""
    lines = (BEGUN + ENDED + b"data: [DONE]\n\n").splitlines()
    outcome = read("vllm", b"\n".join(blanks + line if line else line for line in lines), stream=True)
    assert isinstance(outcome, Completion), outcome
    assert outcome.text == "Blue"


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (
            403,
            b"<?xml version='1.0'?>\n<Error><Code>AccessDenied</Code><Message>No right to it</Message></Error>",
            FailureKind.AUTHENTICATION,
            "AccessDenied: No right to it",
        ),
        (
            401,
            b"<error><statusCode>401</statusCode><message>Access denied: no subscription key</message></error>",
            FailureKind.AUTHENTICATION,
            "Access denied: no subscription key",
        ),
        (
            500,
            b"<soap:Envelope><soap:Body><soap:Fault><faultstring>Policy failed</faultstring></soap:Fault></soap:Body>"
            b"</soap:Envelope>",
            FailureKind.SERVER_ERROR,
            "Policy failed",
        ),
        (
            403,
            b"<?xml version='1.0'?><html><title>Blocked</title></html>",
            FailureKind.INVALID_REQUEST,
            "HTML page: Blocked",
        ),
        (403, b"<html><message>x</message></html>", FailureKind.INVALID_REQUEST, "HTML page"),
    ],
)
def test_the_words_of_an_error_in_xml(status, body, kind, words):
    """Object stores and API gateways write so; a page of HTML is still one, which a firewall shows for a single row."""
    outcome = read("vllm", body, status)
    assert (outcome.kind, outcome.message) == (kind, words)
