"""Answers the rows of a batch that has ended, and writes its result files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

from batchgen.simulator.answering import request_id_of
from batchgen.simulator.batches.oddities import Oddities
from batchgen.simulator.batches.oddity_names import ROWS
from batchgen.simulator.batches.records import StoredBatch, StoredFile, VendorRecords
from batchgen.simulator.batches.results import (
    ResultFile,
    message_line,
    row_line,
    unfinished_line,
    unfinished_message_line,
)
from batchgen.simulator.batches.rows import (
    AnsweredRow,
    InputLine,
    MessageLine,
    answer_row,
    in_batches,
    line_decoder,
    path_of,
)
from batchgen.simulator.calls import CHAT_PATHS
from batchgen.simulator.error_bodies import error_body
from batchgen.simulator.faults import drawn
from batchgen.simulator.rules import Problem
from batchgen.simulator.settings import Settings
from batchgen.simulator.stats import digest_of

Line = InputLine | MessageLine
Files = tuple[ResultFile, ResultFile]
"""The file of the rows that succeeded, and that of the others."""

ROWS_A_STEP = 20
_LOW = Problem(400, "Arrearage", "Access denied, please make sure your account is in good standing.")
_GONE = Problem(404, "ModelNotFound", "The model does not exist or you do not have access to it.")
_BUSY = Problem(429, "Throttling", "Rate limit reached for requests.")
_BROKEN = Problem(500, "InternalError", "An internal error has occured, try again.")


class BilledRow(Struct, frozen=True):
    """A row that was billed; `digest` is the hash of its body. `lost`: its line cannot be read."""

    batch: str
    custom_id: str
    digest: str
    input_tokens: int
    output_tokens: int
    lost: bool


class ResultBuilder:
    """Writes the results of one batch in steps. `attempt_of` counts how often a body has been asked."""

    def __init__(
        self, records: VendorRecords, settings: Settings, oddities: Oddities, attempt_of: Callable[[int], int]
    ) -> None:
        self._records = records
        self._settings = in_batches(settings)
        self._oddities = oddities
        self._attempt_of = attempt_of

    def build(self, batch: StoredBatch, end: str, done: float) -> Iterator[None]:
        """Answer the finished share `done` of the rows; the others have the fate of `end`. At last all is saved."""
        self._rows: Counter[str] = Counter()
        batch.billed, batch.lost = type(batch.billed)(), type(batch.lost)()
        records = self._records
        out, err = files = (self._result_file(batch, "out"), self._result_file(batch, "err"))
        decode = line_decoder(batch)
        books = records.partial(f"{batch.id}.books")
        with records.path(batch.input_file).open("rb") as lines, books.open("wb") as book:
            for number, text in enumerate(() if "ended_empty" in batch.odd else lines):
                if number % ROWS_A_STEP == ROWS_A_STEP - 1:
                    yield
                if not text.strip():
                    continue
                line = decode(text)
                if done < 1 and drawn("done", self._settings.seed, batch.number, number) >= done:
                    self._leave(batch, line, end, files)
                else:
                    book.write(self._execute(batch, line, number, files))
        if "error_file_empty" in batch.odd and not err.exists:
            err.touch()
        out.close()
        err.close()
        books.replace(records.path(f"{batch.id}.books"))
        self._save(batch, out, err)

    def _result_file(self, batch: StoredBatch, kind: str) -> ResultFile:
        return ResultFile(self._records.partial(f"{batch.id}.{kind}"), batch.odd, batch.number)

    def _leave(self, batch: StoredBatch, line: Line, end: str, files: Files) -> None:
        out, err = files
        self._rows[end] += 1
        if "rest_left_out" in batch.odd:
            return
        if isinstance(line, MessageLine):
            out.add(unfinished_message_line(line.custom_id, end))
        else:
            row_id = f"batch_req_{digest_of(bytes(line.body)):016x}"
            target = out if "one_file" in batch.odd else err
            target.add(unfinished_line(row_id, line.custom_id, end, self._row_odd(batch, self._rows.total())))

    def _row_odd(self, batch: StoredBatch, number: int) -> list[str]:
        names = self._oddities.any_of(ROWS)
        return [name for name in names if self._oddities.meets(name, (batch.number << 24) + number)]

    def _execute(self, batch: StoredBatch, line: Line, number: int, files: Files) -> bytes:
        """Write the lines of a row, and return its line in the books; nothing for a row that is not billed."""
        out, err = files
        odd = self._row_odd(batch, number) if self._settings.oddities else []
        if "row_missing" in odd:
            self._rows["missing"] += 1
            return b""
        path = path_of(batch.dialect, batch.endpoint) or ""
        body = bytes(line.params if isinstance(line, MessageLine) else line.body)
        row = self._spoiled(batch, path, body, number, odd) or answer_row(
            path,
            batch.headers,
            body,
            self._settings,
            self._attempt_of(digest_of(body)),
            starved="row_starved" in odd,
        )
        self._rows["succeeded" if row.status == 200 else "failed"] += 1
        if isinstance(line, MessageLine):
            told = message_line(line.custom_id, row, odd)
        else:
            row_id = row.request_id if batch.dialect == "compatible" else f"batch_req_{row.digest:016x}"
            told = row_line(row_id, line.custom_id, row, odd)
        target = out if row.status == 200 or isinstance(line, MessageLine) or "one_file" in batch.odd else err
        if "row_failed_first" in odd and row.status == 200:
            target.add(self._failed_line(batch, line, path))
        broken = "row_broken" in odd
        target.add(told[: len(told) // 2] if broken else told)
        if "row_twice" in odd:
            target.add(told)
        for name in ("row_foreign", "row_no_id"):
            if name in odd:
                target.add(_other(told, None if name == "row_no_id" else f"{line.custom_id}-other"))
        if not row.output_tokens:
            return b""
        batch.billed.add(row.input_tokens, row.output_tokens)
        lost = (broken and "row_twice" not in odd) or "one_array" in batch.odd
        if lost:
            batch.lost.add(row.input_tokens, row.output_tokens)
        entry = BilledRow(
            batch.id,
            line.custom_id,
            f"{row.digest:016x}",
            row.input_tokens,
            row.output_tokens,
            lost,
        )
        return msgspec.json.encode(entry) + b"\n"

    def _spoiled(self, batch: StoredBatch, path: str, body: bytes, number: int, odd: list[str]) -> AnsweredRow | None:
        """Return the error of a row that an oddity lets fail."""
        problem = None
        if "credit_low" in batch.odd:
            problem = _LOW
        elif "row_404" in batch.odd and number == batch.number % max(1, batch.total):
            problem = _GONE
        elif "row_429" in odd:
            problem = _BUSY
        elif {"row_500", "row_error_bare", "row_error_text"} & {*odd} or "only_errors" in batch.odd:
            problem = _BROKEN
        if problem is None:
            return None
        digest = digest_of(body)
        request_id = request_id_of(digest, number)
        status, told = error_body(CHAT_PATHS[path][0], problem, request_id)
        return AnsweredRow(status, told, digest, request_id)

    def _failed_line(self, batch: StoredBatch, line: Line, path: str) -> bytes:
        """Return a line that says of a row that it has failed for the moment."""
        status, told = error_body(CHAT_PATHS[path][0], _BROKEN, "req_failed")
        row = AnsweredRow(status, told, 0, "req_failed")
        if isinstance(line, MessageLine):
            return message_line(line.custom_id, row, ())
        return row_line("batch_req_failed", line.custom_id, row, ())

    def _save(self, batch: StoredBatch, out: ResultFile, err: ResultFile) -> None:
        records, files = self._records, []
        for kind, result in (("output", out), ("error", err)):
            if not result.exists:
                continue
            number = records.next_number()
            middle = f"batch_{kind}-" if batch.dialect == "compatible" else ""
            name = f"file-{middle}{digest_of(f'{batch.id} {kind}'.encode()):016x}"
            path = records.path(name)
            result.path.replace(path)
            files.append(
                StoredFile(
                    id=name,
                    number=number,
                    account=batch.account,
                    dialect=batch.dialect,
                    name=f"{batch.id}_{kind}.jsonl",
                    purpose="batch_output",
                    size=path.stat().st_size,
                    created_s=batch.created_s,
                    made_by=batch.id,
                )
            )
            if kind == "output":
                batch.output_file = name
            else:
                batch.error_file = name
        batch.rows = dict(self._rows)
        batch.built = True
        records.save(*files, batch)


def _other(told: bytes, custom_id: str | None) -> bytes:
    """Return a line under another id, or without one."""
    line = msgspec.json.decode(told)
    del line["custom_id"]
    return msgspec.json.encode(line if custom_id is None else {"custom_id": custom_id, **line})
