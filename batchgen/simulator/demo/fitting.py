"""Generates values for a JSON Schema, from the prompt's text and a hash of it.

Supported: type (also as a list), enum, const, properties, required, additionalProperties, items, prefixItems,
minItems, uniqueItems, minimum, maximum and their exclusive forms, multipleOf, minLength, maxLength, format, nullable,
$ref into the schema, $defs, allOf, anyOf, oneOf. Not supported: pattern, not, if/then/else, dependencies.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from batchgen.simulator.demo.lift import lift, lift_number, rule_for

_DEEP = 5  # below this depth only required fields are filled, so that recursive schemas end
_FORMATS = {
    "date": "2026-{m:02}-{d:02}",
    "date-time": "2026-{m:02}-{d:02}T0{h}:00:00Z",
    "time": "0{h}:00:00Z",
    "duration": "P{d}D",
    "email": "user{n}@example.com",
    "uri": "https://example.com/{n}",
    "hostname": "host{n}.example.com",
    "ipv4": "192.0.2.{d}",
    "ipv6": "2001:db8::{d}",
    "uuid": "00000000-0000-4000-8000-{n:012}",
}
_FORMAT_FIELDS = {"email": "email", "uri": "url", "date": "date"}

Schema = Mapping[str, Any]


_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "the and for not but are with that this from have has does into than them they your our you "
        "all any one out who something somebody should would could already other others none these those "
        "what which where when",
    )
)


def stems(text: str) -> set[str]:
    """Return the first five letters of each word of a text, without the most common words."""
    return {word[:5] for word in re.findall(r"[^\W_]{3,}", text.lower()) if word not in _STOP_WORDS}


def choose(options: Mapping[str, str], text: str, number: int) -> str:
    """Return the option whose name and explanation share most words with `text`; if none does, `number` decides.

    A name that occurs in the text counts more than any explanation.
    """
    said = stems(text)
    scores = {name: 10 * len(stems(name) & said) + len(stems(told) & said) for name, told in options.items()}
    best = max(scores.values())
    return (
        list(options)[number % len(options)] if best == 0 else next(n for n, score in scores.items() if score == best)
    )


class Fitter:
    """Generates values for the schemas of one document (`root`, into which `$ref` points) and one prompt text."""

    def __init__(self, root: Schema, text: str, seed: int) -> None:
        self._root = root
        self._text = text
        self._salt = blake2b(text.encode("utf-8", "replace"), digest_size=8, key=seed.to_bytes(8, "big", signed=True))

    def fit(self, schema: Schema | bool, name: str = "", depth: int = 0) -> Any:
        """Return a value for a field called `name`. Raises ValueError for a schema that nothing fits."""
        if schema is False:
            raise ValueError("The schema false fits nothing.")
        schema = self._resolved(schema if isinstance(schema, Mapping) else {})
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._from_enum(schema["enum"], name)
        types = schema.get("type") or _implied_type(schema)
        types = [types] if isinstance(types, str) else list(types)
        nullable = "null" in types or schema.get("nullable") is True
        kind = next((t for t in types if t != "null"), "null")
        if kind == "object":
            return self._object(schema, depth) if depth < _DEEP or not nullable else None
        if kind == "array":
            return self._array(schema, name, depth) if depth < _DEEP or not nullable else None
        if kind in ("integer", "number"):
            return self._number(schema, name, whole=kind == "integer")
        if kind == "boolean":
            return bool(self._pick(name) & 1)
        return self._string(schema, name, nullable=nullable) if kind == "string" else None

    def _resolved(self, schema: Schema) -> Schema:
        """Return the schema with `$ref`, `allOf` and the chosen one of `anyOf`/`oneOf` merged into it."""
        for _ in range(32):
            for key in ("$ref", "allOf", "anyOf", "oneOf"):
                if key in schema:
                    break
            else:
                return schema
            rest = {k: v for k, v in schema.items() if k != key}
            if key == "$ref":
                parts: list[Schema] = [self._pointed_to(schema[key])]
            elif key == "allOf":
                parts = [self._resolved(part) for part in schema[key]]
            else:
                parts = [next((s for s in schema[key] if s.get("type") != "null"), schema[key][0])]
                if len(schema[key]) > 1 and any(s.get("type") == "null" for s in schema[key]):
                    parts.append({"nullable": True})
            schema = _merged(rest, parts)
        raise ValueError("The references of the schema go round in circles.")

    def _pointed_to(self, ref: str) -> Schema:
        here: Any = self._root
        for step in ref.removeprefix("#").strip("/").split("/"):
            if step:
                here = here[step.replace("~1", "/").replace("~0", "~")]
        return here if isinstance(here, Mapping) else {}

    def _pick(self, name: str) -> int:
        salted = self._salt.copy()
        salted.update(name.encode())
        return int.from_bytes(salted.digest()) >> 1

    def _from_enum(self, values: list[Any], name: str) -> Any:
        words = {value: "" for value in values if isinstance(value, str)}
        return choose(words, self._text, self._pick(name)) if words else values[self._pick(name) % len(values)]

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        properties = schema.get("properties", {})
        filled = {
            key: self.fit(value, key, depth + 1)
            for key, value in properties.items()
            if key in required or (depth < _DEEP - 1 and value is not False)
        }
        extra = schema.get("additionalProperties", True)
        for key in (*required, *(f"key{i}" for i in range(schema.get("minProperties", 0) - len(filled)))):
            if key not in filled:
                filled[key] = self.fit(extra, key, depth + 1)
        return filled

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        values = [self.fit(part, f"{name}{i}", depth + 1) for i, part in enumerate(schema.get("prefixItems", ()))]
        items = schema.get("items", True)
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(least, len(values) + 2))
        wanted = max(least, min(most, len(values) + 1 + self._pick(name) % 2)) if depth < _DEEP - 1 else least
        tries = 0
        while items is not False and len(values) < wanted and tries < 8 * wanted:
            value = self.fit(items, f"{name}#{tries}" if tries else name, depth + 1)
            tries += 1
            if not (schema.get("uniqueItems") and value in values):
                values.append(value)
        return values[:most]

    def _number(self, schema: Schema, name: str, *, whole: bool) -> int | float:
        low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        step = schema.get("multipleOf", 1 if whole else 0.01)
        for key, sign in (("exclusiveMinimum", 1), ("exclusiveMaximum", -1)):
            bound = schema.get(key)
            if isinstance(bound, int | float) and not isinstance(bound, bool):
                low, high = (max(low, bound + step), high) if sign > 0 else (low, min(high, bound - step))
        found = lift_number(self._text) if "#" not in name and rule_for(name) is None else None
        if found is None or not low <= found <= high:
            least = low if math.isfinite(low) else min(0, high)
            found = least + self._pick(name) % (min(high - least, 1000) // step + 1) * step
        value: float = math.ceil(round(found / step, 9)) * step
        if value > high:
            value = low if math.isfinite(low) else high
        return round(value) if whole else round(value, 9)

    def _string(self, schema: Schema, name: str, *, nullable: bool) -> str | None:
        form: str | None = schema.get("format")
        value = (
            lift(_FORMAT_FIELDS.get(form or "", name), self._text) if form is None or form in _FORMAT_FIELDS else None
        )
        most = schema.get("maxLength")
        if value is None:
            if nullable and (form is None or form in _FORMAT_FIELDS):
                return None
            n = self._pick(name)
            value = _FORMATS.get(form or "", "unknown" if rule_for(name) else "value {n}").format(
                n=n % 10**6, d=1 + n % 28, m=1 + n % 12, h=n % 10
            )
            if form is None and most:
                value = value[-most:]  # the digits, by which values differ
        return value if form else value.ljust(schema.get("minLength", 0), ".")[:most]


def _implied_type(schema: Schema) -> str:
    if "properties" in schema or "additionalProperties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    if any(key in schema for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")):
        return "number"
    return "string"


def _merged(base: Schema, parts: list[Schema]) -> Schema:
    merged = dict(base)
    for part in parts:
        for key, value in part.items():
            if key == "properties":
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required":
                merged[key] = [*merged.get(key, ()), *value]
            elif key in ("$defs", "definitions") or (key == "nullable" and not value):
                continue
            else:
                merged[key] = value
    return merged


def like_example(example: Mapping[str, Any], text: str, seed: int) -> dict[str, Any]:
    """Return an object with the keys of an example: values are extracted from the text, or of the example's type.

    Strings that are not found in the text are None, since the strings of an example are descriptions.
    """
    fitter = Fitter({}, text, seed)

    def fill(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: fill(key, inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [fill(name, inner) for inner in value[:1]]
        if isinstance(value, bool):
            return fitter.fit({"type": "boolean"}, name)
        if isinstance(value, int | float):
            return fitter.fit({"type": "integer" if isinstance(value, int) else "number", "minimum": 0}, name)
        return lift(name, text)

    return {key: fill(key, value) for key, value in example.items()}
