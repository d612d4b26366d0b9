"""Workers on the nodes of a Ray cluster: an asynchronous actor each (https://docs.ray.io/en/latest/ray-core/actors.html).

Ray places the actors and tells when one is gone. None of its retries is used: an error may come although a call ran, so
only this program knows what may be sent again. A call of Ray's takes about a millisecond of the driver's processor,
whatever is in it, so that one call carries messages both ways: it brings what the driver has to say, and stays open
until the worker has something to say, or the next call is there. A call that fails, however it looks, is the loss of
the worker. Ray itself is imported by what calls it: its import alone opens a socket.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout, suppress
from itertools import islice
from typing import Any

from batchgen.cluster.link import Link, LinkLost
from batchgen.cluster.messages import encode
from batchgen.cluster.sender import Sender
from batchgen.errors import ResourceStop

CONNECT_S = 10.0
"""How long the cluster's address may take to answer."""

GATHER_S = 0.02
"""Seconds for which messages to workers are gathered."""

GATHER_REPLIES_S = 0.06
"""Seconds for which a worker gathers replies while no call of the driver comes by, which takes along what there is."""

NOTHING = encode([])
"""A group without messages: the worker's to fill."""

CALLS = 100
"""Calls of one actor that may be open at a time; there are two or three."""

OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Memory for large messages where this process starts Ray itself; Ray would take 30 % of the machine."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_WHERE_REFUSED = (
    "If the cluster wants a token, as one does that `ray start` began where ~/.ray/auth_token exists, set "
    "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN where it is another one."
)
"""Ray sends none to an address that is given unless it is told to
(https://docs.ray.io/en/latest/ray-security/token-auth.html)."""


class RemoteSender:
    """The actor: a `Sender` of the node's own process."""

    def __init__(self, start: bytes) -> None:
        self._start = start
        self._sender: Sender | None = None
        self._early: dict[int, bytes] = {}  # groups that have overtaken others, as small ones may large ones
        self._next = 0

    async def open(self) -> bytes:
        """Get ready; return the first messages for the driver."""
        self._sender = Sender(self._start, GATHER_REPLIES_S)
        await self._sender.open()
        return await self._sender.outgoing()

    async def swap(self, number: int, group: bytes) -> bytes:
        """Take messages of the driver in, in the order of their numbers; return those for the driver in time."""
        assert self._sender is not None
        self._early[number] = group
        while (next_group := self._early.pop(self._next, None)) is not None:
            self._next += 1
            self._sender.take(next_group)
        return await self._sender.outgoing()


class RayLink:
    """An actor of our own."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._next = 0
        self._heard: asyncio.Queue[bytes | LinkLost] = asyncio.Queue()
        self._calls = {asyncio.create_task(self._call(actor.open.remote()))}

    def push(self, group: bytes) -> None:
        """Hand messages over; never blocks."""
        import ray

        try:
            call = self._actor.swap.remote(self._next, group)
        except ray.exceptions.RayError as error:
            self._heard.put_nowait(LinkLost(_reason(error)))
            return
        self._next += 1
        self._calls.add(asyncio.create_task(self._call(call)))

    async def _call(self, call: Any) -> None:
        """Wait for the messages that a call returns; the worker always has one call to answer."""
        import ray

        try:
            group = await call
        except ray.exceptions.RayError as error:
            self._heard.put_nowait(LinkLost(_reason(error)))
            return
        self._heard.put_nowait(group)
        task = asyncio.current_task()
        assert task is not None
        self._calls.discard(task)
        if not self._calls:
            self.push(NOTHING)

    async def pull(self) -> bytes:
        """Return the worker's next messages. Raises `LinkLost`."""
        heard = await self._heard.get()
        if isinstance(heard, LinkLost):
            raise heard
        return heard

    async def close(self) -> None:
        """End the actor, at once."""
        import ray

        for call in self._calls:
            call.cancel()
        with suppress(ray.exceptions.RayError, RuntimeError):
            await asyncio.to_thread(ray.kill, self._actor)


