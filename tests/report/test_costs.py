"""What runs cost by day and direction: the sums are always those of the results."""

import csv
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchgen.cli.cost_command import costs_document, write_costs
from batchgen.errors import UsageError
from batchgen.report.costs import GROUPS, read_costs
from batchgen.text.sections import sections_text
from tests.report.runs import failed_row, hand_made, row

SETTINGS = {"model.name": "qwen-plus", "model.provider": "dashscope", "model.workspace": "ws-1"}


def made(path, lines, **told):
    """Write a run of qwen-plus."""
    return hand_made(path, lines, settings={**SETTINGS, **told.pop("settings", {})}, **told)


def by_direction(costs):
    """Return direction → (tokens, cost)."""
    return {line.direction: (line.tokens, line.cost) for line in costs.lines}


def test_each_direction_at_its_own_price(tmp_path):
    """Input, cached input, output and thinking, exactly as the price has them."""
    cost = (
        Decimal("0.0004") * 600 / 1000 + Decimal("0.0004") * Decimal("0.2") * 400 / 1000 + Decimal("0.004") * 50 / 1000
    )
    rows = [row(0, input_tokens=1_000, cached_tokens=400, output_tokens=50, reasoning_tokens=30, cost=cost)]
    found = by_direction(read_costs([made(tmp_path / "out", rows)]))
    assert found == {
        "input": (600, Decimal("0.00024")),
        "cached input": (400, Decimal("0.000032")),
        "output": (20, Decimal("0.00008")),
        "thinking": (30, Decimal("0.00012")),
    }
    (line, *_) = read_costs([tmp_path / "out"]).lines
    assert (line.day, line.model, line.key, line.workspace, line.lane, line.currency) == (
        *("2026-09-21", "qwen-plus", "DASHSCOPE_API_KEY", "ws-1", "live", "USD"),
    )


@pytest.mark.parametrize("region", ["", "international."])
def test_prices_of_the_job_itself_divide_the_cost(tmp_path, region):
    """A model that only the job has a price for, with dots in its name, as `run.json` keeps it."""
    told = {"input": 1.5, "output": 2.0, "currency": "USD"}
    prices = {f"pricing.models.own-7.5.{region}{key}": value for key, value in told.items()}
    rows = [row(0, input_tokens=1_000, cached_tokens=0, output_tokens=500, cost=Decimal("0.0025"))]
    path = made(tmp_path / "out", rows, settings={"model.name": "own-7.5", **prices})
    assert by_direction(read_costs([path])) == {"input": (1_000, Decimal("0.0015")), "output": (500, Decimal("0.001"))}


money = st.decimals("0", "0.01", places=12)
tokens = st.none() | st.integers(0, 300_000)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(tokens, tokens, tokens, tokens, st.none() | money, st.booleans()), max_size=12),
    st.sets(st.sampled_from(GROUPS)),
)
def test_sums_are_those_of_the_results(tmp_path_factory, drawn, by):
    """Whatever the prices were, what is told of tokens, and how it is grouped."""
    rows = [
        (failed_row if failed else row)(
            number,
            input_tokens=read,
            output_tokens=written,
            cached_tokens=cached,
            reasoning_tokens=thought,
            cost=cost,
            finished_at=1_790_000_000_000_000 + number * 40_000_000_000,
        )
        for number, (read, written, cached, thought, cost, failed) in enumerate(drawn)
    ]
    costs = read_costs([made(tmp_path_factory.mktemp("run") / "out", rows)], by=sorted(by))
    whole = sum((one["cost"] or Decimal(0) for one in rows), Decimal(0))
    assert sum((line.cost or Decimal(0) for line in costs.lines), Decimal(0)) == whole
    assert sum(line.tokens for line in costs.lines) == sum(
        (one["input_tokens"] or 0) + (one["output_tokens"] or 0) for one in rows
    )
    assert all(getattr(line, name) == "" for line in costs.lines for name in GROUPS if name not in by)


