"""The writer: nothing counts before its commit, parts come out by themselves, and a failing disk stops the run."""

import sqlite3
import threading
from decimal import Decimal

import anyio
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.errors import InternalStop, StoppedError, StorageStop
from batchgen.money.ledger import Charges
from batchgen.results.committed import read_results
from batchgen.storage import writer
from batchgen.storage import writer_thread as committer
from batchgen.storage.journal import Journal
from batchgen.storage.overflow import read_spill
from batchgen.storage.parts import part_path
from batchgen.storage.result_schema import Layout, PriceLabel
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.shards import Shard
from batchgen.storage.writer import Writer, result_bytes
from batchgen.values import Result, Status

pytestmark = pytest.mark.anyio
LAYOUT = Layout(pa.schema([("n", pa.int64())]))


@pytest.fixture
def anyio_backend():
    """Run on asyncio only: the writer hands over through its loop."""
    return "asyncio"


def answered(row, **fields):
    """Return an answered row."""
    return Result(row, Status.SUCCEEDED, 1, 5, **{"completion": f"answer {row}", "input_cost": Decimal(0)} | fields)


def shard_of(number, rows=10):
    """Return the shard of that number."""
    return Shard(number, number * rows, pa.table({"n": list(range(number * rows, number * rows + rows))}))


@pytest.fixture
def directory(tmp_path):
    """Return a new locked output directory."""
    with RunDirectory.open(tmp_path / "out", job="test", fingerprints={}) as directory:
        yield directory


class Refusing:
    """Makes a function fail with `error` the next `times` times, counting its calls."""

    def __init__(self, function, error, times=10**9):
        self.function, self.error, self.times, self.calls = function, error, times, 0

    def __get__(self, instance, owner):
        return self if instance is None else lambda *arguments: self(instance, *arguments)

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return self.function(*arguments)


