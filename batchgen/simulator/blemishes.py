"""Defects of structured answers as models produce them: turns a good answer into a defective one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def blemished(blemish: str, text: str, labels: Sequence[str], number: int) -> str:
    """Return an answer with the defect `blemish`; `number` decides its place. Defects that do not apply change nothing.

    `labels` are those that the prompt lists, of which `text` may be one; otherwise it is the text of a JSON object.
    """
    if text in labels:
        return _label(blemish, text, labels, number)
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return _object(blemish, text, value, number) if isinstance(value, dict) and value else text


def _label(blemish: str, label: str, labels: Sequence[str], number: int) -> str:
    if blemish == "wrapped":
        return f"The text is best described as **{label}**."
    if blemish == "wrong_label":
        others = [other for other in labels if other != label]
        return others[number % len(others)]
    return label


def _object(blemish: str, text: str, value: Mapping[str, Any], number: int) -> str:
    match blemish:
        case "fenced":
            return f"```json\n{json.dumps(value, ensure_ascii=False, indent=2)}\n```"
        case "wrapped":
            return f"Sure! Here is what the text says:\n\n{text}\n\nLet me know if you need anything else."
        case "trailing_comma":
            return f"{text[:-1]},}}"
        case "single_quoted":
            return str(value)
        case "cut_json":
            return text[: max(1, len(text) * (2 + number % 7) // 9)]
        case "wrong_type" | "missing_field":
            name = list(value)[number % len(value)]
            rest = {key: item for key, item in value.items() if key != name}
            wrong = {**value, name: {"value": value[name]}}
            return json.dumps(rest if blemish == "missing_field" else wrong, ensure_ascii=False, separators=(",", ":"))
    return text
