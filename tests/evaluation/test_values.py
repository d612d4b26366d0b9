"""When two values count as equal."""

import datetime as dt
import unicodedata
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batchgen.evaluation.spelling import same_text
from batchgen.evaluation.values import ValueReader
from batchgen.evaluation.written import texts, written

TEXT = ValueReader([pa.string(), pa.string()])
LABEL = ValueReader([pa.string(), pa.string()], labels=True)
UNTYPED = ValueReader([None, pa.string()])
REAL = ValueReader([pa.float64(), pa.string()])
WHOLE = ValueReader([pa.int64(), pa.string()])
TRUTH = ValueReader([pa.bool_(), pa.string()])
MOMENT = ValueReader([pa.timestamp("us", "UTC"), pa.string()])
DAY = ValueReader([pa.date32(), pa.string()])
CLOCK = ValueReader([pa.time32("s"), pa.string()])
WORDS = ValueReader([pa.list_(pa.string()), pa.string()])
LABELS = ValueReader([pa.list_(pa.dictionary(pa.int32(), pa.string())), pa.string()], labels=True)
OBJECT = ValueReader([pa.struct([("a", pa.float64()), ("b", pa.struct([("c", pa.bool_())]))]), pa.string()])
UTC_TEN = dt.datetime(2024, 5, 1, 10, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("reader", "one", "other"),
    [
        (TEXT, "Windows 11, 23H2", "windows 11  23h2"),
        (TEXT, "ACME Ltd.", "acme ltd"),
        (TEXT, "feature_request", "Feature request"),
        (TEXT, "ﬁle", "FILE"),
        (TEXT, "Zoe\u0308", "ZOË"),
        (TEXT, "STRASSE", "straße"),
        (TEXT, "ＡＢＣ１", "abc1"),
        (TEXT, "“quoted”", "quoted"),
        (TEXT, "«cité»", "cité"),
        (TEXT, "1–2", "1-2"),
        (TEXT, "−5", "-5"),
        (TEXT, "don’t", "don't"),
        (TEXT, "❤\ufe0f", "❤"),
        (TEXT, None, ""),
        (TEXT, None, "None"),
        (TEXT, None, "nan"),
        (TEXT, "N/A", " null. "),
        (TEXT, '{"a": 1, "b": 2}', '{"b":2,"a":1.0}'),
        (TEXT, "2024-05-01T10:00:00Z", "2024-05-01 12:00:00+02:00"),
        (LABEL, '"CAT".', "cat"),
        (LABEL, "**Cat**", "cat"),
        (UNTYPED, 12.5, "12.50"),
        (UNTYPED, "1.0", "1"),
        (UNTYPED, True, "true"),
        (UNTYPED, ["a", "B"], '["a", "b"]'),
        (REAL, 12.5, "12.50"),
        (REAL, 1234.5, "1,234.5"),
        (REAL, 1234.5, "1.234,5"),
        (REAL, 1234567.0, "1,234,567"),
        (REAL, 12.5, "12,5"),
        (REAL, -5.0, "−5"),
        (REAL, 1e21, "1000000000000000000000"),
        (REAL, -0.0, "0"),
        (REAL, float("nan"), "n/a"),
        (REAL, Decimal("1.50"), "1.5"),
        (WHOLE, 1, "1.0"),
        (WHOLE, 5, "+5"),
        (TRUTH, True, "1"),
        (TRUTH, False, "No"),
        (TRUTH, True, 1),
        (MOMENT, UTC_TEN, "2024-05-01T10:00:00Z"),
        (MOMENT, UTC_TEN, "2024-05-01 12:00:00+02:00"),
        (MOMENT, UTC_TEN, "2024-05-01T10:00"),
        (MOMENT, UTC_TEN, "2024-05-01 10:00 UTC"),
        (MOMENT, UTC_TEN, dt.datetime(2024, 5, 1, 10)),  # noqa: DTZ001
        (DAY, dt.date(2024, 5, 1), "2024/5/1"),
        (DAY, dt.date(2024, 5, 1), "2024-05-01T00:00:00+02:00"),
        (DAY, dt.date(2024, 5, 1), dt.datetime(2024, 5, 1)),  # noqa: DTZ001
        (DAY, dt.date(2024, 3, 5), "5 March 2024"),
        (DAY, dt.date(2024, 3, 5), "March 5, 2024"),
        (DAY, dt.date(2024, 3, 5), "Tue, 5th of Mar 2024"),
        (DAY, dt.date(2024, 3, 5), "05.03.2024"),
        (DAY, dt.date(2024, 3, 5), "5. 3. 2024"),
        (DAY, dt.date(2024, 3, 5), "2024. 3. 5."),
        (DAY, dt.date(2024, 3, 5), "2024年3月5日"),
        (DAY, dt.date(2024, 3, 5), "2024년 3월 5일"),
        (DAY, dt.date(2024, 3, 5), "5. März 2024"),
        (DAY, dt.date(2024, 3, 5), "5 de marzo de 2024"),
        (DAY, dt.date(2024, 3, 5), "5-Mar-2024"),
        (DAY, dt.date(2024, 3, 25), "25/03/2024"),
        (DAY, dt.date(2024, 3, 25), "3/25/2024"),
        (DAY, dt.date(2024, 3, 3), "03/03/2024"),
        (DAY, "03/04/2024", "03/04/2024"),
        (MOMENT, UTC_TEN, "Wed, 01 May 2024 12:00:00 +0200"),
        (MOMENT, UTC_TEN, "Wed, 1 May 2024 10:00 GMT"),
        (MOMENT, UTC_TEN, "Wed May  1 10:00:00 2024"),
        (MOMENT, UTC_TEN, "2024/05/01 10:00"),
        (MOMENT, UTC_TEN, "1 May 2024, 10:00 am"),
        (MOMENT, UTC_TEN, "2024年5月1日10时00分"),
        (MOMENT, UTC_TEN, "2024-05-01 12:00 UTC+2"),
        (UNTYPED, "May 1, 2024", "2024-05-01"),
        (TEXT, "Wed, 01 May 2024 12:00:00 +0200", "2024-05-01T10:00:00Z"),
        (TRUTH, True, "on"),
        (TRUTH, False, "Off"),
        (TEXT, "$12.50", "$ 12.5"),
        (TEXT, "12,50 €", "EUR 12.50"),
        (TEXT, "-$5", "$-5.0"),
        (TEXT, "12.50 %", "12.5%"),
        (TEXT, "$1,234.50", "1234.5 $"),
        (REAL, "12.50 €", "€12.5"),
        (REAL, float("inf"), "Infinity"),
        (REAL, 1234.5, "١٬٢٣٤٫٥"),
        (CLOCK, dt.time(14, 30), "14:30"),
        (CLOCK, dt.time(14, 30), "2:30 pm"),
        (WORDS, ["a", "b"], '["A", "b"]'),
        (WORDS, ["a", "b"], "['a', 'b']"),
        (WORDS, ["a", "b"], "a; b"),
        (WORDS, [], None),
        (LABELS, ["b", "a"], "a|b"),
        (LABELS, ["b", "a", "a"], ["a", "b"]),
        (OBJECT, {"a": 12.5, "b": {"c": True}}, '{"b": {"c": "yes"}, "a": "12.50"}'),
        (OBJECT, {"a": None, "b": {"c": True}}, '{"b": {"c": true}}'),
    ],
)
def test_spelled_differently_but_equal(reader, one, other):
    """The type of one side says how the other side is read."""
    assert reader.key(one) == reader.key(other)


