"""Which call of which batch API a request is."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct

from batchgen.simulator.answering import request_id_of
from batchgen.simulator.batches.desk import BatchDesk
from batchgen.simulator.batches.messages_batches import SimulatedMessageBatches
from batchgen.simulator.batches.openai_api import SimulatedBatches
from batchgen.simulator.batches.records import Dialect
from batchgen.simulator.batches.upload import BodyFile, BodySink, CutError, FormFile
from batchgen.simulator.exchange import HttpRequest, Reply, error_reply
from batchgen.simulator.rules import InvalidError, Problem, Wire
from batchgen.simulator.stats import digest_of

_PATH = re.compile(
    r"(?P<base>/v1|/compatible-mode/v1|/openai/v1|/openai)/(?P<kind>files|batches)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<action>content|cancel))?)?"
    r"|/v1/messages/(?P<messages>batches)(?:/(?P<batch>[^/]+)(?:/(?P<act>results|cancel))?)?"
)
_DIALECTS: dict[str, Dialect] = {"/v1": "openai", "/compatible-mode/v1": "compatible"}
_CUT_AT = 0.8
_CUT_WITHOUT_LENGTH = 100_000
_spool_numbers = count()


class BatchRoute(Struct, frozen=True):
    """A call: of files or batches, of the one that is named or of all."""

    dialect: Dialect
    kind: str
    name: str | None = None
    action: str | None = None

    @property
    def wire(self) -> Wire:
        """The form of its errors."""
        return "openai" if self.dialect == "azure" else self.dialect

    @property
    def takes_file(self) -> bool:
        """Whether its body may be as large as a file."""
        return self.name is None and (self.kind == "files" or self.dialect == "anthropic")


def route_of(path: str) -> BatchRoute | None:
    """Return the call that a path leads to; None for a path of another API."""
    match = _PATH.fullmatch(path)
    if match is None:
        return None
    if match["messages"]:
        return BatchRoute("anthropic", "batches", match["batch"], match["act"])
    return BatchRoute(_DIALECTS.get(match["base"], "azure"), match["kind"], match["name"], match["action"])


def open_sink(desk: BatchDesk, route: BatchRoute, headers: dict[str, str]) -> BodySink:
    """Return what takes the body of an upload."""
    path = desk.records.partial(f"upload-{next(_spool_numbers)}")
    if route.dialect == "anthropic":
        return BodyFile(path)
    cut_at = None
    if desk.odd("upload_broken"):
        length = headers.get("content-length", "")
        cut_at = _CUT_AT * int(length) if length.isdigit() else _CUT_WITHOUT_LENGTH
    return FormFile(headers.get("content-type", ""), path, cut_at)


def batch_reply(desk: BatchDesk, route: BatchRoute, request: HttpRequest, key: str) -> Reply:
    """Return the reply to a call with a valid key."""
    account = f"{digest_of(key.encode()):016x}"
    request_id = request_id_of(digest_of(request.target.encode()), desk.records.last_number)
    try:
        if route.dialect == "anthropic":
            return _messages(desk, route, request, account)
        return _openai(desk, route, request, account)
    except InvalidError as error:
        return error_reply(route.wire, error.problem, request_id)
    except CutError:
        return Reply(200, fault="reset")
    finally:
        if request.sink is not None:
            request.sink.abort()


def _openai(desk: BatchDesk, route: BatchRoute, request: HttpRequest, account: str) -> Reply:
    api = SimulatedBatches(desk, route.dialect, account)
    query = dict(parse_qsl(urlsplit(request.target).query))
    name = route.name or ""
    match request.method, route.kind, bool(name), route.action:
        case "POST", "files", False, None:
            form = _form(desk, route, request)
            try:
                return api.upload(form)
            finally:
                form.abort()  # what is not kept by now
        case "GET", "files", False, None:
            return api.list_files(query)
        case "GET", "files", True, None:
            return api.show_file(name)
        case "DELETE", "files", True, None:
            return api.delete_file(name)
        case "GET", "files", True, "content":
            return api.download(name, request.headers)
        case "POST", "batches", False, None:
            return api.create(request.body)
        case "GET", "batches", False, None:
            return api.list_batches(query)
        case "GET", "batches", True, None:
            return api.retrieve(name)
        case "POST", "batches", True, "cancel":
            return api.cancel(name)
    raise InvalidError(_not_allowed(request))


def _form(desk: BatchDesk, route: BatchRoute, request: HttpRequest) -> FormFile:
    """Return an uploaded form. Raises CutError where the connection is to be cut."""
    sink = request.sink
    if isinstance(sink, FormFile):
        return sink
    form = open_sink(desk, route, {**request.headers, "content-length": str(len(request.body))})
    assert isinstance(form, FormFile)
    try:
        form.write(request.body)
    except CutError:
        form.abort()
        raise
    form.end()
    return form


def _messages(desk: BatchDesk, route: BatchRoute, request: HttpRequest, account: str) -> Reply:
    api = SimulatedMessageBatches(desk, account, f"http://{request.headers.get('host', 'simulator')}")
    name = route.name or ""
    match request.method, bool(name), route.action:
        case "POST", False, None:
            body: bytes | Path = request.sink.path if isinstance(request.sink, BodyFile) else request.body
            return api.create(body, request.headers)
        case "GET", False, None:
            return api.list_batches(dict(parse_qsl(urlsplit(request.target).query)))
        case "GET", True, None:
            return api.retrieve(name)
        case "DELETE", True, None:
            return api.delete(name)
        case "GET", True, "results":
            return api.results(name, request.headers)
        case "POST", True, "cancel":
            return api.cancel(name)
    raise InvalidError(_not_allowed(request))


def _not_allowed(request: HttpRequest) -> Problem:
    return Problem(405, "InvalidParameter", f"Invalid method for URL ({request.method} {request.target})")
