"""The quick reader of usual replies says what the general one says, or nothing."""

from __future__ import annotations

import copy
import itertools

import msgspec
import pytest

from batchgen.providers.dashscope_native import SHAPE as NATIVE
from batchgen.providers.openai_chat import SHAPE as CHAT
from batchgen.providers.reader import Exchange, read_any, read_exchange
from batchgen.providers.vendors.dashscope import ERRORS as DASHSCOPE_ERRORS
from batchgen.values import Completion, Request, Response

from .samples import BODIES, NOW

FORMATS = {"native": NATIVE, "chat": CHAT}
USUAL = {
    "native": ["facts-message.json", "s1-message-http.json", "s1-message-multi-turn.json", "s2-message-http.json"],
    "chat": [
        "facts-compatible.json",
        "facts-vllm-reasoning.json",
        "s1-compatible-http.json",
        "s2-compatible-http.json",
    ],
}

ANYTHING = [
    None, "", "stop", "null", "None", "error", "200", "chat.completion", 0, 1, -1, 200, 401, 1.5, 3.0, 2**63 - 1, 2**63,
    True, False, [], [None], [{"type": "text", "text": "Blue"}], {}, {"message": "no", "code": "X", "name": "f"},
    {"cached_tokens": 3, "reasoning_tokens": 4}, {"cached_tokens": None, "cache_write_tokens": 5},
    {"cache_creation_input_tokens": None, "cache_write_tokens": 5}, {"cached_tokens": "3"},
    [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
]  # fmt: skip
MESSAGE = "role content reasoning_content reasoning refusal tool_calls function_call audio"
CHOICE = "message delta finish_reason index logprobs stop_reason"
COUNTS = "input_tokens prompt_tokens output_tokens completion_tokens total_tokens prompt_cache_hit_tokens"
DETAILS = "prompt_tokens_details input_tokens_details output_tokens_details completion_tokens_details"
TOP = "output choices usage model request_id requestId request_Id id object error code status_code message detail"


def usual(form):
    choices = [{"finish_reason": "stop", "message": {"role": "assistant", "content": "Blue"}}]
    native = {"output": {"choices": choices}, "usage": {"input_tokens": 24, "output_tokens": 1}, "request_id": "r"}
    chat = {"choices": choices, "usage": {"prompt_tokens": 24, "completion_tokens": 1}, "id": "i", "model": "m"}
    return native if form == "native" else chat


def variations(form):
    """Yield the usual document with each member that a reader knows, in turn, being each of `ANYTHING`."""
    inside = ["output"] if form == "native" else []
    choice = [*inside, "choices", 0]
    places = [
        ([], TOP),
        (inside, "choices choise text finish_reason"),
        (choice, CHOICE),
        ([*choice, "message"], MESSAGE),
        (["usage"], f"{COUNTS} {DETAILS}"),
    ]
    for path, names in places:
        for name in names.split():
            for value in ANYTHING:
                document = usual(form)
                member = document
                for step in path:
                    member = member[step]
                member[name] = copy.deepcopy(value)
                yield f"{path} {name} = {value!r}", document
    for one, other in itertools.permutations(f"{COUNTS} {DETAILS}".split(), 2):
        for value in (None, {}, 7, {"cached_tokens": 3, "reasoning_tokens": 4}):
            for beside in (8, {"cached_tokens": 0}, {"reasoning_tokens": 5, "cache_write_tokens": 6}):
                document = usual(form)
                document["usage"] |= {one: value, other: beside}
                yield f"{one} = {value!r} and {other} = {beside!r}", document
    for more in ANYTHING:
        document = usual(form)
        (document["output"] if inside else document)["choices"].append(more)
        yield f"another choice: {more!r}", document


def exchange(body, status=200, headers=None):
    request = Request("https://host/v1", b"{}", {}, model="qwen-plus")
    return Exchange(request, Response(status, headers or {}, body), DASHSCOPE_ERRORS, "qwen-plus", NOW)


@pytest.mark.parametrize(
    "headers", [{}, {"x-request-id": "h", "x-ratelimit-limit-requests": "60"}], ids=["bare", "ids"]
)
@pytest.mark.parametrize("form", FORMATS)
def test_both_readers_agree(form, headers):
    """Whatever stands in one place of the document, the answer is the general reader's."""
    shape = FORMATS[form]
    for what, document in variations(form):
        asked = exchange(msgspec.json.encode(document), headers=headers)
        assert read_exchange(asked, shape) == read_any(asked, shape), what


@pytest.mark.parametrize("form", FORMATS)
def test_both_readers_agree_on_odd_spellings(form):
    """Keys that come twice or are spelt with escapes, texts that are not UTF-8, and what is no document at all."""
    shape = FORMATS[form]
    body = msgspec.json.encode(usual(form))
    bodies = [
        b'{"error":{"message":"no"},' + body[1:],
        body[:-1] + b',"\\u0065rror":{"message":"no"}}',
        body[:-1] + b',"usage":{},"usage":{"input_tokens":7}}',
        body[:-1] + b',"x":"\xff"}',
        body[:-1] + b',"x":1e999,"y":NaN}',
        body.replace(b"Blue", b"\xff"),
        body.replace(b"Blue", b"\\ud800"),
        b"\xef\xbb\xbf" + body,
        b" \n" + body + b" ",
        body + b"}",
        b"[" + body + b"]",
        b"data:" + body + b"\n\n",
        b"[" * 5000,
        b"",
    ]
    for odd in bodies:
        asked = exchange(odd)
        assert read_exchange(asked, shape) == read_any(asked, shape), odd


@pytest.mark.parametrize(("form", "file"), [(form, file) for form, files in USUAL.items() for file in files])
def test_what_the_pages_show_as_usual_is_read_quickly(form, file):
    """The vendors' sample replies fit the types, so the general reader is not needed for them."""

    def general(document, index=0):
        raise AssertionError("the general reader was asked")

    shape = msgspec.structs.replace(FORMATS[form], find_choice=general)
    found = read_exchange(exchange((BODIES / file).read_bytes()), shape)
    assert isinstance(found, Completion)


@pytest.mark.parametrize("status", [199, 201, 299, 302, 400, 500])
def test_only_status_200_is_usual(status):
    """An answer under any other status is the general reader's to judge."""
    body = (BODIES / "facts-message.json").read_bytes()
    assert read_exchange(exchange(body, status), NATIVE) == read_any(exchange(body, status), NATIVE)
