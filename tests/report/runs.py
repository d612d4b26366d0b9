"""Run directories for the report's tests: real ones through the Python API, and ones put together by hand."""

import json
import textwrap
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

import batchgen
from batchgen.job.endpoint import Endpoint
from batchgen.secret import Secret
from batchgen.simulator import Settings, start_in_thread
from batchgen.storage.result_schema import RESULT_COLUMNS

JOB = """
name = "figures"
[input]
path = {input!r}
id = "id"
[prompt]
user = "{{{{ text }}}}"
[model]
provider = "dashscope"
name = "qwen-plus"
[model.parameters]
max_tokens = 256
[limits]
concurrency = 16
[output]
path = {output!r}
"""


def real_run(directory, rows=150, *, limits=None, text="Question {} POISON", every=20, **faults):
    """Run a job over `rows` rows against a simulator with faults; every 20th row is refused. Return its directory."""
    table = directory / "in.csv"
    lines = [f"r{n},{(text if n % every == 0 else 'Question {}').format(n)}" for n in range(rows)]
    table.write_text("\n".join(["id,text", *lines]) + "\n", encoding="utf-8")
    output = directory / "out"
    path = directory / "job.toml"
    path.write_text(textwrap.dedent(JOB).format(input=str(table), output=str(output)), encoding="utf-8")
    handle = start_in_thread(Settings(poison="POISON", latency_ms=2, seed=5, **faults))
    try:
        endpoint = Endpoint(handle.url, Secret("sk-of-a-test-0123"), "simulator")
        batchgen.run(batchgen.load_job(path, **(limits or {})), endpoint=endpoint)
    finally:
        handle.close()
    return output


def row(number=0, **values):
    """Return a succeeded row with round figures; `values` replace its columns."""
    return {
        "row_id": f"r{number}",
        "status": "succeeded",
        "completion": "yes",
        "finish_reason": "stop",
        "input_tokens": 100,
        "output_tokens": 10,
        "total_tokens": 110,
        "cost": Decimal("0.000052"),
        "model": "qwen-plus",
        "attempts": 1,
        "latency_ms": 250.0,
        "http_status": 200,
        "finished_at": 1_790_000_000_000_000 + number * 1_000_000,
        **values,
    }


def failed_row(number=0, **values):
    """Return a failed row."""
    nothing = dict.fromkeys(
        ("completion", "finish_reason", "input_tokens", "output_tokens", "total_tokens", "cost", "model")
    )
    error = {"status": "failed", "http_status": 400, "error_kind": "invalid_request", "error_code": "InvalidParameter"}
    return row(number, **{**nothing, **error, "error_message": "not like this", **values})


def hand_made(directory, *parts, state="complete", **told):
    """Write a run directory with these parts (lists of rows); `told` replaces keys of the summary in run.json."""
    (directory / "results").mkdir(parents=True)
    rows = [line for part in parts for line in part]
    for number, part in enumerate(parts):
        table = pa.Table.from_pylist(part, schema=RESULT_COLUMNS)
        pq.write_table(table, directory / "results" / f"part-{number:05d}.parquet")
    succeeded = sum(line["status"] == "succeeded" for line in rows)
    summary = {"rows": len(rows), "succeeded": succeeded, "failed": len(rows) - succeeded, "pending": 0}
    extras = {name: told.pop(name) for name in ("settings", "estimate", "job") if name in told}
    state_file = {
        "state": state,
        "job": "by-hand",
        "started_at": "2026-11-20T10:00:00+00:00",
        "updated_at": "2026-11-20T11:00:00+00:00",
        "sessions": 1,
        "fingerprints": {},
        "summary": {**summary, "currency": "USD", **told},
        **extras,
    }
    (directory / "run.json").write_text(json.dumps(state_file), encoding="utf-8")
    return directory
