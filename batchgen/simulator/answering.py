"""What the model makes of a call, the same whether it came live or as a line of a batch."""

from __future__ import annotations

import msgspec

from batchgen.simulator.answers import SimulatedAnswer, compose, text_of
from batchgen.simulator.calls import Call
from batchgen.simulator.rules import Problem
from batchgen.simulator.settings import Settings


def unacceptable(call: Call, settings: Settings, trait: str | None) -> Problem | None:
    """Return why the content of a call is refused; None if it is not."""
    if settings.poison is not None and any(
        settings.poison in text_of(message.get("content")) for message in call.messages
    ):
        return Problem(400, "InvalidParameter", "The input is not acceptable to the model.", "messages")
    if trait == "content_filter" and call.wire not in ("openai", "anthropic"):
        return Problem(400, "DataInspectionFailed", "Input text data may contain inappropriate content.")
    return None


def answers_to(call: Call, settings: Settings, trait: str | None, blemish: str) -> list[SimulatedAnswer]:
    """Return one answer for each choice that a call asks for."""
    answers = [
        compose(
            call.messages,
            seed=settings.seed + choice,
            response_format=call.response_format,
            tools=call.tools,
            tool_choice=call.tool_choice,
            max_tokens=call.max_tokens,
            stop=call.stop,
            answer_tokens=settings.answer_tokens,
            thinking_budget=call.thinking_budget,
            cut=trait is not None,
            blemish=blemish,
        )
        for choice in range(call.n)
    ]
    if trait == "content_filter":
        return [msgspec.structs.replace(answer, finish_reason="content_filter") for answer in answers]
    return answers


def request_id_of(digest: int, number: int) -> str:
    """Return the id of a request, from the hash of its body and its number."""
    hexed = f"{digest:016x}"
    return f"{hexed[:8]}-{hexed[8:12]}-4{hexed[13:]}-8000-{number:012x}"
