"""Which run a file belongs to: nothing that was copied, restored or left behind gets into another run."""

import shutil
import sqlite3

import pytest

from batchgen.errors import OutputError
from batchgen.report.read import read_report
from batchgen.results.committed import read_results
from batchgen.results.rows import ResultRows
from batchgen.storage.identity import stored_identity
from batchgen.storage.overflow import Spill
from batchgen.storage.parts import part_identity, part_path
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.run_state import problem_with
from batchgen.storage.shards import ShardRecord
from batchgen.storage.shared_answers import SharedAnswers
from tests.storage.test_run_directory import PRINTS, completed, enter, no_label, outcome, publish

OTHER = {**PRINTS, "input.rows": "of another table"}


def stopped(path, **options):
    """Leave a run with one part, a shard half settled, and no end."""
    with enter(path, **options) as directory:
        publish(directory, 0)
        directory.journal.record([ShardRecord(1, 5, 5)])
        directory.journal.append([outcome(row) for row in (5, 6)])


def killed(path, **options):
    """The same as a SIGKILL leaves it: the journal's log was never folded in."""
    with enter(path.with_name("live"), **options) as directory:
        publish(directory, 0)
        directory.journal.record([ShardRecord(1, 5, 5)])
        directory.journal.append([outcome(row) for row in (5, 6)])
        shutil.copytree(directory.path, path)


def with_journal_alone(path):
    """A run that was killed before its first part."""
    with enter(path.with_name("live")) as directory:
        directory.journal.record([ShardRecord(0, 0, 5)])
        directory.journal.append([outcome(0)])
        shutil.copytree(directory.path, path)


@pytest.mark.parametrize("left", [stopped, killed, completed, with_journal_alone])
def test_without_run_json_the_rest_says_which_run_it_is(tmp_path, left):
    """Another input is refused as before, also by `check`; the same goes on, and no row is done again."""
    out = tmp_path / "out"
    left(out)
    results = read_results(out).num_rows if left is not with_journal_alone else 0
    (out / "run.json").unlink()
    assert "input.rows has changed" in problem_with(out, OTHER, {})
    with pytest.raises(OutputError, match=r"input\.rows has changed"):
        enter(out, fingerprints=OTHER)
    assert problem_with(out, PRINTS, {}) is None
    with enter(out) as directory:
        assert directory.damage == ["run.json was missing; what is here says itself which run it belongs to"]
        settled = directory.journal.sums().totals().rows
        assert settled == {stopped: 7, killed: 7, completed: 10, with_journal_alone: 1}[left]
        directory.finish({}, no_label, state="stopped")
    with enter(out) as directory:
        assert not directory.damage
    assert not results or read_results(out).num_rows == results


def test_columns_already_written_bind_without_run_json(tmp_path):
    """Parts know the choice of columns that they were written with."""
    completed(tmp_path / "out")
    run = part_identity(part_path(tmp_path / "out" / "results", 0))
    assert run.published == {}
    (tmp_path / "out" / "run.json").unlink()
    with pytest.raises(OutputError, match=r"output\.columns has changed"):
        enter(tmp_path / "out", published={"output.columns": "other"})


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("other", [PRINTS, OTHER])
def test_a_part_of_another_run_is_set_aside(tmp_path, number, other):
    """Over one of this run, into a shard that is open, or where none was yet; of another job, or only another run."""
    stopped(tmp_path / "out")
    with enter(tmp_path / "other", fingerprints=other) as directory:
        for part in range(3):
            publish(directory, part)
    place = part_path(tmp_path / "out" / "results", number)
    shutil.copy(part_path(tmp_path / "other" / "results", number), place)
    with enter(tmp_path / "out") as directory:
        [said] = directory.damage
        assert "another run" in said or "has changed" in said
        assert not place.exists()
        settled = directory.journal.settled(0, 100)
        assert settled == {5, 6}
        assert directory.journal.shards()[0].sealed == (number != 0)


