"""Anthropic's message batches. https://platform.claude.com/docs/en/build-with-claude/batch-processing"""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from batchgen.simulator.batches.desk import BatchDesk
from batchgen.simulator.batches.life import ENDED, LATE_S
from batchgen.simulator.batches.openai_api import Query, created_reply, cut_off, download, failure_of, lost_on_its_way
from batchgen.simulator.batches.records import StoredBatch
from batchgen.simulator.batches.rows import MessageLine
from batchgen.simulator.batches.scan import MOST_BYTES, MOST_ROWS
from batchgen.simulator.error_bodies import HTML_PAGE
from batchgen.simulator.exchange import HTML, JSON, Reply
from batchgen.simulator.rules import InvalidError, refuse

_LINES = ("content-type", "application/x-jsonl")
_WINDOW_S = 24 * 3600.0
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class _Requests(Struct):
    requests: list[Raw]


class SimulatedMessageBatches:
    """Answers the calls for one account. Refusals are raised as InvalidError."""

    def __init__(self, desk: BatchDesk, account: str, base_url: str) -> None:
        self._desk = desk
        self._account = account
        self._base_url = base_url

    def create(self, body: bytes | Path, headers: Mapping[str, str]) -> Reply:
        """Create a batch of the requests in the body, which may be in a file."""
        desk = self._desk
        for name in ("create_429", "create_500"):
            if desk.odd(name):
                raise InvalidError(failure_of(int(name[-3:])))
        if desk.odd("create_refused"):
            refuse("claude-batch", None, "ModelNotFound", 404)
        if desk.created_lately(self._account) >= desk.settings.batch_creates:
            refuse("This request would exceed the rate limit for batches.", None, "Throttling", 429)
        if "anthropic-version" not in headers:
            refuse("anthropic-version: header is required")
        name = f"requests-{desk.records.next_number()}"
        target = desk.records.partial(name)
        if isinstance(body, Path):
            if body.stat().st_size > MOST_BYTES["anthropic"]:
                refuse("Request exceeds the maximum size", None, "BadRequest.TooLarge", 413)
            with body.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                total = _write_lines(mapped, target)
        else:
            total = _write_lines(body, target)
        target.replace(desk.records.path(name))
        batch = desk.add_batch(
            self._account,
            "anthropic",
            name,
            endpoint="/v1/messages",
            window="24h",
            window_s=_WINDOW_S,
            headers={"anthropic-version": headers["anthropic-version"]},
            total=total,
        )
        return created_reply(desk, _json(self._object(batch)), failure_of(500))

    def retrieve(self, name: str) -> Reply:
        """Show a batch."""
        desk = self._desk
        if desk.odd("retrieve_500"):
            raise InvalidError(failure_of(500))
        if desk.odd("retrieve_html"):
            return Reply(502, (HTML,), HTML_PAGE)
        if desk.odd("retrieve_error"):
            error = {"type": "api_error", "message": "The batch could not be loaded."}
            return _json({"type": "error", "error": error})
        batch = None if desk.odd("retrieve_404") else desk.batch(self._account, name)
        shown = self._object(batch or _no_such(name), stale=desk.odd("retrieve_stale"))
        return cut_off(_json(shown)) if desk.odd("retrieve_cut") else _json(shown)

    def list_batches(self, query: Query) -> Reply:
        """List batches, newest first."""
        if self._desk.odd("list_500"):
            raise InvalidError(failure_of(500))
        batches = self._desk.batches(self._account, dialect="anthropic")
        names = [batch.id for batch in batches]
        limit = query.get("limit", "20")
        if not limit.isdigit() or not 1 <= int(limit) <= 1000:
            refuse("limit: Input should be between 1 and 1000", "limit")
        size = int(limit)
        if (after := query.get("after_id")) in names:
            batches = batches[names.index(after) + 1 :]
        more = len(batches) > size
        if (before := query.get("before_id")) in names:
            batches = batches[: names.index(before)]
            more, batches = len(batches) > size, batches[-size:]
        page = [self._object(batch) for batch in batches[:size]]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return _json({"data": page, "has_more": more, **ends})

    def cancel(self, name: str) -> Reply:
        """Cancel a batch."""
        desk = self._desk
        if desk.odd("cancel_500"):
            raise InvalidError(failure_of(500))
        batch = desk.batch(self._account, name) or _no_such(name)
        if desk.life(batch).word in ENDED:
            refuse(f"Batch {name} cannot be canceled: it has ended.")
        desk.cancel(batch)
        reply = _json(self._object(batch))
        return lost_on_its_way(reply) if desk.odd("cancel_lost") else reply

    def delete(self, name: str) -> Reply:
        """Delete an ended batch."""
        desk = self._desk
        if desk.odd("delete_500"):
            raise InvalidError(failure_of(500))
        batch = desk.batch(self._account, name) or _no_such(name)
        if desk.life(batch).word not in ENDED:
            refuse(f"Batch {name} cannot be deleted while it is in progress.")
        desk.hide(batch)
        reply = _json({"id": name, "type": "message_batch_deleted"})
        return lost_on_its_way(reply) if desk.odd("delete_lost") else reply

    def results(self, name: str, headers: Mapping[str, str]) -> Reply:
        """Send the results of an ended batch."""
        desk = self._desk
        batch = desk.batch(self._account, name) or _no_such(name)
        if not self._has_results(batch):
            refuse(f"Batch {name} has no available results.", None, "NotFound", 404)
        stored = desk.records.files[batch.output_file or ""]
        return download(desk, stored, _LINES, headers)

    def _has_results(self, batch: StoredBatch) -> bool:
        life = self._desk.life(batch)
        if "output_id_late" in batch.odd and self._desk.elapsed_s(batch) < life.close_s + LATE_S:
            return False
        return life.word in ENDED and batch.output_file is not None and not self._desk.is_archived(batch)

    def _object(self, batch: StoredBatch, *, stale: bool = False) -> dict[str, Any]:
        desk = self._desk
        life = desk.life(batch)
        ended = life.word in ENDED and not stale
        rows = batch.rows if ended else {}
        word = "ended" if ended else "canceling" if life.word.startswith("cancel") else "in_progress"
        counts = {
            "processing": 0 if ended else batch.total,
            "succeeded": rows.get("succeeded", 0),
            "errored": rows.get("failed", 0),
            "canceled": rows.get("cancelled", 0),
            "expired": rows.get("expired", 0),
        }
        if "counts_zero" in batch.odd:
            counts = dict.fromkeys(counts, 0)
        archived = desk.is_archived(batch)
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "warming_up" if "unknown_word" in batch.odd and not ended else word,
            "request_counts": counts,
            "created_at": _time(batch, 0.0),
            "expires_at": _time(batch, _WINDOW_S),
            "ended_at": _time(batch, life.close_s) if ended else None,
            "cancel_initiated_at": None if batch.cancel_s is None else _time(batch, batch.cancel_s),
            "archived_at": _time(batch, desk.elapsed_s(batch)) if archived else None,
            "results_url": f"{self._base_url}/v1/messages/batches/{batch.id}/results"
            if ended and self._has_results(batch)
            else None,
        }


