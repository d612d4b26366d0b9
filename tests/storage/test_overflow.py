"""The spill file takes answers on reserved room and gives back what is whole."""

import os
import stat

from batchgen.money.ledger import Charges
from batchgen.storage.overflow import Spill, read_spill
from batchgen.values import Result, Status

ROWS = [Result(row, Status.SUCCEEDED, 1, 5, completion=f"{row} \ud800" * 50) for row in range(20)]


def test_what_is_spilled_comes_back(tmp_path):
    """Results and costs come back in order, from a private file whose room was there before."""
    old = os.umask(0)
    try:
        spill = Spill(tmp_path / "spill")
    finally:
        os.umask(old)
    assert (tmp_path / "spill").stat().st_blocks * 512 >= 4 * 2**20
    assert stat.S_IMODE((tmp_path / "spill").stat().st_mode) == 0o600
    spill.append(ROWS[:10], [Charges(99, 2)])
    spill.append(ROWS[10:], [])
    spill.close()
    spilled = read_spill(tmp_path / "spill")
    assert [r.row for r in spilled.results] == list(range(20))
    assert spilled.results[3].completion == "3 �" * 50
    assert spilled.spent == [Charges(99, 2)]
    assert spilled.whole


def test_room_grows(tmp_path):
    """More room is set aside on demand and never given back."""
    spill = Spill(tmp_path / "spill", 1000)
    spill.reserve(300_000)
    spill.reserve(10)
    assert (tmp_path / "spill").stat().st_size == 300_000
    spill.close()
    assert not (tmp_path / "spill").exists()


def test_a_torn_record_ends_it(tmp_path):
    """Whatever is cut or flipped, only whole records come back, and those before the damage all do."""
    path = tmp_path / "spill"
    spill = Spill(path, 10)
    spill.append(ROWS, [])
    spill.close()
    whole = path.read_bytes()
    clean = read_spill(path).results
    assert len(clean) == 20
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place])
        results = read_spill(path).results
        assert results == clean[: len(results)]
        body = bytearray(whole)
        body[place] ^= 4
        path.write_bytes(body)
        spilled = read_spill(path)
        assert spilled.results == clean[: len(spilled.results)]
        assert len(spilled.results) >= (place - 40) * 20 // len(whole) or place < 8
        assert not spilled.whole, place


def test_unused_room_is_no_damage(tmp_path):
    """Zeros behind the last record, a file of zeros and an empty one are whole; one without our mark is not."""
    path = tmp_path / "spill"
    spill = Spill(path, 100_000)
    spill.append(ROWS, [])
    spill.close()
    assert read_spill(path).whole
    for body, whole in ((b"", True), (bytes(5000), True), (b"something else", False)):
        path.write_bytes(body)
        assert read_spill(path).whole is whole


def test_every_spill_file_has_a_name_of_its_own(tmp_path):
    """Two with the same values are told apart."""
    names = []
    for number in range(2):
        spill = Spill(tmp_path / f"{number}", 10)
        spill.append([], [Charges(99, 2)])
        spill.close()
        names.append(read_spill(tmp_path / f"{number}").name)
    assert names[0] != names[1]
