"""The writer: one thread that commits results in groups and publishes parts, and its face on the event loop.

Back-pressure, in the runner's dispatch loop: `if writer.congested: await writer.wait_for_room()`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from batchgen.plan import Shard
from batchgen.rundir import RunDirectory
from batchgen.sink import Layout
from batchgen.summary import Spent
from batchgen.values import Result


class Writer:
    """`async with Writer(directory, layout, concurrency=64, on_commit=f) as writer:`; all methods on the loop's thread."""

    congested: bool

    def __init__(
        self,
        directory: RunDirectory,
        layout: Layout,
        *,
        concurrency: int,
        on_commit: Callable[[Sequence[Result]], None],
    ) -> None: ...

    async def __aenter__(self) -> Self:
        """Start the thread."""
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """`close()`; an error already on its way is not replaced."""
        raise NotImplementedError

    async def open_shard(self, shard: Shard) -> set[int]:
        """Take a shard in and return those of its rows that already have a result. Raises `StorageStop`.

        `shard.table` needs the carried columns and the id column only. The writer keeps it until its part is out.
        """
        raise NotImplementedError

    @property
    def open_shards(self) -> int:
        """Shards taken in whose part is not published yet: bound them (2-3) before opening more."""
        raise NotImplementedError

    def emit(self, result: Result) -> None:
        """Hand over a settled row; never waits, never raises. It counts when `on_commit` has named it."""
        raise NotImplementedError

    def spend(self, spent: Spent) -> None:
        """Hand over what a row that stays pending has cost in this run. `emit` adds earlier runs' share by itself."""
        raise NotImplementedError

    async def wait_for_room(self, open_shards: int | None = None) -> None:
        """Return when results are being taken again (and at most `open_shards` shards are open). Raises `StorageStop`."""
        raise NotImplementedError

    async def watch(self) -> None:
        """Wait until storage fails and raise its `StorageStop`: a task beside the runner, cancelled at the end."""
        raise NotImplementedError

    async def close(self) -> None:
        """Commit what was handed over, publish the shards that are whole, stop the thread. Raises `StorageStop`."""
        raise NotImplementedError
