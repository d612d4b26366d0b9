"""A command in a process of its own, a simulator in a thread, and jobs written for the test."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pyarrow.parquet as pq
import pytest

from batchgen.simulator import Settings, start_in_thread

KEY = "sk-test-0123456789abcdef"


@pytest.fixture
def simulator():
    """Start simulators on demand; all are closed at the end."""
    started = []

    def start(**settings):
        handle = start_in_thread(Settings(**settings))
        started.append(handle)
        return handle

    yield start
    for handle in started:
        handle.close()


@pytest.fixture
def command(tmp_path):
    """Run `batchgen` in a process of its own, in a directory of its own."""
    started = []

    class Command:
        cwd = tmp_path

        def start(self, *arguments, env=None, **popen):
            process = subprocess.Popen(
                [sys.executable, "-m", "batchgen", *map(str, arguments)],
                cwd=tmp_path,
                env={**os.environ, "DASHSCOPE_API_KEY": KEY, "OPENAI_API_KEY": KEY, **(env or {})},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                **popen,
            )
            started.append(process)
            return process

        def __call__(self, *arguments, env=None, timeout=100):
            process = self.start(*arguments, env=env)
            out, err = process.communicate(timeout=timeout)
            return subprocess.CompletedProcess(arguments, process.returncode, out, err)

        def summary(self, *arguments, **options):
            """Run with --json and --no-progress; return the exit code and the summary."""
            done = self("run", *arguments, "--json", "--no-progress", **options)
            assert done.stdout, done.stderr
            return done.returncode, json.loads(done.stdout)

    yield Command()
    for process in started:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stderr.close()


JOB = """
name = "test"
[input]
path = {input!r}
[prompt]
system = "Answer briefly."
user = "{{{{ text }}}}"
[model]
provider = {provider!r}
name = {model!r}
base_url = {base_url!r}
[model.parameters]
max_tokens = 256
[limits]
concurrency = {concurrency}
[output]
path = "out"
"""


@pytest.fixture
def job(tmp_path):
    """Write a job file over an input and return its path."""

    def write(
        input_path, base_url, *, provider="dashscope", model="qwen-plus", concurrency=64, more="", name="job.toml"
    ):
        path = tmp_path / name
        text = JOB.format(
            input=str(input_path), provider=provider, model=model, base_url=base_url, concurrency=concurrency
        )
        path.write_text(text + more, encoding="utf-8")
        return path

    return write


def results_of(directory):
    """Return the published rows as a list of dicts, in file order, and the files' names."""
    files = sorted((directory / "results").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    return rows, [file.name for file in files]
