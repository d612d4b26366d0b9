"""`batchgen estimate` in a process of its own, against the simulator on a real socket."""

import csv
import json
import signal
import time
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen import load_estimate
from batchgen.tokens.count import counter_for
from batchgen.values import Prompt
from tests.cli.conftest import results_of


def write_csv(path, texts):
    """Write a CSV with an id and a text column."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows([f"r{n}", text] for n, text in enumerate(texts))
    return path


def counted(text, model="qwen-plus"):
    """Return the tokens of the test job's prompt for a row."""
    messages = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": text}]
    return counter_for(model).count(Prompt(messages=messages))


def estimated(command, *arguments, **options):
    """Run with --json; return the object."""
    done = command("estimate", *arguments, "--json", "--no-progress", **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


TEXTS = [f"Question {n}: " + "why is the sky blue? " * (1 + n % 7) for n in range(300)]


def test_without_a_key_every_row_is_counted_and_nothing_is_sent(command, simulator, job, tmp_path):
    """The keys of the contract, input tokens and bounds exact to the last digit, no request, no output directory."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", TEXTS), server.url)
    told = estimated(command, path, env={"DASHSCOPE_API_KEY": ""})
    tokens = sum(map(counted, TEXTS))
    assert list(told)[:12] == [
        "rows",
        "model",
        "input_tokens",
        "input_method",
        "output_tokens",
        "output_method",
        "confidence",
        "cost",
        "currency",
        "price_date",
        "duration_s",
        "rows_too_long",
    ]
    assert (told["rows"], told["model"], told["input_tokens"], told["input_method"]) == (
        300,
        "qwen-plus",
        tokens,
        "exact",
    )
    assert told["output_tokens"] == {"low": 0, "expected": None, "high": 300 * 256}
    assert (told["output_method"], told["confidence"]) == ("max_tokens", None)
    low = Decimal("0.4") * tokens / 1_000_000
    high = low + Decimal("1.2") * 300 * 256 / 1_000_000
    assert (Decimal(told["cost"]["low"]), told["cost"]["expected"], Decimal(told["cost"]["high"])) == (low, None, high)
    assert told["currency"] == "USD"
    assert server.stats()["requests"] == 0
    assert not (tmp_path / "out").exists()


def test_a_pilot_is_not_paid_again_and_its_interval_holds_what_the_run_costs(command, simulator, job, tmp_path):
    """60 of 300 rows are sent; the run sends the other 240, and its bill is inside the interval."""
    server = simulator(latency_ms=5)
    path = job(write_csv(tmp_path / "in.csv", TEXTS), server.url)
    told = estimated(command, path, "--pilot", 60)
    assert (told["output_method"], told["confidence"], told["sampled"]) == ("pilot", 0.95, 60)
    assert server.stats()["requests"] == told["paid"]["rows"] == 60
    assert told["duration_s"]["expected"] > 0
    assert not list((tmp_path / "out" / "results").glob("*.parquet"))

    again = estimated(command, path, "--pilot", 60)
    assert again["cost"] == told["cost"]
    assert estimated(command, path, "--pilot", 80)["sampled"] == 80
    assert server.stats()["requests"] == 80
    earlier = estimated(command, path)
    assert (earlier["output_method"], earlier["sampled"]) == ("earlier run", 80)

    code, summary = command.summary(path)
    assert (code, summary["succeeded"]) == (0, 300)
    stats = server.stats()
    assert (stats["requests"], stats["requests_after_answer"]) == (300, 0)
    low, high = Decimal(told["cost"]["low"]), Decimal(told["cost"]["high"])
    assert low <= Decimal(summary["cost"]) <= high
    assert high < 2 * low
    assert told["output_tokens"]["low"] <= summary["output_tokens"] <= told["output_tokens"]["high"]
    assert len(results_of(tmp_path / "out")[0]) == 300
    assert str(load_estimate(tmp_path / "out").cost.expected) == earlier["cost"]["expected"]
    exact = estimated(command, path)
    assert {Decimal(value) for value in exact["cost"].values()} == {Decimal(summary["cost"])}
    assert str(load_estimate(tmp_path / "out").cost.expected) == earlier["cost"]["expected"]
    report = command("report", "out").stdout
    assert "Estimate against actual" in report
    assert "inside" in report


@pytest.mark.slow
def test_a_pilot_over_many_shards_and_a_row_that_dominates(command, simulator, job, tmp_path):
    """25,000 rows are three shards, none of which is published; the one long row is always among the sent ones."""
    server = simulator()
    texts = [f"{n}?" for n in range(25_000)]
    texts[17_777] = "long " * 40_000
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet")
    path = job(tmp_path / "in.parquet", server.url)
    for seed in (1, 2):
        out = f"out{seed}"
        told = estimated(command, path, "--pilot", 20, "--seed", seed, "--set", f"output.path={out}")
        assert told["sampled"] == 20
        assert server.stats()["requests"] == 20 * seed
        assert Decimal(told["paid"]["cost"]) > Decimal("0.01")
    code, summary = command.summary(path, "--output", "out1", "--set", "limits.concurrency=128")
    assert (code, summary["succeeded"], server.stats()["requests"]) == (0, 25_000, 25_020)
    assert Decimal(told["cost"]["low"]) <= Decimal(summary["cost"]) <= Decimal(told["cost"]["high"])
    assert len(results_of(tmp_path / "out1")[1]) == 3


def test_the_table_has_a_line_per_row_and_adds_up(command, simulator, job, tmp_path):
    """estimate.parquet: ids, exact input tokens, costs whose sum is the expected one; totals in the metadata."""
    server = simulator()
    texts = [*TEXTS[:40], ""]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url)
    told = estimated(command, path, "--output", "est", "--set", "input.id=id")
    table = pq.read_table(tmp_path / "est" / "estimate.parquet")
    assert table.column_names == ["row_id", "input_tokens", "output_tokens", "cost"]
    rows = table.to_pylist()
    assert [row["row_id"] for row in rows] == [f"r{n}" for n in range(41)]
    assert [row["input_tokens"] for row in rows] == [*map(counted, texts[:40]), None]
    assert {row["cost"] for row in rows} == {None}, "nothing is expected where nothing is known of the answers"
    assert (told["unaskable"], list(told["unaskable_examples"])) == (1, ["40"])
    assert json.loads(load_estimate(tmp_path / "est").to_json()) == told

    told = estimated(command, path, "--output", "est", "--set", "input.id=id", "--pilot", 30)
    rows = pq.read_table(tmp_path / "est" / "estimate.parquet").to_pylist()
    expected = Decimal(told["cost"]["expected"])
    assert abs(sum(row["cost"] or 0 for row in rows) - expected) < expected / 10**6
    assert sorted(path.name for path in (tmp_path / "est").iterdir()) == ["estimate.parquet"]


def test_other_models_are_counted_with_their_own_tokenizer_and_priced_apart(command, simulator, job, tmp_path):
    """A line per model and region, half price in batches, a model without price listed as such."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", TEXTS[:50]), server.url)
    told = estimated(command, path, "--compare", "qwen-turbo, qwen-max,gpt-4o,nobody-1")
    offers = {(offer["model"], offer["region"]): offer for offer in told["compare"]}
    assert {("qwen-turbo", "international"), ("qwen-turbo", "beijing"), ("nobody-1", None)} <= set(offers)
    turbo = offers["qwen-turbo", "international"]
    assert (turbo["input_tokens"], turbo["input_method"]) == (told["input_tokens"], "exact")
    price = Decimal("0.05") * told["input_tokens"] + Decimal("0.2") * 50 * 256
    assert Decimal(turbo["cost"]["high"]) == price / 1_000_000
    assert Decimal(turbo["batch_cost"]["high"]) == price / 2_000_000
    assert offers["qwen-turbo", "beijing"]["currency"] == "CNY"
    assert offers["nobody-1", None]["cost"] is None
    assert offers["nobody-1", None]["input_method"] == "rule"
    text = command("estimate", path, "--compare", "qwen-turbo,nobody-1", "--no-progress").stdout
    assert "no price" in text
    assert "qwen-turbo" in text


