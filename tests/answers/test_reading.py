"""Broken answers: what each stage of the reading rule saves, and what is never accepted."""

import ast
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.answers.reading import Found, NoObject, Stage, object_in, read_object, reread_object
from tests.linear import check_linear

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
    ("a list of one object", f"[{PLAIN}]", Stage.EMBEDDED),
    ("a list of one object in a fence", f"```json\n[{PLAIN}]\n```", Stage.EMBEDDED),
    ("a list of one object in prose", f"As asked: [{PLAIN}]", Stage.EMBEDDED),
    ("thinking after a greeting", f'Sure. <think>{{"customer": "Bob"}}?</think>{PLAIN}', Stage.EMBEDDED),
    ("thinking in brackets", f'[THINK]{{"customer": "Bob"}}?[/THINK]{PLAIN}', Stage.FENCED),
    (
        "thinking in a channel",
        f'<|channel|>analysis<|message|>{{"a": 1}}?<|end|><|channel|>final<|message|>{PLAIN}',
        Stage.FENCED,
    ),
    ("encoded twice", json.dumps(PLAIN), Stage.EMBEDDED),
    ("encoded three times, in a fence", f"```json\n{json.dumps(json.dumps(PLAIN))}\n```", Stage.EMBEDDED),
    ("SQL's words", '{"customer": "Ann", "versions": [1, 2], "note": NULL}', Stage.REPAIRED),
    ("Chinese commas and colons", '{"customer"："Ann"，"versions"：[1，2]，"note"：null}', Stage.REPAIRED),
    ("trailing commas", '{"customer": "Ann", "versions": [1, 2,], "note": null,}', Stage.REPAIRED),
    ("single quotes", "{'customer': 'Ann', 'versions': [1, 2], 'note': null}", Stage.REPAIRED),
    ("Python's words", "{'customer': 'Ann', 'versions': [1, 2], 'note': None}", Stage.REPAIRED),
    ("Python's tuples", "{'customer': 'Ann', 'versions': (1, 2), 'note': None}", Stage.REPAIRED),
    ("Python's list of one", "[{'customer': 'Ann', 'versions': [1, 2], 'note': None}]", Stage.REPAIRED),
    ("Python's quotes", "{\"customer\": 'Ann', 'versions': [1, 2], \"note\": None}", Stage.REPAIRED),
    ("three quotes", '{"customer": """Ann""", "versions": [1, 2], "note": None}', Stage.REPAIRED),
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
    assert reread_object(text) == object_in(text) == VALUE


LOST = [
    ("nothing", "", "empty", False),
    ("only thinking", "<think>hm</think>", "no answer after", False),
    ("prose", "I cannot help with that.", "no JSON object", False),
    ("a draft in thinking that does not end", f"<think>Perhaps {PLAIN}, or Bob", "has no end", True),
    ("a draft in thinking after a greeting", f"Well. <think>Perhaps {PLAIN}", "has no end", True),
    ("a draft in unclosed brackets", f"[THINK]Perhaps {PLAIN}", "has no end", True),
    ("a draft in a channel", f"<|channel|>analysis<|message|>Perhaps {PLAIN}", "no answer after", False),
    ("a draft before a late end", f"Perhaps {PLAIN}?\n</think>\nI give up.", "no JSON object", False),
    ("several objects in an array", f'[{PLAIN}, {{"customer": "Bob"}}]', "a JSON array of 2", False),
    ("a missing value", '{"a": }', "not valid JSON", False),
    ("undefined", '{"a": undefined}', "not valid JSON", False),
    ("infinity", '{"a": Infinity}', "not valid JSON", False),
    ("a bare word", '{"a": yes}', "not valid JSON", False),
    ("an apostrophe in single quotes", "{'a': 'it's'}", "not valid JSON", False),
    ("quotes in quotes", '{"a": "say "hi" now"}', "not valid JSON", False),
    ("quotes in quotes that look like a key", '{"a": "see "log: 5, "b": 1}', "not valid JSON", False),
    ("quotes in quotes that touch", '{"a": "see ""log": 5}', "not valid JSON", False),
    ("an escape of nobody's", '{"a": "C:\\dir"}', "not valid JSON", False),
    ("an object in a damaged one", '"a": {"b": 1}, "c": 2}', "inside another", False),
    ("a brace too many, which may be any", '{"a": {"b": {}}}, "c": 2}}', "inside another", False),
    ("a brace too many after nested objects", '{"a": {"b": 1}}}', "inside another", False),
    ("an object in a list of a damaged one", '"a": [null, {"b": 1}]}', "inside another", False),
    ("the last object in a damaged one", '"c": 2, "a": {"b": 1}}', "inside another", False),
    ("objects that Python takes for one", 'x {"a": 1} y {"a": true}', "2 different", False),
    ("an object and almost another", "{'a': 1} or {\"a\": 2}", "2 different", False),
    ("braces without end", "{x} " * 500, "more than 100 pairs", False),
    ("deeper than a reader may go", '{"a":' + "[" * 150 + "]" * 150 + "}", "deeper than 100", False),
    ("a string", json.dumps("Ann"), "a JSON string", False),
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
    ("an object before the end of a string", '{"a": "]:]"}[b/"}', "inside another", False),
    ("an object beside a damaged one", "{'} {5: False}", "inside another", False),
    ("an object before more ends of lists", "{'[:{#': \"[}', '{[/': [-39, '\"},\n/5#', []]}", "inside another", False),
    ("deeper than any parser goes", '{"a":' * 100_000 + "1" + "}" * 100_000, "", False),
]


