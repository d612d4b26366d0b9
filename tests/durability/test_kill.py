"""SIGKILL at random moments: every acknowledged row is there, once, and is never settled again."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from batchgen.results.committed import read_results

SCRIPT = Path(__file__).with_name("killed_run.py")
ROOT = Path(__file__).parents[2]
SHARD_ROWS = 150


class Runs:
    """Starts runs in one directory, one after the other, each in a process of its own."""

    def __init__(self, path, rows):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(SCRIPT), str(path), str(rows), str(SHARD_ROWS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.communicate()

    def run(self, seed, kill_after_s=None):
        """Run, killed so many seconds after its first durable row; return what it said, line by line."""
        self.process.stdin.write(f"{seed}\n")
        self.process.stdin.flush()
        lines, pid, timer = [], 0, None
        while not (lines and lines[-1].startswith("gone ")):
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            lines.append(line)
            if line.startswith("started"):
                pid = int(line.split()[1])
            if line.startswith("durable") and timer is None and kill_after_s is not None:
                timer = threading.Timer(kill_after_s, os.kill, (pid, signal.SIGKILL))
                timer.start()
        if timer is not None:
            timer.join()
        assert lines[-1] == "gone 9\n" if timer else "gone 0\n"
        return lines


def durable_rows(lines):
    """Return the rows that a run has acknowledged; the last line may be torn."""
    return {int(line.split()[1]) for line in lines if line.startswith("durable ") and line.endswith("\n")}


@pytest.mark.parametrize(("seed", "kills"), [(1, 20), pytest.param(2, 100, marks=pytest.mark.slow)])
def test_kill_at_random_moments(tmp_path, seed, kills):
    """After many kills one more run completes: every row once, in order, with its one right result."""
    rows, chance, durable = 400 * kills, random.Random(seed), set()
    with Runs(tmp_path / "out", rows) as runs:
        for kill in range(kills):
            lines = runs.run(chance.randrange(10**6), chance.uniform(0, 0.04))
            told = durable_rows(lines[:-2])
            assert not any(line.startswith("problem") for line in lines), lines
            assert not durable & told, f"kill {kill}: {sorted(durable & told)[:5]} were durable and are settled again"
            durable |= told
        assert 0 < len(durable) < rows
        last = runs.run(chance.randrange(10**6))
        assert "complete\n" in last
        assert not durable & durable_rows(last)
    table = read_results(tmp_path / "out")
    assert table["row_id"].to_pylist() == [str(row) for row in range(rows)]
    assert table["n"].to_pylist() == list(range(rows))
    columns = [table[name].to_pylist() for name in ("status", "completion", "attempts")]
    for row, found in enumerate(zip(*columns, strict=True)):
        assert found == (("failed", None, 2) if row % 17 == 3 else ("succeeded", f"answer {row} " * (row % 30), 1))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"results", "cost_summary.parquet", "run.json", "run.lock"}
    assert sum(pq.read_table(tmp_path / "out" / "cost_summary.parquet")["rows"].to_pylist()) == rows
