"""Streamed tool calls: whole, each with its own name and arguments, whatever servers make of index and id."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.providers.tool_calls import ToolCalls, tool_names


def piece(index="", id="", name=None, arguments=None):
    """Return a piece; "" leaves index or id out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    call = {"type": "function", "function": function}
    if index != "":
        call["index"] = index
    if id != "":
        call["id"] = id
    return call


def joined(*frames):
    """Return name and arguments of each call that the frames add up to."""
    calls = ToolCalls()
    for frame in frames:
        calls.add(frame)
    return [(call["function"].get("name"), call["function"].get("arguments")) for call in calls.whole(lambda: TOOLS)]


TOOLS = ("look", "now", "then", "loop", "no")
OSLO, LIMA = '{"town":"Oslo"}', '{"town":"Lima"}'
TWO = [("look", OSLO), ("look", LIMA)]
STREAMS = {
    "by index": ([piece(0, "a", "look", ""), piece(0, "", None, OSLO), piece(1, "b", "look", LIMA)], TWO),
    "pieces of two in turn": (
        [piece(0, "a", "look", ""), piece(1, "b", "look", ""), piece(0, "", None, OSLO), piece(1, "", None, LIMA)],
        TWO,
    ),
    "one index, own ids": ([piece(0, "a", "look", OSLO), piece(0, "b", "look", LIMA)], TWO),
    "one index, empty ids": ([piece(0, None, "look", OSLO), piece(0, None, "look", LIMA)], TWO),
    "no index": ([piece("", "a", "look", OSLO), piece("", "b", "look", LIMA)], TWO),
    "null index": ([piece(None, "a", "look", OSLO), piece(None, "b", "look", LIMA)], TWO),
    "one index, id only at first": (
        [piece(0, "a", "look", ""), piece(0, "", None, OSLO), piece(0, "b", "look", ""), piece(0, "", None, LIMA)],
        TWO,
    ),
    "one index, id in each piece": (
        [piece(0, "a", "look", ""), piece(0, "a", None, OSLO), piece(0, "b", "look", ""), piece(0, "b", None, LIMA)],
        TWO,
    ),
    "one index, ids in turn": (
        [piece(0, "a", "look", ""), piece(0, "b", "look", ""), piece(0, "a", None, OSLO), piece(0, "b", None, LIMA)],
        TWO,
    ),
    "the same id under two indexes": ([piece(0, "a", "look", OSLO), piece(1, "a", "look", LIMA)], TWO),
    "a new id without a name": ([piece(0, "a", "look", '{"town":'), piece(0, "x", None, '"Oslo"}')], TWO[:1]),
    "arguments under an index of their own": (
        [piece(0, "a", "look", ""), piece(1, "", None, '{"town":'), piece(2, "", None, '"Oslo"}')],
        TWO[:1],
    ),
    "the name in pieces": ([piece(0, "a", "lo", ""), piece(0, "", "ok", ""), piece(0, "", None, OSLO)], TWO[:1]),
    "the name that grows": ([piece(0, "a", "lo", ""), piece(0, "a", "look", ""), piece(0, "a", None, OSLO)], TWO[:1]),
    "the name in each piece": ([piece(0, "a", "look", '{"town":'), piece(0, "a", "look", '"Oslo"}')], TWO[:1]),
    "the name in each piece, no id": ([piece(0, "", "look", '{"town":'), piece(0, "", "look", '"Oslo"}')], TWO[:1]),
    "the id before the name": (
        [piece(0, "a"), piece(0, "", "look", OSLO), piece(1, "b"), piece(1, "", "look", LIMA)],
        TWO,
    ),
    "the name before the id": ([piece(0, "", "look", ""), piece(0, "a", "look", OSLO)], TWO[:1]),
    "arguments as an object": ([piece(0, "a", "look", {"town": "Oslo"})], TWO[:1]),
    "the whole call once more": ([piece(0, "a", "look", OSLO), piece(0, "a", "look", OSLO)], TWO[:1]),
    "the name in two pieces, no id": ([piece(0, "", "lo"), piece(0, "", "ok"), piece(0, "", None, OSLO)], TWO[:1]),
    "the name in three pieces, no index": (
        [piece("", "", "l"), piece("", "", "oo"), piece("", "", "k", ""), piece("", "", None, OSLO)],
        TWO[:1],
    ),
    "the last piece of a name with the arguments": ([piece(0, "a", "lo", ""), piece(0, "", "ok", OSLO)], TWO[:1]),
    "two names without id": ([piece(0, "", "now"), piece(0, "", "then")], [("now", ""), ("then", "")]),
    "a name that begins another one": ([piece(0, "", "no"), piece(0, "", "now")], [("no", ""), ("now", "")]),
    "the name that grows, no id": ([piece(0, "", "lo"), piece(0, "", "look"), piece(0, "", None, OSLO)], TWO[:1]),
    "a new id in each piece": ([piece(0, "a", "look", '{"town"'), piece(0, "b", "look", ':"Oslo"}')], TWO[:1]),
    "the whole call once more, no id": (
        [piece(0, "a", "look", '{"town":'), piece(0, "", None, '"Oslo"}'), piece(0, "", "look", OSLO)],
        TWO[:1],
    ),
    "an empty object first": (
        [piece(0, "a", "look", "{}"), piece(0, "", None, '{"town":'), piece(0, "", None, '"Oslo"}')],
        TWO[:1],
    ),
    "an empty object last": ([piece(0, "a", "look", OSLO), piece(0, "", None, "{}")], TWO[:1]),
    "arguments that grow": (
        [piece(0, "a", "look", '{"to'), piece(0, "a", "look", '{"town":'), piece(0, "a", "look", OSLO)],
        TWO[:1],
    ),
    "cut arguments stay as they are": ([piece(0, "a", "look", "{}"), piece(0, "", None, '{"to')], [("look", '{}{"to')]),
    "two without arguments": ([piece(0, "a", "now", ""), piece(0, "b", "then", "")], [("now", ""), ("then", "")]),
}


