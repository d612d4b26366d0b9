"""Golden responses: every sample of the vendors' pages, whole, cut at every byte, and in every line ending."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.values import Completion, Failure, FailureKind, Usage, Verdict

from .samples import BODIES, HOSTS, SAMPLES, fields, read

sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: f"{s.file}-{s.server}")


@sample
def test_a_page_sample_is_read_as_it_means(sample):
    """Text, usage, finish reason, ids and errors are what the page says."""
    assert fields(sample.read(), sample.expected) == sample.expected


def test_every_body_is_in_the_table():
    """No fixture lies about unread."""
    assert {s.file for s in SAMPLES} == {path.name for path in BODIES.iterdir()} - {"README.md"}


@sample
def test_a_cut_body_is_never_a_wrong_success(sample):
    """Cut at any byte, a body gives its whole answer or none; only the usage of a later chunk may be missing."""
    whole, body = sample.read(), sample.body
    for end in range(len(body)):
        outcome = sample.read(body[:end])
        if isinstance(outcome, Completion):
            assert isinstance(whole, Completion), f"cut at {end}"
            assert outcome.text == whole.text
            assert outcome.finish_reason == whole.finish_reason
            assert outcome.usage in (whole.usage, Usage())
        elif outcome.kind is FailureKind.UNREADABLE:
            assert outcome.verdict is Verdict.RETRY
            assert outcome.maybe_billed


@pytest.mark.parametrize(
    "ending", [b"\r\n", b"\r", b"\n\n", b"\n: keep-alive\n\n"], ids=["crlf", "cr", "blank", "ping"]
)
@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.streamed], ids=lambda s: s.file)
def test_line_endings_and_keep_alives_change_nothing(sample, ending):
    """CRLF, CR, extra blank lines and comments between lines are the same stream."""
    assert sample.read(sample.body.replace(b"\n", ending)) == sample.read()


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.streamed], ids=lambda s: s.file)
def test_missing_blank_lines_and_spaces_change_nothing(sample):
    """Frames without a blank line between, and `data:` with or without a space, are the same stream."""
    body = b"\n".join(line for line in sample.body.split(b"\n") if line) + b"\n"
    assert sample.read(body) == sample.read()
    assert sample.read(body.replace(b"data: ", b"data:")) == sample.read()
    assert sample.read(b"\xef\xbb\xbf" + body) == sample.read()


ANY = st.binary(max_size=200)
JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "output",
                    "choices",
                    "choise",
                    "message",
                    "delta",
                    "content",
                    "text",
                    "finish_reason",
                    "usage",
                    "input_tokens",
                    "error",
                    "code",
                    "detail",
                    "tool_calls",
                    "function",
                    "arguments",
                    "index",
                    "id",
                    "logprobs",
                    "reasoning_content",
                    "status_code",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(
    st.sampled_from(sorted(HOSTS)),
    ANY | JSONISH.map(lambda v: msgspec.json.encode(v) if _encodable(v) else b"{}"),
    st.sampled_from([200, 200, 200, 204, 301, 400, 429, 500, 599]),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise_and_no_success_lacks_a_finish_reason(server, body, status, framed):
    """Whatever comes, the reader gives a value, and a completion always has a reason and usable fields."""
    if framed:
        body = b"id:1\nevent:result\ndata:" + body + b"\n\n"
    outcome = read(server, body, status, stream=framed, headers={"retry-after": "\x00", "location": "http://[::1"})
    if isinstance(outcome, Completion):
        assert status < 300
        assert outcome.finish_reason not in ("", "null")
        assert outcome.finish_reason or not framed
    msgspec.json.encode(outcome)


def _encodable(value):
    try:
        msgspec.json.encode(value)
    except (OverflowError, UnicodeEncodeError):
        return False
    return True


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_one_flipped_byte_never_raises(data):
    """A damaged sample gives a value too."""
    chosen = data.draw(st.sampled_from(SAMPLES))
    body = bytearray(chosen.body)
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    msgspec.json.encode(chosen.read(bytes(body)))


@pytest.mark.parametrize(
    "body",
    [
        b"<html><title>Sign in</title></html>",
        b"ok",
        b"[]",
        b"null",
        b'"text"',
        b"{}",
        b"[" * 100_000,
        b'{"output":null}',
        b'{"choices":[]}',
        b'{"choices":[{"message":{"content":""},"finish_reason":""}]}',
        b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":""}]}\n\ndata: [DONE]\n\n',
    ],
)
@pytest.mark.parametrize("server", sorted(HOSTS))
def test_a_success_that_is_no_answer_is_unreadable(server, body):
    """A portal's page, JSON of another kind, a stream without an end: tried again, and perhaps billed."""
    outcome = read(server, body)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.verdict, outcome.maybe_billed) == (FailureKind.UNREADABLE, Verdict.RETRY, True)
    assert "HTTP 200" in outcome.message


def test_a_redirect_stops_the_run_and_names_the_host():
    """The key is never sent to another host; the user learns which one was meant."""
    outcome = read("openai", b"", 307, headers={"location": "https://user:pw@login.example.org/x?y"})
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.verdict) == (FailureKind.ENDPOINT, Verdict.STOP)
    assert "login.example.org" in outcome.message
    assert "pw" not in outcome.message


def test_messages_are_cut_and_cannot_drive_a_terminal():
    """2,000 characters are kept, control characters and text-reordering marks are not."""
    body = msgspec.json.encode({"error": {"message": "\x1b[31mred\u202e\x07" + "x" * 5000}})
    outcome = read("openai", body, 500)
    assert isinstance(outcome, Failure)
    assert outcome.message.startswith("[31mredxxx")
    assert len(outcome.message) == 2000


@pytest.mark.parametrize("streamed", [False, True])
@sample
def test_an_answer_that_dashscope_calls_partial_is_asked_again(sample, streamed):
    """It looks like a success; whole answers are asked for again as a stream, which is not cut."""
    headers = {"x-dashscope-partialresponse": "true"}
    if sample.streamed is streamed and isinstance(sample.read(), Completion):
        outcome = sample.read(headers=headers)
        assert isinstance(outcome, Failure)
        assert (outcome.verdict, outcome.needs_stream) == (Verdict.RETRY, not streamed)
        assert sample.read(headers={"x-dashscope-partialresponse": "false"}) == sample.read()
