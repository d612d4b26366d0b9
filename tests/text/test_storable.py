"""Texts that UTF-8 cannot hold, as they are stored: halves of surrogate pairs, and bytes of names."""

import json
import os
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from batchgen.text.storable import json_bytes, storable, whole_text, whole_value

halves = st.text(st.sampled_from(["a", "é", "\U0001f600", "\ud83d", "\ude00", "\udc80"]))


def test_bytes_of_a_name_that_are_not_utf_8_are_written_out():
    """Other text stays as it is; half of a surrogate pair is no byte."""
    assert storable("plain Ünïcödé 漢字") == "plain Ünïcödé 漢字"
    assert storable(os.fsdecode(b"caf\xe9/\xc3\xa9")) == r"caf\xe9/é"
    assert storable("\ud800") == "\ufffd"


def test_json_holds_any_name_at_any_place():
    """In structs, lists and keys."""

    class Told(Struct):
        path: str
        more: dict[str, list[str]]

    name = os.fsdecode(b"\xe9")
    assert json.loads(json_bytes(Told(name, {name: [name, "b"]}))) == {
        "path": r"\xe9",
        "more": {r"\xe9": [r"\xe9", "b"]},
    }


def test_money_is_written_in_plain_digits():
    """Also none at all, and what a short answer costs; a text that looks like such a number stays as it is."""
    found = json_bytes({"cost": Decimal("0E-12"), "rows": [Decimal("0.000000010000")], "text": "1E-5", "more": 1e-9})
    assert json.loads(found) == {"cost": "0.000000000000", "rows": ["0.000000010000"], "text": "1E-5", "more": 1e-9}


@given(halves)
def test_the_result_can_be_written(text):
    """As UTF-8; and a text that could be before is the same."""
    mended = whole_text(text)
    assert mended.encode() or not text
    try:
        text.encode()
    except UnicodeEncodeError:
        assert mended != text
    else:
        assert mended == text
    assert whole_text(mended) == mended


def test_pairs_are_joined_and_single_halves_replaced():
    """A lone half costs one letter, no more."""
    assert whole_text("x\ud83d\ude00y\ud83dz\ude00") == "x\U0001f600y\ufffdz\ufffd"


@given(st.recursive(st.none() | st.integers() | halves, lambda inner: st.lists(inner) | st.dictionaries(halves, inner)))
def test_values_are_mended_through_and_through(value):
    """Keys too."""
    assert json.dumps(whole_value(value), ensure_ascii=False).encode()
