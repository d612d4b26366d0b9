"""Parts: the contract's columns, whole or not at all, readable by the common tools, damage found."""

import datetime
import os
import stat
import zlib
from decimal import Decimal

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.errors import OutputError
from batchgen.money.ledger import Sums
from batchgen.results.committed import read_results
from batchgen.storage.cost_summary import write_cost_summary
from batchgen.storage.parts import (
    PIECE_ROWS,
    DamagedPartError,
    part_path,
    part_results,
    read_part,
    read_part_record,
    read_part_slices,
    write_part,
)
from batchgen.storage.result_schema import Layout, Parsed, PriceLabel, table_results
from batchgen.storage.shards import Shard
from tests.storage.example_shard import LAYOUT, failed, shard_of, succeeded


def test_slices_make_one_part(tmp_path):
    """Results that come in slices give the part that they give at once, a row group to each slice."""
    whole, sliced = tmp_path / "whole", tmp_path / "sliced"
    whole.mkdir()
    sliced.mkdir()
    rows = [failed(row) if row % 5 == 3 else succeeded(row, completion=f"{row} " * 50) for row in range(7, 27)]
    one = write_part(whole, shard_of(20, 7), [rows], LAYOUT)
    many = write_part(sliced, shard_of(20, 7), iter([rows[:3], rows[3:4], rows[4:]]), LAYOUT)
    assert read_part(part_path(sliced, 0))[1].to_pylist() == read_part(part_path(whole, 0))[1].to_pylist()
    assert many.sums == one.sums
    body = part_path(sliced, 0).read_bytes()
    assert (many.bytes, many.crc) == (len(body), zlib.crc32(body))
    assert read_part_record(part_path(sliced, 0), many.crc).part == many
    assert pq.ParquetFile(part_path(sliced, 0)).num_row_groups == 3


def test_words_that_come_late_in_a_part_are_in_its_one_dictionary(tmp_path):
    """Columns are made of some rows at a time: the part is the one row group that it would be of all at once."""
    count = 2 * PIECE_ROWS + 3
    rows = [succeeded(row, finish_reason="length") if row % 7 else failed(row) for row in range(PIECE_ROWS, count)]
    rows = [succeeded(row) for row in range(PIECE_ROWS)] + rows
    write_part(tmp_path, shard_of(count), [rows], LAYOUT)
    metadata = pq.read_metadata(part_path(tmp_path, 0))
    assert metadata.num_row_groups == 1
    _, table = read_part(part_path(tmp_path, 0))
    assert table.column("status").num_chunks == 1
    assert table.column("status").combine_chunks().dictionary.to_pylist() == ["succeeded", "failed"]
    assert table.column("finish_reason").to_pylist() == [row.finish_reason for row in rows]
    assert table.column("row_id").to_pylist() == [f"k{row}" for row in range(count)]
    assert table.column("completion").to_pylist() == [row.completion for row in rows]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_a_part_has_all_its_rows(tmp_path, rows):
    """Too few or too many results publish nothing."""
    with pytest.raises((ValueError, pa.ArrowException)):
        write_part(tmp_path, shard_of(2), [[succeeded(row)] for row in range(rows)], LAYOUT)
    assert not list(tmp_path.glob("part-*"))


