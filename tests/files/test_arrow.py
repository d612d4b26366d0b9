"""Paths that pyarrow does not take."""

import os

import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.files.arrow import arrow_file


def test_a_file_of_any_name_is_opened(tmp_path):
    """The usual name is passed on as it is."""
    assert arrow_file(tmp_path / "ä.parquet") == str(tmp_path / "ä.parquet")
    path = tmp_path / os.fsdecode(b"\xe9.parquet")
    with path.open("wb") as file:
        pq.write_table(pa.table({"a": [1]}), file)
    assert pq.read_table(arrow_file(path)).num_rows == 1
