"""How long until something happens: `batchgen --help`, and a whole run of one row against a local server.

    python -m tests.benchmarks.startup [--rounds 9]

Medians of processes from start to exit, in turn with `python -c pass`, which is what no Python program can beat.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.server import serving
from tests.benchmarks.whole_run import describe_machine, make_input, run_batchgen, run_process

MOST_S = {"batchgen --help": 0.2, "run of one row": 1.0}


def main():
    """Measure the three in turn and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, serving() as base_url:
        directory = Path(scratch)
        input_path = make_input(directory / "input.parquet", 1)
        processes = {
            "python -c pass": lambda: run_process([sys.executable, "-c", "pass"])[0],
            "batchgen --help": lambda: run_process([sys.executable, "-m", "batchgen", "--help"])[0],
            "run of one row": lambda: run_batchgen(base_url, input_path, directory, concurrency=64),
        }
        figures = {name: [] for name in processes}
        for _ in range(options.rounds):
            for name, run in processes.items():
                figures[name].append(run())
    print(describe_machine())
    print(f"{'process':16} {'wall s':>7} {'CPU s':>7} {'of pass':>8} {'at most':>8}")
    least_s = statistics.median(run.wall_s for run in figures["python -c pass"])
    for name, runs in figures.items():
        wall_s, cpu_s = (statistics.median(getattr(run, key) for run in runs) for key in ("wall_s", "cpu_s"))
        most = f"{MOST_S[name]:.1f} s" if name in MOST_S else ""
        print(f"{name:16} {wall_s:7.3f} {cpu_s:7.3f} {wall_s / least_s:8.1f} {most:>8}")


if __name__ == "__main__":
    main()
