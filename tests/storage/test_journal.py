"""The journal: what it acknowledged is there, sums are kept over runs, damage is found and done again."""

import os
import shutil
import sqlite3
import stat
from contextlib import closing
from decimal import Decimal

import pytest

from batchgen.errors import OutputError
from batchgen.money.ledger import Charges, Sums
from batchgen.storage.identity import RunIdentity
from batchgen.storage.journal import Journal
from batchgen.storage.journal_repair import open_journal
from batchgen.storage.shards import PartRecord, ShardRecord
from batchgen.values import FailureKind, Result, Status


def answered(row, **fields):
    """Return an answered row."""
    return Result(row, Status.SUCCEEDED, 1, 5, **{"completion": f"answer {row}", "total_tokens": 7} | fields)


def failed(row):
    """Return a row that failed for good."""
    cost = {"input_cost": Decimal("0.1"), "output_cost": Decimal("0.2")}
    return Result(row, Status.FAILED, 6, 5, error_kind=FailureKind.TIMEOUT, total_tokens=3, **cost)


@pytest.fixture
def path(tmp_path):
    """Return where a journal may be made."""
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path):
    """Return a journal with one open shard of ten rows."""
    journal = Journal(path)
    journal.record([ShardRecord(0, 0, 10)])
    yield journal
    journal.close()


def reopened(journal):
    """Close a journal and open it as the next run does."""
    journal.close()
    return open_journal(journal.path, RunIdentity())


def test_rows_come_back(journal):
    """What was appended is there after a reopening, every field of it."""
    full = answered(3, cached_tokens=1, latency_ms=1.5, input_cost=Decimal("1E-12"), output_cost=Decimal(0), model="m")
    journal.append([full, failed(4)])
    journal = reopened(journal)
    assert list(journal.results(0, 10)) == [full, failed(4)]
    assert journal.settled(4, 10) == {4}
    journal.close()


def test_settings_are_the_safe_ones(journal):
    """WAL with a sync per commit, large pages, exclusive: changing one of these breaks a promise."""
    for pragma, value in {
        "journal_mode": "wal",
        "synchronous": 2,
        "page_size": 16384,
        "locking_mode": "exclusive",
    }.items():
        assert journal._connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)


def test_files_are_private(path):
    """Journal and log have mode 0600 under umask 0."""
    old = os.umask(0)
    try:
        journal = Journal(path)
        journal.append([answered(0)])
    finally:
        os.umask(old)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    journal.close()


def test_lone_surrogates_are_replaced(journal):
    """Text that no UTF-8 can hold becomes U+FFFD once, valid pairs and everything else stay."""
    [stored] = journal.append([answered(0, completion="a\ud800b \ud83d\ude00 \x00", model="m\udfff")])
    assert (stored.completion, stored.model) == ("a�b 😀 \x00", "m�")
    assert list(journal.results(0, 1)) == [stored]
    assert type(stored.status) is Status


def test_a_row_keeps_its_first_result(journal):
    """A row that is stored already is not stored again."""
    journal.append([answered(0)])
    journal.append([failed(0)])
    assert list(journal.results(0, 10)) == [answered(0)]


def test_spent_joins_the_result(journal):
    """What a row cost in interrupted runs is in its result's sums, once."""
    journal.append([], [Charges(2, 3, total_tokens=10), Charges(5, 1)])
    journal.append([], [Charges(2, 1, total_tokens=1)])
    journal = reopened(journal)
    assert list(journal.spent()) == [Charges(2, 4, total_tokens=11), Charges(5, 1)]
    [stored] = journal.append([answered(2)])
    assert (stored.attempts, stored.total_tokens) == (5, 18)
    assert list(journal.results(2, 3)) == [stored]
    assert list(journal.spent()) == [Charges(5, 1)]
    journal.close()


def test_failed_rows_are_forgotten_but_not_their_cost(journal):
    """`--retry-failed` makes failed rows pending and carries attempts and cost on."""
    journal.append([answered(0), failed(1)])
    assert journal.forget_failed() == 1
    assert journal.settled(0, 10) == {0}
    [stored] = journal.append([answered(1, input_cost=Decimal(1), output_cost=Decimal(2))])
    assert (stored.attempts, stored.input_cost, stored.output_cost) == (7, Decimal("1.1"), Decimal("2.2"))


