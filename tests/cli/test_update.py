"""What check, estimate and the messages say of rows that have an answer already."""

import json
from decimal import Decimal

import pytest

from tests.cli.conftest import results_of
from tests.inputs import write_csv

OLD, NEW = 12, 3


@pytest.fixture
def grown(command, simulator, job, tmp_path):
    """A complete run over an input that has grown since; return the job file and the simulator."""
    server = simulator()
    texts = [f"row {n}" for n in range(OLD + NEW)]
    path = job(write_csv(tmp_path / "in.csv", texts[:OLD]), server.url)
    assert command.summary(path)[0] == 0
    write_csv(tmp_path / "in.csv", texts)
    return path, server


def test_check_says_what_would_be_asked(command, grown):
    """With the count and the price, for a grown input and for a changed prompt, which asks everything."""
    path, server = grown
    told = command("check", path)
    assert told.returncode == 2
    for way in ("--update", "--fresh", "--output"):
        assert way in told.stderr
    told = command("check", path, "--update", "--json")
    assert told.returncode == 0, told.stderr
    plan = json.loads(told.stdout)["reuse"]
    assert (plan["asked"], plan["reused"]) == (NEW, OLD)
    assert 0 < Decimal(plan["cost"]) < Decimal(plan["saved"])
    told = command("check", path, "--update", "--set", "prompt.system=Answer at length.")
    assert told.returncode == 0, told.stderr
    assert f"no row has an earlier answer; {OLD + NEW} would be asked for about" in told.stdout
    assert server.stats()["served"] == OLD


def test_estimate_counts_what_is_new(command, grown):
    """The figures are those of the rows that would be asked."""
    path, _ = grown
    whole = json.loads(command("estimate", path, "--json", "--no-progress").stdout)
    told = command("estimate", path, "--update", "--json", "--no-progress")
    assert told.returncode == 0, told.stderr
    new = json.loads(told.stdout)
    assert (new["rows"], new["reused"]) == (OLD + NEW, OLD)
    assert new["input_tokens"] * 4 < whole["input_tokens"]
    assert Decimal(new["saved"]) > 0
    assert "12 rows take an earlier answer" in command("estimate", path, "--update", "--no-progress").stdout
    told = command("estimate", path, "--update", "--pilot", "2")
    assert (told.returncode, "--pilot" in told.stderr) == (2, True)


def test_a_raised_limit_asks_what_was_cut(command, simulator, job, tmp_path):
    """What came to its own end stays as it is, also under a limit that is lowered and still has room for it."""
    server = simulator(answer_tokens=40)
    path = job(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(30)]), server.url)

    def asked(limit):
        command.summary(path, "--set", f"model.parameters.max_tokens={limit}", "--update")
        rows = {row["row_id"]: row for row in results_of(tmp_path / "out")[0]}
        return rows, {row_id for row_id, row in rows.items() if not row["reused"]}

    rows, new = asked(40)
    cut = {row_id for row_id, row in rows.items() if row["finish_reason"] == "length"}
    assert (len(new), 3 < len(cut) < 27) == (30, True)
    rows, new = asked(500)
    assert (new, {row["finish_reason"] for row in rows.values()}) == (cut, {"stop"})
    longest = max(row["output_tokens"] for row in rows.values())
    assert asked(longest)[1] == set()
    rows, new = asked(longest - 1)
    assert {row["output_tokens"] for row_id, row in rows.items() if row_id in new} == {longest - 1}
    told = command("run", path, "--set", f"model.parameters.max_tokens={longest + 1}")
    assert (told.returncode, "--update" in told.stderr) == (2, True)  # it is another job all the same


def test_the_summary_says_what_was_saved(command, grown, tmp_path):
    """And nothing is sent the second time, exit 0."""
    path, server = grown
    told = command("run", path, "--update", "--no-progress")
    assert told.returncode == 0, told.stderr
    assert f"reused      {OLD} rows took the answer of an earlier run: about" in told.stdout
    told = command("run", path, "--update", "--no-progress")
    assert (told.returncode, "nothing was sent" in told.stderr) == (0, True)
    assert server.stats()["served"] == OLD + NEW
    told = command("report", tmp_path / "out", "--json")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["latency_ms"]["quantiles"]["rows"] == NEW
    assert f"{OLD} answers of earlier runs" in command("report", tmp_path / "out").stdout
    told = command("run", path, "--update", "--fresh")
    assert (told.returncode, "give one of them" in told.stderr) == (2, True)


def test_simulated_answers_stay_apart(command, grown, tmp_path):
    """They are never taken for real ones, nor the other way, by either way."""
    path, server = grown
    told = command("run", path, "--update", "--simulate", "--no-progress")
    assert (told.returncode, "real run" in told.stderr) == (2, True)
    told = command("run", path, "--simulate", "--no-progress", "--output", "made-up", "--reuse", "out")
    assert (told.returncode, "never reused in a simulated run" in told.stderr) == (2, True)
    assert not (tmp_path / "made-up").exists()
    assert not list(tmp_path.glob("out.old-*"))
    assert server.stats()["served"] == OLD
