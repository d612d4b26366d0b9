"""Checks the file of a batch, as vendors do while a batch is `validating`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from batchgen.simulator.batches.records import StoredBatch
from batchgen.simulator.batches.rows import TEST_MODEL, InputLine, ModelOf, line_decoder, path_of, prompt_tokens
from batchgen.simulator.settings import Settings

MOST_ROWS = {"openai": 50_000, "compatible": 50_000, "azure": 100_000, "anthropic": 100_000}
MOST_BYTES = {"openai": 200_000_000, "compatible": 500_000_000, "azure": 200_000_000, "anthropic": 256_000_000}
MOST_LINE_BYTES = {"compatible": 6_000_000}
MOST_TEST_ROWS, MOST_TEST_BYTES = 100, 1_000_000
ROWS_A_STEP = 50
_MOST_FAILURES = 20
_BOM = b"\xef\xbb\xbf"


def failure(code: str, message: str, line: int | None = None) -> dict[str, Any]:
    """Return an entry of the errors for which a batch is refused as a whole."""
    return {"code": code, "message": message, "param": None, "line": line}


def scan(batch: StoredBatch, path: Path, settings: Settings) -> Iterator[None]:
    """Check a file in steps: count its rows, its prompt tokens if they are limited, and find what is wrong."""
    failures = batch.failure
    decode = line_decoder(batch)
    model_decoder = msgspec.json.Decoder(ModelOf)
    live_path = path_of(batch.dialect, batch.endpoint) or ""
    seen: set[int] = set()
    first: ModelOf | None = None
    total = tokens = 0
    with path.open("rb") as lines:
        for number, text in enumerate(lines, 1):
            if number % ROWS_A_STEP == 0:
                yield
            if len(failures) >= _MOST_FAILURES:
                break
            if number == 1 and text.startswith(_BOM):
                failures.append(failure("invalid_json_line", "This line is not parseable as valid JSON.", 1))
                continue
            if not text.strip():
                continue
            total += 1
            try:
                line = decode(text)
            except msgspec.ValidationError as error:
                failures.append(failure("missing_required_parameter", str(error), number))
                continue
            except (msgspec.DecodeError, UnicodeDecodeError):
                failures.append(failure("invalid_json_line", "This line is not parseable as valid JSON.", number))
                continue
            key = hash(line.custom_id)
            if key in seen:
                failures.append(
                    failure("duplicate_custom_id", f"The custom_id {line.custom_id!r} is used twice.", number)
                )
            seen.add(key)
            body = bytes(line.body if isinstance(line, InputLine) else line.params)
            if settings.queued_tokens is not None:
                tokens += prompt_tokens(live_path, batch.headers, body, settings)
            try:
                model = model_decoder.decode(body)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                model = ModelOf()
            first = first or model
            if isinstance(line, InputLine):
                if len(text) > MOST_LINE_BYTES.get(batch.dialect, len(text)):
                    failures.append(failure("InvalidFile", "The line is too long.", number))
                failures += _line_failures(batch, line, (model, first), number)
    batch.model = first.model if first else ""
    batch.total, batch.prompt_tokens = total, tokens
    if batch.dialect != "anthropic" and not failures:
        failures += _file_failures(batch, total, path.stat().st_size, settings)
    del failures[_MOST_FAILURES:]


def _line_failures(
    batch: StoredBatch, line: InputLine, models: tuple[ModelOf, ModelOf], number: int
) -> Iterator[dict[str, Any]]:
    model, first = models
    if line.url.removeprefix("/v1") != batch.endpoint.removeprefix("/v1"):
        yield failure("url_mismatch", f"The url {line.url!r} is not the endpoint of the batch.", number)
    if line.method.upper() != "POST":
        yield failure("invalid_method", "The method must be POST.", number)
    if model.model != first.model:
        yield failure("mismatched_model", "All requests of a batch must have the same model.", number)
    if batch.dialect == "compatible" and model.enable_thinking != first.enable_thinking:
        yield failure("InvalidFile", "All requests of a batch must have the same thinking setting.", number)


def _file_failures(batch: StoredBatch, total: int, size: int, settings: Settings) -> Iterator[dict[str, Any]]:
    most = MOST_TEST_ROWS if batch.model == TEST_MODEL else MOST_ROWS[batch.dialect]
    most_bytes = MOST_TEST_BYTES if batch.model == TEST_MODEL else MOST_BYTES[batch.dialect]
    if not total:
        yield failure("empty_file", "The input file is empty.")
    elif total > most:
        yield failure("too_many_tasks", f"The file has {total} requests; at most {most} are allowed.")
    elif size > most_bytes:
        yield failure("InvalidFile", f"The file has {size} bytes; at most {most_bytes} are allowed.")
    elif settings.models is not None and batch.model not in (*settings.models, TEST_MODEL):
        yield failure("model_not_found", f"The model `{batch.model}` does not exist or does not support batches.")
