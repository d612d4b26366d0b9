"""Only what is new is asked, whatever has changed and whenever the process is killed; old answers are never lost."""

import re
import shutil
import signal
import subprocess
import sys

import pytest

from batchgen.results.committed import read_results
from tests.cli.conftest import KEY
from tests.inputs import write_csv
from tests.survival.harness import ROOT, assert_whole, killed_when

IN_FLIGHT = 4
OLD, NEW = 60, 20


def updated(arguments, kill_at, cwd):
    """Run the command, killed before its n-th change in the file system; return how it ended and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.survival.killed_at", str(kill_at), *map(str, arguments)],
        cwd=ROOT,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "DASHSCOPE_API_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


def texts_of(directory):
    """The parts of a directory, byte for byte."""
    return {path.name: path.read_bytes() for path in (directory / "results").glob("part-*")}


@pytest.fixture
def begun(spare, simulator, job, tmp_path):
    """A complete run over the first rows, and an input that has grown since."""
    server = simulator(latency_ms=2)
    texts = [f"row {n}" for n in range(OLD + NEW)]
    write_csv(tmp_path / "in.csv", texts[:OLD])
    path = job(tmp_path / "in.csv", server.url, concurrency=IN_FLIGHT)
    code, summary = spare.run(path)
    assert (code, summary["attempts"]) == (0, OLD)
    write_csv(tmp_path / "in.csv", texts)
    return server, path, texts, tmp_path / "out"


def test_appended_rows_alone_are_asked_and_nothing_the_second_time(spare, begun):
    """Each row once; the old ones take their answers, at no cost, as they were."""
    server, path, texts, out = begun
    before = texts_of(out)
    code, summary = spare.run(path, "--update")
    assert (code, summary["attempts"], summary["reused"], summary["succeeded"]) == (0, NEW, OLD, OLD + NEW)
    assert server.stats()["served"] == OLD + NEW
    rows = assert_whole(out, texts).to_pylist()
    [old] = out.parent.glob("out.old-*")
    assert texts_of(old) == before
    for number, row in enumerate(rows):
        assert (row["reused"], row["attempts"]) == ((True, 0) if number < OLD else (False, 1))
        assert (row["cost"] == 0) == row["reused"]
    whole = texts_of(out)
    for arguments in (["--update"], []):
        code, summary = spare.run(path, *arguments)
        assert (code, summary["attempts"]) == (0, NEW)
    assert texts_of(out) == whole
    assert server.stats()["served"] == OLD + NEW
    assert len(list(out.parent.glob("out.old-*"))) == 1


@pytest.mark.parametrize("share", [6, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.timeout(1200)
def test_a_kill_before_any_change_in_the_file_system(begun, tmp_path, share):
    """Before the move aside, between its renames, after it: the old answers are there, and the same command goes on."""
    server, path, texts, out = begun
    kept = tmp_path / "kept"
    shutil.copytree(out, kept)
    before = texts_of(out)
    arguments = ["run", path, "--update", "--no-progress", "--output", out]
    _, said = updated(arguments, 0, tmp_path)
    changes = int(re.search(r"changes (\d+)", said)[1])
    assert changes > 20
    for kill_at in range(1, changes + 1, -(-changes // share) if share > 1 else 1):
        for left in (*tmp_path.glob("out.old-*"), *tmp_path.glob(".out.*"), out):
            shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(kept, out)
        server.reset_stats()
        code, said = updated(arguments, kill_at, tmp_path)
        assert code in (-signal.SIGKILL, 0), said
        places = [place for place in (out, *tmp_path.glob("out.old-*")) if place.is_dir()]
        assert any(before.items() <= texts_of(place).items() for place in places), kill_at
        code, said = updated(arguments, 0, tmp_path)
        assert code == 0, (kill_at, said)
        table = assert_whole(out, texts)
        assert table["reused"].to_pylist() == [number < OLD for number in range(OLD + NEW)], kill_at
        stats = server.stats()
        assert NEW <= stats["served"] <= NEW + 2 * IN_FLIGHT, kill_at
        [old] = tmp_path.glob("out.old-*")
        assert texts_of(old) == before
        assert not list(tmp_path.glob(".out.next"))


def test_an_update_that_is_killed_and_changed_again(spare, begun, tmp_path):
    """Answers are then in two directories, and in a journal: none of them is paid again."""
    server, path, texts, out = begun
    run = spare.start("run", path, "--update", "--no-progress")
    recent = killed_when(run, server, lambda served: served >= OLD + NEW // 2 or not run.running)
    write_csv(tmp_path / "in.csv", [*reversed(texts), "one more"])
    code, summary = spare.run(path, "--update")
    assert (code, summary["succeeded"]) == (0, OLD + NEW + 1)
    assert summary["reused"] >= OLD
    assert server.stats()["served"] <= OLD + NEW + 1 + recent + IN_FLIGHT
    assert_whole(out, [*reversed(texts), "one more"])


def test_an_unfinished_run_of_another_form(spare, begun, tmp_path):
    """What a killed run has in its journal is taken too; a changed prompt asks everything, and going back nothing."""
    _, path, texts, out = begun
    code, summary = spare.run(path, "--update", "--set", "prompt.system=Answer at length.")
    assert (code, summary["reused"], summary["attempts"]) == (0, 0, OLD + NEW)
    code, summary = spare.run(path, "--update")
    assert (code, summary["reused"], summary["attempts"]) == (0, OLD, NEW)
    code, summary = spare.run(path, "--update", "--limit", "5")
    assert (code, summary["reused"], summary["attempts"]) == (0, 5, 0)
    code, summary = spare.run(path, "--update")
    assert (code, summary["reused"], summary["attempts"]) == (0, OLD + NEW, 0)
    assert_whole(out, texts)


def test_answers_of_another_directory(spare, begun, tmp_path):
    """Whatever job made them; a directory without a run is refused before anything is touched."""
    server, path, texts, out = begun
    other = tmp_path / "other"
    served = server.stats()["served"]
    run = spare.start("run", path, "--no-progress", "--output", other, "--reuse", tmp_path / "missing")
    assert run.wait() == 2
    assert "holds no run" in run.err
    assert not other.exists()
    code, summary = spare.run(path, "--output", other, "--reuse", out)
    assert (code, summary["reused"], summary["attempts"]) == (0, OLD, NEW)
    assert server.stats()["served"] == served + NEW
    again = tmp_path / "again"
    reuse = f"input.reuse=[{str(out)!r}, {str(other)!r}]"
    code, summary = spare.run(path, "--output", again, "--set", reuse)
    assert (code, summary["reused"], summary["attempts"]) == (0, OLD + NEW, 0)
    assert_whole(again, texts)


def test_failed_rows_are_asked_again(spare, simulator, job, tmp_path):
    """A failure is no answer; nor does the row that is gone leave a trace."""
    server = simulator(latency_ms=2, poison="POISON")
    texts = [f"POISON {n}" if n % 7 == 3 else f"row {n}" for n in range(40)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url)
    code, summary = spare.run(path)
    assert code == 1
    failed = summary["failed"]
    write_csv(tmp_path / "in.csv", texts[5:])
    code, summary = spare.run(path, "--update")
    assert (code, summary["rows"], summary["reused"]) == (1, 35, 35 - failed + 1)
    assert summary["attempts"] >= failed - 1


def test_samples_of_one_request_stay_apart(spare, simulator, job, tmp_path):
    """Rows that ask the same at a temperature have an answer each, and keep it; further ones take one of them too."""
    server = simulator(latency_ms=2)
    path = job(write_csv(tmp_path / "in.csv", ["same"] * 6), server.url)
    spare.run(path)
    write_csv(tmp_path / "in.csv", ["same"] * 8)
    code, summary = spare.run(path, "--update")
    assert (code, summary["reused"], summary["attempts"]) == (0, 8, 0)
    assert len({*read_results(tmp_path / "out")["request_id"].to_pylist()}) == 6
    code, summary = spare.run(path, "--update", "--set", "input.dedupe=true", "--limit", "7")
    assert (code, summary["reused"], summary["attempts"]) == (0, 7, 0)


def test_a_share_is_asked_again_to_see_what_moves(spare, begun):
    """Also where nothing else has changed; what is asked again replaces the earlier answer."""
    server, path, _, out = begun
    spare.run(path, "--update")
    served = server.stats()["served"]
    code, summary = spare.run(path, "--update", "--refresh", "0.3")
    asked = summary["refreshed"]["asked"]
    assert (code, summary["refreshed"]["moved"]) == (0, 0)
    assert asked == summary["attempts"] == server.stats()["served"] - served == OLD + NEW - summary["reused"]
    assert 5 < asked < 45
    run = spare.start("diff", out, next(iter(out.parent.glob("out.old-*"))))
    assert (run.wait(), f"0 of {asked} answers moved" in run.out) == (0, True), run.out
    run = spare.start("run", path, "--refresh", "0.3")
    assert run.wait() == 2
    assert "--update" in run.err