class RayNodes:
    """The nodes of a cluster, `most` workers on them; one on each where `most` is None.

    `address` is that of the cluster; None takes the one that RAY_ADDRESS or this machine has, or starts one here.
    """

    gather_s = GATHER_S

    def __init__(self, address: str | None, most: int | None) -> None:
        self._address = address
        self._most = most
        self._ours = False
        self._nodes: dict[str, str] = {}  # id by place
        self._stack = ExitStack()

    async def start(self) -> None:
        """Connect to the cluster. Raises `ResourceStop` with Ray's own words."""
        await asyncio.to_thread(self._connect)

    def _connect(self) -> None:
        import ray

        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": "batchgen"}
        address = self._address or os.environ.get("RAY_ADDRESS")
        try:
            if address is None:
                try:
                    ray.init(address="auto", **options)
                except ConnectionError:
                    store = OBJECT_STORE_BYTES
                    cpus = max(self._most or 1, os.cpu_count() or 1)
                    ray.init(num_cpus=cpus, include_dashboard=False, object_store_memory=store, **options)
            else:
                _check_reachable(address)
                ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
            where = f"the Ray cluster at {address}" if address else "Ray"
            token = "" if address is None or "RAY_AUTH_MODE" in os.environ else f"{_WHERE_REFUSED} "
            raise ResourceStop(
                f"There is no connection to {where}: {_reason(error)}",
                f"{token}Mend what is named (engine.address); then the same command goes on from here.",
            ) from error
        self._ours = True
        self._stack.enter_context(redirect_stdout(sys.stderr))  # Ray prints what it thinks of lost workers

    async def places(self) -> Sequence[str]:
        """Return the places on the nodes that are alive and have a processor for a worker."""
        import ray

        try:
            nodes = await asyncio.to_thread(ray.nodes)
        except (ray.exceptions.RayError, RuntimeError, OSError):  # the head is away: workers may still be there
            return list(self._nodes)
        alive = sorted(
            (n["NodeManagerAddress"], n["NodeID"]) for n in nodes if n["Alive"] and n["Resources"].get("CPU")
        )
        rounds = 1 if self._most is None else -(-self._most // max(1, len(alive)))
        named = (
            (f"{address} ({node[:8]}){f' worker {again + 1}' if again else ''}", node)
            for again in range(rounds)
            for address, node in alive
        )
        self._nodes = dict(islice(named, self._most))
        return list(self._nodes)

    async def open(self, place: str, start: bytes) -> Link:
        """Start the actor of a place. Raises `LinkLost`."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        actor = ray.remote(RemoteSender).options(
            num_cpus=0.5,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=CALLS,
            scheduling_strategy=NodeAffinitySchedulingStrategy(self._nodes[place], soft=False),
        )
        try:
            return RayLink(await asyncio.to_thread(actor.remote, start))
        except (ray.exceptions.RayError, RuntimeError, ValueError) as error:
            raise LinkLost(_reason(error)) from error

    async def close(self) -> None:
        """Leave the cluster, if this run has joined it."""
        import ray

        if self._ours:
            await asyncio.to_thread(ray.shutdown)
        self._stack.close()


def _check_reachable(address: str) -> None:
    """Raise `OSError` where nobody listens: Ray itself would try for minutes and then end this process."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()


def _reason(error: BaseException) -> str:
    """Return why something failed, without the traceback of the other process that Ray puts into its words.

    Ray's first line names the actor, with colours; the reason stands behind the last line of the traceback.
    """
    lines = [line for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    frames = [number for number, line in enumerate(lines) if line.startswith("  ")]
    if any(line.startswith('  File "') for line in lines) and frames[-1] + 1 < len(lines):
        return lines[frames[-1] + 1].strip()
    return lines[0].strip() if lines else type(error).__name__
