"""A whole response → completion or failure. Shared by both wire formats, plain and streamed.

A plain reply is read as a stream of one document: `Answer` takes the documents in turn, each with one choice, and
what it holds at the end is the answer. Success needs a `finish_reason` that says something ("null" and "" do not);
neither the status 200 nor `[DONE]` proves it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import msgspec

from batchgen.providers.catalogue import find_rule
from batchgen.providers.error_body import VendorError, describe, find_error, read_error
from batchgen.providers.sse import Frame, is_stream, read_frames
from batchgen.providers.wire import UnreadableError, decode_json, printable, rate_limits, retry_after_s, string_or_none
from batchgen.values import Completion, Failure, FailureKind, Request, Response, Usage, Verdict

Choice = Mapping[str, Any]
FindChoice = Callable[[Mapping[str, Any]], Choice | None]

_UNFINISHED = ("", "null", "None")  # a running frame's finish_reason; DashScope writes null as a string
_LARGEST_COUNT = 2**63 - 1


class Answer:
    """What the documents read so far add up to. `cumulative`: each frame repeats the text so far."""

    __slots__ = (
        "calls", "cumulative", "finish_reason", "id", "logprobs", "model", "reasoning", "refusal", "request_id", "text", "usage",
    )  # fmt: skip

    def __init__(self, cumulative: bool) -> None:
        self.cumulative = cumulative
        self.text: list[str] | None = None
        self.reasoning: list[str] | None = None
        self.refusal: list[str] | None = None
        self.calls: dict[object, dict[str, Any]] = {}
        self.logprobs: Any = None
        self.finish_reason: str | None = None
        self.usage: Mapping[str, Any] | None = None
        self.model: str | None = None
        self.request_id: str | None = None
        self.id: str | None = None

    def add(self, document: Mapping[str, Any], choice: Choice | None) -> None:
        """Take one document and its choice (None: it has none, as the last chunk that only carries usage)."""
        usage = document.get("usage")
        if isinstance(usage, dict):
            self.usage = usage  # DashScope: cumulative in every frame; chat completions: the last that has it
        self.model = self.model or string_or_none(document.get("model"))
        self.request_id = self.request_id or _request_id(document)
        self.id = self.id or string_or_none(document.get("id"))
        if choice is None:
            return
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason not in _UNFINISHED:
            self.finish_reason = reason
        logprobs = choice.get("logprobs")
        if logprobs is not None:
            self._add_logprobs(logprobs)
        message = choice.get("message")
        if not isinstance(message, dict):
            message = choice.get("delta")
            if not isinstance(message, dict):
                return
        self.text = self._joined(self.text, text_of(message.get("content")))
        reasoning = message.get("reasoning_content")
        self.reasoning = self._joined(
            self.reasoning, text_of(message.get("reasoning") if reasoning is None else reasoning)
        )
        self.refusal = self._joined(self.refusal, text_of(message.get("refusal")))
        calls = message.get("tool_calls")
        if isinstance(calls, list) and calls:
            self._add_calls(calls)
        elif isinstance(message.get("function_call"), dict):  # the legacy single call
            self._add_calls([{"type": "function", "function": message["function_call"]}])

    def _joined(self, parts: list[str] | None, more: str | None) -> list[str] | None:
        if more is None:
            return parts
        if parts is None or (self.cumulative and more):
            return [more]
        parts.append(more)
        return parts

    def _add_calls(self, calls: list[Any]) -> None:
        """Join tool-call deltas by `index`: only the first carries `id` and `name`, the arguments are concatenated."""
        if self.cumulative:
            self.calls = {}
        for position, call in enumerate(calls):
            if not isinstance(call, dict):
                continue
            index = call.get("index", position)
            key: object = index if isinstance(index, int) else position
            known = self.calls.get(key)
            identity = call.get("id")
            if known is not None and identity and known.get("id") not in (None, "", identity):
                key, known = (key, identity), self.calls.get((key, identity))  # servers that give every call index 0
            if known is None:
                self.calls[key] = {name: value for name, value in call.items() if name != "index"}
                continue
            for name, value in call.items():
                if name == "function" and isinstance(value, dict):
                    known["function"] = _joined_function(known.get("function"), value)
                elif name != "index" and value and not known.get(name):
                    known[name] = value

    def _add_logprobs(self, logprobs: Any) -> None:
        known = self.logprobs
        if self.cumulative or not (isinstance(known, dict) and isinstance(logprobs, dict)):
            self.logprobs = logprobs
            return
        self.logprobs = {
            name: [*old, *new] if isinstance(old := known.get(name), list) and isinstance(new, list) else new or old
            for name, new in logprobs.items()
        }


def read_response(
    vendor: str,
    find_choice: FindChoice,
    request: Request,
    response: Response,
    now: float,
    *,
    cumulative: bool,
    model: str,
) -> Completion | Failure:
    """Return what `response` means. Never raises. `now` is Unix seconds; `model` the job's own model.

    `find_choice` returns a document's one choice (`message` or `delta`, `finish_reason`, `logprobs`).
    """
    status = response.status
    if 300 <= status < 400:
        return _redirect(request, response)
    try:
        frames = _frames(response.body)
    except UnreadableError as error:
        if status < 400:
            return _unreadable(request, response, f"HTTP {status} with {error}: {describe(response.body)}")
        error_text = VendorError(describe(response.body))
        return _failure(vendor, request, response, error_text, status, now, model, answered=False, relayed=True)
    answer = Answer(cumulative)
    for frame in frames:
        document = frame.document
        failed = frame.failed or status >= 400
        error = read_error(document) if failed else find_error(document)
        if error is not None:
            stated = status if status >= 400 else frame.status or error.status or 0
            if isinstance(document, dict):
                answer.add(document, None)
            answered = answer.text is not None or answer.reasoning is not None
            return _failure(vendor, request, response, error, stated, now, model, answered=answered, answer=answer)
        if isinstance(document, dict):
            answer.add(document, find_choice(document))
    if status >= 400:
        empty = VendorError()
        return _failure(vendor, request, response, empty, status, now, model, answered=False, relayed=True)
    if answer.finish_reason is None:
        return _unreadable(
            request, response, f"HTTP {status}, but the answer has no finish_reason: it was cut or is none", answer
        )
    limits = rate_limits(response.headers, now)
    return Completion(
        text=None if answer.text is None else "".join(answer.text),
        finish_reason=answer.finish_reason,
        usage=read_usage(answer.usage),
        reasoning="".join(answer.reasoning) or None if answer.reasoning else None,
        tool_calls=_json_text(list(answer.calls.values())) if answer.calls else None,
        refusal="".join(answer.refusal) or None if answer.refusal else None,
        logprobs=None if answer.logprobs is None else _json_text(answer.logprobs),
        model=answer.model or request.model or None,
        request_id=answer.request_id or response.headers.get("x-request-id") or answer.id,
        http_status=status,
        limits=limits,
    )


def _frames(body: bytes) -> list[Frame]:
    """Return a body's documents, by its content: the content type is often wrong (an event stream as error body)."""
    if is_stream(body):
        return read_frames(body)
    if not body.strip():
        raise UnreadableError("an empty body")
    document = decode_json(body)
    return [Frame(document)]


