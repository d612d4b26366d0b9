"""Flipped bits and cut files in journal, log and parts: no silently wrong row, and what is whole is kept."""

import asyncio
import random
import shutil

import pyarrow as pa
import pytest

from batchgen.results.committed import read_results
from batchgen.storage.parts import write_part
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.shards import Shard, ShardRecord
from tests.durability import killed_run

ROWS, SHARD_ROWS = 600, 150


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """Return the directory of a killed run: one part, two open shards, a log that was never folded in."""
    path = tmp_path_factory.mktemp("crashed") / "out"
    with RunDirectory.open(path, job="killed", fingerprints={"rows": str(ROWS)}) as directory:
        journal = directory.journal
        for number in range(3):
            journal.record([ShardRecord(number, number * SHARD_ROWS, SHARD_ROWS)])
        for row in range(0, 400, 50):
            journal.append([killed_run.outcome(r) for r in range(row, row + 50)])
        rows = list(journal.results(0, SHARD_ROWS))
        table = pa.table({"n": list(range(SHARD_ROWS))})
        part = write_part(directory.results_path, Shard(0, 0, table), [rows], killed_run.LAYOUT, journal.identity)
        journal.seal(ShardRecord(0, 0, SHARD_ROWS, part))
        shutil.copytree(path, path.with_name("copy"))
    return path.with_name("copy")


def damaged(body, chance):
    """Return the bytes with one bit flipped, or cut short."""
    if chance.random() < 0.3:
        return body[: chance.randrange(1, len(body))]
    flipped = bytearray(body)
    flipped[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


@pytest.mark.parametrize("name", ["journal.sqlite", "journal.sqlite-wal", "results/part-00000.parquet"])
@pytest.mark.parametrize("tries", [8, pytest.param(70, marks=pytest.mark.slow)])
def test_no_silently_wrong_row(crashed, tmp_path, name, tries):
    """After any damage the next run ends with every row right, and a damaged file is kept aside."""
    chance = random.Random(name)
    kept = 0
    for number in range(tries):
        path = tmp_path / f"{number}"
        shutil.copytree(crashed, path)
        body = (path / name).read_bytes()
        (path / name).write_bytes(damaged(body, chance))
        with RunDirectory.open(path, job="killed", fingerprints={"rows": str(ROWS)}) as directory:
            journal = directory.journal
            found = list(journal.results(0, ROWS))
            assert found == [killed_run.outcome(result.row) for result in found]
            kept += len(found) + sum(record.rows for record in journal.shards() if record.sealed)
            if directory.damage:
                assert list(path.glob("*.damaged-1")), directory.damage
        asyncio.run(killed_run.run(path, ROWS, SHARD_ROWS, chance))
        table = read_results(path)
        assert table["n"].to_pylist() == list(range(ROWS))
        columns = [table[column].to_pylist() for column in ("status", "completion", "attempts")]
        for row, line in enumerate(zip(*columns, strict=True)):
            right = killed_run.outcome(row)
            assert line == (right.status, right.completion, right.attempts)
        shutil.rmtree(path)
    assert kept > tries * 140  # SQLite gives up a log at its first damaged page; the part is there in any case
