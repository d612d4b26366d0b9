"""Runs that must not begin (exit 2, nothing sent), that stop (exit 3), and that are interrupted (exit 130)."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from batchgen.cli.messages import interrupted_text
from batchgen.simulator import expected_answer
from batchgen.storage.batch_table import BatchShown
from tests.cli.conftest import KEY, results_of
from tests.inputs import messages, write_csv
from tests.waiting import wait_until


@pytest.fixture
def table(tmp_path):
    """Three rows."""
    return write_csv(tmp_path / "in.csv", ["a", "b", "c"])


def refused(command, server, *arguments, **options):
    """Run what must be refused: exit 2, one sentence, nothing sent; return the sentence."""
    done = command("run", *arguments, "--no-progress", **options)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("batchgen: ")]
    assert len(lines) == 1, done.stderr
    assert server.stats()["requests"] == 0
    return lines[0]


def test_a_typo_in_the_job_file(command, simulator, job, table):
    """The nearest key is named."""
    server = simulator()
    path = job(table, server.url, more="[limit]\nconcurrency = 3\n")
    assert "limits?" in refused(command, server, path)


def test_a_missing_column(command, simulator, job, table):
    """The column, the file and what there is are named."""
    server = simulator()
    path = job(table, server.url)
    sentence = refused(command, server, path, "--set", "prompt.user={{ txet }}")
    assert "txet" in sentence
    assert "in.csv" in sentence
    assert "text" in sentence


def test_a_missing_input(command, simulator, job, table, tmp_path):
    """The path is named."""
    server = simulator()
    assert "nowhere.csv" in refused(command, server, job("nowhere.csv", server.url))


def test_a_key_variable_that_is_not_set(command, simulator, job, table):
    """The variable is named, and how to do without."""
    server = simulator()
    sentence = refused(command, server, job(table, server.url), env={"DASHSCOPE_API_KEY": ""})
    assert "DASHSCOPE_API_KEY" in sentence
    assert "--simulate" in sentence


def test_a_duplicate_id(command, simulator, job, tmp_path):
    """The value and the rows are named."""
    server = simulator()
    (tmp_path / "in.csv").write_text("id,text\nx,a\ny,b\nx,c\n")
    sentence = refused(command, server, job("in.csv", server.url), "--set", "input.id=id")
    assert "x" in sentence
    assert "in.csv" in sentence


def test_a_changed_job_or_input_is_never_mixed_in(command, simulator, job, table, tmp_path):
    """What changed is named, and the two ways on; a changed limit is none."""
    server = simulator()
    path = job(table, server.url)
    assert command.summary(path)[0] == 0
    server.reset_stats()
    sentence = refused(command, server, path, "--set", "model.parameters.max_tokens=9")
    assert "model.parameters.max_tokens" in sentence
    assert "--fresh" in sentence
    sentence = refused(command, server, path, "--set", "prompt.user=Other {{ text }}")
    assert "prompt.user" in sentence
    write_csv(tmp_path / "in.csv", ["a", "b", "x"])
    assert "input" in refused(command, server, path)
    write_csv(tmp_path / "in.csv", ["a", "b", "c"])
    assert command.summary(path, "--set", "limits.concurrency=3")[0] == 0


def test_a_budget_for_a_model_without_a_price(command, simulator, job, table):
    """A cap that cannot be kept is refused."""
    server = simulator()
    sentence = refused(command, server, job(table, server.url, model="no-such-model-1"), "--budget", "5")
    assert "price" in sentence


def test_the_short_forms_work_with_set_too(command, simulator, job, table):
    """`--set input.limit=2` is `--limit 2`; a short form that is no key is refused, never ignored."""
    server = simulator()
    path = job(table, server.url)
    for assignment in ("limit=2", "budget=5", "path=x", "input=other.csv"):
        done = command("run", path, "--no-progress", "--set", assignment)
        assert (done.returncode, server.stats()["requests"]) == (2, 0), done.stderr
        assert "Traceback" not in done.stderr
    assert command.summary(path, "--set", "input.limit=2")[1]["rows"] == 2


def test_a_second_process_in_one_directory(command, simulator, job, tmp_path):
    """It exits 2 naming the first's pid; the first goes on."""
    server = simulator(latency_ms=300)
    path = job(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(200)]), server.url, concurrency=10)
    first = command.start("run", path, "--no-progress")
    wait_until(lambda: server.stats()["requests"] > 0)
    second = command("run", path, "--no-progress")
    assert second.returncode == 2
    assert str(first.pid) in second.stderr
    first.send_signal(signal.SIGINT)
    assert first.wait(30) == 130