@pytest.mark.parametrize("name", ["run.json", "journal.sqlite"])
def test_a_state_and_a_journal_of_two_runs(tmp_path, name):
    """Which of them was copied here nobody can know: refused, and --fresh moves all aside."""
    stopped(tmp_path / "out")
    stopped(tmp_path / "other")
    shutil.copy(tmp_path / "other" / name, tmp_path / "out" / name)
    with pytest.raises(OutputError, match="of another run than"):
        enter(tmp_path / "out")
    enter(tmp_path / "out", fresh=True).close()


def test_a_spill_file_of_another_run(tmp_path):
    """Its answers are not this run's; the file is kept."""
    stopped(tmp_path / "out")
    spill = Spill(tmp_path / "out" / "journal.spill", 1000, "0123456789abcdef")
    spill.append([outcome(7)], [])
    spill.close()
    with enter(tmp_path / "out") as directory:
        assert "left by another run" in directory.damage[0]
        assert directory.journal.settled(0, 100) == {5, 6}
    assert (tmp_path / "out" / "journal.spill.damaged-1").exists()
    enter(tmp_path / "out").close()


def test_shared_answers_of_another_run(tmp_path):
    """The cache begins anew."""
    path = tmp_path / "shared.sqlite"
    for run, found in (("a", None), ("a", outcome(3)), ("b", None), ("a", None)):
        store = SharedAnswers(path, run)
        assert store.get(b"12345678") == found
        store.put([(b"12345678", outcome(3))])
        store.close()


def test_a_directory_that_was_copied_and_run_twice(tmp_path):
    """Each goes its own way; as both are the same run, their parts fit each other."""
    killed(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for name in "ab":
        with enter(tmp_path / name) as directory:
            publish(directory, 1, [outcome(row) for row in range(5, 10)])
            directory.finish({}, no_label)
    (tmp_path / "b" / "run.json").unlink()
    shutil.copy(part_path(tmp_path / "a" / "results", 1), part_path(tmp_path / "b" / "results", 1))
    with enter(tmp_path / "b") as directory:
        assert directory.journal.sums().totals().rows == 10


def test_a_damaged_identity_is_damage(tmp_path):
    """With run.json the rows are saved; without it nobody knows whose they are, and they are not used."""
    for name in ("with", "without"):
        out = tmp_path / name
        with_journal_alone(out)
        shutil.rmtree(tmp_path / "live")
        db = sqlite3.connect(out / "journal.sqlite")
        db.execute("UPDATE meta SET value = replace(value, 'run', 'ruN') WHERE key = 'run'")
        db.commit()
        db.close()
        assert stored_identity(out / "journal.sqlite") is None
    with enter(tmp_path / "with") as directory:
        assert "1 row was saved" in directory.damage[0]
        assert directory.journal.settled(0, 5) == {0}
    (tmp_path / "without" / "run.json").unlink()
    with enter(tmp_path / "without") as directory:
        assert "does not say which run" in directory.damage[0]
        assert directory.journal.shards() == []


def test_every_run_has_a_name_of_its_own(tmp_path):
    """It stays through stops, retries and the end; --fresh draws another."""
    names = set()
    for _ in range(2):
        with RunDirectory.open(tmp_path / "out", job="test", fingerprints=PRINTS, fresh=True) as directory:
            name = directory.journal.identity.run
            assert len(name) == 16
        with enter(tmp_path / "out") as directory:
            assert directory.journal.identity.run == name
        names.add(name)
    assert len(names) == 2


def test_readers_refuse_what_is_mixed(tmp_path):
    """Results, report and evaluation take no answer of another run, whichever part it was copied over."""
    completed(tmp_path / "out")
    completed(tmp_path / "other")
    assert read_results(tmp_path / "out").num_rows == 10
    for number in (1, 0):
        shutil.copy(part_path(tmp_path / "other" / "results", number), part_path(tmp_path / "out" / "results", number))
        with pytest.raises(OutputError, match="a part of another run"):
            read_report(tmp_path / "out")
        with pytest.raises(OutputError, match="a part of another run"):
            ResultRows(tmp_path / "out")
        if number:
            with pytest.raises(OutputError, match="a part of another run"):
                read_results(tmp_path / "out")
    with enter(tmp_path / "out") as directory:
        assert len(directory.damage) == 2
        for number in (0, 1):
            publish(directory, number)
        directory.finish({}, no_label)
    assert read_report(tmp_path / "out").published == 10
