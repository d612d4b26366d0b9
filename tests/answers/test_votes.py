"""How sure a label is: votes and token probabilities."""

import json
import math

import pytest

from batchgen.answers.votes import Label, majority, token_confidence


def test_majority():
    """The most frequent label wins; its share counts unreadable samples; a tie is told, and the first sampled wins."""
    assert majority(["a", "b", "b"]) == Label("b", None, 2 / 3)
    assert majority(["b", None, "b", None, "a"]) == Label("b", None, 2 / 5)
    assert majority(["b", "a", "a", "b"]) == Label("b", None, 1 / 2)
    assert majority(["a"]) == Label("a", None, 1.0)
    assert majority([None, None]) is None


def _logprobs(*tokens):
    return json.dumps({"content": [{"token": token, "logprob": logprob} for token, logprob in tokens]})


def test_confidence_is_the_product_over_the_labels_tokens():
    """Tokens before and after the label do not count; the label is found in any spelling of the rule."""
    tokens = _logprobs(("Label", -5.0), (":", -1.0), (" How", -0.1), (" to", -0.2), (".", -3.0))
    assert token_confidence(tokens, "how_to") == pytest.approx(math.exp(-0.3))
    assert token_confidence(tokens, "bug") is None
    assert token_confidence(None, "bug") is None
    assert token_confidence("null", "bug") is None


def test_confidence_reads_tokens_that_are_parts_of_letters():
    """A Chinese letter may be several tokens, given as bytes."""
    first, second = "投".encode()[:2], "投".encode()[2:] + "诉".encode()
    tokens = [
        {"token": "\\xe6\\x8a", "bytes": list(first), "logprob": -0.5},
        {"token": "\\x95诉", "bytes": list(second), "logprob": -0.25},
    ]
    assert token_confidence(json.dumps({"content": tokens}), "投诉") == pytest.approx(math.exp(-0.75))
    assert token_confidence(json.dumps({"content": [{"token": "a"}]}), "a") is None
