"""Failed rows of finished parts that are to be tried again (`--retry-failed`), where there are many parts.

To bring the rows of a part back into the journal takes 28 µs of CPU for each, which are minutes for ten million rows.
So the parts are only marked at first, all of them in one transaction, and each is brought back when the run comes to
its rows. Until then its failed rows count as pending, here and in the next run, should this one be killed. A few parts
are brought back at once: then damaged ones are found before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import structs

from batchgen.money.ledger import Sums, Totals
from batchgen.storage.journal import Journal
from batchgen.storage.shards import ShardRecord
from batchgen.values import Status

AT_ONCE_ROWS = 100_000
"""So many rows are brought back in less than three seconds."""


def is_much(journal: Journal) -> bool:
    """Whether the parts with failed rows have so many rows in all that bringing them back takes long."""
    return sum(record.rows for record in _failed_parts(journal)) > AT_ONCE_ROWS


def mark_failed(journal: Journal) -> int:
    """Make all failed rows pending again, those in parts by a mark; return how many there were."""
    failed = list(_failed_parts(journal))
    with journal.transaction() as db:
        db.executemany("INSERT OR IGNORE INTO retries VALUES (?)", [(record.number,) for record in failed])
    return journal.forget_failed() + sum(one.part.sums.rows(Status.FAILED) for one in failed if one.part is not None)


def _failed_parts(journal: Journal) -> Iterator[ShardRecord]:
    for record in journal.shards():
        if record.part is not None and record.part.sums.rows(Status.FAILED):
            yield record


def marked_parts(journal: Journal) -> dict[int, ShardRecord]:
    """Return the sealed shards that are marked, by number; `Journal.unseal` takes the mark away."""
    with journal.transaction() as db:
        numbers = {number for (number,) in db.execute("SELECT number FROM retries")}
    return {record.number: record for record in journal.shards() if record.number in numbers and record.sealed}


def shards_to_do(journal: Journal) -> Sequence[ShardRecord]:
    """Return all shards, the marked ones as open: their rows are read again."""
    marked = marked_parts(journal)
    return [structs.replace(one, part=None) if one.number in marked else one for one in journal.shards()]


def settled_sums(journal: Journal) -> tuple[Sums, Totals]:
    """Return the sums over everything that is settled, and those of the failed rows in marked parts, which is not."""
    marked = marked_parts(journal)
    sums, waiting = Sums(), Sums()
    for record in journal.shards():
        if record.part is not None:
            for group, totals in record.part.sums:
                again = record.number in marked and group.status is Status.FAILED
                (waiting if again else sums).merge_group(group, totals)
    sums.add_all(journal.unpublished())
    return sums, waiting.totals()
