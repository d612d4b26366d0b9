"""The key never shows itself."""

import logging
import pickle

import pytest

from batchgen.secret import Secret


def test_a_secret_shows_stars_however_it_is_formatted(caplog):
    """repr, str, format and logging give ***."""
    secret = Secret("sk-very-private")
    logging.getLogger("x").warning("key %s %r", secret, secret)
    for text in (repr(secret), str(secret), f"{secret}", repr({"key": secret}), caplog.text):
        assert "private" not in text
    assert secret.reveal() == "sk-very-private"


def test_a_secret_is_not_pickled():
    """Workers get keys from their own environment."""
    with pytest.raises(TypeError):
        pickle.dumps(Secret("abc"))


def test_masking_takes_the_key_and_what_looks_like_one():
    """Vendors quote keys in their messages, whole or in part."""
    secret = Secret("topsecretvalue")
    masked = secret.mask("Incorrect API key topsecretvalue or sk-abc123456789 or sk-proj-****wxyz, see docs")
    assert masked == "Incorrect API key *** or *** or ***, see docs"


def test_a_key_that_was_cut_off_at_the_end_is_masked():
    """A message cut within the key shows none of it; a few letters that happen to be its first ones stay."""
    key = Secret("abcdefghijklmnop")
    assert key.mask("no such key: abcdefghij") == "no such key: ***"
    assert key.mask("abcdef and abcdefg") == "abcdef and ***"
    assert key.mask("the letters abcde") == "the letters abcde"


@pytest.mark.parametrize("key", ["abcd", "abcde", "abcdefghijk"])
def test_a_text_with_one_key_alone_is_masked(key):
    """This key or somebody else's, each without the other; a text with neither stays as it is."""
    assert Secret(key).mask(f"no {key}!") == "no ***!"
    assert Secret(key).mask("no sk-abc123456789!") == "no ***!"
    assert Secret(key).mask("8f3c2e1a-0b4d-9c7e") == "8f3c2e1a-0b4d-9c7e"


@pytest.mark.parametrize(
    "key", ["sk-0123456789abcdef", "a-key-of-letters-only", "QQQQQQQQQQQQQQQQ", "----------------", "ключ" * 4]
)
def test_an_answer_that_quotes_the_key_is_masked(key):
    """Wherever it stands; all else stays, and so does what only has some of its letters."""
    assert Secret(key).mask_literal(f"{key} and {key}.") == "*** and ***."
    assert Secret(key).mask_literal(f"Q {key[1:]} - {key[:-1]}") == f"Q {key[1:]} - {key[:-1]}"
    assert Secret(key).mask_literal("") == ""


def test_a_short_key_stays_in_an_answer():
    """It may be a word of it."""
    assert Secret("fifteen-letters").mask_literal("fifteen-letters") == "fifteen-letters"
