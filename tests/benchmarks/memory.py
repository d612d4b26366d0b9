"""Peak memory of whole runs: it must not grow with the rows, nor much with the length of the answers.

    python -m tests.benchmarks.memory [--rows 100000,1000000] [--in-flight 512] [--answer 1200]

`batchgen run` over rows of 2 KB against the near-free server, a process of its own; the peak is that of the process's
resident set, shared libraries included. A million rows take some minutes and 3 GB of disk at most.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from tests.benchmarks.server import ANSWER, serving
from tests.benchmarks.whole_run import describe_machine, make_input, run_batchgen

MOST_MB = 300


def main():
    """Run each size once and print the peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="100000,1000000", help="sizes to run, comma")
    parser.add_argument("--in-flight", type=int, default=512)
    parser.add_argument("--answer", type=int, default=len(ANSWER), help="characters of an answer")
    options = parser.parse_args()
    sizes = [int(text) for text in options.rows.split(",")]
    print(describe_machine())
    print(f"{'rows':>10} {'peak MB':>8} {'rows/s':>8} {'CPU us/row':>11} {'load':>5}")
    peaks = []
    with tempfile.TemporaryDirectory() as name, serving(characters=options.answer) as base_url:
        directory = Path(name)
        input_path = make_input(directory / "input.parquet", max(sizes))
        for rows in sizes:
            done = run_batchgen(base_url, input_path, directory, concurrency=options.in_flight, rows=rows)
            peaks.append(done.peak_mb)
            print(
                f"{rows:10,} {done.peak_mb:8.0f} {rows / done.wall_s:8,.0f} {done.cpu_s / rows * 1e6:11.0f} "
                f"{os.getloadavg()[0]:5.1f}",
                flush=True,
            )
    print(
        f"{'within' if max(peaks) <= MOST_MB else 'ABOVE'} {MOST_MB} MB; the largest is {max(peaks) / peaks[0]:.2f} x "
        "the first"
    )


if __name__ == "__main__":
    main()
