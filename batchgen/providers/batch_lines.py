"""Lines of a batch's files: requests as they are written, results as they are read.

A result is read by the wire format that reads live replies, so that a row means the same however it was asked. What is
particular to a batch is what stands round a reply, and rows that never ran.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, structs

from batchgen.providers.batch_api import ResultLine
from batchgen.providers.documents import parsed
from batchgen.providers.error_body import VendorError, read_error
from batchgen.providers.error_catalogue import find_rule
from batchgen.providers.error_rule import Rule
from batchgen.providers.lane import BATCH
from batchgen.providers.protocol import Provider
from batchgen.providers.wire import UnreadableError, decode_json, printable, word_or_none
from batchgen.values import Completion, Failure, FailureKind, Request, Response, Verdict

_BOM = b"\xef\xbb\xbf"
_BREAKS = {"\u2028".encode(): b"\\u2028", "\u2029".encode(): b"\\u2029", "\u0085".encode(): b"\\u0085"}
"""What other people's readers take for the end of a line; in JSON these stand inside of strings only."""

_EXPIRED = frozenset({"batchexpired", "expired", "requestexpired", "batchtimeout"})
_CANCELLED = frozenset({"batchcancelled", "batchcanceled", "cancelled", "canceled", "requestcancelled"})
_NO_LETTERS = re.compile(r"[^a-z]+")
_IDS = ("custom_id", "key", "customId", "custom-id", "customid")
_SUCCEEDED = ("succeeded", "success")
_NOT_BY_A_ROW = frozenset({FailureKind.MODEL_UNAVAILABLE, FailureKind.ENDPOINT, FailureKind.AUTHENTICATION})
"""What one row of a batch cannot tell of all: the batch was taken, so that key, model and address were right."""

