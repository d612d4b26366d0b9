"""A run in a thread of its own: beside a notebook's event loop, in a plain script, or many at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

import anyio

from batchgen.engine.control import Control
from batchgen.transport.event_loop import loop_options

T = TypeVar("T")
_LOOK_S = 0.2  # how often a waiting caller looks for an interrupt, where the platform's wait cannot be interrupted


class Runner(Generic[T]):
    """Runs a coroutine on an event loop of its own; `control` is what interrupts it."""

    def __init__(self, main: Callable[[], Coroutine[Any, Any, T]], control: Control) -> None:
        self._main = main
        self._control = control
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self.done: Future[T] = Future()
        self._thread = threading.Thread(target=self._work, name="batchgen", daemon=True)

    def start(self) -> None:
        """Begin; returns once the loop runs."""
        self._thread.start()
        self._started.wait()

    def interrupt(self) -> None:
        """Send nothing more and let what is in flight finish; a second time cancels that."""
        if self._loop is not None and not self.done.done():
            self._loop.call_soon_threadsafe(self._control.interrupt)

    def wait(self) -> T:
        """Return what the coroutine returns, or raise what it raises. A KeyboardInterrupt interrupts it."""
        while True:
            try:
                while not self.done.done():
                    self._thread.join(_LOOK_S)
                return self.done.result()
            except KeyboardInterrupt:
                self.interrupt()

    async def result(self) -> T:
        """`wait` for callers with an event loop. Being cancelled interrupts the run, waits for it and goes on up."""
        waiting = asyncio.wrap_future(self.done)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            self.interrupt()
            await asyncio.shield(waiting)
            raise

    def _work(self) -> None:
        async def main() -> T:
            self._loop = asyncio.get_running_loop()
            self._started.set()
            return await self._main()

        try:
            self.done.set_result(anyio.run(main, backend_options=loop_options()))
        except BaseException as error:
            self.done.set_exception(error)
        finally:
            self._started.set()
