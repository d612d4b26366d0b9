"""The requests and replies that the server and the simulated provider exchange."""

from __future__ import annotations

from msgspec import Struct

from batchgen.simulator.batches.upload import BodySink
from batchgen.simulator.error_bodies import error_body
from batchgen.simulator.rules import Problem, Wire

JSON = ("content-type", "application/json")
HTML = ("content-type", "text/html; charset=utf-8")
EVENTS = ("content-type", "text/event-stream;charset=UTF-8")


class HttpRequest(Struct, frozen=True, gc=False):
    """A request. `target` includes the query; the names of headers are in lower case; a large body is in `sink`."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""
    sink: BodySink | None = None


class Admission(Struct, frozen=True, gc=False):
    """What an admitted request will be charged when it is finished. `answer`: it gets an answer, not an error.

    `lane`: at which price.
    """

    digest: int
    input_tokens: int
    output_tokens: int
    answer: bool
    lost: bool
    lane: str = "live"


class FileBody(Struct, frozen=True):
    """`size` bytes of a file from `start` on, sent piece by piece; `chunked` without telling the size."""

    path: str
    size: int
    start: int = 0
    chunked: bool = False
    gzip: bool = False


class Reply(Struct, frozen=True, gc=False):
    """A reply, to be sent after `wait_s` seconds: `status` and `headers` with `body`, with `frames` as a chunked
    stream, or with a `file`.

    Frames are sent `frame_s` seconds apart. `fault` is what happens on the connection instead of an orderly reply:
    `reset`, `reset_body`, `truncate`, `hang` or `slow`. All other faults are in the bytes already.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = (JSON,)
    body: bytes = b""
    frames: tuple[bytes, ...] = ()
    wait_s: float = 0
    frame_s: float = 0
    fault: str | None = None
    ticket: Admission | None = None
    file: FileBody | None = None


def error_reply(wire: Wire, problem: Problem, request_id: str) -> Reply:
    """Return an error in the form of the vendor."""
    status, body = error_body(wire, problem, request_id)
    return Reply(status, (JSON, ("x-request-id", request_id)), body)