@pytest.mark.parametrize(
    ("reader", "one", "other"),
    [
        (TEXT, "3.1.8", "31.8"),
        (TEXT, "3.1.8", "3.1"),
        (TEXT, "3.10", "3.1"),
        (TEXT, "007", "7"),
        (TEXT, "C", "C++"),
        (TEXT, "C#", "C"),
        (TEXT, "BWS-1042", "BWS1042"),
        (TEXT, "5", "5%"),
        (TEXT, "0", None),
        (TEXT, "no", None),
        (TEXT, "-", None),
        (TEXT, "...", "-"),
        (TEXT, "\u200b", None),
        (TEXT, "x²", "x2"),
        (TEXT, "½", "12"),
        (TEXT, "①", "1"),
        (TEXT, ">50K", "<=50K"),
        (TEXT, "<18", ">18"),
        (TEXT, "≥5", "≤5"),
        (TEXT, "~5", "5"),
        (TEXT, "A", "A-"),
        (TEXT, "A+", "A-"),
        (TEXT, "+1", "-1"),
        (TEXT, "5", "(5)"),
        (TEXT, "👍", "👎"),
        (TEXT, "👍", "👍🏽"),
        (TEXT, "👩\u200d💻", "👩💻"),
        (TEXT, "yes!", "yes?"),
        (TEXT, "$5", "€5"),
        (TEXT, "*", "**"),
        (LABEL, "none", None),
        (LABEL, "none", "n/a"),
        (UNTYPED, "5", "-5"),
        (UNTYPED, "+1", "1"),
        (UNTYPED, True, "1"),
        (REAL, 5.0, "-5"),
        (REAL, 1234.0, "1,234"),
        (REAL, 1.234, "1,234"),
        (REAL, 12.5, "$12.50"),
        (REAL, 12.5, "12.5%"),
        (REAL, 3.14, "314"),
        (WHOLE, 9007199254740993, "9007199254740992"),
        (TRUTH, True, "0"),
        (TRUTH, False, None),
        (TRUTH, True, "perhaps"),
        (MOMENT, UTC_TEN, "2024-05-01T10:00:00+02:00"),
        (DAY, dt.date(2024, 3, 4), "03/04/2024"),
        (DAY, dt.date(2024, 4, 3), "03/04/2024"),
        (DAY, dt.date(2024, 3, 5), "before 5 March 2024"),
        (DAY, dt.date(2024, 3, 5), "Mon, 5 March 2024"),
        (DAY, dt.date(2024, 3, 5), "March 2024"),
        (DAY, dt.date(2024, 3, 5), "~5 March 2024"),
        (DAY, dt.date(2024, 3, 31), "31.02.2024"),
        (TEXT, "$12.50", "12.50"),
        (TEXT, "$12.50", "€12.50"),
        (TEXT, "$5", "-$5"),
        (TEXT, "5%", "5‰"),
        (TEXT, "≈$5", "$5"),
        (TEXT, "$5 %", "$5"),
        (TEXT, "($5)", "$5"),
        (TEXT, "US$ 5", "CA$ 5"),
        (TEXT, "$3.10", "$31.0"),
        (REAL, float("inf"), "-inf"),
        (WORDS, ["a", "b"], ["b", "a"]),
        (LABELS, ["a"], ["a", "b"]),
        (LABELS, [], None),
        (OBJECT, {"a": 5, "b": None}, '{"a": -5}'),
    ],
)
def test_alike_but_different(reader, one, other):
    """Signs, comparators, symbols, emoji and digits are never dropped, and nothing visible becomes nothing."""
    assert reader.key(one) != reader.key(other)


