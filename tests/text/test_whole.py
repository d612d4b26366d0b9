"""Halves of surrogate pairs: joined where they belong together, U+FFFD where they stand alone, all else untouched."""

import json

from hypothesis import given
from hypothesis import strategies as st

from batchgen.text.whole import whole_text, whole_value

halves = st.text(st.sampled_from(["a", "é", "\U0001f600", "\ud83d", "\ude00", "\udc80"]))


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
