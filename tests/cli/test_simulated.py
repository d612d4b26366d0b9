"""A simulated run says so wherever it is shown, and never mixes with a real one."""

import json

import pyarrow.parquet as pq
import pytest

from tests.inputs import write_csv


@pytest.fixture
def path(command, simulator, job, tmp_path):
    """A job with a server of its own, which stands for the real one."""
    return job(write_csv(tmp_path / "in.csv", ["a", "b", "c", "d"]), simulator().url)


def test_it_is_said_everywhere(command, path, tmp_path):
    """Summary, run.json, status, report as text and page, cost summary; a real run says it nowhere."""
    out = tmp_path / "out"
    for options, simulated in ((["--simulate"], True), (["--fresh"], False)):
        done = command("run", path, "--no-progress", *options)
        shown = [done.stdout, command("status", out).stdout, command("report", out).stdout]
        command("report", out, "--html", "page.html")
        shown.append((tmp_path / "page.html").read_text(encoding="utf-8"))
        assert ["simulated" in text for text in shown] == [simulated] * 4
        assert json.loads((out / "run.json").read_bytes())["simulated"] is simulated
        assert json.loads(command("report", out, "--json").stdout)["simulated"] is simulated
        assert set(pq.read_table(out / "cost_summary.parquet")["simulated"].to_pylist()) == {simulated}
        assert command.summary(path, *(["--simulate"] if simulated else []))[1]["simulated"] is simulated


def test_a_simulated_run_is_named_when_a_real_one_meets_it(command, path, tmp_path):
    """In both directions, by `run` and by `check`, and not as a changed address."""
    assert command.summary(path, "--simulate")[0] == 0
    for name in ("run", "check"):
        done = command(name, path)
        assert done.returncode == 2
        assert "holds a simulated run" in done.stderr
        assert "base_url" not in done.stderr
    assert command.summary(path, "--output", "real")[0] == 0
    done = command("run", path, "--simulate", "--output", "real")
    assert done.returncode == 2
    assert "holds a real run" in done.stderr


def test_a_simulated_pilot_leaves_nothing_behind(command, path, tmp_path):
    """The output directory is the real run's: none is made, and one that is there stays as it is."""
    done = command("estimate", path, "--simulate", "--pilot", "2", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["output_method"] == "pilot"
    assert any("simulated" in note for note in made["notes"])
    assert not (tmp_path / "out").exists()
    assert command.summary(path)[0] == 0
    before = (tmp_path / "out" / "run.json").read_bytes()
    assert command("estimate", path, "--simulate", "--pilot", "2").returncode == 0
    assert (tmp_path / "out" / "run.json").read_bytes() == before
