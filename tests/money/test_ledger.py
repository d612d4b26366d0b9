"""Sums are exact, mergeable, and survive JSON."""

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from batchgen.engine.summary import Summary
from batchgen.money.budget import PossiblyBilled
from batchgen.money.ledger import Charges, Sums, Totals, charges_on, with_charges
from batchgen.values import FailureKind, Result, Status

money = st.one_of(st.none(), st.integers(0, 10**15).map(lambda n: Decimal(n).scaleb(-12)))
tokens = st.one_of(st.none(), st.integers(0, 10**9))


@st.composite
def results(draw):
    """Return a settled row with any sums."""
    cost = draw(money)
    return Result(
        row=draw(st.integers(0, 99)),
        status=draw(st.sampled_from(Status)),
        attempts=draw(st.integers(0, 9)),
        finished_at_us=0,
        finish_reason=draw(st.sampled_from([None, "stop", "length"])),
        input_tokens=draw(tokens),
        output_tokens=draw(tokens),
        total_tokens=draw(tokens),
        cached_tokens=draw(tokens),
        reasoning_tokens=draw(tokens),
        input_cost=cost,
        output_cost=None if cost is None else draw(st.integers(0, 10**15).map(lambda n: Decimal(n).scaleb(-12))),
        model=draw(st.sampled_from([None, "a", "b"])),
        error_kind=draw(st.sampled_from([None, FailureKind.TIMEOUT])),
    )


def sql_sum(values):
    """Return what SQL's `sum` gives: None if there is nothing but nulls."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


@given(st.lists(results(), max_size=20), st.integers(0, 20))
def test_sums_are_exact_and_mergeable(rows, at):
    """Folding in two halves and merging, through JSON, equals summing each column."""
    left, right = Sums(), Sums()
    left.add_all(rows[:at])
    right.add_all(rows[at:])
    left.merge(Sums.from_json(right.to_json()))
    whole = Sums()
    whole.add_all(rows)
    assert left == whole
    totals = whole.totals()
    assert totals.rows == len(rows)
    assert totals.attempts == sum(row.attempts for row in rows)
    for name in ("input_tokens", "output_tokens", "total_tokens", "cached_tokens", "reasoning_tokens", "input_cost"):
        assert getattr(totals, name) == sql_sum(getattr(row, name) for row in rows)
    assert totals.cost == sql_sum(None if r.input_cost is None else r.input_cost + r.output_cost for r in rows)
    assert whole.rows(Status.FAILED) == sum(row.status is Status.FAILED for row in rows)
    for group, sums in whole:
        assert sums.rows == sum((r.model, r.status, r.finish_reason, r.error_kind, r.endpoint) == group for r in rows)


@given(results(), results())
def test_earlier_attempts_count(first, second):
    """What a row cost before it was settled is part of its result's sums; its outcome stays its own."""
    merged = with_charges(second, charges_on(7, first))
    assert merged.attempts == first.attempts + second.attempts
    assert merged.total_tokens == sql_sum([first.total_tokens, second.total_tokens])
    assert merged.input_cost == sql_sum([first.input_cost, second.input_cost])
    assert (merged.row, merged.status, merged.model) == (second.row, second.status, second.model)
    twice = charges_on(7, Charges(7, 1), charges_on(7, first, second))
    assert (twice.row, twice.attempts) == (7, 1 + first.attempts + second.attempts)


def test_summary_json():
    """`run --json` has money as decimal strings and exactly the contract's keys."""
    summary = Summary(
        state="stopped",
        rows=3,
        succeeded=1,
        failed=1,
        pending=1,
        attempts=4,
        refused=1,
        input_tokens=10,
        output_tokens=5,
        total_tokens=15,
        cost=Decimal("0.000012345678"),
        currency="USD",
        possibly_billed=PossiblyBilled(1, Decimal("0.5")),
        wall_s=1.5,
        rows_per_s=1.3,
        limited_by=None,
        output="out/x",
    )
    assert msgspec.json.decode(summary.to_json()) == {
        "state": "stopped",
        "rows": 3,
        "succeeded": 1,
        "failed": 1,
        "pending": 1,
        "attempts": 4,
        "refused": 1,
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "cached_tokens": None,
        "cached_saved": None,
        "cost": "0.000012345678",
        "currency": "USD",
        "possibly_billed": {"requests": 1, "cost": "0.5"},
        "wall_s": 1.5,
        "rows_per_s": 1.3,
        "limited_by": None,
        "output": "out/x",
        "error": None,
        "shared": 0,
        "reused": 0,
        "saved": None,
        "refreshed": None,
        "unknown_finish_reasons": {},
        "cut": 0,
        "endpoints": [],
        "batches": [],
        "asked_live": None,
        "simulated": False,
    }


def test_no_rows_have_no_sums():
    """Nothing reported is null, not zero."""
    assert Sums().totals() == Totals()
    assert Totals().cost is None


def test_nothing_is_money_too():
    """Answers of a server that costs nothing have sums of money, as the others have, and not plain numbers."""
    free = Result(0, Status.SUCCEEDED, 1, 0, input_tokens=0, input_cost=Decimal("0.000"), output_cost=Decimal(0))
    sums = Sums()
    sums.add_all([free, free])
    totals = sums.totals()
    assert [type(figure) for figure in (totals.input_cost, totals.output_cost, totals.cost)] == [Decimal] * 3
    assert (totals.input_tokens, totals.cost) == (0, 0)


def test_sums_that_an_earlier_version_stored_are_read():
    """They know no endpoint."""
    sums = Sums.from_json(b'[[["m","succeeded","stop",null],{"rows":2,"attempts":3}]]')
    assert sums.totals().rows == 2
    assert next(iter(sums.groups)).endpoint is None
