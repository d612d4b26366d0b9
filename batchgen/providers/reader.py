"""A whole response → completion or failure, for both wire formats.

Neither the status 200 nor `[DONE]` proves a success: it needs an answer with a known good end. What an error means is
the catalogue's to say; what is neither an answer nor an error is unreadable, is tried again, and may have been billed.
A reply that is an answer from beginning to end is never thrown away for a field beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, structs

from batchgen.providers.documents import plain_body, read_documents, unwrapped
from batchgen.providers.error_body import VendorError, describe, find_error, read_error, stated_words
from batchgen.providers.error_catalogue import find_rule
from batchgen.providers.error_rule import Rule
from batchgen.providers.finish_reasons import OUR_WORDS, read_end
from batchgen.providers.other_streams import OtherReply
from batchgen.providers.quick_decode import UsualReply
from batchgen.providers.reply_fields import Choice, ReplyParts, find_chat_choice, said_once
from batchgen.providers.sse import Frame, plain_words
from batchgen.providers.thinking import may_have_thinking, split_thinking
from batchgen.providers.tool_calls import json_text
from batchgen.providers.usage import read_cost, read_usage
from batchgen.providers.wire import (
    ANY_LIMITS,
    UnreadableError,
    hinted_wait_s,
    printable,
    rate_limits,
    retry_after_s,
    word_or_none,
)
from batchgen.values import Completion, Failure, FailureKind, Request, Response, Throttle, Usage, Verdict

PARTIAL = "x-dashscope-partialresponse"
"""A reply with this header is an answer that DashScope has cut after 180 s: it looks like a finished one
(https://docs.qwencloud.com/developer-guides/multimodal/vision)."""

_LONGEST_STATEMENT, _SHOWN = 500, 200
"""Most letters of a text without JSON that is taken for an error by its words, and that is shown beside another one."""

DecodeUsual = Callable[[bytes], UsualReply]


class FindChoice(Protocol):
    """Returns a document's one choice, None if it has none; `index` is which of several, None any."""

    def __call__(self, document: Mapping[str, Any], index: int | None = 0) -> Choice | None: ...


class Exchange(Struct, frozen=True, gc=False):
    """A request with its response, and what is needed to judge them: the vendor's table of errors, the job's own
    model, and the time (Unix seconds) that dates in headers are measured against."""

    request: Request
    response: Response
    errors: Sequence[Rule]
    job_model: str
    now: float


class ReplyShape(Struct, frozen=True):
    """How a wire format's replies are taken apart.

    `decode_usual` takes the usual reply, raising for any other; `find_choice` returns a document's one choice.
    `translate` begins what puts the documents of one reply into the form of chat completions.
    `cumulative`: each frame of the stream repeats the text so far; `whole_messages`: see `ReplyParts`.
    """

    decode_usual: DecodeUsual
    find_choice: FindChoice
    whole_messages: bool
    cumulative: bool = False
    translate: Callable[[], Callable[[Any], Any]] | None = None


def read_exchange(exchange: Exchange, shape: ReplyShape) -> Completion | Failure:
    """Return what a response means. Never raises."""
    if exchange.response.status == 200 and not exchange.request.streamed:
        completion = _read_usual(exchange, shape.decode_usual)
        if completion is not None:
            return completion
    return read_any(exchange, shape)


def _read_usual(exchange: Exchange, decode: DecodeUsual) -> Completion | None:
    """Return what `read_any` would, in a third of its time; None where only that can tell."""
    response = exchange.response
    try:
        reply = decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    choice = reply.choice
    message = choice.message
    text, headers = message.content, response.headers
    if not text or reply.usage is None or PARTIAL in headers or may_have_thinking(text):
        return None  # the tokens may be told elsewhere
    usage = reply.usage.read()
    if usage is None:
        return None
    return Completion(  # in the order of its fields, as names would cost more
        text,
        choice.finish_reason,
        usage,
        message.reasoning_content or message.reasoning or None,
        None,
        None,
        None,
        exchange.request.model or None if reply.model is None else _model(exchange, reply),
        _request_id(exchange, reply),
        200,
        None if ANY_LIMITS.isdisjoint(headers) else rate_limits(headers),
    )


def read_any(exchange: Exchange, shape: ReplyShape) -> Completion | Failure:
    """Return what any response means, streamed or whole, document by document and key by key."""
    if 300 <= exchange.response.status < 400:
        return _redirect(exchange)
    answer = ReplyParts(cumulative=shape.cumulative, whole_messages=shape.whole_messages)
    try:
        return _read_documents(exchange, shape, answer)
    except RecursionError:  # a value inside it is nested deeper than can be followed
        return _unreadable(exchange, f"HTTP {exchange.response.status} with a reply nested too deeply", answer)


def _read_documents(exchange: Exchange, shape: ReplyShape, answer: ReplyParts) -> Completion | Failure:
    body, status = plain_body(exchange.response), exchange.response.status
    try:
        frames, streamed = read_documents(body)
    except UnreadableError as unreadable:
        said = describe(body)
        if status >= 400:
            return _failure(exchange, VendorError(said), status, answer, relayed=True)
        stated = _stated_in_text(exchange, said, answer)
        return stated or _unreadable(exchange, f"HTTP {status} with {unreadable}: {said}", answer)
    failure = _add_frames(exchange, shape, answer, frames, index=0)
    if status < 400 and not answer.has_choice:  # the only choice may have another number
        again = _add_frames(exchange, shape, answer, frames, index=None)
        if not answer.has_choice and failure is None:  # or the whole reply another form
            other = structs.replace(shape, find_choice=find_chat_choice, translate=OtherReply)
            again = _add_frames(exchange, other, answer, frames, index=None)
        failure = again if answer.has_choice else failure
    if failure is not None:
        return failure
    if status >= 400:
        return _failure(exchange, VendorError(), status, answer, relayed=True)
    if not frames and status == 200:
        said = printable(plain_words(body))
        stated = _stated_in_text(exchange, said, answer) or _unreadable(exchange, f"HTTP 200 with {said!r}", answer)
        return stated if said else _blank(exchange, answer)
    if answer.error is not None:
        return _failure(exchange, answer.error, answer.error.status or 0, answer)
    if exchange.response.headers.get(PARTIAL, "false").strip().lower() not in ("false", "0", ""):
        return _cut(exchange, answer)
    if answer.ended is None:
        if streamed or answer.in_pieces or not answer.has_words:
            return _unended(exchange, answer, [frame.document for frame in frames[-2:]])
        return _completion(exchange, answer, None)
    end = read_end(answer.ended)
    if end == "content_filter" and not answer.has_words:
        return _filtered(exchange, answer, f"the answer was held back: {answer.ended}")
    if end is None or (end not in OUR_WORDS and not answer.has_words):
        return _ended_badly(exchange, answer)
    return _completion(exchange, answer, end)


def _add_frames(
    exchange: Exchange, shape: ReplyShape, answer: ReplyParts, frames: Sequence[Frame], index: int | None
) -> Failure | None:
    """Read the documents in turn; return the failure that one of them states, if the answer is not whole by then."""
    status = exchange.response.status
    translate = shape.translate() if shape.translate is not None and status < 400 else None
    for frame in frames:
        document = unwrapped(frame.document)
        if translate is not None:
            document = translate(document)
        if frame.broken:
            said = f"HTTP {status} with {frame.broken}: {describe(exchange.response.body)}"
            return None if answer.is_whole and answer.usages else _unreadable(exchange, said, answer)
        error = read_error(document) if frame.failed or status >= 400 else find_error(document)
        if isinstance(document, dict):
            after_the_end = frame.late and answer.is_whole  # only tokens may come then
            answer.add(document, None if status >= 400 or after_the_end else shape.find_choice(document, index))
        if error is not None and not (status < 400 and answer.is_whole):
            stated = status if status >= 400 else frame.status or error.status or 0
            return _failure(exchange, error, stated, answer)
    return None


def _completion(exchange: Exchange, answer: ReplyParts, end: str | None) -> Completion:
    reported = answer.usage
    text, reasoning = split_thinking(said_once(answer.text), said_once(answer.reasoning) or None, end)
    return Completion(
        text=text,
        finish_reason=end,
        usage=_usage(exchange, answer, answered=answer.has_words or bool(reasoning)),
        reasoning=reasoning,
        tool_calls=answer.tool_calls(exchange.request.body),
        refusal=said_once(answer.refusal) or None,
        logprobs=None if answer.logprobs is None else json_text(answer.logprobs),
        model=_model(exchange, answer),
        request_id=_request_id(exchange, answer),
        http_status=exchange.response.status,
        limits=rate_limits(exchange.response.headers),
        service_tier=answer.service_tier,
        reported_cost=read_cost(reported),
    )


def _usage(exchange: Exchange, answer: ReplyParts, *, answered: bool) -> Usage:
    return read_usage(answer.usage, answered=answered, claude="claude" in (_model(exchange, answer) or "").lower())


def _billed(exchange: Exchange, answer: ReplyParts) -> Usage | None:
    """Return what an attempt without an answer was billed, as far as the server reported input and output."""
    usage = _usage(exchange, answer, answered=answer.has_words)
    return None if usage.input_tokens is None or usage.output_tokens is None else usage


def _model(exchange: Exchange, answer: ReplyParts | UsualReply) -> str | None:
    """The model as the response names it, else as the request did: the native API does not name it."""
    return word_or_none(answer.model) or exchange.request.model or None


def _request_id(exchange: Exchange, answer: ReplyParts | UsualReply) -> str | None:
    own = word_or_none(answer.request_id)
    if own is not None:
        return own
    headers = exchange.response.headers
    header = headers.get("x-request-id") or headers.get("request-id")
    return word_or_none(header) or word_or_none(answer.id)


def _redirect(exchange: Exchange) -> Failure:
    """A redirect is never followed: it would take the key and the prompts to another host."""
    response = exchange.response
    try:
        host = urlsplit(response.headers.get("location", "")).netloc.rpartition("@")[2] or "the same host"
    except ValueError:
        host = "an unreadable address"
    return Failure(
        kind=FailureKind.ENDPOINT,
        verdict=Verdict.STOP,
        message=printable(
            f"HTTP {response.status}: redirected to {host}; redirects are not followed, set model.base_url"
        ),
        http_status=response.status,
        request_id=word_or_none(response.headers.get("x-request-id")),
        model=exchange.request.model or None,
    )


def _unreadable(exchange: Exchange, message: str, answer: ReplyParts) -> Failure:
    return _lost(exchange, answer, FailureKind.UNREADABLE, message, _billed(exchange, answer), maybe_billed=True)


def _unended(exchange: Exchange, answer: ReplyParts, documents: Sequence[Any]) -> Failure:
    """Judge a reply without any end: with the prompt counted and no choice it was the prompt that was blocked; words
    of a known error in a reply without a choice are one."""
    usage = _billed(exchange, answer)
    if not answer.has_choice and usage is not None and usage.output_tokens == 0:
        return _filtered(exchange, answer, "the reply has no choice: the prompt was blocked")
    status = exchange.response.status
    if answer.has_choice:
        words = plain_words(exchange.response.body)[:_SHOWN]
        also = f"; it says {words!r}" if words else ""
        return _unreadable(exchange, f"HTTP {status}, but no finish_reason: a cut answer, or none{also}", answer)
    error = next(filter(None, map(stated_words, reversed(documents))), None)
    if error is not None:  # an error all but for its status
        failure = _failure(exchange, error, error.status or 0, answer)
        if failure.kind is not FailureKind.SERVER_ERROR:
            return failure
    said = describe(exchange.response.body) or "nothing"
    return _unreadable(exchange, f"HTTP {status} without an answer: {said}", answer)


def _stated_in_text(exchange: Exchange, said: str, answer: ReplyParts) -> Failure | None:
    """Return the error that a short text is, by its words; a page is believed only where it speaks of a limit."""
    if "{" in said or len(said) > _LONGEST_STATEMENT:
        return None
    failure = _failure(exchange, VendorError(said), 0, answer)
    passing = failure.verdict is Verdict.WAIT
    known = passing if said.startswith("HTML page") else failure.kind is not FailureKind.SERVER_ERROR
    return failure if known else None


def _ended_badly(exchange: Exchange, answer: ReplyParts) -> Failure:
    """Judge an answer whose end is a failure of the server, or that has neither words nor a known end."""
    usage = _billed(exchange, answer)
    failure = _lost(
        exchange,
        answer,
        FailureKind.SERVER_ERROR,
        f"the answer ended with finish_reason {answer.ended!r}",
        usage,
        maybe_billed=usage is None,
    )
    return structs.replace(failure, code=answer.ended, finish_reason=answer.ended)


def _cut(exchange: Exchange, answer: ReplyParts) -> Failure:
    """Judge an answer that the provider itself calls partial: a stream has no such end."""
    usage = _billed(exchange, answer)
    failure = _lost(
        exchange,
        answer,
        FailureKind.TIMEOUT,
        "the provider has cut the answer after its longest time (x-dashscope-partialresponse)",
        usage,
        maybe_billed=usage is None,
    )
    return structs.replace(failure, code="partial", needs_stream=not exchange.request.streamed)


def _filtered(exchange: Exchange, answer: ReplyParts, message: str) -> Failure:
    """Judge a reply whose prompt or answer was held back: asking again would be held back again, and be billed."""
    usage = _usage(exchange, answer, answered=False)
    failure = _lost(exchange, answer, FailureKind.CONTENT_FILTER, message, usage, maybe_billed=False)
    return structs.replace(failure, verdict=Verdict.FAIL, finish_reason="content_filter")


def _blank(exchange: Exchange, answer: ReplyParts) -> Failure:
    """Judge a whole 200 without a word: a server that kept the connection alive while it waited, and gave up."""
    failure = _lost(
        exchange, answer, FailureKind.RATE_LIMITED, "HTTP 200 with an empty body: overloaded", None, maybe_billed=False
    )
    return structs.replace(failure, verdict=Verdict.WAIT, throttle=Throttle.OVERLOAD)


def _lost(
    exchange: Exchange, answer: ReplyParts, kind: FailureKind, message: str, usage: Usage | None, *, maybe_billed: bool
) -> Failure:
    return Failure(
        kind=kind,
        verdict=Verdict.RETRY,
        message=printable(message),
        http_status=exchange.response.status,
        request_id=_request_id(exchange, answer),
        model=_model(exchange, answer),
        maybe_billed=maybe_billed,
        usage=usage,
        limits=rate_limits(exchange.response.headers),
    )


def _failure(
    exchange: Exchange, error: VendorError, status: int, answer: ReplyParts, *, relayed: bool = False
) -> Failure:
    """Judge an error by the catalogue. `status`: the HTTP status, or the one stated within a 200; `answer`: what had
    come before it; `relayed`: the body has no vendor's error, so a proxy may have spoken in the vendor's place."""
    request, headers = exchange.request, exchange.response.headers
    rule = find_rule(exchange.errors, status, error)
    verdict, setting, needs_stream = rule.verdict, rule.setting, rule.needs_stream
    if needs_stream and request.streamed:  # what the message asks for was done already
        needs_stream = False
        if rule.kind is FailureKind.INVALID_REQUEST:
            verdict, setting = Verdict.FAIL, True
    if rule.kind is FailureKind.MODEL_UNAVAILABLE and request.model != exchange.job_model:
        verdict, setting = Verdict.FAIL, True  # the row named this model; other rows may name others
    advice = headers.get("x-should-retry")  # the OpenAI SDK lets it override the status
    if advice == "false" and verdict is Verdict.RETRY and not needs_stream:
        verdict = Verdict.FAIL
    elif advice == "true" and verdict is Verdict.FAIL:
        verdict = Verdict.RETRY
    begun = answer.text is not None or answer.reasoning is not None
    wait_s = retry_after_s(headers, exchange.now)
    lost = verdict is Verdict.RETRY and (relayed or rule.kind is FailureKind.TIMEOUT)
    kind = rule.kind
    if verdict is Verdict.WAIT and status >= 500:  # for the pace a limit, for the record the server's
        kind = FailureKind.SERVER_ERROR
    return Failure(
        kind=kind,
        verdict=verdict,
        message=error.message or _status_text(status or exchange.response.status),
        code=error.code or error.type,
        http_status=exchange.response.status,
        request_id=_request_id(exchange, answer),
        model=_model(exchange, answer),
        throttle=rule.throttle,
        retry_after_s=hinted_wait_s(f"{error.message} {error.details}", exchange.now) if wait_s is None else wait_s,
        maybe_billed=begun or lost,
        usage=None if verdict is Verdict.STOP else _billed(exchange, answer),
        setting=setting,
        needs_stream=needs_stream,
        limits=rate_limits(headers),
    )


def _status_text(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
