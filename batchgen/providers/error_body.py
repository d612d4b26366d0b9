"""The shapes in which servers say no → one value.

| shape | who |
|---|---|
| `{"code", "message", "request_id"}`, also `msg` for `message` | DashScope native |
| `{"error": {"message", "type", "param", "code"}}`, `code` any | OpenAI, DashScope compatible, vLLM, LiteLLM |
| `{"error": "text"}` | vLLM with a wrong key |
| `{"object": "error", "message", "type", "code"}` | very old vLLM |
| `{"detail": "text" | [{"loc", "msg"}] | {...}}` | FastAPI servers (`transformers serve`, proxies) |
| plain text, HTML, nothing | proxies |
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from batchgen.providers.wire import printable, word_or_none

_HTML = re.compile(rb"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)[^>]*>(.*?)</\1", re.IGNORECASE | re.DOTALL)
_NOT_CODES = (None, "", 0, 200, "0", "200")  # what a success may carry in `code`


class VendorError(Struct, frozen=True, gc=False):
    """What a server said about an error, in its own words. `status` is a status the body itself names."""

    message: str = ""
    code: str | None = None
    type: str | None = None
    param: str | None = None
    status: int | None = None


def find_error(document: Any) -> VendorError | None:
    """Return the error that a document states beyond doubt, None otherwise. A 200 can carry one."""
    if not isinstance(document, dict):
        return None
    error = document.get("error")
    if error:
        return _error_member(error)
    status = document.get("status_code")
    stated = document.get("code") not in _NOT_CODES or (type(status) is int and status >= 400)
    if stated or document.get("object") == "error":
        return _flat(document)
    return None


def read_error(document: Any) -> VendorError:
    """Return what a document says that is known to be an error's (a status of 4xx or 5xx, an error frame)."""
    if isinstance(document, list) and document:
        document = document[0]  # seen from gateways: the error object wrapped in a list
    stated = find_error(document)
    if stated is not None:
        return stated
    if isinstance(document, str):
        return VendorError(printable(document))
    if not isinstance(document, dict):
        return VendorError()
    detail = document.get("detail")
    if isinstance(detail, dict):
        return read_error(detail)
    if isinstance(detail, list):
        return VendorError("; ".join(filter(None, map(_detail_text, detail))))
    if isinstance(detail, str):
        return VendorError(printable(detail))
    return _flat(document)


def describe(body: bytes) -> str:
    """Return a short text for a body that is no JSON: a page's title, or the text itself."""
    text = body[:16384].decode("utf-8", "replace")
    if not _HTML.match(body):
        return printable(text)
    title = _TITLE.search(text)
    return printable(f"HTML page: {title[2].strip()}" if title else "HTML page")


def _error_member(error: Any) -> VendorError:
    if isinstance(error, dict):
        return _flat(error)
    if isinstance(error, list):
        return read_error(error[0])
    return VendorError(printable(str(error)))


def _flat(fields: dict[str, Any]) -> VendorError:
    code, status = fields.get("code"), fields.get("status_code")
    number = code if type(code) is int else int(code) if isinstance(code, str) and re.fullmatch(r"\d{3}", code) else 0
    if type(status) is not int:
        status = number
    return VendorError(
        message=printable(_text(fields.get("message")) or _text(fields.get("msg"))),
        code=None if number else word_or_none(code),
        type=word_or_none(fields.get("type")),
        param=word_or_none(fields.get("param")),
        status=status if 400 <= status <= 599 else None,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _detail_text(item: Any) -> str:
    """One entry of FastAPI's validation errors as `body.messages.0: Field required`."""
    if not isinstance(item, dict):
        return printable(str(item))
    place = item.get("loc")
    where = ".".join(map(str, place)) if isinstance(place, list) else ""
    return printable(f"{where}: {_text(item.get('msg'))}".removeprefix(": "))
