"""The output directory: one owner at a time, one job for ever, and taken up from whatever a crash has left."""

import json
import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.errors import OutputError, StorageStop
from batchgen.results.committed import read_results
from batchgen.storage import lock
from batchgen.storage.journal import Journal
from batchgen.storage.parts import part_path, write_part
from batchgen.storage.result_schema import Layout, PriceLabel
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.run_state import SavedSummary, fingerprints, keep_estimate, problem_with, read_state
from batchgen.storage.shards import Shard, ShardRecord
from batchgen.values import FailureKind, Result, Status

PRINTS = fingerprints({"prompt": {"user": "Say {{ x }}", "system": None}, "model": {"name": "m"}, "input": {"rows": 9}})
LAYOUT = Layout(pa.schema([("n", pa.int64())]))


def no_label(model):
    """Return the label of a model without price."""
    return PriceLabel()


def enter(path, **options):
    """Open the directory for the same job as always."""
    return RunDirectory.open(path, **{"job": "test", "fingerprints": PRINTS} | options)


def outcome(row, attempts=1, cost="0.3"):
    """Return a result: every third row has failed."""
    bad = row % 3 == 2
    return Result(
        row,
        Status.FAILED if bad else Status.SUCCEEDED,
        attempts,
        1_750_000_000_000_000,
        completion=None if bad else f"answer {row}",
        error_kind=FailureKind.SERVER_ERROR if bad else None,
        total_tokens=10,
        input_cost=Decimal("0.1"),
        output_cost=Decimal(cost) - Decimal("0.1"),
    )


def publish(directory, number, results=None):
    """Settle and publish a shard of five rows."""
    first = number * 5
    results = results or [outcome(row) for row in range(first, first + 5)]
    directory.journal.record([ShardRecord(number, first, 5)])
    directory.journal.append(results)
    shard = Shard(number, first, pa.table({"n": list(range(first, first + 5))}))
    part = write_part(directory.results_path, shard, [results], LAYOUT, directory.journal.identity)
    directory.journal.seal(ShardRecord(number, first, 5, part))


def completed(path, shards=2):
    """Leave a complete run of that many shards."""
    with enter(path) as directory:
        for number in range(shards):
            publish(directory, number)
        directory.finish({"rows": 5 * shards}, no_label)


def test_everything_is_private(tmp_path):
    """Directories have mode 0700 and files 0600 under umask 0."""
    old = os.umask(0)
    try:
        with enter(tmp_path / "deep" / "out") as directory:
            publish(directory, 0)
            directory.finish({}, no_label, state="stopped")
    finally:
        os.umask(old)
    out = tmp_path / "deep" / "out"
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    for path in out.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def modes(path):
    """Return the mode of everything below a directory, by relative path."""
    return {str(p.relative_to(path)): stat.S_IMODE(p.lstat().st_mode) for p in path.rglob("*")}


