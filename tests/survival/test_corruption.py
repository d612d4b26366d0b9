"""Flipped bits and cut files between two runs of the command: no silently wrong row, what is damaged is kept aside."""

import json
import random
import shutil
import signal
import sqlite3
from contextlib import closing

import msgspec
import pytest

from batchgen.files.stamps import stamp_of
from batchgen.simulator import Settings, start_in_thread
from tests.cli.conftest import JOB
from tests.inputs import write_csv
from tests.survival.damage import damaged
from tests.survival.harness import Spare, assert_whole
from tests.waiting import wait_until

TEXTS = [f"row {n}" for n in range(12_000)]
"""More than a part, so that a killed run leaves a part, a journal and a log."""


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Return simulator, job, starter and a place with two unfinished runs behind their first part."""
    place = tmp_path_factory.mktemp("corruption")
    with start_in_thread(Settings()) as server, Spare(place) as spare:
        path = place / "job.toml"
        table = write_csv(place / "in.csv", TEXTS)
        path.write_text(
            JOB.format(input=str(table), provider="dashscope", model="qwen-plus", base_url=server.url, concurrency=128)
        )
        server.change(latency_ms=5)
        run = spare.start("run", path, "--no-progress", "--output", place / "killed")
        part = place / "killed" / "results" / "part-00000.parquet"
        wait_until(lambda: part.exists() and server.stats()["served"] > 10_900)
        run.send(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        # One that ended in order has its log folded into the journal: there only the rows' own checksums protect them.
        shutil.copytree(place / "killed", place / "interrupted")
        server.change(latency_ms=100)
        served = server.stats()["served"]
        run = spare.start("run", path, "--no-progress", "--output", place / "interrupted")
        wait_until(lambda: server.stats()["served"] > served + 150)
        run.send(signal.SIGTERM)
        assert run.wait() == 130
        server.change(latency_ms=0)
        yield server, path, spare, place


KINDS = ("texts", "cut", "flip", "zeros", "twice", "flips")


FILES = ("journal.sqlite", "journal.sqlite-wal", "results/part-00000.parquet", "run.json")


@pytest.mark.parametrize("tries", [8, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.timeout(1200)
def test_no_silently_wrong_row(killed, tmp_path, tries):
    """Damage of any kind in any file: the next run ends whole, or refuses with a sentence and --fresh begins anew."""
    server, path, spare, place = killed
    chance = random.Random(7)
    asked_again, aside, refused = [], 0, 0
    for number in range(tries):
        name = FILES[number % len(FILES)]
        out = tmp_path / f"out-{number}"
        shutil.copytree(place / ("interrupted" if name == "journal.sqlite" else "killed"), out)
        (out / name).write_bytes(damaged((out / name).read_bytes(), KINDS[number // len(FILES) % len(KINDS)], chance))
        before = server.stats()["prompts_answered_again"]
        run = spare.start("run", path, "--json", "--no-progress", "--output", out)
        code = run.wait(60)
        assert "Traceback" not in run.err, f"{name}: {run.err}"
        if code == 2:
            assert name == "run.json", f"{name}: {run.err}"
            assert "--fresh" in run.err or "not made by batchgen" in run.err
            refused += 1
        else:
            assert code == 0, f"{name}: {run.err}"
            set_aside = list(out.glob("*.damaged-*"))
            aside += len(set_aside)
            for file in set_aside:
                file.unlink()
            assert_whole(out, TEXTS)
        asked_again.append(server.stats()["prompts_answered_again"] - before)
        shutil.rmtree(out)
    print(f"{tries} damages: {aside} files kept aside, {refused} refused, rows asked again at most {max(asked_again)}")
    assert sum(asked_again) < tries * len(TEXTS) * 0.6


def test_damage_that_the_file_system_does_not_show_is_found_before_the_end(killed, tmp_path):
    """A part with the stamp it had is read while the run goes on; its rows are asked again by the next one."""
    _, path, spare, place = killed
    out = tmp_path / "out"
    shutil.copytree(place / "interrupted", out)
    part = out / "results" / "part-00000.parquet"
    body = bytearray(part.read_bytes())
    body[len(body) // 2] ^= 16
    part.write_bytes(body)
    with closing(sqlite3.connect(out / "journal.sqlite")) as journal, journal:
        (crc,) = journal.execute("SELECT file_crc FROM shards WHERE number = 0").fetchone()
        stamp = msgspec.json.encode(stamp_of(part)).decode()
        journal.execute("INSERT OR REPLACE INTO stamps VALUES (0, ?, ?)", (crc, stamp))
    run = spare.start("run", path, "--json", "--no-progress", "--output", out)
    assert run.wait(60) == 3, run.err
    told = json.loads(run.out)
    assert "part-00000.parquet has changed since it was written" in told["error"]["message"]
    assert (told["state"], told["pending"], told["succeeded"]) == ("stopped", 10_000, 2_000)
    run = spare.start("run", path, "--no-progress", "--output", out)
    assert run.wait(60) == 0, run.err
    for file in out.glob("*.damaged-*"):
        file.unlink()
    assert_whole(out, TEXTS)
