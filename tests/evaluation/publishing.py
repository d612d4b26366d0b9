"""Results of a run, published without one."""

from __future__ import annotations

import pyarrow as pa

from batchgen.storage.parts import write_part
from batchgen.storage.result_schema import Layout, Parsed
from batchgen.storage.shards import Shard
from batchgen.values import Result, Status


def publish(directory, carried, answers, parsed=None, failed=(), per_part=3, turns=(), id_column=None):
    """Write parts as a run does: carried columns, completions, and `parsed` values of a given type."""
    (directory / "results").mkdir(parents=True, exist_ok=True)
    table = pa.table(carried)
    for number, first in enumerate(range(0, table.num_rows, per_part)):
        part = table.slice(first, per_part)
        rows = range(first, first + part.num_rows)
        results = [
            Result(
                row=row,
                status=Status.FAILED if row in failed else Status.SUCCEEDED,
                attempts=1,
                finished_at_us=0,
                completion=answers[row],  # an answer that does not fit fails, and keeps its text
                answer_turns=turns[row] if turns else None,
            )
            for row in rows
        ]
        kind = None
        if parsed is not None:
            type_, values = parsed
            kind = Parsed(
                type_, lambda found, values=values, type_=type_: pa.array([values[r.row] for r in found], type_)
            )
        write_part(directory / "results", Shard(number, first, part), [results], Layout(table.schema, id_column, kind))
    return directory
