"""Broken answers: what each stage of the reading rule saves, and what is never accepted."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.answers.reading import Found, NoObject, Stage, read_object, reread_object

VALUE = {"customer": "Ann", "versions": [1, 2], "note": None}
PLAIN = json.dumps(VALUE)

SAVED = [
    ("plain", PLAIN, Stage.STRICT),
    ("space and BOM round it", f"\ufeff \n{PLAIN}\n", Stage.STRICT),
    ("the same key twice with one value", '{"customer":"Ann","versions":[1,2],"note":null,"note":null}', Stage.STRICT),
    ("fence", f"```json\n{PLAIN}\n```", Stage.FENCED),
    ("fence without a language", f"```\n{PLAIN}\n```", Stage.FENCED),
    ("thinking", f'<think>Maybe {{"customer": "Bob"}}?</think>\n\n{PLAIN}', Stage.FENCED),
    ("thinking without its start", f"so it is Ann.</think>{PLAIN}", Stage.FENCED),
    ("leading prose", f"Here is the object:\n{PLAIN}", Stage.EMBEDDED),
    ("trailing prose", f"{PLAIN}\nLet me know if you need more.", Stage.EMBEDDED),
    ("prose round a fence", f"Sure!\n```json\n{PLAIN}\n```\nDone.", Stage.EMBEDDED),
    ("one object given twice", f"{PLAIN}\n\n{PLAIN}", Stage.EMBEDDED),
    ("a placeholder in the prose", f"Filling in {{customer}}: {PLAIN}", Stage.EMBEDDED),
    ("one brace too many", PLAIN + "}", Stage.EMBEDDED),
    ("trailing commas", '{"customer": "Ann", "versions": [1, 2,], "note": null,}', Stage.REPAIRED),
    ("single quotes", "{'customer': 'Ann', 'versions': [1, 2], 'note': null}", Stage.REPAIRED),
    ("Python's words", "{'customer': 'Ann', 'versions': [1, 2], 'note': None}", Stage.REPAIRED),
    ("bare keys", '{customer: "Ann", versions: [1, 2], note: null}', Stage.REPAIRED),
    ("a missing comma", '{"customer": "Ann" "versions": [1, 2], "note": null}', Stage.REPAIRED),
    ("curly quotes", "{“customer”: “Ann”, “versions”: [1, 2], “note”: null}", Stage.REPAIRED),
    ("NaN", '{"customer": "Ann", "versions": [1, 2], "note": NaN}', Stage.REPAIRED),
    ("trailing comma in a fence", '```json\n{"customer":"Ann","versions":[1,2],"note":null,}\n```', Stage.REPAIRED),
]


@pytest.mark.parametrize(("text", "stage"), [row[1:] for row in SAVED], ids=[row[0] for row in SAVED])
def test_broken_answers_are_saved_by_their_stage(text, stage):
    """Each kind of almost-JSON gives the object, by the stage the rule names, and reads the same again."""
    assert read_object(text) == Found(VALUE, stage)
    assert reread_object(text) == VALUE


LOST = [
    ("nothing", "", "empty", False),
    ("only thinking", "<think>hm</think>", "no JSON object", False),
    ("prose", "I cannot help with that.", "no JSON object", False),
    ("an array", f"[{PLAIN}]", "a JSON array", False),
    ("a string", json.dumps(PLAIN), "a JSON string", False),
    ("a number", "12", "a bare JSON value", False),
    ("two different objects", f'{PLAIN} or {{"customer": "Bob"}}', "2 different JSON objects", False),
    ("a key with two values", '{"a": 1, "a": 2}', 'the key "a" appears twice', False),
    ("a key with two values that Python takes for one", '{"a": 1, "a": true}', 'the key "a" appears twice', False),
    ("a nested key with two values", '{"b": {"a": 1, "a": 2}}', 'the key "a" appears twice', False),
    ("a key with two values in a fence", '```\n{"a": 1, "a": 2}\n```', 'the key "a" appears twice', False),
    ("cut in a string", '{"customer": "An', "not closed", True),
    ("cut after a whole inner object", '{"inner": {"a": 1}, "customer": "An', "not closed", True),
    ("cut second object", f'{PLAIN} {{"customer"', "not closed", True),
    ("cut in a fence", '```json\n{"customer": "Ann",', "not closed", True),
    ("a number beyond floats", '{"a": 1e999}', "not valid JSON", False),
    ("a comment, which a repair would drop", '{"a": 1 // or 2\n}', "not valid JSON", False),
    ("two strings, of which a repair would drop one", '{"a": "x" "y"}', "not valid JSON", False),
    ("deeper than any parser goes", '{"a":' * 100_000 + "1" + "}" * 100_000, "", False),
]


@pytest.mark.parametrize(("text", "words", "cut"), [row[1:] for row in LOST], ids=[row[0] for row in LOST])
def test_other_answers_are_not_guessed(text, words, cut):
    """What has no one reading, or is cut off, is refused with the reason."""
    found = read_object(text)
    assert isinstance(found, NoObject)
    assert words in found.message
    assert found.cut is cut


@pytest.mark.parametrize("text", [row[1] for row in SAVED if row[2] is not Stage.STRICT])
def test_an_answer_that_reached_its_limit_counts_only_as_a_whole(text):
    """When the provider says `length`, nothing but complete JSON is taken."""
    found = read_object(text, complete=False)
    assert isinstance(found, NoObject)
    assert found.cut
    assert read_object(PLAIN, complete=False) == Found(VALUE, Stage.STRICT)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9999, 9999) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1, max_size=4), VALUES, min_size=1, max_size=4), st.data())
def test_no_truncated_object_is_ever_accepted(value, data):
    """However an object's text is cut, what is left is never taken for an answer."""
    text = json.dumps(value, ensure_ascii=False)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    assert isinstance(read_object(cut), NoObject)


@given(st.text(alphabet="{}[]\"':,\\ab1 .\n-", max_size=40))
def test_reading_any_text_twice_gives_the_same(text):
    """The rule never raises, and a text that was accepted is read again as the same object."""
    found = read_object(text)
    if isinstance(found, Found):
        assert reread_object(text) == found.value


def test_lone_surrogates_become_replacement_characters():
    """Half an emoji, escaped, would break Arrow and SQLite later on."""
    found = read_object('{"a": "x\\ud83d", "\\udc00": ["\\ud83d\\ude00"]}')
    assert found == Found({"a": "x\ufffd", "\ufffd": ["😀"]}, Stage.STRICT)
