"""Files of results, line by line: split at newlines alone, as other line ends stand inside of texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import structs

from batchgen.engine.batches.tools import Tools
from batchgen.errors import InputError
from batchgen.providers.batch_api import BatchStatus, ResultLine
from batchgen.providers.batch_replies import phase_of
from batchgen.source.file import File, Format, open_bytes
from batchgen.source.jsonl import documents
from batchgen.storage.batch_table import BatchRecord
from batchgen.values import Failure

_BOM, _GZIP = b"\xef\xbb\xbf", b"\x1f\x8b\x08"
_SHOWN = 200  # bytes of a file that cannot be read


def result_lines(tools: Tools, record: BatchRecord, paths: Sequence[Path]) -> Iterator[ResultLine]:
    """Yield the lines of all files of results of a batch."""
    for path in paths:
        for text in texts(path):
            yield tools.api.read_line(text, record.model)


def texts(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file of results; of one that is a JSON array its members, also of one that came packed by
    gzip or in UTF-16.

    Of an array or a packed file that cannot be read to its end, only the beginning is returned, which nobody can read:
    some of it can look like results, and the rows of the rest would be paid again. Without any the run stops, and the
    file is kept.
    """
    file = _described(path)
    if file.compression is not None and not _is_whole(_lines(file)):
        yield path.read_bytes()[:_SHOWN]
        return
    first = True
    for line in _lines(file):
        text = line.strip().removeprefix(_BOM)
        if text and first and text.startswith(b"["):
            yield from (member for _, member in documents(file)) if _is_whole(documents(file)) else [text]
            return
        if text:
            yield text
            first = False


def _described(path: Path) -> File:
    """Return a file as it is to be read, by its first bytes."""
    facts = path.stat()
    file = File(str(path), path.name, Format.JSONL, None, facts.st_size, facts.st_mtime_ns)
    with path.open("rb") as stream:
        head = stream.read(4)
    if head.startswith(_GZIP):
        file = structs.replace(file, compression="gzip")
        try:
            with open_bytes(file) as unpacked:
                head = unpacked.read(4)
        except InputError:  # which is found again when all of it is read
            return file
    encoding: str = json.detect_encoding(head)
    return file if encoding.startswith("utf-8") else structs.replace(file, encoding=encoding)


def _lines(file: File) -> Iterator[bytes]:
    if file.compression is None and file.encoding is None:
        with open(file.path, "rb", buffering=1024 * 1024) as plain:
            yield from plain
        return
    with open_bytes(file) as stream:
        yield from stream


def _is_whole(parts: Iterator[object]) -> bool:
    """Whether a file can be read to its end."""
    try:
        for _ in parts:
            pass
    except InputError:
        return False
    return True


def tells_of_rows(tools: Tools, record: BatchRecord, status: BatchStatus, paths: Sequence[Path]) -> bool:
    """Whether the files of a batch that has ended have to be read row by row.

    Not those of one that was refused: some vendors give such a batch a file of errors without a line, or with the lines
    that could not be read. No line names a row then, and there is a reason for the whole or no line at all.
    """
    if status.completed or phase_of(status.word, results=False, reasons=bool(status.errors)) != "refused":
        return True
    lines = 0
    for line in result_lines(tools, record, paths):
        if line.custom_id is not None and tools.line_of(line.custom_id, record.number) is not None:
            return True
        lines += 1
    return bool(lines) and not status.errors


def common_refusal(lines: Iterator[ResultLine], least: int = 3) -> Failure | None:
    """Return the first failure where all lines, `least` or more, say that the job's settings are wrong."""
    first, number = None, 0
    for line in lines:
        if not isinstance(line.outcome, Failure) or not line.outcome.setting:
            return None
        first, number = first or line.outcome, number + 1
    return first if number >= least else None
