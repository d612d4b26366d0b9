"""Which directory with open batches may go on: the original, wherever it was moved to, and no copy of it."""

import os
import shutil

import msgspec
import pytest

from batchgen.errors import OutputError
from batchgen.storage import place
from batchgen.storage.batch_table import BatchRecord, BatchTable, write_batch
from batchgen.storage.identity import RunIdentity
from batchgen.storage.journal import Journal
from batchgen.storage.open_batches import collect_first, refuse_open_batches
from batchgen.storage.own_files import JOURNAL_FILE
from batchgen.storage.run_state import RunState, write_run_json

RUN = RunIdentity("0123456789abcdef")
RECORD = BatchRecord(
    number=1,
    state="open",
    rows=1,
    bytes=1,
    tokens=1,
    model="m",
    name="bg-1.jsonl",
    sha="",
    window="24h",
    planned_s=1.0,
)


@pytest.fixture
def out(tmp_path):
    """A directory whose run has a batch open."""
    return make(tmp_path / "in" / "out")


def make(path, state="open", run=RUN):
    """Make a directory whose run has a batch in a state."""
    path.mkdir(parents=True)
    journal = Journal(path / JOURNAL_FILE, run)
    BatchTable(journal)
    write_batch(journal, msgspec.structs.replace(RECORD, state=state))
    journal.close()
    return path


def refused(path, **options):
    """Return why a run in the lane of batches may not go on in a directory; None if it may."""
    try:
        refuse_open_batches(path, {"model.lane": "batch"}, moves=False, **options)
    except OutputError as error:
        return str(error)
    return None


def table(path):
    """Return the table of batches, as a run that begins reads it."""
    journal = Journal(path / JOURNAL_FILE, RUN)
    try:
        return BatchTable(journal)
    finally:
        journal.close()


def test_the_same_directory_goes_on(out, tmp_path):
    """Also by another way to it."""
    assert refused(out) is None
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert refused(tmp_path / "link" / "out") is None
    assert table(out).mark == RUN.run[:10]


@pytest.mark.parametrize("state", ["planned", "uploading", "uploaded", "creating", "open", "ended"])
def test_a_copy_is_refused_as_long_as_the_original_is_there(tmp_path, state):
    """Whatever the batches are waiting for; the user's word overrides it."""
    out, copy = make(tmp_path / "out", state), tmp_path / "elsewhere" / "copy"
    shutil.copytree(out, copy)
    assert str(out) in refused(copy)
    assert refused(copy, take_over=True) is None
    assert refused(out) is None
    shutil.rmtree(out)
    assert refused(copy) is None


@pytest.mark.parametrize("state", ["collected", "cleaned"])
def test_a_copy_of_a_run_without_open_batches_is_a_run_of_its_own(tmp_path, state):
    """Nothing of it is at the vendor."""
    out, copy = make(tmp_path / "out", state), tmp_path / "copy"
    shutil.copytree(out, copy)
    assert refused(copy) is None


def test_a_directory_that_was_moved_goes_on(out, tmp_path):
    """In its file system, and into another one, where it is copied and removed."""
    moved = out.rename(tmp_path / "moved")
    assert refused(moved) is None
    table(moved)
    shutil.copytree(moved, tmp_path / "far" / "out")
    shutil.rmtree(moved)
    assert refused(tmp_path / "far" / "out") is None


def test_the_original_is_found_beside_its_place(out):
    """It was renamed, and a copy stands where it was."""
    old = out.rename(out.with_name("out-old"))
    shutil.copytree(old, out)
    assert str(old) in refused(out)
    assert refused(old) is None


def test_a_backup_that_is_put_back_goes_on(out, tmp_path):
    """It is a copy, and the original is gone."""
    shutil.copytree(out, tmp_path / "backup")
    shutil.rmtree(out)
    shutil.copytree(tmp_path / "backup", out)
    assert refused(out) is None


def test_another_run_in_the_old_place_is_no_original(out, tmp_path):
    """The directory was moved, and another run began where it was."""
    moved = out.rename(tmp_path / "moved")
    make(out, run=RunIdentity("fedcba9876543210"))
    assert refused(moved) is None


