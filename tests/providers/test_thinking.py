"""Thinking: in whatever field it comes, it is in `reasoning` and the answer is without it."""

from __future__ import annotations

import msgspec
import pytest

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
    "parts with a mark of their own": {"content": [{"text": "hm", "thought": True}, {"text": "Yes"}]},
    "Bedrock's parts": {"content": [{"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "Yes"}]},
    "thoughts": {"thoughts": "hm"},
    "camel case": {"reasoningContent": "hm"},
    "a summary by itself": {"reasoning_summary": "hm"},
    "tags": {"content": "<think>\nhm\n</think>\n\nYes"},
    "the closing tag only": {"content": "hm\n</think>\n\nYes"},
    "another tag": {"content": "<thought>hm</thought>Yes"},
    "blanks in the tags": {"content": "< think >hm</ think >Yes"},
    "an attribute in the tag": {"content": "<think effort='low'>hm</think>Yes"},
    "chain of thought": {"content": "<cot>hm</cot>Yes"},
    "brackets": {"content": "[THINK]hm[/THINK]Yes"},
    "tags and a field": {"content": "<think>hm</think>Yes", "reasoning": "hm"},
}  # fmt: skip


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", FIELDS)
def test_thinking_is_told_apart_from_the_answer(name, stream):
    """In a message and in a delta."""
    message = {"content": "Yes"} | FIELDS[name]
    choice = {"index": 0, "finish_reason": "stop", "delta" if stream else "message": message}
    body = msgspec.json.encode({"choices": [choice]})
    outcome = read("openai", b"data: " + body + b"\n\n" if stream else body, stream=stream)
    assert isinstance(outcome, Completion)
    assert (outcome.text, outcome.reasoning) == ("Yes", "hm")


@pytest.mark.parametrize(
    "text",
    [
        '{"html": "a</think>b"}',
        '```json\n{"html": "a</think>b"}\n```',
        '[{"html": "<think>"}]',
        "<analysis>a</analysis>b",
    ],
)
def test_marks_in_an_answer_stay(text):
    """A value that has a mark in it, and what a prompt may have asked for."""
    body = msgspec.json.encode({"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": text}}]})
    outcome = read("openai", body, stream=False)
    assert isinstance(outcome, Completion)
    assert (outcome.text, outcome.reasoning) == (text, None)
