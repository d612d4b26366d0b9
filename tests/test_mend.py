"""Taking up what a run on a full disk has left in its spill file: once, whatever comes between."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from batchgen.journal import Journal
from batchgen.mend import take_spill
from batchgen.plan import PartRecord, ShardRecord
from batchgen.salvage import open_journal
from batchgen.spill import Spill
from batchgen.summary import Spent, Sums
from batchgen.values import Result, Status

ROOT = Path(__file__).parents[1]


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
    spilled(tmp_path / "spill", [outcome(1), outcome(6, attempts=9), outcome(7)], [Spent(8, 2)])
    assert take_spill(journal, tmp_path / "spill") == []
    assert [(result.row, result.attempts) for result in journal.results(0, 99)] == [(6, 1), (7, 1)]
    assert list(journal.spent()) == [Spent(8, 2)]
    assert not (tmp_path / "spill").exists()
    assert take_spill(journal, tmp_path / "spill") == []
    journal.close()


KILLED_AT_THE_END = """
import os, signal, sys
from pathlib import Path
from batchgen.mend import take_spill
from batchgen.salvage import open_journal
place = Path(sys.argv[1])
journal = open_journal(place / "journal")
def hook(event, arguments):
    if event == "os.remove" and str(arguments[0]) == str(place / "spill"):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
take_spill(journal, place / "spill")
"""


def test_a_kill_before_the_file_has_gone_counts_nothing_twice(tmp_path):
    """Killed again and again between taking over and removing: attempts count once, and so do the next file's."""
    for _ in range(2):
        spilled(tmp_path / "spill", [outcome(1)], [Spent(8, 2)])
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", KILLED_AT_THE_END, str(tmp_path)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                check=False,
            )
            assert done.returncode == -signal.SIGKILL
        assert (tmp_path / "spill").exists()
    journal = open_journal(tmp_path / "journal")
    take_spill(journal, tmp_path / "spill")
    assert list(journal.spent()) == [Spent(8, 4)]
    assert journal.settled(0, 99) == {1}
    assert not (tmp_path / "spill").exists()
    journal.close()


def test_a_salvaged_journal_knows_what_it_had_taken_over(tmp_path):
    """Damage between the kill and the next start makes no attempt count twice."""
    journal = Journal(tmp_path / "journal")
    spilled(tmp_path / "spill", [], [Spent(8, 2)])
    body = (tmp_path / "spill").read_bytes()
    take_spill(journal, tmp_path / "spill")
    journal.close()
    (tmp_path / "spill").write_bytes(body)
    damaged = bytearray((tmp_path / "journal").read_bytes())
    damaged[60:64] = b"\0\0\0\7"  # user_version: neither ours nor what the file says of itself
    (tmp_path / "journal").write_bytes(damaged)
    journal = open_journal(tmp_path / "journal")
    assert journal.damage
    assert take_spill(journal, tmp_path / "spill") == []
    assert list(journal.spent()) == [Spent(8, 2)]
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
