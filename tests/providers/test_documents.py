"""Whatever a gateway wraps a reply in, and whatever bytes it makes of it, the answer and the error in it are found."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest

from batchgen.values import Completion, Failure, FailureKind, Usage, Verdict

from .samples import read

USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


def reply(content="Grün 蓝", **message):
    """Return a whole reply of chat completions."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "choices": [choice], "usage": USAGE}


def dumped(document, encoding="utf-8"):
    return json.dumps(document, ensure_ascii=False).encode(encoding)


def piece(reason=None, **delta):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def stream(*documents):
    return b"".join(b"data: " + json.dumps(document).encode() + b"\n\n" for document in documents)


WHOLE = dumped(reply())
WRAPPED = {
    "compressed, and nobody says so": gzip.compress(WHOLE),
    "compressed twice": gzip.compress(gzip.compress(WHOLE)),
    "deflated, and nobody says so": zlib.compress(WHOLE),
    "as Python writes it": repr({**reply(), "system_fingerprint": None}).encode(),
    "UTF-16 with a mark": dumped(reply(), "utf-16"),
    "UTF-16 without one": dumped(reply("Grün"), "utf-16-le"),
    "a prefix against scripts": b")]}',\n" + WHOLE,
    "a NUL at the end": WHOLE + b"\x00",
    "text behind it": WHOLE + b"\n\nOK",
    "the same twice": WHOLE + WHOLE,
    "keep-alives in front": b": PROCESSING\n\n: PROCESSING\n\n" + WHOLE,
    "keep-alives in front of lines": b": PROCESSING\n\n" + json.dumps(reply(), indent=1).encode(),
    "in a list": dumped([reply()]),
    "as JSON text": dumped(json.dumps(reply())),
    "as the body of a function's result": dumped({"statusCode": 200, "headers": {}, "body": json.dumps(reply())}),
    "as an object there": dumped({"statusCode": 200, "body": reply()}),
    "as JSON text among a gateway's data": dumped({"code": 200, "msg": "success", "data": json.dumps(reply())}),
    "the pieces of a stream in a list": dumped([piece(content="Grün"), piece("stop", content=" 蓝"), {"usage": USAGE}]),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_whole_answer_is_found(name):
    """It has been paid for."""
    outcome = read("vllm", WRAPPED[name])
    assert isinstance(outcome, Completion), outcome
    assert outcome.text == ("Grün" if "without one" in name else "Grün 蓝")
    assert (outcome.finish_reason, outcome.usage) == ("stop", Usage(7, 2, 9))


@pytest.mark.parametrize(
    ("charset", "text"), [("GBK", "蓝色"), ("iso-8859-1", "Grün"), ('"Shift_JIS"', "青い"), ("no-such", "Gr\ufffdn")]
)
def test_the_charset_that_is_named_counts_where_a_body_is_not_utf_8(charset, text):
    """Most servers that name another one send UTF-8 all the same."""
    encoding = "latin-1" if charset == "no-such" else charset.strip('"')
    headers = {"content-type": f"application/json; charset={charset}"}
    body = dumped(reply(text.replace("\ufffd", "ü")), encoding)
    assert read("vllm", body, headers=headers).text == text
    assert read("vllm", dumped(reply("Grün")), headers=headers).text == "Grün"


PARSED = [
    (42, "42"), (0.5, "0.5"), (True, "true"), ({"colour": "Grün"}, '{"colour":"Grün"}'), ([1, 2], "[1,2]"),
    ({"type": "cat", "n": 1}, '{"type":"cat","n":1}'), ([{"colour": "a"}], '[{"colour":"a"}]'), ([], ""),
    ([{"type": "text", "text": {"value": "a", "annotations": []}}], "a"), ([{"type": "text", "content": "a"}], "a"),
    ({"type": "text", "text": "a"}, "a"), ([{"type": "tool_use", "name": "f"}], ""),
    ({"role": "assistant", "content": "a"}, "a"), ({"parts": [{"text": "a"}, {"text": "b"}]}, "ab"),
    ({"role": "model", "parts": [{"text": "a"}]}, "a"), ({"text": "a", "n": 1}, '{"text":"a","n":1}'),
    ([{"text": "a", "ocr_result": {}}], "a"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "text"), PARSED)
def test_an_answer_that_a_gateway_has_parsed_is_not_lost(content, text):
    """It is written as JSON again; parts of a message are no such answer."""
    assert read("vllm", dumped(reply(content))).text == text


def test_other_places_of_an_answer():
    """A message that is a text, and what was spoken where there is no text."""
    message = {"role": "assistant", "content": "Blue"}
    places = ({"message": "Blue"}, {"message": [message]}, {"messages": [message]}, {"content": "Blue"},
              {"message": {"role": "assistant", "text": "Blue"}})  # fmt: skip
    for place in places:
        assert read("vllm", dumped({"choices": [{**place, "finish_reason": "stop"}]})).text == "Blue", place
    assert read("vllm", dumped(reply(None, audio={"data": "", "transcript": "Blue"}))).text == "Blue"
    assert read("dashscope", WHOLE).text == "Grün 蓝", "the other form of the same vendor"


@pytest.mark.parametrize(("reason", "end"), [({"type": "stop", "matched": 2}, "stop"), ({"type": "length"}, "length")])
def test_an_end_that_is_an_object(reason, end):
    """SGLang's own form; its abort is no answer."""
    document = reply()
    document["choices"][0]["finish_reason"] = reason
    assert read("vllm", dumped(document)).finish_reason == end
    document["choices"][0]["finish_reason"] = {"type": "abort", "message": "x"}
    assert isinstance(read("vllm", dumped(document)), Failure)


HALVES = [piece(content="a \ud83d"), piece(content="\ude00 b"), piece("stop"), {"usage": USAGE}]


def test_a_character_in_two_pieces():
    """Some servers escape characters beyond 16 bits as two, and cut between them."""
    assert read("vllm", stream(*HALVES), stream=True).text == "a 😀 b"
    assert read("vllm", stream(HALVES[0], *HALVES[2:]), stream=True).text == "a \ufffd"
    call = {"index": 0, "id": "i", "function": {"name": "f", "arguments": '{"a":"\ud83d'}}
    rest = {"index": 0, "function": {"arguments": '\ude00"}'}}
    outcome = read("vllm", stream(piece(tool_calls=[call]), piece("tool_calls", tool_calls=[rest])), stream=True)
    assert json.loads(json.loads(outcome.tool_calls)[0]["function"]["arguments"]) == {"a": "😀"}


ANSWERED = stream(piece(content="Blue"), piece("stop"), {"choices": [], "usage": USAGE})
TAILS = [b"\x00", b"data: [DO", b"<html><title>504</title></html>", b'data: {"broken\n\n', b'data: {"id"']


@pytest.mark.parametrize("tail", TAILS)
def test_an_answer_with_its_tokens_is_kept_whatever_breaks_behind_it(tail):
    """It is whole; without its tokens more was coming."""
    assert read("vllm", ANSWERED + tail, stream=True).text == "Blue"
    outcome = read("vllm", stream(piece(content="Blue"), piece("stop")) + tail, stream=True)
    assert isinstance(outcome, Failure)
    assert outcome.maybe_billed


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_an_error_without_the_form_of_a_frame(end):
    """A proxy writes it into the stream that it has begun."""
    bare = b'{"error":{"message":"Rate limit reached","code":"429"}}' + end
    outcome = read("vllm", stream(piece(content="Bl")) + bare, stream=True)
    assert (outcome.kind, outcome.message) == (FailureKind.RATE_LIMITED, "Rate limit reached")


SAID = [
    ({"status": "449", "msg": "You exceeded your current rate limit", "body": None}, FailureKind.RATE_LIMITED),
    ({"status": "435", "msg": "Model not support", "body": None}, FailureKind.MODEL_UNAVAILABLE),
    ({"status": "error", "message": "Invalid API key"}, FailureKind.AUTHENTICATION),
    ({"detail": "Not authenticated"}, FailureKind.AUTHENTICATION),
    ({"header": {"code": 10013, "message": "the content was flagged by moderation"}}, FailureKind.CONTENT_FILTER),
    ([{"error": {"code": 429, "message": "Resource has been exhausted"}}], FailureKind.RATE_LIMITED),
    (json.dumps({"error": {"message": "Insufficient credits", "code": 402}}), FailureKind.ACCOUNT),
    ({"statusCode": 429, "body": json.dumps({"error": {"message": "slow down"}})}, FailureKind.RATE_LIMITED),
]


@pytest.mark.parametrize(("document", "kind"), SAID)
def test_words_of_an_error_without_its_form(document, kind):
    """A reply without an answer is judged by what it says."""
    outcome = read("vllm", dumped(document))
    assert isinstance(outcome, Failure)
    assert outcome.kind == kind


@pytest.mark.parametrize(
    "document", [{"code": 0, "msg": "ok", "data": None}, {"message": "qwx"}, {"choices": []}, {"content": "Blue"}]
)
def test_a_reply_that_says_nothing_known_is_shown(document):
    """Its sender may know what it means; it may have been billed."""
    outcome = read("vllm", dumped(document))
    assert (outcome.kind, outcome.verdict, outcome.maybe_billed) == (FailureKind.UNREADABLE, Verdict.RETRY, True)
    assert json.dumps(document) in outcome.message


@pytest.mark.parametrize(
    ("body", "kind", "verdict"),
    [
        (b"Too Many Requests", FailureKind.RATE_LIMITED, Verdict.WAIT),
        (b"<html><title>429 Too Many Requests</title></html>", FailureKind.RATE_LIMITED, Verdict.WAIT),
        (b"Invalid API key", FailureKind.AUTHENTICATION, Verdict.STOP),
        (b"<html><title>Invalid API key</title></html>", FailureKind.UNREADABLE, Verdict.RETRY),
        (b"OK", FailureKind.UNREADABLE, Verdict.RETRY),
        (WHOLE[:-9].replace("Grün".encode(), b"rate limit"), FailureKind.UNREADABLE, Verdict.RETRY),
    ],
)
def test_a_text_with_the_status_of_a_success(body, kind, verdict):
    """A known error by its words; half an answer is none, whatever it speaks of."""
    outcome = read("vllm", body)
    assert (outcome.kind, outcome.verdict) == (kind, verdict)
