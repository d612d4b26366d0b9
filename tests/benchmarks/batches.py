"""A large job in the vendor's batches: its time, its peak of memory, and the vendor's books beside its own.

    python -m tests.benchmarks.batches [--rows 1000000] [--file-rows 50000] [--provider openai] [--queue 0.6]

The vendor is the simulator, in a process of its own, whose batches take a few seconds. `--queue` is the number of files
whose tokens may wait at once, which nobody tells the job: it has to be learnt from refusals. The peak is that of the
process's resident set, shared libraries included. A million rows take some minutes and 3 GB of disk at most.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.simulator import Settings, start_in_thread
from tests.benchmarks.whole_run import describe_machine, run_process

MOST_MB = 300
TEXT = "The router did not arrive before noon, please send it again. " * 3
TOKENS_A_ROW = 64
"""About what the simulator counts for the prompt of a row."""
JOB = """\
name = "batches"

[input]
path = "{input}"
dedupe = false

[prompt]
user = "Say in one word what this is about: {{{{ number }}}} {{{{ text }}}}"

[model]
provider = "{provider}"
name = "m"
base_url = "{base_url}"
api_key_env = "BENCHMARK_API_KEY"
lane = "batch"

[model.parameters]
max_tokens = 16

[batch]
rows = {file_rows}
poll_s = 0.5

[pricing.models.m]
input = 2.0
output = 8.0
currency = "USD"
lanes = {{ batch = 0.5 }}

[output]
path = "{output}"
"""


def serve(settings, directory, connection):
    """Be the vendor: say the address, and the books whenever asked, until the other end is gone."""
    with start_in_thread(settings, directory=directory) as handle:
        connection.send(handle.url)
        while connection.recv():
            connection.send(handle.stats())


def main():
    """Run once and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--file-rows", type=int, default=50_000)
    parser.add_argument("--provider", default="openai", choices=["openai", "dashscope", "anthropic"])
    parser.add_argument("--queue", type=float, help="files whose tokens may wait at once")
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        os.environ["XDG_STATE_HOME"] = str(directory / "state")
        queue = None if options.queue is None else max(1, round(options.queue * options.file_rows * TOKENS_A_ROW))
        settings = Settings(batch_speed=3600, batch_hours=1 / 1200, batch_sigma=0, queued_tokens=queue)
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        vendor = multiprocessing.get_context("spawn").Process(
            target=serve, args=(settings, directory / "vendor", theirs), daemon=True
        )
        vendor.start()
        base_url = ours.recv() + {"openai": "/v1", "dashscope": "", "anthropic": ""}[options.provider]
        rows = options.rows
        table = pa.table({"number": range(rows), "text": pa.array([TEXT] * rows).dictionary_encode()})
        pq.write_table(table, directory / "in.parquet", row_group_size=50_000)
        del table
        job = directory / "job.toml"
        job.write_text(
            JOB.format(
                input=directory / "in.parquet",
                provider=options.provider,
                base_url=base_url,
                file_rows=options.file_rows,
                output=directory / "out",
            )
        )
        measured, out = run_process([sys.executable, "-m", "batchgen", "run", str(job), "--json", "--quiet"])
        summary = json.loads(out)
        ours.send(True)
        batches = ours.recv()["batches"]
        ours.send(None)
        vendor.join(30)
    billed = {
        kind: sum(batch["billed"][kind] for batch in batches) for kind in ("requests", "input_tokens", "output_tokens")
    }
    refused = sum(batch["status"] == "failed" for batch in batches)
    equal = (billed["requests"], billed["input_tokens"], billed["output_tokens"]) == (
        summary["succeeded"],
        summary["input_tokens"],
        summary["output_tokens"],
    )
    files = math.ceil(rows / options.file_rows)
    print(f"rows            {rows:,} in {files:,} files of {options.file_rows:,} ({options.provider})")
    print(f"state           {summary['state']}, {summary['succeeded']:,} succeeded, {summary['attempts']:,} attempts")
    print(f"time            {measured.wall_s:,.0f} s, {measured.cpu_s / rows * 1e6:.0f} us of CPU a row")
    print(
        f"peak of memory  {measured.peak_mb:.0f} MB ({'within' if measured.peak_mb <= MOST_MB else 'ABOVE'} {MOST_MB})"
    )
    print(f"batches         {len(batches):,} created, {refused:,} of them refused by the queue")
    print(f"books           {'equal to the token' if equal else f'NOT EQUAL: {billed}, {out}'}")


if __name__ == "__main__":
    main()
