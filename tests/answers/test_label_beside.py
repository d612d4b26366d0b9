"""What may stand beside a label: whatever is not known makes it none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.answers.labels import NoLabel

from .test_label_frames import GIVEN, LABELS


@pytest.mark.parametrize(
    "text", ["Label: spam", "The answer is **spam**.", "spam\n\nConfidence: 90%", "<answer>spam</answer>"]
)
@pytest.mark.parametrize(
    ("before", "counts"),
    [
        ("The sender is unknown to the reader.", True),
        ("I looked at it for long.\n\nThe sender is unknown.", True),
        ("Here is my answer:", True),
        ("Incorrect.", False),
        ("Not really.", False),
        ("This would be wrong:", False),
        ("It is anything but", False),
        ("My enemies say…", False),
        ("One could think of this -", False),
    ],
)
def test_what_stands_before_must_have_ended(before, counts, text):
    """Reasoning that ends, or a line that announces the answer; a word or two may be said of what follows."""
    found = LABELS.find(f"{before}\n\n{text}")
    assert (found == "spam") is counts


LINES = [
    text
    for text in GIVEN
    if not any(part in text for part in ("\n", "reason", "explan", '"text"')) and ". " not in text.removeprefix("1. ")
]
# fmt: off
FOREIGN = [
    "not", "no", "never", "nicht", "kein", "ne", "pas", "non", "nunca", "não", "nem", "nie", "nu", "ikke", "inte",
    "ei", "geen", "niet", "нет", "не", "不", "非", "没有", "ではない", "아닌", "değil", "لا", "ليس", "לא",
    "नहीं",
    "bukan", "tidak", "không", "ไม่", "hardly", "if", "unless", "except", "instead", "wrong", "rejected", "or", "but",
    "without", "maybe", "old", "xyz"
]
# fmt: on


@settings(max_examples=500)
@given(st.sampled_from(LINES), st.sampled_from(FOREIGN), st.data())
def test_one_word_that_is_not_known_is_enough(text, word, data):
    """Wherever it stands in a line that gives a label."""
    places = [0, *(place + 1 for place, letter in enumerate(text) if letter == " "), len(text)]
    place = data.draw(st.sampled_from(places))
    assert isinstance(LABELS.find(f"{text[:place]} {word} {text[place:]}"), NoLabel)
