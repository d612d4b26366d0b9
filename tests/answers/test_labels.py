"""The rule from an answer's text to one label, or to several."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.answers.labels import LabelSet, NoLabel
from batchgen.errors import JobError
from tests.linear import check_linear

LABELS = LabelSet(["billing", "bug", "bug report", "feature_request", "how_to", "other"])

FOUND = [
    ("bug", "bug"),
    ("  Bug.\n", "bug"),
    ("**BUG**", "bug"),
    ('"feature request"', "feature_request"),
    ("Feature-Request", "feature_request"),
    ("[how_to]", "how_to"),
    ("<label>bug</label>", "bug"),
    ("- bug", "bug"),
    ("Label: bug", "bug"),
    ("label = how to", "how_to"),
    ("**Final answer:** bug report.", "bug report"),
    ("Final answer: \\boxed{bug}", "bug"),
    ("The category is `billing`.", "billing"),
    ("The category of this email is billing", "billing"),
    ("Label: bug (confidence: 0.95)", "bug"),
    ("Label:\n\nbug", "bug"),
    ("Category: billing\nReason: an invoice is no bug", "billing"),
    ("It might be a bug, but an invoice is attached.\n\nbilling", "billing"),
    ("I would classify this email as **billing**.", "billing"),
    ("This message is classified as bug.", "bug"),
    ("This ticket is a **bug**.", "bug"),
    ("Therefore, the answer is: how to.", "how_to"),
    ("Kategorie: bug", "bug"),
    ("Die Antwort ist bug.", "bug"),
    ("La réponse est : bug", "bug"),
    ("类别：bug。", "bug"),
    ('{"label": "how_to"}', "how_to"),
    ('{"category": "How to"}', "how_to"),
    ("{'label': 'how_to'}", "how_to"),
    ('["bug"]', "bug"),
    ('```json\n{"label": "other", "why": "a bug?"}\n```', "other"),
    ("<think>bug or billing?</think>\nbilling", "billing"),
    ("Perhaps bug? Or billing?\n</think>\nbilling", "billing"),
    ("[THINK]label: bug[/THINK]billing", "billing"),
]


@pytest.mark.parametrize(("text", "label"), FOUND)
def test_labels_are_found(text, label):
    """Case, quotes, marks, a marker, JSON and a sentence that classifies do not matter."""
    assert LABELS.find(text) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Cafe\u0301", "Café"),
        ("**Label:** CAFE\u0301", "Café"),
        ('{"label": "Cafe\u0301"}', "Café"),
        ("nai\u0308ve.", "nai\u0308ve"),
        ("Order / status", "order/status"),
        ("→ order/ status", "order/status"),
        ("=> Café", "Café"),
        ("-> **Café**", "Café"),
    ],
)
def test_other_encodings_of_letters_and_blanks_at_a_slash_do_not_matter(text, label):
    """The letters are the same, and so is what they mean."""
    assert LabelSet(["Café", "nai\u0308ve", "order/status"]).find(text) == label


@pytest.mark.parametrize(
    "text", ["Cafe", "Cafe\u0300", "~~Café~~", "Café / order/status", "order status", "order//status"]
)
def test_other_letters_and_signs_matter(text):
    """An accent that is missing may be another word."""
    assert isinstance(LabelSet(["Café", "nai\u0308ve", "order/status"]).find(text), NoLabel)


SIGNS = "+-<>=#%&@€$!?~^/.,*_ 018abAB☺👍👎é投诉"
WRAPPINGS = [
    "{}",
    " {}\n",
    '"{}"',
    "**{}**",
    "`{}`",
    "```\n{}\n```",
    "Label: {}",
    "Label: **{}**",
    "**Label:** {}",
    'The answer is "{}"',
    'I weighed it for long.\n\nLabel: "{}"',
    "<think>{} or not?</think>\n{}",
]


@settings(max_examples=300)
@given(st.lists(st.text(min_size=1, max_size=6) | st.text(SIGNS, min_size=1, max_size=4), min_size=2, max_size=5),
       st.text(max_size=60), st.sampled_from(WRAPPINGS))  # fmt: skip
def test_any_label_is_found_in_any_wrapping(labels, text, wrapping):
    """Whatever the labels are: each is found as written and as JSON; in a wrapping it is found, or nothing is."""
    try:
        label_set = LabelSet(labels)
    except JobError:
        return
    for label in labels:
        for written in (label, json.dumps({"label": label})):
            assert label_set.find(written) == label
        assert label_set.find_several(json.dumps([label, label])) == (label,)
        found = label_set.find(wrapping.format(label, label))
        assert found == label or isinstance(found, NoLabel)
    found = label_set.find(text)
    assert isinstance(found, NoLabel) or found in labels
    several = label_set.find_several(text)
    assert isinstance(several, NoLabel) or set(several) <= set(labels)


def test_the_sign_of_a_marker_is_no_label():
    """Where a label is written like a colon, `Label: x` still gives what stands behind it, or nothing."""
    found = LabelSet([":", "È"]).find("Label: È")
    assert found == "È" or isinstance(found, NoLabel)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize(
    "label", ["spam", "not spam", "-1", "0", "1", "A", "A-", "<18", ">18", "👍", "C#", "投诉", "10 %"]
)
def test_a_wrapped_label_is_found(label, wrapping):
    """Ordinary labels are found in each wrapping, those with signs too."""
    label_set = LabelSet([label, "something else"])
    assert label_set.find(wrapping.format(label, label)) == label


LOST = [
    ("", "empty"),
    ("<think>bug</think> ", "empty"),
    ("<think>It must be a bug", "has no end"),
    ("Well. <think>\nbug\n", "has no end"),
    ("debugging", "not just one"),
    ("complaint", "not just one"),
    ("bug or billing", "not just one"),
    ("label: bug\nlabel: billing", "several labels: bug, billing"),
    ("Answer: bug or billing", "not just one"),
    ("Answer: none of these\n\nbug", "not just one"),
    ("bug\nNo", "not just one"),
    ("bug?", "not just one"),
    ("bug...", "not just one"),
    ('{"bug": false}', "not just one"),
    ('{"label": "not bug"}', "not just one"),
]


@pytest.mark.parametrize(("text", "words"), LOST)
def test_ambiguous_answers_are_refused(text, words):
    """Two labels, none, or one that is doubted: no guess."""
    found = LABELS.find(text)
    assert isinstance(found, NoLabel)
    assert words in found.message


DENIED = [
    "I do not believe this to be bug.",
    "This isn't billing",
    "not a bug",
    "The label is not bug.",
    "I don't think the answer is bug.",
    "bug: no",
    "bug = false",
    "bug - no",
    "Bug? Certainly not.",
    "Answer: bug? No.",
    "Label: anything but bug",
    "It cannot be decided whether this is bug or not.",
    "There is nothing of a bug in it.",
    'This is not "bug".',
    "This email is not **bug**.",
    "Nobody would call it bug",
    "Das ist kein bug.",
    "Ce n'est pas un bug",
    "No es bug",
    "Não é bug.",
    "Non è un bug",
    "Dit is geen bug",
    "Det är inte bug",
    "To nie jest bug",
    "Это не bug",
    "Bu bir bug değil",
    "Tämä ei ole bug",
    "Ez nem bug",
    "これはbugではありません",
    "bug가 아닙니다",
    "这不是bug",
    "هذا ليس bug",
    "यह bug नहीं है",
    "Đây không phải là bug",
    "Ini bukan bug",
    "Δεν είναι bug",
    "זה לא bug",
]


@pytest.mark.parametrize("text", DENIED)
def test_a_label_that_is_denied_or_doubted_is_none(text):
    """In any language: a sentence is no frame because a label is in it."""
    assert isinstance(LABELS.find(text), NoLabel)
    assert isinstance(LABELS.find(f"I have read it.\n{text}"), NoLabel)


def test_labels_in_scripts_without_spaces():
    """Chinese labels are found in the same frames, and not inside a sentence."""
    labels = LabelSet(["投诉", "表扬", "其他"])
    assert labels.find("标签：投诉。") == "投诉"
    assert labels.find("表扬") == "表扬"
    assert isinstance(labels.find("这不是投诉"), NoLabel)
    assert isinstance(labels.find("投诉和表扬"), NoLabel)


@pytest.mark.parametrize(
    ("labels", "found", "lost"),
    [
        (["-1", "0", "1"], {"-1": "-1", "−1": "-1", "1.": "1", "Score: 0": "0"}, ["0.9", "10", "- 1", "-0", "1/10"]),
        (["0", "1"], {"**1**": "1"}, ["-1", "+1", "0.1", "1%", "1-2"]),
        (["A", "A-", "A+"], {"A-": "A-", "**A-**.": "A-", "Grade: A+": "A+", "a.": "A"}, ["A--", "A/A-", "AA"]),
        (["<18", ">18"], {"<18": "<18", '">18".': ">18"}, ["18", "<=18", "<180"]),
        (["+", "-", "?"], {"-": "-", "`?`": "?", "Label: +": "+"}, ["--", "+-"]),
        (["👍", "👎"], {"👍!": "👍", "Answer: 👎": "👎"}, ["👍👎", "not 👍"]),
        (["C", "C#", "C++"], {"c#": "C#", "## **C++**": "C++", "C.": "C"}, ["C--", "C##", "I say C."]),
        (["5", "5 %"], {"5": "5", "5 %": "5 %"}, ["5 €", "55"]),
    ],
)
def test_signs_belong_to_labels(labels, found, lost):
    """Labels that a sign tells apart are kept apart, and numbers are not found inside other numbers."""
    label_set = LabelSet(labels)
    for text, label in found.items():
        assert label_set.find(text) == label
    for text in lost:
        assert isinstance(label_set.find(text), NoLabel), text


def test_wide_letters_and_digits_are_the_plain_ones():
    """As keyboards of East Asia write them."""
    assert LabelSet(["bug", "other"]).find("ＢＵＧ") == "bug"
    assert LabelSet(["1", "2"]).find("２") == "2"


def test_a_cut_answer_is_no_label():
    """What comes next may deny it; only an object that is whole is whole."""
    assert LABELS.find('{"label": "bug"}', complete=False) == "bug"
    for text in ("billing", "bug", "bill", "I think billing", '{"label": "bug', "Label: bug", '```\n{"label": "bug"}'):
        found = LABELS.find(text, complete=False)
        assert isinstance(found, NoLabel)
        assert found.cut
    for text in ("bug, billing", '["bug", "billing', "bug"):
        assert isinstance(LABELS.find_several(text, complete=False), NoLabel)
    assert LABELS.find_several('["bug"]', complete=False) == ("bug",)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["one"], "at least two"),
        (["How to", "how_to"], "cannot be told apart"),
        (["a", " "], "is empty"),
        (["a", "</think>"], "thoughts"),
    ],
)
def test_labels_must_be_told_apart(labels, words):
    """What the rule could not tell apart is refused before anything is sent."""
    with pytest.raises(JobError, match=words):
        LabelSet(labels)


SEVERAL = [
    ('["bug", "billing", "bug"]', ("bug", "billing")),
    ("[]", ()),
    ('{"labels": ["how to"]}', ("how_to",)),
    ('{"labels": []}', ()),
    ("['bug', 'billing']", ("bug", "billing")),
    ('Here they are: ["bug", "billing"]', ("bug", "billing")),
    ('```json\n["bug"]\n```', ("bug",)),
    ("bug, billing", ("bug", "billing")),
    ("[bug, billing]", ("bug", "billing")),
    ("**bug**; **billing**.", ("bug", "billing")),
    ("Labels: bug, how to", ("bug", "how_to")),
    ("The labels are:\n- bug\n- billing\n", ("bug", "billing")),
    ("bug", ("bug",)),
    ("<think>other</think>bug、billing", ("bug", "billing")),
]


@pytest.mark.parametrize(("text", "labels"), SEVERAL)
def test_several_labels_are_found(text, labels):
    """A list in JSON, Python or words; each label once, in the answer's order."""
    assert LABELS.find_several(text) == labels


