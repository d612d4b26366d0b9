"""The ready jobs run as a stranger would run them: from the checkout, with the simulator, no key."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

CHECKOUT = Path(__file__).parents[2]
JOBS = sorted(path.name for path in (CHECKOUT / "jobs").glob("*.toml"))


def batchgen(*arguments):
    """Run the command in the checkout without any key in the environment."""
    environ = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return subprocess.run(
        [sys.executable, "-m", "batchgen", *map(str, arguments)],
        cwd=CHECKOUT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("name", JOBS)
def test_a_ready_job_runs_against_the_simulator(name, tmp_path):
    """Every row is answered; the results have the columns that the job's own settings promise."""
    out = tmp_path / "out"
    quick = ("--set", "limits.requests_per_minute=60000", "--set", "limits.tokens_per_minute=100000000")
    done = batchgen("run", f"jobs/{name}", "--simulate", "--output", out, "--json", "--no-progress", *quick)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["state"] == "complete"
    assert summary["succeeded"] == summary["rows"] > 0
    assert float(summary["cost"]) > 0
    rows = pq.read_table(out / "results").to_pylist()
    assert len(rows) == summary["rows"]
    for row in rows:
        assert row["completion"] or row["tool_calls"]
        assert row["finish_reason"] in {"stop", "length", "tool_calls"}
        if row["attempts"]:
            assert row["input_tokens"] > 0
            assert row["cost"] > 0
        else:  # the request was another row's
            assert (row["input_tokens"], row["cost"]) == (None, 0)
    assert sum(not row["attempts"] for row in rows) == summary["shared"]


@pytest.mark.parametrize("name", JOBS)
def test_a_ready_job_passes_its_check(name, tmp_path):
    """`check --simulate` says how it would be sent, with the key masked, and sends nothing."""
    done = batchgen("check", f"jobs/{name}", "--simulate", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "POST http://127.0.0.1" in done.stdout
    assert "Bearer ***" in done.stdout
    assert not (tmp_path / "out").exists()


def test_extracted_emails_fill_the_fields(tmp_path):
    """The six fields of the vendor's example and two more, each in the type that the schema gives it."""
    out = tmp_path / "out"
    batchgen(
        "run", "jobs/email_extraction.toml", "--simulate", "--output", out, "--set", "limits.requests_per_minute=60000"
    )
    table = pq.read_table(out / "results")
    text = pa.string()
    types = {"customer": text, "software_version": text, "error_code": text, "problem": text}
    types |= {"operating_system": text, "details": text, "deadline": pa.date32()}
    types |= {"urgency": pa.dictionary(pa.int32(), text)}
    assert table.schema.field("parsed").type == pa.struct(list(types.items()))
    answers = table["parsed"].to_pylist()
    for field in types.keys() - {"deadline"}:
        assert sum(1 for answer in answers if answer[field]) > len(answers) / 4


def test_labelled_texts_have_labels_of_the_job(tmp_path):
    """Each answer is one of the job's labels, in a column of its own."""
    out = tmp_path / "out"
    batchgen("run", "jobs/dataset_labelling.toml", "--simulate", "--output", out)
    job = tomllib.loads((CHECKOUT / "jobs" / "dataset_labelling.toml").read_text())
    rows = pq.read_table(out / "results").to_pylist()
    assert {row["parsed"]["label"] for row in rows} == set(job["response"]["labels"])
    explained = [line for line in job["prompt"]["system"].splitlines() if line.startswith("- ")]
    assert [line[2:].partition(":")[0] for line in explained] == job["response"]["labels"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("dataset_labelling", "accuracy"), ("email_extraction", "operating_system")],
)
def test_a_job_with_gold_is_evaluated_without_options(name, words, tmp_path):
    """`[evaluate]` is kept with the run; `batchgen evaluate DIR` finds it there."""
    out = tmp_path / "out"
    quick = ("--set", "limits.requests_per_minute=60000")
    assert batchgen("run", f"jobs/{name}.toml", "--simulate", "--output", out, *quick).returncode == 0
    done = batchgen("evaluate", out)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    done = batchgen("run", f"jobs/{name}.toml", "--simulate", "--output", out, "--set", "output.columns=[]", "--fresh")
    assert done.returncode == 2
    assert "evaluate.gold" in done.stderr


def test_gold_for_a_field_that_no_answer_has_is_told_before_anything_is_sent(tmp_path):
    """A slip in a field's name is told by `check`. It is no error: with `--add-to` a job keeps the gold of another."""
    slip = ("--set", "evaluate.gold.custmer=gold_customer")
    done = batchgen("check", "jobs/email_extraction.toml", "--simulate", "--output", tmp_path / "out", *slip)
    assert done.returncode == 0, done.stderr
    assert "evaluate.gold names 'custmer'" in done.stdout + done.stderr
    assert "did you mean 'customer'?" in done.stdout + done.stderr
