"""Which keywords of JSON Schema the schema of an answer may use, and what to write in place of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from batchgen.answers.shape import pointer
from batchgen.errors import JobError
from batchgen.nearest import nearest

MERGE = "write the properties into one object"
REFUSED = {
    "$dynamicRef": "use $ref to #/$defs/...",
    "$dynamicAnchor": "use $ref to #/$defs/...",
    "$recursiveRef": "use $ref to #/$defs/...",
    "$anchor": "use $ref to #/$defs/...",
    "if": "use anyOf",
    "then": "use anyOf",
    "else": "use anyOf",
    "dependentSchemas": "use anyOf",
    "dependencies": "use dependentRequired or anyOf",
    "additionalItems": "use items",
    "unevaluatedItems": "use items",
    "unevaluatedProperties": "use additionalProperties",
}
# fmt: off
SHAPING = frozenset((
    "type", "enum", "const", "properties", "required", "additionalProperties", "items", "anyOf", "oneOf", "format",
    "$ref", "allOf", "prefixItems", "patternProperties",
))
"""The keywords that decide a type."""

_KNOWN = SHAPING | frozenset(REFUSED) | frozenset((
    "$schema", "$id", "$defs", "$comment", "$vocabulary", "title", "description", "default", "examples", "deprecated",
    "readOnly", "writeOnly", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength",
    "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "contains", "maxContains", "minContains",
    "maxProperties", "minProperties", "dependentRequired", "propertyNames", "not", "contentEncoding",
    "contentMediaType", "contentSchema",
))
# fmt: on
_DEEPEST = 64  # levels; Parquet readers give up long before a person would write so many


def check_keywords(schema: Any, path: str, refusal: Callable[[str, str], JobError]) -> None:
    """Raise what `refusal` makes of (JSON pointer, text) for keywords that change types in unsupported ways, and for
    near misses of known ones, anywhere in `schema`; `path` is where it stands.
    """
    if not isinstance(schema, Mapping):
        return
    if path.count("/") > 2 * _DEEPEST:
        raise refusal(path, f"nested deeper than {_DEEPEST} levels")
    for name, value in schema.items():
        here = f"{path}/{pointer(name)}"
        if name in REFUSED:
            raise refusal(here, f"{name} is not supported: {REFUSED[name]}")
        if name == "$id" and path:
            raise refusal(here, "an $id inside the schema is not supported: use $ref to #/$defs/...")
        if name == "$ref" and not str(value).startswith("#"):
            raise refusal(here, f"{value} is not in this file: copy it into $defs")
        if name not in _KNOWN and (near := nearest(name, _KNOWN, cutoff=0.85)):
            raise refusal(here, f"unknown keyword; did you mean {near}?")
        if name == "allOf" and isinstance(value, list) and len(value) > 1:
            raise refusal(here, f"allOf of more than one is not supported: {MERGE}")
    for below, inner in _subschemas(schema):
        check_keywords(inner, f"{path}{below}", refusal)


def _subschemas(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the schemas directly inside one, with their pointers."""
    for name in ("properties", "$defs", "patternProperties"):
        inner = schema.get(name)
        if isinstance(inner, Mapping):
            yield from ((f"/{name}/{pointer(key)}", value) for key, value in inner.items())
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        inner = schema.get(name)
        if isinstance(inner, list):
            yield from ((f"/{name}/{place}", value) for place, value in enumerate(inner))
    for name in ("items", "additionalProperties", "not", "contains", "propertyNames"):
        if name in schema:
            yield f"/{name}", schema[name]
