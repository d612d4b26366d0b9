"""JSON Schema as libraries and vendors write it → draft 2020-12 with an object at the top.

- OpenAI's `response_format`, and what it wraps, and the tools of vendors give the schema inside.
- `definitions`, `components`, a list under `items`, `nullable`, `example`, `exclusiveMinimum: true` (older drafts,
  OpenAPI) and types in capital letters (Gemini) are rewritten in the terms of draft 2020-12; an `allOf` of objects
  becomes one object.
- A list or a map at the top (pydantic's root models) becomes the only property of an object, since providers ask for an
  object there and a table needs a name for the column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MAPS = ("properties", "$defs", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMAS = ("items", "additionalProperties", "not", "contains", "propertyNames", "contentSchema")
_WRAPPERS = ("response_format", "format", "json_schema", "schema", "function", "input_schema", "parameters")
_TYPED = {"type", "$ref", "allOf", "anyOf", "oneOf", "enum", "const"}
_TYPES = ("OBJECT", "ARRAY", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "NULL")
_OF_AN_OBJECT = {"type", "properties", "required", "additionalProperties", "title", "description", "$ref", "allOf"}
_DEEPEST = 200


def adapted(document: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return the schema in draft 2020-12, and the name of the property for what stood at its top, if it needs one."""
    for _ in range(4):
        inner = next((document[name] for name in _WRAPPERS if isinstance(document.get(name), Mapping)), None)
        if inner is None or "properties" in document or "$ref" in document:
            break
        document = inner
    components = document.get("components")
    if isinstance(components, Mapping) and isinstance(components.get("schemas"), Mapping):
        document = {**document, "$defs": {**components["schemas"], **document.get("$defs", {})}}
        document.pop("components")
    schema = _upgraded(document, 0)
    if "properties" in schema and not _TYPED & schema.keys():
        schema["type"] = "object"
    schema = _merged(schema, schema, 0)
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


def _upgraded(schema: Any, depth: int) -> Any:
    """Return a schema, with all below it, in the terms of draft 2020-12."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return schema
    found = {name: value for name, value in schema.items() if name not in ("example", "nullable", "definitions")}
    if isinstance(schema.get("definitions"), Mapping):
        found["$defs"] = {**schema["definitions"], **found.get("$defs", {})}
    if isinstance(found.get("items"), list):
        found["prefixItems"] = found.pop("items")
        if "additionalItems" in found:
            found["items"] = found.pop("additionalItems")
    if found.get("type") in _TYPES:
        found["type"] = found["type"].lower()
    for name, strict in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(found.get(strict), bool) and found.pop(strict) and name in found:  # draft 4
            found[strict] = found.pop(name)
    ref = found.get("$ref")
    for place in ("#/definitions/", "#/components/schemas/"):
        if isinstance(ref, str) and ref.startswith(place):
            found["$ref"] = "#/$defs/" + ref.removeprefix(place)
    if "patternProperties" in found:
        found.setdefault("additionalProperties", False)  # a column has one type, which other keys would not keep to
    for name in _MAPS:
        if isinstance(found.get(name), Mapping):
            found[name] = {key: _upgraded(value, depth + 1) for key, value in found[name].items()}
    for name in _LISTS:
        if isinstance(found.get(name), list):
            found[name] = [_upgraded(value, depth + 1) for value in found[name]]
    for name in _SCHEMAS:
        if name in found:
            found[name] = _upgraded(found[name], depth + 1)
    return _with_null(found) if schema.get("nullable") is True else found


def _merged(schema: Any, root: Mapping[str, Any], depth: int) -> Any:
    """Return a schema, with all below it, in which an `allOf` of several plain objects is one object."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return schema
    found = dict(schema)
    for name in _MAPS:
        if isinstance(found.get(name), Mapping):
            found[name] = {key: _merged(value, root, depth + 1) for key, value in found[name].items()}
    for name in _LISTS:
        if isinstance(found.get(name), list):
            found[name] = [_merged(value, root, depth + 1) for value in found[name]]
    for name in _SCHEMAS:
        if name in found:
            found[name] = _merged(found[name], root, depth + 1)
    own = {name: found[name] for name in ("type", "properties", "required", "additionalProperties") if name in found}
    several = len(found.get("allOf", ())) + bool(own.keys() - {"type"}) > 1
    one = _one_object([own, *found["allOf"]], root) if several and "$ref" not in found else None
    if one is None:
        return found
    return {name: value for name, value in found.items() if name not in ("allOf", *own)} | one


def _one_object(parts: list[Any], root: Mapping[str, Any], refs: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """Return the object that has the properties of all parts; None where they are no plain objects of their own."""
    properties: dict[str, Any] = {}
    required: dict[str, None] = {}
    closed = False
    for part in parts:
        found = _plain_object(part, root, refs)
        if found is None or properties.keys() & found.get("properties", {}).keys():
            return None
        closed = closed or found.get("additionalProperties") is False  # its author means: nothing but all of these
        properties |= found.get("properties", {})
        required |= dict.fromkeys(found.get("required", ()))
    if not properties:
        return None
    one: dict[str, Any] = {"type": "object", "properties": properties, "required": list(required)}
    return one | {"additionalProperties": False} if closed else one


def _plain_object(part: Any, root: Mapping[str, Any], refs: tuple[str, ...]) -> Mapping[str, Any] | None:
    """Return one part of an `allOf` without references; None where it is more than an object with properties."""
    ref = part.get("$ref") if isinstance(part, Mapping) else None
    if isinstance(ref, str):
        if ref in refs or not ref.startswith("#/"):
            return None
        target: Any = root
        for step in ref[2:].split("/"):
            target = target.get(step) if isinstance(target, Mapping) else None
        return _one_object([target], root, (*refs, ref))
    plain = isinstance(part, Mapping) and part.keys() <= _OF_AN_OBJECT and part.get("type", "object") == "object"
    if not plain or part.get("additionalProperties", True) not in (True, False):
        return None
    if "allOf" not in part:
        return part  # type: ignore[no-any-return]  # a mapping, as `plain` says
    return _one_object([{name: value for name, value in part.items() if name != "allOf"}, *part["allOf"]], root, refs)


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if kind is None or "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    types = kind if isinstance(kind, list) else [kind]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    return {**schema, "type": types if "null" in types else [*types, "null"]}
