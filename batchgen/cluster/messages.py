"""The messages between driver and workers, sent in groups as MessagePack."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from batchgen.values import Completion, Failure

GROUP = 32
"""So many messages are a group that is not held back for more: what the group itself costs is little for each then."""


class ReaderSettings(Struct, frozen=True, kw_only=True):
    """What is needed to read the replies of an endpoint: the job's word for its provider, the job's model, and what is
    left out of requests. `in_lane`: they are not sent as ordinary calls."""

    provider: str
    model: str
    omit: Sequence[str] = ()
    in_lane: bool = False


class Destination(Struct, frozen=True, kw_only=True):
    """One of the endpoints that a worker sends to, over a transport of its own.

    The secrets are either given, to a process of the same user over its pipe, or read by the worker from its own
    environment, as the `[model]` table (JSON) in `model` says. `headers` are (name, scheme, secret); `others` are
    secrets that stand elsewhere and are to be masked. `client` is `model.transport`.
    """

    base_url: str
    client: str
    concurrency: int
    reading: ReaderSettings
    model: bytes | None = None
    headers: Sequence[tuple[str, str, str]] = ()
    others: Sequence[str] = ()


class Start(Struct, frozen=True, kw_only=True):
    """What a worker needs to begin. `version` is the driver's; the two must be the same."""

    version: str
    destinations: Sequence[Destination]


class Head(Struct, frozen=True, tag="h", array_like=True, gc=False):
    """What many requests share, sent once: `number` stands for it from then on. `destination` is a place in `Start`."""

    number: int
    destination: int
    url: str
    headers: dict[str, str]
    streamed: bool
    model: str


class Send(Struct, frozen=True, tag="s", array_like=True, gc=False):
    """A request to be sent now; `id` is never used twice for the same worker."""

    id: int
    head: int
    body: bytes
    timeout_s: float


class Cancel(Struct, frozen=True, tag="g", array_like=True, gc=False):
    """A request whose answer nobody waits for any more."""

    id: int


class Take(Struct, frozen=True, tag="t", array_like=True, gc=False):
    """There is room for a large reply that was offered."""

    id: int


class Hello(Struct, frozen=True, tag="hello", array_like=True):
    """The first message of a worker: what it runs, and why it cannot work, None if it can."""

    version: str
    problem: str | None = None


class Completed(Struct, frozen=True, tag="c", array_like=True, gc=False):
    """A response of `size` bytes that was an answer. It is read by the worker: its bytes stay there."""

    id: int
    size: int
    outcome: Completion


class Refused(Struct, frozen=True, tag="r", array_like=True, gc=False):
    """A response of `size` bytes that was none."""

    id: int
    size: int
    outcome: Failure


class Failed(Struct, frozen=True, tag="f", array_like=True, gc=False):
    """An attempt without a response."""

    id: int
    failure: Failure


class Offered(Struct, frozen=True, tag="o", array_like=True, gc=False):
    """A large reply is complete: the worker keeps it until there is room for it."""

    id: int
    size: int


ToWorker = Head | Send | Cancel | Take
FromWorker = Hello | Completed | Refused | Failed | Offered

encode = msgspec.msgpack.Encoder().encode
decode_to_worker = msgspec.msgpack.Decoder(list[ToWorker]).decode
decode_from_worker = msgspec.msgpack.Decoder(list[FromWorker]).decode
