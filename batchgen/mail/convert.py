"""Mails as they come → a table of prompts' rows: `batchgen mail PATH... OUT.parquet`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from msgspec import Struct, structs

from batchgen.errors import InputError, UsageError
from batchgen.extras import missing
from batchgen.files.table import table_file
from batchgen.mail.decode import DELETED, Mail, decode_mail
from batchgen.mail.files import LeftOut, raw_mails, size_of
from batchgen.mail.ids import Identities, Identity
from batchgen.mail.kept_files import KeptFiles
from batchgen.text.storable import storable

_LIST = pa.list_(pa.string())
MAIL_COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("message_id", pa.string()),
        ("from", pa.string()),
        ("reply_to", pa.string()),
        ("to", pa.string()),
        ("cc", pa.string()),
        ("bcc", pa.string()),
        ("date", pa.timestamp("us", tz="UTC")),
        ("date_text", pa.string()),
        ("subject", pa.string()),
        ("body", pa.string()),
        ("attachments", _LIST),
        ("not_read", _LIST),
        ("links", _LIST),
        ("in_reply_to", pa.string()),
        ("references", _LIST),
        ("thread", pa.string()),
        ("labels", _LIST),
        ("list_id", pa.string()),
        ("copy_of", pa.string()),
        ("notes", pa.string()),
        ("error", pa.string()),
    ]
)
"""The columns of the table. `id` is unique and stays the same in a later export, so that it can serve as `input.id`;
`source` is unique too, but changes where a mail moves."""

_NAMED = 10  # files left out that the summary names


class MailSummary(Struct, frozen=True, kw_only=True):
    """What was converted: `mails` rows, `with_error` of them with something missing or damaged.

    `not_read` counts what was not opened by its kind, `left_out` names the files that were passed over with the reason,
    `own_files` those that mail programs keep for themselves; `files` were kept beside the table. `copies` repeat
    another mail, `deleted` were marked so by their program, `with_notes` have something to tell in the column `notes`.
    """

    mails: int
    with_error: int
    with_notes: int
    attachments: int
    copies: int
    deleted: int
    not_read: dict[str, int]
    left_out: dict[str, str]
    own_files: int
    output: str
    files: int = 0


class ReadMail(Struct, frozen=True):
    """A mail with its identity."""

    mail: Mail
    identity: Identity


def read_mails(
    paths: Sequence[Path | str],
    tell: Callable[[LeftOut], None],
    moved: Callable[[int], None] | None = None,
    *,
    with_files: bool = False,
) -> Iterator[ReadMail]:
    """Yield each mail under the paths, as `raw_mails` finds them; one mail is in memory, `with_files` its files too.

    `tell` is told of each file that was passed over, `moved` how many bytes of the input have been read. Raises
    `InputError` when there is nothing to read, and `UsageError` without the packages of the extra `mail`.
    """
    if lacking := missing("mail"):
        raise UsageError(f"Reading mails needs {lacking}")
    with Identities() as identities:
        for raw in raw_mails([Path(path) for path in paths], tell):
            if raw.problem is not None:
                mail = Mail(source=raw.source, error=raw.problem)
            else:
                mail = decode_mail(
                    raw.body, raw.source, cut=raw.cut, deleted=raw.deleted, note=raw.note, with_files=with_files
                )
            identity = identities.identity(mail, raw.body or raw.source.encode())
            if identity.note:
                mail = structs.replace(mail, notes="; ".join(filter(None, (mail.notes, identity.note))))
            yield ReadMail(mail, identity)
            if moved is not None:
                moved(raw.read_bytes)


def convert_mails(
    paths: Sequence[Path | str],
    output: Path | str,
    moved: Callable[[int], None] | None = None,
    *,
    with_files: bool = False,
) -> MailSummary:
    """Write the mails under the paths to a Parquet file that appears whole or not at all.

    `with_files` keeps the attached files that are not in the text of a mail beside the table, and adds a column `files`
    with their paths, which `attach.column` takes.

    Raises `InputError` and `UsageError` as `read_mails`, and `OutputError` when the file cannot be written.
    """
    counts: Counter[str] = Counter()
    not_read: Counter[str] = Counter()
    left_out: list[LeftOut] = []

    def tell(file: LeftOut) -> None:
        name = Path(file.name).name
        if name != storable(Path(output).name) and not name.startswith(".batchgen-"):
            left_out.append(file)  # all but an older table of this name, and the one being written

    kept = KeptFiles(Path(output)) if with_files else None
    columns = MAIL_COLUMNS if kept is None else MAIL_COLUMNS.append(pa.field("files", _LIST))
    with table_file(Path(output), columns) as add:
        for read in read_mails(paths, tell, moved, with_files=with_files):
            mail = read.mail
            row = _row(read)
            if kept is not None:
                row["files"] = kept.keep(read.identity.id, mail.files)
            add(row)
            counts["mails"] += 1
            counts["with_error"] += mail.error is not None
            counts["with_notes"] += mail.notes is not None
            counts["attachments"] += len(mail.attachments)
            counts["copies"] += read.identity.copy_of is not None
            counts["deleted"] += DELETED in mail.labels
            not_read.update(kind for _, kind in mail.not_read)
        if not counts["mails"]:
            names = ", ".join(storable(str(path)) for path in paths)
            passed = f" Passed over: {_listed(left_out)}." if left_out else ""
            raise InputError(f"{names} holds no mail.{passed}")
    return MailSummary(
        **{name: counts[name] for name in ("mails", "with_error", "with_notes", "attachments", "copies", "deleted")},
        not_read=dict(not_read.most_common()),
        left_out={file.name: file.reason for file in left_out if not file.own},
        own_files=sum(file.own for file in left_out),
        output=storable(str(output)),
        files=0 if kept is None else kept.written,
    )


def input_size(paths: Sequence[Path | str]) -> int | None:
    """Return the bytes `moved` will count up to, where they are known beforehand."""
    return size_of([Path(path) for path in paths])


def summary_text(summary: MailSummary) -> str:
    """Return what was converted, for people."""
    lines = [
        f"{summary.mails:,} mail{'s' * (summary.mails != 1)}, {summary.attachments:,} "
        f"attachment{'s' * (summary.attachments != 1)} named, written to {summary.output}"
    ]
    if summary.files:
        lines.append(f"Files kept in {summary.output}.files: {summary.files:,}; the column `files` has their paths.")
    if summary.with_error:
        lines.append(f"Not whole: {summary.with_error:,}; the column `error` says why.")
    if summary.left_out:
        files = [LeftOut(name, reason) for name, reason in summary.left_out.items()]
        lines.append(f"Files left out: {len(files):,}: {_listed(files)}.")
    if summary.not_read:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.not_read.items())
        lines.append(f"Not read inside the mails: {kinds}; the column `not_read` names them.")
    if summary.copies:
        lines.append(f"Copies of other mails: {summary.copies:,}; the column `copy_of` says of which.")
    if summary.deleted:
        lines.append(f"Deleted in the mail program and still in its files: {summary.deleted:,}; label {DELETED}.")
    if summary.with_notes:
        lines.append(f"Read with a remark: {summary.with_notes:,}; it stands in the column `notes`.")
    if summary.own_files:
        lines.append(f"Files that mail programs keep for themselves, passed over: {summary.own_files:,}.")
    return "\n".join(lines)


def _listed(files: Sequence[LeftOut]) -> str:
    named = "; ".join(f"{file.name} ({file.reason})" for file in files[:_NAMED])
    return named + (f"; and {len(files) - _NAMED:,} more" if len(files) > _NAMED else "")


def _row(read: ReadMail) -> dict[str, Any]:
    row = structs.asdict(read.mail)
    row["from"] = row.pop("from_")
    del row["files"]
    row["not_read"] = [f"{name} ({kind})" for name, kind in read.mail.not_read]
    return row | {"id": read.identity.id, "copy_of": read.identity.copy_of, "thread": read.identity.thread}