@pytest.mark.parametrize("name", STREAMS)
def test_each_call_is_whole(name):
    """Piece by piece as servers send them; a frame with all pieces at once where they have an index."""
    pieces, expected = STREAMS[name]
    assert [(call[0], call[1] or "") for call in joined(*([one] for one in pieces))] == expected


def test_calls_of_one_frame_are_told_apart_by_their_place():
    """Two calls in a list without index, and their arguments in the next one."""
    frames = (
        [piece("", "a", "look", ""), piece("", "b", "look", "")],
        [piece("", "", None, OSLO), piece("", "", None, LIMA)],
    )
    assert joined(*frames) == TWO


def test_whole_calls_replace_pieces():
    """A message that holds all calls is taken as it is, each entry a call of its own."""
    calls = ToolCalls()
    calls.add([piece(0, "a", "look", '{"to')])
    calls.replace([piece(0, None, "look", OSLO), piece(0, None, "look", LIMA), "no call"])
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in calls.whole()] == TWO


@given(st.data())
def test_any_cut_of_the_arguments_gives_the_same_calls(data):
    """However the texts are cut, and wherever index and id are repeated or missing, as long as names come once."""
    texts = [json.dumps({"t": data.draw(st.text(max_size=12))}) for _ in range(data.draw(st.integers(1, 3)))]
    one_index = data.draw(st.booleans())
    frames = []
    for number, text in enumerate(texts):
        index = 0 if one_index else number
        frames.append([piece(index, f"c{number}", f"f{number}", "")])
        size = data.draw(st.integers(1, 6))
        for begin in range(0, len(text), size):
            id = data.draw(st.sampled_from(["", None, f"c{number}"]))
            frames.append([piece(index, id, None, text[begin : begin + size])])
    assert [arguments for _, arguments in joined(*frames)] == [json.dumps(json.loads(text)) for text in texts]


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["index", "id", "function", "name", "arguments", "type"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(st.lists(st.lists(JSONISH, max_size=3), max_size=4))
def test_no_piece_raises(frames):
    """Any JSON value in the place of a piece, or of a member of one."""
    calls = ToolCalls()
    for frame in frames:
        calls.add(frame)
    json.dumps(calls.whole())


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b'{"tools":[{"type":"function","function":{"name":"look"}},{"name":"now"},7]}', {"look", "now"}),
        (b'{"parameters":{"tools":[{"type":"function","function":{"name":"look"}}]}}', {"look"}),
        (b'{"tools":{"name":"look"}}', set()),
        (b"[1]", set()),
        (b"no", set()),
    ],
)
def test_the_tools_that_a_request_offers(body, names):
    """Of each wire format; whatever else stands there has none."""
    assert tool_names(body) == names
