"""Disks that are full, broken, read-only or gone: a sentence, exit 3, and nothing is paid twice."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import KEY
from tests.inputs import write_csv
from tests.survival.harness import ROOT, assert_whole, durable_rows
from tests.waiting import wait_until

MIB = 2**20


class SmallDisk:
    """A mounted file system of its own; `place` is its root."""

    def __init__(self, place):
        self.place = place

    def mount(self, *options):
        """(Re)mount with these options."""
        return subprocess.run(["mount", *options, self.place], capture_output=True, check=True)

    def fill(self, leave):
        """Leave so many bytes free."""
        free = shutil.disk_usage(self.place).free
        with (self.place / "ballast").open("wb") as ballast:
            ballast.write(bytes(max(0, free - leave)))


@pytest.fixture
def disk(tmp_path):
    """Mount a small file system, which only root can do."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield SmallDisk(place)
    subprocess.run(["umount", "-l", place], check=True)


def stopped(run):
    """A run that storage has stopped: exit 3, one sentence, no traceback; return the sentence."""
    assert run.wait() == 3, (run.code, run.err)
    assert "Traceback" not in run.err, run.err
    if run.out:
        assert run.summary["state"] == "stopped"
        return run.summary["error"]["message"]
    sentences = [line for line in run.err.splitlines() if line.startswith("batchgen: ")]
    assert len(sentences) == 1, run.err
    return sentences[0]


def test_a_disk_that_fills_up_in_mid_run(spare, simulator, job, tmp_path, disk):
    """Dispatch stops, the message says how much room is needed; with room the next run asks nothing twice."""
    server = simulator(latency_ms=10, answer_tokens=2500)
    texts = [f"row {n}" for n in range(4000)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=32)
    more = ("--set", "model.parameters.max_tokens=8000")
    out = disk.place / "out"
    run = spare.start("run", path, "--json", "--no-progress", "--output", out, *more)
    sentence = stopped(run)
    assert re.search(r"make room for about \d+ MB, \d+ MB are free", sentence), sentence
    assert 0 < run.summary["succeeded"] < 4000
    answered = server.stats()["prompts_answered"]
    assert answered < 4000
    disk.mount("-o", "remount,size=200m")
    code, summary = spare.run(path, "--output", out, *more)
    assert (code, summary["succeeded"]) == (0, 4000)
    assert_whole(out, texts, answer_tokens=2500, max_tokens=8000)
    assert server.stats()["prompts_answered_again"] == 0


def test_no_room_for_the_part(spare, simulator, job, tmp_path, disk):
    """The journal has everything, the part does not fit: nothing is asked again once there is room."""
    disk.mount("-o", "remount,size=60m")
    server = simulator(latency_ms=80, answer_tokens=2500)  # 100 rows a second: time to step in before the last
    texts = [f"row {n}" for n in range(700)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=8)
    more = ("--set", "model.parameters.max_tokens=8000")
    out = disk.place / "out"
    run = spare.start("run", path, "--json", "--no-progress", "--output", out, *more)
    wait_until(lambda: server.stats()["served"] >= 665)
    server.change(latency_ms=1500)
    time.sleep(0.7)
    disk.fill(leave=MIB // 2)
    sentence = stopped(run)
    assert "part" in sentence
    assert re.search(r"make room for about \d+ MB, \d+ MB are free", sentence), sentence
    (disk.place / "ballast").unlink()
    asked = server.stats()["requests"]
    assert spare.run(path, "--output", out, *more)[0] == 0
    assert server.stats()["requests"] == asked == 700
    assert_whole(out, texts, answer_tokens=2500, max_tokens=8000)


@pytest.mark.parametrize("leave", [0, 64 * 1024, MIB, 3 * MIB, 6 * MIB])
def test_no_room_to_begin(spare, simulator, job, tmp_path, disk, leave):
    """Where not even journal and spill file fit nothing is sent, and a sentence names the directory."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(50)]), server.url)
    out = disk.place / "out"
    disk.fill(leave)
    run = spare.start("run", path, "--json", "--no-progress", "--output", out)
    code = run.wait()
    assert "Traceback" not in run.err
    if leave == 6 * MIB:
        assert code == 0
        return
    assert code in (2, 3)
    assert str(out) in run.err + run.out
    assert server.stats()["requests"] == 0
    (disk.place / "ballast").unlink()
    assert spare.run(path, "--output", out)[0] == 0


def test_a_disk_that_fills_up_at_the_very_end(spare, simulator, job, tmp_path, disk):
    """The part is out, cost summary and run.json do not fit: exit 3; the next run writes them and sends nothing."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", ["a", "b"]), server.url)
    out = disk.place / "out"
    script = (
        "import sys, batchgen.storage.run_directory as r; from batchgen.cli import main as cli\n"
        "from pathlib import Path; import shutil\n"
        "real = r.write_cost_summary\n"
        "def full(path, *rest, **more):\n"
        f"    free = shutil.disk_usage({str(disk.place)!r}).free\n"
        f"    Path({str(disk.place)!r}, 'ballast').write_bytes(bytes(free))\n"
        "    real(path, *rest, **more)\n"
        "r.write_cost_summary = full\n"
        "cli.main(sys.argv[1:])"
    )
    done = driven(script, tmp_path, "run", path, "--no-progress", "--output", out)
    assert done.returncode == 3, done.stderr
    assert "cannot be written" in done.stdout + done.stderr
    (disk.place / "ballast").unlink()
    assert spare.run(path, "--output", out)[0] == 0
    assert server.stats()["requests"] == 2
    assert_whole(out, ["a", "b"])


