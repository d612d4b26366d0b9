"""JSON Schema (draft 2020-12) → the answer's shape and its validator.

https://json-schema.org/draft/2020-12. What limits a value (ranges, lengths, patterns, `not`, ...) is left to
the validator and may be anything; what decides a type is limited to `type`, `enum`, `const`, `properties`, `required`,
`additionalProperties`, `patternProperties`, `items`, `prefixItems`, `anyOf`, `oneOf`, `format`, local `$ref`, and an
`allOf` of one. Other dialects are rewritten in these terms first (`dialects`). Keywords that change
types in other ways are refused, so that no column is ever other than the schema says. Values without a single type are
kept as JSON text, with a remark.

The validator is `jsonschema-rs`: 0.3 µs for six strings, where `jsonschema` takes 40 µs and `fastjsonschema` (no
2020-12) 1.2 µs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
import pyarrow as pa
from msgspec import Struct

from batchgen.answers.dialects import adapted
from batchgen.answers.keywords import MERGE, SHAPING, check_keywords
from batchgen.answers.shape import (
    REST,
    DateShape,
    EnumShape,
    FloatShape,
    IntegerShape,
    JsonTextShape,
    ListShape,
    MapShape,
    Misfit,
    NumberTextShape,
    ObjectShape,
    PlainShape,
    Shape,
    TimestampShape,
    pointer,
)
from batchgen.errors import JobError
from batchgen.files.plain_text import hand_written
from batchgen.providers.protocol import Remark

_TYPES = ("string", "number", "integer", "boolean", "object", "array", "null")
_IMPLIES = {"properties": "object", "additionalProperties": "object", "required": "object", "items": "array"}
_LONGEST_MESSAGE = 300  # characters of a validator's message; it quotes the value
_MOST_PROBLEMS = 5
_MOST_PARTS = 2_000


class _Error(Protocol):
    """What is used of `jsonschema_rs.ValidationError`."""

    message: str
    instance_path: list[str | int]
    kind: Any


class Problems(Struct, frozen=True):
    """Why a value does not fit: the first problem, and a few of them for the model."""

    first: Misfit
    all: tuple[Misfit, ...]


class AnswerSchema:
    """A schema made ready: `document` in draft 2020-12, `type` the Arrow type of an answer, `remarks` for `check`.

    `written` is the document as it was given.

    `wrapper` names the property that holds a list or map which stands at the top of the schema as written.
    """

    def __init__(self, document: Mapping[str, Any], where: str) -> None:
        """Raise `JobError`, naming `where` and the JSON pointer, for what cannot be a table's columns."""
        import jsonschema_rs  # 15 MB of library, only for jobs with a schema

        self.written = document
        document, self.wrapper = adapted(document)
        self.document: Mapping[str, Any] = document
        self._where = where
        check_keywords(document, "", self._refusal)
        formats = {name: _with_or_without_zone(name) for name in ("time", "date-time")}
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                document, validate_formats=True, formats=formats, offline=True
            )
        except ValueError as error:
            path = "".join(f"/{pointer(str(step))}" for step in getattr(error, "instance_path", ()))
            said = str(error).partition(chr(10))[0]
            if path.endswith("/type"):
                said = f"{said.partition(' is not ')[0]} is no type; there are {', '.join(_TYPES)}"
            raise self._refusal(path, f"not a valid JSON Schema: {said}") from None
        self.remarks: list[Remark] = []
        shape = self._shape(document, "", ("#",))
        if not isinstance(shape, ObjectShape):
            raise self._refusal(
                "", 'the answer must be an object ("type": "object" with "properties"), a list or a map'
            )
        self.shape: ObjectShape = shape
        self.type: pa.DataType = shape.type

    def problems(self, value: Any) -> Problems | None:
        """Return why `value` does not fit, or None if it does."""
        if self._validator.is_valid(value):
            misfit = self.shape.misfit(value, "") if self.shape.exact else None
            return None if misfit is None else Problems(misfit, (misfit,))
        found: list[Misfit] = []
        for error in self._errors(value):
            found.append(_misfit(error))
            if len(found) == _MOST_PROBLEMS:
                break
        return Problems(found[0], tuple(found))

    def wrapped(self, value: Any) -> Any:
        """Return an answer as an object, where the list or map itself was given that stands at the schema's top."""
        name = self.wrapper
        if name is None or (isinstance(value, dict) and (name == "items" or value.keys() == {name})):
            return value
        return {name: value}

    def _errors(self, value: Any) -> Iterable[_Error]:
        """Return the validator's errors: all of them, or the first alone of a value that is large: each costs time."""
        if not _is_large(value):
            return self._validator.iter_errors(value)
        try:
            self._validator.validate(value)
        except ValueError as error:
            return [cast(_Error, error)]
        return []

    def _refusal(self, path: str, text: str) -> JobError:
        return JobError(f"response.schema {self._where}: at {path or '/'}: {text}.")

    def _shape(self, schema: Any, path: str, refs: tuple[str, ...]) -> Shape | None:
        """Return the shape of a schema, None where only null fits. `refs` are the references it was reached by."""
        if not isinstance(schema, Mapping):
            return self._json_text(path, "any value fits")
        indirect = schema.get("$ref") or (schema["allOf"][0] if schema.get("allOf") else None)
        if indirect is not None:
            beside = sorted((SHAPING & schema.keys()) - {"$ref", "allOf"})
            if beside:
                raise self._refusal(f"{path}/{beside[0]}", f"beside $ref or allOf is not supported: {MERGE}")
            if not isinstance(indirect, str):
                return self._shape(indirect, f"{path}/allOf/0", refs)
            if indirect in refs:
                return self._json_text(path, "it contains itself")
            return self._shape(self._resolved(indirect, path), path, (*refs, indirect))
        if "enum" in schema or "const" in schema:
            return self._from_values(schema.get("enum", [schema.get("const")]), path)
        for union in ("anyOf", "oneOf"):
            if union in schema:
                return self._from_union(schema, union, path, refs)
        types = schema.get("type")
        if types is None:
            implied = next((_IMPLIES[name] for name in _IMPLIES if name in schema), None)
            hint = f'; add "type": "{implied}" if that is meant' if implied else ""
            return self._json_text(path, f"no type is given{hint}")
        words = [types] if isinstance(types, str) else types
        return self._one_of([self._from_type(word, schema, path, refs) for word in words if word != "null"], path)

    def _resolved(self, ref: str, path: str) -> Any:
        """Return what a local reference points to."""
        found: Any = self.document
        for token in ref.removeprefix("#").split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(name)] if isinstance(found, list) else found[name]
            except (KeyError, IndexError, ValueError, TypeError):
                raise self._refusal(f"{path}/$ref", f"{ref} points to nothing in this file") from None
        check_keywords(found, ref.removeprefix("#"), self._refusal)
        return found

    def _from_values(self, values: Sequence[Any], path: str) -> Shape | None:
        values = [value for value in values if value is not None]
        kinds = {type(value) for value in values}
        if not kinds:
            return None
        if kinds == {str}:
            return EnumShape(list(dict.fromkeys(values)))
        if kinds == {bool}:
            return PlainShape(pa.bool_())
        if kinds == {int}:
            return IntegerShape()
        if kinds <= {int, float}:
            return FloatShape()
        return self._json_text(path, "its values have several types")

    def _from_union(self, schema: Mapping[str, Any], union: str, path: str, refs: tuple[str, ...]) -> Shape | None:
        beside = sorted((SHAPING & schema.keys()) - {union, "type"})
        if beside:
            raise self._refusal(f"{path}/{beside[0]}", f"beside {union} is not supported: move it into each branch")
        branches = [self._shape(inner, f"{path}/{union}/{n}", refs) for n, inner in enumerate(schema[union])]
        return self._one_of([shape for shape in branches if shape is not None], path)

    def _one_of(self, shapes: Sequence[Shape], path: str) -> Shape | None:
        """Return the one shape that holds all of `shapes`."""
        if len(shapes) <= 1:
            return shapes[0] if shapes else None
        if all(isinstance(shape, EnumShape) for shape in shapes):
            return EnumShape(
                list(dict.fromkeys(word for shape in shapes if isinstance(shape, EnumShape) for word in shape.words))
            )
        if all(isinstance(shape, IntegerShape | FloatShape) for shape in shapes):
            return FloatShape() if any(isinstance(shape, FloatShape) for shape in shapes) else IntegerShape()
        if all(isinstance(shape, EnumShape) or shape.type == pa.string() for shape in shapes) and not any(
            isinstance(shape, JsonTextShape) for shape in shapes
        ):
            return PlainShape(pa.string())
        if {type(shape) for shape in shapes} == {FloatShape, PlainShape} and all(
            isinstance(shape, FloatShape) or shape.type == pa.string() for shape in shapes
        ):
            return NumberTextShape()
        first = shapes[0]
        if isinstance(first, PlainShape | DateShape | TimestampShape) and all(
            shape.type == first.type for shape in shapes
        ):
            return first
        return self._json_text(path, "it may have several types")

    def _from_type(self, word: str, schema: Mapping[str, Any], path: str, refs: tuple[str, ...]) -> Shape:
        if word == "string":
            kind = schema.get("format")
            return (
                DateShape() if kind == "date" else TimestampShape() if kind == "date-time" else PlainShape(pa.string())
            )
        if word == "integer":
            return IntegerShape()
        if word == "number":
            return FloatShape()
        if word == "boolean":
            return PlainShape(pa.bool_())
        if word == "array":
            return self._array(schema, path, refs)
        return self._object(schema, path, refs)

    def _array(self, schema: Mapping[str, Any], path: str, refs: tuple[str, ...]) -> Shape:
        if "prefixItems" in schema:
            return self._tuple(schema, path, refs)
        if "items" not in schema:
            return self._json_text(path, "its items have no schema")
        item = self._shape(schema["items"], f"{path}/items", refs)
        return self._json_text(path, "its items are all null") if item is None else ListShape(item)

    def _tuple(self, schema: Mapping[str, Any], path: str, refs: tuple[str, ...]) -> Shape:
        """Return a list where all places of a tuple have one type, and no more may follow."""
        places = [self._shape(inner, f"{path}/prefixItems/{n}", refs) for n, inner in enumerate(schema["prefixItems"])]
        closed = schema.get("items") is False or schema.get("maxItems", len(places) + 1) <= len(places)
        known = [shape for shape in places if shape is not None]
        if closed and known and all(type(s) is type(known[0]) and s.type == known[0].type for s in known):
            return ListShape(known[0])
        return self._json_text(path, "its places have several types")

    def _object(self, schema: Mapping[str, Any], path: str, refs: tuple[str, ...]) -> Shape:
        properties: Mapping[str, Any] = schema.get("properties", {})
        fields: dict[str, Shape] = {}
        for name, inner in properties.items():
            here = f"{path}/properties/{pointer(name)}"
            fields[name] = self._shape(inner, here, refs) or self._json_text(here, "only null fits")
        rest: MapShape | None = None
        if schema.get("additionalProperties", False) is not False:
            item = self._shape(schema["additionalProperties"], f"{path}/additionalProperties", refs)
            rest = None if item is None else MapShape(item)
        elif schema.get("patternProperties"):
            kinds = [
                self._shape(inner, f"{path}/patternProperties/{pointer(name)}", refs)
                for name, inner in schema["patternProperties"].items()
            ]
            item = self._one_of([shape for shape in kinds if shape is not None], path)
            rest = None if item is None else MapShape(item)
        if not fields:
            return rest or self._json_text(path, "it names no properties")
        if rest is not None and REST in fields:
            raise self._refusal(f"{path}/properties/{REST}", "the name is needed for additionalProperties: rename it")
        return ObjectShape(fields, frozenset(fields) - frozenset(schema.get("required", ())), rest)

    def _json_text(self, path: str, why: str) -> JsonTextShape:
        self.remarks.append(Remark("response.schema", f"{path or '/'} is kept as JSON text: {why}", False))
        return JsonTextShape(why)