def test_the_tier_is_that_of_each_request_and_long_rows_are_listed(command, simulator, job, tmp_path):
    """All-or-nothing by the row's own length; a row beyond the model's longest input costs nothing and is named."""
    prices = tmp_path / "prices.toml"
    prices.write_text(
        """
[sources.own]
url = "own"
date = 2026-11-01
[models.tiny]
max_input = 200
max_output = 100
[models.tiny.international]
currency = "USD"
source = "own"
tiers = [ { up_to = 50, input = 1, output = 10 }, { up_to = 200, input = 2, output = 20 } ]
""",
        encoding="utf-8",
    )
    server = simulator()
    texts = ["short", "word " * 100, "word " * 300, "again short"]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, model="tiny")
    told = estimated(
        command, path, "--prices", prices, "--set", "input.id=id", "--set", "model.parameters.max_tokens=30"
    )
    rule = [counted(text, "tiny") for text in texts]
    assert told["input_method"] == "rule"
    assert (told["rows_too_long"], told["too_long_ids"]) == (1, ["r2"])
    assert told["input_tokens"] == rule[0] + rule[1] + rule[3]
    put_in, most_out = (rule[0] + rule[3]) * 1 + rule[1] * 2, 30 * (10 + 10 + 20)
    low, high = (Decimal(told["cost"][name]) * 1_000_000 for name in ("low", "high"))
    band = told["input_band"]
    assert (low, high) == (put_in * Decimal(str(band[0])), put_in * Decimal(str(band[1])) + most_out)
    assert told["cost"]["expected"] is None


