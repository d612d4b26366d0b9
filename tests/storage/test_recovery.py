"""Taking up what is there: a spill file, once; parts whose failed rows are asked again, or whose shard is open."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from batchgen.money.ledger import Charges, Sums
from batchgen.storage.identity import RunIdentity
from batchgen.storage.journal import Journal
from batchgen.storage.journal_repair import open_journal
from batchgen.storage.overflow import Spill
from batchgen.storage.parts import DamagedPartError, part_path, write_part
from batchgen.storage.recovery import check_parts, reopen_failed, take_spill
from batchgen.storage.shards import PartRecord, ShardRecord
from batchgen.values import Result, Status
from tests.storage.example_shard import LAYOUT, failed, shard_of, succeeded

ROOT = Path(__file__).parents[2]


def outcome(row, attempts=1):
    """Return a result."""
    return Result(row, Status.SUCCEEDED, attempts, 7, completion=f"answer {row}")


def spilled(path, results, spent):
    """Leave a spill file."""
    spill = Spill(path, 10_000)
    spill.append(results, spent)
    spill.close()


def test_spilled_answers_are_taken_over(tmp_path):
    """What a full disk drove into the spill file is in the journal: not what is in a part, not what was there."""
    journal = Journal(tmp_path / "journal")
    journal.seal(ShardRecord(0, 0, 5, PartRecord(1, 2, Sums())))
    journal.append([outcome(6)])
    spilled(tmp_path / "spill", [outcome(1), outcome(6, attempts=9), outcome(7)], [Charges(8, 2)])
    assert take_spill(journal, tmp_path / "spill") == []
    assert [(result.row, result.attempts) for result in journal.results(0, 99)] == [(6, 1), (7, 1)]
    assert list(journal.spent()) == [Charges(8, 2)]
    assert not (tmp_path / "spill").exists()
    assert take_spill(journal, tmp_path / "spill") == []
    journal.close()


KILLED_AT_THE_END = """
import os, signal, sys
from pathlib import Path
from batchgen.storage.identity import RunIdentity
from batchgen.storage.recovery import take_spill
from batchgen.storage.journal_repair import open_journal
place = Path(sys.argv[1])
journal = open_journal(place / "journal", RunIdentity())
def hook(event, arguments):
    if event == "os.remove" and str(arguments[0]) == str(place / "spill"):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
take_spill(journal, place / "spill")
"""


def test_a_kill_before_the_file_has_gone_counts_nothing_twice(tmp_path):
    """Killed again and again between taking over and removing: attempts count once, and so do the next file's."""
    for _ in range(2):
        spilled(tmp_path / "spill", [outcome(1)], [Charges(8, 2)])
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", KILLED_AT_THE_END, str(tmp_path)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                check=False,
            )
            assert done.returncode == -signal.SIGKILL
        assert (tmp_path / "spill").exists()
    journal = open_journal(tmp_path / "journal", RunIdentity())
    take_spill(journal, tmp_path / "spill")
    assert list(journal.spent()) == [Charges(8, 4)]
    assert journal.settled(0, 99) == {1}
    assert not (tmp_path / "spill").exists()
    journal.close()


def test_a_salvaged_journal_knows_what_it_had_taken_over(tmp_path):
    """Damage between the kill and the next start makes no attempt count twice."""
    journal = Journal(tmp_path / "journal")
    spilled(tmp_path / "spill", [], [Charges(8, 2)])
    body = (tmp_path / "spill").read_bytes()
    take_spill(journal, tmp_path / "spill")
    journal.close()
    (tmp_path / "spill").write_bytes(body)
    damaged = bytearray((tmp_path / "journal").read_bytes())
    damaged[60:64] = b"\0\0\0\7"  # user_version: neither ours nor what the file says of itself
    (tmp_path / "journal").write_bytes(damaged)
    journal = open_journal(tmp_path / "journal", RunIdentity())
    assert journal.damage
    assert take_spill(journal, tmp_path / "spill") == []
    assert list(journal.spent()) == [Charges(8, 2)]
    journal.close()


def test_a_damaged_spill_file_is_kept_aside(tmp_path):
    """What can be read of it counts, the file is never deleted, and the damage is told."""
    spilled(tmp_path / "spill", [outcome(row) for row in range(9)], [])
    body = bytearray((tmp_path / "spill").read_bytes())
    body[body.index(b"answer 4")] ^= 1
    (tmp_path / "spill").write_bytes(body)
    journal = Journal(tmp_path / "journal")
    [damage] = take_spill(journal, tmp_path / "spill")
    assert "4 answers were saved" in damage
    assert journal.settled(0, 99) == {0, 1, 2, 3}
    assert (tmp_path / "spill.damaged-1").read_bytes() == body
    assert not (tmp_path / "spill").exists()
    journal.close()


FAILED = {3, 9, 12}


@pytest.fixture
def parts(tmp_path):
    """A directory for parts."""
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


@pytest.fixture
def journal(tmp_path, parts):
    """A journal of one sealed shard of 20 rows, whose part has three row groups."""
    rows = [failed(row) if row in FAILED else succeeded(row, completion=f"answer {row} " * 9) for row in range(20)]
    part = write_part(parts, shard_of(20), iter([rows[:8], rows[8:12], rows[12:]]), LAYOUT)
    with closing(Journal(tmp_path / "journal")) as journal:
        journal.record([ShardRecord(0, 0, 20, part)])
        yield journal


def damage_last_slice(path):
    """Change one byte of the answers in the last row group."""
    group = pq.ParquetFile(path).metadata.row_group(2)
    [column] = [group.column(n) for n in range(group.num_columns) if group.column(n).path_in_schema == "completion"]
    body = bytearray(path.read_bytes())
    body[column.data_page_offset + column.total_compressed_size - 5] ^= 1
    path.write_bytes(body)


def test_failed_rows_of_a_part_in_slices_are_pending_again(parts, journal):
    """Whichever slice they are in; what they have cost is kept, and all others keep their answers."""
    assert reopen_failed(journal, parts, lambda result: None) == 3
    assert [(s.row, s.attempts) for s in journal.spent()] == [(row, 6) for row in sorted(FAILED)]
    kept = list(journal.results(0, 20))
    assert [result.row for result in kept] == [row for row in range(20) if row not in FAILED]
    assert all(result.completion == f"answer {result.row} " * 9 for result in kept)
    assert not journal.shards()[0].sealed
    assert part_path(parts, 0).exists()


def test_a_damaged_slice_reopens_nothing(parts, journal):
    """The rows of the whole slices before it are not half taken over."""
    damage_last_slice(part_path(parts, 0))
    with pytest.raises(DamagedPartError):
        reopen_failed(journal, parts, lambda result: None)
    assert journal.shards()[0].sealed
    assert journal.settled(0, 20) == set()
    assert not list(journal.spent())


def test_a_damaged_part_of_an_open_shard_gives_none_of_its_rows(parts, journal):
    """It was being reopened when the process died; a part that is damaged since is set aside whole."""
    journal.unseal(journal.shards()[0], ())
    damage_last_slice(part_path(parts, 0))
    [told] = check_parts(journal, parts, [])
    assert "its rows are done again" in told
    assert journal.settled(0, 20) == set()
    assert not part_path(parts, 0).exists()


@pytest.mark.usefixtures("journal")
def test_a_part_without_record_is_taken_over_only_if_all_its_slices_can_be_read(tmp_path, parts):
    """The journal is new: a part counts as published, one with a damaged last slice does not."""
    with closing(Journal(tmp_path / "new")) as new:
        assert check_parts(new, parts, []) == []
        assert [(record.number, record.sealed) for record in new.shards()] == [(0, True)]
    damage_last_slice(part_path(parts, 0))
    with closing(Journal(tmp_path / "newer")) as newer:
        assert len(check_parts(newer, parts, [])) == 1
        assert not newer.shards()
