"""Batches made of files: OpenAI's form, which DashScope, Azure, Groq, Mistral and most gateways have, too.

https://platform.openai.com/docs/api-reference/batch. A file of requests is uploaded, a batch is created from it, and
when that has ended there are two files of results: of answers and of errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import msgspec
from msgspec import UNSET, Struct, UnsetType

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
from batchgen.providers.batch_replies import (
    ReplyReader,
    listed,
    next_after,
    one_object,
    read_file_object,
    read_status,
)
from batchgen.providers.batch_terms import BatchTerms
from batchgen.providers.openai_chat import endpoint
from batchgen.providers.protocol import ModelSettings, Provider
from batchgen.providers.request_parts import with_user_headers
from batchgen.providers.vendor import Vendor
from batchgen.values import ApiCall, Failure, LocalPath, Request, Response

_CHAT = "/chat/completions"
_MANY = 10_000
"""More than a page holds where nobody asked for a number."""
_VERSION = re.compile(r"/v\d+$")
_DEPLOYMENT = re.compile(r"/deployments/([^/]+)$")


class _Body(Struct):
    """The fields of a request that a file of requests has in common."""

    enable_thinking: msgspec.Raw | UnsetType = UNSET


_decode_body = msgspec.json.Decoder(_Body).decode


class FileBatches:
    """The batch API of one vendor of this form, bound to one model's settings; see `BatchApi`.

    `trial` asks the model for free trials in place of the requests' own, where the vendor has one.
    """

    inline = False

    def __init__(
        self,
        settings: ModelSettings,
        vendor: Vendor,
        terms: BatchTerms,
        wire_format: Provider,
        *,
        trial: bool = False,
    ) -> None:
        self._terms = terms
        self._parts = urlsplit(endpoint(settings.base_url, vendor))
        root = self._parts.path.removesuffix(_CHAT)
        deployment = _DEPLOYMENT.search(root)
        self._named = deployment[1] if deployment else None  # Azure's older addresses name it in the path
        self._root = root[: deployment.start()] if deployment else root
        version = _VERSION.search(self._root)
        self._request_path = terms.request_path or (version[0] if version else "/v1") + _CHAT
        if trial and terms.trial is not None:
            self._named, self._request_path = terms.trial
        self._headers = with_user_headers({"Accept": "application/json"}, settings.headers)
        self._replies = ReplyReader(wire_format, self._url(_CHAT), vendor.errors, settings.name)
        self._lines = LineReader(wire_format, self._url(_CHAT), vendor.errors, settings.name)

    @property
    def limits(self) -> BatchLimits:
        return self._terms.limits

    def group(self, request: Request) -> str:
        """One model, and one setting of the switch for thinking where the vendor wants each request to say it."""
        if self._terms.thinks(request.model) is None:
            return request.model
        return f"{request.model} {'thinks' if self._thinks(request) else 'does not think'}"

    def _thinks(self, request: Request) -> bool | None:
        """Return whether a request thinks: as it says, else as its model does; None where there is no switch."""
        if b'"enable_thinking":' in request.body:
            stated = _decode_body(request.body).enable_thinking
            if stated is not UNSET:
                return bytes(stated) == b"true"
        return self._terms.thinks(request.model)

    def line(self, custom_id: str, request: Request) -> bytes:
        body = request.body
        thinks = self._terms.thinks(request.model)
        if thinks is not None and (b'"enable_thinking":' not in body or _decode_body(body).enable_thinking is UNSET):
            body = body[:-1] + b',"enable_thinking":' + (b"true}" if thinks else b"false}")
        if self._named is not None:
            body = msgspec.json.encode({**msgspec.json.decode(body), "model": self._named})
        if self._terms.bare_lines:
            bare = msgspec.json.decode(body)
            bare.pop("model", None)
            return json_line({"custom_id": custom_id}, msgspec.json.encode(bare))
        return json_line({"custom_id": custom_id, "method": "POST", "url": self._request_path}, body)

    # ---- files

    def upload(self, path: LocalPath, name: str) -> ApiCall:
        return ApiCall(
            "POST",
            self._url(self._terms.upload),
            self._headers,
            upload=path,
            file_name=name,
            file_field="file",
            form={"purpose": self._terms.purpose, **({} if self._named else self._terms.form)},
            creates=True,
        )

    def file(self, file_id: str) -> ApiCall:
        return self._get(f"/files/{_segment(file_id)}")

    def read_file(self, response: Response) -> BatchFile | Failure:
        given = one_object(response)
        if given is None:
            return self._replies.unusable(response)
        return read_file_object(given, needs_ready=self._terms.limits.needs_file_ready)

    def list_files(self) -> ApiCall:
        return self._get("/files", {"purpose": self._terms.purpose, **self._terms.list_files})

    def delete_file(self, file_id: str) -> ApiCall:
        return ApiCall("DELETE", self._url(f"/files/{_segment(file_id)}"), self._headers)

    # ---- batches

    def create(self, intent: BatchIntent) -> ApiCall:
        body = msgspec.json.encode(self._terms.body(intent, self._request_path))
        return ApiCall("POST", self._url(self._terms.batches), self._headers, body, creates=True)

    def retrieve(self, batch_id: str) -> ApiCall:
        return self._get(f"{self._terms.batches}/{_segment(batch_id)}")

    def list_batches(self, since_s: float, input_file: str | None = None) -> ApiCall:
        query = dict(self._terms.list_batches)
        if self._terms.since is not None:
            query[self._terms.since] = datetime.fromtimestamp(since_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if self._terms.by_input is not None and input_file is not None:
            query[self._terms.by_input] = input_file
        return self._get(self._terms.batches, query)

    def is_of(self, status: BatchStatus, intent: BatchIntent) -> bool:
        """Each intent has a file of its own; where the list does not show it, its name in the vendor's list tells."""
        if status.input_file is not None and intent.input_file is not None:
            return status.input_file == intent.input_file
        named = self._terms.body(intent, self._request_path)["metadata"]
        return bool(named) and all(status.metadata.get(key) == value for key, value in named.items())

    def cancel(self, batch_id: str) -> ApiCall:
        return ApiCall("POST", self._url(f"{self._terms.batches}/{_segment(batch_id)}/cancel"), self._headers)

    def clean_up(self, status: BatchStatus) -> Sequence[ApiCall]:
        files = (*((status.input_file,) if status.input_file else ()), *status.results)
        return [self.delete_file(name) for name in files]

    def read_batch(self, response: Response) -> BatchStatus | BatchError | Failure:
        given = one_object(response)
        if given is not None:
            return read_status(given, self._replies.errors)
        return self._replies.refused(response) or self._replies.unusable(response)

    def read_page(self, response: Response) -> BatchPage | Failure:
        items = listed(response)
        if items is None:
            return self._replies.unusable(response)
        if all("filename" in item or item.get("object") == "file" for item in items):
            ready = self._terms.limits.needs_file_ready
            path, query = "/files", {"purpose": self._terms.purpose, **self._terms.list_files}
            page = BatchPage(files=[read_file_object(item, needs_ready=ready) for item in items])
        else:
            path, query = self._terms.batches, dict(self._terms.list_batches)
            page = BatchPage(batches=[read_status(item, self._replies.errors) for item in items])
        last = next_after(response, int(query.get("limit", _MANY)))
        return page if last is None else msgspec.structs.replace(page, next=self._get(path, {**query, "after": last}))

    def refusal(self, response: Response) -> Failure | None:
        return None if 200 <= response.status < 300 else self._replies.unusable(response)

    # ---- results

    def results(self, status: BatchStatus) -> Sequence[ApiCall]:
        headers = {**self._headers, "Accept": "*/*"}
        return [ApiCall("GET", self._url(f"/files/{_segment(name)}/content"), headers) for name in status.results]

    def read_line(self, line: bytes, model: str = "") -> ResultLine:
        return self._lines.chat_line(line, model)

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> ApiCall:
        return ApiCall("GET", self._url(path, query), self._headers)

    def _url(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """Return the address of a call; what stands in the query of the job's own (Azure's version) stays there."""
        asked = urlencode([*parse_qsl(self._parts.query), *(query or {}).items()])
        return urlunsplit(self._parts._replace(path=self._root + path, query=asked))


def _segment(name: str) -> str:
    return quote(name, safe="")
