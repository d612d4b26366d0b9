"""Power cuts: what had not been synced is gone, and no acknowledged row is among it.

A real ext4 on a loop device: its backing file holds what the file system has sent to the disk, so a copy of that file,
taken while the run is stopped, is the disk as a power cut leaves it. Mounting the copy replays ext4's own journal.
The kernel is told to write nothing back by itself (`commit=600`); `eatmydata`, which makes every sync do nothing,
must fail the same test. Needs root and loop devices.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import KEY
from tests.inputs import write_csv
from tests.survival.harness import ROOT, assert_whole, durable_rows

DRIVER = """
import os, sys
from batchgen.cli import main as cli
from batchgen.engine.books import Books
told = os.open({acknowledged!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
real = Books.committed
def tell(self, results):
    os.write(told, b"".join(b"%d\\n" % result.row for result in results))
    real(self, results)
Books.committed = tell
cli.main(sys.argv[1:])
"""


@pytest.fixture
def ext4(tmp_path):
    """Return a function that mounts an image (a new one if it is not there) and the directory it is mounted on."""
    mounted = []

    def mount(image, name):
        if not image.exists():
            image.write_bytes(b"")
            os.truncate(image, 96 * 2**20)
            if shutil.which("mkfs.ext4") is None:
                pytest.skip("no mkfs.ext4")
            subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        place = tmp_path / name
        place.mkdir()
        done = subprocess.run(
            ["mount", "-o", "loop,commit=600", image, place], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no loop device can be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", place], check=False)


def acknowledged_rows(path):
    """Return the rows that the run had reported as settled."""
    return {int(line) for line in path.read_text().split()} if path.exists() else set()


def cut_power(ext4, job, table, server, tmp_path, chance, number, prefix=()):
    """Run until a random moment, cut, and return rows acknowledged and the directory as it is after the cut."""
    image, told = tmp_path / f"disk-{number}", tmp_path / f"told-{number}"
    place = ext4(image, f"before-{number}")
    path = job(table, server.url, concurrency=64)
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", DRIVER.format(acknowledged=str(told)), "run", path, "--output", place / "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DASHSCOPE_API_KEY": KEY},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not told.exists() or not told.stat().st_size:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 2.0))
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        acknowledged = acknowledged_rows(told)
        copy = tmp_path / f"copy-{number}"
        shutil.copyfile(image, copy)
    finally:
        process.kill()
        process.wait()
    return acknowledged, ext4(copy, f"after-{number}") / "out", path


def kept_rows(directory, scratch):
    """Return how many settled rows the directory still has, 0 if it cannot be read at all."""
    try:
        return durable_rows(directory, scratch) if directory.exists() else 0
    except Exception:
        shutil.rmtree(scratch / "counted", ignore_errors=True)
        return 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("cuts", [10])
def test_no_acknowledged_row_is_lost(ext4, spare, simulator, job, tmp_path, cuts):
    """After each cut every acknowledged row is there; the run goes on from it and ends whole."""
    server = simulator(latency_ms=20)
    texts = [f"row {n}" for n in range(12_000)]
    table = write_csv(tmp_path / "in.csv", texts)
    chance = random.Random(9)
    total = 0
    for number in range(cuts):
        acknowledged, out, path = cut_power(ext4, job, table, server, tmp_path, chance, number)
        total += len(acknowledged)
        assert kept_rows(out, tmp_path) >= len(acknowledged) > 0
        answered = server.stats()["prompts_answered"]
        if number % 3 == 0:
            code, _ = spare.run(path, "--output", out)
            assert code == 0
            assert_whole(out, texts)
        assert answered
        server.reset_stats()
    print(f"{cuts} power cuts: 0 of {total} acknowledged rows lost")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("eatmydata") is None, reason="eatmydata (Debian) is not installed")
def test_the_cut_is_a_real_one(ext4, simulator, job, tmp_path):
    """With syncs that do nothing the same cut loses acknowledged rows: so the test above can fail."""
    server = simulator(latency_ms=20)
    table = write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(12_000)])
    acknowledged, out, _ = cut_power(
        ext4, job, table, server, tmp_path, random.Random(9), 0, prefix=[shutil.which("eatmydata")]
    )
    assert len(acknowledged) > kept_rows(out, tmp_path)
