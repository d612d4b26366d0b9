"""When two values count as equal."""

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.evaluation.values import answer_object, normalised, predicted_label, written


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Windows 11, 23H2", "windows 11  23h2"),
        ("ACME Ltd.", "acme ltd"),
        ("feature_request", "Feature request"),
        ("ﬁle", "FILE"),
        ("Zoe\u0308", "ZOË"),
        ("STRASSE", "straße"),
        ("“quoted”", "quoted"),
        ("1–2", "1-2"),
        ("don’t", "don't"),
        (None, ""),
        (None, "None"),
        ("N/A", " null. "),
        (42, "42"),
        (42.0, "42"),
        (Decimal("1.50"), "1.50"),
        (True, "true"),
        (dt.date(2026, 2, 2), "2026-02-02"),
        (["a", "B"], '["a", "b"]'),
    ],
)
def test_equal_after_normalisation(one, other):
    """Unicode form, case, white space, loose punctuation, and the words for nothing."""
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3.1.8", "31.8"),
        ("3.1.8", "3.1"),
        ("C", "C++"),
        ("C#", "C"),
        ("BWS-1042", "BWS1042"),
        ("5", "5%"),
        ("0", None),
        ("no", None),
    ],
)
def test_different_after_normalisation(one, other):
    """What tells versions, codes and languages apart is kept."""
    assert normalised(one) != normalised(other)


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing(text):
    """The form is stable, so comparing is an equivalence."""
    once = normalised(text)
    assert once is None or normalised(once) == once


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
    ("text", "found"),
    [
        ('{"a": 1}', {"a": 1}),
        ('x ```json\n{"a": 1}\n``` y', {"a": 1}),
        ('so: {"a": {"b": 2}} done', {"a": {"b": 2}}),
        ("[1]", {}),
        ("{broken", {}),
        ("", {}),
        (None, {}),
        ("{" * 100_000, {}),
        ('{"a":' * 100_000, {}),
    ],
)
def test_an_object_is_found_in_an_answer(text, found):
    """Bare, fenced, introduced; nothing else counts."""
    assert answer_object(text) == found


def test_labels_are_read_from_parsed_json_or_text():
    """In this order; a failed row's null struct has none."""
    assert predicted_label({"parsed": {"label": "a", "confidence": 0.5}, "completion": "b"}) == "a"
    assert predicted_label({"parsed": {"category": "a", "agreement": 1.0}}) == "a"
    assert predicted_label({"parsed": None, "completion": "b"}) is None
    assert predicted_label({"completion": '{"label": "a"}'}) == "a"
    assert predicted_label({"completion": "a"}) == "a"
    assert predicted_label({"completion": None}) is None
