"""What is committed can be read at any moment: each row once, with its input columns, however a run ends."""

import os
import signal
import sqlite3
import subprocess
import sys
from decimal import Decimal

import anyio
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.errors import InputError, OutputError
from batchgen.results.committed import Committed, read_results
from batchgen.results.rows import iter_results
from batchgen.storage import snapshot, writer_thread
from batchgen.storage.journal import Journal
from batchgen.storage.overflow import Spill
from batchgen.storage.result_schema import Layout, PriceLabel
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.shard_inputs import inputs_path
from batchgen.storage.shards import Shard
from batchgen.storage.writer import Writer
from batchgen.values import FailureKind, Result, Status

pytestmark = pytest.mark.anyio
LAYOUT = Layout(pa.schema([("text", pa.string())]), "key")
ROWS = 10


@pytest.fixture
def anyio_backend():
    """Run on asyncio only."""
    return "asyncio"


def answered(row, **fields):
    """Return an answered row."""
    return Result(row, Status.SUCCEEDED, 1, 5, **{"completion": f"answer {row}", "input_cost": Decimal(0)} | fields)


def shard_of(number):
    """Return the shard of that number, ten rows long."""
    rows = range(number * ROWS, (number + 1) * ROWS)
    return Shard(
        number, rows[0], pa.table({"key": [f"k{row}" for row in rows], "text": [f"text {row}" for row in rows]})
    )


def opened(path, **options):
    """Return the output directory, locked."""
    return RunDirectory.open(path, job="test", fingerprints={"input": "1"}, **options)


def writer_of(directory, only=None):
    """Return a writer for it."""
    return Writer(directory, LAYOUT, concurrency=2, on_commit=lambda stored: None, group_wait_s=0.001, only=only)


async def answer(writer, rows, **fields):
    """Hand rows over and wait until they are committed."""
    for row in rows:
        writer.emit(answered(row, **fields))
    with anyio.fail_after(10):
        while writer._uncommitted or writer._group.results:  # noqa: ASYNC110 - a commit wakes nobody by itself
            await anyio.sleep(0.001)


def unpriced(model):
    """Return that no price is known."""
    return PriceLabel()


def told(path):
    """Return the rows that are read, each with its own text."""
    table = read_results(path)
    rows = [int(key.removeprefix("k")) for key in table["row_id"].to_pylist()]
    assert table["text"].to_pylist() == [f"text {row}" for row in rows]
    assert table["completion"].to_pylist() == [f"answer {row}" for row in rows]
    assert pa.Table.from_batches(iter_results(path)).cast(table.schema) == table
    two = pa.Table.from_batches(iter_results(path, columns=["text", "row_id"]))
    assert two == table.select(["text", "row_id"])
    return rows


def published(path):
    """Return the rows that any reader of Parquet finds, each once."""
    rows = [int(key.removeprefix("k")) for key in pq.read_table(path / "results")["row_id"].to_pylist()]
    assert len(rows) == len({*rows})
    return rows


async def test_answers_are_read_while_the_run_goes_on(tmp_path):
    """As soon as they are committed, of finished and unfinished shards; the reader leaves nothing behind."""
    out = tmp_path / "out"
    with opened(out) as directory:
        async with writer_of(directory) as writer:
            await writer.open_shard(shard_of(0))
            await answer(writer, [3])
            assert told(out) == [3]
            await answer(writer, [7, 1])
            names = {path.name for path in out.iterdir()}
            assert told(out) == told(out / "results") == [1, 3, 7]
            assert {path.name for path in out.iterdir()} == names
            await writer.open_shard(shard_of(1))
            await answer(writer, [0, 2, 4, 5, 6, 8, 9, 15])
            await writer.wait_for_room(open_shards=1)
            assert told(out) == [*range(10), 15]
            assert published(out) == [*range(10)]
            assert [path.name for path in out.glob("open-*")] == ["open-00001.arrow"]
            await answer(writer, [*range(10, 15), *range(16, 20)])
        directory.finish({}, unpriced)
    assert told(out) == published(out) == [*range(20)]
    assert not list(out.glob("open-*"))