def test_an_original_that_is_complete_is_one_too(out, tmp_path):
    """It has no journal any more, and all that was paid for."""
    shutil.copytree(out, tmp_path / "copy")
    (out / JOURNAL_FILE).unlink()
    times = dict.fromkeys(("started_at", "updated_at"), "")
    write_run_json(out, RunState(state="complete", job="j", sessions=1, fingerprints={}, run=RUN.run, **times))
    assert str(out) in refused(tmp_path / "copy")


def test_a_place_that_is_closed_may_hold_the_original(out, tmp_path, monkeypatch):
    """Nobody can look."""

    def closed(*paths):
        raise PermissionError(13, "Permission denied")

    shutil.copytree(out, tmp_path / "copy")
    monkeypatch.setattr(os.path, "samefile", closed)
    assert str(out) in refused(tmp_path / "copy")


def test_a_copy_of_links_to_the_same_files_is_a_copy(out, tmp_path):
    """So is one of the whole file system, mounted beside it: the file has the same number there."""
    shutil.copytree(out, tmp_path / "in" / "links", copy_function=os.link)
    assert str(out) in refused(tmp_path / "in" / "links")


def test_on_another_machine_the_user_has_to_say_it(out, tmp_path, monkeypatch):
    """A copy from elsewhere: the original cannot be looked for. A volume that is mounted there is the same file."""
    shutil.copytree(out, tmp_path / "copy")
    shutil.rmtree(out.parent)
    monkeypatch.setattr(place, "MACHINE_FILE", tmp_path / "none")
    monkeypatch.setattr(place.socket, "gethostname", lambda: "second.example")
    assert "--take-over" in refused(tmp_path / "copy")
    assert refused(tmp_path / "copy", take_over=True) is None
    table(tmp_path / "copy")
    assert refused(tmp_path / "copy") is None
    monkeypatch.setattr(place.socket, "gethostname", lambda: "third.example")
    assert refused((tmp_path / "copy").rename(tmp_path / "mounted")) is None


def test_batches_that_are_planned_in_two_places_have_names_of_their_own(out, tmp_path):
    """Neither takes a batch of the other for its own; those that were planned before keep their names."""
    shutil.copytree(out, tmp_path / "copy")
    first, second = table(out), table(tmp_path / "copy")
    assert first.mark != second.mark
    assert first.mark_of(1) == second.mark_of(1) == RUN.run[:10]
    assert table(tmp_path / "copy").mark == second.mark


@pytest.mark.parametrize("state", ["creating", "open", "ended"])
def test_what_is_open_is_collected_before_another_job_takes_the_directory(tmp_path, state):
    """The sentence that refuses a changed job names what collects the batches, which --update and --fresh leave."""
    out = make(tmp_path / "out", state)
    there = refuse_open_batches(out, {"model.lane": "batch"}, moves=False)
    assert there == 1
    said = collect_first("Something has changed.", there, out)
    assert said.startswith("Something has changed.")
    assert f"batchgen cancel {out}" in said
    for settings, moves in (({"model.lane": "batch"}, True), ({}, False)):
        with pytest.raises(OutputError, match="batchgen cancel"):
            refuse_open_batches(out, settings, moves=moves)


@pytest.mark.parametrize("state", ["planned", "uploaded", "collected", "cleaned"])
def test_what_is_not_at_the_vendor_is_in_nobodys_way(tmp_path, state):
    """No word of batches where nothing is paid."""
    out = make(tmp_path / "out", state)
    assert refuse_open_batches(out, {}, moves=True) == 0
    assert collect_first("Something has changed.", 0, out) == "Something has changed."


def test_a_snapshot_changes_nothing(out, tmp_path):
    """It is read while the run goes on, whose journal is locked; also by its log alone."""
    copy = tmp_path / "copy"
    journal = Journal(out / JOURNAL_FILE, RUN)
    write_batch(journal, msgspec.structs.replace(RECORD, number=2, state="creating"))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    try:
        assert refuse_open_batches(out, {"model.lane": "batch"}, moves=False, snapshot=True) == 2
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        shutil.copytree(out, copy)
    finally:
        journal.close()
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert "is a copy of" in refused(copy, snapshot=True)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
