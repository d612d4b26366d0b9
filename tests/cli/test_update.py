"""What check, estimate and the messages say of rows that have an answer already."""

import json
import shutil
from decimal import Decimal

import pytest

from batchgen.results.corrections import ReviewFile
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


def test_a_pilot_of_an_update_sends_new_rows_alone(command, grown, tmp_path):
    """As many as there are; the update then takes them too, and the earlier run stays whole beside it."""
    path, server = grown
    told = command("estimate", path, "--update", "--pilot", "2", "--json", "--no-progress")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert (found["reused"], found["output_method"], server.stats()["served"]) == (OLD, "pilot", OLD + 2)
    [aside] = tmp_path.glob("out.old-*")
    assert len(results_of(aside)[0]) == OLD
    code, summary = command.summary(path, "--update")
    assert (code, summary["succeeded"], server.stats()["served"]) == (0, OLD + NEW, OLD + NEW)
    assert sum(row["reused"] for row in results_of(tmp_path / "out")[0]) == OLD
    told = command("estimate", path, "--update", "--pilot", "2", "--no-progress")
    assert (told.returncode, "the pilot sent nothing" in told.stdout) == (0, True), told.stderr
    assert server.stats()["served"] == OLD + NEW
    more = ["--output", str(tmp_path / "table"), "--set", f"output.path={tmp_path / 'more'}", "--reuse", "out"]
    told = command(
        "estimate", path, *more, "--set", "model.parameters.seed=1", "--pilot", "4", "--json", "--no-progress"
    )
    assert told.returncode == 0, told.stderr
    assert (json.loads(told.stdout)["reused"], server.stats()["served"]) == (0, OLD + NEW + 4)


def test_a_sample_of_an_update_stands_for_all_rows(command, simulator, job, tmp_path):
    """Rows with an earlier answer, and what they save, are counted in the sample and stand for their share of all."""
    server = simulator()
    texts = [f"row {n}" for n in range(400)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url)
    assert command.summary(path, "--limit", "300")[0] == 0
    asked = ["--update", "--json", "--no-progress"]
    whole, some = (json.loads(command("estimate", path, *asked, *more).stdout) for more in ([], ["--sample", "200"]))
    assert (whole["reused"], abs(some["reused"] - 300) < 40) == (300, True)
    assert abs(Decimal(some["saved"]) / Decimal(whole["saved"]) - 1) < Decimal("0.15")
    assert abs(some["input_tokens"] / whole["input_tokens"] - 1) < 0.3
    told = command("estimate", path, *asked, "--sample", "200", "--pilot", "20")
    assert (told.returncode, server.stats()["served"]) == (0, 320), told.stderr


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


def test_what_people_checked_stays_with_its_rows(command, grown, tmp_path):
    """By the very answer, in any order and under any id; under another prompt by id, where the row is the same."""
    path, _ = grown

    def update(*more):
        told = command("run", path, "--update", "--no-progress", "--set", "input.id=id", *more)
        assert told.returncode == 0, told.stderr
        return told

    texts = [f"row {n}" for n in range(OLD + NEW)]
    write_csv(tmp_path / "in.csv", texts[:OLD])
    update()
    write_csv(tmp_path / "in.csv", texts)
    file = ReviewFile(tmp_path / "out")
    before = {row["row_id"]: row["completion"] for row in results_of(tmp_path / "out")[0]}
    for row, value in (("r1", "better"), ("r2", before["r2"]), ("r3", "gone")):
        file.add(row, [("completion", value, before[row])], "me")
    file.add("r1", [("completion", "best", before["r1"])], "you")
    told = update()
    assert "3 checked values of earlier runs kept in review.parquet" in told.stderr
    found = ReviewFile(tmp_path / "out").read()
    assert [(one.row, one.value, one.was, one.by) for one in found] == [
        ("r2", before["r2"], before["r2"], "me"),
        ("r3", "gone", before["r3"], "me"),
        ("r1", "best", before["r1"], "you"),
    ]
    texts = [f"row {n}" for n in reversed(range(OLD))]  # `r1` is another row now: its answer has moved to `r10`
    write_csv(tmp_path / "in.csv", [text for text in texts if text != "row 3"])
    update()
    kept = ReviewFile(tmp_path / "out").latest()
    rows = {row["row_id"]: row["text"] for row in results_of(tmp_path / "out")[0]}
    assert {rows[row]: fields["completion"].value for row, fields in kept.items()} == {
        "row 2": before["r2"],
        "row 1": "best",
    }
    ReviewFile(tmp_path / "out").add("r0", [("completion", "mine", "x")], "me")
    update("--set", "prompt.system=Say it otherwise.")
    new = {row["row_id"]: row["completion"] for row in results_of(tmp_path / "out")[0]}
    kept = {row: fields["completion"] for row, fields in ReviewFile(tmp_path / "out").latest().items()}
    assert {rows[row]: one.value for row, one in kept.items()} == {
        "row 2": before["r2"],
        "row 1": "best",
        "row 11": "mine",
    }
    assert all(one.was == new[row] for row, one in kept.items())
    write_csv(tmp_path / "in.csv", [f"other {n}" for n in range(OLD)])
    update()
    assert ReviewFile(tmp_path / "out").read() == []


def test_runs_that_lie_beside_are_said(command, grown, tmp_path):
    """How many there are, how large, and that they may go once the run is complete; nothing of them is deleted."""
    path, server = grown
    assert "beside it" not in command("status", tmp_path / "out").stdout
    for number in range(5):
        told = command(
            "run", path, "--update", "--no-progress", "--set", f"prompt.system=Say {number}.", "--limit", "2"
        )
        assert told.returncode == 0, told.stderr
    names = sorted(found.name for found in tmp_path.glob("out.old-*"))
    end = f"{names[2]}, {names[3]}, {names[4]}, and 2 older"
    assert "note: 5 earlier runs (1 MB) may be deleted: what this run could take of them is in it." in told.stderr
    assert end in told.stderr
    assert end in " ".join(command("status", tmp_path / "out").stdout.split())
    assert command("run", path, "--update", "--quiet", "--set", "prompt.system=Say 4.", "--limit", "2").stderr == ""
    served = server.stats()["served"]
    shutil.rmtree(tmp_path / "out")
    assert "No run is in" not in command("run", path, "--no-progress", "--simulate", "--limit", "2").stderr
    shutil.rmtree(tmp_path / "out")
    told = command("run", path, "--no-progress", "--set", "prompt.system=Say 3.", "--limit", "2")
    hint = f"beside it 5 earlier runs ({end}): to pay nothing twice, take the answers of the latest with --reuse "
    assert hint in " ".join(told.stderr.split())
    assert server.stats()["served"] == served + 2
    shutil.rmtree(tmp_path / "out")
    more = [word for name in names for word in ("--reuse", str(tmp_path / name))]
    told = command("run", path, "--no-progress", *more, "--set", "prompt.system=Say 3.", "--limit", "2")
    assert (told.returncode, "No run is in" in told.stderr) == (0, False)
    assert server.stats()["served"] == served + 2


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
