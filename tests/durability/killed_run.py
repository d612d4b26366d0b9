"""Runs to be killed: each settles the pending rows of a job in random order and says on stdout which are durable.

`python killed_run.py DIR ROWS SHARD_ROWS`, a seed per line on stdin.
"""

import asyncio
import os
import random
import sys
from pathlib import Path

import pyarrow as pa

from batchgen.storage.result_schema import Layout, PriceLabel
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.shards import cut, first_needed_row
from batchgen.storage.writer import Writer
from batchgen.values import FailureKind, Result, Status

LAYOUT = Layout(pa.schema([("n", pa.int64())]))


def outcome(row):
    """Return the one right result of a row."""
    if row % 17 == 3:
        return Result(row, Status.FAILED, 2, 7, error_kind=FailureKind.SERVER_ERROR, error_message=f"no {row}")
    return Result(row, Status.SUCCEEDED, 1, 7, completion=f"answer {row} " * (row % 30), total_tokens=row)


async def run(path, rows, shard_rows, chance):
    """Settle what is pending; return when all is published."""
    with RunDirectory.open(path, job="killed", fingerprints={"rows": str(rows)}) as directory:
        if directory.complete:
            return
        if directory.damage:
            os.write(1, f"problem {directory.damage}\n".encode())
        start = first_needed_row(directory.journal.shards())
        size = chance.randint(1, 2 * shard_rows)  # batches of another size in every run
        batches = (
            (row, pa.RecordBatch.from_pydict({"n": list(range(row, min(rows, row + size)))}))
            for row in range(start, rows, size)
        )

        def tell(results):
            os.write(1, b"".join(b"durable %d\n" % result.row for result in results))

        async with Writer(directory, LAYOUT, concurrency=8, on_commit=tell, group_wait_s=0.002) as writer:
            for shard in cut(batches, rows=shard_rows, known=directory.journal.shards()):
                await writer.wait_for_room(2)
                settled = await writer.open_shard(shard)
                pending = [row for row in range(shard.first_row, shard.end_row) if row not in settled]
                chance.shuffle(pending)
                for count, row in enumerate(pending):
                    writer.emit(outcome(row))
                    if count % 20 == 19:
                        await asyncio.sleep(0.001)
        directory.finish({"rows": rows}, lambda model: PriceLabel())


def main():
    """Fork a run for every seed on stdin: a fresh process without the imports' half second."""
    path, rows, shard_rows = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    pa.array([0])  # imports pandas, once for all forks
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            asyncio.run(run(path, rows, shard_rows, random.Random(int(line))))
            os.write(1, b"complete\n")
            os._exit(0)
        os.write(1, b"started %d\n" % pid)
        _, status = os.waitpid(pid, 0)
        os.write(1, b"\ngone %d\n" % status)


if __name__ == "__main__":
    main()