def test_columns_are_the_contracts(tmp_path):
    """Names, order and types of the result columns are those promised to users, carried columns first."""
    parsed = Parsed(pa.struct([("x", pa.int64())]), lambda rows: pa.array([{"x": r.row} for r in rows]))
    write_part(tmp_path, shard_of(2), [[succeeded(0), failed(1)]], Layout(LAYOUT.carried, "id", parsed))
    table = read_results(tmp_path)
    word = pa.dictionary(pa.int32(), pa.string())
    assert [(field.name, field.type) for field in table.schema] == [
        ("n", pa.int64()),
        ("row_id", pa.string()),
        ("status", word),
        ("completion", pa.string()),
        ("reasoning", pa.string()),
        ("tool_calls", pa.string()),
        ("parsed", pa.struct([("x", pa.int64())])),
        ("answer_turns", pa.string()),
        ("finish_reason", word),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("total_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("reasoning_tokens", pa.int64()),
        ("cost", pa.decimal128(20, 12)),
        ("reported_cost", pa.decimal128(20, 12)),
        ("model", pa.string()),
        ("request_id", pa.string()),
        ("attempts", pa.int32()),
        ("latency_ms", pa.float64()),
        ("http_status", pa.int16()),
        ("error_kind", word),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("finished_at", pa.timestamp("us", tz="UTC")),
        ("request_key", pa.string()),
        ("reused", pa.bool_()),
    ]
    first, second = table.to_pylist()
    assert first["row_id"] == "k0"
    assert first["cost"] == Decimal("0.500001000001")
    assert first["finished_at"] == datetime.datetime.fromtimestamp(1_750_000_000, datetime.UTC).replace(
        microsecond=123_456
    )
    assert (second["status"], second["error_kind"], second["completion"], second["cost"]) == (
        "failed",
        "timeout",
        None,
        None,
    )


def test_all_answers_of_a_row_come_back(tmp_path):
    """Where the job has structured answers; an input column of that name is refused before."""
    parsed = Parsed(pa.struct([("x", pa.int64())]), lambda rows: pa.nulls(len(rows), pa.struct([("x", pa.int64())])))
    rows = [succeeded(0, answer_turns='[{"answer":"a"}]'), succeeded(1)]
    write_part(tmp_path, shard_of(2), [rows], Layout(LAYOUT.carried, "id", parsed))
    content = read_part_slices(part_path(tmp_path, 0))
    assert [row.answer_turns for row in part_results(content, lambda result: None)] == ['[{"answer":"a"}]', None]


def test_results_come_back_from_a_part(tmp_path):
    """A part gives its rows back as they were; the split of the cost is computed anew and adds up to the same."""
    rows = [succeeded(5, reasoning="r", tool_calls="[]", cached_tokens=3, reasoning_tokens=1), failed(6)]
    part = write_part(tmp_path, shard_of(2, 5, 3), [rows], LAYOUT)
    record, table = read_part(tmp_path / "part-00003.parquet")
    assert (record.number, record.first_row, record.rows, record.part) == (3, 5, 2, part)
    assert list(table_results(table, range(5, 7), lambda row: Decimal("0.000001000001"))) == rows
    [too_much, _] = table_results(table, range(5, 7), lambda row: Decimal(9))
    assert (too_much.input_cost, too_much.output_cost) == (Decimal("0.500001000001"), 0)


def test_common_tools_read_a_directory(tmp_path):
    """DuckDB, Polars and pandas read the directory, in order, whatever else a crash has left in it."""
    write_part(tmp_path, shard_of(3), [[succeeded(i) for i in range(3)]], LAYOUT)
    write_part(tmp_path, shard_of(2, 3, 1), [[succeeded(3), failed(4)]], LAYOUT)
    (tmp_path / ".part-00002.parquet.partial").write_bytes(b"PAR1 half")
    ids = [f"k{i}" for i in range(5)]
    assert read_results(tmp_path)["row_id"].to_pylist() == ids
    assert pd.read_parquet(tmp_path)["row_id"].tolist() == ids
    assert pl.read_parquet(tmp_path / "*.parquet")["row_id"].to_list() == ids
    query = f"select row_id, cost from '{tmp_path}/*.parquet' order by row_id"
    assert duckdb.sql(query).fetchall()[0] == ("k0", Decimal("0.500001000001"))


def test_row_numbers_are_ids_without_an_id_column(tmp_path):
    """Without `input.id` the 0-based row number is the id."""
    write_part(tmp_path, shard_of(2, 7), [[succeeded(7), succeeded(8)]], Layout(LAYOUT.carried))
    assert read_results(tmp_path)["row_id"].to_pylist() == ["7", "8"]


def test_a_failed_sync_publishes_nothing(tmp_path, monkeypatch):
    """When the disk refuses the sync the old part stays, and the next try writes a new file."""
    write_part(tmp_path, shard_of(1), [[failed(0)]], LAYOUT)

    def refuse(descriptor):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="Input/output"):
            write_part(tmp_path, shard_of(1), [[succeeded(0)]], LAYOUT)
    assert read_results(tmp_path)["status"].to_pylist() == ["failed"]
    write_part(tmp_path, shard_of(1), [[succeeded(0)]], LAYOUT)
    assert read_results(tmp_path)["status"].to_pylist() == ["succeeded"]
    assert [p.name for p in tmp_path.iterdir()] == ["part-00000.parquet"]


