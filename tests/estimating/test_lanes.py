"""What a job costs in each lane, and which one has answered all rows by a deadline."""

import json
from decimal import Decimal

import pytest
from click.testing import CliRunner

import batchgen
from batchgen.cli.main import cli
from batchgen.errors import UsageError
from batchgen.job.settings import Job, load_job
from tests.inputs import write_csv

ROWS = 40
PRICE = {"input": 2.0, "cached_input": 0.4, "output": 8.0, "currency": "USD"}


@pytest.fixture
def job(tmp_path):
    """Return a job of forty rows; tables over it."""
    path = write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(ROWS)])

    def make(provider="openai", base_url=None, **tables):
        model = {"provider": provider, "name": "m", "parameters": {"max_tokens": 30}, **tables.pop("model", {})}
        table = {
            "name": "lanes",
            "input": {"path": str(path), "dedupe": False},
            "prompt": {"user": "{{ text }}"},
            "model": model | ({"base_url": base_url} if base_url else {}),
            "output": {"path": str(tmp_path / "out")},
            "pricing": {"models": {"m": tables.pop("price", PRICE)}},
            **tables,
        }
        return Job.from_dict(table)

    return make


def lanes(job):
    return {one.lane: one for one in batchgen.estimate(job).lanes}


@pytest.mark.parametrize(
    ("provider", "names"),
    [
        ("openai", ["live", "batch"]),
        ("dashscope", ["live", "batch"]),
        ("anthropic", ["live", "batch"]),
        ("groq", ["live", "batch"]),
        ("deepseek", []),
    ],
)
def test_batches_are_priced_where_there_are_any(job, provider, names):
    """Half of everything, in whichever lane the job itself is; a vendor without batches has one lane."""
    made = lanes(job(provider))
    assert list(made) == names
    if names:
        assert made["batch"].cheapest
        assert made["batch"].cost.high * 2 == made["live"].cost.high
        assert lanes(job(provider, model={"lane": "batch"})).keys() == made.keys()
        assert lanes(job(provider, model={"lane": "batch"}))["batch"].cost == made["batch"].cost


def test_a_model_without_batches(job):
    """Is not offered there; a job that is in that lane all the same is told what is missing."""
    assert lanes(job(price=PRICE | {"batch": False})) == {}
    made = batchgen.estimate(job(price=PRICE | {"batch": False}, model={"lane": "batch"}))
    assert made.cost is None
    assert any("in the lane batch" in note for note in made.notes)
    own = lanes(job(price=PRICE | {"batch": False, "lanes": {"batch": 0.25}}))
    assert own["batch"].cost.high * 4 == own["live"].cost.high


def test_from_when_on_ordinary_calls_are_cheaper(job):
    """Without a cache discount there is such a share of cached input, most of all where answers are short."""
    note = lanes(job(price=PRICE | {"output": 0}))["batch"].note
    assert note == "without a cache discount: live is cheaper once 62.5% of the input is cached"
    assert "with the cache discount" in lanes(job("anthropic", price=PRICE | {"batch_cache": True}))["batch"].note


PACED = {"requests_per_minute": 1}  # about 40 minutes for all rows


@pytest.mark.parametrize(
    ("batch", "limits", "in_time", "cheapest"),
    [
        ({"deadline": "25h"}, PACED, (True, True), "batch"),
        ({"deadline": "10h"}, PACED, (True, True), "batch"),
        ({"deadline": "10h", "after_deadline": "wait"}, PACED, (True, False), "live"),
        ({"deadline": "5m"}, PACED, (False, False), None),
        ({"deadline": "10h"}, {}, (None, None), None),
        ({"deadline": "25h"}, {}, (None, True), "batch"),
        ({"deadline": "25h", "queued_tokens": 100, "after_deadline": "wait"}, PACED, (True, False), "live"),
        ({"deadline": "25h"}, {"requests_per_minute": 0.001}, (False, True), "batch"),
    ],
)
def test_a_deadline(job, batch, limits, in_time, cheapest):
    """A vendor may take the whole window for each batch; what is open then may be asked live."""
    made = lanes(job(batch=batch, limits=limits))
    assert (made["live"].in_time, made["batch"].in_time) == in_time
    assert next((name for name, one in made.items() if one.cheapest_in_time), None) == cheapest
    if in_time == (True, True) and batch["deadline"] == "10h":
        assert "asked live" in made["batch"].note


def test_no_deadline(job):
    """Then no lane is said to meet any."""
    assert all(one.in_time is None and not one.cheapest_in_time for one in lanes(job(limits=PACED)).values())


def test_a_deadline_on_the_command_line(job, tmp_path):
    """It is shown in words, and is in the object for programs."""
    path = tmp_path / "job.toml"
    path.write_text(job(limits=PACED, batch={"after_deadline": "wait"}).to_toml(), encoding="utf-8")
    assert load_job(path).batch.after_deadline == "wait"
    shown = CliRunner().invoke(cli, ["estimate", str(path), "--deadline", "10h", "--no-progress"])
    assert "cheapest by the deadline" in shown.stdout
    assert "too late for the deadline" in shown.stdout
    told = CliRunner().invoke(cli, ["estimate", str(path), "--deadline", "10h", "--no-progress", "--json"])
    live, batch = json.loads(told.stdout)["lanes"]
    assert (live["cheapest_in_time"], batch["cheapest"], batch["in_time"]) == (True, True, False)
    assert Decimal(batch["cost"]["high"]) < Decimal(live["cost"]["high"])
    wrong = CliRunner().invoke(cli, ["estimate", str(path), "--deadline", "soon"])
    assert "batch.deadline must be a time" in str(wrong.exception)


def test_a_pilot_is_asked_live(job):
    """It would wait a day for its answers."""
    with pytest.raises(UsageError, match="--lane live"):
        batchgen.estimate(job(model={"lane": "batch"}), pilot=2)
