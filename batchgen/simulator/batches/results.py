"""The result files of a batch: lines of each form, with the oddities of rows and of files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from random import Random
from typing import Any, BinaryIO

import msgspec
from msgspec import Raw

from batchgen.simulator.batches.rows import AnsweredRow, decoded

_encode = msgspec.json.encode
_BOM = b"\xef\xbb\xbf"
_SHUFFLED = 500  # lines that change places among each other, so that memory stays flat
_SEPARATORS = "\u2028\u2029\x85"
_NOT_RUN = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "cancelled": ("batch_cancelled", "This request was not executed: the batch was cancelled."),
}


class ResultFile:
    """A file of lines, with what is odd about the file as a whole. It comes into being with its first line."""

    def __init__(self, path: Path, odd: Collection[str], seed: int) -> None:
        self.path = path
        self.exists = False
        self._odd = odd
        self._random = Random(seed)
        self._waiting: list[bytes] = []
        self._file: BinaryIO | None = None
        self._newline = b"\r\n" if "crlf" in odd else b"\n"
        self._begun = False

    def add(self, line: bytes) -> None:
        """Add a line, which is given without its newline."""
        self.exists = True
        self._waiting.append(line)
        if len(self._waiting) >= _SHUFFLED:
            self._write()

    def touch(self) -> None:
        """Let the file exist, also without a line."""
        self.exists = True

    def close(self) -> None:
        """Write what is left. A file without lines exists only if it was touched."""
        if self.exists:
            self._write()
        if self._file is not None:
            if "one_array" in self._odd and self._begun:
                self._file.write(b"]]")
            if "no_final_newline" not in self._odd and self._begun:
                self._file.write(self._newline)
            self._file.close()

    def _write(self) -> None:
        if self._file is None:
            self._file = self.path.open("wb")
        if "shuffled" in self._odd:
            self._random.shuffle(self._waiting)
        for line in self._waiting:
            first = b"[[" if "one_array" in self._odd else _BOM * ("bom" in self._odd)
            between = b"," if "one_array" in self._odd else self._newline
            self._file.write(between if self._begun else first)
            if "blank_lines" in self._odd and self._random.random() < 0.5:
                self._file.write(self._newline)
            self._file.write(line)
            self._begun = True
        self._waiting.clear()


def row_line(row_id: str, custom_id: str, row: AnsweredRow, odd: Collection[str]) -> bytes:
    """Return the line of a row that was executed, in OpenAI's form."""
    if row.status != 200 and "row_error_text" in odd:
        return _encode({"id": row_id, "custom_id": custom_id, "error": decoded(row.body)["error"]["message"]})
    if row.status != 200 and "row_error_bare" in odd:
        error = decoded(row.body)["error"]
        bare = {"type": error["type"] or "server_error", "message": error["message"]}
        return _encode({"id": row_id, "custom_id": custom_id, "error": bare})
    body: Any = Raw(row.body)
    if row.status == 200 and "no_role" in odd:
        body = decoded(row.body)
        for choice in body["choices"]:
            del choice["message"]["role"]
    elif row.status != 200 and "error_code_name" in odd:
        body = decoded(row.body)
        error = body["error"]
        body["error"] = {"error_code": error["code"], "error_message": error["message"], "type": error["type"]}
    if "body_string" in odd:
        body = _encode(body).decode()
    shown = row.request_id + _SEPARATORS if "line_separators" in odd else row.request_id
    response = {"status_code": row.status, "request_id": shown, "body": body}
    return _encode({"id": row_id, "custom_id": custom_id, "response": response, "error": None})


def unfinished_line(row_id: str, custom_id: str, end: str, odd: Collection[str]) -> bytes:
    """Return the line of a row that was not executed, in OpenAI's form."""
    code, message = _NOT_RUN[end]
    error = {"code": code, "message": message}
    if "error_code_name" in odd:
        error = {"error_code": code, "error_message": message}
    return _encode({"id": row_id, "custom_id": custom_id, "response": None, "error": error})


def message_line(custom_id: str, row: AnsweredRow, odd: Collection[str]) -> bytes:
    """Return the line of a row that was executed, in Anthropic's form."""
    if row.status != 200:
        error = decoded(row.body)
        return _encode({"custom_id": custom_id, "result": {"type": "errored", "error": error}})
    message: Any = Raw(row.body)
    if odd and {"no_role", "line_separators"} & {*odd}:
        message = decoded(row.body)
        if "no_role" in odd:
            del message["role"]
        if "line_separators" in odd:
            message["id"] += _SEPARATORS
    return _encode({"custom_id": custom_id, "result": {"type": "succeeded", "message": message}})


def unfinished_message_line(custom_id: str, end: str) -> bytes:
    """Return the line of a row that was not executed, in Anthropic's form."""
    return _encode({"custom_id": custom_id, "result": {"type": "canceled" if end == "cancelled" else "expired"}})