@pytest.mark.parametrize("mode", [0o755, 0o2775, 0o1777])
def test_a_directory_that_the_user_made_keeps_its_mode(tmp_path, mode):
    """Only what is put into it is private; a run that is moved aside leaves a new directory with the same doors."""
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(mode)
    enter(out).close()
    assert stat.S_IMODE(out.stat().st_mode) == mode
    assert all(found & 0o077 == 0 for found in modes(out).values())
    enter(out, fresh=True).close()
    assert stat.S_IMODE(out.stat().st_mode) == mode


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_missing_directories_above_are_private_too(tmp_path, umask):
    """Those that the user has are not touched."""
    (tmp_path / "his").mkdir()
    (tmp_path / "his").chmod(0o755)
    old = os.umask(umask)
    try:
        enter(tmp_path / "his" / "a" / "b").close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "his").stat().st_mode) == 0o755
    for path in (tmp_path / "his" / "a", tmp_path / "his" / "a" / "b"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_refused_directory_is_not_changed(tmp_path):
    """Neither its mode nor what is in it, also when it looks a little like a run."""
    for number, name in enumerate(["thesis.tex", "results", "run.lock.txt"]):
        shared = tmp_path / str(number)
        shared.mkdir()
        shared.chmod(0o2775)
        (shared / name).mkdir()
        (shared / name).chmod(0o755)
        with pytest.raises(OutputError, match=f"it has {name}"):
            enter(shared)
        assert f"it has {name}" in problem_with(shared, PRINTS, {})
        assert stat.S_IMODE(shared.stat().st_mode) == 0o2775
        assert modes(shared) == {name: 0o755}


def test_a_group_can_be_let_in(tmp_path):
    """With the group's mode all files can be read and written by it, those of an earlier run as well, and back."""
    out = tmp_path / "out"
    old = os.umask(0o077)
    try:
        with enter(out) as directory:
            publish(directory, 0)
            directory.finish({}, no_label, state="stopped")
        for mode in (0o660, 0o600):
            with enter(out, mode=mode) as directory:
                publish(directory, 1 if mode == 0o660 else 2)
                directory.finish({}, no_label, state="stopped")
            found = modes(out)
            assert found.pop("results") == (0o770 if mode == 0o660 else 0o700)
            assert set(found.values()) == {mode}, found
            closed = any("chmod g+rwx" in text for text in directory.damage)
            assert closed == (mode == 0o660)
            enter(out).close()
            assert set(modes(out).values()) == {mode, 0o770 if mode == 0o660 else 0o700}
        with enter(tmp_path / "new" / "out", mode=0o660) as directory:
            assert directory.damage == []
        assert stat.S_IMODE((tmp_path / "new" / "out").stat().st_mode) == 0o770
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o770
    finally:
        os.umask(old)


def test_the_setgid_bit_is_passed_on(tmp_path):
    """In a folder of a group the run stays in that group."""
    (tmp_path / "team").mkdir()
    (tmp_path / "team").chmod(0o2770)
    enter(tmp_path / "team" / "out", mode=0o660).close()
    assert stat.S_IMODE((tmp_path / "team" / "out").stat().st_mode) == 0o2770
    assert stat.S_IMODE((tmp_path / "team" / "out" / "results").stat().st_mode) == 0o2770


def test_what_other_commands_left_there_is_ours(tmp_path):
    """A directory with an estimate, or an error's file, and nothing else takes a run."""
    (tmp_path / "out").mkdir()
    for name in ("estimate.parquet", "batchgen-error-20260101-000000-1.txt"):
        (tmp_path / "out" / name).write_text("x")
    enter(tmp_path / "out").close()


def test_a_directory_moved_away_while_entering(tmp_path, monkeypatch):
    """When another process's --fresh moves the directory between opening and locking, the new one is locked."""
    flock = lock.fcntl.flock

    def moved_first(*arguments):
        if not (tmp_path / "old").exists():
            (tmp_path / "out").rename(tmp_path / "old")
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "run.lock").touch()
        flock(*arguments)

    monkeypatch.setattr(lock.fcntl, "flock", moved_first)
    with enter(tmp_path / "out"):
        assert read_state(tmp_path / "out")[1]
        assert not (tmp_path / "old" / "run.lock").read_text()


def test_run_json_has_state_and_no_texts(tmp_path):
    """It has digests of the job, not its words, and is readable while somebody runs."""
    with enter(tmp_path / "out") as directory:
        directory.save("running", {"rows": 9})
        state, who = read_state(tmp_path / "out")
        assert (state.state, state.job, state.summary, state.sessions) == ("running", "test", SavedSummary(rows=9), 1)
        assert who.startswith(f"process {os.getpid()} on ")
    state, who = read_state(tmp_path / "out")
    assert who is None
    assert "Say" not in (tmp_path / "out" / "run.json").read_text()
    with pytest.raises(OutputError, match="not an output directory"):
        read_state(tmp_path)