_STATUS_OF = {  # https://platform.claude.com/docs/en/api/errors
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_ROUND_A_BODY = frozenset({"status_code", "request_id", "body", "headers"})
_SHOWN = 200


def json_line(head: Mapping[str, str], body: bytes, name: str = "body") -> bytes:
    """Return an object of a few texts and a body that is JSON already, without anything that ends a line."""
    line = msgspec.json.encode(head)[:-1] + f',"{name}":'.encode() + body + b"}"
    if b"\xe2\x80" in line or b"\xc2\x85" in line:
        for letter, escaped in _BREAKS.items():
            line = line.replace(letter, escaped)
    return line


class _Reply(Struct):
    status_code: int
    body: msgspec.Raw
    request_id: str | None = None


class _Usual(Struct):
    """The line of a row that was answered, as nearly all are."""

    custom_id: str
    response: _Reply
    error: None = None


_decode_usual = msgspec.json.Decoder(_Usual).decode


class LineReader:
    """Reads lines of results for one wire format. `url` is where the requests would have gone; `errors` is the vendor's
    table, `model` the job's own."""

    def __init__(self, provider: Provider, url: str, errors: Sequence[Rule], model: str) -> None:
        self._provider = provider
        self._url = url
        self._errors = errors
        self._model = model

    def chat_line(self, line: bytes, model: str) -> ResultLine:
        """Read a line of OpenAI's form."""
        try:
            usual = _decode_usual(line)
            if usual.response.status_code == 200 and usual.custom_id:
                body = bytes(usual.response.body)
                if body[:1] == b"{":
                    outcome = self._answer(200, body, model, usual.response.request_id)
                    return self._judged(usual.custom_id, outcome, ran=True)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        given = _object(line)
        if isinstance(given, ResultLine):
            return given
        custom_id = _id(given)
        error = given.get("error")
        response = given if "body" in given else parsed(given.get("response"))
        if isinstance(response, dict) and (response.get("body") or not error):
            return self._reply(custom_id, response, model)
        if not error:  # a reply may stand in the line itself, or in a member of another name
            outcome = self._answer(200, msgspec.json.encode(given), model, None)
            if isinstance(outcome, Completion):
                return self._judged(custom_id, outcome, ran=True)
        return self._unanswered(custom_id, error, given)

    def _reply(self, custom_id: str | None, response: Mapping[str, Any], model: str) -> ResultLine:
        status, body = response.get("status_code"), response.get("body")
        if isinstance(status, str) and status.isdecimal():
            status = int(status[:4])
        if isinstance(body, str):
            raw = body.encode("utf-8", "replace")
        elif "body" not in response and not response.keys() <= _ROUND_A_BODY:  # the reply itself stands there
            raw = msgspec.json.encode(response)
        else:
            raw = b"" if body is None else msgspec.json.encode(body)
        code = status if type(status) is int and 100 <= status <= 599 else 200
        outcome = self._answer(code, raw, model, word_or_none(response.get("request_id")))
        return self._judged(custom_id, outcome, ran=code < 400)

    def _unanswered(self, custom_id: str | None, error: Any, given: Mapping[str, Any]) -> ResultLine:
        """Read a line that has a reason and no reply."""
        said = read_error(error if error else given)
        return self._judged(custom_id, self._failure(said, said.status or 0), ran=False)

    def message_line(self, line: bytes, model: str) -> ResultLine:
        """Read a line of Anthropic's form."""
        given = _object(line)
        if isinstance(given, ResultLine):
            return given
        custom_id, result = _id(given), given.get("result")
        result = result if isinstance(result, dict) else {}
        kind, message = str(result.get("type") or "").lower(), result.get("message")
        if kind in _SUCCEEDED or (not kind and isinstance(message, dict)):
            raw = msgspec.json.encode(message)
            return self._judged(custom_id, self._answer(200, raw, model, None), ran=True)
        if kind in ("expired", "canceled", "cancelled"):
            return ResultLine(custom_id, _never_ran(kind), again=True)
        error = result.get("error")
        if "response" in given:  # from a gateway in OpenAI's form
            return self.chat_line(line, model)
        said = read_error(error) if error else VendorError("a result without an answer or a reason")
        return self._judged(custom_id, self._failure(said, _STATUS_OF.get(said.type or said.code or "", 0)), ran=False)

    def _answer(self, status: int, body: bytes, model: str, request_id: str | None) -> Completion | Failure:
        headers = {} if request_id is None else {"x-request-id": request_id}
        request = Request(self._url, b"", {}, model=model or self._model)
        return self._provider.read_response(request, Response(status, headers, body))

    def _failure(self, said: VendorError, status: int) -> Failure:
        """Return what an error means that came without a status of its own."""
        words = {_NO_LETTERS.sub("", word.lower()) for word in (said.code, said.type) if word}
        for ended, name in ((_EXPIRED, "expired"), (_CANCELLED, "cancelled")):
            if not ended.isdisjoint(words):
                return structs.replace(_never_ran(name), message=said.message or _never_ran(name).message)
        rule = find_rule(self._errors, status, said)
        return Failure(
            rule.kind,
            rule.verdict,
            said.message or said.code or "an error without words",
            code=said.code or said.type,
            throttle=rule.throttle,
            setting=rule.setting,
        )

    def _judged(self, custom_id: str | None, outcome: Completion | Failure, *, ran: bool) -> ResultLine:
        """Return a line with what holds for all of them: an error is not billed, one row tells nothing of
        key and model, and what never ran is sent again."""
        outcome = structs.replace(outcome, service_tier=BATCH)  # which decides on the price
        if isinstance(outcome, Completion):
            return ResultLine(custom_id, outcome)
        if not ran:
            outcome = structs.replace(outcome, maybe_billed=False, usage=None)
        if outcome.code in ("batch_expired", "batch_cancelled"):
            return ResultLine(custom_id, outcome, again=True)
        if outcome.kind in _NOT_BY_A_ROW and outcome.verdict is Verdict.STOP:
            return ResultLine(custom_id, structs.replace(outcome, verdict=Verdict.RETRY), again=True)
        return ResultLine(custom_id, outcome)


def _never_ran(word: str) -> Failure:
    expired = word == "expired"
    return Failure(
        FailureKind.TIMEOUT if expired else FailureKind.SERVER_ERROR,
        Verdict.RETRY,
        f"the batch {'expired' if expired else 'was cancelled'} before this row was asked",
        code="batch_expired" if expired else "batch_cancelled",
    )


def _object(line: bytes) -> Mapping[str, Any] | ResultLine:
    """Return a line's object, or what is to be said of a line that is none."""
    try:
        value = decode_json(line.removeprefix(_BOM).strip())
    except UnreadableError as error:
        return _unreadable(None, f"a line of results is {error}", line)
    return value if isinstance(value, dict) else _unreadable(None, "a line of results is no object", line)


def _id(given: Mapping[str, Any]) -> str | None:
    """Return a line's id, under the names that gateways give it, or with the request that a line repeats."""
    value = next((given[name] for name in _IDS if name in given), None)
    if value is None and isinstance(given.get("request"), dict):
        return _id({name: value for name, value in given["request"].items() if name != "request"})
    return value if isinstance(value, str) and value else str(value) if type(value) is int else None


def _unreadable(custom_id: str | None, reason: str, line: bytes) -> ResultLine:
    said = printable(line[:_SHOWN].decode("utf-8", "replace"))
    return ResultLine(custom_id, Failure(FailureKind.UNREADABLE, Verdict.RETRY, f"{reason}: {said}", maybe_billed=True))
