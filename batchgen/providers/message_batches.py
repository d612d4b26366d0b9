"""Anthropic's message batches: all requests travel in the call that creates the batch, results come from an address.

https://platform.claude.com/docs/en/build-with-claude/batch-processing. A batch has neither a name nor a file: after a
lost reply only the ids in its results tell whose it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from batchgen.providers.anthropic_messages import VERSION, endpoint
from batchgen.providers.batch_api import (
    BatchError,
    BatchFile,
    BatchIntent,
    BatchLimits,
    BatchPage,
    BatchStatus,
    ResultLine,
)
from batchgen.providers.batch_lines import LineReader, json_line
from batchgen.providers.batch_replies import ReplyReader, listed, next_after, one_object, phase_of, time_s, whole
from batchgen.providers.batch_terms import BatchTerms
from batchgen.providers.protocol import ModelSettings, Provider
from batchgen.providers.request_parts import with_user_headers
from batchgen.providers.vendor import Vendor
from batchgen.providers.wire import word_or_none
from batchgen.values import ApiCall, Failure, LocalPath, Request, Response

_PATH = "/batches"
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")
_PAGE = "1000"
_NO_FILES = NotImplementedError("message batches have no files")


class MessageBatches:
    """Anthropic's message batches, bound to one model's settings; see `BatchApi`."""

    inline = True

    def __init__(
        self,
        settings: ModelSettings,
        vendor: Vendor,
        terms: BatchTerms,
        wire_format: Provider,
    ) -> None:
        self._terms = terms
        self._parts = urlsplit(endpoint(settings.base_url))
        self._headers = with_user_headers(
            {"Accept": "application/json", "anthropic-version": VERSION}, settings.headers
        )
        self._replies = ReplyReader(wire_format, self._parts.geturl(), vendor.errors, settings.name)
        self._lines = LineReader(wire_format, self._parts.geturl(), vendor.errors, settings.name)

    @property
    def limits(self) -> BatchLimits:
        return self._terms.limits

    def group(self, request: Request) -> str:
        """Any requests may stand in one batch; one model each keeps its price plain."""
        return request.model

    def line(self, custom_id: str, request: Request) -> bytes:
        if not _ID.fullmatch(custom_id):
            raise ValueError(f"{custom_id!r} is no id that a message batch takes")
        return json_line({"custom_id": custom_id}, request.body, "params")

    # ---- there are no files

    def upload(self, path: LocalPath, name: str) -> ApiCall:
        raise _NO_FILES

    def file(self, file_id: str) -> ApiCall:
        raise _NO_FILES

    def read_file(self, response: Response) -> BatchFile | Failure:
        raise _NO_FILES

    def list_files(self) -> ApiCall:
        raise _NO_FILES

    def delete_file(self, file_id: str) -> ApiCall:
        raise _NO_FILES

    # ---- batches

    def create(self, intent: BatchIntent) -> ApiCall:
        return ApiCall(
            "POST",
            self._url(_PATH),
            self._headers,
            upload=intent.path,
            before=b'{"requests":[',
            after=b"]}",
            as_list=True,
            creates=True,
        )

    def retrieve(self, batch_id: str) -> ApiCall:
        return ApiCall("GET", self._url(_batch(batch_id)), self._headers)

    def list_batches(self, since_s: float, input_file: str | None = None) -> ApiCall:
        return ApiCall("GET", self._url(_PATH, {"limit": _PAGE}), self._headers)

    def is_of(self, status: BatchStatus, intent: BatchIntent) -> bool | None:
        """Only the ids in the results can tell. A running batch of another size is another one; once it has ended,
        rows may be missing from the counts, and the ids can be looked at."""
        return None if not status.total or status.total == intent.rows or status.phase == "ended" else False

    def cancel(self, batch_id: str) -> ApiCall:
        return ApiCall("POST", self._url(f"{_batch(batch_id)}/cancel"), self._headers)

    def clean_up(self, status: BatchStatus) -> Sequence[ApiCall]:
        return [ApiCall("DELETE", self._url(_batch(status.id)), self._headers)]

    def read_batch(self, response: Response) -> BatchStatus | BatchError | Failure:
        given = one_object(response)
        if given is not None:
            return self._status(given)
        return self._replies.refused(response) or self._replies.unusable(response)

    def read_page(self, response: Response) -> BatchPage | Failure:
        items = listed(response)
        if items is None:
            return self._replies.unusable(response)
        last = next_after(response, int(_PAGE))
        query = {"limit": _PAGE, "after_id": last or ""}
        following = None if last is None else ApiCall("GET", self._url(_PATH, query), self._headers)
        return BatchPage(batches=[self._status(item) for item in items], next=following)

    def refusal(self, response: Response) -> Failure | None:
        return None if 200 <= response.status < 300 else self._replies.unusable(response)

    def _status(self, given: Mapping[str, Any]) -> BatchStatus:
        word = word_or_none(given.get("processing_status")) or ""
        phase = phase_of(word, results=True, reasons=False)
        counts = given.get("request_counts")
        numbers = {name: whole(counts.get(name)) or 0 for name in _COUNTS} if isinstance(counts, dict) else {}
        archived = time_s(given.get("archived_at")) is not None
        return BatchStatus(
            id=str(given["id"]),
            phase=phase,
            word=word,
            results=(self._url(f"{_batch(str(given['id']))}/results"),) if phase == "ended" and not archived else (),
            total=sum(numbers.values()) if numbers else None,
            completed=numbers.get("succeeded"),
            failed=sum(numbers[name] for name in _COUNTS[2:]) if numbers else None,
            created_s=time_s(given.get("created_at")),
            ended_s=time_s(given.get("ended_at")),
        )

    # ---- results

    def results(self, status: BatchStatus) -> Sequence[ApiCall]:
        return [ApiCall("GET", address, {**self._headers, "Accept": "*/*"}) for address in status.results]

    def read_line(self, line: bytes, model: str = "") -> ResultLine:
        return self._lines.message_line(line, model)

    def _url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        asked = urlencode([*parse_qsl(self._parts.query), *(query or {}).items()])
        return urlunsplit(self._parts._replace(path=self._parts.path + path, query=asked))


def _batch(batch_id: str) -> str:
    return f"{_PATH}/{quote(batch_id, safe='')}"
