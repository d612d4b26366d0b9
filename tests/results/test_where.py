"""`--where`: conditions on columns and fields."""

import contextlib
from datetime import UTC, date, datetime, time, timedelta
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


ODD = pa.table(
    {
        "tweet": pa.array([1_234_567_890_123_456_789, 1_234_567_890_123_456_788, -(2**63), None]),
        "hash": pa.array([2**64 - 1, 2**63, 5, None], pa.uint64()),
        "money": pa.array(
            [Decimal("99999999999999999999.123456789012"), Decimal(1), None, None], pa.decimal128(38, 12)
        ),
        "opens": pa.array([time(9), time(23, 59, 59), None, None], pa.time32("ms")),
        "took": pa.array([timedelta(seconds=90), timedelta(days=2), None, None], pa.duration("ms")),
        "bytes": pa.array([b"\xff\x00", b"abc", None, None]),
        "code": pa.array([b"\xff\xfe", b"ab", None, None], pa.binary(2)),
        "who": pa.array([{"name": "Ana", "age": None}, {"name": None, "age": 3}, None, None]),
        "pair": pa.array([[1, 2], [2, 3], None, None], pa.list_(pa.int64(), 2)),
        "size": pa.array([5, 12, None, None]).dictionary_encode(),
    }
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("tweet = 1234567890123456788", [1]),
        ("tweet > 1234567890123456788", [0]),
        ("tweet = 1234567890123456788.5", []),
        ("tweet = -9223372036854775808", [2]),
        ("tweet < -1e80", []),
        ("hash > 5", [0, 1]),
        ("hash = 18446744073709551614", []),
        ("hash >= 9223372036854775808 and hash < 18446744073709551615", [1]),
        ("money = 99999999999999999999.123456789013", []),
        ("money > 99999999999999999999.123456789011", [0]),
        ("money < 1e60", [0, 1]),
        ("money < inf", [0, 1]),
        ("opens = 23:59:59", [1]),
        ("opens < 12:00", [0]),
        ("took > 100", [1]),
        ("took = 90", [0]),
        ("bytes = ff00", [0]),
        ("code = fffe", [0]),
        ("code ~ 61", [1]),
        ("""who ~ '"age": 3'""", [1]),
        ("pair = 3", [1]),
        ("pair != 3", [0, 2, 3]),
        ("size > 5", [1]),
    ],
)
def test_each_kind_of_cell_is_compared_exactly_or_as_it_is_shown(text, rows):
    """Long numbers are no floats, times and durations have their order, other cells are the text that people see."""
    where = Where(text, ODD.schema)
    [batch] = ODD.select(dict.fromkeys(where.columns)).to_batches()
    assert [place for place, yes in enumerate(where.mask(batch).to_pylist()) if yes] == rows
