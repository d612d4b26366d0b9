"""`--where`: conditions on columns and fields."""

import contextlib
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.errors import UsageError
from batchgen.results.where import Where

WORD = pa.dictionary(pa.int32(), pa.string())
PARSED = pa.struct(
    [("urgency", WORD), ("labels", pa.list_(pa.string())), ("due", pa.date32()), ("sure", pa.bool_()), ("cost", WORD)]
)
ROWS = pa.table(
    {
        "Customer Name": ["Ana van der Meer", 'a "b" c', "", None],
        "n": [1, 9_007_199_254_740_993, -3, None],
        "status": pa.array(["succeeded", "failed", "succeeded", "failed"], WORD),
        "cost": pa.array([Decimal("0.5"), Decimal("0.000000000001"), None, Decimal(2)], pa.decimal128(20, 12)),
        "finished_at": pa.array(
            [datetime(2026, 3, day, 12, tzinfo=UTC) for day in (1, 2, 3, 4)], pa.timestamp("us", "UTC")
        ),
        "parsed": pa.array(
            [
                {"urgency": "high", "labels": ["bug", "how to"], "due": date(2026, 5, 1), "sure": True, "cost": "low"},
                {"urgency": "low", "labels": [], "due": None, "sure": False, "cost": None},
                {"urgency": None, "labels": None, "due": date(2026, 6, 1), "sure": None, "cost": "high"},
                None,
            ],
            PARSED,
        ),
    }
)


def meant(text):
    """Return the places of the rows that are meant."""
    where = Where(text, ROWS.schema)
    [batch] = ROWS.select(dict.fromkeys(where.columns)).to_batches()
    return [place for place, yes in enumerate(where.mask(batch).to_pylist()) if yes]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("status = failed", [1, 3]),
        ("status != failed", [0, 2]),
        ("STATUS = failed".lower() + " AND n is not null", [1]),
        ("\"Customer Name\" ~ 'VAN DER'", [0]),
        ('"Customer Name" = "a ""b"" c"', [1]),
        ('"Customer Name" = ""', [2]),
        ('"Customer Name" !~ meer', [1, 2, 3]),
        ('"Customer Name" is null', [3]),
        ("n = 9007199254740993", [1]),
        ("n > 9007199254740992", [1]),
        ("n>=-3 and n<2", [0, 2]),
        ("n != 1", [1, 2, 3]),
        ("n < 0.5", [2]),
        ("cost > 0", [0, 1, 3]),
        ("cost = 0.000000000001", [1]),
        ("cost <= 5e-1", [0, 1]),
        ("parsed.cost = high", [2]),
        ("urgency = high", [0]),
        ("parsed.urgency != high", [1, 2, 3]),
        ("urgency is null", [2, 3]),
        ("labels = 'how to'", [0]),
        ("labels ~ HOW", [0]),
        ("labels != bug", [1, 2, 3]),
        ("due < 2026-05-02", [0]),
        ("sure = true", [0]),
        ("sure != TRUE", [1, 2, 3]),
        ("finished_at >= 2026-03-02T13:00:00+01:00 and finished_at < 2026-03-04", [1, 2]),
    ],
)
def test_conditions(text, rows):
    """By value, not by letters; an empty cell equals nothing."""
    assert meant(text) == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a condition is a column, a sign and a value"),
        ("status", "a condition is"),
        ("status =", "a value is missing"),
        ("status failed", "after 'status' comes one of"),
        ("statsu = failed", "did you mean 'status'"),
        ("nothing_like_it = 1", "there are urgency"),
        ("status = failed or n = 1", "expected \"and\" before 'or'"),
        ('"Customer Name" = Ana van', "expected \"and\" before 'van'; a value with blanks stands in quotes"),
        ("n = many", "n holds int64, and 'many' is none"),
        ("sure = maybe", "sure holds bool"),
        ("finished_at > yesterday", "finished_at holds timestamp"),
        ("n is 3", "to compare, write n = VALUE"),
        ("status = 'failed", 'cannot be read from "\'failed"'),
        ("n = = 1", "a value is missing"),
    ],
)
def test_what_cannot_be_read_is_a_sentence(text, said):
    """It names what was expected, and where."""
    with pytest.raises(UsageError, match=r"--where") as refused:
        Where(text, ROWS.schema)
    assert said in str(refused.value)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text):
    """No other error, and no catastrophe of a pattern."""
    with contextlib.suppress(UsageError):
        meant(text)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_value_can_be_written_in_quotes(value):
    """A quotation mark in it is doubled."""
    table = pa.table({"x": [value, value + "!", None]})
    quoted = value.replace('"', '""')
    [batch] = table.to_batches()
    assert Where(f'x = "{quoted}"', table.schema).mask(batch).to_pylist() == [True, False, False]
