"""The shapes in which servers say no → one value.

| shape | who |
|---|---|
| `{"code", "message", "request_id"}`, also `msg` for `message` | DashScope native |
| `{"error": {"message", "type", "param", "code"}}`, `code` any | OpenAI, DashScope compatible, vLLM, LiteLLM |
| `{"error": "text"}` | vLLM with a wrong key, LM Studio, xAI |
| `{"object": "error", "message", "type", "code"}` | very old vLLM, Mistral |
| `{"detail": "text" | [{"loc", "msg"}] | {...}}` | FastAPI servers (`transformers serve`, proxies) |
| `{"base_resp": {"status_code", "status_msg"}}`, `{"error_code", "error_msg"}` | MiniMax, Baidu |
| `{"errors": [{"code", "message"}]}`, `{"fault": {"faultstring"}}` | Cloudflare, API gateways |
| plain text, HTML, nothing | proxies |

A gateway often hides the reason of the server behind it: as JSON text in its message, or in `metadata.raw`. It is dug
out and put behind the gateway's own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.providers.wire import MESSAGE_CAP, UnreadableError, decode_json, printable, word_or_none

_HTML = re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml|error|fault|[\w-]+:(?:fault|envelope))", re.IGNORECASE)
_TITLES = (("<title", "</title"), ("<h1", "</h1"))
_XML_WORDS = (("<code", "</code"), ("<message", "</message"), ("<faultstring", "</faultstring"))
_NOT_CODES = (None, "", 0, 200, "0", "200")  # what a success may carry in `code`
_SUCCESS_WORDS = frozenset({"", "success", "succeeded", "succeed", "ok", "okay", "none", "null", "no error", "0", "200",
                            "normal", "true", "false"})  # fmt: skip
_MESSAGES = ("message", "msg", "error_msg", "errmsg", "status_msg", "error_message", "errorMessage", "Message",
             "detail", "error_description", "faultstring", "reason", "title")  # fmt: skip
_CODES = ("code", "error_code", "errcode", "errorCode", "Code", "err_code", "__type")
_NESTED = ("error", "errors", "detail", "message", "error_message", "fault", "base_resp", "Response", "Error", "cause",
           "innererror", "header", "body")  # fmt: skip
_STATES_ERRORS = frozenset({"error", "errors", "base_resp", "status_code", "statusCode", "code", "error_code",
                            "errcode", "success", "Response"})  # fmt: skip
_HIDDEN = ("raw", "error", "body", "upstream_error", "provider_error", "original_error", "details", "upstream")
_FOR_MACHINES = ("details", "metadata", "innererror", "violations", "retry_after", "retryAfter", "retry_after_seconds",
                 "retry_after_ms")  # fmt: skip
_STATUSES = frozenset(map(str, (*HTTPStatus, 498, *range(520, 531))))
_EMBEDDED = 16_384
"""Most letters of a message in which a nested error is looked for."""

_DEEPEST = 4
"""So many times an error may be wrapped in another one."""


class VendorError(Struct, frozen=True, gc=False):
    """What a server said about an error, in its own words. `status` is a status the body itself names; `details` what
    it adds for machines, as text."""

    message: str = ""
    code: str | None = None
    type: str | None = None
    param: str | None = None
    status: int | None = None
    details: str = ""


def find_error(document: Any) -> VendorError | None:
    """Return the error that a document states beyond doubt, None otherwise. A 200 can carry one.

    An `error` that says nothing is none: gateways put empty ones, and words of success, beside an answer.
    """
    if not isinstance(document, dict) or (_STATES_ERRORS.isdisjoint(document) and document.get("object") != "error"):
        return None
    for name in ("error", "errors"):
        member = document.get(name)
        if member and _says_something(member):
            return _member(member, document)
    base = document.get("base_resp")
    if isinstance(base, dict) and _is_code(base.get("status_code")):
        return _flat({"code": base["status_code"]} | base, 0)
    response = document.get("Response")
    if isinstance(response, dict) and isinstance(response.get("Error"), dict):
        return _flat(response["Error"], 0)
    status = document.get("status_code", document.get("statusCode"))
    stated = any(_is_code(document.get(name)) for name in ("code", "error_code", "errcode")) or (
        type(status) is int and status >= 400
    )
    if stated or document.get("object") == "error" or document.get("success") is False:
        return _flat(document, 0)
    return None


def read_error(document: Any, depth: int = 0) -> VendorError:
    """Return what a document says that is known to be an error's (a status of 4xx or 5xx, an error frame)."""
    if isinstance(document, list) and document:
        document = document[0]  # seen from gateways: the error object wrapped in a list
    stated = find_error(document) if depth == 0 else None
    if stated is not None:
        return stated
    if isinstance(document, str):
        return _from_text(document, depth)
    if not isinstance(document, dict):
        return VendorError()
    return _flat(document, depth)


