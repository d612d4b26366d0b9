"""A long stream is kept as small as its answer, and means the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from batchgen.providers import ModelSettings, open_provider
from batchgen.transport.stream_body import StreamBody
from batchgen.values import Prompt, Response


def frame(delta, **more):
    choice = {"index": 0, "delta": delta, "finish_reason": None} | more
    return b"data: " + json.dumps({"id": "c", "created": 1, "choices": [choice], "usage": None}).encode() + b"\n\n"


def cumulative(text, reason="null"):
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason}
    usage = {"input_tokens": 3, "output_tokens": len(text)}
    line = json.dumps({"output": {"choices": [choice]}, "usage": usage, "request_id": "r"}).encode()
    return b"id:1\nevent:result\n:HTTP_STATUS/200\ndata:" + line + b"\n\n"


END = frame({}, finish_reason="stop") + b"data: [DONE]\n\n"
CALL = {"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}
LONG = "".join(f"{number} green bottles, " for number in range(400))
STREAMS = {
    "pieces": [frame({"role": "assistant", "content": ""}), *(frame({"content": f"{n} "}) for n in range(500)), END],
    "thinking, then text": [
        *(frame({"content": None, "reasoning_content": f"{n}? "}) for n in range(200)),
        *(frame({"content": f"{n}! ", "reasoning_content": None}) for n in range(200)),
        END,
    ],
    "a rule of dashes": [*(frame({"content": "-" * 20}) for _ in range(200)), END],
    "repeated by chat completions": [*(frame({"content": LONG[: 9 * n]}) for n in range(1, 300)), END],
    "a tool call": [
        frame({"tool_calls": [CALL]}),
        *(frame({"tool_calls": [{"index": 0, "function": {"arguments": f'"{n}"'}}]}) for n in range(200)),
        frame({}, finish_reason="tool_calls"),
    ],
    "an error in the middle": [
        *(frame({"content": "a"}) for _ in range(100)),
        b'data: {"error":{"message":"gone","code":500}}\n\ndata: [DONE]\n\n',
    ],
    "cut": [*(frame({"content": "a"}) for _ in range(100)), frame({"content": "b"})[:-9]],
    "logprobs": [
        *(frame({"content": "a"}, logprobs={"content": [{"token": "a", "logprob": -n}]}) for n in range(50)),
        END,
    ],
    "no stream at all": [json.dumps({"choices": [{"message": {"content": LONG}, "finish_reason": "stop"}]}).encode()],
    "comments": [b": keep-alive\n\n" * 500, frame({"content": "a"}), b": keep-alive\n\n" * 500, END],
}  # fmt: skip
NATIVE = {
    "cumulative": [*(cumulative(LONG[: 9 * n]) for n in range(1, 400)), cumulative(LONG, "stop")],
    "an error frame": [
        *(cumulative(LONG[: 9 * n]) for n in range(1, 100)),
        b'id:9\nevent:error\n:HTTP_STATUS/429\ndata:{"code":"Throttling","message":"slow down"}\n\n',
    ],
}


def meaning(form, body):
    parameters = {"incremental_output": False} if form == "dashscope" else {}
    provider = open_provider(
        form, ModelSettings(name="m", base_url="http://host/v1", parameters=parameters), lambda: 0.0
    )
    request = provider.build_request(Prompt(messages=[{"role": "user", "content": "?"}]), stream=True)
    return provider.read_response(request, Response(200, {}, body))


@pytest.mark.parametrize(
    ("form", "name"), [*(("openai", name) for name in STREAMS), *(("dashscope", name) for name in NATIVE)]
)
@pytest.mark.parametrize("step", [1, 7, 4096, 10**9])
def test_what_is_put_together_means_the_same(form, name, step):
    """In whatever pieces the bytes come."""
    body = b"".join((STREAMS if form == "openai" else NATIVE)[name])
    stream = StreamBody()
    for begin in range(0, len(body), step):
        stream.add(body[begin : begin + step])
    together = stream.whole()
    found, expected = meaning(form, together), meaning(form, body)
    if name == "cut":  # the message quotes the beginning
        found, expected = (structs.replace(outcome, message="") for outcome in (found, expected))
    assert found == expected
    assert len(together) <= len(body) + 100


@pytest.mark.parametrize(
    ("frames", "answer"),
    [
        ((frame({"content": "word "}) for _ in range(20_000)), 5 * 20_000),
        ((cumulative("word " * n) for n in range(1_000)), 5 * 1_000),
    ],
    ids=["pieces", "cumulative"],
)
def test_only_the_answer_is_held(frames, answer):
    """Not the 150 bytes round each token, nor the text once for each of its tokens."""
    stream, most, wire = StreamBody(), 0, 0
    for one in frames:
        stream.add(one)
        wire += len(one)
        most = max(most, stream.size)
    assert wire > 20 * answer
    assert answer <= len(stream.whole())
    assert most < 2 * answer + 200_000


@given(st.lists(st.text(max_size=6), max_size=8), st.lists(st.integers(0, 60), max_size=4))
def test_any_pieces_come_out_as_they_would_have(pieces, cuts):
    """Wherever the bytes are cut, and whatever the texts are."""
    body = b"".join(frame({"content": piece}) for piece in pieces) + END
    stream, begin = StreamBody(), 0
    for size in [*cuts, len(body)]:
        stream.add(body[begin : begin + size])
        begin += size
    assert meaning("openai", stream.whole()) == meaning("openai", body)
