"""Lists and objects as Python prints them."""

import time

import pytest

from batchgen.text.literal import python_literal, python_value
from tests.linear import check_linear


@pytest.mark.parametrize("value", [["a", None, True, 1.5, -2], {"a": ["it's", 'say "x"', "[[[(", "a\\b\n"]}, [], [{}]])
def test_what_python_prints_comes_back(value):
    """Whatever stands in its texts."""
    assert python_literal(f" {value!r}\n") == value


def test_what_numpy_prints_without_commas_comes_back():
    """Two texts are not one, and blanks within a text stay."""
    assert python_literal("['a' \"b 'c' d\"\n 'e ']") == ["a", "b 'c' d", "e "]
    assert python_literal("[{'a': 'x } {'}\n {'a': None}]") == [{"a": "x } {"}, {"a": None}]


def test_texts_in_bytes_come_back_without_commas_too():
    """NumPy writes them with a letter before the quote."""
    assert python_literal("[b'a' b'b\\'']") == [b"a", b"b'"]


NO_LITERALS = ["", "a", "('a',)", "{'a'}", "[a]", "[--1]", "[1 for x in y]", "[" * 5_000, f"[{'(' * 150}{')' * 150}]"]


def test_tuples_and_sets_are_values_but_no_lists():
    """What Python prints of them is read where any of them may stand."""
    assert python_value("(1, 'a')") == (1, "a")
    assert python_value("{'a', 'b'}") == {"a", "b"}
    assert python_literal("(1, 'a')") is None


@pytest.mark.parametrize("text", NO_LITERALS)
def test_any_other_text_is_none_of_them(text):
    """Soon, too: the parser takes long over brackets that nobody prints."""
    begun = time.process_time()
    assert python_literal(text) is None
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("piece", ["\\'", "'", "'a' ", "} ", "\"'", "not ", "- ", "[]", "{1:"])
def test_any_text_is_judged_in_linear_time(piece):
    """Above all one whose quote does not close, as a row's cell may be cut."""
    check_linear(lambda length: python_literal("['a" + piece * (10 * length // len(piece))))
