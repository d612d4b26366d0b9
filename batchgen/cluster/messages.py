"""The messages between driver and workers, sent in groups as MessagePack."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from batchgen.values import Failure


class Destination(Struct, frozen=True, kw_only=True):
    """One of the endpoints that a worker sends to, over a transport of its own.

    The secrets are either given, to a process of the same user over its pipe, or read by the worker from its own
    environment, as the `[model]` table (JSON) in `model` says. `headers` are (name, scheme, secret); `others` are
    secrets that stand elsewhere and are to be masked. `client` is `model.transport`.
    """

    base_url: str
    client: str
    concurrency: int
    model: bytes | None = None
    headers: Sequence[tuple[str, str, str]] = ()
    others: Sequence[str] = ()


class Start(Struct, frozen=True, kw_only=True):
    """What a worker needs to begin. `version` is the driver's; the two must be the same."""

    version: str
    destinations: Sequence[Destination]


class Head(Struct, frozen=True, tag="h", array_like=True):
    """What many requests share, sent once: `number` stands for it from then on. `destination` is a place in `Start`."""

    number: int
    url: str
    headers: dict[str, str]
    destination: int = 0


class Send(Struct, frozen=True, tag="s", array_like=True):
    """A request to be sent now; `id` is never used twice for the same worker."""

    id: int
    head: int
    body: bytes
    streamed: bool
    timeout_s: float


class Cancel(Struct, frozen=True, tag="g", array_like=True):
    """A request whose answer nobody waits for any more."""

    id: int


class Take(Struct, frozen=True, tag="t", array_like=True):
    """There is room for a large reply that was offered."""

    id: int


class Hello(Struct, frozen=True, tag="hello", array_like=True):
    """The first message of a worker: what it runs, and why it cannot work, None if it can."""

    version: str
    problem: str | None = None
    concurrency: int = 0


class Arrived(Struct, frozen=True, tag="r", array_like=True):
    """A whole response."""

    id: int
    status: int
    headers: dict[str, str]
    body: bytes


class Failed(Struct, frozen=True, tag="f", array_like=True):
    """An attempt without a response."""

    id: int
    failure: Failure


class Offered(Struct, frozen=True, tag="o", array_like=True):
    """A large reply is complete: the worker keeps it until there is room for it."""

    id: int
    size: int


class Beat(Struct, frozen=True, tag="b", array_like=True):
    """The worker is alive."""


ToWorker = Head | Send | Cancel | Take
FromWorker = Hello | Arrived | Failed | Offered | Beat

encode = msgspec.msgpack.Encoder().encode
decode_to_worker = msgspec.msgpack.Decoder(list[ToWorker]).decode
decode_from_worker = msgspec.msgpack.Decoder(list[FromWorker]).decode
