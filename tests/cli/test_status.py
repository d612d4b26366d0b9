"""`batchgen status`: one run, many runs, a job file, and again and again."""

import io
import json
import socket
from datetime import UTC, datetime

import pytest

from batchgen.cli.status_command import directories_named, show_status, status_text
from batchgen.errors import OutputError
from batchgen.storage.run_state import read_state
from tests.inputs import write_csv
from tests.report.runs import failed_row, hand_made, row

NOW = datetime(2026, 11, 20, 11, 0, 30, tzinfo=UTC)


def told(directory, holder=None, **summary):
    """Return the status of a run made by hand."""
    state, _ = read_state(
        hand_made(directory, [row(0), failed_row(1)], settings={"model.name": "qwen-plus"}, **summary)
    )
    return status_text({"out": (state, holder)}, NOW)


def test_a_run_that_goes_on(tmp_path):
    """Rate, time left, what limits and what fails, the last error, the model; and how old all that is."""
    text = told(
        tmp_path / "out",
        "process 7 on here",
        state="running",
        rows=600,
        pending=598,
        rows_per_s=2.0,
        failures={"invalid_request": 1},
        limited_by="requests per minute, 120 given",
        waits_for="the provider fails every request",
        last_error="HTTP 503: busy",
        in_flight=4,
        cut=3,
    )
    for line in (
        "running, process 7 on here",
        "model         qwen-plus",
        "rate          2 rows/s (of the last minute)",
        "time left     about 4 min 59 s",
        "failures      invalid_request 1",
        "limited by    requests per minute, 120 given",
        "waits         the provider fails every request",
        "last error    HTTP 503: busy",
        "cut           3 answers",
        "30 s ago; its process is there but has written nothing since",
    ):
        assert line in text


def test_a_run_that_stopped(tmp_path):
    """What stopped it and what to do; no time left is made up."""
    text = told(tmp_path / "out", state="stopped", error={"message": "no money", "remedy": "Pay."}, pending=9)
    assert "stopped by    no money" in text
    assert "to go on      Pay." in text
    assert "time left" not in text


def test_several_runs_are_a_table(tmp_path):
    """Of what a shell's star gives, what is no run is left out."""
    for name in ("a", "b"):
        hand_made(tmp_path / name, [row(0)])
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    shown = io.StringIO()
    show_status([str(tmp_path / "*")], as_json=False, watch=False, file=shown)
    assert shown.getvalue().startswith("2 runs\n")
    show_status([str(path) for path in tmp_path.iterdir()], as_json=True, watch=False, file=(listed := io.StringIO()))
    assert {one["state"] for one in json.loads(listed.getvalue())} == {"complete"}
    with pytest.raises(OutputError, match="no output directory"):
        directories_named([str(tmp_path / "notes.txt"), str(tmp_path / "empty")])


def test_watch_ends_with_the_run(tmp_path, monkeypatch):
    """It looks again while somebody runs it, and a terminal is cleared between two looks."""
    directory = hand_made(tmp_path / "out", [row(0)], state="running")
    looks = [2]

    def state_of(path):
        state, _ = read_state(path)
        looks[0] -= 1
        return state, "process 7" if looks[0] else None

    monkeypatch.setattr("batchgen.cli.status_command.read_state", state_of)
    slept, shown = [], io.StringIO()
    show_status([str(directory)], as_json=False, watch=True, file=shown, sleep=slept.append)
    assert slept == [2.0]
    assert shown.getvalue().count("by-hand") == 2
    assert "\x1b" not in shown.getvalue()


def test_a_job_file_stands_for_its_output(command, simulator, job, tmp_path):
    """And a run without a terminal says where it stands in lines, with a log beside."""
    path = job(write_csv(tmp_path / "in.csv", ["a", "b POISON", "c"]), simulator(poison="POISON", length=0.5).url)
    done = command("run", path, "--log", "run.jsonl")
    assert done.returncode == 1
    assert "\r" not in done.stderr
    assert "Z started: 3 rows" in done.stderr
    assert "Z finished: 3 of 3 rows (100 %)" in done.stderr
    assert "failed rows\n  row 1: invalid_request: " in done.stdout
    events = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events if event["event"] in ("started", "finished")] == ["started", "finished"]
    assert (tmp_path / "run.jsonl").stat().st_mode & 0o077 == 0
    status = command("status", path)
    assert (status.returncode, "failures      invalid_request 1" in status.stdout) == (0, True)


def test_quiet(command, simulator, job, tmp_path):
    """Nothing at all for a run that succeeded; the summary for one that did not."""
    server = simulator(poison="POISON")
    path = job(write_csv(tmp_path / "in.csv", ["a"]), server.url)
    done = command("run", path, "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    path = job(write_csv(tmp_path / "bad.csv", ["a", "b POISON"]), server.url)
    done = command("run", path, "-q", "--output", "other")
    assert done.returncode == 1
    assert "row 1: invalid_request" in done.stdout
    assert done.stderr == ""


def test_cut_answers_are_always_in_the_last_lines(command, simulator, job, tmp_path):
    """Also where every answer was cut, so that there is no other finish reason to tell them from."""
    path = job(write_csv(tmp_path / "in.csv", ["a", "b"]), simulator(length=1.0).url)
    done = command("run", path, "--no-progress")
    assert "cut         2 answers end at the longest allowed length" in "\n".join(done.stdout.splitlines()[-3:])
    assert json.loads(command("run", path, "--json").stdout)["cut"] == 2


def test_a_server_that_is_not_there_is_said_within_seconds(command, job, tmp_path):
    """That the run waits, for what, and at last why it stops."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        path = job(write_csv(tmp_path / "in.csv", [*(f"text {n}" for n in range(20)), ""]), url)
        done = command("run", path, "--log", "run.jsonl", "--set", "limits.startup_wait_s=8")
    assert done.returncode == 3
    events = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    began = datetime.fromisoformat(events[0]["time"])
    (paused, *_) = (event for event in events if event["event"] == "paused")
    assert (datetime.fromisoformat(paused["time"]) - began).total_seconds() < 8
    assert events[-1]["event"] == "stopped"
    assert "limits.startup_wait_s" in events[-1]["text"]
    assert "Z stopped: For " in done.stderr
    assert "failed rows\n  row 20: prompt: " in done.stdout, "also of a run that has no part yet"
