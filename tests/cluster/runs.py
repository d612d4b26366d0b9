"""Runs of the real command whose requests are sent by workers, against a simulator in this process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq

import batchgen
from batchgen.simulator import Settings, start_in_thread
from tests.waiting import wait_until

KEY = "sk-of-this-test-7f31c0"
JOB = """
name = "cluster"
[input]
path = {input}
[prompt]
user = "Tell me about number {{{{ n }}}}.{{{{ text }}}}"
[model]
provider = "openai"
name = "qwen-plus"
base_url = {base_url}
api_key_env = "CLUSTER_TEST_KEY"
[model.parameters]
max_tokens = 64
[output]
path = {output}
[pricing]
region = "international"
{more}
"""


class Runs:
    """A simulator and the commands that are run against it, in one directory."""

    def __init__(self, directory: Path, rows: int, *, more: str = "", text: str = "", **settings):
        self.directory = directory
        self.simulator = start_in_thread(Settings(seed=3, api_key=KEY, **settings))
        self.rows = rows
        pq.write_table(pa.table({"n": range(rows), "text": [text] * rows}), directory / "in.parquet")
        self.job = directory / "job.toml"
        self.out = directory / "out"
        self.job.write_text(
            JOB.format(
                input=json.dumps(str(directory / "in.parquet")),
                base_url=json.dumps(f"{self.simulator.url}/compatible-mode/v1"),
                output=json.dumps(str(self.out)),
                more=more,
            )
        )
        self.processes = []

    def start(self, *options, key=KEY, path=None):
        """Start a run in the background; `path` is a directory of modules that its processes import first."""
        paths = [Path(batchgen.__file__).parents[1], *([path] if path is not None else [])]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        environ.pop("CLUSTER_TEST_KEY", None)
        if key is not None:
            environ["CLUSTER_TEST_KEY"] = key
        command = [sys.executable, "-m", "batchgen", "run", str(self.job), "--json", *options]
        process = subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.directory
        )
        self.processes.append(process)
        return process

    def end(self, process, timeout_s=90):
        """Wait for a run; return exit code, summary and what it said."""
        out, err = process.communicate(timeout=timeout_s)
        return process.returncode, json.loads(out) if out.strip().startswith("{") else {}, err + out

    def run(self, *options, **more):
        """Run to the end."""
        return self.end(self.start(*options, **more))

    def served(self):
        """Return the simulator's statistics."""
        return self.simulator.stats()

    def answered(self, number):
        """Wait until so many requests were answered."""
        wait_until(lambda: self.served()["requests"] >= number, 60)

    def results(self):
        """Return the rows of the results."""
        return batchgen.read_results(self.out).to_pylist()

    def books_agree(self, summary):
        """Whether the run's tokens and those that the simulator billed differ by no more than the run says it may."""
        served = self.served()
        ours = sum(row["input_tokens"] or 0 for row in self.results())
        return ours <= served["billed"]["input_tokens"] and (
            ours == served["billed"]["input_tokens"] or summary["possibly_billed"]["requests"] > 0
        )

    def close(self):
        """End everything that was started."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        self.simulator.close()


def workers_of(process):
    """Return the worker processes of a run."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if "batchgen.cluster.worker" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []
