"""What a plain row costs, as the number of functions that are called for it: a figure that no slow machine changes."""

import json
import os
import subprocess
import sys

from tests.benchmarks.server import serving
from tests.benchmarks.whole_run import JOB, SYSTEM, write_input

ROWS = 1_000
MOST_CALLS = 78
"""Calls of functions of batchgen, coroutines aside, for a row on the event loop; 63 when they were counted last, and
about nine more on a busy machine. Who needs more for each row takes as many away elsewhere, or needs them only for rows
that are out of the ordinary."""
EVERY_ROW = 0.5
"""What is called less often for a row is called from time to time, and more often on a busy machine: it does not
count."""

PROFILED = """
import cProfile, inspect, json, runpy, sys
profile = cProfile.Profile()
try:
    profile.runcall(runpy.run_module, "batchgen", run_name="__main__", alter_sys=True)
except SystemExit as ended:
    assert not ended.code, ended.code
calls = {}
for entry in profile.getstats():
    code = entry.code
    if isinstance(code, str) or code.co_flags & inspect.CO_COROUTINE:
        continue  # a coroutine counts again each time it goes on, which is more often on a busy machine
    if "/batchgen/" in code.co_filename.replace("\\\\", "/"):
        name = f"{code.co_filename.replace(chr(92), '/').rpartition('/batchgen/')[2]} {code.co_qualname}"
        calls[name] = calls.get(name, 0) + entry.callcount
print(json.dumps(calls), file=sys.stderr)
"""


def calls_of_run(job, rows):
    """Return how often each function of batchgen is called on the main thread of a run of so many rows."""
    command = [sys.executable, "-c", PROFILED, "run", str(job), "--limit", str(rows), "--fresh", "--no-progress"]
    environment = {**os.environ, "BENCHMARK_API_KEY": "sk-0123456789abcdef"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=True)
    return json.loads(run.stderr.splitlines()[-1])


def test_a_plain_row_takes_few_calls(tmp_path):
    """Between a run and another one of twice as many rows lies what a row costs, without the start and the end."""
    write_input(tmp_path / "input.parquet", 2 * ROWS)
    job = tmp_path / "job.toml"
    with serving() as url:
        places = {"input": tmp_path / "input.parquet", "output": tmp_path / "out", "base_url": url}
        job.write_text(JOB.format(system=SYSTEM, provider="dashscope", concurrency=64, **places))
        once, twice = calls_of_run(job, ROWS), calls_of_run(job, 2 * ROWS)
    more = {name: (calls - once.get(name, 0)) / ROWS for name, calls in twice.items()}
    found = sum(calls for calls in more.values() if calls >= EVERY_ROW)
    listed = "\n".join(f"{each:7.2f} {name}" for name, each in sorted(more.items(), key=lambda item: -item[1])[:150])
    assert found <= MOST_CALLS, f"{found:.1f} calls a row:\n{listed}"
    assert found > MOST_CALLS / 2, "the calls were not counted"