def test_sealing_moves_rows_out(journal):
    """A sealed shard has its sums in the record and no rows; unsealing brings rows back, in one transaction."""
    rows = [answered(row) for row in range(9)] + [failed(9)]
    journal.append(rows)
    sums = Sums()
    sums.add_all(rows)
    assert journal.sums() == sums
    journal.seal(ShardRecord(0, 0, 10, PartRecord(1, 2, sums)))
    assert journal.settled(0, 10) == set()
    journal = reopened(journal)
    assert journal.shards() == [ShardRecord(0, 0, 10, PartRecord(1, 2, sums))]
    assert journal.sums() == sums
    journal.unseal(journal.shards()[0], rows[:9], [Charges(9, 6)])
    assert journal.shards() == [ShardRecord(0, 0, 10)]
    assert journal.settled(0, 10) == set(range(9))
    journal.close()


def test_the_log_is_copied_into_the_journal_now_and_then(journal, path):
    """Not so often that pages are copied which the next part empties, and so often that the log stays small."""
    log, sizes = path.with_name(f"{path.name}-wal"), []
    for row in range(60):
        journal.append([answered(row, completion=2**20 * "x")])
        sizes.append(log.stat().st_size >> 20)
    assert 30 <= max(sizes) <= 40
    assert path.stat().st_size > 20 * 2**20


@pytest.mark.parametrize("length", [10, 3_000_000], ids=["short", "long"])
def test_sealing_leaves_the_rows_of_other_shards(journal, length):
    """Rows before and after the shard stay as they are, whether they are few bytes or many."""
    rows = [answered(row, completion=f"{row}" + length * "x") for row in (7, 9, 10, 15, 19, 20, 30)]
    journal.append(rows)
    before = journal.stored_rows(0, 10) + journal.stored_rows(20, 40)
    journal.seal(ShardRecord(1, 10, 10, PartRecord(1, 2, Sums())))
    assert journal.stored_rows(0, 40) == before
    assert [item.row for item in before] == [7, 9, 20, 30]
    assert reopened(journal).stored_rows(0, 40) == before


def test_a_damaged_row_is_done_again(journal):
    """A row whose bytes changed on disk is dropped and reported; SQLite's own check does not see it."""
    journal.append([answered(0), answered(1)])
    journal._connection.execute(
        "UPDATE results SET body = CAST(replace(body, 'answer 1', 'answer 7') AS BLOB) WHERE row = 1"
    )
    assert journal.settled(0, 10) == {0}
    assert "row 1" in journal.damage[0]


def test_a_row_under_another_number_is_damaged(journal):
    """A flipped bit in the key does not give one row's answer to another."""
    journal.append([answered(0)])
    journal._connection.execute("UPDATE results SET row = 4")
    assert journal.settled(0, 10) == set()


def test_sessions_bound_what_a_kill_costs(journal):
    """A killed run stays unclean; at risk are the requests in flight and twice the largest commit."""
    journal.begin_session(1, 64)
    journal.append([answered(row) for row in range(5)])
    journal = reopened(journal)
    journal.begin_session(2, 8)
    journal.end_session()
    assert [(s.started_us, s.clean, s.at_risk) for s in journal.sessions()] == [(1, False, 74), (2, True, 8)]
    journal.close()


@pytest.mark.parametrize("landed", [False, True])
def test_a_commit_in_doubt_counts_once(journal, monkeypatch, landed):
    """After an error at COMMIT the repeated call stores costs once, whether or not the first one reached the disk."""
    journal.begin_session(1, 1)
    journal.append([], [Charges(0, 2)])

    class Failing:
        """A connection whose next COMMIT reports an error."""

        def __init__(self, connection):
            self.connection = connection

        def __getattr__(self, name):
            return getattr(self.connection, name)

        def execute(self, sql, *arguments):
            if sql == "COMMIT":
                if landed:
                    self.connection.execute(sql)
                raise sqlite3.OperationalError("disk I/O error")
            return self.connection.execute(sql, *arguments)

    monkeypatch.setattr(journal, "_connection", Failing(journal._connection))
    with pytest.raises(sqlite3.OperationalError):
        journal.append([answered(0)], [Charges(1, 3)])
    journal.reopen()
    [stored] = journal.append([answered(0)], [Charges(1, 3)])
    assert stored.attempts == 3
    assert list(journal.results(0, 10)) == [stored]
    assert list(journal.spent()) == [Charges(1, 3)]
    [later] = journal.append([answered(5)])
    assert later.row == 5


def test_reopening_empties_the_log(journal):
    """After a failed sync everything is written anew into the file proper, so the log starts again."""
    journal.append([answered(0)])
    log = journal.path.with_name("journal.sqlite-wal")
    assert log.stat().st_size
    journal.reopen()
    assert log.stat().st_size == 0
    assert journal.settled(0, 10) == {0}


