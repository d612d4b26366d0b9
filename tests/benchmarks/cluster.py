"""A run over the nodes of a local Ray cluster, or over processes, at one limit of the provider.

    python -m tests.benchmarks.cluster --rows 1000000 --nodes 4 --rpm 60000
    python -m tests.benchmarks.cluster --rows 100000 --processes 2 --rpm 60000
    python -m tests.benchmarks.cluster --rows 20000 --processes 2 --concurrency 256 --free --tls --characters 30000

The provider is the simulator, in this process, with its own books. `--told` gives the limit to the job; otherwise it
has to be found. With `--free` it is a server of its own that does almost nothing and has no limit, with answers of so
many `--characters` and in `--tls` if asked for: this shows what a row costs the driver. The nodes are raylets of this
machine, so that the figures show one pace and equal books, not the speed of many machines.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import trustme

import batchgen
from batchgen.simulator import Settings, start_in_thread
from tests.benchmarks.server import serving
from tests.cluster.runs import JOB, KEY

STORE = 80 * 1024 * 1024


def start_cluster(stack, nodes):
    """Start a head without processors and so many nodes; return the address."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    stack.callback(cluster.shutdown)
    for _ in range(nodes):
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
    return cluster.address


def start_free(stack, arguments, directory):
    """Start the server that does almost nothing; return its URL."""
    certificate = None
    if arguments.tls:
        authority = trustme.CA()
        certificate, trusted = directory / "server.pem", directory / "authority.pem"
        certificate.write_bytes(authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes())
        trusted.write_bytes(authority.cert_pem.bytes())
        os.environ["SSL_CERT_FILE"] = str(trusted)
    return stack.enter_context(serving(0.05, arguments.characters, certificate))


def sample(simulator, ended, seen):
    """Append the time and the number of answers about once a second, until the run has ended."""
    while not ended.wait(1):
        if simulator is not None:
            seen.append((time.monotonic(), simulator.stats()["served"]))


def pace_after_start(seen):
    """Return the answers per second from ten seconds after the first answer to the last second that had any; None if
    the run was shorter."""
    first_s = next((at_s for at_s, served in seen if served), math.inf)
    steady = [(at_s, served) for at_s, served in seen if at_s >= first_s + 10 and served < seen[-1][1]]
    if len(steady) < 2:
        return None
    (start_s, start), (end_s, end) = steady[0], steady[-1]
    return (end - start) / (end_s - start_s)


def await_end(process):
    """Wait for the end of the driver; return the seconds of CPU that it used itself, and those of its workers.

    What `wait4` counts would be the sum: the driver has waited for its workers.
    """
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    times = psutil.Process(process.pid).cpu_times()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return times.user + times.system, times.children_user + times.children_system, used.ru_maxrss / 1024


def main():
    """Run once and print what the simulator and the run's own books say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--nodes", type=int, default=0)
    parser.add_argument("--processes", type=int, default=0)
    parser.add_argument("--rpm", type=float, default=60_000)
    parser.add_argument("--concurrency", type=int)
    parser.add_argument("--told", action="store_true")
    parser.add_argument("--free", action="store_true")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--characters", type=int, default=1200)
    arguments = parser.parse_args()
    os.environ["CLUSTER_TEST_KEY"] = KEY
    os.environ["PYTHONPATH"] = str(Path(batchgen.__file__).parents[1])
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        simulator = None
        if arguments.free:
            url = start_free(stack, arguments, directory)
        else:
            simulator = start_in_thread(Settings(seed=3, api_key=KEY, rpm=arguments.rpm, latency_ms=50))
            stack.callback(simulator.close)
            url = simulator.url
        more = "[limits]\n"
        if arguments.told:
            more += f"requests_per_minute = {arguments.rpm}\n"
        if arguments.concurrency:
            more += f"concurrency = {arguments.concurrency}\n"
        if arguments.nodes:
            more += f'[engine]\nkind = "ray"\naddress = "{start_cluster(stack, arguments.nodes)}"\n'
        elif arguments.processes:
            more += f"[engine]\nworkers = {arguments.processes}\n"
        rows = arguments.rows
        pq.write_table(pa.table({"n": range(rows), "text": [""] * rows}), directory / "in.parquet")
        job = directory / "job.toml"
        job.write_text(
            JOB.format(
                input=json.dumps(str(directory / "in.parquet")),
                base_url=json.dumps(f"{url}/compatible-mode/v1"),
                output=json.dumps(str(directory / "out")),
                more=more,
            )
        )
        began_s = time.monotonic()
        command = [sys.executable, "-m", "batchgen", "run", str(job), "--json", "--quiet"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        ended = threading.Event()
        sampler = threading.Thread(target=sample, args=(simulator, ended, seen := []))
        sampler.start()
        out = process.stdout.read()
        ended.set()
        sampler.join()
        driver_s, workers_s, peak_mb = await_end(process)
        wall_s = time.monotonic() - began_s
        summary = json.loads(out)
        told = {
            "rows": rows,
            "succeeded": summary["succeeded"],
            "seconds": round(wall_s, 1),
            "rows_per_s": round(summary["rows_per_s"]),
            "driver_cpu_us_per_row": round(driver_s / rows * 1e6, 1),
            "workers_cpu_us_per_row": round(workers_s / rows * 1e6, 1),
            "driver_peak_mb": round(peak_mb),
        }
        if simulator is not None:
            rate, billed = pace_after_start(seen), simulator.stats()["billed"]
            told |= {
                "share_of_limit": round(summary["rows_per_s"] * 60 / arguments.rpm, 3),
                "share_after_start": None if rate is None else round(rate * 60 / arguments.rpm, 3),
                "refused_share": round(summary["refused"] / max(1, summary["attempts"]), 4),
                "our_tokens": [summary["input_tokens"], summary["output_tokens"]],
                "billed_tokens": [billed["input_tokens"], billed["output_tokens"]],
                "possibly_billed": summary["possibly_billed"]["requests"],
            }
        print(json.dumps(told))


if __name__ == "__main__":
    main()
