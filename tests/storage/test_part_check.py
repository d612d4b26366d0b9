"""Parts that a run finds when it goes on: read at once if they may have changed, else before it ends."""

from contextlib import closing

import pytest

from batchgen.files.stamps import stamp_of
from batchgen.storage import part_check
from batchgen.storage.journal import Journal
from batchgen.storage.part_check import PartCheck
from batchgen.storage.parts import checksum, part_path, write_part
from batchgen.storage.shards import ShardRecord
from tests.storage.example_shard import LAYOUT, shard_of, succeeded


@pytest.fixture
def read(monkeypatch):
    """The names of the parts that the check's thread has read, in order."""
    names = []

    def noted(path):
        names.append(path.name)
        return checksum(path)

    monkeypatch.setattr(part_check, "checksum", noted)
    return names


@pytest.fixture
def run(tmp_path):
    """Three published parts of five rows, and their journal."""
    with closing(Journal(tmp_path / "journal")) as journal:
        for number in range(3):
            rows = [succeeded(row) for row in range(5 * number, 5 * number + 5)]
            part = write_part(tmp_path, shard_of(5, 5 * number, number), [rows], LAYOUT)
            journal.seal(ShardRecord(number, 5 * number, 5, part), stamp_of(part_path(tmp_path, number)))
        yield journal, tmp_path


def flipped(path):
    """Change a byte as a damaged disk does, which leaves all that the file system says."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with open(path, "r+b") as file:
        file.write(data)


def check_of(journal, folder):
    with closing(PartCheck(journal, folder, [])) as check:
        return check.damage, check.wait()


def test_parts_that_nobody_has_touched_are_read_beside_the_run(run, read, monkeypatch):
    """Not one is read before the run may go on, and every one before it may end."""
    journal, folder = run
    with monkeypatch.context() as patch:
        patch.setattr("batchgen.storage.recovery.read_part_record", None)  # what reads one at the start
        assert check_of(journal, folder) == ([], [])
    assert sorted(read) == [f"part-0000{number}.parquet" for number in range(3)]


def test_a_changed_file_is_read_at_once(run, read):
    """Its stamp is another one; where its bytes are the same, the new stamp serves from then on."""
    journal, folder = run
    copy = folder / "copy"
    copy.write_bytes(part_path(folder, 1).read_bytes())
    copy.rename(part_path(folder, 1))
    assert check_of(journal, folder) == ([], [])
    assert "part-00001.parquet" not in read
    read.clear()
    assert check_of(journal, folder) == ([], [])
    assert "part-00001.parquet" in read
    flipped(part_path(folder, 2))
    (told,), later = check_of(journal, folder)
    assert "part-00002.parquet has changed since it was written" in told
    assert later == []
    assert [record.sealed for record in journal.shards()] == [True, True, False]


def test_damage_that_leaves_no_trace_is_found_before_the_end(run, monkeypatch):
    """Its rows are then pending again, and the file is kept aside."""
    journal, folder = run
    stamps = {path: stamp_of(path) for path in (part_path(folder, number) for number in range(3))}
    flipped(part_path(folder, 1))
    monkeypatch.setattr(part_check, "stamp_of", stamps.get)
    begun, later = check_of(journal, folder)
    assert begun == []
    assert len(later) == 1
    assert "part-00001.parquet has changed since it was written" in later[0]
    assert [record.sealed for record in journal.shards()] == [True, False, True]
    assert not part_path(folder, 1).exists()


def test_a_part_that_is_written_anew_meanwhile_is_no_damage(run, monkeypatch):
    """As the failed rows of it were tried again."""
    journal, folder = run
    written = []

    def late(path):
        if not written:
            rows = [succeeded(row, completion="another") for row in range(5)]
            written.append(write_part(folder, shard_of(5), [rows], LAYOUT))
        return checksum(path)

    monkeypatch.setattr(part_check, "checksum", late)
    with closing(PartCheck(journal, folder, [])) as check:
        check._thread.join()
        journal.seal(ShardRecord(0, 0, 5, written[0]), stamp_of(part_path(folder, 0)))
        assert check.wait() == []
    assert all(record.sealed for record in journal.shards())


def test_a_journal_of_an_earlier_version_gets_the_stamps(run, read):
    """Its parts are read once."""
    journal, folder = run
    journal._connection.execute("DROP TABLE stamps")
    journal.close()
    for found in ([], [f"part-0000{number}.parquet" for number in range(3)]):
        with closing(Journal(folder / "journal")) as opened:
            assert check_of(opened, folder) == ([], [])
        assert sorted(read) == found


@pytest.mark.parametrize("text", ["", "[]", '[1,2,"x"]', "\x00"])
def test_a_damaged_stamp_counts_as_none(run, read, text):
    """The file is read, then."""
    journal, folder = run
    journal._connection.execute("UPDATE stamps SET stamp = ? WHERE number = 1", (text,))
    assert check_of(journal, folder) == ([], [])
    assert "part-00001.parquet" not in read
