"""A scan that is kept stands for reading the input, as long as nothing has happened to the files."""

import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.files.stamps import Stamp
from batchgen.source import Source, kept_scan


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two files; any size counts as large, and any change as one of long ago."""
    monkeypatch.setattr(kept_scan, "LEAST_BYTES", 0)
    monkeypatch.setattr(Stamp, "settled", lambda stamp, at_ns: True)
    for number in range(2):
        table = {"id": [10 * number + row for row in range(10)], "x": [1.0, None] * 5, "text": ["a", "b"] * 5}
        pq.write_table(pa.table(table), tmp_path / f"{number}.parquet")
    return tmp_path


def opened(folder, **more):
    return Source.open(str(folder), **more)


def reads(source, monkeypatch):
    """Return whether a scan reads the files."""
    read = []
    with monkeypatch.context() as patch:
        patch.setattr(source, "_read_everything", lambda check: read.append(1))
        source.scan()
    return bool(read)


def test_a_second_start_reads_nothing(folder, monkeypatch):
    """And knows all that the first one has found."""
    first = opened(folder, id_column="id")
    scan = first.scan()
    again = opened(folder, id_column="id")
    again.take_scan(first.kept_scan())
    assert not reads(again, monkeypatch)
    assert again.scan() == scan
    assert again.whole_columns == first.whole_columns == ["x"]
    assert [b.values(["x"]) for b in again.batches(13)] == [b.values(["x"]) for b in first.batches(13)]
    assert again.kept_scan() == first.kept_scan()


def rewritten(folder):
    (folder / "0.parquet").write_bytes((folder / "1.parquet").read_bytes())


def touched(folder):
    os.utime(folder / "0.parquet", ns=(1, 1))


def replaced_keeping_times(folder):
    before = os.stat(folder / "0.parquet")
    shutil.copy(folder / "0.parquet", folder / "copy")
    (folder / "copy").rename(folder / "0.parquet")
    os.utime(folder / "0.parquet", ns=(before.st_atime_ns, before.st_mtime_ns))


def one_more(folder):
    shutil.copy(folder / "1.parquet", folder / "2.parquet")


def one_less(folder):
    (folder / "1.parquet").unlink()


def swapped(folder):
    (folder / "0.parquet").rename(folder / "x")
    (folder / "1.parquet").rename(folder / "0.parquet")
    (folder / "x").rename(folder / "1.parquet")


@pytest.mark.parametrize("change", [rewritten, touched, replaced_keeping_times, one_more, one_less, swapped])
def test_what_has_changed_is_read_again(folder, monkeypatch, change):
    """Also a file that has kept its size and its time of change."""
    first = opened(folder)
    first.scan()
    kept = first.kept_scan()
    change(folder)
    again = opened(folder)
    again.take_scan(kept)
    assert reads(again, monkeypatch)


@pytest.mark.parametrize("more", [{"limit": 5}, {"id_column": "id"}])
def test_another_way_to_read_is_another_scan(folder, monkeypatch, more):
    """Other ids have to be checked, other rows counted."""
    first = opened(folder)
    first.scan()
    again = opened(folder, **more)
    again.take_scan(first.kept_scan())
    assert reads(again, monkeypatch)


def test_nothing_is_kept_of_files_that_may_change_unseen(folder, monkeypatch):
    """What was written just now may be written again with the same time; small files are read again anyway."""
    source = opened(folder)
    assert source.kept_scan() is None
    source.scan()
    assert source.kept_scan() is not None
    with monkeypatch.context() as patch:
        patch.setattr(kept_scan, "LEAST_BYTES", 10**9)
        assert source.kept_scan() is None
    monkeypatch.setattr(Stamp, "settled", lambda stamp, at_ns: False)
    assert source.kept_scan() is None


def test_damage_and_other_versions_are_read_again(folder, monkeypatch):
    """Any byte of it."""
    first = opened(folder)
    first.scan()
    kept = first.kept_scan()
    for place in range(len(kept)):
        assert kept_scan.from_bytes(kept[:place] + bytes([kept[place] ^ 1]) + kept[place + 1 :]) is None, place
        assert kept_scan.from_bytes(kept[:place]) is None
    monkeypatch.setattr(kept_scan, "__version__", "0.0.0")
    assert kept_scan.from_bytes(kept) is None