async def test_a_stop_leaves_an_unfinished_part_that_the_next_run_replaces(tmp_path):
    """Whoever reads the folder finds each row once at any time: before, while the next run goes on, and after it."""
    out = tmp_path / "out"
    with opened(out) as directory:
        async with writer_of(directory) as writer:
            await writer.open_shard(shard_of(0))
            await answer(writer, [8, 2, 5])
        directory.finish({}, unpriced, "interrupted")
    assert told(out) == published(out) == [2, 5, 8]
    with opened(out) as directory:
        assert published(out) == [2, 5, 8]
        async with writer_of(directory) as writer:
            assert await writer.open_shard(shard_of(0)) == {2, 5, 8}
            await answer(writer, [0, 9])
            assert (told(out), published(out)) == ([0, 2, 5, 8, 9], [2, 5, 8])
        assert told(out) == published(out) == [0, 2, 5, 8, 9]
        async with writer_of(directory) as writer:
            await writer.open_shard(shard_of(0))
            await answer(writer, [1, 3, 4, 6, 7])
        assert told(out) == published(out) == [*range(10)]
        directory.finish({}, unpriced)
    assert told(out) == published(out) == [*range(10)]


async def test_an_unfinished_part_gives_back_what_the_journal_has_lost(tmp_path):
    """Answers, failures and costs come out of the part, and the shard is still to be finished."""
    out = tmp_path / "out"
    with opened(out) as directory:
        async with writer_of(directory) as writer:
            await writer.open_shard(shard_of(0))
            await answer(writer, [2, 5])
            writer.emit(Result(8, Status.FAILED, 3, 5, error_kind=FailureKind.TIMEOUT, error_message="late"))
        directory.finish({}, unpriced, "stopped")
    for path in out.glob("journal.sqlite*"):
        path.unlink()
    assert published(out) == [2, 5, 8]
    with opened(out) as directory:
        assert [record.sealed for record in directory.journal.shards()] == [False]
        assert {r.row: (r.status, r.attempts) for r in directory.journal.results(0, 10)} == {
            2: ("succeeded", 1),
            5: ("succeeded", 1),
            8: ("failed", 3),
        }


async def test_failed_rows_that_are_tried_again_leave_the_view_once_they_are(tmp_path):
    """Until its shard is open again a failed row is shown as it was, never twice."""
    out = tmp_path / "out"
    with opened(out) as directory:
        async with writer_of(directory) as writer:
            await writer.open_shard(shard_of(0))
            await answer(writer, range(9))
            writer.emit(Result(9, Status.FAILED, 1, 5, error_kind=FailureKind.TIMEOUT))
        directory.finish({}, unpriced)
    with opened(out) as directory:
        assert directory.reopen_failed(lambda result: None) == 1
        assert read_results(out)["status"].to_pylist() == ["succeeded"] * 9 + ["failed"]
        async with writer_of(directory) as writer:
            await writer.open_shard(shard_of(0))
            assert told(out) == [*range(9)]
            assert published(out) == [*range(10)]
            await answer(writer, [9])
        directory.finish({}, unpriced)
    assert told(out) == published(out) == [*range(10)]


async def test_sealed_parts_and_the_journal_have_each_row_once(tmp_path):
    """Who counts both leaves unfinished parts out: their rows are in the journal too."""
    with opened(tmp_path / "out") as directory:
        async with writer_of(directory) as writer:
            for number in range(2):
                await writer.open_shard(shard_of(number))
            await answer(writer, [*range(10), 14])
        assert len(list(directory.results_path.iterdir())) == 2
        rows = [key for part in directory.sealed_parts for key in pq.read_table(part)["row_id"].to_pylist()]
        rows += [f"k{result.row}" for result in directory.journal.unpublished()]
        assert rows == [f"k{row}" for row in [*range(10), 14]]


async def test_other_columns_take_unfinished_parts_back(tmp_path):
    """They may be changed as long as no whole part is written, and readers never find two kinds of columns."""
    out = tmp_path / "out"
    with opened(out, published={"output.columns": "a"}) as directory:
        async with writer_of(directory) as writer:
            await writer.open_shard(shard_of(0))
            await answer(writer, [4])
    with opened(out, published={"output.columns": "b"}) as directory:
        assert not list(directory.results_path.iterdir())
        assert [result.row for result in directory.journal.results(0, 10)] == [4]
        async with writer_of(directory) as writer:
            await writer.open_shard(shard_of(0))
            await answer(writer, [*range(4), *range(5, 10)])
    with pytest.raises(OutputError, match=r"output.columns has changed"):
        opened(out, published={"output.columns": "c"})


