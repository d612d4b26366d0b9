"""The body of a long stream, merged so that it takes hardly more memory than the answer in it.

A stream repeats some 300 bytes with every token, and the whole text so far where its frames are cumulative: an answer
of half a megabyte can arrive as hundreds of megabytes. Frames that differ in nothing but their text are merged while
they arrive. Memory and size limit are then those of the answer. Short streams are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from batchgen.text.repeats import is_cumulative

TEXTS = frozenset({"content", "reasoning_content", "reasoning", "text", "arguments", "thinking", "refusal"})
"""Members of a message whose pieces may be joined."""

PASSING = frozenset({"id", "created", "usage", "obfuscation", "timings", "system_fingerprint", "request_id"})
"""Members that may differ between frames; the last one that is not empty is kept."""

PIECES_LOOKED_AT = 64
"""After so many pieces of a text it is decided whether they are increments or repeat the text so far."""

Path = tuple[str | int, ...]


class _Text:
    """One text of a message, in pieces."""

    __slots__ = ("_cumulative", "_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._cumulative: bool | None = None
        self.size = 0

    def add(self, piece: str) -> None:
        """Add a piece; where each piece repeats the text so far, only the last one is kept."""
        if not piece:
            return
        pieces = self._pieces
        if self._cumulative and piece.startswith(pieces[-1]):
            self.size += len(piece) - len(pieces[-1])
            pieces[-1] = piece
            return
        self._cumulative = False if self._cumulative else self._cumulative
        pieces.append(piece)
        self.size += len(piece)
        if self._cumulative is None and len(pieces) == PIECES_LOOKED_AT:
            self._cumulative = is_cumulative(pieces)
            if self._cumulative:
                del pieces[:-1]
                self.size = len(piece)

    def whole(self) -> str:
        """Return the text so far."""
        return self._pieces[-1] if self._cumulative or is_cumulative(self._pieces) else "".join(self._pieces)


class _Run:
    """Frames that differ only in their texts: the first frame, and the pieces of each text."""

    def __init__(self, document: dict[str, Any], shape: list[tuple[Path, Any]], texts: dict[Path, str]) -> None:
        self._document = document
        self._shape = shape
        self._texts = {path: _Text() for path in texts}
        self.add(document, texts)

    def takes(self, shape: list[tuple[Path, Any]], texts: dict[Path, str]) -> bool:
        """Whether another frame is of the same shape."""
        return shape == self._shape and texts.keys() == self._texts.keys()

    def add(self, document: dict[str, Any], texts: dict[Path, str]) -> None:
        """Take a frame of the same shape."""
        for name in PASSING:
            if document.get(name):
                self._document[name] = document[name]
        for path, piece in texts.items():
            self._texts[path].add(piece)

    @property
    def size(self) -> int:
        """About how many bytes are held."""
        return 64 * len(self._shape) + sum(text.size for text in self._texts.values())

    def line(self) -> bytes:
        """Return the run as one frame."""
        for path, text in self._texts.items():
            place: Any = self._document
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = text.whole()
        return b"data: " + msgspec.json.encode(self._document) + b"\n\n"


class StreamBody:
    """Takes the bytes of a stream as they arrive."""

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._tail: list[bytes] = []  # of a line that has not ended yet
        self._run: _Run | None = None

    @property
    def size(self) -> int:
        """About how many bytes are held."""
        held = self._kept_bytes + sum(map(len, self._tail))
        return held if self._run is None else held + self._run.size

    def add(self, data: bytes) -> None:
        """Add the next bytes."""
        begun, ended, rest = data.rpartition(b"\n")
        if not ended:
            self._tail.append(data)
            return
        lines = b"".join([*self._tail, begun])
        self._tail = [rest] if rest else []
        for line in lines.splitlines():
            self._add_line(line)

    def whole(self) -> bytes:
        """Return the stream, each run of merged frames as one frame and everything else as it came."""
        self._end_run()
        return b"".join([*self._kept, *self._tail])

    def _add_line(self, line: bytes) -> None:
        frame = _decoded(line)
        if frame is None:
            if not _is_idle(line):
                self._end_run()
                self._keep(line + b"\n")
            return
        shape: list[tuple[Path, Any]] = []
        texts: dict[Path, str] = {}
        for path, leaf in _leaves(frame, ()):
            if path[-1] in TEXTS and isinstance(leaf, str):
                texts[path] = leaf
            elif path[0] not in PASSING:
                shape.append((path, leaf))
        if self._run is not None and self._run.takes(shape, texts):
            self._run.add(frame, texts)
        else:
            self._end_run()
            self._run = _Run(frame, shape, texts)

    def _end_run(self) -> None:
        if self._run is not None:
            line = self._run.line()
            self._run = None
            self._keep(line)

    def _keep(self, line: bytes) -> None:
        self._kept.append(line)
        self._kept_bytes += len(line)


def _decoded(line: bytes) -> dict[str, Any] | None:
    """Return the frame of a line, None if it is not one that can be merged with others."""
    if not line.startswith(b"data:"):
        return None
    try:
        frame = msgspec.json.decode(line[5:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return frame if isinstance(frame, dict) and ("choices" in frame or "output" in frame) else None


def _is_idle(line: bytes) -> bool:
    """Whether a line between frames carries no information: blank, a number, a comment, a status of success."""
    return (
        not line.strip()
        or line.startswith((b"id:", b"event:result", b"retry:"))
        or (line.startswith(b":") and (b"HTTP_STATUS" not in line or b"HTTP_STATUS/200" in line))
    )


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for name, member in value.items():
            yield from _leaves(member, (*path, name))
    elif isinstance(value, list) and value:
        for index, member in enumerate(value):
            yield from _leaves(member, (*path, index))
    else:
        yield path, value