@given(st.text(max_size=60))
def test_reading_a_text_twice_changes_nothing(text):
    """The form is stable, so comparing is an equivalence; only white space is nothing."""
    once = same_text(text)
    assert same_text(once) == once
    assert bool(once) == bool(text.strip())


@given(st.text(st.characters(categories=("L", "N", "S", "P", "Zs")), max_size=40), st.sampled_from(("NFC", "NFD")))
def test_a_text_equals_its_other_spellings(text, form):
    """Unicode form, case of letters, white space round it."""
    assert same_text(unicodedata.normalize(form, text)) == same_text(text)
    assert same_text(f" {text}\n") == same_text(text)
    assert same_text(text.casefold()) == same_text(text)


SIGNS = "+-<>=≤≥≠~±$€£¥%°#&@^/\\!?👍👎👩💻★☆✓✗→←²³½①0123456789"


@given(
    st.text("ab 1.>-👍", max_size=8), st.text("ab 1.<+👎", max_size=8), st.sampled_from(SIGNS), st.sampled_from(SIGNS)
)
def test_another_sign_is_another_value(before, after, one, other):
    """In text and in what may be a number; equal as numbers only where the numbers are."""
    assume(one != other)
    texts_ = [f"{before}{sign}{after}" for sign in (one, other)]
    assert TEXT.key(texts_[0]) != TEXT.key(texts_[1])
    assert TEXT.key(texts_[0]) != TEXT.key(before + after)


