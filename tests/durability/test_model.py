"""Journal, parts and crashes against a dictionary: whatever happens in whatever order, they agree."""

import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batchgen.money.ledger import Charges, Sums
from batchgen.results.committed import read_results
from batchgen.storage.overflow import Spill
from batchgen.storage.parts import part_path, write_part
from batchgen.storage.result_schema import Layout, PriceLabel
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.shards import Shard, ShardRecord
from batchgen.values import FailureKind, Result, Status

SHARDS, SHARD_ROWS = 3, 4
ROWS = SHARDS * SHARD_ROWS
LAYOUT = Layout(pa.schema([("n", pa.int64())]))


class Durability(RuleBasedStateMachine):
    """`model` has each settled row's result; `owed` the attempts that a pending row has made before."""

    def __init__(self):
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.lives = 0
        self.model = {}
        self.owed = {}
        self.enter()
        self.directory.journal.record([ShardRecord(n, n * SHARD_ROWS, SHARD_ROWS) for n in range(SHARDS)])

    def teardown(self):
        self.directory.close()
        shutil.rmtree(self.place)

    @property
    def path(self):
        return self.place / f"life{self.lives}"

    @property
    def journal(self):
        return self.directory.journal

    def enter(self):
        self.directory = RunDirectory.open(self.path, job="model", fingerprints={})
        assert not self.directory.damage
        if self.directory.complete:
            self.directory.reopen_failed(lambda result: None)

    def result(self, row, good):
        status = Status.SUCCEEDED if good else Status.FAILED
        kind = None if good else FailureKind.TIMEOUT
        return Result(row, status, 1, 7, completion=f"{row} in life {self.lives}", error_kind=kind)

    def settle(self, row, result):
        attempts = 1 + self.owed.pop(row, 0)
        self.model[row] = Result(
            row, result.status, attempts, 7, completion=result.completion, error_kind=result.error_kind
        )

    def shard_results(self, number):
        return [self.model[r] for r in range(number * SHARD_ROWS, (number + 1) * SHARD_ROWS) if r in self.model]

    def whole_shards(self):
        return [
            record.number
            for record in self.journal.shards()
            if not record.sealed and len(self.shard_results(record.number)) == SHARD_ROWS
        ]

    def publish(self, number):
        table = pa.table({"n": list(range(number * SHARD_ROWS, (number + 1) * SHARD_ROWS))})
        rows = list(self.journal.results(number * SHARD_ROWS, (number + 1) * SHARD_ROWS))
        shard = Shard(number, number * SHARD_ROWS, table)
        return write_part(self.directory.results_path, shard, [rows], LAYOUT, self.journal.identity)

    @rule(rows=st.sets(st.integers(0, ROWS - 1), min_size=1), good=st.booleans())
    def append(self, rows, good):
        """Pending rows are settled in one commit."""
        pending = [row for row in rows if row not in self.model]
        self.journal.append([self.result(row, good) for row in pending])
        for row in pending:
            self.settle(row, self.result(row, good))

    @rule(row=st.integers(0, ROWS - 1))
    def spend(self, row):
        """An attempt of a row that stays pending is recorded."""
        if row not in self.model:
            self.journal.append([], [Charges(row, 1)])
            self.owed[row] = self.owed.get(row, 0) + 1

    @rule(rows=st.sets(st.integers(0, ROWS - 1), min_size=1), tried=st.booleans(), crash=st.booleans())
    def spill(self, rows, tried, crash):
        """The disk is full: answers, or attempts, go to the spill file, and the run ends.

        Perhaps the next one dies when it has taken the file over and not removed it yet.
        """
        pending = [row for row in rows if row not in self.model]
        spill = Spill(self.directory.spill_path, 1, self.journal.identity.run)
        if tried:
            spill.append([], [Charges(row, 1) for row in pending])
        else:
            spill.append([self.result(row, True) for row in pending], [])
        spill.close()
        for row in pending:
            if tried:
                self.owed[row] = self.owed.get(row, 0) + 1
            else:
                self.settle(row, self.result(row, True))
        left = self.directory.spill_path.read_bytes() if pending else b""
        self.directory.close()
        self.enter()
        if crash:
            self.directory.spill_path.write_bytes(left)
            self.kill()

    @precondition(lambda self: self.whole_shards())
    @rule(data=st.data(), crash=st.booleans())
    def seal(self, data, crash):
        """A whole shard is published; perhaps the process dies between the rename and the record."""
        number = data.draw(st.sampled_from(self.whole_shards()))
        part = self.publish(number)
        if crash:
            self.kill()
        else:
            self.journal.seal(ShardRecord(number, number * SHARD_ROWS, SHARD_ROWS, part))

    @rule()
    def kill(self):
        """The process dies: the next one finds files and log as they are."""
        before = self.path
        self.lives += 1
        shutil.copytree(before, self.path)
        self.directory.close()
        shutil.rmtree(before)
        self.enter()

    @rule()
    def retry_failed(self):
        """Failed rows become pending again and keep what they have cost."""
        failed = [row for row, result in self.model.items() if result.status is Status.FAILED]
        assert self.directory.reopen_failed(lambda result: None) == len(failed)
        for row in failed:
            self.owed[row] = self.model.pop(row).attempts

    @precondition(lambda self: all(record.sealed for record in self.journal.shards()))
    @rule()
    def finish(self):
        """All is published: the run ends, and failed rows are tried once more."""
        self.directory.finish({}, lambda model: PriceLabel())
        assert not list(self.path.glob("journal*"))
        self.directory.close()
        assert read_results(self.path)["completion"].to_pylist() == [self.model[r].completion for r in range(ROWS)]
        failed = [row for row, result in self.model.items() if result.status is Status.FAILED]
        self.enter()
        for row in failed:
            self.owed[row] = self.model.pop(row).attempts

    @invariant()
    def agrees(self):
        """Every settled row is in its part or in the journal, with its attempts; every pending one in neither."""
        sums = Sums()
        sums.add_all(self.model.values())
        assert self.journal.sums() == sums
        assert {item.row: item.attempts for item in self.journal.spent()} == self.owed
        for record in self.journal.shards():
            expected = self.shard_results(record.number)
            if record.sealed:
                assert part_path(self.directory.results_path, record.number).exists()
                assert len(expected) == SHARD_ROWS
            else:
                assert list(self.journal.results(record.first_row, record.end_row)) == expected


TestDurability = Durability.TestCase
TestDurability.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
