"""Ten million rows: how soon the first request goes out, a whole run with kills, and every command over its results.

    python -m tests.benchmarks.large [--rows 10000000] [--kills 3] [--keep DIR] [--no-check]

Rows of 150 bytes with an id, duplicates looked for, against the near-free server. `first request s` is the time from
the start of the process to its first connection. Ten million rows take half an hour and 4 GB of disk; `--keep` leaves
input and results in a folder, and uses those that it finds there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from batchgen.storage.parts import part_numbers
from tests.benchmarks.server import serving
from tests.benchmarks.whole_run import describe_machine, run_process

JOB = """\
name = "large"

[input]
path = "{input}"
id = "id"
dedupe = true

[prompt]
user = "What is this about? {{{{ text }}}}"

[model]
provider = "openai"
name = "qwen-plus"
base_url = "{base_url}/v1"
api_key_env = "BENCHMARK_API_KEY"

[model.parameters]
max_tokens = 64

[limits]
concurrency = 256

[output]
path = "{output}"
"""
GROUP_ROWS = 100_000
FILLER = "The router was not delivered before noon again, says the customer of invoice "
READ = """
import batchgen, sys
rows = sum(batch.num_rows for batch in batchgen.iter_results(sys.argv[1]))
print(rows)
"""


def write_input(path, rows):
    """Write ids, texts of 140 bytes of which 56 are random, and a label, all by column."""
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("label", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, rows, GROUP_ROWS):
            count = min(GROUP_ROWS, rows - start)
            numbers = pa.array(range(start, start + count))
            letters = pa.py_buffer(os.urandom(28 * count).hex().encode())
            random = pa.FixedSizeBinaryArray.from_buffers(pa.binary(56), count, [None, letters]).cast(pa.string())
            ids = pc.binary_join_element_wise("row-", numbers.cast(pa.string()), "")
            texts = pc.binary_join_element_wise(FILLER, random, "")
            labels = pa.array(["order", "router", "invoice"]).take(pa.array([n % 3 for n in range(count)]))
            writer.write_table(pa.table([ids, texts, labels], schema=schema))


def connected(port):
    """Whether a process of this machine has a connection to a port of it."""
    wanted = f"0100007F:{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(fields[2] == wanted and fields[3] == "01" for fields in map(str.split, lines))


def cpu_of(pid):
    """Return the seconds of CPU that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def killed_run(command, port, results, parts):
    """Run until so many parts are there, and kill it; return the seconds to the first request, and those of CPU."""
    environment = {**os.environ, "BENCHMARK_API_KEY": "sk-benchmark", "NO_PROXY": "127.0.0.1"}
    while connected(port):
        time.sleep(0.1)
    start_s = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        while not connected(port) and process.poll() is None:
            time.sleep(0.02)
        first_s, cpu_s = time.perf_counter() - start_s, cpu_of(process.pid)
        while process.poll() is None and len(part_numbers(results)) < parts:
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    return first_s, cpu_s


def main():
    """Run, kill, go on, read; print what each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--no-check", action="store_true", help="leave out `check`, which renders every row")
    options = parser.parse_args()
    print(describe_machine(), flush=True)
    scratch = nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory(dir=".")
    with scratch as place, serving(characters=100) as base_url:
        folder = Path(place).absolute()
        folder.mkdir(exist_ok=True)
        table, job, output = folder / "input.parquet", folder / "job.toml", folder / "out"
        if not table.exists():
            write = (
                "import sys; from tests.benchmarks.large import write_input; write_input(sys.argv[1], int(sys.argv[2]))"
            )
            subprocess.run([sys.executable, "-c", write, str(table), str(options.rows)], check=True)
        job.write_text(JOB.format(input=table, base_url=base_url, output=output))
        batchgen = [sys.executable, "-m", "batchgen"]
        run = [*batchgen, "run", str(job), "--json", "--no-progress"]
        if not (output / "run.json").exists() or json.loads((output / "run.json").read_text())["state"] != "complete":
            port = int(base_url.rpartition(":")[2])
            for kill in range(options.kills):
                parts = (kill + 1) * options.rows // 10_000 // (options.kills + 1)
                first_s, cpu_s = killed_run(run, port, output / "results", max(1, parts))
                first = f"first request {first_s:.1f} s ({cpu_s:.1f} s of CPU)"
                print(f"session {kill + 1}: {first}; killed at {parts:,} parts", flush=True)
            done, out = run_process(run)
            summary = json.loads(out)
            wrong = [key for key in ("rows", "succeeded") if summary[key] != options.rows]
            rest = f"{done.wall_s:.0f} s, {done.cpu_s:.0f} s of CPU, {done.peak_mb:.0f} MB"
            print(f"the rest: {rest}; {summary['attempts']:,} requests; wrong: {wrong or 'nothing'}", flush=True)
        steps = {
            "run once more": run,
            "status": [*batchgen, "status", str(output)],
            "report": [*batchgen, "report", str(output)],
            "show": [*batchgen, "show", str(output)],
            "show --row": [*batchgen, "show", str(output), "--row", f"row-{options.rows - 5}"],
            "evaluate": [*batchgen, "evaluate", str(output), "--gold", "label"],
            "diff": [*batchgen, "diff", str(output), str(output)],
            "export .parquet": [*batchgen, "export", str(output), str(folder / "all.parquet")],
            "export .csv": [*batchgen, "export", str(output), str(folder / "all.csv")],
            "iter_results": [sys.executable, "-c", READ, str(output)],
        }
        if not options.no_check:
            steps["check"] = [*batchgen, "check", str(job), "--json"]
        print(f"{'command':16} {'wall s':>7} {'CPU s':>7} {'peak MB':>8}")
        for name, command in steps.items():
            found, out = run_process(command)
            print(f"{name:16} {found.wall_s:7.1f} {found.cpu_s:7.1f} {found.peak_mb:8.0f}", flush=True)
            if name == "check":
                print(f"repeats counted by check: {json.loads(out)['repeats']}")


if __name__ == "__main__":
    main()
