"""The client for APIs of files and batches: few calls, large bodies, memory that does not grow with them.

It is for everything that is not a row's own request: uploads are streamed from a file, downloads to one, and each call
has a connection of its own, so that none can break because an idle connection was reused. It retries nothing but a
download, which is resumed where it was cut. The key goes to the origin of `base_url` alone; where the content of a file
is elsewhere (a redirect to a storage host) it is fetched without it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import anyio
import httpx
from anyio import to_thread
from msgspec import Struct

from batchgen.errors import JobError
from batchgen.files.replace import ReplacementFile, replacing
from batchgen.secret import Secrets
from batchgen.transport import failures
from batchgen.transport.failures import Trouble, failure
from batchgen.transport.httpx_client import HttpxClient, SendProgress, build_transport, read_error
from batchgen.transport.protocol import BODY_CAP, STREAM_FACTOR
from batchgen.transport.route import Route, route_to
from batchgen.transport.unpack import UnpackError, unpacked
from batchgen.transport.upload import UploadBody, body_of
from batchgen.values import KEPT_HEADERS, ApiCall, Failure, Response

_MOST_REDIRECTS = 5
_MOST_FRUITLESS = 3
"""So many attempts of a download in a row may bring nothing further."""

_SLOWEST = 100_000
"""Bytes a second below which an upload is given up, as far as its silences have not ended it before."""

_KEEP_METHOD = frozenset({307, 308})
_REDIRECTS = _KEEP_METHOD | {301, 302, 303}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

Receive = Callable[[httpx.Response, Callable[[], None]], Awaitable[Response | Failure]]
"""Takes the body of a reply; the second argument says that something has come."""


class _Exchange(Struct, frozen=True):
    """A call as it is made at each address of a chain of redirects."""

    method: str
    body: UploadBody
    receive: Receive
    timeout_s: float


class _Line(Struct, frozen=True):
    """The route to an origin, and what sends along it."""

    route: Route
    inner: httpx.AsyncBaseTransport


class FileClient(HttpxClient):
    """Makes the calls of one origin. Made by `open_file_client`; `inner` takes the place of httpx's own transport."""

    def __init__(
        self,
        route: Route,
        secrets: Secrets,
        *,
        connect_timeout_s: float,
        inner: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(inner if inner is not None else build_transport(route, kept=0), secrets)
        self.route = route
        self._connect_timeout_s = connect_timeout_s

    async def call(self, call: ApiCall, *, timeout_s: float) -> Response | Failure:
        """Make a call and return the whole reply, or a failure that is described in `failures.py`.

        `timeout_s` bounds each silence: the time without a byte sent or received; 20 times that, and what a slow line
        takes for an upload, bound the whole. Raises `OSError` if the file to upload is not there; else nothing but
        cancellation.
        """
        return await self._exchange(call, self._gather, timeout_s, {})

    async def download(self, call: ApiCall, path: Path, *, timeout_s: float) -> Response | Failure:
        """Make a call and write the body of its reply to a file, which appears whole or not at all.

        Return the reply without its body, or as `call` does what came in its place: an error's status with its body, or
        a failure. A download that was cut is resumed, as long as each attempt brings something; one whose length the
        server does not say is whole when nothing comes behind its end. Raises `OSError` if the file cannot be written.
        """
        outcome: Response | Failure | None = None
        try:
            with replacing(path) as file:
                content = _Content(file, self._gather)
                fruitless = 0
                while fruitless < _MOST_FRUITLESS:
                    before = file.size
                    outcome = await self._exchange(call, content.receive, timeout_s, content.range())
                    if file.refusal is not None:
                        raise file.refusal
                    if content.whole:
                        await to_thread.run_sync(file.sync)
                        return outcome
                    if content.unsure:
                        continue
                    if isinstance(outcome, Response) or outcome.unsent or content.changed:
                        break
                    fruitless = 0 if file.size > before else fruitless + 1
                raise _AbandonedError
        except _AbandonedError:
            assert outcome is not None
            return outcome

    # ---- one exchange, with its redirects

    async def _exchange(
        self, call: ApiCall, receive: Receive, timeout_s: float, extra: Mapping[str, str]
    ) -> Response | Failure:
        if not call.url.startswith(f"{self.route.origin}/"):
            return failure(failures.FOREIGN, self.route, self._secrets, "")
        body = await to_thread.run_sync(body_of, call)
        exchange = _Exchange(call.method, body, receive, timeout_s)
        url, line = call.url, _Line(self.route, self._inner)
        outcome: Response | Failure
        for _ in range(_MOST_REDIRECTS):
            headers = self._headers(call, body) if line.route is self.route else _FOREIGN_HEADERS
            try:
                outcome = await self._attempt(exchange, url, {**headers, **extra}, line)
            finally:
                if line.inner is not self._inner:
                    with anyio.CancelScope(shield=True):
                        await line.inner.aclose()
            if isinstance(outcome, Failure) or outcome.status not in _REDIRECTS:
                break
            target = urljoin(url, outcome.headers.get("location", ""))
            if target.startswith(f"{self.route.origin}/"):
                if call.method == "POST" and outcome.status not in _KEEP_METHOD:
                    break
                line = _Line(self.route, self._inner)
            elif receive == self._gather or not _may_leave(url, target):
                break
            else:
                try:
                    route = route_to(target)
                    line = _Line(route, build_transport(route, kept=0))
                except JobError:
                    break
            url = target
        return outcome

    async def _attempt(
        self, exchange: _Exchange, url: str, headers: Mapping[str, str], line: _Line
    ) -> Response | Failure:
        way = SendProgress(sending=not isinstance(line.inner, httpx.AsyncHTTPTransport))  # httpcore alone tells how far
        timeout_s, body = exchange.timeout_s, exchange.body
        total_s = timeout_s * STREAM_FACTOR + body.length / _SLOWEST
        with anyio.move_on_after(total_s), anyio.move_on_after(timeout_s) as silence:

            def progressed() -> None:
                silence.deadline = anyio.current_time() + timeout_s

            try:
                request = httpx.Request(
                    exchange.method,
                    url,
                    headers=headers,
                    content=body.parts(progressed) if exchange.method == "POST" else None,
                    extensions={"trace": way.note, "timeout": {"connect": min(self._connect_timeout_s, timeout_s)}},
                )
                reply = await line.inner.handle_async_request(request)
                try:
                    progressed()
                    return await exchange.receive(reply, progressed)
                finally:
                    with anyio.CancelScope(shield=True):
                        await reply.aclose()
            except UnpackError as error:
                trouble = failures.CUT if error.cut else failures.BAD_ENCODING
                return failure(trouble, line.route, self._secrets, str(error))
            except _TroubleError as error:
                return failure(error.trouble, line.route, self._secrets, str(error))
            except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
                trouble, detail = read_error(error, way)
                return failure(trouble, line.route, self._secrets, detail, limit_s=timeout_s)
        if not way.sending:
            return failure(failures.CONNECT_TIMEOUT, line.route, self._secrets, "")
        trouble, limit_s = (failures.SILENCE, timeout_s) if silence.cancelled_caught else (failures.DEADLINE, total_s)
        return failure(trouble, line.route, self._secrets, "", limit_s=limit_s)

    def _headers(self, call: ApiCall, body: UploadBody) -> dict[str, str]:
        """Return all headers but Host. They are built anew each time, so that no attribute holds a secret in plain
        text."""
        given = {name.lower(): value for name, value in call.headers.items()}
        if call.method == "POST":
            given["content-length"] = str(body.length)
            given.pop("content-type", None)
            if body.type is not None:
                given["content-type"] = body.type
        secret = {header.name.lower(): header.reveal() for header in self._secrets.headers}
        return {**_FOREIGN_HEADERS, **given, **secret}

    async def _gather(self, reply: httpx.Response, progressed: Callable[[], None]) -> Response | Failure:
        """Take the body of a reply into memory."""
        body = bytearray()
        async for part in _decoded(reply, progressed):
            body += part
            if len(body) > BODY_CAP:
                raise _TroubleError(failures.TOO_LARGE, f"over {BODY_CAP} bytes")
        return Response(reply.status_code, _kept(reply), bytes(body))


_FOREIGN_HEADERS = {"user-agent": "batchgen", "accept": "*/*", "accept-encoding": "identity"}


class _AbandonedError(Exception):
    """A download has ended without a file."""


class _TroubleError(Exception):
    """The reply shows a trouble."""

    def __init__(self, trouble: Trouble, detail: str) -> None:
        super().__init__(detail)
        self.trouble = trouble


class _Content:
    """The content of a file that is downloaded in one or more attempts.

    A server that does not resume sends it from the beginning: then what is there already is skipped, and must be the
    same. `whole`: the end has come; `changed`: it was not the same; `unsure`: an end came that no length confirms, as
    it would if the connection had been closed too soon in an orderly way.
    """

    def __init__(self, file: ReplacementFile, gather: Receive) -> None:
        self._file = file
        self._gather = gather
        self._etag: str | None = None
        self._packed = False  # then a range would be one of the packed bytes
        self.whole = self.changed = self.unsure = False
        self._ended_at: int | None = None

    def range(self) -> dict[str, str]:
        """Return the headers that ask for the rest."""
        if not self._file.size or self._packed:
            return {}
        return {"range": f"bytes={self._file.size}-", **({"if-range": self._etag} if self._etag else {})}

    async def receive(self, reply: httpx.Response, progressed: Callable[[], None]) -> Response | Failure:
        """Write the body to the file; the body of an error is returned."""
        if reply.status_code == 416 and self._ended_at == self._file.size:  # there is nothing behind it
            self.whole = True
            return Response(200, _kept(reply), b"")
        self.unsure = False
        if reply.status_code not in (200, 206):
            return await self._gather(reply, progressed)
        skip, total = self._file.size, None
        if reply.status_code == 206:
            found = _CONTENT_RANGE.match(reply.headers.get("content-range", ""))
            if found is None or int(found[1]) != skip:
                self.changed = True
                raise _TroubleError(failures.BAD_HTTP, "another part of the file was sent than was asked for")
            skip, total = 0, found[2]
        etag = reply.headers.get("etag", "")
        self._etag = etag if etag.startswith('"') else None
        self._packed = reply.headers.get("content-encoding", "identity").lower() != "identity"
        expected, crc = self._file.crc, 0
        async for part in _decoded(reply, progressed):
            fresh = part
            if skip:
                again, fresh = part[:skip], part[skip:]
                crc, skip = zlib.crc32(again, crc), skip - len(again)
                if not skip and crc != expected:
                    self.changed = True
                    raise _TroubleError(failures.CUT, "the file has changed since its first part came")
            if fresh:
                await to_thread.run_sync(self._file.write, fresh)
        if skip:
            self.changed = True
            raise _TroubleError(failures.CUT, "the file is shorter than its first part was")
        known = self._packed or "content-length" in reply.headers or total == str(self._file.size)
        self.whole = known or self._ended_at == self._file.size
        self.unsure, self._ended_at = not self.whole, self._file.size
        return Response(200, _kept(reply), b"")


async def _decoded(reply: httpx.Response, progressed: Callable[[], None]) -> AsyncIterator[bytes]:
    """Yield the body of a reply, decompressed."""
    async for parts in unpacked(reply.headers.get("content-encoding", "identity"), reply.stream):  # type: ignore[arg-type]
        for part in parts:
            yield part
        progressed()


def _kept(reply: httpx.Response) -> dict[str, str]:
    return {name: value for name in ("date", *KEPT_HEADERS) if (value := reply.headers.get(name)) is not None}


def _may_leave(url: str, target: str) -> bool:
    """Whether content may be fetched from another origin: never in the clear what was to be encrypted."""
    here, there = urlsplit(url), urlsplit(target)
    return there.scheme == "https" or (there.scheme == "http" and here.scheme == "http")