async def test_a_pilot_keeps_the_columns_of_its_rows_only(tmp_path):
    """Its answers can be looked at although it opens nearly all shards of the input."""
    out = tmp_path / "out"
    with opened(out) as directory:
        async with writer_of(directory, only={3, 17}) as writer:
            for number in range(2):
                await writer.open_shard(shard_of(number))
            await answer(writer, [17, 3])
        directory.finish({}, unpriced, "stopped")
    assert told(out) == [3, 17]
    assert not list((out / "results").iterdir())
    assert pa.ipc.open_file(inputs_path(out, 1)).read_all().num_rows == 1


async def test_what_a_full_disk_left_in_the_spill_file_is_read(tmp_path):
    """It was paid for, and the next run takes it over; what was taken over is not read twice."""
    out = tmp_path / "out"
    with opened(out) as directory:
        async with writer_of(directory) as writer:
            await writer.open_shard(shard_of(0))
            await answer(writer, [5])
        run = directory.journal.identity.run
    spill = Spill(out / "journal.spill", run=run)
    spill.append([answered(2), answered(7)], [])
    spill.close()
    assert told(out) == [2, 5, 7]
    with opened(out):
        assert told(out) == [2, 5, 7]
    assert told(out) == [2, 5, 7]


async def test_without_the_input_columns_nothing_wrong_is_shown(tmp_path):
    """After a power cut they may be gone or damaged: a part is read as it is, and a note says what is left out."""
    out = tmp_path / "out"
    with opened(out) as directory:
        async with writer_of(directory) as writer:
            await writer.open_shard(shard_of(0))
            await answer(writer, [5])
        async with writer_of(directory) as writer:
            await writer.open_shard(shard_of(0))
            await answer(writer, [6])
            inputs_path(out, 0).write_bytes(b"")
            assert told(out) == [5]
            for part in (out / "results").iterdir():
                part.unlink()
            assert Committed(out).parts == []
            assert "rows 0 to 9 are not at hand" in Committed(out).notes[0]


async def test_a_damaged_journal_gives_what_is_whole(tmp_path):
    """As the next run would: row by row under its checksum; the damaged file itself stays as it is."""
    out = tmp_path / "out"
    with opened(out) as directory:
        async with writer_of(directory) as writer:
            await writer.open_shard(shard_of(0))
            await answer(writer, range(5))
    journal = sqlite3.connect(out / "journal.sqlite")
    journal.execute("UPDATE results SET body = x'00' WHERE row = 3")
    journal.commit()
    journal.close()
    assert told(out) == [0, 1, 2, 4]
    body = bytearray((out / "journal.sqlite").read_bytes())
    body[100:108] = b"\xff" * 8
    before = bytes(body)
    (out / "journal.sqlite").write_bytes(before)
    assert len(told(out)) in (0, 4, 5) if Committed(out).parts else Committed(out).notes
    assert (out / "journal.sqlite").read_bytes() == before


def test_the_copy_of_a_journal_is_of_one_moment(tmp_path, monkeypatch):
    """Rows are committed and the log begun anew while it is copied: all rows up to some commit are there, always."""
    (tmp_path / "out").mkdir()
    (tmp_path / "copy").mkdir()
    journal = Journal(tmp_path / "out" / "journal.sqlite")
    journal._connection.execute("PRAGMA wal_autocheckpoint = 20")
    copyfile, count = snapshot.shutil.copyfile, 0

    def amid(source, target):
        nonlocal count
        copyfile(source, target)
        if count % 3:
            journal.append([answered(row, completion="x" * 3_000) for row in range(10 * count, 10 * count + 10)])
        count += 1

    monkeypatch.setattr(snapshot.shutil, "copyfile", amid)
    monkeypatch.setattr(snapshot.time, "sleep", lambda seconds: None)
    for _ in range(60):
        before = {result.row for result in journal.results(0, 10**9)}
        copy = snapshot.copy_journal(tmp_path / "out", tmp_path / "copy")
        taken = Journal(copy)
        rows = {result.row for result in taken.results(0, 10**9)}
        assert before <= rows <= {result.row for result in journal.results(0, 10**9)}
        assert len(rows) % 10 == 0
        assert taken.damage == []
        taken.close()
        for path in (tmp_path / "copy").iterdir():
            path.unlink()
    journal.close()
    assert snapshot.copy_journal(tmp_path, tmp_path / "copy") is None


