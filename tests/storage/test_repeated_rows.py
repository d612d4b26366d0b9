"""A bit for each row, kept for the next session of the same run."""

import pyarrow as pa
import pytest

from batchgen.storage.repeated_rows import RepeatedRows, kept_rows


@pytest.mark.parametrize("rows", [[], [0], [3, 8, 9, 20], list(range(21))])
def test_what_is_kept_comes_back(tmp_path, rows):
    """For the same run and as many rows."""
    made = RepeatedRows(21)
    made.add(pa.array(rows, pa.int64()))
    made.save(tmp_path / "rows", "run a")
    for found in (made, kept_rows(tmp_path / "rows", "run a", 21)):
        assert [row for row in range(21) if row in found] == rows
        assert bool(found) is bool(rows)
    assert kept_rows(tmp_path / "rows", "run b", 21) is None
    assert not rows or kept_rows(tmp_path / "rows", "run a", 30) is None


def test_a_damaged_file_counts_as_none(tmp_path):
    """Whatever is changed in it, or left off: the rows are looked for again."""
    path = tmp_path / "rows"
    made = RepeatedRows(40)
    made.add(pa.array([1, 39]))
    made.save(path, "run")
    whole = path.read_bytes()
    assert kept_rows(path, "run", 40) is not None
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert kept_rows(path, "run", 40) is None, place
        path.write_bytes(whole[:place])
        assert kept_rows(path, "run", 40) is None, place
    path.unlink()
    assert kept_rows(path, "run", 40) is None
    made.save(tmp_path / "nowhere" / "rows", "run")
