"""A schema in the subset that OpenAI's strict mode takes, where it has one.

There every property is required and no other is allowed, so what is optional becomes nullable; keywords outside the
subset are left out of this copy: the answer is validated against the schema as written.
https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# fmt: off
_KEPT = frozenset((
    "description", "title", "pattern", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "minItems", "maxItems",
))
# fmt: on
_FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"))


class _OutsideError(Exception):
    """The schema allows what strict mode cannot express: free keys, values of any type."""


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the schema for strict mode, or None if strict mode cannot hold what it allows."""
    try:
        found = _strict(schema)
        if "$defs" in schema:
            found["$defs"] = {name: _strict(inner) for name, inner in schema["$defs"].items()}
    except _OutsideError:
        return None
    return found if found.get("type") == "object" else None


def _strict(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        raise _OutsideError
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    if "allOf" in schema:
        return _strict(schema["allOf"][0])
    kept = {name: value for name, value in schema.items() if name in _KEPT}
    if schema.get("format") in _FORMATS:
        kept["format"] = schema["format"]
    if "enum" in schema or "const" in schema:
        kept["enum"] = schema.get("enum", [schema.get("const")])
        if "type" in schema:
            kept["type"] = schema["type"]
        return kept
    union = schema.get("anyOf", schema.get("oneOf"))
    if union is not None:
        kept["anyOf"] = [_strict(inner) for inner in union]
        return kept
    if "type" not in schema:
        raise _OutsideError
    kept["type"] = schema["type"]
    types = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    if "array" in types:
        kept["items"] = _strict(schema.get("items"))
    if "object" in types:
        properties = schema.get("properties")
        if not properties or schema.get("additionalProperties", False) is not False or "patternProperties" in schema:
            raise _OutsideError
        required = schema.get("required", ())
        kept["properties"] = {
            name: _strict(inner) if name in required else _nullable(_strict(inner))
            for name, inner in properties.items()
        }
        kept["required"] = list(properties)
        kept["additionalProperties"] = False
    return kept


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if kind == "null" or (isinstance(kind, list) and "null" in kind) or {"type": "null"} in schema.get("anyOf", ()):
        return schema
    return {"anyOf": [schema, {"type": "null"}]}
