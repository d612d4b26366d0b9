"""Makes journal, parts and spill file agree when a run is resumed, whatever a crash or a damaged disk has left."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from batchgen.errors import OutputError
from batchgen.files.replace import sync_directory
from batchgen.money.ledger import Charges, charges_on
from batchgen.storage.journal import Journal
from batchgen.storage.journal_repair import set_aside
from batchgen.storage.overflow import read_spill
from batchgen.storage.parts import (
    DamagedPartError,
    part_identity,
    part_numbers,
    part_path,
    part_results,
    read_part_record,
    read_part_slices,
)
from batchgen.storage.shards import ShardRecord
from batchgen.text.figures import quantity
from batchgen.values import Result, Status


def check_parts(
    journal: Journal, directory: Path, expected: Sequence[int], unchanged: Container[int] = ()
) -> list[str]:
    """Make sure that every sealed shard has its part and every part its record; return what was found damaged.

    A part without record (the journal is new, or lost it) counts as published; `expected` are then the parts' CRC-32
    by number, as far as known. Of a part whose shard is open (it is unfinished, or the journal lost rows or was
    reopening failed ones) the succeeded rows count. A damaged part is set aside beside the directory and its rows are
    done again. Those that are `unchanged` are not read.
    """
    damage = []
    records = {record.number: record for record in journal.shards()}
    numbers = part_numbers(directory)
    for number in sorted({*records, *range(len(expected))} - set(numbers)):
        known = records.get(number)
        if known is None or known.sealed:
            damage.append(f"part {number} is missing; its rows are done again")
        if known is not None and known.sealed:
            journal.unseal(known, ())
    for number in numbers:
        if number in unchanged:
            continue
        path = part_path(directory, number)
        known = records.get(number)
        try:
            if known is not None and known.part is not None:
                read_part_record(path, known.part.crc)
            elif known is not None:
                _refuse_other_run(path, journal)
                journal.unseal(known, _succeeded(path, known))
            elif number < len(expected):
                journal.record([_of_number(read_part_record(path, expected[number]), number)])
            else:
                _refuse_other_run(path, journal)
                content = read_part_slices(path)
                record = _of_number(content.record, number)
                if record.sealed:
                    for _ in content.slices:
                        pass  # every page is readable
                    journal.record([record])
                else:
                    journal.unseal(record, part_results(content, _unknown))
        except DamagedPartError as error:
            aside = set_aside(path, directory.parent)
            damage.append(f"{error}; it is kept as {aside.name} and its rows are done again")
            if known is not None and known.sealed:
                journal.unseal(known, ())
    try:
        journal.fill_gaps()
    except ValueError as error:
        raise OutputError(f"{directory} holds parts of different runs: {error}. Use --fresh.") from None
    return damage


def _refuse_other_run(path: Path, journal: Journal) -> None:
    if part_identity(path).run != journal.identity.run:
        raise DamagedPartError(f"{path.name} is a part of another run")


def _of_number(record: ShardRecord, number: int) -> ShardRecord:
    if record.number != number:
        raise DamagedPartError(f"part {number} says of itself that it is part {record.number}")
    return record


def _succeeded(path: Path, known: ShardRecord) -> Iterator[Result]:
    """Yield the succeeded rows of a part whose shard is open."""
    content = read_part_slices(path)
    found = content.record
    if (found.number, found.first_row, found.rows) != (known.number, known.first_row, known.rows):
        raise DamagedPartError(f"{path.name} has other rows than its shard")
    for result in part_results(content, _unknown):
        if result.status is Status.SUCCEEDED:
            yield result


def _unknown(_: Result) -> Decimal | None:
    return None


def reopen_failed(journal: Journal, directory: Path, input_cost: Callable[[Result], Decimal | None]) -> int:
    """Make every failed row pending again, keeping what it has cost; return how many there were.

    Shard by shard in one transaction each; a part stays until its successor replaces it, so that a kill loses nothing.
    """
    count = journal.forget_failed()
    for record in journal.shards():
        if record.part is not None and record.part.sums.rows(Status.FAILED):
            count += reopen_part(journal, directory, record, input_cost)
    return count


def reopen_part(
    journal: Journal, directory: Path, record: ShardRecord, input_cost: Callable[[Result], Decimal | None]
) -> int:
    """Make the failed rows of one part pending again; return how many there were. Raises `DamagedPartError`."""
    content = read_part_slices(part_path(directory, record.number))
    failed: list[Charges] = []
    journal.unseal(record, _without_failed(part_results(content, input_cost), failed), failed)
    return len(failed)


def _without_failed(results: Iterator[Result], failed: list[Charges]) -> Iterator[Result]:
    """Yield the succeeded rows, and put what the others have cost into `failed`: one pass, nothing else is kept."""
    for result in results:
        if result.status is Status.SUCCEEDED:
            yield result
        else:
            failed.append(charges_on(result.row, result))


def take_spill(journal: Journal, path: Path) -> list[str]:
    """Take over what a run that stopped on a full disk has left in its spill file, once, and remove it.

    Returns what was found damaged; a damaged file is set aside. A kill before the file has gone changes nothing: the
    journal knows by its name that it has been taken over.
    """
    if not path.exists():
        return []
    spilled = read_spill(path)
    if spilled.run != journal.identity.run and (spilled.results or spilled.spent):
        return [f"{path.name} was left by another run and is not used; it is kept as {set_aside(path)}"]
    if not journal.has_taken(spilled.name):
        sealed = [record for record in journal.shards() if record.sealed]
        results = [r for r in spilled.results if not any(s.first_row <= r.row < s.end_row for s in sealed)]
        journal.append(results, spilled.spent, spill=spilled.name)
    damage = []
    if spilled.whole:
        path.unlink()
    else:
        aside = set_aside(path)
        saved = quantity(len(spilled.results), "answer was", "answers were")
        damage.append(f"{path.name} was damaged; {saved} saved from it, it is kept as {aside}")
    sync_directory(path.parent)
    return damage
