"""What a run's answers say: the label of a row, or a field of its answer, as one column for each batch of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from batchgen.answers.reading import object_in
from batchgen.evaluation.written import comparable_values, is_text

ABOUT_THE_ANSWER = ("confidence", "agreement")
"""Fields of `parsed` that say how sure a label is; they are no answers."""


class AnswerColumn:
    """One answer to be compared: `field` (dots lead into objects), or the label of the row if it is None.

    It comes from `parsed`, or without that column from the completion, read as a run with `[response]` reads it.
    `type` is None where the answers have none: a completion, JSON.
    """

    def __init__(self, schema: pa.Schema, field: str | None) -> None:
        self._typed = schema.get_field_index("parsed") >= 0
        self._path: list[str] | None = None if field is None else field.split(".")
        self.type: pa.DataType | None = None
        self.unknown: str | None = None  # the name of the path that the answers do not have, if they are typed
        self.beside: list[str] = []  # the names that stand in its place
        self._deep: list[str] = []  # names below a map or JSON text, which have no column of their own
        if not self._typed:
            return
        type_ = schema.field("parsed").type
        if self._path is None:
            names = [one.name for one in type_ if one.name not in ABOUT_THE_ANSWER]
            name = "label" if "label" in names else names[0] if len(names) == 1 else None
            self._path = [] if name is None else [name]
            if name is None:
                type_ = pa.null()
        for place, name in enumerate(self._path):
            if not pt.is_struct(type_):
                self._deep = self._path[place:]
                self._path = self._path[:place]
                type_ = None
                break
            index = type_.get_field_index(name)
            if index < 0 and self.unknown is None:
                self.unknown, self.beside = name, [one.name for one in type_]
            type_ = type_.field(index).type if index >= 0 else pa.null()
        self.type = type_

    def values(self, batch: pa.RecordBatch) -> pa.Array | list[Any]:
        """Return the answers of a batch, as a column or, where they have no type, as they come from JSON."""
        if not self._typed:
            return self._from_text(batch.column("completion"))
        if self.type is not None and pt.is_null(self.type):
            return pa.nulls(batch.num_rows, pa.null())
        values = batch.column("parsed")
        for name in self._path or ():
            values = pc.struct_field(values, name)
        return [_below(value, self._deep) for value in comparable_values(values)] if self._deep else values

    def _from_text(self, completions: pa.Array) -> pa.Array | list[Any]:
        if self._path is None and not pc.any(pc.match_substring(completions, "{")).as_py():
            return completions
        found: list[Any] = []
        for text in completions.to_pylist():
            answer = object_in(text) if text is not None and "{" in text else None
            if self._path is not None:
                found.append(_below(answer, self._path))
            elif answer is None:
                found.append(text)
            else:
                others = [value for name, value in answer.items() if name not in ABOUT_THE_ANSWER]
                found.append(answer["label"] if "label" in answer else others[0] if len(others) == 1 else None)
        return found


def _below(value: Any, path: list[str]) -> Any:
    """Return what stands at a path of names, None where there is nothing."""
    for name in path:
        if isinstance(value, str):
            value = object_in(value)
        elif isinstance(value, list):  # a map's pairs
            value = dict(value) if all(isinstance(pair, tuple) for pair in value) else None
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def certainties(batch: pa.RecordBatch) -> list[pa.Array]:
    """Return confidence and agreement of the labels, null where there is none."""
    index = batch.schema.get_field_index("parsed")
    found = []
    for name in ABOUT_THE_ANSWER:
        known = index >= 0 and batch.schema.field(index).type.get_field_index(name) >= 0
        values = pc.struct_field(batch.column(index), name) if known else pa.nulls(batch.num_rows, pa.float64())
        found.append(values if pt.is_floating(values.type) else pa.nulls(batch.num_rows, pa.float64()))
    return found


def without_value(values: pa.Array) -> pa.Array:
    """Return where a gold column has no value: null, NaN or the empty text."""
    if pt.is_dictionary(values.type):
        values = values.dictionary_decode()
    empty = pc.is_null(values, nan_is_null=True)
    return pc.or_(empty, pc.fill_null(pc.equal(values, ""), False)) if is_text(values.type) else empty
