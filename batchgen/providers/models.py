"""What a Qwen model's name tells about how it must be called. Facts of the vendor, kept as patterns in one place.

Sources: https://docs.qwencloud.com/api-reference/chat/dashscope and
https://docs.qwencloud.com/api-reference/preparation/error-messages (2026). An unknown name gets the plain treatment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Vision, audio and document models, and the vision-capable Plus and Flash lines from Qwen3.5 on.
_MULTIMODAL = re.compile(
    r"(?:^|[-/])(?:vl|ocr|omni|audio|qvq)(?:[-.\d]|$)|qvq|qwen[\d.]*-(?:vl|omni|audio)|qwen(?:3\.[5-9]|[4-9](?:\.\d)?)-(?:plus|flash)"
)
_THINKING_ONLY = re.compile(r"^(?:qwq|qvq)|-thinking\b")
_OPEN_QWEN3 = re.compile(r"^qwen3-(?:next-)?\d+(?:\.\d+)?b")
_ALWAYS_STREAMED = re.compile(r"^(?:qwq|qvq)|omni")
# On by default: Qwen3.5 and later, and open-source Qwen3 without "instruct".
_THINKS_BY_DEFAULT = re.compile(r"^qwen(?:3\.[5-9]|[4-9])")
_NEVER_THINKS = re.compile(r"^qwen(?:1\.5|2|2\.5)?-\d|^qwen(?:1\.5|2|2\.5)-|-instruct\b|^qwen3-coder")
_ONLY_INCREMENTAL = re.compile(r"^qwen(?:3\.[5-9]|[4-9])")


def is_multimodal(model: str) -> bool:
    """Whether the native API serves this model under `multimodal-generation`, with `content` as a list."""
    return _MULTIMODAL.search(model.lower()) is not None


def thinks_only(model: str) -> bool:
    """Whether the model refuses `enable_thinking = false`."""
    return _THINKING_ONLY.search(model.lower()) is not None


def never_thinks(model: str) -> bool:
    """Whether the model is known to have no thinking mode (400 `InvalidParameter.NotSupportEnableThinking`)."""
    return not thinks_only(model) and _NEVER_THINKS.search(model.lower()) is not None


def thinks_by_default(model: str) -> bool:
    """Whether the model thinks unless told not to."""
    name = model.lower()
    open_qwen3 = _OPEN_QWEN3.match(name) is not None and "-instruct" not in name
    return open_qwen3 or thinks_only(name) or _THINKS_BY_DEFAULT.match(name) is not None


def is_thinking(model: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a call with these parameters thinks; a value that comes from the row counts as yes."""
    if thinks_only(model):
        return True
    return bool(parameters.get("enable_thinking", thinks_by_default(model)))


def streams_only(model: str, parameters: Mapping[str, Any]) -> bool:
    """Whether the model is known to refuse unstreamed calls: QwQ, QVQ, Omni, and open Qwen3 while thinking."""
    name = model.lower()
    if _ALWAYS_STREAMED.search(name):
        return True
    return _OPEN_QWEN3.match(name) is not None and "-instruct" not in name and is_thinking(name, parameters)


def needs_increments(model: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a streamed native call must have `incremental_output = true`: while thinking, always from Qwen3.5 on."""
    return _ONLY_INCREMENTAL.match(model.lower()) is not None or is_thinking(model, parameters)
