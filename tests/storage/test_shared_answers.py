"""The file of shared answers: found again by key, after a kill too; damage and a refusing disk cost answers only."""

import sqlite3
import stat
from decimal import Decimal

import pytest

from batchgen.storage.shared_answers import SharedAnswers
from batchgen.values import Result, Status

ONE, OTHER = b"k" * 16, b"k" * 8 + b"x" * 8


def result(row):
    """A settled row."""
    return Result(
        row, Status.SUCCEEDED, 2, 5, completion=f"answer {row}", input_cost=Decimal("0.1"), output_cost=Decimal(1)
    )


def test_an_answer_is_found_by_its_key(tmp_path):
    """In this run and the next; the first one put under a key stays."""
    store = SharedAnswers(tmp_path / "shared.sqlite")
    store.put([(ONE, result(3))])
    store.put([(ONE, result(4))])
    assert store.get(ONE) == result(3)
    assert store.get(b"z" * 16) is None
    store.close()
    assert store.get(ONE) is None
    assert SharedAnswers(tmp_path / "shared.sqlite").get(ONE) == result(3)
    assert stat.S_IMODE((tmp_path / "shared.sqlite").stat().st_mode) == 0o600


def test_keys_that_begin_alike_are_told_apart(tmp_path):
    """The whole key decides, not the eight bytes it is filed under."""
    store = SharedAnswers(tmp_path / "shared.sqlite")
    store.put([(ONE, result(3))])
    assert store.get(OTHER) is None


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_replaced(tmp_path, damage):
    """What was in it is asked again."""
    store = SharedAnswers(tmp_path / "shared.sqlite")
    store.put([(ONE, result(3))])
    store.remove()
    (tmp_path / "shared.sqlite").write_bytes(damage)
    store = SharedAnswers(tmp_path / "shared.sqlite")
    assert store.get(ONE) is None
    store.put([(ONE, result(3))])
    assert store.get(ONE) == result(3)


def test_a_changed_answer_is_not_given_out(tmp_path):
    """Its checksum tells."""
    store = SharedAnswers(tmp_path / "shared.sqlite")
    store.put([(ONE, result(3))])
    store.close()
    with sqlite3.connect(tmp_path / "shared.sqlite") as db:
        db.execute("UPDATE answers SET row = 4")
    db.close()
    assert SharedAnswers(tmp_path / "shared.sqlite").get(ONE) is None


def test_a_place_that_cannot_be_written_shares_nothing(tmp_path):
    """The run goes on without."""
    store = SharedAnswers(tmp_path / "missing" / "shared.sqlite")
    store.put([(ONE, result(3))])
    assert store.get(ONE) is None
