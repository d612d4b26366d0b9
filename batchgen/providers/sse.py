"""Server-sent events of both dialects, read by lines.

DashScope frames are `id:`, `event:result|error`, `:HTTP_STATUS/200`, `data:{json}`; chat completions send only
`data: {json}` and end with `data: [DONE]`. Two rules differ from the SSE standard, because the servers do:

- every `data:` line is one JSON document, and those up to the next blank line are joined only where the first is none
  (some gateways drop the blank line between frames: https://github.com/dashscope/dashscope-sdk-python);
- `:HTTP_STATUS/429` is formally a comment, but it is the only place where the status of a frame stands.

Everything else (`id:`, `retry:`, comments, keep-alives, unknown words) is a heartbeat.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, overload

from msgspec import Struct

from batchgen.providers.wire import UnreadableError, decode_json

_BOM = b"\xef\xbb\xbf"
_DONE = b"[DONE]"
_LARGE_BYTES = 1024 * 1024  # of a stream whose frames are not kept decoded
_LOOKS_LIKE_STREAM = re.compile(rb"(?:data|event|id|retry|error)\s*:|:|HTTP_STATUS/")
_STATUS = re.compile(rb":?\s*(?:HTTP_STATUS/|status:\s*)(\d{3})(?!\d)")


class Frame(Struct, frozen=True, gc=False):
    """One JSON document of a stream (an error frame's may be plain text). `failed`: it came as `event:error` or with a
    status of 400 and more; `status`: the one that the frame states, if any. `broken`: why there is no document here,
    and nothing that can be read behind it. `late`: it came after `[DONE]`."""

    document: Any
    failed: bool = False
    status: int | None = None
    broken: str = ""
    late: bool = False


def is_stream(body: bytes) -> bool:
    """Whether `body` starts like an event stream, whatever its content type says."""
    return _LOOKS_LIKE_STREAM.match(body.removeprefix(_BOM).lstrip()) is not None


class _LargeStream(Sequence[Frame]):
    """The frames of a large stream, decoded anew whenever they are asked for: all at once take ten times its bytes."""

    def __init__(self, places: list[tuple[bytes, bool, int | None, bool]]) -> None:
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Frame: ...
    @overload
    def __getitem__(self, place: slice) -> _LargeStream: ...
    def __getitem__(self, place: int | slice) -> Frame | _LargeStream:
        if isinstance(place, slice):
            return _LargeStream(self._places[place])
        return _frame(*self._places[place])


def read_frames(body: bytes) -> Sequence[Frame]:
    """Return the documents of an event stream, in order; where it was cut or is corrupt, a broken frame is the last.

    Cut means: the last line has no end and is no complete document. Whether the answer is complete is for the reader
    of the documents to say (`finish_reason`); `[DONE]` proves nothing, a failing vLLM sends it too.
    """
    frames: list[Frame] = []
    places: list[tuple[bytes, bool, int | None, bool]] = []
    large = len(body) > _LARGE_BYTES
    failed, status, late = False, None, False
    line = b""
    open_lines: list[bytes] = []  # of a document in several lines

    def add(payload: bytes, *, may_go_on: bool) -> bool:
        frame = _frame(payload, failed, status, late)
        if frame.broken and may_go_on:
            return False
        if large:
            places.append((payload, failed, status, late))
            frames[:] = [frame]
        else:
            frames.append(frame)
        return True

    for line in map(bytes.lstrip, body.removeprefix(_BOM).splitlines()):
        if open_lines and line.startswith(b"data:"):
            open_lines.append(line[5:])
        elif open_lines and not line:
            add(b"\n".join(open_lines), may_go_on=False)
            open_lines = []
            if frames[-1].broken:
                break
        elif line.startswith((b"data:", b"error:")):  # the second: older servers of llama.cpp
            failed = failed or line.startswith(b"error:")
            payload = line.partition(b":")[2].strip()
            if payload.startswith(b"data:"):  # a gateway's frame in a gateway's frame
                payload = payload[5:].strip()
            if payload[:6].upper() == _DONE:
                late = True
            elif payload.startswith((b"{", b"[", b'"{')) or (failed and payload):
                if not add(payload, may_go_on=True):
                    open_lines = [payload]
                failed, status = False, None
        elif line.startswith(b"event:"):
            failed = line[6:].strip() == b"error"
        elif line.startswith(b"{"):  # an error without the form of a frame
            add(line, may_go_on=True)
        elif found := _STATUS.match(line):
            status = int(found[1])
            failed = failed or status >= 400
    told = bool(frames) and (frames[-1].failed or bool(frames[-1].broken))  # an error needs no tidy end
    if open_lines or not (body.endswith((b"\n", b"\r")) or told or _is_whole(line)):
        failed = False
        add(b"\n".join(open_lines), may_go_on=False)
    return _LargeStream(places) if large else frames


def plain_words(body: bytes) -> str:
    """Return the texts in an event stream that are no documents: what a server or a proxy says in plain words."""
    said: list[bytes] = []
    if not is_stream(body):
        return ""
    for line in map(bytes.strip, body.removeprefix(_BOM).splitlines()):
        words = line.removeprefix(b"data:").lstrip()
        of_form = line.startswith((b":", b"event:", b"id:", b"retry:")) or _STATUS.match(line)
        if not of_form and not words.startswith((b"{", b"[", b'"')):
            said.append(words)
    return b" ".join(filter(None, said)).decode("utf-8", "replace")


def read_lines(body: bytes) -> list[Frame] | None:
    """Return the documents of a body with one on each line, as some servers stream; None for other bodies."""
    lines = [line for line in body.removeprefix(_BOM).splitlines() if line.strip()]
    if len(lines) < 2 or not all(line.startswith(b"{") for line in lines):
        return None
    frames = [_frame(line, False, None, False) for line in lines]
    return frames if not frames[0].broken else None


def _is_whole(line: bytes) -> bool:
    """Whether a last line without its end is complete all the same (a document in it has been decoded by now)."""
    payload = line[5:].strip() if line.startswith(b"data:") else line
    return line.startswith(b":") or payload.startswith((b"{", b"["))


def _frame(payload: bytes, failed: bool, status: int | None, late: bool) -> Frame:
    """Return a frame. Halves of a character stay as they are: its other half may come with the next frame."""
    try:
        return Frame(decode_json(payload, whole=False), failed, status, late=late)
    except UnreadableError:
        if failed:  # an error frame is believed whatever its text
            return Frame(payload.decode("utf-8", "replace"), failed, status)
        return Frame(None, broken="an event stream that is cut or broken")
