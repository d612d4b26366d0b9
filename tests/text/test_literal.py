"""Lists and objects as Python prints them."""

import time

import pytest

from batchgen.text.literal import python_literal


@pytest.mark.parametrize("value", [["a", None, True, 1.5, -2], {"a": ["it's", 'say "x"', "[[[(", "a\\b\n"]}, [], [{}]])
def test_what_python_prints_comes_back(value):
    """Whatever stands in its texts."""
    assert python_literal(f" {value!r}\n") == value


def test_what_numpy_prints_without_commas_comes_back():
    """Two texts are not one, and blanks within a text stay."""
    assert python_literal("['a' \"b 'c' d\"\n 'e ']") == ["a", "b 'c' d", "e "]
    assert python_literal("[{'a': 'x } {'}\n {'a': None}]") == [{"a": "x } {"}, {"a": None}]


NO_LITERALS = ["", "a", "('a',)", "{'a'}", "[a]", "[--1]", "[1 for x in y]", "[" * 5_000, f"[{'(' * 150}{')' * 150}]"]


@pytest.mark.parametrize("text", NO_LITERALS)
def test_any_other_text_is_none_of_them(text):
    """Soon, too: the parser takes long over brackets that nobody prints."""
    begun = time.process_time()
    assert python_literal(text) is None
    assert time.process_time() - begun < 1
