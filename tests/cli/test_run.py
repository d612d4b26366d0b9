"""Whole runs in a process of their own, against the simulator on a real socket."""

from decimal import Decimal

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.simulator import expected_answer
from tests.cli.conftest import results_of
from tests.inputs import messages, write_csv


def test_a_thousand_csv_rows_through_faults_to_the_native_api(command, simulator, job, tmp_path):
    """3 % 500s, 1 % HTML 502s, two rows refused for good: exit 1 and every figure adds up."""
    server = simulator(error_500=0.03, error_502_html=0.01, poison="POISON", latency_ms=5, seed=3)
    texts = [f"Question {n}, with a, comma\nand a line break" for n in range(1000)]
    texts[17] += " POISON"
    texts[803] += " POISON"
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, more="")
    code, summary = command.summary(path, "--set", "input.id=id")
    assert code == 1
    assert (summary["state"], summary["rows"], summary["succeeded"], summary["failed"]) == ("complete", 1000, 998, 2)

    rows, files = results_of(tmp_path / "out")
    assert files == ["part-00000.parquet"]
    assert [row["row_id"] for row in rows] == [f"r{n}" for n in range(1000)]
    for row, text in zip(rows, texts, strict=True):
        assert row["text"] == text
        if "POISON" in text:
            assert (row["status"], row["error_kind"], row["http_status"]) == ("failed", "invalid_request", 400)
            assert row["completion"] is None
        else:
            assert row["status"] == "succeeded"
            assert row["completion"] == expected_answer(messages(text), seed=3)
            assert row["finish_reason"] == "stop"

    stats = server.stats()
    assert sum(row["input_tokens"] or 0 for row in rows) == stats["billed"]["input_tokens"] == summary["input_tokens"]
    assert (
        sum(row["output_tokens"] or 0 for row in rows) == stats["billed"]["output_tokens"] == summary["output_tokens"]
    )
    assert sum(row["attempts"] for row in rows) == stats["requests"] == summary["attempts"]
    for row in rows:
        if row["status"] == "succeeded":
            exact = (Decimal("0.4") * row["input_tokens"] + Decimal("1.2") * row["output_tokens"]) / 1_000_000
            assert row["cost"] == exact
    assert Decimal(summary["cost"]) == sum(row["cost"] or 0 for row in rows)

    totals = pq.read_table(tmp_path / "out" / "cost_summary.parquet").to_pylist()
    assert sum(line["rows"] for line in totals) == 1000
    assert sum(line["attempts"] for line in totals) == stats["requests"]
    assert sum(line["cost"] or 0 for line in totals) == Decimal(summary["cost"])
    assert {line["currency"] for line in totals} == {"USD"}
    assert not (tmp_path / "out" / "journal.sqlite").exists()


@pytest.mark.parametrize("stream", [False, True])
def test_parquet_rows_through_broken_connections_to_chat_completions(command, simulator, job, tmp_path, stream):
    """Resets, truncations, malformed bodies and 503s: all rows answered, none of them asked again once answered."""
    faults = {"reset": 0.02, "truncate": 0.02, "malformed": 0.02, "error_503": 0.02, "reset_body": 0.02}
    if stream:
        faults |= {"cut_stream": 0.02, "stream_error": 0.02}
    server = simulator(latency_ms=5, seed=5, **faults)
    texts = [f"Row {n}: why?" for n in range(1500)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet")
    path = job(tmp_path / "in.parquet", f"{server.url}/v1", provider="openai")
    code, summary = command.summary(path, "--set", f"model.stream={str(stream).lower()}")
    assert (code, summary["succeeded"], summary["failed"]) == (0, 1500, 0)
    rows, _ = results_of(tmp_path / "out")
    assert [row["completion"] for row in rows] == [expected_answer(messages(text), seed=5) for text in texts]
    assert sum(row["attempts"] for row in rows) == server.stats()["requests"]
    assert server.stats()["requests_after_answer"] == 0

    pattern = str(tmp_path / "out" / "results" / "*.parquet")
    assert duckdb.sql(f"select count(*), count(distinct row_id) from '{pattern}'").fetchall() == [(1500, 1500)]
    assert polars.read_parquet(pattern).height == 1500
    assert len(pandas.read_parquet(tmp_path / "out" / "results")) == 1500


def test_a_finished_run_is_not_done_again(command, simulator, job, tmp_path):
    """The same command once more sends nothing and says the same."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", ["a", "b", "c"]), server.url)
    assert command.summary(path)[0] == 0
    before = server.stats()["requests"]
    code, summary = command.summary(path)
    assert (code, summary["state"], summary["succeeded"]) == (0, "complete", 3)
    assert server.stats()["requests"] == before


def test_an_empty_table_gives_an_empty_result_with_all_columns(command, simulator, job, tmp_path):
    """Header only: exit 0, and readers find the schema."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", []), server.url)
    code, summary = command.summary(path)
    assert (code, summary["rows"], summary["state"]) == (0, 0, "complete")
    table = pq.read_table(tmp_path / "out" / "results")
    assert table.num_rows == 0
    assert {"id", "text", "row_id", "completion", "cost"} <= set(table.column_names)


def test_failed_rows_can_be_tried_again(command, simulator, job, tmp_path):
    """`--retry-failed` asks only for the rows that failed; attempts and costs of all runs stay with the row."""
    server = simulator(poison="POISON")
    texts = ["one", "two POISON", "three"]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url)
    assert command.summary(path)[0] == 1
    server.change(poison=None)
    assert command.summary(path)[0] == 1
    assert server.stats()["requests"] == 3
    code, summary = command.summary(path, "--retry-failed")
    assert (code, summary["succeeded"], summary["failed"]) == (0, 3, 0)
    rows, files = results_of(tmp_path / "out")
    assert files == ["part-00000.parquet"]
    assert [row["attempts"] for row in rows] == [1, 2, 1]
    assert [row["completion"] for row in rows] == [expected_answer(messages(text)) for text in texts]
    assert server.stats()["requests"] == 4


def test_fresh_moves_the_old_run_aside(command, simulator, job, tmp_path):
    """Nothing is deleted; the new run is whole."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", ["a"]), server.url)
    command.summary(path)
    code, _ = command.summary(path, "--fresh", "--set", "model.parameters.max_tokens=5")
    assert code == 0
    aside = [entry for entry in tmp_path.iterdir() if entry.name.startswith("out.old-")]
    assert len(aside) == 1
    assert len(results_of(aside[0])[0]) == 1


def test_the_cost_of_an_unknown_model_is_null_and_said(command, simulator, job, tmp_path):
    """Never 0: null in the results, a warning on stderr."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", ["a"]), server.url, model="no-such-model-1")
    done = command("run", path, "--json", "--no-progress")
    assert done.returncode == 0
    assert "no-such-model-1" in done.stderr
    assert results_of(tmp_path / "out")[0][0]["cost"] is None