def text_of(content: Any) -> str | None:
    """Return a message's text: as it is, or the `text` of its parts joined; None when there is none."""
    if content is None or type(content) is str:
        return content
    if not isinstance(content, list):
        return None
    parts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, (str, dict))]
    return "".join(part for part in parts if isinstance(part, str))


def read_usage(usage: Mapping[str, Any] | None) -> Usage:
    """Return the token counts under either format's names; None where missing or of a wrong type, never 0.

    A missing total is input + output. https://docs.qwencloud.com/api-reference/chat/dashscope,
    https://github.com/openai/openai-openapi
    """
    if usage is None:
        return Usage()
    tokens_in = _count(usage.get("input_tokens", usage.get("prompt_tokens")))
    tokens_out = _count(usage.get("output_tokens", usage.get("completion_tokens")))
    total = _count(usage.get("total_tokens"))
    if total is None and tokens_in is not None and tokens_out is not None:
        total = tokens_in + tokens_out
    read = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    written = usage.get("output_tokens_details") or usage.get("completion_tokens_details")
    if not isinstance(read, dict):
        read = {}
    if not isinstance(written, dict):
        written = {}
    return Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        total_tokens=total,
        cached_tokens=_count(read.get("cached_tokens", usage.get("prompt_cache_hit_tokens"))),
        reasoning_tokens=_count(written.get("reasoning_tokens")),
        cache_write_tokens=_count(read.get("cache_creation_input_tokens", read.get("cache_write_tokens"))),
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _LARGEST_COUNT else None


