"""How near a run over two endpoints comes to the sum of their limits, and what it costs when one of them dies.

    python -m tests.benchmarks.endpoints [--rows 3600] [--die]

Two providers admit 600 and 3,000 requests a minute in one-second buckets and answer after a median of 300 ms; nobody
tells the run. With `--die` the larger one answers every request with status 500 from the 20th second to the 40th.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import pyarrow.compute as pc

import batchgen
from batchgen.simulator import Settings, start_in_thread
from tests.benchmarks.dying import Relay

RPM = (600, 3_000)
WARM_S = 10.0
"""Rows finished before this are not counted: nothing is known of the limits at first."""


def run(rows, die):
    """Run the rows over both endpoints; print what came of it."""
    os.environ["BENCHMARK_API_KEY"] = "k"
    handles = [start_in_thread(Settings(latency_ms=300, latency_sigma=0.3, rpm=rpm)) for rpm in RPM]
    with tempfile.TemporaryDirectory() as scratch, Relay(handles[1].url) as relay:
        path = Path(scratch, "in.csv")
        path.write_text("text\n" + "".join(f"row {n}\n" for n in range(rows)))
        urls = [handles[0].url, relay.url]
        job = batchgen.Job.from_dict(
            {
                "name": "endpoints",
                "input": {"path": str(path)},
                "prompt": {"user": "{{ text }}"},
                "model": {
                    "provider": "openai",
                    "name": "qwen-plus",
                    "api_key_env": "BENCHMARK_API_KEY",
                    "endpoints": [{"base_url": f"{url}/compatible-mode/v1"} for url in urls],
                },
                "output": {"path": f"{scratch}/out"},
            }
        )
        began_s = time.time()
        if die:
            threading.Timer(20.0, relay.fail).start()
            threading.Timer(40.0, relay.mend).start()
        summary = batchgen.run(job)
        results = batchgen.read_results(job.output.path)
        times = [at.timestamp() - began_s for at in results.column("finished_at").to_pylist()]
        counted = [at_s for at_s in times if at_s >= WARM_S]
        per_minute = 60 * len(counted) / (max(counted) - WARM_S)
        print(f"rows {summary.succeeded:,} of {rows:,}, failed {summary.failed}, requests {summary.attempts:,}")
        print(f"rate-limited {summary.refused} ({summary.refused / summary.attempts:.2%}), {per_minute:,.0f} a minute "
              f"after {WARM_S:.0f} s ({per_minute / sum(RPM):.1%})")  # fmt: skip
        if die:
            theirs = results.filter(pc.equal(results.column("endpoint"), summary.endpoints[1]["endpoint"]))
            back = min(s for at in theirs.column("finished_at").to_pylist() if (s := at.timestamp() - began_s) > 40.5)
            extra = summary.attempts - rows - summary.refused
            print(f"back {back - 40:.1f} s after it was mended; {extra} requests more ({extra / rows:.2%})")
    for handle in handles:
        handle.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=3_600)
    parser.add_argument("--die", action="store_true")
    arguments = parser.parse_args()
    run(arguments.rows, arguments.die)