def full():
    """Return what SQLite raises on a full disk."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


def make(directory, committed, **options):
    """Return a writer whose retries do not wait."""
    return Writer(directory, LAYOUT, concurrency=4, on_commit=committed.extend, **{"sleep": lambda s: None} | options)


async def test_rows_become_parts_in_input_order(directory):
    """Rows settled in any order over several shards are published in order; each commits once."""
    committed = []
    async with make(directory, committed) as out:
        for number in range(3):
            assert await out.open_shard(shard_of(number)) == set()
        for row in sorted(range(30), key=lambda row: row * 7 % 30):
            out.emit(answered(row))
    assert sorted(result.row for result in committed) == list(range(30))
    directory.finish({}, lambda model: PriceLabel())
    table = read_results(directory.path)
    assert table["row_id"].to_pylist() == [str(row) for row in range(30)]
    assert table["n"].to_pylist() == list(range(30))
    assert table["completion"].to_pylist() == [f"answer {row}" for row in range(30)]


async def test_a_row_counts_after_its_commit_only(directory, monkeypatch):
    """While the commit has not returned, nothing is reported."""
    allowed = threading.Event()
    append = Journal.append

    def slow(self, *arguments):
        allowed.wait()
        return append(self, *arguments)

    monkeypatch.setattr(Journal, "append", slow)
    committed = []
    async with make(directory, committed, group_wait_s=0) as out:
        await out.open_shard(shard_of(0))
        out.emit(answered(0))
        await anyio.sleep(0.02)
        assert committed == []
        allowed.set()
    assert [result.row for result in committed] == [0]


async def test_a_later_run_goes_on(directory):
    """Rows of an interrupted run are named when the shard is opened again, and earlier costs join the result."""
    async with make(directory, []) as out:
        await out.open_shard(shard_of(0))
        for row in range(6):
            out.emit(answered(row))
        out.spend(Charges(7, 2))
        assert out.open_shards == 1
    assert pq.read_table(directory.results_path)["n"].to_pylist() == list(range(6))
    committed = []
    async with make(directory, committed) as out:
        assert await out.open_shard(shard_of(0)) == set(range(6))
        for row in range(6, 10):
            out.emit(answered(row))
    assert {result.row: result.attempts for result in committed} == {6: 1, 7: 3, 8: 1, 9: 1}
    assert read_results(directory.path)["attempts"].to_pylist() == [1] * 7 + [3, 1, 1]
    assert [session.clean for session in directory.journal.sessions()] == [True, True]


@pytest.mark.parametrize(("length", "slices"), [(10, []), (3_000_000, [6, 4])], ids=["short", "long"])
async def test_a_part_is_what_was_stored(directory, monkeypatch, length, slices):
    """Short answers go into the part from memory, long ones slice by slice out of the journal, with earlier costs."""
    stored_rows, read = Journal.stored_rows, []

    def noted(self, *arguments):
        rows = stored_rows(self, *arguments)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(Journal, "stored_rows", noted)
    directory.journal.append([], [Charges(7, 2)])
    async with make(directory, []) as out:
        await out.open_shard(shard_of(0))
        for row in reversed(range(10)):
            out.emit(answered(row, completion=f"{row}\ud800" + length * "x"))
    assert read == slices
    assert pq.ParquetFile(part_path(directory.results_path, 0)).num_row_groups == max(1, len(slices))
    table = read_results(directory.path)
    assert table["attempts"].to_pylist() == [1] * 7 + [3, 1, 1]
    assert table["completion"].to_pylist() == [f"{row}\ufffd" + length * "x" for row in range(10)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (lambda rows: 1 / 0, "ZeroDivisionError"),
        (lambda rows: rows[:3] + rows[4:], "Row 3 was"),
        (lambda rows: [], "0"),
    ],
    ids=["unreadable", "a row is missing", "all are missing"],
)
async def test_long_answers_that_the_journal_has_lost(directory, monkeypatch, rows, said):
    """The run stops and says so; nobody waits for a slice that does not come, and no part is published."""
    stored_rows = Journal.stored_rows
    monkeypatch.setattr("batchgen.storage.open_shard.KEPT_BYTES", 0)
    monkeypatch.setattr(Journal, "stored_rows", lambda self, *arguments: rows(stored_rows(self, *arguments)))
    with anyio.fail_after(10), pytest.raises(StoppedError, match=said):  # noqa: PT012
        async with make(directory, []) as out:
            await out.open_shard(shard_of(0))
            for row in range(10):
                out.emit(answered(row))
            await out.watch()
    assert not list(directory.results_path.glob("part-*"))


async def test_a_whole_shard_is_published_when_opened(directory):
    """A run killed between the last commit and the part publishes it at once; an empty shard too."""
    directory.journal.append([answered(row) for row in range(10)])
    async with make(directory, []) as out:
        assert len(await out.open_shard(shard_of(0))) == 10
        with anyio.fail_after(10):
            await out.wait_for_room(open_shards=0)
        assert read_results(directory.path).num_rows == 10
    async with make(directory, []) as out:
        await out.open_shard(Shard(1, 10, pa.table({"n": pa.array([], pa.int64())})))
    assert [record.sealed for record in directory.journal.shards()] == [True, True]


async def test_too_much_uncommitted_stops_dispatch(directory, monkeypatch):
    """A slow disk makes the writer congested, and `wait_for_room` returns when a commit is through."""
    allowed = threading.Event()
    append = Journal.append

    def slow(self, *arguments):
        allowed.wait()
        return append(self, *arguments)

    monkeypatch.setattr(Journal, "append", slow)
    monkeypatch.setattr(writer, "MOST_UNCOMMITTED_ROWS", 5)
    async with make(directory, [], group_wait_s=0) as out:
        await out.open_shard(shard_of(0))
        for row in range(4):
            out.emit(answered(row))
        assert not out.congested
        out.emit(answered(4))
        assert out.congested
        with anyio.move_on_after(0.02) as waiting:
            await out.wait_for_room()
        assert waiting.cancelled_caught
        allowed.set()
        with anyio.fail_after(10):
            await out.wait_for_room()


@pytest.mark.parametrize("error", [full(), sqlite3.OperationalError("disk I/O error"), OSError(5, "EIO")])
async def test_a_refused_commit_is_tried_again(directory, monkeypatch, error):
    """The batch is kept, dispatch stops meanwhile, the journal is reopened, and nothing is lost or doubled."""
    refusing = Refusing(Journal.append, error, times=2)
    monkeypatch.setattr(Journal, "append", refusing)
    committed, waits, congested, reopened = [], [], [], []
    reopen = Journal.reopen
    monkeypatch.setattr(Journal, "reopen", lambda self: (reopen(self), reopened.append(1)))
    async with make(directory, committed, group_wait_s=0, sleep=waits.append) as out:
        take = out.take_trouble
        monkeypatch.setattr(out, "take_trouble", lambda *news: (take(*news), congested.append(out.congested)))
        await out.open_shard(shard_of(0))
        for row in range(10):
            out.emit(answered(row))
        with anyio.fail_after(10):
            await out.wait_for_room(open_shards=0)
    assert len(committed) == 10
    assert congested == [True, True, False]
    assert reopened == [1, 1]
    assert waits == [0.1, 0.3]
    assert read_results(directory.path).num_rows == 10


async def test_a_full_disk_ends_the_run_and_keeps_the_answers(directory, monkeypatch):
    """Waiters are woken with the room that is needed; what was and what still comes in flight survives in the spill."""
    monkeypatch.setattr(Journal, "append", Refusing(Journal.append, full()))
    committed = []
    with pytest.raises(StorageStop, match=r"make room for about \d+ MB"):  # noqa: PT012
        async with make(directory, committed, group_wait_s=0) as out:
            await out.open_shard(shard_of(0))
            out.emit(answered(0))
            with pytest.raises(StorageStop), anyio.fail_after(10):
                await out.watch()
            with pytest.raises(StorageStop):
                await out.wait_for_room()
            with pytest.raises(StorageStop):
                await out.open_shard(shard_of(1))
            out.emit(answered(1))
            await anyio.sleep(0.02)
            out.emit(answered(2))
            out.spend(Charges(3, 1))
    assert committed == []
    spilled = read_spill(directory.spill_path)
    assert [result.row for result in spilled.results] == [0, 1, 2]
    assert spilled.spent == [Charges(3, 1)]
    monkeypatch.undo()
    directory.close()
    with RunDirectory.open(directory.path, job="test", fingerprints={}) as again:
        async with make(again, []) as out:
            assert await out.open_shard(shard_of(0)) == {0, 1, 2}


async def test_a_part_that_cannot_be_written_stops_the_run(directory, monkeypatch):
    """The rows stay in the journal, the run stops, and the next one publishes them."""
    monkeypatch.setattr(committer, "write_part", Refusing(committer.write_part, OSError(28, "No space left on device")))
    committed = []
    with pytest.raises(StorageStop, match=r"part .* make room"):  # noqa: PT012
        async with make(directory, committed) as out:
            await out.open_shard(shard_of(0))
            for row in range(10):
                out.emit(answered(row))
    assert len(committed) == 10
    monkeypatch.undo()
    async with make(directory, []) as out:
        assert len(await out.open_shard(shard_of(0))) == 10
    assert read_results(directory.path).num_rows == 10


async def test_a_part_refused_once_is_written_again(directory, monkeypatch):
    """A passing fault of the disk delays the part only."""
    monkeypatch.setattr(committer, "write_part", Refusing(committer.write_part, OSError(5, "EIO"), times=1))
    async with make(directory, []) as out:
        await out.open_shard(shard_of(0))
        for row in range(10):
            out.emit(answered(row))
    assert read_results(directory.path).num_rows == 10


@pytest.mark.parametrize("where", ["append", "settled", "seal"])
async def test_a_dead_writer_ends_the_run(directory, monkeypatch, where):
    """Whatever kills the thread, every waiter gets `InternalStop` with the cause at once, and answers are spilled."""
    monkeypatch.setattr(Journal, where, Refusing(getattr(Journal, where), ZeroDivisionError("boom")))
    with anyio.fail_after(10), pytest.raises(InternalStop, match="ZeroDivisionError") as caught:  # noqa: PT012
        async with make(directory, [], group_wait_s=0) as out:
            await out.open_shard(shard_of(0))
            for row in range(10):
                out.emit(answered(row))
            await out.watch()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    if where == "append":
        assert len(read_spill(directory.spill_path).results) == 10


async def test_a_question_behind_a_commit_that_fails_is_answered(directory, monkeypatch):
    """Whoever asks for something once his results are durable waits no longer than the journal is there."""
    monkeypatch.setattr(Journal, "append", Refusing(Journal.append, sqlite3.OperationalError("disk I/O error")))
    with anyio.fail_after(10), pytest.raises(StorageStop):  # noqa: PT012
        async with make(directory, []) as out:
            await out.open_shard(shard_of(0))
            out.emit(answered(0))
            await out.on_journal(lambda journal: journal.shards())


async def test_a_question_to_a_journal_that_has_just_ended_is_answered(directory, monkeypatch):
    """Also before the event loop has heard of the end."""
    monkeypatch.setattr(Journal, "append", Refusing(Journal.append, sqlite3.OperationalError("disk I/O error")))
    with anyio.fail_after(10), pytest.raises(StorageStop):  # noqa: PT012
        async with make(directory, []) as out:
            await out.open_shard(shard_of(0))
            out.emit(answered(0))
            out._hand_over()
            while not out._committer._ended:  # the loop does not run meanwhile
                threading.Event().wait(0.001)
            await out.on_journal(lambda journal: journal.shards())


async def test_an_error_of_the_run_is_not_replaced(directory, monkeypatch):
    """Leaving through another error keeps that error, and still commits what there is."""
    committed = []
    with pytest.raises(LookupError):  # noqa: PT012
        async with make(directory, committed) as out:
            await out.open_shard(shard_of(0))
            out.emit(answered(0))
            raise LookupError
    assert len(committed) == 1


async def test_cancellation_still_commits(directory):
    """A cancelled run commits what has arrived before it is gone."""
    committed = []
    with anyio.CancelScope() as scope:
        async with make(directory, committed) as out:
            await out.open_shard(shard_of(0))
            out.emit(answered(0))
            scope.cancel()
            await anyio.sleep(5)
    assert len(committed) == 1


@pytest.mark.parametrize(
    ("name", "letter", "width"), [("completion", "x", 1), ("reasoning", "ж", 2), ("tool_calls", "\U0001f600", 4)]
)
async def test_what_waits_for_the_disk_is_counted_in_bytes_of_memory(directory, name, letter, width):
    """Whatever holds it, and however wide its letters are: beyond 32 MB nothing more is sent."""
    async with make(directory, [], group_wait_s=60) as out:
        await out.open_shard(shard_of(0))
        assert result_bytes(answered(0, **{name: letter * 10_000_000})) > 10_000_000 * width
        out.emit(answered(0, **{name: letter * (34_000_000 // width)}))
        assert out.congested
        await out.wait_for_room()
