"""A long run that is killed again and again: `python -m tests.benchmarks.soak --rows 1000000 --kills 20`.

The simulator runs in a process of its own with 5 % mixed faults. The run is killed (SIGKILL) at random moments and
started again; memory, files and sizes are printed as it goes. At the end every sum is checked: rows, order, texts,
tokens and cost against the parts, the cost summary and what the simulator counted. Exit 1 when anything is wrong.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from batchgen.simulator import expected_answer
from batchgen.storage.writer_thread import COMMIT_ROWS

ROOT = Path(__file__).parents[2]
FAULTS = {"error-500": 0.02, "error-503": 0.01, "reset": 0.01, "truncate": 0.005, "malformed": 0.005}
ROW_GROUP = 50_000
JOB = """
name = "soak"
[input]
path = "in.parquet"
[prompt]
user = "{{{{ text }}}}"
[model]
provider = "dashscope"
name = "qwen-plus"
base_url = "{url}"
[model.parameters]
max_tokens = 256
[limits]
concurrency = {concurrency}
[output]
path = "out"
"""


def text_of(row):
    """Return the prompt of a row."""
    return f"Soak row {row}: what is {row * 7919 % 100_003}?"


def write_input(path, rows):
    """Write the table in row groups, so that no size of it needs memory."""
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())])) as writer:
        for start in range(0, rows, ROW_GROUP):
            texts = [text_of(row) for row in range(start, min(rows, start + ROW_GROUP))]
            writer.write_table(pa.table({"text": texts}))


def start_simulator(seed):
    """Start the simulator; return process and address."""
    faults = [word for name, share in FAULTS.items() for word in (f"--{name}", str(share))]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "batchgen",
            "simulate",
            "--port",
            "0",
            "--seed",
            str(seed),
            "--latency-ms",
            "20",
            *faults,
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stderr.readline()
    return process, line.split(" on ")[1].split(",")[0]


def stats_of(url):
    """Return what the simulator counts."""
    with urllib.request.urlopen(f"{url}/stats") as answer:
        return json.load(answer)


def memory_mb(pid):
    """Return resident memory of a process, 0 if it has gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


def files_of(out):
    """Return number of parts, journal MB and all MB of an output directory."""
    parts, journal, everything = 0, 0, 0
    for path in out.rglob("*"):
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue
        everything += size
        parts += path.name.startswith("part-")
        journal += size if path.name.startswith("journal") else 0
    return parts, journal / 2**20, everything / 2**20


