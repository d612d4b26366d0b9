"""Serves the simulated provider on a loopback port: in the caller's event loop, in a thread, or blocking."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from batchgen.simulator.batches.books import billed_rows
from batchgen.simulator.batches.build import BilledRow
from batchgen.simulator.batches.desk import SLICE_S
from batchgen.simulator.behaviour import Behaviour
from batchgen.simulator.connection import ClientConnection
from batchgen.simulator.settings import Settings

T = TypeVar("T")

_HOST = "127.0.0.1"
_BACKLOG = 4096  # a client may open all its connections at once


class Simulator:
    """The simulated provider in the caller's event loop: `async with Simulator(settings) as simulator`.

    `url` is its address, such as `http://127.0.0.1:40123`. `port` 0 means any free port. The batch
    APIs keep files and batches in `directory`, where another process finds them again; by default in a temporary one.
    Entering raises OSError if the port is in use.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        port: int = 0,
        directory: Path | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or Settings()
        self.port = port
        self._directory = directory
        self._wall_clock = wall_clock
        self._batch_timer: asyncio.TimerHandle | None = None
        self._connections: set[ClientConnection] = set()

    @property
    def url(self) -> str:
        """The address of the server, without a path."""
        return f"http://{_HOST}:{self.port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._loop = loop
        behaviour = self._behaviour = Behaviour(self.settings, loop.time(), self._wall_clock, self._directory)
        behaviour.wake_batches = self._wake_batches
        self._server = await loop.create_server(
            lambda: ClientConnection(behaviour, loop, self._connections), _HOST, self.port, backlog=_BACKLOG
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.close()
        await self._server.wait_closed()
        if self._batch_timer is not None:
            self._batch_timer.cancel()
        self._behaviour.close()

    def _wake_batches(self, after_s: float) -> None:
        if self._batch_timer is not None:
            self._batch_timer.cancel()
        self._batch_timer = self._loop.call_later(after_s, self._work_on_batches)

    def _work_on_batches(self) -> None:
        after_s = self._behaviour.desk.step(SLICE_S)
        if after_s < inf:
            self._wake_batches(after_s)

    def stats(self, *, prompts: bool = False) -> dict[str, Any]:
        """Return what `GET /stats` returns. To be called in the thread of the loop only."""
        return self._behaviour.told(prompts=prompts)

    def batch_rows(self) -> list[BilledRow]:
        """Return the rows of batches that were billed."""
        return billed_rows(self._behaviour.desk)

    def reset_stats(self) -> None:
        """Set the statistics to zero, as `POST /reset-stats` does."""
        self._behaviour.reset_stats()

    def change(self, **changes: Any) -> None:
        """Change settings of the running simulator, as `POST /settings` does."""
        self.settings = msgspec.structs.replace(self.settings, **changes)
        self._behaviour.change(self.settings, self._loop.time())


class SimulatorThread:
    """A simulator that runs in a thread of its own until `close()`; it is also a context manager."""

    def __init__(self, settings: Settings | None = None, port: int = 0, directory: Path | None = None) -> None:
        self._simulator = Simulator(settings, port, directory)
        self._last: dict[str, Any] = {}
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="simulator", daemon=True)
        self._thread.start()
        ready.result()
        self.url = self._simulator.url

    def _run(self, ready: Future[None]) -> None:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            self._loop = runner.get_loop()
            runner.run(self._main(ready))

    async def _main(self, ready: Future[None]) -> None:
        self._stop = asyncio.Event()
        try:
            await self._simulator.__aenter__()
        except OSError as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        await self._stop.wait()
        self._last = self._simulator.stats(prompts=True)
        await self._simulator.__aexit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stats(self, *, prompts: bool = False) -> dict[str, Any]:
        """Return what `GET /stats` returns; after `close` the last statistics."""
        if self._thread.is_alive():
            return self._ask(lambda: self._simulator.stats(prompts=prompts))
        return {key: value for key, value in self._last.items() if prompts or key != "prompts"}

    def batch_rows(self) -> list[BilledRow]:
        """Return the rows of batches that were billed."""
        return self._ask(self._simulator.batch_rows)

    def reset_stats(self) -> None:
        """Set the statistics to zero."""
        self._ask(self._simulator.reset_stats)

    def change(self, **changes: Any) -> None:
        """Change settings of the running simulator."""
        self._ask(lambda: self._simulator.change(**changes))

    def close(self) -> None:
        """Close the port and all connections, and end the thread. A second call does nothing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _ask(self, question: Callable[[], T]) -> T:
        async def ask() -> T:
            return question()

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result()


def start_in_thread(settings: Settings | None = None, port: int = 0, directory: Path | None = None) -> SimulatorThread:
    """Return a simulator that runs in a thread of its own. Raises OSError if the port is in use."""
    return SimulatorThread(settings, port, directory)


def serve(
    settings: Settings | None = None,
    port: int = 0,
    *,
    directory: Path | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
) -> dict[str, Any]:
    """Serve until SIGINT or SIGTERM and return the last statistics. It works in the main thread only.

    `on_ready` is called with the base URL once the port accepts connections. Raises OSError if the port is in use.
    """

    async def until_signal() -> dict[str, Any]:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with Simulator(settings, port, directory) as simulator:
            on_ready(simulator.url)
            await stop.wait()
            return simulator.stats()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(until_signal())


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop if it is installed; None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
