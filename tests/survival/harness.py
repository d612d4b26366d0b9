"""Runs of the command that can be started, hit and judged: what the survival tests share."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from batchgen.results.committed import read_results
from batchgen.simulator import expected_answer
from tests.cli.conftest import KEY
from tests.inputs import messages

ROOT = Path(__file__).parents[2]
COMMIT_WINDOW_S = 0.2
"""50 ms until a group commit begins, and time for the commit itself on a slow, shared disk."""


class Ended:
    """A run of the command, started by `Spare`; `code` is there once it has ended."""

    def __init__(self, directory, number):
        self.pid = 0
        self.code = None
        self.out_file = directory / f"stdout-{number}"
        self.err_file = directory / f"stderr-{number}"
        self._started = threading.Event()
        self._ended = threading.Event()

    def begin(self, pid):
        self.pid = pid
        self._started.set()

    def end(self, code):
        self.code = code
        self._ended.set()

    def wait_started(self):
        assert self._started.wait(30)

    @property
    def running(self):
        return not self._ended.is_set()

    def wait(self, timeout=60):
        """Return the exit code (negative: the signal)."""
        assert self._ended.wait(timeout), f"still running after {timeout} s: {self.err}"
        return self.code

    def send(self, number):
        """Send a signal, unless it has ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    @property
    def out(self):
        return self.out_file.read_text() if self.out_file.exists() else ""

    @property
    def err(self):
        return self.err_file.read_text(errors="replace") if self.err_file.exists() else ""

    @property
    def summary(self):
        """The JSON object of `run --json`."""
        return json.loads(self.out)


class Spare:
    """Starts the command by forking from a process with everything imported; `with Spare(directory) as spare`.

    `preload` is a library that this process loads before all others.
    """

    def __init__(self, directory, preload=None):
        self.cwd = directory
        self._records = directory / "streams"
        self._records.mkdir()
        self._runs = []
        self._waiting = []
        self._by_pid = {}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.survival.spare"],
            cwd=ROOT,
            env=None if preload is None else {**os.environ, "LD_PRELOAD": str(preload)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            what, pid, *rest = line.split()
            if what == "started":
                run = self._by_pid[int(pid)] = self._waiting.pop(0)
                run.begin(int(pid))
            else:
                self._by_pid[int(pid)].end(int(rest[0]))

    def start(self, *arguments, env=None, cwd=None, disk=None, shard_rows=None):
        """Start `batchgen ARGUMENTS` and return at once behind the fork.

        `disk` are the arguments of `refuse_operations` in the preloaded library; `shard_rows` is the length of parts.
        """
        run = Ended(self._records, len(self._runs))
        self._runs.append(run)
        self._waiting.append(run)
        order = {
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd or self.cwd),
            "env": {"DASHSCOPE_API_KEY": KEY, "OPENAI_API_KEY": KEY, **(env or {})},
            "stdout": str(run.out_file),
            "stderr": str(run.err_file),
            "disk": disk,
            "shard_rows": shard_rows,
        }
        self._process.stdin.write(json.dumps(order) + "\n")
        run.wait_started()
        return run

    def run(self, path, *arguments, timeout=90, **options):
        """Run a job to its end with --json; return code and summary."""
        run = self.start("run", path, "--json", "--no-progress", *arguments, **options)
        code = run.wait(timeout)
        assert "Traceback" not in run.err, run.err
        assert run.out, f"exit {code}: {run.err}"
        return code, run.summary

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for run in self._runs:
            run.send(signal.SIGCONT)
            run.send(signal.SIGKILL)
        self._process.stdin.close()
        self._process.wait(10)
        self._reader.join(10)
        self._process.stdout.close()


def killed_after(run, server, seconds):
    """Kill a run after so many seconds; return how many answers went out within the last commit window before."""
    end = time.monotonic() + seconds
    return killed_when(run, server, lambda served: time.monotonic() >= end)


def killed_when(run, server, ready):
    """Kill a run as soon as `ready(answers served)`; return how many went out within the last commit window before."""
    counts = []
    while not ready(served := server.stats()["served"]):
        counts.append((time.monotonic(), served))
        time.sleep(0.01)
    end = time.monotonic()
    run.send(signal.SIGKILL)
    assert run.wait() in (-signal.SIGKILL, 0, 1, 3), run.err  # or it came to its own end
    safe = max((served for at, served in counts if at < end - COMMIT_WINDOW_S), default=None)
    if safe is None:
        safe = counts[0][1] if counts else server.stats()["served"]
    return server.stats()["served"] - safe


def durable_rows(directory, scratch):
    """Return how many rows a run that is not alive has settled for good, counted on a copy of its directory."""
    from batchgen.storage.run_directory import RunDirectory
    from batchgen.storage.run_state import read_state

    if not (directory / "run.json").exists():
        return 0
    copy = scratch / "counted"
    shutil.copytree(directory, copy)
    try:
        state, _ = read_state(copy)
        if state.state == "complete":
            return state.summary.rows
        with RunDirectory.open(
            copy, job=state.job, fingerprints=state.fingerprints, published=state.published
        ) as opened:
            return state.summary.rows if opened.complete else opened.journal.sums().totals().rows
    finally:
        shutil.rmtree(copy)


def assert_whole(directory, texts, *, failed=(), **answers):
    """Every row once, in input order, with the one right answer; nothing left over from the work.

    `answers` are the simulator's settings that decide what it answers.
    """
    table = read_results(directory)
    assert table["row_id"].to_pylist() == [str(n) for n in range(len(texts))]
    assert table["text"].to_pylist() == list(texts)
    for row, (text, completion, status) in enumerate(
        zip(texts, table["completion"].to_pylist(), table["status"].to_pylist(), strict=True)
    ):
        if row in failed:
            assert (status, completion) == ("failed", None), f"row {row}"
        else:
            assert completion == expected_answer(messages(text), **answers), f"row {row}: {status} {completion!r}"
    left = {entry.name for entry in directory.iterdir() if not entry.name.startswith("pace.")}
    assert left == {"results", "cost_summary.parquet", "run.json", "job.json", "run.lock"}, left
    assert not [entry for entry in (directory / "results").iterdir() if not entry.name.startswith("part-")]
    return table