def test_an_estimate_is_kept_with_the_run_that_it_is_for(tmp_path):
    """One of another job or input is left out, and so is one that comes when the run is complete."""
    enter(tmp_path / "out").close()
    for prints, rows in ((PRINTS, 1), ({**PRINTS, "input.rows": "other"}, 2)):
        keep_estimate(tmp_path / "out", {"rows": rows}, prints)
        assert read_state(tmp_path / "out")[0].estimate == {"rows": 1}
    completed(tmp_path / "done")
    keep_estimate(tmp_path / "done", {"rows": 1}, PRINTS)
    assert read_state(tmp_path / "done")[0].estimate is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prompt.user": "other"}, "prompt.user has changed"),
        ({"model.name": "x", "input.rows": "y"}, "input.rows, model.name have changed"),
        ({"model.parameters.seed": "new"}, "model.parameters.seed has changed"),
    ],
)
def test_a_changed_job_is_named(tmp_path, change, named):
    """A changed job or input is refused, naming each key and the two ways on."""
    enter(tmp_path / "out").close()
    with pytest.raises(OutputError, match=named) as caught:
        enter(tmp_path / "out", fingerprints=PRINTS | change)
    assert "--fresh" in str(caught.value)
    assert "another --output" in str(caught.value)
    enter(tmp_path / "out").close()


def test_columns_may_change_until_a_part_is_out(tmp_path):
    """The choice of carried columns binds only once it is written somewhere."""
    enter(tmp_path / "out", published={"output.columns": "a"}).close()
    with enter(tmp_path / "out", published={"output.columns": "b"}) as directory:
        publish(directory, 0)
    with pytest.raises(OutputError, match=r"output\.columns has changed"):
        enter(tmp_path / "out", published={"output.columns": "a"})


def test_fingerprints_are_by_dotted_key():
    """Equal values have equal digests whatever their order; an empty table is a value too."""
    assert fingerprints({"a": {"b": 1, "c": {}}, "d": [1]}).keys() == {"a.b", "a.c", "d"}
    assert fingerprints({"a": [{"x": 1, "y": 2}]}) == fingerprints({"a": [{"y": 2, "x": 1}]})
    assert fingerprints({"a": 1}) != fingerprints({"a": "1"})


def test_fresh_moves_the_old_run_aside(tmp_path):
    """`--fresh` deletes nothing, not even twice within a second, and takes any job."""
    completed(tmp_path / "out")
    for number in (1, 2):
        with enter(tmp_path / "out", fingerprints={"x": str(number)}, fresh=True) as directory:
            assert directory.state is None
            assert not directory.complete
        assert len(list(tmp_path.glob("out.old-*"))) == number
    assert any((old / "results" / "part-00001.parquet").exists() for old in tmp_path.glob("out.old-*"))


def test_foreign_directories_are_refused(tmp_path):
    """A directory with other things in it, a file and a symbolic link are refused, and nothing is put there."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name, words in {"work": "thesis.tex", "file": "not a directory", "link": "symbolic link"}.items():
        with pytest.raises(OutputError, match=words):
            enter(tmp_path / name)
    assert [p.name for p in (tmp_path / "work").iterdir()] == ["thesis.tex"]
    assert list((tmp_path / "real").iterdir()) == []


def test_network_file_systems_are_refused_by_name(tmp_path):
    """The nearest mount decides; a local one inside a network one is fine."""
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/a / ext4 rw 0 0\n"
        f"server:/x {tmp_path}/my\\040nfs nfs4 rw 0 0\n"
        f"/dev/b {tmp_path}/my\\040nfs/disk xfs rw 0 0\n"
    )
    with pytest.raises(OutputError, match="nfs4"):
        enter(tmp_path / "my nfs" / "out", mounts=mounts)
    enter(tmp_path / "my nfs" / "disk" / "out", mounts=mounts).close()
    enter(tmp_path / "out", mounts=tmp_path / "missing").close()


CHILD = """
import sys
from pathlib import Path
from batchgen.storage.run_directory import RunDirectory
directory = RunDirectory.open(Path(sys.argv[1]), job="test", fingerprints={})
print("in", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_who_runs(tmp_path):
    """The second gets pid and host within a second; SIGKILL of the first frees the directory at once."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"in\n"
        with pytest.raises(OutputError, match=f"process {child.pid} on {os.uname().nodename}"):
            enter(tmp_path / "out", fingerprints={})
        with pytest.raises(OutputError, match="in use by"):
            enter(tmp_path / "out", fingerprints={}, fresh=True)
        child.send_signal(signal.SIGKILL)
        child.wait()
        enter(tmp_path / "out", fingerprints={}).close()


def test_started_within_milliseconds(tmp_path):
    """Of processes started together one runs; the others name it."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "out")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    lines = {child.pid: child.stdout.readline() for child in children}
    [winner] = [pid for pid, line in lines.items() if line]
    for child in children:
        _, errors = child.communicate(b"")
        assert child.pid == winner or f"in use by process {winner} on".encode() in errors


def test_a_complete_run_stays_as_it_is(tmp_path):
    """Its journal is gone, its state says so, opening it again changes nothing."""
    completed(tmp_path / "out")
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"results", "cost_summary.parquet", "run.json", "run.lock"}
    before = (tmp_path / "out" / "run.json").read_bytes()
    with enter(tmp_path / "out") as directory:
        assert directory.complete
        assert directory.state.state == "complete"
    assert (tmp_path / "out" / "run.json").read_bytes() == before
    assert pq.read_table(tmp_path / "out" / "cost_summary.parquet")["rows"].to_pylist() == [3, 7]


def test_a_stopped_run_has_a_cost_summary(tmp_path):
    """It covers published parts and rows still in the journal."""
    with enter(tmp_path / "out") as directory:
        publish(directory, 0)
        directory.journal.record([ShardRecord(1, 5, 5)])
        directory.journal.append([outcome(6)])
        directory.finish({}, no_label, state="stopped")
        with pytest.raises(RuntimeError):
            directory.finish({}, no_label)
    assert sum(pq.read_table(tmp_path / "out" / "cost_summary.parquet")["rows"].to_pylist()) == 6
    with enter(tmp_path / "out") as directory:
        assert directory.state.state == "stopped"
        assert directory.journal.sums().totals().rows == 6


def test_a_disk_that_refuses_the_end_stops_the_run(tmp_path, monkeypatch):
    """State or summary that cannot be written is a `StorageStop`; the old state stays readable."""
    with enter(tmp_path / "out") as directory:
        publish(directory, 0)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left")))
            with pytest.raises(StorageStop, match="No space left"):
                directory.save("running", {})
            with pytest.raises(StorageStop, match="No space left"):
                directory.finish({}, no_label)
        assert read_state(tmp_path / "out")[0].state == "running"
        directory.finish({}, no_label)
        assert read_state(tmp_path / "out")[0].state == "complete"


def test_failed_rows_of_a_complete_run_are_reopened(tmp_path):
    """From the parts alone: good rows stay settled, failed ones are pending and keep attempts and cost."""
    completed(tmp_path / "out", shards=3)
    with enter(tmp_path / "out") as directory:
        assert directory.reopen_failed(lambda result: Decimal("0.1")) == 5
        journal = directory.journal
        assert [record.sealed for record in journal.shards()] == [False] * 3
        assert journal.settled(0, 15) == {row for row in range(15) if row % 3 != 2}
        assert list(journal.results(0, 15)) == [outcome(r) for r in range(15) if r % 3 != 2]
        assert [s.row for s in journal.spent()] == [2, 5, 8, 11, 14]
        [stored] = journal.append([outcome(2)])
        assert (stored.attempts, stored.input_cost + stored.output_cost) == (2, Decimal("0.6"))
    assert read_results(tmp_path / "out").num_rows == 15


@pytest.mark.parametrize("survived", range(4))
def test_a_kill_while_reopening_loses_nothing(tmp_path, monkeypatch, survived):
    """Killed after any number of shards, the next run has every row settled, pending, or in its part."""
    completed(tmp_path / "out", shards=3)
    unseal = Journal.unseal
    left = iter(range(survived))

    def die_in_time(journal, *arguments):
        if next(left, None) is None:
            raise KeyboardInterrupt
        unseal(journal, *arguments)

    with enter(tmp_path / "out") as directory, monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(Journal, "unseal", die_in_time)
        directory.reopen_failed(lambda result: Decimal("0.1"))
    with enter(tmp_path / "out") as directory:
        assert not directory.damage
        journal = directory.journal
        assert [record.sealed for record in journal.shards()] == [False] * survived + [True] * (3 - survived)
        assert journal.settled(0, 15) == {row for row in range(5 * survived) if row % 3 != 2}
        assert [item.row for item in journal.spent()] == list(range(2, 5 * survived, 3))
        assert directory.reopen_failed(lambda result: Decimal("0.1")) == 5 - len(range(2, 5 * survived, 3))