def test_a_model_without_price_is_counted_all_the_same(command, simulator, job, tmp_path):
    """Cost null, a budget in the job notwithstanding, and the way out is said."""
    path = job(write_csv(tmp_path / "in.csv", TEXTS[:5]), simulator().url, model="qwen-unheard-of")
    told = estimated(command, path, "--budget", "1")
    assert told["cost"] is None
    assert told["input_tokens"] == sum(map(counted, TEXTS[:5]))
    assert any("pricing.models" in note for note in told["notes"])
    assert "unknown" in command("estimate", path).stdout


def test_wrong_use_is_exit_2(command, simulator, job, tmp_path):
    """A pilot of one, no key for a pilot, no row that can be asked."""
    path = job(write_csv(tmp_path / "in.csv", ["", " "]), simulator().url)
    assert command("estimate", path, "--pilot", 1).returncode == 2
    assert command("estimate", path, "--pilot", 2, env={"DASHSCOPE_API_KEY": ""}).returncode == 2
    done = command("estimate", path)
    assert done.returncode == 2
    assert "None of the 2 rows" in done.stderr


def test_a_pilot_that_is_stopped_is_exit_3_and_keeps_what_it_has(command, simulator, job, tmp_path):
    """The account runs dry in the middle: exit 3, the vendor's word, and running the pilot again goes on."""
    server = simulator(latency_ms=5, fatal_after=20, fatal_error="arrearage")
    path = job(write_csv(tmp_path / "in.csv", TEXTS), server.url, concurrency=4)
    done = command("estimate", path, "--pilot", 60, "--no-progress")
    assert done.returncode == 3
    assert "The pilot was stopped" in done.stderr
    server.change(fatal_after=None)
    assert estimated(command, path, "--pilot", 60)["sampled"] == 60
    assert server.stats()["requests_after_answer"] == 0


def test_an_interrupted_pilot_is_exit_130(command, simulator, job, tmp_path):
    """Ctrl-C drains what is in flight and keeps it."""
    server = simulator(latency_ms=100)
    path = job(write_csv(tmp_path / "in.csv", TEXTS), server.url, concurrency=2)
    process = command.start("estimate", path, "--pilot", 250, "--no-progress")
    deadline = time.monotonic() + 30
    while server.stats()["requests"] < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    server.change(latency_ms=0)
    code, summary = command.summary(path, "--set", "limits.concurrency=16")
    assert (code, summary["succeeded"]) == (0, 300)
    assert server.stats()["requests_after_answer"] == 0


def test_a_page_and_one_currency(command, simulator, job, tmp_path):
    """A page beside the text; other currencies are compared at the job's rates, and said to be apart without them."""
    path = job(write_csv(tmp_path / "in.csv", TEXTS[:20]), simulator().url)
    done = command("estimate", path, "--compare", "qwen-turbo,qwen-plsu", "--html", "page.html", "--no-progress")
    assert (done.returncode, done.stdout) == (0, "")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h2>Other models and regions</h2>" in page
    assert "cannot be compared with USD" in page
    assert "did you mean qwen-plus" in page
    rate = ("--set", "pricing.currency=EUR", "--set", "pricing.rate={ USD = 0.9, CNY = 0.12, date = 2026-11-27 }")
    told = estimated(command, path, "--compare", "qwen-turbo", *rate)
    assert {offer["currency"] for offer in told["compare"]} == {told["currency"]} == {"EUR"}
    text = command("estimate", path, "--compare", "qwen-turbo", *rate, "--no-progress").stdout
    assert "unknown without a pilot" in text
    assert "cannot be compared" not in text
