"""The body of a reply → its JSON documents, however a server or a gateway has packed them."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from typing import Any

from batchgen.providers.sse import Frame, is_stream, read_frames, read_lines
from batchgen.providers.wire import UnreadableError, decode_json
from batchgen.text.literal import python_literal
from batchgen.values import Response

_WRAPPERS = ("data", "result", "response", "body")
_OF_JSON = ("{", "[", '"')
_PACKED = (b"\x1f\x8b\x08", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")  # gzip, and what `deflate` means
_MOST_PACKINGS = 2  # a gateway has compressed what was compressed
_LARGEST = 32 * 1024 * 1024  # bytes of a body that turns out to be compressed
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_COMMENTS = re.compile(rb"(?:\s*:[^\n]*\n)+\s*(?=\{)")  # keep-alives in front of a reply that is no stream


def plain_body(response: Response) -> bytes:
    """Return a body as UTF-8: unpacked where no header said that it is compressed, and converted from the charset that
    its content type names where it is not UTF-8."""
    body = response.body
    for _ in range(_MOST_PACKINGS):
        if not body.startswith(_PACKED):
            break
        try:
            body = zlib.decompressobj(32 + zlib.MAX_WBITS).decompress(body, _LARGEST)
        except zlib.error:
            return body
    charset: str = json.detect_encoding(body)
    if charset.startswith("utf-8"):
        try:
            body.decode()
        except UnicodeDecodeError:
            named = _CHARSET.search(response.headers.get("content-type", ""))
            charset = named[1] if named else charset
        else:
            return body
    try:
        return body.decode(charset, "replace").encode()
    except LookupError:
        return body


def read_documents(body: bytes) -> tuple[Sequence[Frame], bool]:
    """Return the documents of a body, and whether they are a stream: one, those of its list or those of its lines; none
    for a body of blanks only, as a server sends that has hung up on its queue. Raise UnreadableError for no JSON."""
    comments = _COMMENTS.match(body)
    if comments is not None:
        body = body[comments.end() :]
    if is_stream(body):
        return read_frames(body), True
    if not body.strip():
        return [], False
    try:
        document = decode_json(body)
    except UnreadableError as unreadable:
        frames = read_lines(body)
        if frames is None:
            reply = _find_reply(body)
            if reply is None:
                raise unreadable
            frames = [Frame(reply)]
        return frames, len(frames) > 1
    if isinstance(document, list) and document and all(isinstance(item, dict) for item in document):
        return [Frame(item) for item in document], len(document) > 1
    return [Frame(document)], False


def unwrapped(document: Any) -> Any:
    """Return the reply that a gateway has put whole into a member of its own reply, as an object or as JSON text."""
    document = parsed(document)
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    if not isinstance(document, dict) or "choices" in document:
        return document
    members = (parsed(document.get(name)) for name in _WRAPPERS)
    return next((one for one in members if isinstance(one, dict) and one.get("choices")), document)


def parsed(value: Any) -> Any:
    """Return the JSON object or list that a text holds, however often it was quoted; anything else as it is."""
    while isinstance(value, str) and value.lstrip()[:1] in _OF_JSON:
        try:
            inner = decode_json(value.encode("utf-8", "replace"))
        except UnreadableError:
            return value
        if not isinstance(inner, dict | list | str):
            return value
        value = inner
    return value


def _find_reply(body: bytes) -> dict[str, Any] | None:
    """Return a whole answer that stands in other text: behind a prefix against scripts, before a NUL or a second
    document."""
    text = body.decode("utf-8", "replace")
    begin = text.find("{")
    if '"' in text[: max(0, begin)]:  # the beginning of the reply itself is damaged
        return None
    try:
        _, end = json.JSONDecoder(strict=False).raw_decode(text, begin) if begin >= 0 else (None, 0)
        reply = decode_json(text[begin:end].encode()) if end else None
    except (ValueError, RecursionError):
        reply = python_literal(text[begin:]) if begin >= 0 else None
    return reply if isinstance(reply, dict) and (reply.get("choices") or reply.get("output")) else None