@pytest.mark.parametrize("text", ["", "none", "bug and billing", "not bug, billing", '["bug", "x"]', '["bug", null]',
                                  '{"bug": true}', "bug, billing?", "<think>[\"bug\"]"])  # fmt: skip
def test_a_list_with_anything_else_is_refused(text):
    """One item that is no label makes the whole list doubtful."""
    assert isinstance(LABELS.find_several(text), NoLabel)


def test_labels_with_commas_are_whole():
    """A label may hold what separates others."""
    label_set = LabelSet(["food, drink", "travel"])
    assert label_set.find_several("food, drink") == ("food, drink",)
    assert label_set.find_several('["travel", "food, drink"]') == ("travel", "food, drink")


PIECES = ["label:", ":", "label: :", "the ", "answer is ", "((", "**", "- ", "\n", "bug ", "label ", "_ -", "'", "<b>",
          "i will ", "this email ", "[", "{", "bug,", "label (", "> ", "\\boxed{"]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("head", ["", "label", "label: ", "bug "])
def test_the_time_is_linear_in_the_length(head, piece):
    """Twice the text takes twice the time, whatever it is made of."""
    check_linear(lambda length: LABELS.find(head + piece * (length // len(piece))))
    check_linear(lambda length: LABELS.find_several(head + piece * (length // len(piece))))
