"""Standstill, clocks that jump, threads that die, two runs at once: the process level of the fault list."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import KEY
from tests.inputs import write_csv
from tests.survival.harness import ROOT, assert_whole, durable_rows
from tests.waiting import wait_until

FAKETIME = next(
    (
        path
        for path in (
            "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
            "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
            "/usr/lib/faketime/libfaketimeMT.so.1",
        )
        if os.path.exists(path)
    ),
    None,
)


@pytest.mark.parametrize(
    ("transport", "seconds"),
    [("fast", 2.0), *(pytest.param(kind, 30.0, marks=pytest.mark.slow) for kind in ("fast", "httpx"))],
)
def test_a_standstill_costs_nothing(spare, simulator, job, tmp_path, transport, seconds):
    """SIGSTOP in mid-run, as a suspended laptop does: the run goes on and nothing is paid twice."""
    server = simulator(latency_ms=40, latency_sigma=0.5)
    texts = [f"row {n}" for n in range(600)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=32)
    run = spare.start("run", path, "--json", "--no-progress", "--set", f"model.transport={transport}")
    wait_until(lambda: server.stats()["served"] > 100)
    run.send(signal.SIGSTOP)
    time.sleep(seconds)
    run.send(signal.SIGCONT)
    assert run.wait() == 0, run.err
    assert_whole(tmp_path / "out", texts)
    assert server.stats()["prompts_answered_again"] == 0
    assert run.summary["wall_s"] >= seconds


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime (Debian: faketime) is not installed")
def test_clocks_that_jump_change_nothing_but_the_stamps(command, simulator, job, tmp_path):
    """The wall clock goes a day forth, then two back, in mid-run: no wait, no retry, no wrong figure follows."""
    server = simulator(latency_ms=40, error_500=0.02)
    texts = [f"row {n}" for n in range(900)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=16)
    jump = tmp_path / "jump"
    jump.write_text("+0")
    env = {
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": str(jump),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    run = command.start("run", path, "--json", "--no-progress", env=env)
    for served, offset in ((150, "+1d"), (400, "-1d"), (650, "+0")):
        wait_until(lambda served=served: server.stats()["served"] > served)
        jump.write_text(offset)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    table = assert_whole(tmp_path / "out", texts)
    days = {stamp.date() for stamp in table["finished_at"].to_pylist()}
    assert len(days) == 3, "the clock did not jump"
    assert all(0 < ms < 20_000 for ms in table["latency_ms"].to_pylist())
    assert server.stats()["prompts_answered_again"] == 0
    assert 0 < command.summary(path)[1]["wall_s"] < 60


DIES = """
import sys, threading
import batchgen.storage.writer_thread, batchgen.storage.journal, batchgen.source
from batchgen.cli import main as cli
calls = []
def dies(*arguments, **options):
    calls.append(1)
    if len(calls) >= {after}:
        raise {error}
    return original(*arguments, **options)
original, {place}.{name} = {place}.{name}, dies
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("place", "name", "after", "error"),
    [
        ("batchgen.storage.journal.Journal", "append", 3, "RuntimeError('bug')"),
        ("batchgen.storage.journal.Journal", "seal", 1, "MemoryError()"),
        ("batchgen.storage.writer_thread", "write_part", 1, "ValueError('bug')"),
    ],
)
def test_a_writer_that_dies_ends_the_run(spare, simulator, job, tmp_path, place, name, after, error):
    """Exit 70 and a file that says all instead of a hang; what was answered is kept, and the next run does the rest."""
    server = simulator(latency_ms=20)
    texts = [f"row {n}" for n in range(600)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=32)
    script = DIES.format(place=place, name=name, after=after, error=error)
    done = subprocess.run(
        [sys.executable, "-c", script, "run", str(path), "--no-progress"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DASHSCOPE_API_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 70, done.stderr
    assert "Traceback" not in done.stderr
    [told] = (tmp_path / "out").glob("batchgen-error-*.txt")
    assert str(told) in done.stderr
    assert error.partition("(")[0] in told.read_text()
    assert KEY not in told.read_text()
    told.unlink()
    assert server.stats()["prompts_answered"] == durable_rows(tmp_path / "out", tmp_path)
    assert spare.run(path)[0] == 0
    assert_whole(tmp_path / "out", texts)
    assert server.stats()["prompts_answered_again"] == 0


def test_two_started_at_once(spare, simulator, job, tmp_path):
    """Within milliseconds of each other, five times: one runs, the other exits 2 and names the first."""
    server = simulator(latency_ms=700)  # longer than a starting run waits for a lock
    path = job(write_csv(tmp_path / "in.csv", ["a", "b", "c"]), server.url)
    for turn in range(5):
        pair = [spare.start("run", path, "--no-progress", "--output", f"out-{turn}") for _ in range(2)]
        codes = [run.wait() for run in pair]
        assert sorted(codes) == [0, 2], [run.err for run in pair]
        winner, loser = sorted(pair, key=lambda run: run.code)
        assert f"process {winner.pid} " in loser.err
        assert f"out-{turn} is in use" in loser.err
        assert_whole(tmp_path / f"out-{turn}", ["a", "b", "c"])
    assert server.stats()["requests"] == 15


def test_the_lock_of_another_machine(spare, simulator, job, tmp_path):
    """A name left in the lock file by a dead process elsewhere holds nothing; a held lock names its holder."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", ["a", "b"]), server.url)
    out = tmp_path / "out"
    out.mkdir()
    lock = out / "run.lock"
    lock.write_text("process 4711 on another-machine\n")
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run = spare.start("run", path, "--no-progress")
        assert run.wait() == 2
        assert "process 4711 on another-machine" in run.err
        assert server.stats()["requests"] == 0
    assert spare.run(path)[0] == 0
    assert_whole(out, ["a", "b"])


def test_an_input_that_changes_between_runs_is_refused(spare, simulator, job, tmp_path):
    """A cell edited, rows put in another order, the end cut off, after an interruption: exit 2, nothing is sent."""
    server = simulator(latency_ms=30)
    texts = [f"row {n}" for n in range(400)]
    table = write_csv(tmp_path / "in.csv", texts)
    path = job(table, server.url, concurrency=8)
    run = spare.start("run", path, "--no-progress")
    wait_until(lambda: server.stats()["served"] > 30)
    run.send(signal.SIGTERM)
    assert run.wait() == 130
    original = table.read_bytes()
    sent = server.stats()["requests"]
    for changed in ([*texts[:200], "edited", *texts[201:]], texts[::-1], texts[:-1], [*texts, "more"]):
        write_csv(table, changed)
        refused = spare.start("run", path, "--no-progress")
        assert refused.wait() == 2
        assert "input" in refused.err
        assert "--fresh" in refused.err
    assert server.stats()["requests"] == sent
    table.write_bytes(original)
    assert spare.run(path)[0] == 0
    assert_whole(tmp_path / "out", texts)
