"""Turns a `Job` back into the tables and the text of a job file, without the keys that have their default."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.errors import UsageError


def job_table(job: Struct) -> dict[str, Any]:
    """Return the tables of a job file that mean this job; `parse_job` makes the same job of them."""
    return _set_fields(job)


def job_toml(job: Struct) -> str:
    """Return the job as the text of a job file. Relative paths in it start at the folder of the file.

    Raises `UsageError` for a value that TOML does not have (a null within a parameter).
    """
    import tomli_w

    table = job_table(job)
    if (at := _null_in(table)) is not None:
        raise UsageError(f"{at} holds a null, which a job file cannot.")
    return tomli_w.dumps(table, multiline_strings=True)


def _set_fields(settings: Struct) -> dict[str, Any]:
    """Return the fields of a settings table that differ from their defaults, inner tables alike."""
    found = {}
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if value is None or (field.default is not msgspec.NODEFAULT and value == field.default):
            continue
        if field.default_factory is not msgspec.NODEFAULT and value == field.default_factory():
            continue
        found[field.name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        return _set_fields(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return float(value) if isinstance(value, Decimal) and Decimal(str(float(value))) == value else value


def _null_in(value: Any, at: str = "") -> str | None:
    """Return the dotted path of the first null; None if there is none."""
    if value is None:
        return at
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        found = _null_in(item, f"{at}.{key}" if at else str(key))
        if found is not None:
            return found
    return None
