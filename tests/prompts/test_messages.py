"""Conversations from a column: structs or JSON text, roles checked, nulls dropped."""

import json

import pytest

from batchgen.prompts.messages import read_history, read_messages
from batchgen.prompts.template import PromptError

CALL = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize("form", [lambda value: value, json.dumps])
def test_a_conversation(form):
    """All roles in a sound order, with text and parts, as structs and as JSON."""
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        CALL,
        {"role": "tool", "content": "42", "tool_call_id": "1"},
    ]
    assert read_messages(form(messages), "m") == messages


def test_null_fields_are_dropped():
    """An Arrow struct has all fields in all rows; the null ones are not sent."""
    parts = [{"type": "text", "text": "hi", "image": None}]
    assert read_messages([{"role": "user", "content": parts, "name": None}], "m") == [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    ]


def test_an_answer_to_be_continued():
    """An assistant message may come last if it is marked as the beginning of the answer."""
    last = {"role": "assistant", "content": "It is", "partial": True}
    assert read_messages([USER, last], "m")[-1] == last


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, 'column "m" is null'),
        ("", 'column "m" is not valid JSON'),
        ('[{"role"', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("{}", "holds no list"),
        (7, "holds no list"),
        ([], "holds no messages"),
        ([None], "message 1 is no object"),
        ([{"content": "x"}], 'message 1 has the role "None"'),
        ([{"role": "robot", "content": "x"}], 'role "robot"; known are system'),
        ([USER, {"role": "system", "content": "x"}], "message 2 has the role system, which only the first"),
        ([USER, {"role": "tool", "content": "x"}], "no tool_call_id"),
        ([{"role": "user", "content": None}], "message 1 has no content"),
        ([{"role": "user", "content": ["x"]}], "list of parts"),
        ([USER, {"role": "assistant"}, USER], "message 2 has no content"),
        ([USER, {"role": "assistant", "content": "x"}], 'last message has the role "assistant"'),
        ([{"role": "system", "content": "x"}], 'last message has the role "system"'),
        ([{"role": "user", "content": " \n"}], "the prompt is empty"),
        ([{"role": "user", "content": []}], "the prompt is empty"),
    ],
)
def test_faults(value, message):
    """Each fault is a sentence that names the column and the message."""
    with pytest.raises(PromptError, match=message) as caught:
        read_messages(value, "m")
    assert '"m"' in str(caught.value)


@pytest.mark.parametrize(
    "part",
    [
        {"image": "file:///etc/passwd"},
        {"type": "image_url", "image_url": {"url": "FILE:///etc/passwd"}},
        {"type": "image_url", "image_url": "/etc/passwd"},
        {"video": ["https://host.test/1.jpg", "../secret.jpg"]},
        {"audio": "~/secret.wav"},
        {"image": "C:\\secret.png"},
        {"type": "input_audio", "input_audio": {"data": "file:///secret.wav", "format": "wav"}},
    ],
)
def test_files_are_not_passed_on(part):
    """A row cannot make a server open a file: the message and the path are named."""
    with pytest.raises(PromptError, match=r"message 2 names the file '.*(passwd|secret).*https://"):
        read_messages([USER, {"role": "user", "content": [{"text": "look"}, part]}], "m")


@pytest.mark.parametrize(
    "part",
    [
        {"image": "https://host.test/a.png"},
        {"image": "oss://bucket/a.png"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,/9j/"}},
        {"type": "input_audio", "input_audio": {"data": "/" * 2000, "format": "mp3"}},
        {"video": ["https://host.test/1.jpg"]},
        {"type": "text", "text": "/etc/passwd and file:///x"},
    ],
)
def test_addresses_are_passed_on_as_they_are(part):
    """URLs, data in place, and whatever is only text."""
    messages = [{"role": "user", "content": [part]}]
    assert read_messages(messages, "m") == messages


def test_history():
    """Turns from structs or JSON; null and empty mean none; a broken turn is named."""
    turns = [{"user": "a", "bot": "b"}]
    assert read_history(turns, "h") == read_history(json.dumps(turns), "h") == turns
    assert read_history(None, "h") == read_history("", "h") == read_history([], "h") == []
    with pytest.raises(PromptError, match='column "h", turn 2 is no object'):
        read_history([*turns, {"user": "a", "bot": None}], "h")


def test_sharegpt():
    """ShareGPT's turns are messages; a tool's arguments that were written as null stay null in a row's own object."""
    turns = [{"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    assert read_messages([*turns, {"from": "human", "value": "r"}], "c")[-1] == {"role": "user", "content": "r"}
    assert read_messages(turns, "c", drop_last_answer=True) == messages
    with pytest.raises(PromptError, match="drop_last_answer"):
        read_messages(turns, "c")
    with pytest.raises(PromptError, match="nothing but answers"):
        read_messages(turns[2:], "c", drop_last_answer=True)


@pytest.mark.parametrize(("exact", "arguments"), [(True, {"a": None, "b": 1}), (False, {"b": 1})])
def test_nulls_in_arguments(exact, arguments):
    """Nulls of a row's own object stay in a call's arguments; those of an Arrow struct are only missing keys."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": None, "b": 1}}}
    given = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "t"},
    ]
    found = read_messages([{"role": "user", "content": "q", "name": None}, *given], "c", exact=exact)
    assert found[0] == {"role": "user", "content": "q"}
    assert found[1]["tool_calls"][0]["function"]["arguments"] == arguments


@pytest.mark.parametrize(
    "cell",
    [
        "[{'role': 'user', 'content': \"It's [here] (now)\"}]",
        "[{'content': \"It's [here] (now)\", 'role': 'user'}\n ]",
        '{"messages": [{"role": "user", "content": "It\'s [here] (now)"}]}',
        {"messages": [{"role": "user", "content": "It's [here] (now)"}], "tools": None},
    ],
)
def test_conversations_as_programs_print_them(cell):
    """A column of lists that pandas has written to CSV, and a whole line of a file for fine-tuning."""
    assert read_messages(cell, "messages") == [{"role": "user", "content": "It's [here] (now)"}]
