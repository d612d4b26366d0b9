"""`batchgen show` from outside: what was asked and answered, during a run and after any end."""

import json
import signal

import pyarrow.parquet as pq

from tests.inputs import write_csv
from tests.waiting import wait_until


def test_the_prompt_is_what_was_sent(command, simulator, job, tmp_path):
    """Also where its column is not in the results; once the input has changed it is not made up."""
    server = simulator()
    table = write_csv(tmp_path / "in.csv", ["first text", "second text"])
    path = job(table, server.url)
    path.write_text(path.read_text().replace("[output]", "[output]\ncolumns = []") + "")
    done = command("run", path, "--no-progress")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "To see answers: batchgen show out"
    shown = command("show", tmp_path / "out", "--json", "--last", "9")
    assert shown.returncode == 0, shown.stderr
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert sorted(row["prompt"][-1]["content"] for row in rows) == ["first text", "second text"]
    write_csv(table, ["other text!", "second text"])
    shown = command("show", tmp_path / "out", "--row", "0").stdout
    assert "other" not in shown
    assert "in.csv has changed since the run" in shown


def test_answers_are_shown_while_a_run_goes_on_and_after_a_kill(command, simulator, job, tmp_path):
    """Long before the first part; and after Ctrl-C the folder itself has them."""
    server = simulator(latency_ms=400, latency_sigma=0)
    path = job(write_csv(tmp_path / "in.csv", [f"text {n}" for n in range(9000)]), server.url)
    run = command.start("run", path, "--no-progress")
    wait_until(lambda: server.stats()["served"] > 60)
    shown = command("show", "out", "--json", "--last", "20")
    assert run.poll() is None
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert len(rows) == 20
    assert all(row["prompt"][-1]["content"] == row["text"] for row in rows)
    run.send_signal(signal.SIGKILL)
    run.wait()
    killed = command("show", "out")
    assert killed.returncode == 0
    assert "of " in killed.stderr
    assert not list((tmp_path / "out" / "results").iterdir())
    run = command.start("run", path, "--no-progress")
    before = server.stats()["served"]
    wait_until(lambda: server.stats()["served"] > before + 60)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 130
    assert err.splitlines()[-1].startswith("To see answers: batchgen show")
    table = pq.read_table(tmp_path / "out" / "results")
    assert table.num_rows > 120
    assert len({*table["row_id"].to_pylist()}) == table.num_rows
    assert json.loads(command("status", "out", "--json").stdout)["summary"]["succeeded"] == table.num_rows
