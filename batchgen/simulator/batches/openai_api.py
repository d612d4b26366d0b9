"""The calls of OpenAI's form for files and batches, also as DashScope's compatible mode and Azure have them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from batchgen.simulator.batches.desk import BatchDesk
from batchgen.simulator.batches.life import ENDED
from batchgen.simulator.batches.openai_form import batch_object, file_is_late, file_object
from batchgen.simulator.batches.records import Dialect, StoredBatch, StoredFile
from batchgen.simulator.batches.rows import TEST_ENDPOINT, path_of
from batchgen.simulator.batches.upload import FormFile
from batchgen.simulator.error_bodies import HTML_PAGE
from batchgen.simulator.exchange import HTML, JSON, FileBody, Reply
from batchgen.simulator.rules import InvalidError, Problem, refuse

_BYTES = ("content-type", "application/octet-stream")
_MOST_UPLOAD = {"openai": 512_000_000, "compatible": 500_000_000, "azure": 1_000_000_000}
_RANGE = re.compile(r"bytes=(\d+)-")
_WINDOW = re.compile(r"(\d+)([hd])")
_LEAST_WINDOW_H, _MOST_WINDOW_H = 24, 336
_MOST_OPEN, _MOST_OPEN_TESTS = 1000, 2
_METADATA_PAIRS, _METADATA_KEY, _METADATA_VALUE = 16, 64, 512

Query = Mapping[str, str]


class SimulatedBatches:
    """Answers calls of one dialect for one account. Refusals are raised as InvalidError."""

    def __init__(self, desk: BatchDesk, dialect: Dialect, account: str) -> None:
        self._desk = desk
        self._dialect: Dialect = dialect
        self._account = account

    # Files

    def upload(self, form: FormFile) -> Reply:
        """Keep an uploaded file."""
        desk = self._desk
        self._may_fail("upload_429", "upload_500")
        if form.wrong:
            refuse(form.wrong)
        if form.file_name is None:
            refuse("'file' is a required property", "file")
        purpose = form.fields.get("purpose")
        if not purpose:
            refuse("'purpose' is a required property", "purpose")
        if purpose == "batch" and not form.file_name.endswith(".jsonl"):
            refuse("Invalid file format for Batch API. Must be .jsonl", "file")
        if form.size > _MOST_UPLOAD[self._dialect]:
            refuse("The file is too large.", "file", "BadRequest.TooLarge", 413)
        kept = form.fields.get("expires_after[seconds]")
        stored = desk.add_file(
            self._account,
            self._dialect,
            form.path,
            name=form.file_name,
            purpose=purpose,
            kept_s=float(kept) if kept and kept.isdigit() else 30 * 86_400 if self._dialect == "openai" else None,
        )
        reply = _json(file_object(desk, stored))
        return lost_on_its_way(reply) if desk.odd("upload_lost") else reply

    def list_files(self, query: Query) -> Reply:
        """List files, newest first."""
        self._may_fail("list_500")
        files = self._desk.files(self._account, self._dialect)
        if purpose := query.get("purpose"):
            files = [stored for stored in files if stored.purpose == purpose]
        if query.get("order") == "asc":
            files.reverse()
        return self._page([file_object(self._desk, stored) for stored in files], query, 10_000)

    def show_file(self, name: str) -> Reply:
        """Show a file."""
        stored = self._desk.file(self._account, name) or _no_such("File", name)
        return _json(file_object(self._desk, stored))

    def delete_file(self, name: str) -> Reply:
        """Delete a file."""
        desk = self._desk
        self._may_fail("delete_500")
        desk.delete_file(desk.file(self._account, name) or _no_such("File", name))
        reply = _json({"id": name, "object": "file", "deleted": True})
        return lost_on_its_way(reply) if desk.odd("delete_lost") else reply

    def download(self, name: str, headers: Mapping[str, str]) -> Reply:
        """Send the bytes of a file."""
        stored = self._desk.file(self._account, name) or _no_such("File", name)
        return download(self._desk, stored, _BYTES, headers)

    # Batches

    def create(self, body: bytes) -> Reply:
        """Create a batch."""
        desk = self._desk
        self._may_fail("create_429", "create_500")
        if desk.odd("create_404"):
            _no_such("File", "of this batch")
        if desk.odd("create_refused"):
            refuse("The model does not exist or does not support the Batch API.", "model", "ModelNotFound", 404)
        if desk.created_lately(self._account) >= desk.settings.batch_creates:
            refuse("Rate limit reached for batch creation. Please try again later.", None, "Throttling", 429)
        fields = _fields(body)
        endpoint, window, input_file = (
            _text(fields, name) for name in ("endpoint", "completion_window", "input_file_id")
        )
        if path_of(self._dialect, endpoint) is None:
            refuse(f"Invalid value: {endpoint!r}. The simulator serves chat completions only.", "endpoint")
        window_s = self._window_s(window)
        metadata = _metadata(fields.get("metadata"))
        stored = desk.file(self._account, input_file)
        if stored is not None and (file_is_late(desk, stored) or "file_error" in stored.odd):
            refuse(f"The file {input_file} is not ready to be used.", "input_file_id")
        opened = desk.open_batches(self._account)
        if len(opened) >= _MOST_OPEN or (
            endpoint == TEST_ENDPOINT and sum(b.endpoint == endpoint for b in opened) >= _MOST_OPEN_TESTS
        ):
            refuse("Too many batches are open. Please try again later.", None, "Throttling", 429)
        batch = desk.add_batch(
            self._account,
            self._dialect,
            input_file if stored is not None else f"{input_file}.unknown",
            endpoint=endpoint,
            window=window,
            window_s=None if self._dialect == "azure" else window_s,
            metadata=metadata,
        )
        return created_reply(desk, _json(batch_object(desk, batch)), self._failure(500))

    def retrieve(self, name: str) -> Reply:
        """Show a batch."""
        desk = self._desk
        self._may_fail("retrieve_500")
        if desk.odd("retrieve_html"):
            return Reply(502, (HTML,), HTML_PAGE)
        if desk.odd("retrieve_error"):
            return _json({"error": {"message": "The batch could not be loaded.", "type": "server_error", "code": None}})
        batch = None if desk.odd("retrieve_404") else desk.batch(self._account, name)
        shown = batch_object(desk, batch or _no_such("Batch", name), stale=desk.odd("retrieve_stale"))
        return cut_off(_json(shown)) if desk.odd("retrieve_cut") else _json(shown)

    def list_batches(self, query: Query) -> Reply:
        """List batches, newest first; in compatible mode those that fit the filters."""
        self._may_fail("list_500")
        desk = self._desk
        batches = desk.batches(self._account, dialect=self._dialect)
        if self._dialect == "compatible":
            batches = [batch for batch in batches if self._fits(batch, query)]
        return self._page([batch_object(desk, batch) for batch in batches], query, 100)

    def cancel(self, name: str) -> Reply:
        """Cancel a batch."""
        desk = self._desk
        self._may_fail("cancel_500")
        if desk.odd("cancel_409"):
            refuse("Cannot cancel a batch with status 'validating'.", None, "InvalidState", 409)
        batch = desk.batch(self._account, name) or _no_such("Batch", name)
        word = desk.life(batch).word
        if word in ENDED:
            refuse(f"Cannot cancel a batch with status '{word}'.", None, "InvalidState", 409)
        desk.cancel(batch)
        reply = _json(batch_object(desk, batch))
        return lost_on_its_way(reply) if desk.odd("cancel_lost") else reply

    def _fits(self, batch: StoredBatch, query: Query) -> bool:
        shown = datetime.fromtimestamp(batch.created_s, UTC).strftime("%Y%m%d%H%M%S")
        files = query.get("input_file_ids")
        return (
            (not files or batch.input_file in files.split(","))
            and query.get("ds_name", "") in (batch.metadata or {}).get("ds_name", "")
            and query.get("status", "") in ("", self._desk.life(batch).word)
            and query.get("create_after", "") <= shown
            and shown <= query.get("create_before", "9")
        )

    def _window_s(self, window: str) -> float:
        match = _WINDOW.fullmatch(window)
        hours = int(match[1]) * (24 if match[2] == "d" else 1) if match else 0
        most = _LEAST_WINDOW_H if self._dialect == "openai" else _MOST_WINDOW_H
        if not _LEAST_WINDOW_H <= hours <= most:
            refuse(f"Invalid value: {window!r}. Supported values are: '24h'.", "completion_window")
        return hours * 3600.0

    def _page(self, things: list[dict[str, Any]], query: Query, most: int) -> Reply:
        limit = query.get("limit", "20" if most == 100 else str(most))
        if not limit.isdigit() or not 1 <= int(limit) <= most:
            refuse(f"Invalid 'limit': must be between 1 and {most}.", "limit")
        oldest_first, repeats = self._desk.odd("list_oldest_first"), self._desk.odd("list_repeats")
        if oldest_first:
            things = things[::-1]
        if (after := query.get("after")) and not repeats:
            names = [thing["id"] for thing in things]
            things = things[names.index(after) + 1 :] if after in names else []
        page = things[: 3 if oldest_first or repeats else int(limit)]
        if self._desk.odd("list_value"):
            return _json({"value": page})
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
        return _json({"object": "list", "data": page, **ends, "has_more": repeats or len(things) > len(page)})

    def _may_fail(self, *names: str) -> None:
        for name in names:
            if self._desk.odd(name):
                raise InvalidError(self._failure(int(name[-3:])))

    def _failure(self, status: int) -> Problem:
        return failure_of(status)


def failure_of(status: int) -> Problem:
    """Return the error of a call that fails for no fault of the client."""
    if status == 429:
        return Problem(429, "Throttling", "Rate limit reached. Please try again later.")
    return Problem(status, "InternalError", "An internal error has occured, try again.")


def created_reply(desk: BatchDesk, reply: Reply, failed: Problem) -> Reply:
    """Return the reply to a batch that was created, or what becomes of it on its way."""
    if desk.odd("create_lost"):
        return lost_on_its_way(reply)
    if desk.odd("create_cut"):
        return cut_off(reply)
    if desk.odd("create_hang"):
        return msgspec.structs.replace(reply, fault="hang", wait_s=desk.settings.hang_s)
    if desk.odd("create_500_made"):
        raise InvalidError(failed)
    return reply


def download(desk: BatchDesk, stored: StoredFile, kind: tuple[str, str], asked: Mapping[str, str]) -> Reply:
    """Return the reply that sends a file, or the rest of it, or what becomes of it on its way."""
    if desk.odd("download_500"):
        raise InvalidError(failure_of(500))
    if desk.odd("download_204"):
        return Reply(204)
    if desk.odd("download_404"):
        refuse("No such File object.", "id", "NotFound", 404)
    if desk.odd("download_redirect"):
        return Reply(302, (("location", "?again=1"),))
    body = FileBody(str(desk.records.path(stored.id)), stored.size)
    if desk.odd("download_chunked_short"):
        return Reply(200, (kind,), file=msgspec.structs.replace(body, size=body.size // 2, chunked=True))
    if desk.odd("download_gzip"):
        packed = msgspec.structs.replace(body, chunked=True, gzip=True)
        return Reply(200, (kind, ("content-encoding", "gzip")), file=packed)
    fault = "reset_body" if desk.odd("download_cut") else "truncate" if desk.odd("download_short") else None
    headers = (kind, ("etag", f'"{stored.id}"'), ("accept-ranges", "bytes"))
    rest = _RANGE.fullmatch(asked.get("range", ""))
    if rest is None or asked.get("if-range", headers[1][1]) != headers[1][1] or desk.odd("range_ignored"):
        return Reply(200, headers, file=body, fault=fault)
    start = int(rest[1])
    if start >= body.size:
        return Reply(416, (("content-range", f"bytes */{body.size}"),))
    told = ("content-range", f"bytes {start}-{body.size - 1}/{body.size}")
    part = msgspec.structs.replace(body, start=start, size=body.size - start)
    return Reply(206, (*headers, told), file=part, fault=fault)


def _json(value: dict[str, Any]) -> Reply:
    return Reply(200, (JSON,), msgspec.json.encode(value))


def lost_on_its_way(reply: Reply) -> Reply:
    """Return a reply in place of which the connection is reset."""
    return msgspec.structs.replace(reply, fault="reset")


def cut_off(reply: Reply) -> Reply:
    """Return a reply in the middle of which the connection is closed."""
    return msgspec.structs.replace(reply, fault="truncate")


def _no_such(what: str, name: str) -> Any:
    code = "NotFound" if what == "File" else "BatchNotFound"
    raise InvalidError(Problem(404, code, f"No such {what} object: {name}", "id"))


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        refuse("The request body is not valid JSON.")
    if not isinstance(fields, dict):
        refuse("The request body must be a JSON object.")
    return fields


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        refuse(f"Missing required parameter: '{name}'.", name)
    return value


def _metadata(given: Any) -> dict[str, str] | None:
    if given is None:
        return None
    if not isinstance(given, dict) or len(given) > _METADATA_PAIRS:
        refuse("'metadata' must be an object of at most 16 pairs.", "metadata")
    for key, value in given.items():
        if not isinstance(value, str) or len(key) > _METADATA_KEY or len(value) > _METADATA_VALUE:
            refuse("Invalid 'metadata': keys of at most 64 characters, values are strings of at most 512.", "metadata")
    return given
