"""Finds which rows ask what another row asks too, before the run and beside it.

A thread reads the whole input once more. The run waits for it for a moment; if it takes longer, rows go out meanwhile,
and each counts as one that may be repeated, so that nothing is asked twice. What it finds is kept for the next session.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from contextlib import closing

from batchgen.errors import InputError
from batchgen.files.hashes import RowHashes
from batchgen.job.parts import JobParts
from batchgen.job.render import prompt_columns, rendered
from batchgen.source import Batch
from batchgen.source.row_values import own_column
from batchgen.storage.own_files import REPEATED_FILE
from batchgen.storage.repeated_rows import RepeatedRows, kept_rows
from batchgen.storage.run_directory import RunDirectory

WAIT_S = 2.0
"""How long a run waits for the search before it sends its first request."""

_SLICE_ROWS = 200  # rendered at a time: 2 ms during which the event loop has to wait


class RepeatSearch:
    """The search for the rows of one run; see `may_repeat`."""

    def __init__(self, parts: JobParts, rows: int, directory: RunDirectory) -> None:
        """Start; what an earlier session has found is taken."""
        self._parts = parts
        self._path = directory.path / REPEATED_FILE
        self._run = directory.journal.identity.run
        self._beside = threading.Event()
        self._stopped = threading.Event()
        self._searched: Future[RepeatedRows | None] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._found = kept_rows(self._path, self._run, rows)
        if self._found is None:
            self._pool = ThreadPoolExecutor(1, "batchgen-repeats")
            self._searched = self._pool.submit(self._search)

    def wait(self, seconds: float) -> bool | None:
        """Wait for the end of the search at most so long; return whether any row is repeated, None if that is open."""
        if self._searched is not None:
            try:
                self._take(self._searched.result(seconds))
            except TimeoutError:
                self._beside.set()
        return None if self._found is None else bool(self._found)

    def may_repeat(self, row: int) -> bool:
        """Whether the request of a row may be that of another one, too."""
        if self._found is None:
            if self._searched is not None and self._searched.done():
                self._take(self._searched.result())
            return self._found is None or row in self._found
        return row in self._found

    def close(self) -> None:
        """End the search, if it goes on."""
        self._stopped.set()
        if self._pool is not None:
            self._pool.shutdown()

    def _take(self, found: RepeatedRows | None) -> None:
        self._found, self._searched = found, None

    def _search(self) -> RepeatedRows | None:
        """Return what was found; None where the input cannot be read: who reads it for the run says so."""
        with closing(RowHashes()) as hashes:
            try:
                columns = prompt_columns(self._parts)
                for batch in self._parts.source.batches(0, columns):
                    begun_s = time.perf_counter()
                    as_stored = {own_column(name) for name in columns}.isdisjoint(batch.table.schema.names)
                    found = self._parts.template.row_hashes(batch.table) if as_stored else None
                    if found is None:
                        hashes.extend(self._rendered_hashes(batch))
                    else:
                        hashes.extend(found)
                        self._pause(begun_s)
                    if self._stopped.is_set():
                        return None
                repeated = RepeatedRows(len(hashes))
                for alike in hashes.alike():
                    repeated.add(alike.rows)
                    if self._stopped.is_set():
                        return None
            except (InputError, OSError):
                return None
        repeated.save(self._path, self._run)
        return repeated

    def _rendered_hashes(self, batch: Batch) -> Iterator[int]:
        for start in range(0, batch.table.num_rows, _SLICE_ROWS):
            begun_s = time.perf_counter()
            part = Batch(batch.first_row + start, batch.table.slice(start, _SLICE_ROWS), batch.problems)
            for _, prompt in rendered(self._parts, part):
                if isinstance(prompt, str):
                    yield random.getrandbits(63)
                else:
                    yield int.from_bytes(self._parts.keys.of(prompt)[:8], signed=True)
            self._pause(begun_s)

    def _pause(self, begun_s: float) -> None:
        """Leave the processor to the run for as long as it was taken: what goes out must not wait for the search."""
        if self._beside.is_set():
            self._stopped.wait(time.perf_counter() - begun_s)
