"""The answers of a pilot or of an earlier run, read from its parts and its journal."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from decimal import Decimal
from pathlib import Path

from msgspec import Struct

from batchgen.errors import OutputError
from batchgen.job.parts import JobParts
from batchgen.storage.journal import Journal
from batchgen.storage.lock import enter
from batchgen.storage.own_files import JOURNAL_FILE, RESULTS, STATE_FILE
from batchgen.storage.parts import DamagedPartError, part_path, part_results, published_parts, read_part_slices
from batchgen.storage.run_state import read_state, run_fingerprints
from batchgen.values import FailureKind, Result

MOST_OBSERVED = 10_000
"""The most rows of an earlier run that are sampled: more would not make the intervals noticeably narrower."""

_NOT_BILLED = frozenset({FailureKind.PROMPT, FailureKind.TOO_LONG})


class Observed(Struct, frozen=True, gc=False):
    """A finished row. Tokens are those reported for all its attempts; `cost` is None without a price, `latency_ms` is
    None if the row failed."""

    row: int
    attempts: int
    input_tokens: int | None
    output_tokens: int
    cost: Decimal | None
    latency_ms: float | None
    failed: bool


class Observations(Struct, frozen=True):
    """A random sample of the finished rows, of which there are `settled` that have cost `paid`."""

    sample: list[Observed]
    settled: int
    paid: Decimal | None


def observe(
    parts: JobParts, input_fingerprint: str, path: Path, *, only: AbstractSet[int] | None = None, seed: int = 0
) -> Observations | None:
    """Return the finished rows of this job and input in the output directory `path`; None if there are none.

    `only` restricts them to the rows of a pilot. Raises `OutputError` if the directory is of another job or input, or
    in use.
    """
    if not (path / STATE_FILE).is_file():
        return None
    state, holder = read_state(path)
    if holder is not None:
        raise OutputError(f"{path} is in use by {holder}; its results cannot be read meanwhile.")
    if state.fingerprints != run_fingerprints(parts.fingerprint, input_fingerprint):
        raise OutputError(f"{path} holds a run of another job or input, whose results say nothing about this one.")
    rng = random.Random(seed)
    sample: list[Observed] = []
    seen = settled = 0
    paid = None
    for result in _stored_results(path, state.run):
        if only is not None and result.row not in only:
            continue
        settled += 1
        cost = None
        if result.input_cost is not None and result.output_cost is not None:
            cost = result.input_cost + result.output_cost
            paid = (paid or Decimal(0)) + cost
        observed = _observed(result, cost)
        if observed is None:
            continue
        seen += 1
        if len(sample) < MOST_OBSERVED:
            sample.append(observed)
        elif (place := rng.randrange(seen)) < MOST_OBSERVED:
            sample[place] = observed
    return Observations(sample, settled, paid) if settled else None


def _observed(result: Result, cost: Decimal | None) -> Observed | None:
    """Return a row for the sample; None if it was not billed or came without usage."""
    if result.error_kind in _NOT_BILLED:
        return None
    if result.error_kind is None and result.output_tokens is None:
        return None
    return Observed(
        result.row,
        result.attempts,
        result.input_tokens,
        result.output_tokens or 0,
        cost,
        result.latency_ms if result.error_kind is None else None,
        result.error_kind is not None,
    )


def _stored_results(path: Path, run: str) -> Iterator[Result]:
    """Yield all finished rows of an output directory that no other process uses, from its parts and its journal.

    Raises `OutputError` if they are damaged, or of another run.
    """
    directory = path / RESULTS
    lock = enter(path.absolute())
    try:
        published = published_parts(directory, run)
        if not (path / JOURNAL_FILE).is_file():
            for part in published:
                yield from _part_results(part)
            return
        journal = Journal(path / JOURNAL_FILE)
        try:
            if journal.identity.run != run:
                raise OutputError(f"{journal.path} is of another run than the run.json beside it.")
            for record in journal.shards():
                if record.sealed:
                    yield from _part_results(part_path(directory, record.number))
                else:
                    yield from journal.results(record.first_row, record.end_row)
        finally:
            journal.close()
    except (sqlite3.Error, DamagedPartError, FileNotFoundError) as error:
        raise OutputError(
            f"{path} holds a damaged run ({error}); run the job again to mend it, or estimate with another --set "
            "output.path=DIR."
        ) from error
    finally:
        os.close(lock)


def _part_results(path: Path) -> Iterator[Result]:
    return part_results(read_part_slices(path), lambda result: Decimal(0))