def load_schema(path: str | Path) -> AnswerSchema:
    """Read a schema from a file, or from its own text, which begins with a brace.

    Raise `JobError`, naming the file, if it cannot be used.
    """
    text = str(path).lstrip()
    name = "as given" if text.startswith("{") else str(path)
    try:
        document = msgspec.json.decode(text if text.startswith("{") else hand_written(Path(path).read_bytes()))
    except OSError as error:
        raise JobError(f"response.schema: {name} cannot be read: {error.strerror}.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise JobError(f"response.schema: {name} is not valid JSON: {error}.") from None
    if not isinstance(document, dict):
        raise JobError(f"response.schema: {name} must hold a JSON object.")
    return AnswerSchema(document, name)


def _with_or_without_zone(name: str) -> Callable[[str], bool]:
    """Return what checks a time: RFC 3339, whose zone may be left out as Python and pydantic do for local times."""
    import jsonschema_rs

    check = jsonschema_rs.Draft202012Validator({"format": name}, validate_formats=True).is_valid
    return lambda text: check(text) or check(f"{text}Z")


def _is_large(value: Any) -> bool:
    """Whether a value has more parts than are worth a list of errors."""
    parts = [value]
    for part in parts:  # grows while it is read
        if isinstance(part, dict):
            parts += part.values()
        elif isinstance(part, list):
            parts += part[:_MOST_PARTS]
        if len(parts) > _MOST_PARTS:
            return True
    return False


def _misfit(error: _Error) -> Misfit:
    """Return a validator's error; of a union with one branch of the value's type, that branch's own error."""
    if error.kind.name in ("anyOf", "oneOf"):
        branches = [branch for branch in getattr(error.kind, "context", ()) if branch]
        depth = len(error.instance_path)
        near = [b for b in branches if b[0].kind.name != "type" or len(b[0].instance_path) > depth]
        if len(near) == 1:
            return _misfit(near[0][0])
    path = "".join(f"/{pointer(str(step))}" for step in error.instance_path)
    message = error.message
    if len(message) > _LONGEST_MESSAGE:
        half = _LONGEST_MESSAGE // 2
        message = f"{message[:half]}...{message[-half:]}"
    return Misfit(path, message)