def dying(function, *, after):
    """Return a function that kills its process, before or after it has done its work."""

    def call(*arguments, **options):
        if after:
            function(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    return call


def run_and_be_killed(out, step, when):
    """Answer three rows in a process of its own, then the others, up to a step at which it is killed."""
    room = Journal if step in ("seal", "end_session") else writer_thread

    async def run():
        with opened(out) as directory:
            async with writer_of(directory) as writer:
                await writer.open_shard(shard_of(0))
                await answer(writer, [1, 4, 6])
                setattr(room, step, dying(getattr(room, step), after=when == "after"))
                if step in ("seal", "forget_inputs"):
                    await answer(writer, [row for row in range(ROWS) if row not in (1, 4, 6)])
                elif step == "keep_inputs":
                    await writer.open_shard(shard_of(1))

    child = os.fork()
    if not child:
        try:
            anyio.run(run)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("before", [[], [1, 6]], ids=["first run", "after a stop"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["write_part", "seal", "forget_inputs", "keep_inputs", "end_session"])
def test_a_kill_at_each_boundary_shows_each_row_once(tmp_path, step, when, before):
    """Killed before or after each step that a reader could notice: all committed rows are read, and none twice."""
    out = tmp_path / "out"

    async def stopped_before():
        with opened(out) as directory:
            async with writer_of(directory) as writer:
                await writer.open_shard(shard_of(0))
                await answer(writer, before)

    async def go_on():
        with opened(out) as directory:
            assert told(out) == rows
            sealed = {record.number for record in directory.journal.shards() if record.sealed}
            async with writer_of(directory) as writer:
                for number in {0, 1} - sealed:
                    settled = await writer.open_shard(shard_of(number))
                    await answer(writer, {*range(number * ROWS, (number + 1) * ROWS)} - settled)
            directory.finish({}, unpriced)

    if before:
        anyio.run(stopped_before)
    assert run_and_be_killed(out, step, when) == -signal.SIGKILL
    rows = told(out)
    assert {1, 4, 6} <= {*rows}
    assert len(rows) == len({*rows})
    if list((out / "results").glob("part-*")):
        assert {*published(out)} <= {*rows}
    anyio.run(go_on)
    assert told(out) == published(out) == [*range(20)]
    assert not list(out.glob("open-*"))


def test_a_private_copy_is_gone_with_its_reader(tmp_path, monkeypatch):
    """Answers are private: they are nowhere else than in their directory once the reader has ended."""
    monkeypatch.setattr(writer_thread.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()

    async def run():
        with opened(tmp_path / "out") as directory:
            async with writer_of(directory) as writer:
                await writer.open_shard(shard_of(0))
                await answer(writer, [1])

    anyio.run(run)
    script = (
        "import sys; from batchgen.results.committed import Committed; kept = Committed(sys.argv[1]); "
        "import stat; print(oct(stat.S_IMODE(kept.parts[0].parent.stat().st_mode)), kept.parts[0])"
    )
    said = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "out"], capture_output=True, check=True, env={**os.environ}
    )
    assert said.stdout.startswith(b"0o700 " + bytes(tmp_path / "tmp"))
    assert not list((tmp_path / "tmp").iterdir())


def test_rows_are_not_given_without_what_was_asked_for(tmp_path):
    """A column that there is not, or a run that has no answer, is said before the first batch is read."""
    with pytest.raises(OutputError):
        iter_results(tmp_path)
    pq.write_table(
        pa.table({name: ["a"] for name in ("row_id", "status", "completion", "finished_at")}),
        tmp_path / "part-00000.parquet",
    )
    with pytest.raises(InputError, match='did you mean "status"'):
        iter_results(tmp_path, columns=["state"])
