"""Budgets from outside: what cannot be kept is refused before anything is sent, with what to set."""

import json
from decimal import Decimal

import pytest

from tests.inputs import write_csv
from tests.waiting import wait_until

IMAGE = {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}}

PRICES = """
[models.viewer]
max_output = 8192
{limits}
[models.viewer.international]
input = 1
output = 10
currency = "USD"
source = "own"
date = 2026-11-20
"""


@pytest.fixture
def pictures(tmp_path):
    """Six rows with a picture each."""
    lines = [
        json.dumps(
            {"id": row, "chat": [{"role": "user", "content": [{"type": "text", "text": f"What is {row}?"}, IMAGE]}]}
        )
        for row in range(6)
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "in.jsonl"


def viewer_job(job, server, table, tmp_path, limits):
    """Write a job of a model that sees pictures, and its prices."""
    (tmp_path / "prices.toml").write_text(PRICES.format(limits=limits), encoding="utf-8")
    path = job(table, server.url + "/compatible-mode/v1", provider="openai", model="viewer")
    path.write_text(
        path.read_text(encoding="utf-8").replace('system = "Answer briefly."\nuser = "{{ text }}"', 'messages = "chat"')
        + '[pricing]\nfile = "prices.toml"\n',
        encoding="utf-8",
    )
    return path


def test_pictures_that_nothing_bounds_are_refused(command, simulator, job, pictures, tmp_path):
    """By `check` and by the run; nothing is sent, and the key to set is named."""
    server = simulator()
    path = viewer_job(job, server, pictures, tmp_path, "")
    checked = command("check", path, "--budget", "1")
    assert checked.returncode == 2
    assert "max_media_tokens" in checked.stderr
    code, summary = command.summary(path, "--budget", "1")
    assert code == 3
    assert "max_media_tokens" in summary["error"]["message"]
    assert server.stats()["requests"] == 0
    assert command("check", path).returncode == 0


def test_a_row_beyond_the_whole_budget_is_named(command, simulator, job, pictures, tmp_path):
    """The longest input of the model bounds a request with pictures; a stated maximum makes it smaller."""
    server = simulator()
    path = viewer_job(job, server, pictures, tmp_path, "max_input = 2000000")
    checked = command("check", path, "--budget", "1")
    assert checked.returncode == 2
    assert "Row 0 alone" in checked.stderr
    assert "max_media_tokens" in checked.stderr
    path = viewer_job(job, server, pictures, tmp_path, "max_input = 2000000\nmax_media_tokens = 2500")
    assert command("check", path, "--budget", "1").returncode == 0


def test_a_web_search_is_refused_under_a_budget(command, simulator, job, pictures, tmp_path):
    """It is known from the job alone."""
    server = simulator()
    path = viewer_job(job, server, pictures, tmp_path, "max_input = 20000")
    done = command("run", path, "--budget", "1", "--set", "model.parameters.enable_search=true", "--no-progress")
    assert done.returncode == 2
    assert "enable_search" in done.stderr
    assert server.stats()["requests"] == 0


def test_an_estimate_says_what_it_does_not_count(command, simulator, job, pictures, tmp_path):
    """Pictures, and what the provider adds."""
    server = simulator()
    path = viewer_job(job, server, pictures, tmp_path, "max_input = 20000")
    done = command("estimate", path, "--json", "--set", "model.parameters.enable_search=true")
    notes = " ".join(json.loads(done.stdout)["notes"])
    assert "6 rows hold images" in notes
    assert "enable_search" in notes


def test_a_budget_asks_for_max_tokens(command, simulator, job, pictures, tmp_path):
    """Without it every request in flight counts as the model's longest answer."""
    server = simulator()
    path = viewer_job(job, server, pictures, tmp_path, "max_input = 20000")
    assert "max_tokens is not set" not in command("check", path, "--budget", "1").stdout
    path.write_text(path.read_text(encoding="utf-8").replace("max_tokens = 256\n", ""), encoding="utf-8")
    assert "max_tokens is not set" in command("check", path, "--budget", "1").stdout


@pytest.fixture
def rows(tmp_path):
    """Forty rows."""
    return write_csv(tmp_path / "in.csv", [f"row {number}" for number in range(40)])


def test_a_budget_is_remembered_until_another_is_given(command, simulator, job, rows):
    """The run that is begun with one stops there again, and says why; a higher one goes on."""
    path = job(rows, simulator().url, concurrency=2)
    code, first = command.summary(path, "--budget", "0.003")
    assert code == 3
    done = command("run", path, "--no-progress")
    assert done.returncode == 3
    assert "0.003 USD holds on" in done.stderr
    assert done.stdout.splitlines()[-1].startswith("The same command with a higher --budget")
    assert command.summary(path, "--budget", "5")[1]["state"] == "complete"
    assert first["error"]["remedy"].startswith("The same command with a higher --budget")


def test_each_stop_has_its_own_last_line(command, simulator, job, rows):
    """What to do differs: a key, an account."""
    for settings, word in (
        ({"fatal_after": 3, "fatal_error": "invalid_key"}, "key"),
        ({"fatal_after": 3, "fatal_error": "arrearage"}, "account"),
    ):
        path = job(rows, simulator(**settings).url)
        done = command("run", path, "--no-progress", "--fresh")
        assert done.returncode == 3, done.stderr
        assert word in done.stdout.splitlines()[-1]


def test_a_kill_does_not_eat_the_budget(command, simulator, job, rows, tmp_path):
    """Without max_tokens a request can cost 0.07 at the worst, and some ten thousandths in truth: after a kill the run
    goes on with what is left, counts no more than was out, and ends."""
    server = simulator(latency_ms=200)
    path = job(rows, server.url, concurrency=4)
    path.write_text(path.read_text(encoding="utf-8").replace("max_tokens = 256\n", ""), encoding="utf-8")
    first = command.start("run", path, "--no-progress", "--budget", "0.5")
    wait_until(lambda: server.stats()["requests"] > 15)
    first.kill()
    first.wait(30)
    code, summary = command.summary(path)
    assert (code, summary["state"]) == (0, "complete")
    lost = summary["possibly_billed"]
    assert 0 < lost["requests"] <= 8
    assert 0 < Decimal(lost["cost"]) < Decimal("0.05")
    assert json.loads((tmp_path / "out" / "run.json").read_bytes())["summary"]["budget"] == "0.5"


def test_answers_without_usage_count_at_their_worst_case_in_every_run(command, simulator, job, rows, tmp_path):
    """Nobody says what they cost: the next run knows what they were counted at."""
    server = simulator(no_usage=True)
    path = job(rows, server.url, concurrency=2)
    code, summary = command.summary(path, "--budget", "0.005")
    assert (code, summary["cost"]) == (3, None)
    asked = server.stats()["requests"]
    assert command.summary(path, "--budget", "0.005")[0] == 3
    assert server.stats()["requests"] == asked


def test_a_pilots_budget_is_its_own(command, simulator, job, rows):
    """It does not bound the run that keeps the pilot's answers."""
    path = job(rows, simulator().url)
    done = command("estimate", path, "--pilot", "3", "--budget", "0.01", "--json")
    assert done.returncode == 0, done.stderr
    done = command("run", path, "--no-progress")
    assert done.returncode == 0
    assert "holds on" not in done.stderr