def test_parts_are_private(tmp_path):
    """A part has mode 0600 under umask 0."""
    old = os.umask(0)
    try:
        write_part(tmp_path, shard_of(1), [[failed(0)]], LAYOUT)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "part-00000.parquet").stat().st_mode) == 0o600


def test_footer_tells_no_prompt(tmp_path):
    """The footer says what the part holds and quotes neither prompts nor answers."""
    shard = Shard(0, 0, pa.table({"id": ["SECRETID"], "n": [1]}))
    write_part(tmp_path, shard, [[succeeded(0, completion="SECRETTEXT")]], LAYOUT)
    metadata = pq.ParquetFile(tmp_path / "part-00000.parquet").metadata
    text = repr(metadata.metadata) + repr([metadata.row_group(0).column(i) for i in range(metadata.num_columns)])
    assert b"batchgen" in metadata.metadata
    assert "SECRET" not in text


def test_every_flipped_bit_is_found(tmp_path):
    """A part with one flipped bit in pages or footer is either refused or reads as before."""
    write_part(tmp_path, shard_of(40), [[succeeded(i) for i in range(40)]], LAYOUT)
    path = tmp_path / "part-00000.parquet"
    whole = path.read_bytes()
    table = read_results(tmp_path)
    found = 0
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        body = bytearray(whole)
        body[place] ^= 1 << (place % 8)
        path.write_bytes(body)
        try:
            assert read_part(path)[1].replace_schema_metadata(None).equals(table)
        except DamagedPartError:
            found += 1
    assert found > 30
    path.write_bytes(whole[:-20])
    with pytest.raises(OutputError, match="part-00000"):
        read_results(tmp_path)


def test_cost_summary_adds_up(tmp_path):
    """Its sums equal the sums over the results, exactly, and it names currency, date and source."""
    rows = [succeeded(i, output_cost=Decimal(i).scaleb(-12)) for i in range(50)] + [
        failed(50),
        succeeded(51, model="x"),
    ]
    sums = Sums()
    sums.add_all(rows)
    label = PriceLabel("USD", datetime.date(2026, 1, 2), "list")
    write_cost_summary(tmp_path / "cost_summary.parquet", sums, lambda model: label if model == "m" else PriceLabel())
    table = pq.read_table(tmp_path / "cost_summary.parquet")
    assert table.column_names == [
        *("model", "status", "finish_reason", "error_kind", "rows", "attempts"),
        *("input_tokens", "output_tokens", "total_tokens", "cached_tokens", "reasoning_tokens"),
        *("input_cost", "output_cost", "cost", "reported_cost", "currency", "price_date", "price_source", "simulated"),
    ]
    lines = {line["model"]: line for line in table.to_pylist()}
    assert lines["m"]["cost"] == sum(r.input_cost + r.output_cost for r in rows if r.model == "m")
    assert (lines["m"]["currency"], lines["m"]["price_date"]) == ("USD", datetime.date(2026, 1, 2))
    assert (lines[None]["rows"], lines[None]["cost"], lines[None]["currency"]) == (1, None, None)


def test_no_results_yet(tmp_path):
    """Reading a directory without a part is a sentence, not a traceback."""
    with pytest.raises(OutputError, match="no row is answered"):
        read_results(tmp_path)