def _write_lines(body: Any, target: Path) -> int:
    """Write the requests of a body as lines, after the checks that the vendor makes at once. Return how many."""
    try:
        requests = msgspec.json.decode(body, type=_Requests).requests
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        refuse(f"requests: {error}", "requests")
    if not 1 <= len(requests) <= MOST_ROWS["anthropic"]:
        refuse(f"requests: List should have between 1 and {MOST_ROWS['anthropic']} items", "requests")
    decoder = msgspec.json.Decoder(MessageLine)
    seen: set[int] = set()
    with target.open("wb") as lines:
        for number, raw in enumerate(requests):
            try:
                line = decoder.decode(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                refuse(f"requests.{number}: {error}", "requests")
            if not _CUSTOM_ID.fullmatch(line.custom_id):
                refuse(f"requests.{number}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
            if hash(line.custom_id) in seen:
                refuse(f"requests.{number}.custom_id: custom_id must be unique")
            seen.add(hash(line.custom_id))
            lines.write(msgspec.json.encode(line) + b"\n")
    return len(requests)


def _time(batch: StoredBatch, after_s: float) -> str:
    return datetime.fromtimestamp(batch.created_s + after_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(value: dict[str, Any]) -> Reply:
    return Reply(200, (JSON,), msgspec.json.encode(value))


def _no_such(name: str) -> Any:
    refuse(f"Batch {name} was not found.", None, "NotFound", 404)
