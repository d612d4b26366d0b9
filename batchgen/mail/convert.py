"""Mails as they come → a table of prompts' rows: `batchgen mail PATH OUT.parquet`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Struct

from batchgen.errors import InputError, UsageError
from batchgen.files.table import table_file
from batchgen.mail.decode import Mail, decode_mail
from batchgen.mail.files import raw_mails, size_of

MAIL_COLUMNS = pa.schema(
    [
        ("source", pa.string()),
        ("message_id", pa.string()),
        ("from", pa.string()),
        ("to", pa.string()),
        ("cc", pa.string()),
        ("date", pa.timestamp("us", tz="UTC")),
        ("date_text", pa.string()),
        ("subject", pa.string()),
        ("body", pa.string()),
        ("attachments", pa.list_(pa.string())),
        ("error", pa.string()),
    ]
)
"""The columns of the table. `source` is unique (file, and byte offset in an mbox): it can serve as `input.id`, which
`message_id` cannot, since mailboxes hold copies."""

_NEEDED = {"selectolax": "selectolax", "charset_normalizer": "charset-normalizer"}


class MailSummary(Struct, frozen=True, kw_only=True):
    """What was converted: `mails` rows, `with_error` of them with something missing or damaged."""

    mails: int
    with_error: int
    attachments: int
    output: str


def read_mails(path: Path | str, moved: Callable[[int], None] | None = None) -> Iterator[Mail]:
    """Yield each mail under a path: a .eml or mbox file, a Maildir, a directory of these; one mail is in memory.

    `moved` is told how many bytes of the input have been read. Raises `InputError` when there is nothing to read, and
    `UsageError` without the packages of the extra `mail`.
    """
    missing = [package for module, package in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(f"Reading mails needs {' and '.join(missing)}: pip install {' '.join(missing)}.")
    for raw in raw_mails(Path(path)):
        if raw.problem is not None:
            yield Mail(raw.source, error=raw.problem)
        else:
            yield decode_mail(raw.body, raw.source, cut=raw.cut)
        if moved is not None:
            moved(raw.read_bytes)


def convert_mails(path: Path | str, output: Path | str, moved: Callable[[int], None] | None = None) -> MailSummary:
    """Write the mails under a path to a Parquet file that appears whole or not at all.

    Raises `InputError` and `UsageError` as `read_mails`, and `OutputError` when the file cannot be written.
    """
    mails = with_error = attachments = 0
    with table_file(Path(output), MAIL_COLUMNS) as add:
        for mail in read_mails(path, moved):
            add(_row(mail))
            mails += 1
            with_error += mail.error is not None
            attachments += len(mail.attachments)
        if not mails:
            raise InputError(f"{path} holds no mail: the mailbox is empty.")
    return MailSummary(mails=mails, with_error=with_error, attachments=attachments, output=str(output))


def input_size(path: Path | str) -> int | None:
    """Return the bytes `moved` will count up to, where they are known beforehand."""
    return size_of(Path(path))


def summary_text(summary: MailSummary) -> str:
    """Return what was converted, for people."""
    lines = [f"{summary.mails:,} mails, {summary.attachments:,} attachments named, written to {summary.output}"]
    if summary.with_error:
        lines.append(f"{summary.with_error:,} of them are not whole: the column `error` says why.")
    return "\n".join(lines)


def _row(mail: Mail) -> dict[str, Any]:
    row = msgspec.structs.asdict(mail)
    row["from"] = row.pop("from_")
    return row
