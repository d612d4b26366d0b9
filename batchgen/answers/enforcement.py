"""How a provider is asked for JSON.

- `json_schema`: the provider holds the model to the schema (`response_format`).
- `json_object`: the provider holds it to JSON; the schema stands in the instruction.
- `tool`: a forced call of a function whose parameters are the schema.
- `instruction`: the text alone, which every model takes.

Each vendor has a table of the tightest means that its models are known to have (`Vendor.means`); `response.means`, or a
`response_format` in `model.parameters`, wins over it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct

from batchgen.answers.strict import strict_schema
from batchgen.errors import JobError
from batchgen.providers.vendor import Means, Vendor
from batchgen.providers.vendors import vendor_of

TOOL = "answer"
"""The name of the schema, and of the function of `means = "tool"`."""


class Target(Struct, frozen=True, kw_only=True):
    """The provider, model and parameters of `[model]` in the job. `model` None: each row names its own."""

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


def thinks(target: Target) -> bool:
    """Whether the target is known to think before it answers."""
    return target.model is not None and _vendor(target).thinks(target.model, target.parameters)


def choose_means(target: Target) -> Means:
    """Return the best means; where the row names the model, only the instruction is sure to work."""
    return "instruction" if target.model is None else _vendor(target).json_means(target.model, target.parameters)


def _vendor(target: Target) -> Vendor:
    return vendor_of(target.provider, target.base_url)


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
    shows_schema = means == "tool" or (strict and _vendor(target).shows_schema)
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
