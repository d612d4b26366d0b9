"""Rows piped into the command: read like a file, and kept beside the output until every row has succeeded."""

import io
import os
import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import KEY, results_of
from tests.waiting import wait_until

TEXTS = [f"Question {number}" for number in range(60)]


def csv_of(texts):
    """Return a table of texts as CSV."""
    return "\n".join(["id,text", *(f"{number},{text}" for number, text in enumerate(texts))]).encode()


def jsonl_of(texts):
    """Return the same as JSON lines."""
    return "\n".join(f'{{"id": "{number}", "text": "{text}"}}' for number, text in enumerate(texts)).encode()


def parquet_of(texts):
    """Return the same as Parquet."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": [str(number) for number in range(len(texts))], "text": texts}), sink)
    return sink.getvalue()


@pytest.fixture
def piped(tmp_path):
    """Run a command with these bytes on its standard input; None: with an empty one."""

    def run(*arguments, body=None):
        return subprocess.run(
            [sys.executable, "-m", "batchgen", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "DASHSCOPE_API_KEY": KEY},
            input=body or b"",
            capture_output=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.mark.parametrize("form", [csv_of, jsonl_of, parquet_of])
def test_rows_come_through_a_pipe(piped, simulator, job, tmp_path, form):
    """Whatever the form is; no copy is left, the same bytes are the same run, and other bytes are refused."""
    path = job("-", simulator().url)
    done = piped("run", path, "--no-progress", body=form(TEXTS))
    assert done.returncode == 0, done.stderr
    rows, _ = results_of(tmp_path / "out")
    assert [row["text"] for row in rows] == TEXTS
    assert list((tmp_path / "out").glob("input-*")) == []
    again = piped("run", path, "--no-progress", body=form(TEXTS))
    assert again.returncode == 0
    assert b"complete already" in again.stderr
    other = piped("run", path, "--no-progress", body=form([*TEXTS, "one more"]))
    assert other.returncode == 2
    assert b"input" in other.stderr
    assert results_of(tmp_path / "out")[0] == rows
    assert list((tmp_path / "out").glob("input-*")) == []


def test_a_killed_run_goes_on_without_the_pipe(piped, simulator, job, tmp_path):
    """The copy is private, and is what the next run reads when nothing comes in."""
    path = job("-", simulator(latency_ms=300).url, concurrency=4)
    process = subprocess.Popen(
        [sys.executable, "-m", "batchgen", "run", str(path), "--no-progress"],
        cwd=tmp_path,
        env={**os.environ, "DASHSCOPE_API_KEY": KEY},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    process.stdin.write(csv_of(TEXTS))
    process.stdin.close()
    wait_until(lambda: list((tmp_path / "out").glob("journal.sqlite*")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    (copy,) = (tmp_path / "out").glob("input-*")
    assert copy.read_bytes() == csv_of(TEXTS)
    assert copy.stat().st_mode & 0o077 == 0
    done = piped("run", path, "--no-progress", "--set", "limits.concurrency=64")
    assert done.returncode == 0, done.stderr
    assert [row["text"] for row in results_of(tmp_path / "out")[0]] == TEXTS
    assert list((tmp_path / "out").glob("input-*")) == []


def test_failed_rows_are_tried_again_without_the_pipe(piped, simulator, job, tmp_path):
    """As long as rows are failed the copy stays."""
    server = simulator(poison="Question 7")
    path = job("-", server.url)
    assert piped("run", path, "--no-progress", body=csv_of(TEXTS[:20])).returncode == 1
    assert len(list((tmp_path / "out").glob("input-*"))) == 1
    done = piped("run", path, "--no-progress", "--retry-failed")
    assert done.returncode == 1
    assert b"1 failed row is tried again" in done.stderr


def test_check_and_estimate_leave_nothing_behind(piped, simulator, job, tmp_path):
    """They read a temporary copy."""
    path = job("-", simulator().url)
    for command in ("check", "estimate"):
        done = piped(command, path, body=csv_of(TEXTS))
        assert done.returncode == 0, done.stderr
        assert b"60" in done.stdout
    assert not (tmp_path / "out").exists()


def test_nothing_on_standard_input_is_said(piped, simulator, job):
    """Exit 2, and what to do."""
    done = piped("run", job("-", simulator().url), "--no-progress")
    assert done.returncode == 2
    assert b"pipe the rows into the command" in done.stderr