@pytest.mark.parametrize(("text", "words", "cut"), [row[1:] for row in LOST], ids=[row[0] for row in LOST])
def test_other_answers_are_not_guessed(text, words, cut):
    """What has no one reading, or is cut off, is refused with the reason."""
    found = read_object(text)
    assert isinstance(found, NoObject)
    assert words in found.message
    assert found.cut is cut
    assert object_in(text) is None


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


def test_a_python_literal_is_read_as_one():
    """Colons, commas, quotes and braces inside its strings are text."""
    for value in (
        {"details": 'see "log", line: 5'},
        {"a": "x, y :", "b": "z"},
        {"a": "x } y", "b": ["{", '"', "it's", "\\", "\n\x07é\U0001f600"]},
        {"a": True, "b": None, "c": (1, -2.5, ()), "d": {}},
    ):
        found = read_object(repr(value))
        assert isinstance(found, Found)
        assert found.value == json.loads(json.dumps(value))


@given(st.dictionaries(st.text(min_size=1, max_size=6), VALUES, min_size=1, max_size=4))
def test_python_prints_what_is_read(value):
    """What `print` writes of any object is that object, as `ast.literal_eval` says too."""
    found = read_object(repr(value))
    assert isinstance(found, Found)
    assert found.value == ast.literal_eval(repr(value))


MARKS = ["<think>", "</think>", "[THINK]", "<thinking>", "<analysis>", "< think >", "<|START_THINKING|>", "<unused94>"]


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("written", [json.dumps, repr], ids=["json", "python"])
@pytest.mark.parametrize(
    "round_it", ["{}", "```json\n{}\n```", "Here it is: {}", "{}\nDone.", "<think>Hm.</think>{}", "{}\n\n{}"]
)
def test_a_mark_of_thinking_in_a_value_is_text(mark, written, round_it):
    """Values may speak of marks; only those outside objects are the model's."""
    for text in (mark, f"a {mark} b", f"{mark}{{"):
        value = {"html": text, "list": [{"b": text}]}
        found = read_object(round_it.replace("{}", written(value)))
        assert isinstance(found, Found)
        assert found.value == value


@pytest.mark.parametrize(
    "name", ["think", "cot", "ponder", "analysis", "thought_process", "inner_monologue", "longcat_think", "unused94"]
)
def test_thinking_has_many_names(name):
    """With blanks in the mark too; without an end there is no answer, whatever was tried out."""
    closing = "<unused95>" if name == "unused94" else f"</{name}>"
    assert object_in(f'<{name}>Perhaps {{"a": 2}}{closing}\n{{"a": 1}}') == {"a": 1}
    for opening in (f"<{name}>", f"<{name.upper()}>"):
        found = read_object(f'{opening}\nPerhaps {{"a": 2}}')
        assert isinstance(found, NoObject)
        assert found.cut
    if name != "unused94":
        assert object_in(f'< {name} >Perhaps {{"a": 2}}</ {name} >\n{{"a": 1}}') == {"a": 1}
        assert object_in(f'<{name} effort="low">Perhaps {{"a": 2}}</{name}>{{"a": 1}}') == {"a": 1}


WORDS = st.text(alphabet="ab ,:'\"{}[]\\/#\n5", max_size=8)
DAMAGED = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def _leaves(value, path=()):
    """Yield (path of keys, text) of the leaves that are not empty."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, path)
    elif value not in (None, ""):
        yield path, json.dumps(value)


@settings(max_examples=1000)
@given(st.dictionaries(WORDS, DAMAGED, min_size=1, max_size=3), st.booleans(), st.data())
def test_a_repair_invents_and_moves_nothing(value, python, data):
    """Whatever sign of structure is lost or doubled: what is accepted has no leaf but the object's own, in place."""
    text = repr(value) if python else json.dumps(value, ensure_ascii=False)
    signs = _structure(text)
    place = data.draw(st.sampled_from(signs))
    sign = data.draw(st.sampled_from(["", text[place] * 2, "'", '"']))
    found = read_object(text[:place] + sign + text[place + 1 :])
    if isinstance(found, Found):
        assert set(_leaves(found.value)) <= set(_leaves(value))


def _structure(text):
    """Where the signs stand that are structure and not content: brackets, commas, colons and quotes round strings."""
    signs, place = [], 0
    while place < len(text):
        if text[place] in "\"'":
            end = place + 1
            while text[end] != text[place]:
                end += 2 if text[end] == "\\" else 1
            signs += [place, end]
            place = end
        elif text[place] in "{}[],:":
            signs.append(place)
        place += 1
    return signs


LONG = {
    "braces": "{",
    "pairs of braces": "{}",
    "objects": "{a:1}",
    "keys": '{"a":',
    "Python's keys": "{'a':",
    "pairs": "{'a':'b',",
    "quotes": '{"a":"\\"',
    "apostrophes": "{,'",
    "brackets": "[",
    "blanks in a fence": "```\n  ",
    "fences": "```",
    "thinking": "<think>",
    "marks in values": "{'a': '<think>'}",
    "marks with blanks": "<   ",
    "ends of thinking": "a</think>",
    "channels": "<|channel|>a<|message|>",
    "channels without end": "<|channel|>",
    "blanks after thinking": "<think></think>  ",
    "answers": "<think></think><answer>",
    "commas and blanks": "{, \t",
}


@pytest.mark.parametrize("piece", LONG.values(), ids=list(LONG))
@pytest.mark.parametrize("head", ["", "{", "```\n", "<think>x</think>"])
def test_the_time_is_linear_in_the_length(head, piece):
    """Twice the text takes twice the time, whatever it is made of."""
    check_linear(lambda length: read_object(head + piece * (length // len(piece))))
    check_linear(lambda length: read_object(head + piece * (length // len(piece)) + '"}'))
