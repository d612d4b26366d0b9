"""Files and batches as OpenAI's form shows them. https://github.com/openai/openai-openapi"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from batchgen.simulator.batches.desk import BatchDesk
from batchgen.simulator.batches.life import ENDED, LATE_S, progress
from batchgen.simulator.batches.records import StoredBatch, StoredFile

_PLACEHOLDER_MS = 946_656_000_000
_CLOCKS_S = {"clock_ahead": 7200, "clock_behind": -7200}
_UNKNOWN_WORD = "warming_up"
_EARLY_ID = "file-early-"


def file_object(desk: BatchDesk, stored: StoredFile) -> dict[str, Any]:
    """Return a file as it is now."""
    status, details = "processed", None
    if file_is_late(desk, stored):
        status = "pending" if stored.dialect == "azure" else "uploaded"
    elif "file_error" in stored.odd:
        status, details = "error", "The file cannot be read."
    return {
        "id": stored.id,
        "object": "file",
        "bytes": stored.size,
        "created_at": int(stored.created_s),
        "expires_at": None if stored.expires_s is None else int(stored.created_s + stored.expires_s),
        "filename": stored.name,
        "purpose": stored.purpose,
        "status": status,
        "status_details": details,
    }


def file_is_late(desk: BatchDesk, stored: StoredFile) -> bool:
    """Return whether an uploaded file may not be used yet."""
    late = "file_slow" in stored.odd or "file_error" in stored.odd
    return late and desk.elapsed_s(stored) < LATE_S


def batch_object(desk: BatchDesk, batch: StoredBatch, *, stale: bool = False) -> dict[str, Any]:
    """Return a batch as it is now; a `stale` one as it was before it stopped."""
    life, elapsed_s = desk.life(batch), desk.elapsed_s(batch)
    if stale and life.stop_s <= elapsed_s:
        elapsed_s = life.stop_s - 1
        life = desk.life_at(batch, elapsed_s)
    word, ended = life.word, life.word in ENDED
    told = ended and not ("output_id_late" in batch.odd and elapsed_s < life.close_s + LATE_S)
    reached = {
        "in_progress_at": batch.plan.validating_s if word not in ("validating", "failed") and life.done else None,
        "finalizing_at": life.stop_s if word in ("finalizing", "completed", "expired") else None,
        "cancelling_at": life.stop_s if word in ("cancelling", "cancelled") else None,
        f"{word}_at": life.close_s if ended else None,
    }
    times: dict[str, Any] = {
        name: None if reached.get(name) is None else int(batch.created_s + (reached[name] or 0))
        for name in (
            "in_progress_at",
            "finalizing_at",
            "completed_at",
            "failed_at",
            "expired_at",
            "cancelling_at",
            "cancelled_at",
        )
    }
    window_s = batch.plan.window_s
    no_expiry = "expires_null" in batch.odd or window_s is None
    times["created_at"] = int(batch.created_s)
    times["expires_at"] = None if no_expiry else int(batch.created_s + (window_s or 0))
    early = f"{_EARLY_ID}{batch.id}" if "output_id_early" in batch.odd and not ended else None
    error_file = batch.error_file if told else None
    shown: dict[str, Any] = {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model or None if batch.dialect == "openai" else None,
        "errors": _errors(batch) if word == "failed" else None,
        "input_file_id": batch.input_file,
        "completion_window": batch.window,
        "status": "failed" if ended and "failed_with_rows" in batch.odd else _word(batch, word),
        "output_file_id": batch.output_file if told else early,
        "error_file_id": "" if "error_id_empty" in batch.odd and ended and error_file is None else error_file,
        **{name: _time(batch, at) for name, at in times.items()},
        "request_counts": _counts(batch, word, elapsed_s, built=told),
        "usage": _usage(batch) if told and batch.dialect == "openai" else None,
        "metadata": batch.metadata,
    }
    if "counts_absent" in batch.odd:
        del shown["request_counts"]
    if "ended_empty" in batch.odd and ended:
        shown["cancel_by_vendor_message"] = f"The model {batch.model} is not supported for batch processing."
    return shown


def _word(batch: StoredBatch, word: str) -> str:
    if "unknown_word" in batch.odd and word in ("in_progress", "finalizing"):
        return _UNKNOWN_WORD
    return word.capitalize() if "status_case" in batch.odd else word


def _time(batch: StoredBatch, at: int | None) -> Any:
    if at is None:
        return _PLACEHOLDER_MS if "times_placeholder" in batch.odd else None
    at += _CLOCKS_S.get(next((name for name in _CLOCKS_S if name in batch.odd), ""), 0)
    if "times_iso" in batch.odd:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return at * 1000 if {"times_ms", "times_placeholder"} & {*batch.odd} else at


def _counts(batch: StoredBatch, word: str, elapsed_s: float, *, built: bool) -> dict[str, int] | None:
    if "counts_null" in batch.odd:
        return None
    if "counts_zero" in batch.odd or word in ("validating", "failed") or "ended_empty" in batch.odd:
        return {"total": 0, "completed": 0, "failed": 0}
    if built:
        return {
            "total": batch.total,
            "completed": batch.rows.get("succeeded", 0),
            "failed": batch.rows.get("failed", 0),
        }
    done = int(batch.total * progress(batch.plan, elapsed_s))
    return {"total": batch.total, "completed": done, "failed": 0}


def _usage(batch: StoredBatch) -> dict[str, Any]:
    billed = batch.billed
    return {
        "input_tokens": billed.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": billed.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": billed.input_tokens + billed.output_tokens,
    }


def _errors(batch: StoredBatch) -> dict[str, Any] | None:
    entries = [entry for entry in batch.failure if entry]
    return {"object": "list", "data": entries} if entries else None
