"""A run is moved aside and another takes its place; a kill at any moment leaves both, and the next start goes on."""

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from batchgen.errors import OutputError
from batchgen.storage.earlier_runs import MOST_SOURCES, earlier_run
from batchgen.storage.lock import enter, refuse_foreign
from batchgen.storage.move_aside import begun_state, finish_move
from batchgen.storage.own_files import JOURNAL_FILE
from batchgen.storage.parts import write_part
from batchgen.storage.result_schema import PriceLabel
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.run_state import fingerprints, read_run_json
from batchgen.storage.set_aside import lost_run_hint, set_aside
from batchgen.storage.shards import Shard, ShardRecord
from tests.storage.example_shard import LAYOUT, failed, succeeded

KEYS = [f"{n:032x}{0:08x}" for n in range(20)]


def opened(path, job="a", **options):
    return RunDirectory.open(path, job="j", fingerprints={"job": job, "input": "i"}, **options)


def leave_a_run(path, *, complete=True):
    """Five rows in a part, one of which failed, and two in the journal alone where the run is not complete."""
    with opened(path) as directory:
        rows = [*(succeeded(n, request_key=KEYS[n]) for n in range(4)), failed(4)]
        shard = Shard(0, 0, pa.table({"id": [f"k{n}" for n in range(5)], "n": list(range(5))}))
        directory.journal.record([ShardRecord(0, 0, 5)])
        directory.journal.append(rows)
        part = write_part(directory.results_path, shard, [rows], LAYOUT, directory.journal.identity)
        directory.journal.seal(ShardRecord(0, 0, 5, part))
        if complete:
            directory.finish({"rows": 5}, lambda model: PriceLabel(), state="complete")
        else:
            directory.journal.record([ShardRecord(1, 5, 5)])
            directory.journal.append([succeeded(5, request_key=KEYS[5]), succeeded(6, request_key=KEYS[6])])


