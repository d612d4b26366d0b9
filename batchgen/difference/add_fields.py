"""`--add-to DIR`: a job asks only for the fields that its schema has beyond the answers in DIR, and is joined to them.

The run is an ordinary one, with a smaller schema and an output directory of its own. When it is complete, the rows of
DIR are written once more with the new fields in `parsed`, as `joined.parquet`: rows meet by `row_id`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from batchgen.answers.schema import AnswerSchema, load_schema
from batchgen.difference.join import joined
from batchgen.errors import JobError
from batchgen.files.table import parquet_file
from batchgen.job.settings import Job
from batchgen.results.rows import ResultRows
from batchgen.storage.mirror import local_directory
from batchgen.storage.own_files import JOINED_FILE
from batchgen.storage.result_schema import portable

_PARSED = "parsed"


class JoinedRows(Struct, frozen=True):
    """The file with all fields: `rows` it has, of which `without` have no answer to what was added."""

    path: Path
    rows: int
    without: int


def narrowed(job: Job, directory: str) -> Job:
    """Return the job with the fields alone that the answers in `directory` lack, or have with another type.

    Raises `UsageError` where there is nothing to add, or nothing to add it to.
    """
    if job.response is None or job.response.schema is None:
        raise JobError("--add-to asks for the fields that a schema adds: the job needs response.schema.")
    if local_directory(directory).resolve() == job.output.directory.resolve():
        raise JobError(
            f"--add-to {directory}: the run needs an output directory of its own; name another one with --output."
        )
    known = ResultRows(directory).parsed_fields
    if not known:
        raise JobError(f"--add-to {directory}: the answers there have no fields (`parsed`); run the whole job instead.")
    schema = load_schema(job.response.schema)
    wanted = {field.name: portable(field.type) for field in schema.type}
    added = [name for name, kind in wanted.items() if known.get(name) != kind]
    if not added:
        raise JobError(f"--add-to {directory}: its answers have every field of the schema already.")
    response = msgspec.structs.replace(job.response, schema=_with_fields(schema, added))
    return msgspec.structs.replace(job, response=response)


def _with_fields(schema: AnswerSchema, names: list[str]) -> str:
    """Return the schema's text with these fields alone."""
    document: dict[str, Any] = dict(schema.document)
    properties = document.get("properties", {})
    if not {*names} <= properties.keys():
        raise JobError("--add-to needs a schema whose fields stand in `properties` at its top.")
    document["properties"] = {name: inner for name, inner in properties.items() if name in names}
    if "required" in document:
        document["required"] = [name for name in document["required"] if name in names]
    return msgspec.json.encode(document).decode()


def write_joined(directory: str, output: Path) -> JoinedRows:
    """Write the rows of `directory` with the fields that the run in `output` has added. Raises `OutputError`."""
    old, new = ResultRows(directory), ResultRows(output)
    fields = [field for field in old.schema.field(_PARSED).type if field.name not in new.parsed_fields]
    fields += list(new.schema.field(_PARSED).type)
    kind = pa.struct(fields)
    place = old.schema.get_field_index(_PARSED)
    schema = old.schema.set(place, pa.field(_PARSED, kind)).remove_metadata()
    rows = without = 0
    path = output / JOINED_FILE
    with parquet_file(path, schema) as writer:
        for batch, parsed in _pairs(old, new):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            columns[_PARSED] = _together(columns[_PARSED], parsed, kind)
            writer.write_batch(pa.record_batch([columns[name] for name in schema.names], schema=schema))
            rows += batch.num_rows
            without += parsed.null_count
    return JoinedRows(path, rows, without)


def _pairs(old: ResultRows, new: ResultRows) -> Iterator[tuple[pa.RecordBatch, pa.Array]]:
    """Yield rows of both runs that have one id: those of the old one, and `parsed` of the new one."""
    for a, b in joined(old.batches(old.schema.names), new.batches(["row_id", _PARSED])):
        yield a, b.column(b.schema.names.index(_PARSED))


def _together(old: pa.Array, new: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return one struct of the fields of both; null where both are."""

    def field(name: str) -> pa.Array:
        source = new if new.type.get_field_index(name) >= 0 else old
        return pc.struct_field(source, name)

    nulls = pc.and_(old.is_null(), new.is_null())
    return pa.StructArray.from_arrays([field(one.name) for one in kind], fields=list(kind), mask=nulls)
