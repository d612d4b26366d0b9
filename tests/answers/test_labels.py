"""The rule from an answer's text to one label, votes and token probabilities."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.answers.labels import LabelSet, NoLabel, Vote, majority, token_confidence
from batchgen.errors import JobError

LABELS = LabelSet(["billing", "bug", "bug report", "feature_request", "how_to", "other"])

FOUND = [
    ("bug", "bug"),
    ("  Bug.\n", "bug"),
    ("**BUG**", "bug"),
    ('"feature request"', "feature_request"),
    ("Feature-Request", "feature_request"),
    ("[how_to]", "how_to"),
    ("Label: bug", "bug"),
    ("label = how to", "how_to"),
    ("The category is `billing`.", "billing"),
    ("Category: billing\nReason: an invoice is no bug", "billing"),
    ('{"label": "how_to"}', "how_to"),
    ('{"category": "How to"}', "how_to"),
    ('```json\n{"label": "other", "why": "a bug?"}\n```', "other"),
    ("It is a bug report.", "bug report"),
    ("This one is about billing, I think.", "billing"),
    ("billing, definitely billing", "billing"),
    ("<think>bug or billing?</think>\nbilling", "billing"),
]


@pytest.mark.parametrize(("text", "label"), FOUND)
def test_labels_are_found(text, label):
    """Case, quotes, marks, an introduction, JSON and surrounding words do not matter."""
    assert LABELS.find(text) == label


@given(st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=5, unique=True), st.text(max_size=60))
def test_any_label_is_found_in_itself(labels, text):
    """Whatever the labels are: each is found as written, in quotes, and as JSON; no text raises."""
    try:
        label_set = LabelSet(labels)
    except JobError:
        return
    for label in labels:
        for written in (label, f' "{label}".\n', json.dumps({"label": label})):
            assert label_set.find(written) == label
    found = label_set.find(text)
    assert isinstance(found, NoLabel) or found in labels


LOST = [
    ("", "empty"),
    ("<think>bug</think> ", "empty"),
    ("debugging", "none of the labels"),
    ("complaint", "none of the labels"),
    ("bug or billing", "several labels: bug, billing"),
    ("label: bug\nlabel: billing", "several labels"),
    ("Answer: bug or billing", "several labels: bug, billing"),
    ("The label is not bug.", "what it is not"),
    ("not a bug", "what it is not"),
    ("This isn't billing", "what it is not"),
]


@pytest.mark.parametrize(("text", "words"), LOST)
def test_ambiguous_answers_are_refused(text, words):
    """Two labels, none, or one that is denied: no guess."""
    found = LABELS.find(text)
    assert isinstance(found, NoLabel)
    assert words in found.message


def test_labels_in_scripts_without_spaces():
    """Chinese labels have no word boundaries round them."""
    labels = LabelSet(["投诉", "表扬", "其他"])
    assert labels.find("标签：投诉。") == "投诉"
    assert labels.find("这是表扬") == "表扬"
    assert isinstance(labels.find("这不是投诉"), NoLabel)
    assert isinstance(labels.find("投诉和表扬"), NoLabel)


def test_labels_that_are_marks():
    """Languages, grades, signs: what stands at a label's end belongs to it."""
    labels = LabelSet(["C", "C#", "C++", "👍"])
    for text, label in {"c#": "C#", "## **C++**": "C++", "It is C#.": "C#", "I say C.": "C", "👍!": "👍"}.items():
        assert labels.find(text) == label


def test_a_cut_answer_counts_only_where_it_cannot_go_on():
    """`bug` may have been going to be `bug report`; `billing` is whole; prose is not trusted."""
    assert LABELS.find("billing", complete=False) == "billing"
    assert LABELS.find('{"label": "bug"}', complete=False) == "bug"
    for text in ("bug", "bill", "I think billing", '{"label": "bug', "Label: bug"):
        found = LABELS.find(text, complete=False)
        assert isinstance(found, NoLabel)
        assert found.cut


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["one"], "at least two"),
        (["How to", "how_to"], "cannot be told apart"),
        (["a", "--"], "no letter or digit"),
        (["a", "</think>"], "thoughts"),
    ],
)
def test_labels_must_be_told_apart(labels, words):
    """What the rule could not tell apart is refused before anything is sent."""
    with pytest.raises(JobError, match=words):
        LabelSet(labels)


def test_majority():
    """The most frequent label wins; its share counts unreadable samples; a tie is told, and the first sampled wins."""
    assert majority(["a", "b", "b"]) == Vote("b", 2 / 3, False)
    assert majority(["b", None, "b", None, "a"]) == Vote("b", 2 / 5, False)
    assert majority(["b", "a", "a", "b"]) == Vote("b", 1 / 2, True)
    assert majority(["a"]) == Vote("a", 1.0, False)
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