def contents(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def old_of(path):
    [old] = path.parent.glob(f"{path.name}.old-*")
    return old


@pytest.mark.parametrize("complete", [True, False])
def test_an_update_takes_the_place_and_names_the_old_run(tmp_path, complete):
    """The old directory is whole, byte for byte; the new one has the same doors and knows where to look."""
    out = tmp_path / "out"
    out.mkdir(mode=0o755)
    leave_a_run(out, complete=complete)
    before = contents(out)
    with opened(out, "b", update=True) as directory:
        assert directory.state is None
        assert not directory.complete
        assert directory.reuse == [old_of(out).name]
    assert {name: body for name, body in contents(old_of(out)).items() if name != "run.lock"} == {
        name: body for name, body in before.items() if name != "run.lock"
    }
    assert out.stat().st_mode == old_of(out).stat().st_mode
    found = {answer.key.hex() for answer in earlier_run(old_of(out)).answers(0, pytest.fail)}
    assert found == {*KEYS[: 4 if complete else 7]} - {KEYS[4]}


def test_many_unfinished_updates_do_not_hide_the_last_complete_run(tmp_path):
    """An update that stops early has taken nothing or little of it, however many of them follow each other."""
    out = tmp_path / "out"
    leave_a_run(out)
    for number in range(2 * MOST_SOURCES):
        with opened(out, f"job {number}", update=True) as directory:
            directory.finish({"rows": 5}, lambda model: PriceLabel(), state="stopped")
    with opened(out, "last", update=True) as directory:
        assert len(directory.reuse) == 2 * MOST_SOURCES + 1
        assert earlier_run(tmp_path / directory.reuse[-1]).state.state == "complete"
        directory.finish({"rows": 5}, lambda model: PriceLabel(), state="complete")
    with opened(out, "one more", update=True) as directory:
        assert len(directory.reuse) == MOST_SOURCES


def test_a_run_in_the_working_directory_is_not_moved_away_under_the_shell(tmp_path, monkeypatch):
    """The shell would go on in the old one. Everything else works there, and from elsewhere the move too."""
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    here = Path()
    assert (begun_state(here), lost_run_hint(here, simulated=False)) == (None, None)
    leave_a_run(here)
    before = contents(out)
    for how in ({"update": True}, {"fresh": True}):
        with pytest.raises(OutputError, match=r"working directory .* lies in the output directory"):
            opened(here, "b", **how)
    assert contents(out) == before
    monkeypatch.chdir(tmp_path)
    with opened(out, "b", update=True) as directory:
        assert directory.reuse == [old_of(out).name]
    assert set_aside(out) == [old_of(out)]
    monkeypatch.chdir(out)
    assert set_aside(here) == [old_of(out)]


def test_a_mounted_directory_stays_and_the_way_on_is_said(tmp_path, monkeypatch):
    out = tmp_path / "out"
    leave_a_run(out)
    before = contents(out)
    monkeypatch.setattr(os.path, "ismount", lambda path: path == out)
    with pytest.raises(OutputError, match=r"is a mount.* --reuse .*out"):
        opened(out, "b", update=True)
    assert contents(out) == before
    assert not list(tmp_path.glob("*out.*"))


@pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
def test_a_file_is_no_place_for_a_run(tmp_path, below):
    (tmp_path / "notes.txt").write_text("mine")
    place = tmp_path / "notes.txt" / below
    assert begun_state(place) is None
    for refused in (lambda: opened(place), lambda: refuse_foreign(place)):
        with pytest.raises(OutputError, match=r"notes\.txt is a file, not a directory"):
            refused()


def test_the_same_job_goes_on_where_it_is(tmp_path):
    """An unfinished run goes on, a complete one is left alone, unless a part of it is to be asked again."""
    for complete in (True, False):
        out = tmp_path / str(complete)
        leave_a_run(out, complete=complete)
        with opened(out, update=True) as directory:
            assert directory.complete == complete
        assert not list(tmp_path.glob(f"{complete}.old-*"))
        with opened(out, update=True, again=True) as directory:
            assert not directory.complete
        assert len(list(tmp_path.glob(f"{complete}.old-*"))) == complete


def test_a_kill_between_the_two_renames(tmp_path):
    """The place is empty then. Whoever comes next takes up what stands beside it, whatever has changed meanwhile."""
    out, successor = tmp_path / "out", tmp_path / ".out.next"
    leave_a_run(out)
    with opened(out, "b", update=True) as directory:
        sources = directory.reuse
    shutil.rmtree(out / "results")  # as it is before anything is done there
    (out / JOURNAL_FILE).unlink()
    state = read_run_json(out)
    body = (out / "run.json").read_text().replace(f'"sessions": {state.sessions}', '"sessions": 0')
    (out / "run.json").write_text(body)
    out.rename(successor)
    assert begun_state(out).reuse == sources
    with pytest.raises(OutputError, match="another job"):
        opened(out, "c")
    out.rename(successor)
    with opened(out, "c", update=True) as directory:
        assert directory.reuse == sources
    assert not successor.exists()
    assert old_of(out).name == sources[0]


def test_a_kill_before_the_first_rename(tmp_path):
    """What was made beside the old run is in nobody's way, and made anew."""
    out = tmp_path / "out"
    leave_a_run(out)
    os.close(enter(tmp_path / ".out.next"))
    with opened(out) as directory:
        assert directory.complete
    with opened(out, "b", update=True) as directory:
        assert directory.reuse == [old_of(out).name]
    assert not (tmp_path / ".out.next").exists()


def test_a_move_that_another_process_makes_is_left_to_it(tmp_path):
    """Between its two renames it holds the lock of the new directory."""
    lock = enter(tmp_path / ".out.next")
    try:
        with pytest.raises(OutputError, match="in use"):
            finish_move(tmp_path / "out")
    finally:
        os.close(lock)


def test_a_copy_of_standard_input_is_in_both(tmp_path):
    """The old run may still be taken up, and the new one reads the same rows."""
    out = tmp_path / "out"
    leave_a_run(out)
    spooled = out / f"stdin-{'0' * 32}.csv"
    spooled.write_text("id\n1\n")
    opened(out, "b", update=True, spooled=spooled).close()
    assert spooled.read_text() == (old_of(out) / spooled.name).read_text()


def test_sources_are_kept_through_several_changes(tmp_path):
    """An update that is changed again before it is complete leaves answers in several places: all are looked into."""
    out = tmp_path / "out"
    leave_a_run(out, complete=False)
    for job in "bcd":
        opened(out, job, update=True).close()
    with opened(out, "e", update=True) as directory:
        assert len(directory.reuse) == 4


@pytest.mark.parametrize("simulated", [True, False])
def test_simulated_and_real_answers_are_never_mixed(tmp_path, simulated):
    """An update of the other kind is refused, and moves nothing."""
    simulator = fingerprints({"model.base_url": "simulator"})
    out = tmp_path / "out"
    found, wanted = ({**simulator}, {"job": "b"}) if simulated else ({"job": "a"}, {**simulator})
    RunDirectory.open(out, job="j", fingerprints=found).close()
    with pytest.raises(OutputError, match="simulate"):
        RunDirectory.open(out, job="j", fingerprints=wanted, update=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_damaged_part_is_told_and_the_others_are_read(tmp_path):
    """Its answers are asked again, the rest is not."""
    out = tmp_path / "out"
    leave_a_run(out, complete=False)
    [part] = (out / "results").glob("part-*")
    body = bytearray(part.read_bytes())
    body[200:240] = bytes(40)
    part.write_bytes(body)
    notes = []
    assert {a.key.hex() for a in earlier_run(out).answers(0, notes.append)} == {KEYS[5], KEYS[6]}
    assert len(notes) == 1
    assert "part-00000" in notes[0] or "checksum" in notes[0].lower()