def _request_id(document: Mapping[str, Any]) -> str | None:
    """The names it has been seen under: on the wire, in the Java SDK's prints, misspelt in a page's table."""
    return (
        string_or_none(document.get("request_id"))
        or string_or_none(document.get("requestId"))
        or string_or_none(document.get("request_Id"))
    )


def _joined_function(known: Any, more: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(known, dict):
        return more
    joined = dict(known)
    for name, value in more.items():
        old = joined.get(name)
        if name == "arguments" and isinstance(old, str) and isinstance(value, str):
            joined[name] = old + value
        elif value and not old:
            joined[name] = value
    return joined


def _json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _redirect(request: Request, response: Response) -> Failure:
    location = response.headers.get("location", "")
    try:
        host = urlsplit(location).netloc.rpartition("@")[2] or "the same host"
    except ValueError:
        host = "a place that cannot be read"
    return Failure(
        kind=FailureKind.ENDPOINT,
        verdict=Verdict.STOP,
        message=printable(
            f"HTTP {response.status}: redirected to {host}; redirects are not followed, set model.base_url"
        ),
        http_status=response.status,
        model=request.model or None,
    )


def _unreadable(request: Request, response: Response, message: str, answer: Answer | None = None) -> Failure:
    return Failure(
        kind=FailureKind.UNREADABLE,
        verdict=Verdict.RETRY,
        message=printable(message),
        http_status=response.status,
        request_id=(answer and answer.request_id) or response.headers.get("x-request-id"),
        model=(answer and answer.model) or request.model or None,
        maybe_billed=True,
    )


def _failure(
    vendor: str,
    request: Request,
    response: Response,
    error: VendorError,
    status: int,
    now: float,
    job_model: str,
    *,
    answered: bool,
    relayed: bool = False,
    answer: Answer | None = None,
) -> Failure:
    """Judge an error by the catalogue. `answered`: text had come before it; `relayed`: a proxy spoke, not the vendor."""
    rule = find_rule(vendor, status, error)
    verdict, setting, needs_stream = rule.verdict, rule.setting, rule.needs_stream
    if needs_stream and request.streamed:  # it was streamed: what the message asks for cannot be given
        needs_stream = False
        if rule.kind is FailureKind.INVALID_REQUEST:
            verdict, setting = Verdict.FAIL, True
    if rule.kind is FailureKind.MODEL_UNAVAILABLE and request.model != job_model:
        verdict, setting = Verdict.FAIL, True  # the row named this model; other rows may name others
    advice = response.headers.get("x-should-retry")
    if advice == "false" and verdict is Verdict.RETRY and not needs_stream:
        verdict = Verdict.FAIL
    elif advice == "true" and verdict is Verdict.FAIL:
        verdict = Verdict.RETRY
    return Failure(
        kind=rule.kind,
        verdict=verdict,
        message=error.message or _status_text(status or response.status),
        code=error.code or error.type,
        http_status=response.status,
        request_id=(answer and answer.request_id) or response.headers.get("x-request-id"),
        model=(answer and answer.model) or request.model or None,
        throttle=rule.throttle,
        retry_after_s=retry_after_s(response.headers, now),
        maybe_billed=answered or (verdict is Verdict.RETRY and (relayed or rule.kind is FailureKind.TIMEOUT)),
        setting=setting,
        needs_stream=needs_stream,
        limits=rate_limits(response.headers, now),
    )


def _status_text(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