@given(st.decimals(-(10**12), 10**12, places=4), st.integers(0, 3))
def test_a_number_equals_its_other_spellings(number, zeros):
    """Zeros at the end, thousands apart, another minus sign; with another sign it is another number."""
    plain = f"{number:f}" + "0" * zeros
    for spelled in (plain, f"{number:,.4f}", plain.replace("-", "\u2212"), f" {plain} ", f"{number:E}"):
        assert REAL.key(spelled) == REAL.key(number)
        assert REAL.key(float(number)) == REAL.key(number)
    assert number == 0 or REAL.key(f"{-number:f}") != REAL.key(number)
    assert REAL.key(f"{number:,.4f}".translate(str.maketrans(",.", ".,"))) == REAL.key(number)


@given(
    st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)),  # noqa: DTZ001
    st.integers(-14, 14),
    st.sampled_from(("T", "t")),
)
def test_a_moment_equals_its_other_spellings(moment, hours, letter):
    """In any zone; an hour later is another moment."""
    moment = moment.replace(tzinfo=dt.UTC)
    there = moment.astimezone(dt.timezone(dt.timedelta(hours=hours)))
    for reader in (MOMENT, UNTYPED, TEXT):
        assert reader.key(there.isoformat().replace("T", letter)) == reader.key(moment.isoformat())
        assert reader.key((there + dt.timedelta(hours=1)).isoformat()) != reader.key(moment.isoformat())
    assert MOMENT.key(there.isoformat(" ")) == MOMENT.key(moment)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(("a", "-1", ">5", "👍")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_json_equals_its_text(one, other):
    """Lists and objects are the same as a value and as text; different JSON has different keys."""
    if isinstance(one, list | dict) and one:
        assert UNTYPED.key(written(one)) == UNTYPED.key(one)
    if isinstance(one, bool | int | str):
        assert (UNTYPED.key(one) == UNTYPED.key(other)) == (str(one).lower() == str(other).lower())


@given(
    st.lists(
        st.none() | st.text("aB é-_.,'\"()0159N/naulodieE+\u2212👍 \t", max_size=9) | st.floats().map(str), max_size=8
    )
)
def test_a_column_is_read_as_each_of_its_values(values):
    """The quick ways for whole columns give the keys that the careful one gives."""
    for types in ([pa.string()] * 2, [None, pa.string()], [pa.float64(), pa.string()], [pa.int64(), pa.string()]):
        for labels in (False, True):
            reader = ValueReader(types, labels=labels)
            assert reader.keys(pa.array(values, pa.string())).to_pylist() == [reader.key(value) for value in values]


@pytest.mark.parametrize("reader", [TEXT, LABEL, UNTYPED, REAL, TRUTH, DAY])
def test_a_long_column_that_repeats_is_read_as_each_of_its_values(reader):
    """Also as a dictionary, with nulls, and where it stops repeating itself."""
    values = ["A.", "a", None, "5 March 2024", "1.0", "yes", "n/a"] * 300 + [f"text {n}" for n in range(50)]
    expected = [reader.key(value) for value in values]
    for column in (pa.array(values), pa.array(values).dictionary_encode(), pa.array(values, pa.large_string())):
        assert reader.keys(column).to_pylist() == expected


@given(st.lists(st.none() | st.floats(), max_size=8))
def test_a_column_of_numbers_is_read_as_each_of_its_values(values):
    """Whatever Arrow writes for a number."""
    assert REAL.keys(pa.array(values, pa.float64())).to_pylist() == [REAL.key(value) for value in values]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None, -3]),
        pa.array([1.5, None, -0.0, float("nan"), 0.1]),
        pa.array([0.1, 2.5], pa.float32()),
        pa.array([True, False, None]),
        pa.array(["a", None, "A."]),
        pa.array(["a", None, "b"]).dictionary_encode(),
        pa.array([UTC_TEN, None], pa.timestamp("ns", "UTC")),
        pa.array([dt.date(2024, 5, 1), None]),
        pa.array([["a"], [], None]),
        pa.array([{"a": 1.0}, None], pa.struct([("a", pa.float64())])),
        pa.array([[("k", 1.0)], None], pa.map_(pa.string(), pa.float64())),
        pa.array([Decimal("1.50"), None]),
        pa.array([400_000_000_000_000_000, None, 0], pa.timestamp("us")),
        pa.array([400_000_000_000, None], pa.timestamp("s", "UTC")),
        pa.array([5_000_000, None], pa.int32()).view(pa.date32()),
        pa.nulls(2),
    ],
)
def test_a_column_is_read_like_its_values(column):
    """Against itself, and against text of the same values."""
    both = ValueReader([column.type, column.type])
    assert both.keys(column).equals(both.keys(column))
    text = texts(column)
    mixed = ValueReader([column.type, pa.string()])
    assert mixed.keys(text).to_pylist() == mixed.keys(column).to_pylist()
    assert [value is None for value in both.keys(column).to_pylist()] == [
        value is None for value in mixed.keys(column).to_pylist()
    ]


