"""How near a real run comes to the ideal schedule of a rate-limited provider, over sockets.

    python -m tests.benchmarks.pace_real [--rows 3600] [--runs 3]

A provider process admits 3,600 requests a minute in one-second buckets and answers after a lognormal latency with
median 200 ms and 99th percentile 1.5 s. Ideal is the schedule that sees the bucket: a full bucket at once, then one
request whenever it has room; its end is drawn from the same latencies (mean of 200 draws). Then a short job without
any limits (1,000 rows, 50 ms, 64 in flight) against a plain semaphore over the same transport.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from batchgen.simulator import Settings, start_in_thread
from batchgen.transport import open_transport
from batchgen.values import Request, Response
from tests.transport.conftest import bearer

RPM = 3_600
MEDIAN_S, P99_S = 0.2, 1.5
SIGMA = math.log(P99_S / MEDIAN_S) / 2.326
JOB = """
name = "pace"
[input]
path = {input!r}
[prompt]
user = "{{{{ text }}}}"
[model]
provider = "dashscope"
name = "qwen-plus"
base_url = {base_url!r}
[model.parameters]
max_tokens = 64
[limits]
concurrency = {concurrency}
{limits}
[output]
path = {output!r}
"""


def ideal_s(rows):
    """Return the makespan of the schedule that sees the bucket, mean over drawn latencies."""
    rng = random.Random(1)
    per_s = RPM / 60
    ends = []
    for _ in range(200):
        sent = (max(0.0, (row + 1 - per_s) / per_s) for row in range(rows))
        ends.append(max(at + rng.lognormvariate(math.log(MEDIAN_S), SIGMA) for at in sent))
    return statistics.mean(ends)


def provider(*options):
    """Start `batchgen simulate` in a process of its own; return it and its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "batchgen", "simulate", "--port", "0", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    match = re.search(r"http://[\d.:]+", process.stderr.readline())
    assert match
    return process, match[0]


def run(directory, url, rows, concurrency, limits):
    """Run a whole job and return its summary."""
    table = directory / f"{rows}.csv"
    table.write_text("text\n" + "".join(f"question {row}\n" for row in range(rows)))
    job = directory / "job.toml"
    output = directory / f"out-{time.monotonic_ns()}"
    job.write_text(
        JOB.format(input=str(table), base_url=url, concurrency=concurrency, limits=limits, output=str(output))
    )
    done = subprocess.run(
        [sys.executable, "-m", "batchgen", "run", str(job), "--json", "--no-progress"],
        env={"DASHSCOPE_API_KEY": "sk-benchmark", "PATH": ""},
        stdout=subprocess.PIPE,
        check=True,
    )
    summary = json.loads(done.stdout)
    return summary


def limited(directory, rows, runs):
    """Print makespans against the ideal, with the limit given and without."""
    ideal = ideal_s(rows)
    print(f"{rows:,} rows at {RPM:,} requests/min, ideal {ideal:.1f} s")
    for name, limits in (("limit given", f"requests_per_minute = {RPM}"), ("nothing known", "")):
        ratios, refused = [], []
        for number in range(runs):
            process, url = provider(
                "--rpm", str(RPM), "--burst-s", "1", "--seed", str(number),
                "--latency-ms", str(MEDIAN_S * 1000), "--latency-sigma", str(SIGMA), "--answer-tokens", "5",
            )  # fmt: skip
            try:
                summary = run(directory, url, rows, 200, limits)
            finally:
                process.terminate()
                process.wait()
            ratios.append(summary["wall_s"] / ideal)
            refused.append(summary["refused"] / summary["attempts"])
        print(
            f"  {name:<14} {statistics.median(ratios):.3f} × ideal (runs {', '.join(f'{r:.3f}' for r in ratios)}), "
            f"{100 * statistics.median(refused):.2f} % refused, limited by: {summary['limited_by']}"
        )


async def semaphore(url, rows, concurrency):
    """Return the seconds that a plain semaphore over the same transport takes."""
    body = json.dumps({"model": "qwen-plus", "input": {"messages": [{"role": "user", "content": "question"}]},
                       "parameters": {}}).encode()  # fmt: skip
    request = Request(
        f"{url}/api/v1/services/aigc/text-generation/generation", body, {"Content-Type": "application/json"}
    )
    gate = asyncio.Semaphore(concurrency)
    async with open_transport(
        "fast", base_url=url, secrets=bearer("sk-benchmark"), concurrency=concurrency
    ) as transport:

        async def one():
            async with gate:
                answer = await transport.send(request, timeout_s=60)
                assert isinstance(answer, Response)
                assert answer.status == 200, answer

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(rows)))
        return time.perf_counter() - began


def short(directory, runs):
    """Print what the search costs a short job against a server without limits."""
    ratios = []
    for _ in range(runs):
        with start_in_thread(Settings(latency_ms=50)) as server:
            plain_s = asyncio.run(semaphore(server.url, 1_000, 64))
            summary = run(directory, server.url, 1_000, 64, "")
        ratios.append(summary["wall_s"] / plain_s)
    print(
        f"1,000 rows without limits, 50 ms, 64 in flight: {statistics.median(ratios):.2f} × a plain semaphore "
        f"(runs {', '.join(f'{r:.2f}' for r in ratios)})"
    )


def main():
    """Run both and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=3_600, help="0: the short job only")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}")
    with tempfile.TemporaryDirectory() as directory:
        short(Path(directory), options.runs)
        if not options.rows:
            return
        if options.rows:
            limited(Path(directory), options.rows, options.runs)


if __name__ == "__main__":
    main()
