"""The input columns of an open shard, kept in a file: they come back with all rows, also where there are no columns."""

import pyarrow as pa
import pytest

from batchgen.storage.result_schema import Layout
from batchgen.storage.shard_inputs import keep_inputs, read_inputs
from batchgen.storage.shards import Shard, ShardRecord


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b"]])
@pytest.mark.parametrize("only", [None, {11, 12}])
def test_rows_come_back(tmp_path, names, only):
    """A pilot keeps some of them; those that are not known have nulls."""
    table = pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"]}).select(names)
    layout = Layout(table.schema)
    keep_inputs(tmp_path, Shard(4, 10, table), layout, only)
    found = read_inputs(tmp_path, 4).shard(ShardRecord(4, 10, 3))
    assert (found.rows, found.first_row, found.table.column_names) == (3, 10, names)
    for name in names:
        wanted = table[name].to_pylist()
        assert found.table[name].to_pylist() == (wanted if only is None else [None, *wanted[1:]])
