"""Answers are a function of the prompt and the seed."""

from __future__ import annotations

import json

import pytest

from batchgen.simulator import count_input_tokens, count_tokens, expected_answer
from batchgen.simulator.answers import compose

LABELS = """Answer with exactly one label from the list: the label alone, in lower case.

Labels:
- billing: charges, invoices, refunds
- bug: something that should work does not: crashes, errors
- other: none of these
"""
EXAMPLE = """Note what the email says. Answer with one JSON object with exactly these keys:
{"customer": "who writes", "software_version": "such as 1.0", "error_code": "alone",
 "problem": "one sentence", "operating_system": "with version", "details": "what else"}"""
EMAIL = """From: Jane Miller <jane@example.com>
Subject: Export crashes

Dear team,
since Monday the export crashes with error ERR-2007 in Acme Desk 4.2.1 on Windows 11.
I have restarted the machine twice and attached the log files.

Kind regards,
Jane Miller
"""


def system(text, user):
    return [{"role": "system", "content": text}, {"role": "user", "content": user}]


def test_the_same_prompt_gets_the_same_answer_and_others_another():
    """Answers depend on the last user message and the seed, and on nothing else."""
    assert expected_answer("one") == expected_answer([{"role": "user", "content": "one"}])
    assert len({expected_answer(f"row {i}") for i in range(1000)}) == 1000
    assert expected_answer("one", seed=1) != expected_answer("one", seed=2)


def test_lengths_are_spread():
    """Prose has a lognormal length round `answer_tokens`."""
    lengths = sorted(count_tokens(expected_answer(f"row {i}", answer_tokens=100)) for i in range(2000))
    assert 90 < lengths[1000] < 120
    assert lengths[100] < 60
    assert lengths[1900] > 200


@pytest.mark.parametrize(("text", "tokens"), [("", 1), ("abcd", 1), ("abcde", 2), ("天气好", 3), ("\ud800" * 5, 2)])
def test_tokens_are_four_bytes_each(text, tokens):
    """One token for every four bytes of UTF-8 begun."""
    assert count_tokens(text) == tokens


def test_input_tokens_are_contents_and_overheads():
    """5 tokens a message, 3 for the reply; parts of a list count, a missing content does not."""
    assert count_input_tokens(system("abcd", "abcd")) == 5 + 1 + 5 + 1 + 3
    assert count_input_tokens([{"role": "user", "content": [{"text": "ab"}, {"text": "cd"}]}]) == 9
    assert count_input_tokens([{"role": "assistant", "content": None}]) == 8


def test_max_tokens_and_stop_cut_the_answer():
    """A cut answer says `length`; a stop string ends it in order."""
    whole = expected_answer("hello", answer_tokens=100)
    cut = compose([{"role": "user", "content": "hello"}], seed=0, answer_tokens=100, max_tokens=5)
    assert (cut.finish_reason, count_tokens(cut.text), cut.output_tokens) == ("length", 5, 5)
    assert whole.startswith(cut.text)
    assert expected_answer("hello", answer_tokens=100, stop=[":"]) == whole.split(":")[0]


@pytest.mark.parametrize(
    ("text", "label"), [("You charged me twice!", "billing"), ("It crashes", "bug"), ("refund please", "billing")]
)
def test_a_listed_label_is_chosen_by_its_words(text, label):
    """The label whose name or explanation shares words with the text."""
    assert expected_answer(system(LABELS, text)) == label


@pytest.mark.parametrize("text", ["Labels: red, green, blue", 'Answer with one of: "red", "green" or "blue".'])
def test_labels_in_one_line(text):
    """A list behind a colon is a list of labels; without shared words the hash decides, over all of them."""
    assert {expected_answer(system(text, f"row {i}")) for i in range(50)} == {"red", "green", "blue"}
    assert expected_answer(f"{text}\nThe sky is blue today") == "blue"


def test_an_example_object_is_filled_from_the_email():
    """Keys that say what they are get what the email says."""
    filled = json.loads(expected_answer(system(EXAMPLE, EMAIL)))
    assert filled["customer"] == "Jane Miller"
    assert filled["software_version"] == "Acme Desk 4.2.1"
    assert filled["error_code"] == "ERR-2007"
    assert filled["operating_system"] == "Windows 11"
    assert "crashes" in filled["problem"]
    assert "restarted" in filled["details"]


def test_what_the_email_does_not_say_is_null():
    """An example's strings describe, they are no values."""
    filled = json.loads(expected_answer(system(EXAMPLE, "Hello?")))
    assert filled["error_code"] is None
    assert filled["operating_system"] is None


def test_json_without_any_hint_is_still_an_object():
    """json_object always gives an object; keys may be listed by name."""
    form = {"type": "json_object"}
    assert isinstance(json.loads(expected_answer("Give json", response_format=form)), dict)
    listed = json.loads(expected_answer(system("Reply in JSON. Keys: `name`, `email`", EMAIL)))
    assert listed == {"name": "Jane Miller", "email": "jane@example.com"}


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find_order",
            "description": "Look up an order by its number.",
            "parameters": {
                "type": "object",
                "properties": {"order_number": {"type": "integer"}},
                "required": ["order_number"],
            },
        },
    },
    {"type": "function", "function": {"name": "service_status", "description": "State of a hosted region."}},
]


def test_a_tool_is_called_when_the_text_speaks_of_it():
    """auto calls the tool that shares a word; a demanded tool is called always; none never."""
    assert json.loads(expected_answer("Where is my order 4711?", tools=TOOLS)) == {"order_number": 4711}
    call = compose([{"role": "user", "content": "Which region is down?"}], seed=0, tools=TOOLS)
    assert (call.finish_reason, call.tool_calls[0].name, call.text) == ("tool_calls", "service_status", "")
    assert expected_answer("Hi", tools=TOOLS) == expected_answer("Hi")
    named = {"type": "function", "function": {"name": "service_status"}}
    assert expected_answer("Hi", tools=TOOLS, tool_choice=named) == "{}"
    assert expected_answer("Where is my order 4711?", tools=TOOLS, tool_choice="none").startswith("Answer")


def test_a_tool_result_is_answered_in_prose():
    """After a tool message the conversation goes on in words."""
    messages = [{"role": "user", "content": "my order"}, {"role": "tool", "tool_call_id": "1", "content": "sent"}]
    assert expected_answer(messages, tools=TOOLS).startswith("Answer")


def test_a_huge_prompt_is_answered_soon():
    """10 MB of text, labels or JSON-like braces do not stall."""
    for text in ("{" * 10_000_000, "label: " * 1_400_000, " " * 10_000_000, "json {" + "a@" * 5_000_000):
        assert expected_answer(text)


def test_several_labels_are_a_json_list_of_those_that_the_text_speaks_of():
    """Asked for those that apply; none is an answer too."""
    system = (
        'Answer with a JSON list of those of these labels that apply, and nothing else: ["billing", "bug", "praise"]'
    )
    for text, labels in (("The billing page has a bug.", ["billing", "bug"]), ("Where are you?", [])):
        asked = [{"role": "system", "content": system}, {"role": "user", "content": text}]
        assert json.loads(expected_answer(asked)) == labels
