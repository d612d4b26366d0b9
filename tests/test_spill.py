"""The spill file takes answers on reserved room and gives back what is whole."""

import os
import stat

from batchgen.spill import Spill, read_spill
from batchgen.summary import Spent
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
    spill.append(ROWS[:10], [Spent(99, 2)])
    spill.append(ROWS[10:], [])
    spill.close()
    results, spent = read_spill(tmp_path / "spill")
    assert [r.row for r in results] == list(range(20))
    assert results[3].completion == "3 �" * 50
    assert spent == [Spent(99, 2)]


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
    clean, _ = read_spill(path)
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place])
        assert read_spill(path)[0] == clean[: len(read_spill(path)[0])]
        body = bytearray(whole)
        body[place] ^= 4
        path.write_bytes(body)
        results, _ = read_spill(path)
        assert results == clean[: len(results)]
        assert len(results) >= (place - 30) * 20 // len(whole) or place < 8