def test_damaged_and_missing_parts_are_done_again(tmp_path):
    """A part that changed on disk is kept aside, a missing one noted; both shards are open again, the third is not."""
    with enter(tmp_path / "out") as directory:
        for number in range(3):
            publish(directory, number)
    results = tmp_path / "out" / "results"
    body = bytearray(part_path(results, 0).read_bytes())
    body[50] ^= 1
    part_path(results, 0).write_bytes(body)
    part_path(results, 1).unlink()
    with enter(tmp_path / "out") as directory:
        assert [record.sealed for record in directory.journal.shards()] == [False, False, True]
        assert len(directory.damage) == 2
        assert (tmp_path / "out" / "part-00000.parquet.damaged-1").read_bytes() == body
        publish(directory, 0)
        publish(directory, 1)
        directory.finish({}, no_label)
    assert read_results(tmp_path / "out")["completion"].to_pylist() == [outcome(row).completion for row in range(15)]


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_a_part_missing_from_a_complete_run_is_done_again(tmp_path, damage):
    """A complete run whose part was deleted or damaged is not complete any more; boundaries are kept."""
    completed(tmp_path / "out", shards=3)
    path = part_path(tmp_path / "out" / "results", 1)
    body = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        middle = len(body) // 2
        path.write_bytes(
            body[:middle] + (bytes([body[middle] ^ 1]) + body[middle + 1 :] if damage == "flipped" else b"")
        )
    with enter(tmp_path / "out") as directory:
        assert not directory.complete
        assert [text for text in directory.damage if "its rows are done again" in text] == directory.damage != []
        assert [(r.first_row, r.rows, r.sealed) for r in directory.journal.shards()] == [
            (0, 5, True),
            (5, 5, False),
            (10, 5, True),
        ]


def test_a_part_that_was_written_again_is_no_damage(tmp_path):
    """After `--retry-failed` a part is another than `run.json` said when the run was complete."""
    completed(tmp_path / "out")
    with enter(tmp_path / "out") as directory:
        directory.reopen_failed(lambda result: None)
        directory.save("running", {})
        publish(directory, 0, [Result(row, Status.SUCCEEDED, 1, 7, completion="again") for row in range(5)])
    for path in (tmp_path / "out").glob("journal.*"):
        path.unlink()
    with enter(tmp_path / "out") as directory:
        assert directory.damage == []
        assert directory.journal.shards()[0].sealed


def test_a_lost_journal_is_made_from_the_parts(tmp_path):
    """Without journal and log the published rows count; a part whose shard is open gives its good rows."""
    with enter(tmp_path / "out") as directory:
        publish(directory, 0)
        publish(directory, 1)
        directory.journal.unseal(directory.journal.shards()[1], [])
    with enter(tmp_path / "out") as directory:
        assert directory.journal.settled(5, 10) == {6, 7, 9}
    for path in (tmp_path / "out").glob("journal.*"):
        path.unlink()
    with enter(tmp_path / "out") as directory:
        assert [record.sealed for record in directory.journal.shards()] == [True, True]
        assert directory.journal.sums().totals().rows == 10


def test_half_written_files_are_cleared(tmp_path):
    """What a kill left half-written under an aside name goes away."""
    with enter(tmp_path / "out") as directory:
        (directory.results_path / ".part-00000.parquet.partial").write_bytes(b"half")
        (directory.path / ".run.json.partial").write_bytes(b"half")
    with enter(tmp_path / "out") as directory:
        assert list(directory.path.rglob("*.partial")) == []