def test_a_newer_format_is_refused(journal):
    """A journal of a later version is named and left alone."""
    journal._connection.executescript("UPDATE meta SET value = 9 WHERE key = 'version'; PRAGMA user_version = 9")
    journal.close()
    with pytest.raises(OutputError, match="another version of batchgen"):
        open_journal(journal.path, RunIdentity())
    assert [p.name for p in journal.path.parent.iterdir()] == ["journal.sqlite"]


def test_removal_leaves_nothing(journal):
    """A complete run leaves no journal and no log."""
    journal.append([answered(0)])
    journal.remove()
    assert list(journal.path.parent.iterdir()) == []


def filled(path, rows=400):
    """Leave a journal as a kill does: with a log, several pages and a sealed shard."""
    journal = Journal(path.with_name("live"))
    journal.record([ShardRecord(1, 10, rows)])
    journal.seal(ShardRecord(0, 0, 10, PartRecord(1, 2, Sums())))
    for row in range(10, 10 + rows, 50):
        journal.append([answered(r, completion=f"{r} " * 100) for r in range(row, row + 50)], [Charges(9_999, 1)])
    for suffix in ("", "-wal"):
        shutil.copyfile(journal.path.with_name("live" + suffix), path.with_name(path.name + suffix))
    journal.remove()


def test_salvage_saves_what_is_whole(path):
    """With one page destroyed the other pages' rows are saved, and the old file is kept aside."""
    filled(path)
    sqlite3.connect(path).execute("PRAGMA wal_checkpoint(TRUNCATE)").connection.close()
    body = bytearray(path.read_bytes())
    body[10 * 16384 : 11 * 16384] = bytes(16384)
    path.write_bytes(body)
    journal = open_journal(path, RunIdentity())
    assert 300 < len(journal.settled(0, 1000)) < 400
    assert all(r == answered(r.row, completion=f"{r.row} " * 100) for r in journal.results(0, 1000))
    assert [(r.number, r.sealed) for r in journal.shards()] == [(0, True), (1, False)]
    assert "saved" in journal.damage[0]
    assert path.with_name("journal.sqlite.damaged-1").read_bytes() == body
    journal.close()


def test_a_kill_between_the_renames_of_a_salvage(path):
    """When only the new file is in place the next run takes it, and never applies the old log to it."""
    filled(path)
    shutil.copyfile(path.with_name(path.name + "-wal"), log := path.with_name("log"))
    journal = Journal(path.with_name("journal.sqlite.new"))
    journal.append([answered(77)])
    journal.close()
    path.unlink()
    journal = open_journal(path, RunIdentity())
    assert journal.settled(0, 1000) == {77}
    assert path.with_name("journal.sqlite-wal.damaged-1").read_bytes() == log.read_bytes()
    journal.close()


def test_garbage_is_set_aside(path):
    """A file that is no database at all is kept aside and a new journal begun."""
    path.write_bytes(b"not a database" * 1000)
    journal = open_journal(path, RunIdentity())
    assert journal.shards() == []
    assert path.with_name("journal.sqlite.damaged-1").read_bytes().startswith(b"not a")
    journal.close()


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        ("UPDATE shards SET rows = 401 WHERE number = 1", 400),
        ("UPDATE shards SET file_crc = 3 WHERE number = 0", 400),
        ("UPDATE results SET body = replace(body, 'answer', 'Answer') WHERE row = 20", 399),
    ],
)
def test_what_sqlite_calls_sound_is_checked_all_the_same(path, change, rows):
    """A value that has changed without a trace is found by its line's checksum, and never used."""
    filled(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute(change).rowcount == 1
        db.commit()
    with closing(open_journal(path, RunIdentity())) as journal:
        assert len(journal.settled(0, 1000)) == rows
        assert journal.damage
        assert all(record.rows != 401 and (not record.part or record.part.crc == 2) for record in journal.shards())


def test_a_damaged_cost_is_left_out(path):
    """What an unfinished row had cost does not count once its line has changed, and the damage is told."""
    with closing(Journal(path)) as journal:
        journal.append([], [Charges(4, 1), Charges(5, 1)])
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE spent SET crc = crc + 1 WHERE row = 4")
        db.commit()
    with closing(Journal(path)) as journal:
        assert list(journal.spent()) == [Charges(5, 1)]
        assert "row 4" in journal.damage[0]