def test_a_wrong_key_stops_the_run_at_once(command, simulator, job, tmp_path):
    """Exit 3 with the vendor's message after at most as many requests as were in flight; rows stay to be done."""
    server = simulator(api_key="sk-the-right-one", latency_ms=20)
    path = job(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(2000)]), server.url)
    done = command("run", path, "--json", "--no-progress")
    assert done.returncode == 3
    summary = json.loads(done.stdout)
    assert (summary["state"], summary["succeeded"], summary["failed"]) == ("stopped", 0, 0)
    assert summary["pending"] == 2000
    assert "API" in summary["error"]["message"]
    assert server.stats()["requests"] <= 64
    assert KEY not in done.stdout + done.stderr
    server.change(api_key=None)
    assert command.summary(path)[0] == 0


def test_an_account_that_falls_overdue_in_mid_run(command, simulator, job, tmp_path):
    """What was answered is kept; with the bill paid the run goes on and asks nothing twice."""
    server = simulator(fatal_after=300, fatal_error="arrearage", latency_ms=5)
    path = job(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(1000)]), server.url)
    code, summary = command.summary(path)
    assert code == 3
    assert 300 <= summary["succeeded"] <= 300 + 64
    assert summary["failed"] == 0
    assert server.stats()["requests"] <= 300 + 2 * 64
    server.change(fatal_after=None)
    code, summary = command.summary(path)
    assert (code, summary["succeeded"]) == (0, 1000)
    assert server.stats()["requests_after_answer"] == 0
    assert server.stats()["requests"] == summary["attempts"]


def test_a_host_that_cannot_be_reached(command, job, table):
    """Exit 3 after a few tries, naming the host."""
    done = command("run", job(table, "http://127.0.0.1:9"), "--no-progress")
    assert done.returncode == 3
    assert "127.0.0.1:9" in done.stdout + done.stderr


def test_a_budget_is_never_passed(command, simulator, job, tmp_path):
    """Exit 3 before the cap; a higher one goes on."""
    server = simulator(latency_ms=5)
    path = job(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(600)]), server.url, concurrency=50)
    code, summary = command.summary(path, "--budget", "0.01")
    assert code == 3
    assert 0 < float(summary["cost"]) <= 0.01
    billed = server.stats()["billed"]
    assert (billed["input_tokens"] * 0.4 + billed["output_tokens"] * 1.2) / 1e6 <= 0.01
    assert "budget" in summary["error"]["message"]
    assert command.summary(path, "--budget", "50")[0] == 0
    assert server.stats()["requests_after_answer"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_drains_and_goes_on(command, simulator, job, tmp_path, number):
    """Exit 130; what was in flight is kept; the next run asks for nothing twice."""
    server = simulator(latency_ms=200)
    texts = [f"row {n}" for n in range(400)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=20)
    process = command.start("run", path, "--json", "--no-progress")
    wait_until(lambda: server.stats()["served"] > 50)
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    summary = json.loads(out)
    assert summary["state"] == "interrupted"
    assert summary["succeeded"] == server.stats()["served"]
    assert summary["pending"] == 400 - summary["succeeded"]
    code, summary = command.summary(path)
    assert (code, summary["succeeded"]) == (0, 400)
    assert server.stats()["requests_after_answer"] == 0
    rows, _ = results_of(tmp_path / "out")
    assert [row["completion"] for row in rows] == [expected_answer(messages(text)) for text in texts]


def test_interrupting_twice_stops_at_once(command, simulator, job, tmp_path):
    """Calls that hang are cancelled; what had arrived is kept."""
    server = simulator(latency_ms=10, hang=0.1, hang_s=60)
    path = job(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(2_000)]), server.url, concurrency=30)
    process = command.start("run", path, "--json", "--no-progress")
    wait_until(lambda: server.stats()["faults"].get("hang") == 30)  # all that is in flight
    process.send_signal(signal.SIGINT)
    assert any("Once more stops at once" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    out = process.stdout.read()
    assert process.wait(20) == 130
    assert time.monotonic() - started < 15  # the calls hang for a minute
    summary = json.loads(out)
    assert summary["succeeded"] == server.stats()["served"]
    assert summary["possibly_billed"]["requests"] > 0


def test_status_tells_where_a_run_stands(command, simulator, job, tmp_path):
    """While it runs, and after it was killed."""
    server = simulator(latency_ms=100)
    path = job(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(300)]), server.url, concurrency=4)
    process = command.start("run", path, "--no-progress")
    wait_until(lambda: (tmp_path / "out" / "run.json").exists() and server.stats()["requests"] > 0)
    running = command("status", "out")
    assert running.returncode == 0
    assert "300" in running.stdout
    assert str(process.pid) in running.stdout
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    killed = command("status", "out", "--json")
    assert json.loads(killed.stdout)["held_by"] is None


