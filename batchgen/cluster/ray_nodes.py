"""Workers on the nodes of a Ray cluster: an asynchronous actor each (https://docs.ray.io/en/latest/ray-core/actors.html).

Ray places the actors and tells when one is gone. None of its retries is used: an error may come although a call ran, so
only this program knows what may be sent again. The replies come as a stream of groups; an end of that stream, however
it looks, is the loss of the worker. Ray itself is imported by what calls it: its import alone opens a socket.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, redirect_stdout, suppress
from itertools import islice
from typing import Any

from batchgen.cluster.link import Link, LinkLost
from batchgen.cluster.sender import Sender
from batchgen.errors import ResourceStop

CONNECT_S = 10.0
"""How long the cluster's address may take to answer."""

GATHER_S = 0.01
"""How long messages are gathered, in seconds: each group is a call of Ray's, which costs as much as ten requests."""

GATHER_REPLIES_S = 0.025
"""How long replies are gathered: these nobody waits for as for a request that may leave."""

CALLS = 1_000
"""Calls of one actor that may be open at a time; each takes a few microseconds."""

OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Memory for large messages where this process starts Ray itself; Ray would take 30 % of the machine."""


_WHERE_REFUSED = (
    "If the cluster wants a token, as one does that `ray start` began where ~/.ray/auth_token exists, set "
    "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN where it is another one."
)
"""Ray sends none to an address that is given unless it is told to
(https://docs.ray.io/en/latest/ray-security/token-auth.html)."""


class RemoteSender:
    """The actor: a `Sender` of the node's own process."""

    def __init__(self, start: bytes) -> None:
        self._sender = Sender(start)

    async def take(self, group: bytes) -> None:
        """Take messages of the driver in."""
        self._sender.take(group)

    async def replies(self) -> AsyncIterator[bytes]:
        """Yield the messages for the driver, for ever."""
        await self._sender.open()
        while True:
            yield await self._sender.outgoing()
            await asyncio.sleep(GATHER_REPLIES_S)


class RayLink:
    """An actor of our own."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self._replies = actor.replies.options(num_returns="streaming").remote()

    def push(self, group: bytes) -> None:
        """Hand messages over; never blocks."""
        import ray

        with suppress(ray.exceptions.RayError):  # `pull` tells it
            self._actor.take.remote(group)

    async def pull(self) -> bytes:
        """Return the worker's next messages. Raises `LinkLost`."""
        import ray

        try:
            group: bytes = await (await anext(self._replies))
        except StopAsyncIteration:
            raise LinkLost("it has ended") from None
        except ray.exceptions.RayError as error:
            raise LinkLost(_first_line(error)) from error
        return group

    async def close(self) -> None:
        """End the actor, at once."""
        import ray

        with suppress(ray.exceptions.RayError, RuntimeError):
            await asyncio.to_thread(ray.kill, self._actor)


class RayNodes:
    """The nodes of a cluster, `most` workers on them; one on each where `most` is None.

    `address` is that of the cluster; None takes the one that RAY_ADDRESS or this machine has, or starts one here.
    """

    flush_s = GATHER_S

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
                f"There is no connection to {where}: {_first_line(error)}",
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
            raise LinkLost(_first_line(error)) from error

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


def _first_line(error: BaseException) -> str:
    """Return what Ray says, without the traceback of the other process."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if "Traceback" in str(error) and lines else (lines or [type(error).__name__])[0]