class Soak:
    """One soak in a directory of its own."""

    def __init__(self, place, given, url):
        self.place, self.given, self.url = place, given, url
        self.out = place / "out"
        self.began = time.monotonic()
        self.peak_mb = self.peak_journal_mb = 0.0
        self.told_s = float("-inf")

    def start(self):
        """Start or resume the run."""
        return subprocess.Popen(
            [sys.executable, "-m", "batchgen", "run", "job.toml", "--no-progress", "--json"],
            cwd=self.place,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DASHSCOPE_API_KEY": "sk-soak-000000000"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def watch(self, process):
        """Take the figures, and print them now and then; return how many answers went out."""
        memory, (parts, journal, everything) = memory_mb(process.pid), files_of(self.out)
        self.peak_mb, self.peak_journal_mb = max(self.peak_mb, memory), max(self.peak_journal_mb, journal)
        served = stats_of(self.url)["served"]
        if time.monotonic() - self.told_s >= self.given.every:
            self.told_s = time.monotonic()
            print(
                f"{self.told_s - self.began:8.0f} s  served {served:>9,}  memory {memory:5.0f} MB  parts {parts:4d}  "
                f"journal {journal:6.1f} MB  directory {everything:8.1f} MB",
                flush=True,
            )
        return served

    def go(self):
        """Run, kill, run again, until complete; return the last summary."""
        chance = random.Random(self.given.seed)
        marks = sorted(chance.uniform(0.01, 0.97) * self.given.rows for _ in range(self.given.kills))
        for mark in marks:
            process = self.start()
            while self.watch(process) < mark:
                if process.poll() is not None:
                    raise SystemExit(f"it ended with {process.returncode} by itself: {process.communicate()}")
                time.sleep(0.2)
            time.sleep(chance.uniform(0, 1.5))
            process.send_signal(signal.SIGKILL)
            process.communicate()
        process = self.start()
        while process.poll() is None:
            self.watch(process)
            time.sleep(0.2)
        out, err = process.communicate()
        if process.returncode:
            raise SystemExit(f"the last run ended with {process.returncode}: {err}{out}")
        return json.loads(out)


def check(out, given, summary, stats):
    """Compare every sum; return what is wrong."""
    wrong = []
    row, tokens, output, cost, attempts = 0, 0, 0, Decimal(0), 0
    step = max(1, given.rows // given.compared)
    for path in sorted((out / "results").glob("part-*.parquet")):
        for line in pq.read_table(path).to_pylist():
            if line["row_id"] != str(row) or line["text"] != text_of(row) or line["status"] != "succeeded":
                wrong.append(f"row {row}: {line['row_id']} {line['status']}")
            elif row % step == 0 and line["completion"] != expected_answer(text_of(row), seed=given.seed):
                wrong.append(f"row {row}: wrong text")
            row += 1
            tokens += line["input_tokens"]
            output += line["output_tokens"]
            cost += line["cost"]
            attempts += line["attempts"]
    totals = pq.read_table(out / "cost_summary.parquet").to_pylist()
    figures = {
        "rows": (row, given.rows, summary["rows"], summary["succeeded"], sum(t["rows"] for t in totals)),
        "input tokens": (tokens, summary["input_tokens"], sum(t["input_tokens"] for t in totals)),
        "output tokens": (output, summary["output_tokens"], sum(t["output_tokens"] for t in totals)),
        "cost": (cost, Decimal(summary["cost"]), sum(t["cost"] for t in totals)),
        "attempts": (attempts, summary["attempts"], sum(t["attempts"] for t in totals)),
        "prompts answered": (stats["prompts_answered"], given.rows),
    }
    wrong += [f"{name}: {values}" for name, values in figures.items() if len(set(values)) > 1]
    if attempts > stats["requests"]:
        wrong.append(f"{attempts} attempts recorded, {stats['requests']} requests seen")
    leftovers = [path.name for path in out.iterdir() if path.name.startswith("journal")]
    lost = given.kills * (given.concurrency + 2 * COMMIT_ROWS)
    if stats["prompts_answered_again"] > lost:
        wrong.append(f"{stats['prompts_answered_again']} answers paid again, {given.kills} kills can cost {lost}")
    return wrong + leftovers


def main():
    """Run the soak and print its figures."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--concurrency", type=int, default=256)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--every", type=float, default=10.0, help="seconds between two lines")
    options.add_argument("--compared", type=int, default=100_000, help="most rows whose text is compared")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="batchgen-soak-") as name:
        place = Path(name)
        write_input(place / "in.parquet", given.rows)
        simulator, url = start_simulator(given.seed)
        try:
            (place / "job.toml").write_text(JOB.format(url=url, concurrency=given.concurrency))
            soak = Soak(place, given, url)
            summary = soak.go()
            took = time.monotonic() - soak.began
            stats = stats_of(url)
        finally:
            simulator.terminate()
            simulator.communicate()
        wrong = check(soak.out, given, summary, stats)
        again = stats["prompts_answered_again"]
        faults = stats["faults"]["total"]
        print(
            f"{given.rows:,} rows, {given.kills} kills, {took:.0f} s, {given.rows / took:,.0f} rows/s; peak memory "
            f"{soak.peak_mb:.0f} MB, peak journal {soak.peak_journal_mb:.1f} MB; {stats['requests']:,} requests, "
            f"{faults:,} faults, {again:,} answers paid again ({again / max(1, given.kills):.0f} a kill)"
        )
        print("\n".join(wrong[:20]) if wrong else "every sum is right")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
