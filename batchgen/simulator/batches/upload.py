"""Bodies of requests that are written to disk while they arrive, so that their size does not matter."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

_HEAD_CAP = 16 * 1024
_FIELD_CAP = 64 * 1024
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_NAME = re.compile(rb'[ ;]name="([^"]*)"', re.IGNORECASE)
_FILE_NAME = re.compile(rb'filename="([^"]*)"', re.IGNORECASE)


class UploadError(Exception):
    """A body that is not a form of the kind that is expected."""


class CutError(Exception):
    """The connection is to be reset in the middle of the body."""


class BodySink(Protocol):
    """Takes a body in pieces; `abort` forgets it."""

    def write(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def abort(self) -> None: ...


class BodyFile:
    """A body as it is, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = path.open("wb")

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self._file.write(data)

    def end(self) -> None:
        """The body is complete."""
        self._file.close()

    def abort(self) -> None:
        """Forget the body."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class FormFile:
    """A multipart form: `fields`, and the file of the field `file`, which is written to `path`.

    `cut_at` bytes of the body the connection is cut. A form that is none sets `wrong`; the rest of it is passed over,
    so that the client can read why.
    """

    def __init__(self, content_type: str, path: Path, cut_at: float | None = None) -> None:
        self.path = path
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self.size = 0
        self.wrong = ""
        self._cut_at = cut_at
        self._seen = 0
        self._file: BinaryIO | None = None
        self._buffer = bytearray(b"\r\n")
        self._field: tuple[str, bytearray] | None = None
        self._read: Callable[[], bool] = self._preamble
        boundary = _BOUNDARY.search(content_type)
        if not content_type.lower().startswith("multipart/form-data") or boundary is None:
            self.wrong = "The body must be multipart/form-data."
        else:
            self._mark = b"\r\n--" + boundary[1].encode("latin-1")

    def write(self, data: bytes) -> None:
        """Add bytes. Raises CutError where the connection is to be cut."""
        self._seen += len(data)
        if self._cut_at is not None and self._seen >= self._cut_at:
            raise CutError
        if self.wrong:
            return
        self._buffer += data
        try:
            while self._read():
                pass
        except UploadError as error:
            self.wrong = str(error)

    def end(self) -> None:
        """The body is complete."""
        if self._file is not None:
            self._file.close()
        if not self.wrong and self._read != self._epilogue:
            self.wrong = "The form is cut: its last boundary is missing."

    def abort(self) -> None:
        """Forget the body."""
        if self._file is not None:
            self._file.close()
        self.path.unlink(missing_ok=True)

    def _preamble(self) -> bool:
        place = self._buffer.find(self._mark)
        if place < 0:
            return False
        del self._buffer[: place + len(self._mark)]
        self._read = self._after_mark
        return True

    def _after_mark(self) -> bool:
        """Two dashes behind a boundary end the form; else a part begins."""
        if len(self._buffer) < 2:
            return False
        self._read = self._epilogue if self._buffer.startswith(b"--") else self._head
        return True

    def _epilogue(self) -> bool:
        self._buffer.clear()
        return False

    def _head(self) -> bool:
        place = self._buffer.find(b"\r\n\r\n")
        if place < 0:
            if len(self._buffer) > _HEAD_CAP:
                raise UploadError("The head of a part is too large.")
            return False
        head = bytes(self._buffer[:place])
        del self._buffer[: place + 4]
        name = _NAME.search(head)
        if name is None:
            raise UploadError("A part of the form has no name.")
        file_name = _FILE_NAME.search(head)
        if name[1] == b"file":
            self.file_name = file_name[1].decode("utf-8", "replace") if file_name else ""
            self._file = self.path.open("wb")
            self._field = None
        else:
            self._field = (name[1].decode("utf-8", "replace"), bytearray())
        self._read = self._content
        return True

    def _content(self) -> bool:
        place = self._buffer.find(self._mark)
        size = place if place >= 0 else max(0, len(self._buffer) - len(self._mark) + 1)
        self._take(memoryview(self._buffer)[:size])
        if place < 0:
            del self._buffer[:size]
            return False
        del self._buffer[: size + len(self._mark)]
        if self._field is not None:
            self.fields[self._field[0]] = self._field[1].decode("utf-8", "replace")
        self._read = self._after_mark
        return True

    def _take(self, content: memoryview) -> None:
        with content:
            if self._field is not None:
                self._field[1].extend(content)
                if len(self._field[1]) > _FIELD_CAP:
                    raise UploadError("A field of the form is too large.")
            elif self._file is not None:
                self.size += len(content)
                self._file.write(content)
