"""The text of a job file → its tables, and what is wrong with it in words that say what to write instead."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from batchgen.errors import JobError
from batchgen.files.plain_text import hand_written

_TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".xlsx", ".json", ".txt", ".mbox")
_PLACE = re.compile(r"\(at line (\d+), column \d+\)")
_BY_ERROR = {
    "Cannot overwrite": "the key stands there twice: keep one",
    "Cannot declare": "a table stands there twice: put its keys under one heading",
}
_BY_LINE = {
    r"[“”„‘’«»]": 'write straight quotes ("...")',
    r"\\": "write a path with / in place of \\, or between single quotes",
    r"=\s*(?:True|False|TRUE|FALSE|None|yes|no|on|off|null)\b": "write true or false; what is not set is left out",
    r"=\s*-?\d+,\d+\s*(?:#|$)": "write a decimal point",
    r"\s//": "a comment begins with #",
    r";\s*(?:#|$)": "leave the semicolon at the end out",
    r"^\s*[\w.\"-]+\s*:": 'write key = value, with text in quotes ("...")',
    r"=\s*(?:\"[^\"]*|'[^']*)$": "the quote is not closed",
    r"=\s*[^\s\"'\[{\d]": 'put text into quotes ("...")',
}
"""What is written as in another language → what TOML wants. The first that fits counts; no line is shown, as there may
be a key in it."""


def toml_tables(path: Path, where: str) -> dict[str, Any]:
    """Return the tables of a job file. Raises `JobError` that names the file as `where`, `OSError` if it cannot be
    opened."""
    try:
        text = hand_written(path.read_bytes())
    except UnicodeDecodeError as error:
        if path.suffix.lower() in _TABLES:
            raise JobError(_not_a_job(path, where)) from None
        raise JobError(f"{where} is not UTF-8 (byte {error.start}): save it as UTF-8 in your editor.") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        if path.suffix.lower() in _TABLES:
            raise JobError(_not_a_job(path, where)) from None
        raise JobError(f"{where}: not valid TOML: {error}.{_hint(text, str(error))}") from error


def _not_a_job(path: Path, where: str) -> str:
    return f"{where} is no job file. `batchgen init NAME --input {path}` writes a first job for a table."


def _hint(text: str, error: str) -> str:
    """Return what to write instead, as a sentence, where that can be told."""
    if text.lstrip().startswith("{"):
        return " This is JSON: write the job as TOML, see `batchgen manual job-file`."
    hint = next((fix for words, fix in _BY_ERROR.items() if words in error), None)
    place = _PLACE.search(error)
    lines = text.splitlines()
    if hint is None and place is not None and 0 < int(place[1]) <= len(lines):
        line = lines[int(place[1]) - 1]
        hint = next((fix for pattern, fix in _BY_LINE.items() if re.search(pattern, line)), None)
    return f" Perhaps: {hint}." if hint is not None else ""
