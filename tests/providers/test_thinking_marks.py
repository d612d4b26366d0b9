"""The marks of thinking that models leave in a text: what is thinking, what is the answer, and how long it takes."""

from __future__ import annotations

import pytest

from batchgen.providers.thinking import outside_thinking, split_thinking
from tests.linear import check_linear

MARKED = {
    "Qwen, DeepSeek, GLM": "<think>\nhm\n</think>\n\nYes",
    "only the end": "hm\n</think>\n\nYes",
    "only the end, in a line": "hm</think>Yes",
    "capitals": "<THINK>hm</THINK>Yes",
    "Seed": "<seed:think>hm</seed:think>Yes",
    "MiniMax": "<mm:think>hm</mm:think>Yes",
    "Magistral": "[THINK]hm[/THINK]Yes",
    "Kimi": "◁think▷hm◁/think▷Yes",
    "EXAONE": "<thought>\nhm\n</thought>\nYes",
    "Hunyuan": "<think>\nhm\n</think>\n<answer>\nYes\n</answer>",
    "Ernie": "<think>\nhm\n</think>\n\n<response>\nYes\n</response>\n",
    "Cohere": "<|START_THINKING|>hm<|END_THINKING|><|START_RESPONSE|>Yes<|END_RESPONSE|>",
    "Gemma": "<|channel>hm<channel|>Yes",
    "Granite": "Here is my thought process: hm Here is my response: Yes",
    "Sky": "<|begin_of_thought|>hm<|end_of_thought|><|begin_of_solution|>Yes<|end_of_solution|>",
    "gpt-oss": "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Yes<|return|>",
    "gpt-oss without its first mark": "hm<|end|><|start|>assistant<|channel|>final<|message|>Yes",
    "gpt-oss with a format": "<|channel|>analysis<|message|>hm<|end|><|channel|>final <|constrain|>json<|message|>Yes",
    "gpt-oss without marks": "analysishmassistantfinalYes",
    "two blocks": "<think></think>\n<think>hm</think>Yes",
}


@pytest.mark.parametrize("text", MARKED.values(), ids=list(MARKED))
def test_thinking_is_taken_out_of_the_text(text):
    """Whatever marks a model has for it: the answer alone is the answer."""
    assert split_thinking(text, None, "stop") == ("Yes", "hm")
    answer, ended = outside_thinking(text)
    assert ended
    assert "hm" not in answer
    assert "Yes" in answer


def test_thinking_may_speak_of_its_own_mark():
    """The last mark ends it, unless the answer only mentions one."""
    assert split_thinking("<think>it ends with </think> then\n</think>\nYes", None, "stop") == (
        "Yes",
        "it ends with </think> then",
    )
    text = "<think>hm</think>Write `</think>` at the end."
    assert split_thinking(text, None, "stop") == ("Write `</think>` at the end.", "hm")
    assert split_thinking("Write `</think>` at the end.", None, "stop") == ("Write `</think>` at the end.", None)


@pytest.mark.parametrize(
    "text", ["<think>hm", "[THINK]hm", "◁think▷hm", "<seed:think>hm", "<|channel|>analysis<|message|>hm"]
)
@pytest.mark.parametrize("end", ["stop", "length", None])
def test_thinking_without_an_end_is_no_answer(text, end):
    """What a model tries out is in `reasoning`; there is no answer."""
    assert split_thinking(text, None, end) == ("", "hm")


def test_a_word_of_xml_is_thinking_where_it_closes_or_was_cut():
    """An answer may be written in tags of its own."""
    assert split_thinking("<thinking>hm", None, "stop") == ("<thinking>hm", None)
    assert split_thinking("<thinking>hm", None, "length") == ("", "hm")
    assert outside_thinking("Well <thinking>hm") == ("Well ", False)


PIECES = [
    "<think></think>",
    "<think>",
    "</think>",
    "a</think> ",
    "<|channel|>",
    "<|channel|>a<|message|>",
    "<answer>",
    "[THINK]",
    "< ",
    "\n",
]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("head", ["", "<think>", "<think>x</think>", "here is my thought process:"])
def test_the_time_is_linear_in_the_length(head, piece):
    """Twice the text takes twice the time."""
    check_linear(lambda length: split_thinking(head + piece * (length // len(piece)), None, "stop"))
    check_linear(lambda length: outside_thinking(head + piece * (length // len(piece))))
