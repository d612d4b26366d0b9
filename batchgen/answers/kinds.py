"""The two kinds of structured answer, objects of a schema and labels: read from text, and turned into a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa
from msgspec import Struct

from batchgen.answers.enforcement import TOOL
from batchgen.answers.labels import LabelSet, NoLabel
from batchgen.answers.reading import NoObject, Stage, object_in, read_object, reread_object
from batchgen.answers.schema import AnswerSchema
from batchgen.answers.settings import ResponseSettings
from batchgen.answers.shape import EnumShape, ListShape, Misfit, Shape
from batchgen.answers.votes import Label
from batchgen.providers.protocol import Remark
from batchgen.values import Result

_MOST_WRAPPERS = 3  # objects round an answer
_MEMBERS_OF_A_CALL = 2  # its name and its arguments


class Answer(Struct, frozen=True):
    """An answer that fits: the object of a schema, or a label. `stage`: which step of the rule read an object."""

    value: dict[str, Any] | Label
    stage: Stage | None = None


class Invalid(Struct, frozen=True):
    """An answer that does not fit: the JSON pointer of the first error ("" is the top) and what is wrong there.

    `problems` are the first few errors; `cut`: the answer ends too early.
    """

    path: str
    message: str
    problems: tuple[Misfit, ...]
    cut: bool = False


def invalid(message: str, *, cut: bool = False) -> Invalid:
    """Return that an answer as a whole does not fit."""
    return Invalid("", message, (Misfit("", message),), cut)


class AnswerKind(Protocol):
    """What differs between a schema and labels."""

    type: pa.DataType
    remarks: list[Remark]
    wanted: str

    def read(self, text: str, *, complete: bool) -> Answer | Invalid:
        """Return the answer in a text."""

    def column(self, results: Sequence[Result], texts: Sequence[str | None]) -> pa.Array:
        """Return the accepted answers as a column; a text of None is a null."""


class SchemaAnswers:
    """Objects of a JSON Schema."""

    wanted = "Answer again with the whole corrected JSON object and nothing else."

    def __init__(self, schema: AnswerSchema) -> None:
        self.schema = schema
        self.type: pa.DataType = schema.type
        self.remarks = schema.remarks
        self._fields = frozenset(schema.document.get("properties", ()))

    def read(self, text: str, *, complete: bool) -> Answer | Invalid:
        found = read_object(text, complete=complete, lists=self.schema.wrapper == "items")
        if isinstance(found, NoObject):
            return invalid(found.message, cut=found.cut)
        value = self._value(found.value)
        problems = self.schema.problems(value)
        if problems is None:
            return Answer(value, found.stage)
        mended = self.schema.shape.mended(value)
        if mended != value and self.schema.problems(mended) is None:
            return Answer(mended, found.stage)
        return Invalid(problems.first.path, problems.first.message, problems.all)

    def column(self, results: Sequence[Result], texts: Sequence[str | None]) -> pa.Array:
        lists = self.schema.wrapper == "items"
        values = [None if text is None else reread_object(text, lists=lists) for text in texts]
        return self.schema.shape.column([None if value is None else self._value(value) for value in values])

    def _value(self, found: Any) -> Any:
        """Return the answer in what was found. A call of our function that is written as text has it as arguments."""
        if isinstance(found, dict) and found.get("name") == TOOL and len(found) == _MEMBERS_OF_A_CALL:
            arguments = found.get("arguments", found.get("parameters"))
            if isinstance(arguments, str):
                arguments = object_in(arguments)
            if isinstance(arguments, dict) and self._fields.isdisjoint(("arguments", "parameters")):
                found = arguments
        found = self._unwrapped(found)
        return found if self.schema.wrapper is None else self.schema.wrapped(found)

    def _unwrapped(self, found: Any) -> Any:
        """Return the answer in an object that a model has put round it: its only member has a name that is none of the
        schema's, or it is the schema itself with the answer for its properties."""
        free = self.schema.shape.rest is not None or self.schema.wrapper == "values"  # any name may be its own
        for _ in range(0 if free else _MOST_WRAPPERS):
            if not isinstance(found, dict) or not self._fields.isdisjoint(found):
                break
            if len(found) == 1:
                [inner] = found.values()
            elif found.get("type") == "object":
                inner = found.get("properties")
            else:
                break
            if isinstance(inner, list) and len(inner) == 1 and self.schema.wrapper is None:
                inner = inner[0]
            if not isinstance(inner, dict if self.schema.wrapper is None else dict | list):
                break
            found = inner
        return found


class LabelAnswers:
    """One of a list of labels, or with `multiple` several of them."""

    def __init__(self, settings: ResponseSettings, labels: Sequence[str], *, as_object: bool) -> None:
        self.set = LabelSet(labels)
        self.remarks: list[Remark] = []
        self._multiple = settings.multiple
        name = "labels" if self._multiple else "label"
        form = f'one JSON object, its only key "{name}", the value' if as_object else "nothing but"
        self.wanted = (
            f"Answer again with {form} {'a JSON list of' if self._multiple else 'one of'}: {', '.join(labels)}"
        )
        self._shape: Shape = ListShape(EnumShape(labels)) if self._multiple else EnumShape(labels)
        measures = {"confidence": settings.confidence is not None, "agreement": settings.votes > 1}
        self._measures = [name for name, asked in measures.items() if asked]
        self._fields = [pa.field(name, self._shape.type)]
        self._fields += [pa.field(name, pa.float64()) for name in self._measures]
        self.type = pa.struct(self._fields)

    def read(self, text: str, *, complete: bool) -> Answer | Invalid:
        found = (self.set.find_several if self._multiple else self.set.find)(text, complete=complete)
        if isinstance(found, NoLabel):
            return invalid(found.message, cut=found.cut)
        return Answer({"labels": list(found)} if isinstance(found, tuple) else Label(found))

    def column(self, results: Sequence[Result], texts: Sequence[str | None]) -> pa.Array:
        known: dict[str | None, Any] = {None: None}  # labels repeat: a text is looked at once
        for text in set(texts):
            if text is not None:
                found = (self.set.find_several if self._multiple else self.set.find)(text)
                known[text] = None if isinstance(found, NoLabel) else found
        children = [self._shape.column([known[text] for text in texts])]
        for name in self._measures:
            children.append(pa.array([getattr(result, name) for result in results], pa.float64()))
        mask = pa.array([text is None for text in texts], pa.bool_())
        return pa.StructArray.from_arrays(children, fields=self._fields, mask=mask)