def test_unreadable_state_is_a_sentence(tmp_path):
    """A damaged run.json is named with the way out, which works."""
    enter(tmp_path / "out").close()
    (tmp_path / "out" / "run.json").write_text(json.dumps({"state": 1}))
    with pytest.raises(OutputError, match=r"run\.json cannot be read"):
        enter(tmp_path / "out")
    enter(tmp_path / "out", fresh=True).close()


def test_sums_are_those_of_the_results(tmp_path):
    """After reopening and sealing again the cost summary still equals the sums over the parts."""
    completed(tmp_path / "out")
    with enter(tmp_path / "out") as directory:
        directory.reopen_failed(lambda result: Decimal("0.1"))
        journal = directory.journal
        for number in (0, 1):
            missing = set(range(number * 5, number * 5 + 5)) - journal.settled(0, 10)
            journal.append([outcome(row) for row in missing])
            rows = list(journal.results(number * 5, number * 5 + 5))
            shard = Shard(number, number * 5, pa.table({"n": [0] * 5}))
            part = write_part(directory.results_path, shard, [rows], LAYOUT, directory.journal.identity)
            journal.seal(ShardRecord(number, number * 5, 5, part))
        directory.finish({}, no_label)
    table = read_results(tmp_path / "out")
    summary = pq.read_table(tmp_path / "out" / "cost_summary.parquet")
    assert sum(table["cost"].to_pylist()) == sum(summary["cost"].to_pylist()) == Decimal("3.9")
    assert sum(table["attempts"].to_pylist()) == sum(summary["attempts"].to_pylist()) == 13


def test_reopened_rows_are_still_to_do(tmp_path):
    """`status` says so after a kill too, when the run has not come to count them itself."""
    with enter(tmp_path / "out") as directory:
        publish(directory, 0)
        directory.finish({"rows": 5, "succeeded": 4, "failed": 1, "pending": 0}, no_label)
    with enter(tmp_path / "out") as directory:
        assert directory.reopen_failed(lambda result: None) == 1
    told = read_state(tmp_path / "out")[0]
    assert (told.state, told.summary.succeeded, told.summary.failed, told.summary.pending) == ("running", 4, 0, 1)


def test_a_directory_that_is_closed_to_us(tmp_path, monkeypatch):
    """What may not be looked into is refused with a sentence, by `check` as by `run`."""
    (tmp_path / "out").mkdir()

    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", closed)
    assert "Permission denied" in problem_with(tmp_path / "out", PRINTS, {})
    with pytest.raises(OutputError, match="Permission denied"):
        enter(tmp_path / "out")


@pytest.mark.parametrize("below", ["", "out"])
def test_a_file_in_the_place_of_the_output_directory_is_told_beforehand(tmp_path, below):
    """By `check`, before anything is paid for."""
    (tmp_path / "a.csv").write_text("id\n1\n")
    assert "a.csv is a file" in problem_with(tmp_path / "a.csv" / below, PRINTS, {})
    assert problem_with(tmp_path / "new" / below, PRINTS, {}) is None


def test_the_times_of_each_session_are_kept(tmp_path):
    """A session ends when it last wrote; looking at a complete run is no session, trying its failed rows again is."""
    for _ in range(2):
        with enter(tmp_path / "out", price="1 USD") as directory:
            directory.save("running", {"rows": 5})
    state, _ = read_state(tmp_path / "out")
    (first_began, first_ended), (second_began, second_ended) = state.session_times
    assert first_began <= first_ended <= second_began <= second_ended
    assert second_ended == state.updated_at
    assert (state.sessions, state.price) == (2, "1 USD")
    with enter(tmp_path / "out") as directory:
        publish(directory, 0)
        directory.finish({"rows": 5}, no_label)
    complete, _ = read_state(tmp_path / "out")
    assert len(complete.session_times) == 3
    with enter(tmp_path / "out", evaluate={"gold": "x"}) as directory:
        assert directory.complete
        assert len(read_state(tmp_path / "out")[0].session_times) == 3
        assert read_state(tmp_path / "out")[0].session_times == complete.session_times
        directory.reopen_failed(lambda result: Decimal(0))
    assert len(read_state(tmp_path / "out")[0].session_times) == 4
