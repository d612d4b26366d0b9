"""What a row costs: a whole `batchgen run` against bare loops and existing clients, on one core, in one run.

    python -m tests.benchmarks.throughput [--rounds 3] [--scale 1.0] [--peers PYTHON] [--only TEXT]

A near-free server on core 1 answers 2 KB prompts; each client is a process on core 0, one after the other, in turn,
`--rounds` times; the table has medians. `--peers` names an interpreter that has the peers (`pip install aiohttp uvloop
dashscope openai httpx-aiohttp flexllm async-batch-llm`); what is missing there is left out with a line that says so.

Rates are rows per second on the clock. Of batchgen, the whole process is measured, from start to exit (two reads of
the input, templates, journal, Parquet, cost summary), less the time of a run of one row, which stands for start-up.
Of the others, only the loop: their prompts are in memory and their imports done. CPU is that of all threads. Where
other work shares the core, the clock favours whoever has more threads (batchgen has five): then the ratio by CPU is
the sounder one, though switching between threads counts in it; on an idle core the two agree.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.clients import CLIENTS
from tests.benchmarks.server import pin, serving
from tests.benchmarks.whole_run import describe_machine, make_input, run_batchgen

CASES = [(64, 0.0), (512, 0.0), (2000, 0.0), (2000, 0.2)]
"""Requests in flight, and the server's latency in seconds."""

ROWS = {
    "batchgen": 30_000,
    "batchgen, chat format": 30_000,
    "transport alone": 30_000,
    "bare aiohttp": 20_000,
    "stripped aiohttp": 20_000,
    "dashscope SDK": 6_000,
    "flexllm": 4_000,
}
OTHER_ROWS = 1_500
"""Rows for each client: about as many seconds for all, whatever their speed."""

BASE, OWN = "bare aiohttp", "transport alone"
PEERS = ("dashscope SDK", "openai SDK", "openai over aiohttp", "flexllm", "async-batch-llm")
FIGURES = ("rate", "cpu_us", "peak_mb")

Figures = dict[str, float]
Run = Callable[[str, int, float], Figures]
"""Runs one client against a base URL, with so many in flight, over the given share of its rows."""


def batchgen_run(provider, directory, input_path):
    """Return how the whole command is measured."""

    def run(base_url, in_flight, scale):
        rows = int(ROWS["batchgen"] * scale)
        one = run_batchgen(base_url, input_path, directory, concurrency=in_flight, rows=1, provider=provider)
        whole = run_batchgen(base_url, input_path, directory, concurrency=in_flight, rows=rows, provider=provider)
        return {
            "rate": (rows - 1) / (whole.wall_s - one.wall_s),
            "cpu_us": (whole.cpu_s - one.cpu_s) / (rows - 1) * 1e6,
            "peak_mb": whole.peak_mb,
        }

    return run


def client_run(name, python, directory):
    """Return how one of `clients` is measured."""

    def run(base_url, in_flight, scale):
        rows = str(int(ROWS.get(name, OTHER_ROWS) * scale))
        command = [python, "-m", "tests.benchmarks.clients", name, base_url, str(in_flight), rows]
        done = subprocess.run(
            [*command, str(directory / "kept.jsonl")], capture_output=True, text=True, timeout=900, check=False
        )
        if done.returncode:
            raise SystemExit(f"{name}: {done.stderr or done.stdout}")
        figures = json.loads(done.stdout.splitlines()[-1])
        return figures

    return run


def wrk_run(directory):
    """Return how `wrk` is measured: one thread, two seconds, the same body."""
    body = json.dumps({"model": "qwen-plus", "messages": [{"role": "user", "content": "y" * 2000}]})
    script = directory / "post.lua"
    script.write_text(f"wrk.method='POST'\nwrk.body=[==[{body}]==]\nwrk.headers['content-type']='application/json'\n")

    def run(base_url, in_flight, scale):
        command = ["wrk", "-t1", f"-c{in_flight}", "-d2s", "-s", str(script), f"{base_url}/v1/chat/completions"]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            preexec_fn=lambda: pin(0),  # no threads here that it could disturb
        )
        rate = re.search(r"Requests/sec: *([\d.]+)", done.stdout)
        assert rate is not None
        return {"rate": float(rate[1]), "cpu_us": 0.0, "peak_mb": 0.0}

    return run


def runs_of(peers_python, directory, input_path):
    """Return what can be measured here, and lines on versions and on what is left out."""
    notes = []
    runs = {
        "batchgen": batchgen_run("dashscope", directory, input_path),
        "batchgen, chat format": batchgen_run("openai", directory, input_path),
    }
    versions = {}
    for python in (peers_python, sys.executable):
        done = subprocess.run(
            [python, "-m", "tests.benchmarks.clients"], capture_output=True, text=True, timeout=60, check=True
        )
        versions[python] = json.loads(done.stdout)
    for name in CLIENTS:
        python = sys.executable if name == OWN else peers_python
        version = versions[python].get(name)
        if version is None:
            notes.append(f"{name} is not installed there and left out")
        else:
            runs[name] = client_run(name, python, directory)
            notes.append(f"{name}: {version}")
    if shutil.which("wrk"):
        runs["wrk"] = wrk_run(directory)
    else:
        notes.append("wrk is not installed and left out")
    return runs, notes


def print_table(title, figures):
    """Print medians, and batchgen's ratio to each."""
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in FIGURES} for name, runs in figures.items()
    }
    own = medians.get("batchgen")
    print(f"\n{title}, load average {os.getloadavg()[0]:.1f}")
    print(f"{'client':22} {'rows/s':>9} {'CPU us/row':>11} {'peak MB':>8} {'batchgen is':>12} {'by CPU':>7}")
    for name, found in medians.items():
        ratio = f"{own['rate'] / found['rate']:.2f} x" if own else ""
        by_cpu = f"{found['cpu_us'] / own['cpu_us']:.2f} x" if own and found["cpu_us"] else ""
        print(
            f"{name:22} {found['rate']:9,.0f} {found['cpu_us']:11.0f} {found['peak_mb']:8.0f} {ratio:>12} {by_cpu:>7}"
        )
    peers = {name: medians[name]["rate"] for name in PEERS if name in medians}
    if own and peers:
        best = max(peers, key=lambda name: peers[name])
        print(f"the best existing client is {best}: batchgen is {own['rate'] / peers[best]:.2f} x as fast")
    if own and BASE in medians:
        print(f"batchgen is {own['rate'] / medians[BASE]['rate']:.2f} x as fast as the bare aiohttp loop")


def main():
    """Measure everything there is, case by case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual rows")
    parser.add_argument("--peers", metavar="PYTHON", default=sys.executable, help="interpreter that has the peers")
    parser.add_argument("--only", metavar="TEXT", default="", help="only clients whose name has one of these, comma")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        input_path = make_input(directory / "input.parquet", int(ROWS["batchgen"] * options.scale))
        runs, notes = runs_of(options.peers, directory, input_path)
        print(describe_machine(), *notes, sep="\n")
        wanted = {name: run for name, run in runs.items() if any(text in name for text in options.only.split(","))}
        for in_flight, latency_s in CASES:
            figures = {name: [] for name in wanted}
            with serving(latency_s) as base_url:
                for _ in range(options.rounds):
                    for name, run in wanted.items():
                        figures[name].append(run(base_url, in_flight, options.scale))
            print_table(f"{in_flight} in flight, server latency {latency_s * 1000:.0f} ms", figures)


if __name__ == "__main__":
    main()