def test_currencies_and_simulated_runs_stay_apart(tmp_path):
    """Two runs in two currencies have two sums."""
    one = made(tmp_path / "a", [row(0)])
    other = made(tmp_path / "b", [row(0)], currency="EUR")
    costs = read_costs([one, other], by=["direction"])
    assert set(costs.totals()) == {("USD", False), ("EUR", False)}
    text = sections_text(costs_document(costs, ["direction"], 2))
    assert "USD\n" in text
    assert "EUR\n" in text


def test_priced_anew_with_a_discount_in_another_currency(tmp_path):
    """The stored costs do not count then."""
    directory = made(tmp_path / "out", [row(0, input_tokens=1_000_000, output_tokens=0, cost=Decimal(7))])
    changed = {
        "pricing.factor": 0.5,
        "pricing.currency": "EUR",
        "pricing.rate.USD": 0.9,
        "pricing.rate.date": "2026-11-27",
    }
    tier = read_costs([directory], changed={"pricing.factor": 1}).lines[0].cost
    (line,) = read_costs([directory], changed=changed).lines
    assert (line.cost, line.currency) == (tier * Decimal("0.45"), "EUR")
    assert read_costs([directory]).lines[0].cost == 7


def test_days_begin_where_the_bill_says(tmp_path):
    """A row of 22:00 UTC is of the next day in Shanghai."""
    at = 1_790_000_000_000_000 // 86_400_000_000 * 86_400_000_000 + 22 * 3_600_000_000
    directory = made(tmp_path / "out", [row(0, finished_at=at)])
    days = [read_costs([directory], zone=zone).lines[0].day for zone in ("UTC", "+08:00", "Asia/Shanghai")]
    assert days == ["2026-09-21", "2026-09-22", "2026-09-22"]
    with pytest.raises(UsageError, match="not a time zone"):
        read_costs([directory], zone="Mars")
    with pytest.raises(UsageError, match="--by weekday: known are day"):
        read_costs([directory], by=["weekday"])


@pytest.mark.parametrize("sign", ["=", " =", "＝"])
def test_files(tmp_path, sign):
    """CSV and Parquet have every line with exact money, and no cell of the CSV is a formula, as in an export."""
    formula = f"{sign}HYPERLINK(1)"
    directory = made(tmp_path / "out", [row(0)], settings={"model.workspace": formula})
    costs = read_costs([directory])
    for name in ("c.csv", "c.parquet"):
        write_costs(costs, tmp_path / name)
    with open(tmp_path / "c.csv", encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert sum(Decimal(line["cost"]) for line in lines) == Decimal("0.000052")
    assert lines[0]["workspace"] == f"'{formula}"
    assert lines[0]["simulated"] == "false"
    table = pq.read_table(tmp_path / "c.parquet").to_pylist()
    assert sum(line["cost"] for line in table) == Decimal("0.000052")
    assert table[0]["workspace"] == formula


def test_a_cost_of_other_prices_is_divided_to_the_last_digit(tmp_path):
    """What rounding leaves over is in one of the directions."""
    for stored in range(1, 60, 7):
        cost = Decimal(stored).scaleb(-12)
        rows = [row(0, input_tokens=1_000, cached_tokens=300, output_tokens=50, reasoning_tokens=30, cost=cost)]
        lines = read_costs([made(tmp_path / str(stored), rows)]).lines
        assert len(lines) == 4
        assert sum(line.cost for line in lines) == cost


def test_reused_answers_are_no_usage(tmp_path):
    """Their tokens were billed to the run that asked."""
    rows = [row(0), row(1, attempts=0, cost=Decimal(0), input_tokens=900)]
    assert by_direction(read_costs([made(tmp_path / "out", rows)]))["input"][0] == 100


def test_what_is_in_no_line_is_said(tmp_path):
    """Rows without a part, and requests that may be billed."""
    lost = {"requests": 3, "cost": "0.5"}
    notes = read_costs([made(tmp_path / "out", [row(0)], rows=9, succeeded=5, possibly_billed=lost)]).notes
    assert "4 finished rows that cannot be read are left out" in notes[0]
    assert "3 requests got no answer and may be billed, at most 0.5 USD" in notes[1]