def deep(levels):
    """A list in a list in a list."""
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        "[" * 50_000,
        "[" * 300 + "]" * 300,
        "{'a':" * 20_000,
        "[\"\\d\", 'x']",
        "[-" + "-" * 20_000 + "1]",
        deep(300),
        "1" * 60_000,
    ],
)
@pytest.mark.parametrize("reader", [TEXT, UNTYPED, REAL, TRUTH, MOMENT, WORDS, OBJECT, LABELS])
def test_what_is_nested_or_long_beyond_reason_is_compared(reader, value):
    """Without an error: a model's answer can be anything."""
    assert reader.key(value) == reader.key(value)
    assert reader.key(value) != reader.key("a")


def test_exact_text_of_values():
    """JSON's own spelling, keys in order."""
    assert [written(v) for v in (None, "a", 1, 1.5, 2.0, False, {"b": 1, "a": [None]})] == [
        None,
        "a",
        "1",
        "1.5",
        "2",
        "false",
        '{"a": [null], "b": 1}',
    ]
    assert written(float("nan")) == "nan"


@pytest.mark.parametrize(
    "text",
    [
        "['red' 'light blue']",
        "['red'\n 'light blue']",
        "('red', 'light blue')",
        "[red, light blue]",
        "{red,light blue}",
        '{red,"light blue"}',
        "'red', 'light blue'",
        "- red\n- light blue",
        "1. red\n2. light blue\n",
        '```json\n["red", "light blue"]\n```',
    ],
)
def test_a_list_is_read_as_programs_print_it(text):
    """A list column that pandas, DuckDB, Spark or PostgreSQL has written to CSV."""
    assert WORDS.key(text) == WORDS.key(["red", "light blue"])
    assert WORDS.key(text) != WORDS.key(["redlight blue"])


@pytest.mark.parametrize("text", ["[1 -2]", "[ 1 -2]", "[1. -2.]", "(1, -2)", "{1,-2}"])
def test_a_list_of_numbers_is_read_as_programs_print_it(text):
    numbers = ValueReader([pa.list_(pa.int64()), pa.string()])
    assert numbers.key(text) == numbers.key([1, -2])
