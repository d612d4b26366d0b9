"""Standard streams that break: a full disk, a reader that left, a terminal that was closed: what was done is done."""

import os
import pty
import select
import subprocess
import sys
import time

import pytest

from batchgen.cli.main import _code_without_output
from tests.cli.conftest import KEY, results_of
from tests.inputs import write_csv

ENV = {**os.environ, "DASHSCOPE_API_KEY": KEY}


@pytest.fixture
def path(job, simulator, tmp_path):
    """A job of some rows that takes a moment."""
    return job(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(60)]), simulator(latency_ms=40).url)


def start(tmp_path, *arguments, **streams):
    return subprocess.Popen([sys.executable, "-m", "batchgen", *map(str, arguments)], cwd=tmp_path, env=ENV, **streams)


@pytest.mark.parametrize("stream", ["stdout", "stderr", "both"])
@pytest.mark.parametrize("kind", ["full", "no reader"])
def test_a_stream_that_cannot_be_written(path, tmp_path, stream, kind):
    """The run ends as it would have; a full disk under standard output is named where there is still somebody."""
    reader, writer = os.pipe()
    os.close(reader)
    target = os.open("/dev/full", os.O_WRONLY) if kind == "full" else writer
    streams = {name: target if stream in (name, "both") else subprocess.PIPE for name in ("stdout", "stderr")}
    process = start(tmp_path, "run", path, *(["--json"] if kind == "full" else []), **streams)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert len(results_of(tmp_path / "out")[0]) == 60
    if stream == "stdout":
        assert b"Traceback" not in errors
        assert (b"No space left" in errors) == (kind == "full")
    os.close(writer)


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "2>&-"])
def test_streams_that_are_closed_from_the_start(path, tmp_path, closed):
    """Their numbers go to no file of the run: what a library prints would be written into it."""
    command = f"exec {sys.executable} -m batchgen run {path} {closed}"
    process = subprocess.Popen(["/bin/sh", "-c", command], cwd=tmp_path, env=ENV)
    assert process.wait(60) == 0
    assert len(results_of(tmp_path / "out")[0]) == 60


def test_a_terminal_that_is_closed_in_mid_run(path, tmp_path, simulator):
    """The window goes, with its hang-up signal: the run goes on and ends with exit 0."""
    master, slave = pty.openpty()
    process = start(tmp_path, "run", path, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    end = time.monotonic() + 30
    while b"row" not in os.read(master, 1000):
        assert time.monotonic() < end
    os.close(master)
    assert process.wait(60) == 0
    assert len(results_of(tmp_path / "out")[0]) == 60


def test_commands_that_only_read(path, tmp_path):
    """`head` closes the pipe after a line, which is nobody's error; on a full disk the command has done nothing."""
    assert start(tmp_path, "run", path, "--no-progress", stdout=subprocess.DEVNULL).wait(60) == 0
    reader, writer = os.pipe()
    os.close(reader)
    lost = b"batchgen: standard output could not be written: No space left on device.\n"
    for command in (["status", "out"], ["report", "out"], ["manual", "mail"]):
        with open("/dev/full", "wb") as full:
            process = start(tmp_path, *command, stdout=full, stderr=subprocess.PIPE)
            _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (2, lost)
        assert start(tmp_path, *command, stdout=writer).wait(60) == 0
    os.close(writer)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["estimate", "job.toml", "--json"], 2),
        (["estimate", "job.toml", "--pilot=3"], 3),
        (["--help"], 2),
        (["export", "out", "a.csv"], 0),
    ],
)
def test_what_a_command_has_done_is_done_without_its_output(arguments, code):
    """A pilot was sent and a file was written; what only prints has failed."""
    assert _code_without_output(arguments, 0) == code


def test_a_note_is_shown_while_the_process_lives_also_where_streams_are_unbuffered(simulator, job, tmp_path):
    """Containers set PYTHONUNBUFFERED: then the first line came when the process had ended."""
    texts = [f"Question {number}" for number in range(50)]
    path = job(write_csv(tmp_path / "in.csv", texts), simulator(hang=1.0).url, model="a-model-without-price")
    process = subprocess.Popen(
        [sys.executable, "-m", "batchgen", "run", str(path), "--no-progress"],
        cwd=tmp_path,
        env={**os.environ, "DASHSCOPE_API_KEY": KEY, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        readable, _, _ = select.select([process.stderr], [], [], 60)
        assert readable, "nothing was shown"
        assert process.poll() is None, "it was shown when the process had ended"
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
