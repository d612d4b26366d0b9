"""JSON Schema as libraries and vendors write it → draft 2020-12 with an object at the top.

- OpenAI's `response_format`, and what it wraps, give the schema inside.
- `definitions`, a list under `items`, `nullable` and `example` (older drafts, OpenAPI) are written in today's words.
- A list or a map at the top (pydantic's root models) becomes the only property of an object, since providers ask for an
  object there and a table needs a name for the column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MAPS = ("properties", "$defs", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties", "not", "contains", "propertyNames", "contentSchema")
_DEEPEST = 200


def adapted(document: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return the schema in today's words, and the name of the property for what stood at its top, if it needs one."""
    for _ in range(3):
        inner = document.get("json_schema", document.get("schema"))
        if not isinstance(inner, Mapping) or "properties" in document or "$ref" in document:
            break
        document = inner
    schema = _today(document, 0)
    name = _wrapper(schema)
    if name is None:
        return schema, None
    top = {key: schema.pop(key) for key in ("$schema", "$id", "$defs") if key in schema}
    top |= {"type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": False}
    return top, name


def _wrapper(schema: Mapping[str, Any]) -> str | None:
    """Return the name of the property that a list or map at the top needs; None for other schemas."""
    top: Any = schema
    for _ in range(10):
        ref = top.get("$ref")
        if not isinstance(ref, str) or not ref.startswith("#/$defs/"):
            break
        top = schema.get("$defs", {}).get(ref.removeprefix("#/$defs/"), {})
        if not isinstance(top, Mapping):
            return None
    if top.get("type") == "array":
        return "items"
    free = isinstance(top.get("additionalProperties"), Mapping) or "patternProperties" in top
    return "values" if top.get("type") == "object" and not top.get("properties") and free else None


def _today(schema: Any, depth: int) -> Any:
    """Return a schema, with all below it, in the words of draft 2020-12."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return schema
    found = {name: value for name, value in schema.items() if name not in ("example", "nullable", "definitions")}
    if isinstance(schema.get("definitions"), Mapping):
        found["$defs"] = {**schema["definitions"], **found.get("$defs", {})}
    if isinstance(found.get("items"), list):
        found["prefixItems"] = found.pop("items")
        if "additionalItems" in found:
            found["items"] = found.pop("additionalItems")
    ref = found.get("$ref")
    if isinstance(ref, str) and ref.startswith("#/definitions/"):
        found["$ref"] = "#/$defs/" + ref.removeprefix("#/definitions/")
    if "patternProperties" in found:
        found.setdefault("additionalProperties", False)  # a column has one type, which other keys would not keep to
    for name in _MAPS:
        if isinstance(found.get(name), Mapping):
            found[name] = {key: _today(value, depth + 1) for key, value in found[name].items()}
    for name in _LISTS:
        if isinstance(found.get(name), list):
            found[name] = [_today(value, depth + 1) for value in found[name]]
    for name in _SCHEMAS:
        if name in found:
            found[name] = _today(found[name], depth + 1)
    return _with_null(found) if schema.get("nullable") is True else found


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if kind is None or "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    types = kind if isinstance(kind, list) else [kind]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return {**schema, "type": types if "null" in types else [*types, "null"]}
