"""Updates: an input that has grown by one row in a hundred, and one that has not.

    python -m tests.benchmarks.update [--rows 1000000] [--new 0.01] [--answer 400] [--shuffled]

`batchgen run --update` over rows of 2 KB against the near-free server, a process of its own; the first run is over all
rows but the new ones. `--shuffled`: the grown input has its rows in another order. A million rows take some minutes and
5 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from tests.benchmarks.server import ANSWER, serving
from tests.benchmarks.whole_run import JOB, SYSTEM, describe_machine, make_input, run_process


def shuffle(path):
    """Put the rows of a file into the opposite order."""
    table = pq.read_table(path)
    pq.write_table(table.take(list(range(table.num_rows - 1, -1, -1))), path, row_group_size=10_000)


def main():
    """Run first, grown and unchanged, and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--new", type=float, default=0.01, help="share of the rows that is new")
    parser.add_argument("--answer", type=int, default=len(ANSWER), help="characters of an answer")
    parser.add_argument("--shuffled", action="store_true", help="the grown input is in another order")
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory(dir=".") as name, serving(characters=options.answer) as base_url:
        directory = Path(name).absolute()
        path = make_input(directory / "input.parquet", options.rows)
        job = directory / "job.toml"
        settings = {"provider": "openai", "base_url": base_url, "concurrency": 512, "output": directory / "out"}
        job.write_text(JOB.format(input=path, system=SYSTEM, **settings))
        command = [sys.executable, "-m", "batchgen", "run", str(job), "--json", "--no-progress"]
        old = round(options.rows * (1 - options.new))
        print(f"{'':>10} {'requests':>10} {'wall s':>8} {'CPU us/row':>11} {'peak MB':>8}")
        sent = 0
        for what, more in {"first": ["--limit", str(old)], "grown": ["--update"], "unchanged": ["--update"]}.items():
            if what == "grown" and options.shuffled:
                code = "import sys; from tests.benchmarks.update import shuffle; shuffle(sys.argv[1])"
                subprocess.run([sys.executable, "-c", code, str(path)], check=True)  # a child's peak has its parent's
            done, out = run_process([*command, *more])
            summary = json.loads(out)
            requests = 0 if what == "unchanged" else summary["attempts"]
            sent += requests
            cpu_us = done.cpu_s / summary["rows"] * 1e6
            print(f"{what:>10} {requests:10,} {done.wall_s:8.1f} {cpu_us:11.1f} {done.peak_mb:8.0f}", flush=True)
        print(f"{sent:,} requests for {options.rows:,} rows")


if __name__ == "__main__":
    main()
