"""Keyword arguments → a job: the same keys as a job file, with short names for those that every call needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from batchgen.errors import JobError
from batchgen.job.endpoint_settings import with_provider
from batchgen.job.settings import JOB_TABLES, Job, load_job

SHORT = {
    "user": "prompt.user",
    "system": "prompt.system",
    "messages": "prompt.messages",
    "model": "model.name",
    "provider": "model.provider",
    "base_url": "model.base_url",
    "api_key_env": "model.api_key_env",
    "parameters": "model.parameters",
    "labels": "response.labels",
    "schema": "response.schema",
    "votes": "response.votes",
    "budget": "limits.budget",
    "id": "input.id",
    "limit": "input.limit",
    "output": "output.path",
    "columns": "output.columns",
    "gold": "evaluate.gold",
    "name": "name",
}
"""Arguments of `map` and the job keys that they stand for."""

MEMORY = "rows.parquet"
"""`input.path` of a job whose rows are in memory: where they are to be put for the command line."""


def job_table_of(base: Job | Mapping[str, Any] | str | Path | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job's table: `base` (a job, its tables, or a job file) with the arguments over it.

    An argument is a short name, or a table of the job file given as a dict. Raises `JobError` for an unknown one.
    """
    table: dict[str, Any] = {}
    if isinstance(base, (str, Path)):
        base = load_job(base, input=MEMORY)
    if isinstance(base, Job):
        base = base.to_dict()
    for name, value in (base or {}).items():
        table[name] = dict(value) if isinstance(value, Mapping) else value
    for name, value in arguments.items():
        if value is None:
            continue
        if name in JOB_TABLES and (isinstance(value, Mapping) or name not in SHORT):
            if not isinstance(value, Mapping):
                raise JobError(f"{name}: expected the table [{name}] of a job file, as a dict.")
            table[name] = {**table.get(name, {}), **value}
        elif name in SHORT:
            _put(table, SHORT[name], _as_job_value(name, value))
        else:
            known = ", ".join([*SHORT, *JOB_TABLES])
            raise JobError(f"There is no argument {name}; known are {known}.")
    _choose_provider(table)
    return table


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    room, _, name = key.rpartition(".")
    if room:
        table.setdefault(room, {})[name] = value
    else:
        table[name] = value


def _as_job_value(name: str, value: Any) -> Any:
    if name == "schema":
        return schema_text(value)
    if name == "budget":
        return value if isinstance(value, (int, float)) else float(value)
    if name in ("labels", "columns") and not isinstance(value, str):
        return [str(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def schema_text(schema: Any) -> str:
    """Return a JSON Schema as its text: of a pydantic model (or any class with `model_json_schema`), of a dataclass, or
    of a dict.

    A string is the path of a schema's file, or a schema as text, and stays. Raises `JobError` for anything else.
    """
    if isinstance(schema, (str, Path)):
        return str(schema)
    if isinstance(schema, Mapping):
        return json.dumps(schema, ensure_ascii=False)
    made = getattr(schema, "model_json_schema", None)
    if not callable(made) and is_dataclass(schema):  # pydantic's own and plain ones
        with suppress(ImportError):
            from pydantic import TypeAdapter

            made = TypeAdapter(schema).json_schema
    if not callable(made):
        raise JobError(
            "schema: expected a pydantic model, a dataclass (which needs pydantic), a JSON Schema as a dict, or the "
            "path of a schema's file."
        )
    return json.dumps(made(), ensure_ascii=False)


def _choose_provider(table: dict[str, Any]) -> None:
    """Fill in `model.provider` where an address or the model's name tells it, and endpoints do not."""
    model = with_provider(table).get("model")
    if not isinstance(model, dict) or model.get("provider") is not None:
        return
    name = str(model.get("name", "")).lower()
    elsewhere = model.get("base_url") is not None or name.startswith(("gpt-", "chatgpt", "o1", "o3", "o4"))
    model["provider"] = "openai" if elsewhere else "dashscope"
