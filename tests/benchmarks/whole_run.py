"""Whole runs for benchmarks: an input of 2 KB rows, a job file, and `batchgen run` as a process of its own."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.server import pin

ROW_CHARACTERS = 2000
SYSTEM = "Read the text and say in one sentence what it is about."
JOB = """\
name = "benchmark"

[input]
path = "{input}"

[prompt]
system = "{system}"
user = "Text number {{{{ number }}}}:\\n{{{{ text }}}}"

[model]
provider = "{provider}"
name = "qwen-plus"
base_url = "{base_url}"
api_key_env = "BENCHMARK_API_KEY"

[model.parameters]
max_tokens = 512

[limits]
concurrency = {concurrency}

[output]
path = "{output}"
"""
_WORDS = ["the", "order", "invoice", "router", "was", "not", "delivered", "again", "before", "noon", "printer", "code"]


def make_input(path, rows):
    """Have the input written by another process: a child's peak memory includes what its parent had at the fork."""
    subprocess.run([sys.executable, "-m", __name__, str(path), str(rows)], check=True)
    return path


def write_input(path, rows):
    """Write `rows` rows of a number and 2,000 characters of text each, 10,000 rows to a row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = random.Random(4)
    schema = pa.schema([("number", pa.int64()), ("text", pa.string())])
    # New texts for every row would cost minutes at a million rows: different beginnings, shuffled middles.
    middles = [" ".join(rng.choices(_WORDS, k=ROW_CHARACTERS // 4))[: ROW_CHARACTERS - 10] for _ in range(997)]
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, rows, 10_000):
            numbers = range(start, min(start + 10_000, rows))
            texts = [f"{number:<10}{middles[number % 997]}" for number in numbers]
            writer.write_table(pa.table({"number": list(numbers), "text": texts}, schema=schema))


class Measured(NamedTuple):
    """A process from start to end: seconds on the clock, seconds of CPU in all its threads, peak RSS in MB; the
    summary that it printed."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    summary: dict[str, object]


def run_process(command, *, core=0):
    """Run a command pinned to a core; return what it took and what it printed. Ends the program if it fails."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.getcwd(),
        "BENCHMARK_API_KEY": "sk-benchmark",
        "NO_PROXY": "127.0.0.1",
    }
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: pin(core),  # noqa: PLW1509 - there are no other threads here
    )
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    elapsed_s = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {out}")
    return Measured(elapsed_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, {}), out


def run_batchgen(
    base_url,
    input_path,
    directory,
    *,
    concurrency,
    rows=None,
    provider="dashscope",
):
    """Run a whole job (all rows, or the first `rows`) into `directory`, replacing what is there."""
    output = directory / "out"
    shutil.rmtree(output, ignore_errors=True)
    job = directory / "job.toml"
    job.write_text(
        JOB.format(
            input=input_path,
            system=SYSTEM,
            provider=provider,
            base_url=base_url,
            concurrency=concurrency,
            output=output,
        )
    )
    command = [sys.executable, "-m", "batchgen", "run", str(job), "--json", "--no-progress"]
    measured, out = run_process([*command, *(["--limit", str(rows)] if rows else [])])
    summary = json.loads(out)
    if summary["state"] != "complete" or summary["failed"]:
        raise SystemExit(f"the run is not whole: {out}")
    return measured._replace(summary=summary)


def describe_machine():
    """Return cores, Python and the load average, for a line above the figures."""
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), "unknown processor"
    )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{model}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, load average {load}"


def _cpuinfo():
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    write_input(Path(sys.argv[1]), int(sys.argv[2]))
