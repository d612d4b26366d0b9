"""`batchgen report`, `batchgen prices` and `--prices` as a user runs them."""

import json
import shutil
import time

import pytest

from tests.inputs import write_csv

PRICES = """
[models.house-model.international]
input = 1
output = 2
currency = "USD"
source = "our contract"
date = {date}
"""


@pytest.fixture
def finished(command, simulator, job, tmp_path):
    """A finished run with one failed row; returns its output directory."""
    server = simulator(poison="POISON", latency_ms=1)
    path = job(write_csv(tmp_path / "in.csv", ["a", "b POISON", "c"]), server.url)
    assert command("run", path, "--no-progress").returncode == 1
    return tmp_path / "out"


def test_text_json_and_page(command, finished, tmp_path):
    """Text on stdout; JSON that adds up; a page beside either."""
    done = command("report", "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 (2 succeeded, 1 failed)" in done.stdout
    assert "1 x invalid_request, HTTP 400, InvalidParameter; for example row 1:" in done.stdout

    done = command("report", "out", "--html", "page.html")
    assert (done.returncode, done.stdout) == (0, "")
    assert "page.html" in done.stderr
    assert "<h2>Failed rows</h2>" in (tmp_path / "page.html").read_text(encoding="utf-8")

    report = json.loads(command("report", "out", "--json").stdout)
    assert (report["rows"], report["succeeded"], report["failed"], report["state"]) == (3, 2, 1, "complete")
    assert report["totals"]["rows"] == sum(line["rows"] for line in report["lines"]) == 3
    assert sum(found["rows"] for found in report["moments"]) == 3


def test_a_running_run(command, simulator, job, tmp_path):
    """While another process runs it, the report says so and by whom, and changes nothing."""
    server = simulator(latency_ms=60_000)
    path = job(write_csv(tmp_path / "in.csv", ["a", "b"]), server.url)
    process = command.start("run", path, "--no-progress")
    end = time.monotonic() + 30
    while server.stats()["requests"] < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    done = command("report", "out")
    assert done.returncode == 0, done.stderr
    assert f"process {process.pid}" in done.stdout
    assert "2 still to do" in done.stdout


def test_no_run_and_no_place_for_the_page(command, finished, tmp_path):
    """Exit 2 and one sentence."""
    done = command("report", "elsewhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "elsewhere is not an output directory" in done.stderr
    done = command("report", "out", "--html", "missing/page.html")
    assert done.returncode == 2
    assert "missing/page.html" in done.stderr
    assert "Traceback" not in done.stderr


def test_prices_of_a_file(command, tmp_path):
    """A user's file is laid over the shipped prices, checked, and its old prices are remarked on."""
    (tmp_path / "mine.toml").write_text(PRICES.format(date="2020-01-01"), encoding="utf-8")
    done = command("prices", "--prices", "mine.toml", "--model", "house-*")
    assert done.returncode == 0, done.stderr
    assert "our contract (2020-01-01): 1 price" in done.stdout
    assert "More than six months old, to be read again before they are relied on: house-model." in done.stdout

    (listed,) = json.loads(command("prices", "--prices", "mine.toml", "--model", "house-model", "--json").stdout)
    assert (listed["model"], listed["currency"], listed["stale"]) == ("house-model", "USD", True)
    assert listed["tiers"][0]["input"] == "1"

    (tmp_path / "mine.toml").write_text(PRICES.format(date='"soon"'), encoding="utf-8")
    done = command("prices", "--prices", "mine.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "mine.toml, model house-model" in done.stderr


def test_run_and_check_with_a_price_file(command, simulator, job, tmp_path):
    """`--prices` is `pricing.file`: costs follow it."""
    (tmp_path / "mine.toml").write_text(PRICES.format(date="2026-11-01"), encoding="utf-8")
    server = simulator(latency_ms=1)
    path = job(write_csv(tmp_path / "in.csv", ["a", "b"]), server.url, model="house-model")
    done = command("check", path, "--prices", "mine.toml")
    assert "USD per million tokens: 1 in, 2 out (2026-11-01, our contract)" in done.stdout
    code, summary = command.summary(path, "--prices", "mine.toml")
    assert code == 0
    assert float(summary["cost"]) == (summary["input_tokens"] + 2 * summary["output_tokens"]) / 1e6


def test_the_page_of_a_job_with_gold_holds_its_answers_against_it(command, simulator, job, tmp_path):
    """Accuracy, what is taken for what, and the rows to look at first, without an option."""
    server = simulator()
    gold = [("red", f"thing {n}") if n % 2 else ("blue", f"matter {n}") for n in range(40)]
    (tmp_path / "in.csv").write_text("label,text\n" + "".join(f"{label},{text}\n" for label, text in gold))
    more = '[response]\nlabels = ["red", "blue"]\n[evaluate]\ngold = "label"\n'
    assert command("run", job(tmp_path / "in.csv", server.url, more=more), "--no-progress").returncode == 0
    evaluated = json.loads(command("evaluate", "out", "--json").stdout)
    assert 0 < evaluated["accuracy"]["value"] < 1
    command("report", "out", "--html", "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Answers against gold" in page
    assert f"{100 * evaluated['accuracy']['value']:.1f} %" in page
    assert "What is taken for what" in page
    assert f"<bdi>row {evaluated['disagreements'][0]['row_id']}" in page


def test_several_runs_by_a_pattern(command, finished, tmp_path):
    """A quoted pattern names runs as in the other commands; the page of both has an overview."""
    shutil.copytree(tmp_path / "out", tmp_path / "out2")
    done = command("report", "out*")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 runs")
    assert command("report", "out*", "--html", "both.html").returncode == 0
    assert "<h1><bdi>2 runs</bdi>" in (tmp_path / "both.html").read_text(encoding="utf-8")
    one, both = (json.loads(command("cost", name, "--json").stdout)["lines"] for name in ("out", "out*"))
    assert [2 * line["tokens"] for line in one] == [line["tokens"] for line in both]
    assert command("cost", "nowhere*").returncode == 2