def stated_words(document: Any) -> VendorError | None:
    """Return what a document says that is no answer: in words, an error, though nothing in it says that it is one."""
    error = read_error(document)
    return error if error.message and not _is_success(error.message) else None


def describe(body: bytes) -> str:
    """Return a short text for a body that is no JSON: a page's title, the words of an error in XML, or the text
    itself."""
    text = body[:16384].decode("utf-8", "replace")
    if not _HTML.match(body):
        return printable(text)
    if "<html" not in text.lower():
        said = ": ".join(filter(None, (_between(text, *words) for words in _XML_WORDS)))
        if said:
            return printable(said)
    title = next(filter(None, (_between(text, *words) for words in _TITLES)), "")
    return printable(f"HTML page: {title}") if title else "HTML page"


def _between(text: str, opening: str, closing: str) -> str:
    """Return what stands between two marks, "" if they do not stand there."""
    lower = text.lower()
    begin = lower.find(opening)
    begin = lower.find(">", begin) + 1 if begin >= 0 else 0
    end = lower.find(closing, begin) if begin else -1
    return text[begin:end].strip() if end >= 0 else ""


def _member(error: Any, document: Mapping[str, Any]) -> VendorError:
    """Return an `error` member with what the document says beside it."""
    if error is True:
        return _flat({**document, "error": None}, 0)
    found = read_error(error, 1)
    code = word_or_none(document.get("code"))
    if found.code is None and code is not None and not _is_success(code) and not code.isdecimal():
        found = msgspec.structs.replace(found, code=code)
    if isinstance(error, str):  # a title, with the reason beside it
        beside = next((text for name in ("message", "msg", "detail") if (text := _plain(document.get(name)))), "")
        found = _with_reason(found, _from_text(beside, 1))
    beside = _details({name: value for name, value in document.items() if name.lower().startswith("retry")})
    return msgspec.structs.replace(found, details=f"{found.details} {beside}".strip()) if beside else found


def _flat(fields: Mapping[str, Any], depth: int) -> VendorError:
    """Return an error object: its own words, and those of an error that is wrapped in it."""
    if depth > _DEEPEST:
        return VendorError()
    code = next((fields[name] for name in _CODES if _is_code(fields.get(name))), None)
    status = fields.get("status_code", fields.get("statusCode"))
    number = code if type(code) is int else int(code) if isinstance(code, str) and re.fullmatch(r"\d{3}", code) else 0
    if type(status) is not int:
        stated = str(fields.get("status"))
        status = int(stated) if number == 0 and stated in _STATUSES else number
    outer = _from_text(next((text for name in _MESSAGES if (text := _plain(fields.get(name)))), ""), depth)
    own = VendorError(
        message=outer.message,
        code=_code_word(code, fields) or outer.code,
        type=word_or_none(fields.get("type")) or word_or_none(fields.get("status")) or outer.type,
        param=word_or_none(fields.get("param")) or outer.param,
        status=status if 400 <= status <= 599 else outer.status,
        details=_details(fields),
    )
    for inner in _wrapped(fields, depth):
        own = _with_reason(own, inner)
    return own


