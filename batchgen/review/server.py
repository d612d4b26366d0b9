"""The page's server: on 127.0.0.1 alone, below a path that nobody can guess, asked by its own page only."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from batchgen.errors import BatchgenError
from batchgen.review.room import ReviewRoom
from batchgen.review.table import RowChoice
from batchgen.text.storable import json_bytes

HOST = "127.0.0.1"
_PAGE_ROWS = 100
_MOST_BODY = 4 * 1024 * 1024
_HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
        b"form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
]
_FILES = {"page.css": "text/css", "page.js": "text/javascript", "shown.js": "text/javascript"}

_Message = MutableMapping[str, Any]
_Send = Callable[[_Message], Awaitable[None]]


class _Guard:
    """Refuses requests that name another host or come from another page, and says what the page may do.

    A name of another host is what a page elsewhere sends that had its name resolve to this machine.
    """

    def __init__(self, app: Any, port: int) -> None:
        self._app = app
        self._hosts = {f"{HOST}:{port}".encode(), f"localhost:{port}".encode()}

    async def __call__(self, scope: Any, receive: Any, send: _Send) -> None:
        async def with_headers(message: _Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        headers = scope.get("headers", [])
        hosts = [value for name, value in headers if name == b"host"]
        origins = [value for name, value in headers if name == b"origin"]
        right = len(hosts) == 1 and hosts[0] in self._hosts and all(one == b"http://" + hosts[0] for one in origins)
        if scope["type"] != "http" or not right:
            await Response("Refused.", 403, media_type="text/plain")(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)


class _Asked(msgspec.Struct):
    """What a page posts: the reading and the place of a row, `values` to correct (none: accept), or what to undo."""

    reading: int = 0
    place: int = 0
    values: dict[str, str | None] | None = None
    row_id: str = ""
    when: datetime | None = None


def application(room: ReviewRoom, token: str, port: int) -> Starlette:
    """Return the ASGI application; everything is below `/token/`."""

    def page(request: Request) -> Response:
        return Response(_packaged("page.html"), media_type="text/html")

    def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _FILES:
            return Response("There is no such file.", 404, media_type="text/plain")
        return Response(_packaged(name), media_type=_FILES[name])

    def opened(request: Request) -> Response:
        number = room.open()
        reading = room.reading(number)
        table = reading.table
        rows = table.rows
        state = rows.runs[0].state
        return _json(
            {
                "reading": number,
                "rows": rows.rows,
                "name": str(room.directory),
                "other": None if room.other is None else str(room.other),
                "simulated": state is not None and state.simulated,
                "label": table.label,
                "words": table.words,
                "numbers": [*table.numbers],
                "notes": rows.notes,
            }
        )

    def listed(request: Request) -> Response:
        wanted = _wanted(request)
        start = max(0, int(request.query_params.get("start", "0")))
        return _json(room.reading(_number(request)).table.page(wanted, start, _PAGE_ROWS))

    def facets(request: Request) -> Response:
        return _json(room.reading(_number(request)).table.facets(_wanted(request)))

    def accuracy(request: Request) -> Response:
        return _json(room.reading(_number(request)).table.accuracy())

    def row(request: Request) -> Response:
        here, there = room.row(_number(request), int(request.query_params["place"]))
        return _json({"row": here, "other": there}, 200 if here is not None else 404)

    async def asked(request: Request) -> _Asked:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > _MOST_BODY:
                raise ValueError("too long")
        return msgspec.json.decode(bytes(body), type=_Asked)

    async def say(request: Request) -> Response:
        found = await asked(request)
        return _json({"when": await _in_thread(room.say, found.reading, found.place, found.values)})

    async def undo(request: Request) -> Response:
        found = await asked(request)
        await _in_thread(room.take_back, found.row_id, found.when)
        return _json({})

    def refused(request: Request, error: Exception) -> Response:
        return _json({"error": str(error)}, 400)

    routes = [
        Route("/", page),
        Route("/open", opened),
        Route("/rows", listed),
        Route("/facets", facets),
        Route("/accuracy", accuracy),
        Route("/row", row),
        Route("/say", say, methods=["POST"]),
        Route("/undo", undo, methods=["POST"]),
        Route("/{name}", asset),
    ]
    return Starlette(
        routes=[Mount(f"/{token}", routes=routes)],
        middleware=[Middleware(_Guard, port=port)],
        exception_handlers={
            BatchgenError: refused,
            ValueError: refused,
            KeyError: refused,
            msgspec.MsgspecError: refused,
        },
    )


def serve(room: ReviewRoom, port: int, tell: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C; `tell` gets its address when it can be opened.

    Raises `OSError` for a port in use.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(64)
        token, bound = secrets.token_urlsafe(24), listening.getsockname()[1]
        config = uvicorn.Config(
            application(room, token, bound),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        tell(f"http://{HOST}:{bound}/{token}/")
        uvicorn.Server(config).run(sockets=[listening])


async def _in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    from starlette.concurrency import run_in_threadpool

    return await run_in_threadpool(call, *arguments)


def _packaged(name: str) -> bytes:
    return Path(str(files("batchgen.review").joinpath(name))).read_bytes()


def _json(value: Any, status: int = 200) -> Response:
    return Response(json_bytes(value), status, media_type="application/json")


def _number(request: Request) -> int:
    return int(request.query_params.get("reading", "0"))


def _wanted(request: Request) -> RowChoice:
    return msgspec.json.decode(request.query_params.get("wanted", "{}"), type=RowChoice)