def driven(script, cwd, *arguments, prefix=(), env=None):
    """Run the command's `main` behind a few lines that break something."""
    return subprocess.run(
        [*prefix, sys.executable, "-c", script, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DASHSCOPE_API_KEY": KEY, **(env or {})},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_a_directory_that_is_removed_in_mid_run(spare, simulator, job, tmp_path):
    """Exit 3 with a sentence, in seconds, and without sending the rest of the rows."""
    server = simulator(latency_ms=30)
    texts = [f"row {n}" for n in range(6000)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=8)
    run = spare.start("run", path, "--json", "--no-progress")
    wait_until(lambda: server.stats()["served"] > 100)
    shutil.rmtree(tmp_path / "out")
    removed = time.monotonic()
    sentence = stopped(run)
    assert str(tmp_path / "out") in sentence
    assert time.monotonic() - removed < 15
    assert server.stats()["served"] < 5500
    assert not (tmp_path / "out").exists()


def test_a_read_only_disk(spare, simulator, job, tmp_path, disk):
    """Exit 2, naming the directory; nothing is sent; nothing is wrong with an existing run there."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", ["a", "b"]), server.url)
    disk.mount("-o", "remount,ro")
    run = spare.start("run", path, "--no-progress", "--output", disk.place / "out")
    assert run.wait() == 2
    assert str(disk.place / "out") in run.err
    assert "Read-only" in run.err
    disk.mount("-o", "remount,rw")
    assert spare.run(path, "--output", disk.place / "out")[0] == 0
    disk.mount("-o", "remount,ro")
    looked = spare.start("status", disk.place / "out")
    assert looked.wait() == 0, looked.err


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused_by_name(simulator, job, tmp_path, kind):
    """Its locks cannot be relied on: exit 2, nothing is sent."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", ["a"]), server.url)
    mounts = tmp_path / "mounts"
    mounts.write_text(f"overlay / overlay rw 0 0\nserver:/x {tmp_path} {kind} rw 0 0\n")
    script = (
        "import sys, pathlib, batchgen.storage.run_directory as r; from batchgen.cli import main as cli\n"
        "real = r.refuse_network\n"
        f"r.refuse_network = lambda path, mounts: real(path, pathlib.Path({str(mounts)!r}))\n"
        "cli.main(sys.argv[1:])"
    )
    done = driven(script, tmp_path, "run", path, "--no-progress")
    assert done.returncode == 2
    assert kind in done.stderr
    assert str(tmp_path) in done.stderr
    assert server.stats()["requests"] == 0


def test_what_a_kill_leaves_half_written_is_ours(spare, simulator, job, tmp_path):
    """A half-written file of any name we write never makes the directory somebody else's."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", ["a"]), server.url)
    out = tmp_path / "out"
    (out / "results").mkdir(parents=True)
    (out / "run.lock").touch()
    names = ("run.json", "cost_summary.parquet", "pace.parquet", "estimate.parquet", "results/part-00000.parquet")
    for name in names:
        half = (out / name).with_name(f".{Path(name).name}.partial")
        half.write_bytes(b"PAR1 half")
    assert spare.run(path)[0] == 0
    assert_whole(out, ["a"])


@pytest.mark.parametrize("damage", [b"", b"PAR1 no parquet", None])
def test_a_damaged_pace_record_stops_nothing(spare, simulator, job, tmp_path, damage):
    """It is for the report only: the next run drops what it cannot read."""
    server = simulator(latency_ms=30)
    texts = [f"row {n}" for n in range(300)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=4)
    run = spare.start("run", path, "--no-progress")
    wait_until(lambda: server.stats()["served"] > 30)
    run.send(signal.SIGTERM)
    assert run.wait() == 130
    record = tmp_path / "out" / "pace.parquet"
    body = bytearray(record.read_bytes())
    body[len(body) // 3] ^= 255
    record.write_bytes(bytes(body) if damage is None else damage)
    assert spare.run(path)[0] == 0
    assert_whole(tmp_path / "out", texts)


FIU = shutil.which("fiu-run")


@pytest.mark.slow
@pytest.mark.skipif(FIU is None, reason="libfiu (Debian: fiu-utils) is not installed")
@pytest.mark.parametrize(
    ("errno", "points"),
    [
        (28, "posix/io/rw/pwrite"),
        (5, "posix/io/rw/pwrite"),
        (5, "posix/io/sync/fsync,posix/io/sync/fdatasync"),
        (28, "posix/io/sync/fsync,posix/io/sync/fdatasync"),
    ],
)
def test_two_per_cent_of_all_writes_fail(simulator, job, spare, tmp_path, errno, points):
    """EIO and ENOSPC at random in write or sync: what was acknowledged stays, what was answered is not asked again.

    `test_refused_operations` has each operation in its turn.
    """
    server = simulator(latency_ms=10)
    texts = [f"row {n}" for n in range(2000)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=16)
    controls = [f"-cenable_random name={point},probability=0.02,failinfo={errno}" for point in points.split(",")]
    codes = []
    for _ in range(6):
        done = subprocess.run(
            [FIU, "-x", *controls, sys.executable, "-m", "batchgen", "run", path, "--json", "--no-progress"],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "DASHSCOPE_API_KEY": KEY,
                "JE_ARROW_MALLOC_CONF": "background_thread:false",  # its start within libfiu's own is a deadlock
            },
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        codes.append(done.returncode)
        assert done.returncode in (0, 2, 3), done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        if done.stdout:
            assert json.loads(done.stdout)["succeeded"] <= durable_rows(tmp_path / "out", tmp_path)
        if done.returncode == 0:
            break
    else:
        assert spare.run(path)[0] == 0
    print(points, errno, codes, server.stats()["prompts_answered_again"])
    assert_whole(tmp_path / "out", texts)
    assert server.stats()["prompts_answered_again"] == 0