def _wrapped(fields: Mapping[str, Any], depth: int) -> Iterator[VendorError]:
    """Yield the errors inside of an error object."""
    metadata = fields.get("metadata")
    places = [fields.get(name) for name in _NESTED]
    if isinstance(metadata, dict):
        places += [metadata.get(name) for name in _HIDDEN]
    for place in places:
        if isinstance(place, list) and place:
            if any(isinstance(item, dict) and ("message" in item or "error" in item) for item in place[:1]):
                yield read_error(place[0], depth + 1)
            else:
                yield VendorError("; ".join(filter(None, map(_detail_text, place[:20]))))
        elif isinstance(place, dict):
            yield read_error(place, depth + 1)
        elif isinstance(place, str) and place is not fields.get("message"):
            yield _from_text(place, depth + 1)


def _from_text(text: str, depth: int) -> VendorError:
    """Return a text as an error; a JSON object in it is the error that a gateway has passed on."""
    begin = text.find("{", 0, _EMBEDDED) if depth <= _DEEPEST else -1
    if begin >= 0:
        inner = _embedded(text[begin:], depth)
        if inner is not None and inner.message:
            return _with_reason(VendorError(printable(text[:begin].rstrip(" -:[\n"))), inner)
    return VendorError(printable(text))


def _embedded(text: str, depth: int) -> VendorError | None:
    """Return the error in a text that begins with a JSON object, which may be cut or followed by more."""
    end = text.rfind("}", 0, _EMBEDDED)
    try:
        value = decode_json(text[: end + 1].encode("utf-8", "replace"))
    except UnreadableError:
        return None
    return read_error(value, depth + 1) if isinstance(value, dict) else None


def _with_reason(outer: VendorError, inner: VendorError) -> VendorError:
    """Return an error with the words of the one that was wrapped in it behind its own."""
    message = outer.message
    if inner.message and inner.message not in message:
        message = printable(f"{message}: {inner.message}") if message else inner.message
    hidden = (inner.code if outer.code else None, inner.type if outer.type else None, outer.details, inner.details)
    return VendorError(
        message=message,
        code=outer.code or inner.code,
        type=outer.type or inner.type,
        param=outer.param or inner.param,
        status=outer.status or inner.status,
        details=printable(" ".join(filter(None, hidden))),
    )


def _details(fields: Mapping[str, Any]) -> str:
    """Return what an error adds for machines: which quota, how long to wait, what was flagged."""
    found = {name: fields[name] for name in _FOR_MACHINES if fields.get(name)}
    return printable(msgspec.json.encode(found).decode()) if found else ""


def _code_word(code: Any, fields: Mapping[str, Any]) -> str | None:
    """Return a code that is a word; a number of the vendor's own only where there is no word for the kind of error."""
    text = "" if code is None else str(code)[:MESSAGE_CAP]
    if text.isdecimal() and (len(text) == 3 or fields.get("type")):
        return None
    return word_or_none(text)


def _is_code(value: Any) -> bool:
    """Whether a `code` states an error."""
    return value not in _NOT_CODES and isinstance(value, (int, float, str)) and not _is_success(value)


def _is_success(value: Any) -> bool:
    return str(value)[:20].strip().lower() in _SUCCESS_WORDS


def _says_something(error: Any) -> bool:
    """Whether an `error` member has any word or code in it that is not one of success."""
    if isinstance(error, dict):
        return any(map(_says_something, error.values()))
    if isinstance(error, list):
        return any(map(_says_something, error))
    return error is True or (isinstance(error, (int, float, str)) and not _is_success(error))


def _plain(value: Any) -> str:
    """Return a member that is a text, or a number; anything else is read elsewhere."""
    return value if isinstance(value, str) else str(value) if isinstance(value, (int, float)) else ""


def _detail_text(item: Any) -> str:
    """One entry of FastAPI's validation errors as `body.messages.0: Field required`."""
    if not isinstance(item, dict):
        return printable(_plain(item))
    place = item.get("loc")
    where = ".".join(map(str, place[:20])) if isinstance(place, list) else ""
    return printable(f"{where}: {_plain(item.get('msg')) or _plain(item.get('message'))}".removeprefix(": "))
