"""Money is never added across currencies: a run keeps its own, and a finished one can be priced anew."""

import json
from decimal import Decimal

import pytest

from tests.inputs import write_csv

PRICES = """
[models.qwen-plus.{region}]
input = {price}
output = {price}
currency = "{currency}"
source = "own"
date = 2026-11-20
"""


@pytest.fixture
def path(command, simulator, job, tmp_path):
    """A job of six rows."""
    return job(write_csv(tmp_path / "in.csv", [f"row {number}" for number in range(6)]), simulator().url)


def test_another_currency_is_refused(command, path, tmp_path):
    """By run and check, naming both and the ways on; in its own currency the run goes on."""
    code, first = command.summary(path, "--budget", "0.0015", "--set", "limits.concurrency=1")
    assert (code, first["currency"]) == (3, "USD")
    assert first["succeeded"] > 0
    for name in ("run", "check"):
        done = command(name, path, "--set", "pricing.region=beijing", "--budget", "5")
        assert done.returncode == 2
        assert "USD" in done.stderr
        assert "CNY" in done.stderr
    assert json.loads((tmp_path / "out" / "run.json").read_bytes())["state"] == "stopped"
    code, summary = command.summary(path, "--budget", "5")
    assert (code, summary["currency"]) == (0, "USD")


def test_what_has_no_price_yet_may_take_any(command, path):
    """A run without a price is given one later, in whatever currency."""
    assert command.summary(path, "--set", "model.name=unheard-of-1", "--limit", "2", "--output", "other")[0] == 0
    assert command.summary(path, "--set", "pricing.region=beijing")[1]["currency"] == "CNY"


def test_a_report_prices_anew(command, path, tmp_path):
    """Every row by its own tokens, in the currency of the file; what is stored stays as it was."""
    assert command.summary(path)[0] == 0
    stored = json.loads(command("report", "out", "--json").stdout)
    (tmp_path / "new.toml").write_text(PRICES.format(region="international", price=100, currency="EUR"))
    done = command("report", "out", "--prices", "new.toml", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    tokens = report["totals"]["input_tokens"] + report["totals"]["output_tokens"]
    assert (report["currency"], report["price_sources"]) == ("EUR", ["own"])
    assert Decimal(report["totals"]["cost"]) == Decimal(tokens) / 10_000
    assert "EUR" in command("report", "out", "--prices", "new.toml").stdout
    assert json.loads(command("report", "out", "--json").stdout)["totals"] == stored["totals"]
    assert command("report", "out", "--prices", "nowhere.toml").returncode == 2


def test_without_run_json_the_currency_is_still_known(command, path, tmp_path):
    """Parts and journal say what they charge in: another currency is refused, the run's own goes on."""
    code, first = command.summary(path, "--budget", "0.0015", "--set", "limits.concurrency=1")
    assert code == 3
    (tmp_path / "out" / "run.json").unlink()
    done = command("run", path, "--set", "pricing.region=beijing", "--budget", "5")
    assert done.returncode == 2
    assert "priced in USD" in done.stderr
    code, summary = command.summary(path, "--budget", "5")
    assert (code, summary["currency"]) == (0, "USD")
    assert Decimal(summary["cost"]) > Decimal(first["cost"])


def test_a_run_json_that_cannot_be_read_is_to_be_removed(command, path, tmp_path):
    """Every command says so, and the next run makes it anew from what is there."""
    assert command.summary(path, "--budget", "0.0015", "--set", "limits.concurrency=1")[0] == 3
    (tmp_path / "out" / "run.json").write_text("{")
    for name in ("status", "report", "evaluate", "show"):
        done = command(name, "out")
        assert done.returncode == 2, name
        assert "remove it: the next run makes it anew" in done.stderr
    (tmp_path / "out" / "run.json").unlink()
    assert command.summary(path, "--budget", "5")[0] == 0
