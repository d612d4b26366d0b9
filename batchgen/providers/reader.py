"""A whole response → completion or failure, for both wire formats.

Success needs a `finish_reason` that says something ("null" and "" do not); neither the status 200 nor `[DONE]` proves
it, and a 200 may carry an error. What an error means is the catalogue's to say; what is neither an answer nor an
error is unreadable, is tried again, and may have been billed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from batchgen.providers.error_body import VendorError, describe, find_error, read_error
from batchgen.providers.error_catalogue import find_rule
from batchgen.providers.quick_decode import UsualReply
from batchgen.providers.reply_fields import UNFINISHED, Answer, Choice, json_text, read_usage
from batchgen.providers.sse import Frame, is_stream, read_frames
from batchgen.providers.wire import UnreadableError, decode_json, printable, rate_limits, retry_after_s, word_or_none
from batchgen.values import Completion, Failure, FailureKind, Request, Response, Verdict

DecodeUsual = Callable[[bytes], UsualReply]
FindChoice = Callable[[Mapping[str, Any]], Choice | None]


class Exchange(Struct, frozen=True, gc=False):
    """A request with its response, and what is needed to judge them: the vendor whose words the errors use, the
    job's own model, and the time (Unix seconds) that dates in headers are measured against."""

    request: Request
    response: Response
    vendor: str
    job_model: str
    now: float


def read_exchange(
    exchange: Exchange, decode_usual: DecodeUsual, find_choice: FindChoice, *, cumulative: bool
) -> Completion | Failure:
    """Return what a response means. Never raises. `decode_usual` takes the usual reply, raising for any other;
    `find_choice` returns a document's one choice; `cumulative`: each frame of the stream repeats the text so far."""
    if exchange.response.status == 200 and not exchange.request.streamed:
        completion = _read_usual(exchange, decode_usual)
        if completion is not None:
            return completion
    return read_any(exchange, find_choice, cumulative=cumulative)


def _read_usual(exchange: Exchange, decode: DecodeUsual) -> Completion | None:
    """Return what `read_any` would, in a third of its time; None where only that can tell."""
    response = exchange.response
    try:
        reply = decode(response.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    choice = reply.choice
    message = choice.message
    usage = reply.read_usage()
    if usage is None or choice.finish_reason in UNFINISHED or not choice.finish_reason.isprintable():
        return None
    return Completion(
        text=message.content,
        finish_reason=choice.finish_reason,
        usage=usage,
        reasoning=(message.reasoning if message.reasoning_content is None else message.reasoning_content) or None,
        refusal=message.refusal or None,
        model=_model(exchange, reply),
        request_id=_request_id(exchange, reply),
        limits=rate_limits(response.headers, exchange.now),
    )


def read_any(exchange: Exchange, find_choice: FindChoice, *, cumulative: bool) -> Completion | Failure:
    """Return what any response means, streamed or whole, document by document and key by key."""
    response = exchange.response
    status = response.status
    if 300 <= status < 400:
        return _redirect(exchange)
    answer = Answer(cumulative)
    try:
        frames = _frames(response.body)
    except UnreadableError as unreadable:
        said = describe(response.body)
        if status >= 400:
            return _failure(exchange, VendorError(said), status, answer, relayed=True)
        return _unreadable(exchange, f"HTTP {status} with {unreadable}: {said}", answer)
    for frame in frames:
        document = frame.document
        error = read_error(document) if frame.failed or status >= 400 else find_error(document)
        if error is not None:
            if isinstance(document, dict):
                answer.add(document, None)
            stated = status if status >= 400 else frame.status or error.status or 0
            return _failure(exchange, error, stated, answer)
        if isinstance(document, dict):
            answer.add(document, find_choice(document))
    if status >= 400:
        return _failure(exchange, VendorError(), status, answer, relayed=True)
    if answer.finish_reason is None:
        return _unreadable(exchange, f"HTTP {status}, but no finish_reason: a cut answer, or none", answer)
    return Completion(
        text=None if answer.text is None else "".join(answer.text),
        finish_reason=answer.finish_reason,
        usage=read_usage(answer.usage),
        reasoning="".join(answer.reasoning) or None if answer.reasoning else None,
        tool_calls=json_text(list(answer.calls.values())) if answer.calls else None,
        refusal="".join(answer.refusal) or None if answer.refusal else None,
        logprobs=None if answer.logprobs is None else json_text(answer.logprobs),
        model=_model(exchange, answer),
        request_id=_request_id(exchange, answer),
        http_status=status,
        limits=rate_limits(response.headers, exchange.now),
    )


def _frames(body: bytes) -> list[Frame]:
    """Return a body's documents, by its content: the content type is often wrong (an event stream as error body)."""
    if is_stream(body):
        return read_frames(body)
    if not body.strip():
        raise UnreadableError("an empty body")
    return [Frame(decode_json(body))]


def _model(exchange: Exchange, answer: Answer | UsualReply) -> str | None:
    """The model as the response names it, else as the request did: the native API does not name it."""
    return word_or_none(answer.model) or exchange.request.model or None


def _request_id(exchange: Exchange, answer: Answer | UsualReply) -> str | None:
    header = exchange.response.headers.get("x-request-id")
    return word_or_none(answer.request_id) or word_or_none(header) or word_or_none(answer.id)


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


def _unreadable(exchange: Exchange, message: str, answer: Answer) -> Failure:
    return Failure(
        kind=FailureKind.UNREADABLE,
        verdict=Verdict.RETRY,
        message=printable(message),
        http_status=exchange.response.status,
        request_id=_request_id(exchange, answer),
        model=_model(exchange, answer),
        maybe_billed=True,
        limits=rate_limits(exchange.response.headers, exchange.now),
    )


def _failure(exchange: Exchange, error: VendorError, status: int, answer: Answer, *, relayed: bool = False) -> Failure:
    """Judge an error by the catalogue. `status`: the HTTP status, or the one stated within a 200; `answer`: what had
    come before it; `relayed`: the body has no vendor's error, so a proxy may have spoken in the vendor's place."""
    request, headers = exchange.request, exchange.response.headers
    rule = find_rule(exchange.vendor, status, error)
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
    lost = verdict is Verdict.RETRY and (relayed or rule.kind is FailureKind.TIMEOUT)
    return Failure(
        kind=rule.kind,
        verdict=verdict,
        message=error.message or _status_text(status or exchange.response.status),
        code=error.code or error.type,
        http_status=exchange.response.status,
        request_id=_request_id(exchange, answer),
        model=_model(exchange, answer),
        throttle=rule.throttle,
        retry_after_s=retry_after_s(headers, exchange.now),
        maybe_billed=begun or lost,
        setting=setting,
        needs_stream=needs_stream,
        limits=rate_limits(headers, exchange.now),
    )


def _status_text(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
