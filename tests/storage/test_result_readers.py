"""Results that every promised reader takes, whatever the columns hold.

pandas, polars, DuckDB, datasets, pyarrow, and Spark where it is installed.
"""

import shutil

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from batchgen.storage.parts import write_part
from batchgen.storage.result_schema import Layout, Parsed
from batchgen.storage.shards import Shard
from tests.storage.example_shard import failed, succeeded

ANSWER = pa.struct(
    [
        ("error_code", pa.dictionary(pa.int32(), pa.string())),
        ("tags", pa.list_(pa.dictionary(pa.int32(), pa.string()))),
        ("extra", pa.map_(pa.string(), pa.list_(pa.int64()))),
        ("at", pa.timestamp("us", "UTC")),
        ("Name", pa.string()),
        ("name", pa.string()),
    ]
)
CARRIED = pa.table(
    {
        "text": ["a", "b"],
        "weights": pa.array([[("k", 1.5)], None], pa.map_(pa.string(), pa.float64())),
        "deep": pa.array([{"m": [("k", "v")]}, None], pa.struct([("m", pa.map_(pa.string(), pa.string()))])),
        "empty": pa.nulls(2),
        "until": pa.array([1, 2**62], pa.timestamp("us")),
    }
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two parts, one of which has no failed row, so that its columns about errors are wholly null."""
    folder = tmp_path_factory.mktemp("run") / "results"
    folder.mkdir()

    def parsed(rows):
        answer = {"tags": ["x"], "extra": [("n", [1, 2])], "Name": "A", "name": "b"}
        return pa.array([answer if row.completion else None for row in rows], ANSWER)

    layout = Layout(CARRIED.schema, None, Parsed(ANSWER, parsed))
    write_part(folder, Shard(0, 0, CARRIED), [[succeeded(0), succeeded(1)]], layout)
    write_part(folder, Shard(1, 2, CARRIED), [[succeeded(2), failed(3)]], layout)
    return folder


def pairs(items):
    return [tuple(pair.values()) if isinstance(pair, dict) else tuple(pair) for pair in items]


def test_pyarrow(results):
    """pyarrow reads the folder as one table; maps are lists of key and value."""
    table = pa.dataset.dataset(results).to_table()
    assert table.num_rows == 4
    assert pairs(table.column("weights")[0].as_py()) == [("k", 1.5)]
    assert table.column("until").cast(pa.int64()).to_pylist() == [1, 2**62] * 2


def test_pandas(results):
    """pandas reads the folder."""
    frame = pandas.read_parquet(results, columns=["row_id", "parsed", "weights", "error_kind"])
    assert list(frame["row_id"]) == ["0", "1", "2", "3"]
    assert pairs(frame["weights"][0]) == [("k", 1.5)]
    assert frame["parsed"][0]["Name"] == "A"


def test_polars(results):
    """polars reads the folder."""
    frame = polars.read_parquet(results)
    assert frame["status"].to_list() == ["succeeded"] * 3 + ["failed"]
    assert frame["parsed"][0]["extra"] == [{"key": "n", "value": [1, 2]}]


def test_duckdb(results):
    """DuckDB reads the parts, reaches fields by name and takes the answer apart beside the other columns."""
    name = f"read_parquet('{results}/*.parquet')"
    assert duckdb.sql(f"select count(*), count(error_code), max(parsed.tags[1]) from {name}").fetchall() == [
        (4, 1, "x")
    ]
    assert duckdb.sql(f"select weights[1].value from {name} limit 1").fetchall() == [(1.5,)]


def test_duckdb_takes_an_answer_apart_whose_fields_are_named_like_columns(results):
    """Without the column of the same name, or with that under another name: else the name means the column alone."""
    name = f"read_parquet('{results}/*.parquet')"
    both = duckdb.sql(f"select row_id, error_code, unnest(parsed) from {name}")
    assert both.columns.count("error_code") == 2
    apart = duckdb.sql(f"select * exclude (parsed, error_code), unnest(parsed) from {name}")
    assert apart.columns.count("error_code") == 1
    renamed = duckdb.sql(
        f"select * exclude (parsed) rename (error_code as vendor_error_code), unnest(parsed) from {name}"
    )
    assert {"vendor_error_code", "error_code"} <= set(renamed.columns)


@pytest.mark.parametrize("whole", [False, True])
def test_datasets(results, tmp_path, monkeypatch, whole):
    """Hugging Face datasets loads the folder `results`, also with columns that are wholly null."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    kind = {"path": str(results)} if whole else {"path": "parquet", "data_files": f"{results}/*.parquet"}
    found = datasets.load_dataset(**kind, split="train", cache_dir=str(tmp_path))
    assert found["row_id"][:] == ["0", "1", "2", "3"]
    assert found[0]["weights"] == [{"key": "k", "value": 1.5}]
    assert found[0]["error_kind"] is None


def test_datasets_takes_the_folder_of_results_and_not_the_output_directory(results, tmp_path, monkeypatch):
    """Beside `results` lies the summary of costs, whose columns are others; the README names the folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    pyarrow.parquet.write_table(pa.table({"model": ["m"], "rows": [4]}), results.parent / "cost_summary.parquet")
    assert datasets.load_dataset(str(results), split="train", cache_dir=str(tmp_path)).num_rows == 4
    with pytest.raises(datasets.exceptions.DatasetGenerationError):
        datasets.load_dataset(str(results.parent), split="train", cache_dir=str(tmp_path))


def test_spark(results):
    """Spark reads the folder; names that differ by case alone need its setting for them."""
    sql = pytest.importorskip("pyspark.sql")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    settings = {"ui.enabled": "false", "driver.bindAddress": "127.0.0.1", "driver.host": "127.0.0.1"}
    builder = sql.SparkSession.builder.master("local[1]").config("spark.sql.caseSensitive", "true")
    for name, value in settings.items():
        builder = builder.config(f"spark.{name}", value)
    spark = builder.getOrCreate()
    try:
        frame = spark.read.parquet(str(results))
        rows = frame.select("row_id", "status", "weights", "parsed.tags", "cost", "finished_at").collect()
        assert sorted(row["row_id"] for row in rows) == ["0", "1", "2", "3"]
        assert {tuple(row["tags"] or ()) for row in rows} == {("x",), ()}
        assert frame.filter("error_kind is not null").count() == 1
    finally:
        spark.stop()
