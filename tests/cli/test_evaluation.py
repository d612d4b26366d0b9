"""`batchgen evaluate` and `batchgen diff` on finished runs, in processes of their own."""

import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.simulator import expected_answer
from tests.inputs import messages

pytest.importorskip("numpy")


@pytest.fixture
def run(command, simulator, job, tmp_path):
    """A finished run whose gold is right in three rows of four."""
    server = simulator(seed=3, latency_ms=1)
    texts = [f"Question {n}" for n in range(40)]
    gold = [expected_answer(messages(text), seed=3) if n % 4 else "another" for n, text in enumerate(texts)]
    pq.write_table(pa.table({"text": texts, "gold": gold}), tmp_path / "in.parquet")
    path = job(tmp_path / "in.parquet", server.url)
    assert command.summary(path)[0] == 0
    return path


def test_evaluate_prints_writes_and_tells_as_json(command, run, tmp_path):
    """Text, JSON and both tables say the same."""
    done = command(
        "evaluate", "out", "--gold", "gold", "--rows", "3", "--parquet", "m.parquet", "--compared", "c.parquet"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "accuracy               75.0 % (" in done.stdout
    assert done.stdout.count("    gold: another\n    answer: ") == 3
    told = json.loads(command("evaluate", "out", "--gold", "gold", "--json").stdout)
    assert (told["rows"], told["accuracy"]["value"]) == (40, 0.75)
    measures = pq.read_table(tmp_path / "m.parquet").to_pylist()
    assert {key: measures[0][key] for key in ("measure", "value", "low", "high")} == {
        "measure": "accuracy",
        **{key: told["accuracy"][key] for key in ("value", "low", "high")},
    }
    assert sum(pq.read_table(tmp_path / "c.parquet").column("match").to_pylist()) == 30


def test_evaluate_without_gold_or_run_exits_2(command, run):
    """With the fix named."""
    for arguments, message in (
        (("out",), "--gold COLUMN"),
        (("out", "--gold", "gould"), 'did you mean "gold"'),
        (("nowhere", "--gold", "gold"), "run the job first"),
    ):
        done = command("evaluate", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr


def test_diff_of_two_prompts(command, run, tmp_path):
    """Every answer changes with the prompt; both sides are priced; gold decides."""
    other = command.summary(run, "--output", "other", "--set", "prompt.user=Now: {{ text }}")
    assert other[0] == 0
    done = command("diff", "out", "other", "--gold", "gold", "--rows", "2", "--parquet", "changed.parquet")
    assert (done.returncode, done.stderr) == (0, "")
    assert "40 rows in both" in done.stdout
    assert "Changed: 40 rows, the first 2" in done.stdout
    assert "-75.0 points" in done.stdout
    assert "only A right: 30, only B right: 0" in done.stdout
    assert pq.read_table(tmp_path / "changed.parquet").num_rows == 40
    told = json.loads(command("diff", "out", "other", "--json").stdout)
    assert Decimal(told["b"]["cost"]) == Decimal(other[1]["cost"])
    assert told["gold"] is None
