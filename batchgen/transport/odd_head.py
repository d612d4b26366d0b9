"""Heads of replies that are unusual and still mean one thing, put into the form that every parser takes."""

from __future__ import annotations

import re

_END = re.compile(rb"\r?\n\r?\n")
_INFORMATIONAL = re.compile(rb"HTTP/1\.[01] 1\d\d")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_LENGTH = re.compile(rb"\r?\ncontent-length[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)


def usual_head(data: bytes) -> bytes | None:
    """Return the beginning of a reply with its odd head put right; None where there is nothing to put right.

    Equal lengths that come more than once are one length, and lines that begin with a blank go on with the header
    before them (https://www.rfc-editor.org/rfc/rfc9112.html, sections 6.3 and 5.2). Lengths that differ stay.
    """
    begin = 0
    while (end := _END.search(data, begin)) is not None and _INFORMATIONAL.match(data, begin):
        begin = end.end()
    if end is None:
        return None
    head = data[begin : end.start()]
    lengths = _LENGTH.findall(head := _FOLD.sub(b" ", head))
    stated = {value.strip() for length in lengths for value in length.split(b",")}
    if len(stated) == 1 and stated != {b""}:
        head = _LENGTH.sub(b"", head) + b"\r\ncontent-length: " + stated.pop()
    return None if head == data[begin : end.start()] else data[:begin] + head + b"\r\n\r\n" + data[end.end() :]
