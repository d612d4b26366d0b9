"""Thinking: in whatever field or tag it comes, it is in `reasoning` and the answer is without it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.providers.thinking import split_thinking
from batchgen.values import Completion

from .samples import read

FIELDS = {
    "reasoning_content": {"reasoning_content": "hm"},
    "reasoning": {"reasoning": "hm"},
    "an empty field before a filled one": {"reasoning_content": "", "reasoning": "hm"},
    "both fields": {"reasoning_content": "hm", "reasoning": "hm"},
    "details": {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
    "a summary": {"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]},
    "details beside the text": {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
    "thinking": {"thinking": "hm"},
    "blocks": {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}]},
    "parts": {
        "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Yes"}]
    },
    "parts of other types": {"content": [{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "Yes"}]},
    "tags": {"content": "<think>\nhm\n</think>\n\nYes"},
    "the closing tag only": {"content": "hm\n</think>\n\nYes"},
    "another tag": {"content": "<thought>hm</thought>Yes"},
    "brackets": {"content": "[THINK]hm[/THINK]Yes"},
    "tags and a field": {"content": "<think>hm</think>Yes", "reasoning": "hm"},
}  # fmt: skip


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", FIELDS)
def test_thinking_is_told_apart_from_the_answer(name: str, stream: bool) -> None:
    """In a message and in a delta."""
    message = {"content": "Yes"} | FIELDS[name]
    choice = {"index": 0, "finish_reason": "stop", "delta" if stream else "message": message}
    body = msgspec.json.encode({"choices": [choice]})
    outcome = read("openai", b"data: " + body + b"\n\n" if stream else body, stream=stream)
    assert isinstance(outcome, Completion)
    assert (outcome.text, outcome.reasoning) == ("Yes", "hm")


def test_thinking_that_was_cut_off_is_no_answer() -> None:
    """Only where the end says so: a model that forgets the closing tag has still answered."""
    assert split_thinking("<think>hm", None, "length") == ("", "hm")
    assert split_thinking("<think>hm", None, "stop") == ("<think>hm", None)


@pytest.mark.parametrize(
    "text",
    ["Write </think> to end it.", "Yes <think>no</think>", "<thoughts>x", "a < think>", "<b>x</b>", "<reasoning/>x"],
)
def test_tags_that_an_answer_speaks_of_stay(text: str) -> None:
    """Only what stands at the beginning is thinking."""
    assert split_thinking(text, None, "stop") == (text, None)


@given(st.text(), st.text(), st.none() | st.text(min_size=1))
def test_no_letter_of_an_answer_is_lost(thought: str, answer: str, field: str | None) -> None:
    """What stands behind the thinking is the answer, but for the blanks between."""
    text, reasoning = split_thinking(f"<think>{thought}</think>{answer}", field, "stop")
    assert text == f"{thought}</think>{answer}".partition("</think>")[2].lstrip()
    assert field is None or (reasoning is not None and field in reasoning)
