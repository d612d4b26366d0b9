"""All answers of a row that took several, its votes and those that were repaired, as they are shown to a person."""

from __future__ import annotations

import json
from typing import Any

from batchgen.storage.result_schema import TURNS_COLUMN
from batchgen.text.figures import latency


def turns_of(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (title, text) for each answer of a row and what belongs to it; none where the row took one answer.

    `values` are the row's columns.
    """
    kept = values.get(TURNS_COLUMN.name)
    if not kept:
        return []
    turns = json.loads(kept)
    shown: list[tuple[str, str]] = []
    for number, turn in enumerate(turns, 1):
        name = f"answer {number} of {len(turns)}"
        if "reasoning" in turn:
            shown.append((f"{name}: thinking", turn["reasoning"]))
        shown.append((", ".join([name, *_about(turn)]), turn.get("answer", turn.get("tool_calls", ""))))
        if "answer" in turn and "tool_calls" in turn:
            shown.append((f"{name}: tool calls", turn["tool_calls"]))
        if "problem" in turn:
            shown.append((f"{name}: why it was not taken", turn["problem"]))
    return shown


def _about(turn: dict[str, Any]) -> list[str]:
    """Return what is known of an answer beside its text."""
    told = [f"vote {turn['vote']}"] if "vote" in turn else []
    told += [f"label {turn['label']}"] if "label" in turn else []
    told += [f"ended by {turn['finish_reason']}"] if turn.get("finish_reason", "stop") != "stop" else []
    told += [f"{turn[name]:,} {name.removesuffix('_tokens')} tokens" for name in _TOKENS if name in turn]
    return [*told, latency(turn["latency_ms"])] if "latency_ms" in turn else told


_TOKENS = ("input_tokens", "output_tokens")
