"""How a provider is asked for JSON: the table from server and model to the tightest means that is known to work.

- `json_schema`: the provider holds the model to the schema (`response_format`).
- `json_object`: the provider holds it to JSON; the schema stands in the instruction.
- `tool`: a forced call of a function whose parameters are the schema.
- `instruction`: the text alone, which every model takes.

`response.means`, or a `response_format` in `model.parameters`, wins over the table. Sources:
https://platform.openai.com/docs/guides/structured-outputs (models from gpt-4o-2024-08-06 on),
https://www.alibabacloud.com/help/en/model-studio/json-mode (2026-03-27: json_object, not while thinking; json_schema
came and went, so it is left to the override), https://docs.qwencloud.com/api-reference/chat/dashscope (while thinking
tool_choice is auto or none), https://api-docs.deepseek.com/guides/json_mode, https://github.com/vllm-project/vllm.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from msgspec import Struct

from batchgen.answers.settings import Means
from batchgen.answers.strict import strict_schema
from batchgen.errors import JobError
from batchgen.providers import models
from batchgen.providers.openai_chat import is_dashscope

TOOL = "answer"
"""The name of the schema, and of the function of `means = "tool"`."""


class EnforcementRule(Struct, frozen=True):
    """One row of the table. `thinking`: only while the model thinks; the first row that fits decides."""

    server: str
    model: re.Pattern[str]
    means: Means
    thinking: bool = False


def _rule(server: str, model: str, means: Means, *, thinking: bool = False) -> EnforcementRule:
    return EnforcementRule(server, re.compile(model, re.IGNORECASE), means, thinking)


RULES = (
    _rule("dashscope", r"", "instruction", thinking=True),
    _rule("dashscope", r"^qwen(?:1\.5|2)?-(?:\d|moe)|-math|-coder|-mt-|omni|audio|^q[vw]q", "instruction"),
    _rule("dashscope", r"", "json_object"),
    _rule("openai", r"^o1-(?:mini|preview)", "instruction"),
    _rule("openai", r"^gpt-4(?:-0\d|-32k|$)", "tool"),
    _rule("openai", r"^gpt-3\.5|^gpt-4-|^gpt-4o-2024-05-13", "json_object"),
    _rule("openai", r"", "json_schema"),
    _rule("deepseek", r"", "json_object"),
    _rule("other", r"deepseek", "json_object"),  # a gateway before DeepSeek's API
    _rule("other", r"claude", "tool"),  # Anthropic's chat-completions form ignores response_format
    _rule("other", r"", "json_schema"),  # vLLM, llama.cpp, Ollama, LM Studio, most gateways
)


class Target(Struct, frozen=True, kw_only=True):
    """Who is asked, and with what: `[model]` of the job. `model` None: each row names its own."""

    provider: str
    base_url: str
    model: str | None = None
    parameters: Mapping[str, Any] = {}


class Shaping(Struct, frozen=True):
    """What a request needs to ask for the answer: `parameters` to merge into `model.parameters`, and the text.

    `instruction` goes to the end of the system message; None for none. `strict`: the provider holds the model to the
    whole schema.
    """

    means: Means
    parameters: Mapping[str, Any]
    instruction: str | None
    strict: bool = False


def server_of(target: Target) -> str:
    """Return the word under which the table knows the target's server."""
    if target.provider == "dashscope" or is_dashscope(target.base_url):
        return "dashscope"
    host = urlsplit(target.base_url).hostname or ""
    if host == "api.openai.com" or host.endswith(".openai.azure.com"):
        return "openai"
    return "deepseek" if host.endswith("deepseek.com") else "other"


_THINKERS = re.compile(
    r"^o\d|^gpt-(?:[5-9]|oss)|deepseek-(?:r\d|reasoner)|-r1\b|qwq|qvq|thinking|reason|magistral", re.IGNORECASE
)


def thinks(target: Target) -> bool:
    """Whether the target is known to think before it answers."""
    if target.model is None:
        return False
    if server_of(target) == "dashscope" and models.is_thinking(target.model, target.parameters):
        return True
    return _THINKERS.search(target.model.rpartition("/")[2]) is not None


def choose_means(target: Target) -> Means:
    """Return the best means; where the row names the model, only the instruction is sure to work."""
    if target.model is None:
        return "instruction"
    server = server_of(target)
    thinking = server == "dashscope" and models.is_thinking(target.model, target.parameters)
    for rule in RULES:
        if rule.server == server and (thinking or not rule.thinking) and rule.model.search(target.model):
            return rule.means
    raise AssertionError("the last row of every server fits all models")


def shape_request(schema: Mapping[str, Any], wanted: Means | None, target: Target, instruction: str | None) -> Shaping:
    """Return how to ask for an answer of `schema`; `wanted` is `response.means`, `instruction` the user's own text.

    Raises `JobError` where `model.parameters` asks for something else.
    """
    means = _agreed(wanted, target.parameters) or choose_means(target)
    added: dict[str, Any] = {}
    strict = False
    if means == "json_schema":
        subset = strict_schema(schema)
        strict = subset is not None
        form = {"name": TOOL, "strict": strict, "schema": schema if subset is None else subset}
        added["response_format"] = {"type": "json_schema", "json_schema": form}
    elif means == "json_object":
        added["response_format"] = {"type": "json_object"}
    elif means == "tool":
        function = {"name": TOOL, "description": "Give the answer.", "parameters": schema}
        added["tools"] = [{"type": "function", "function": function}]
        added["tool_choice"] = {"type": "function", "function": {"name": TOOL}}
    if "response_format" in target.parameters:  # the job's own, sent as it is
        added, strict = {}, False
    shows_schema = means == "tool" or (strict and server_of(target) == "openai")
    if instruction is None and not shows_schema:
        instruction = schema_instruction(schema)
    return Shaping(means, added, instruction or None, strict)


def schema_instruction(schema: Mapping[str, Any]) -> str:
    """Return the text that asks for JSON by words; servers that only constrain the output never show the schema."""
    shown = {name: value for name, value in schema.items() if name not in ("$schema", "$id", "$comment")}
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
    return (
        "Answer with one JSON object and nothing else: no prose, no code fence. "
        f"It must be valid against this JSON Schema:\n{text}"
    )


def _agreed(wanted: Means | None, parameters: Mapping[str, Any]) -> Means | None:
    """Return the means that the job names, in `response.means` or by the parameters it sends."""
    form = parameters.get("response_format")
    if form is None:
        if wanted == "tool" and ("tools" in parameters or "tool_choice" in parameters):
            raise JobError('response.means = "tool" needs model.parameters without tools and tool_choice.')
        return wanted
    kind = form.get("type") if isinstance(form, Mapping) else None
    if kind not in ("json_schema", "json_object"):
        raise JobError(
            f"model.parameters.response_format {form!r} does not go with [response]: leave it out, set response.means."
        )
    if wanted not in (None, kind):
        raise JobError(
            f"response.means is {wanted!r} and model.parameters.response_format says {kind!r}: leave one of them out."
        )
    return cast(Means, kind)