def open_batch(number, **changed):
    """Return a batch of five rows that is open at the vendor."""
    return BatchShown(**{"number": number, "state": "open", "rows": 5, **changed})


def test_what_is_said_of_open_batches_at_an_interruption():
    """They go on at the vendor and are billed there; which command collects them, and which ends them."""
    one = interrupted_text([open_batch(1)], "my out", again=False, cancels=False)
    assert "1 batch with 5 rows stays open at the vendor" in one
    assert "The same command collects" in one
    assert "batchgen cancel 'my out' ends" in one
    more = interrupted_text([open_batch(1), open_batch(2)], "out", again=False, cancels=True)
    assert "2 batches with 10 rows stay open" in more
    assert "batchgen cancel out once more" in more
    assert "given up" in interrupted_text([open_batch(1)], "out", again=True, cancels=False)
    assert "in flight" in interrupted_text([], "out", again=False, cancels=False)
    creating = open_batch(1, state="creating")
    assert "waited for, up to 60 s" in interrupted_text([creating], "out", again=False, cancels=False)
    assert "the next run looks for" in interrupted_text([creating], "out", again=True, cancels=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_with_open_batches_is_interrupted_twice(tmp_path, number):
    """However soon the second signal comes: the summary is written, the batches are found again."""
    table = write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(20)])
    job = tmp_path / "job.toml"
    job.write_text(
        f'name = "j"\n[input]\npath = "{table}"\n[prompt]\nuser = "{{{{ text }}}}"\n'
        '[model]\nprovider = "openai"\nname = "m"\nlane = "batch"\n'
        f'[pricing]\nfree = true\n[output]\npath = "{tmp_path / "out"}"\n'
    )
    command = [sys.executable, "-m", "batchgen", "run", str(job), "--simulate", "--no-progress"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        state = tmp_path / "out" / "run.json"
        wait_until(lambda: state.is_file() and '"state": "open"' in state.read_text())
        run.send_signal(number)
        assert "stays open at the vendor" in run.stderr.readline()
        run.send_signal(number)
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "1 batch with 20 rows stays open at the vendor" in said
    assert f"batchgen cancel {tmp_path / 'out'}" in said


@pytest.mark.parametrize("name", ["pace.parquet", "cost_summary.parquet", "job.json"])
def test_a_folder_where_a_file_has_to_be(command, simulator, job, table, tmp_path, name):
    """The last line says what to do; with the folder gone the run goes on, and asks nothing twice."""
    server = simulator()
    path = job(table, server.url)
    folder = tmp_path / "out" / name
    folder.mkdir(parents=True)
    done = command("run", path, "--no-progress", "--output", tmp_path / "out")
    said = done.stdout + done.stderr
    assert done.returncode == 3, said
    assert str(folder) in said
    assert "move it away; then run the same command again" in said
    assert "Make room" not in said
    folder.rmdir()
    assert command("run", path, "--no-progress", "--output", tmp_path / "out").returncode == 0
    assert server.stats()["requests_after_answer"] == 0
