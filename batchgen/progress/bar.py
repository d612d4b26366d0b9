"""Progress bars on stderr: of a run, as a `Reporter`, and of the bytes that are read from the input."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from tqdm import tqdm

from batchgen.engine.reporter import Progress, Reporter
from batchgen.text.figures import money
from batchgen.text.terminal import harmless

REFRESH_S = 0.25
"""Seconds between two redraws at least: setting tqdm's postfix takes 4 µs, too long to do for every row."""

_DELAY_S = 1.0  # small inputs are read before anybody would see the bar


class ProgressBar(Reporter):
    """A tqdm bar on `file`: rows, rows/s, ETA, cost so far, failed and rate-limited. Notes are printed above it."""

    def __init__(
        self,
        *,
        bar: bool = True,
        file: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        notebook: bool = False,
    ) -> None:
        """`notebook`: in a notebook the bar is a widget of the cell."""
        self._tqdm = _notebook_bar() if notebook else tqdm
        self._bar_wanted = bar
        self._file = file if file is not None else sys.stderr
        self._clock = clock
        self._drawn_s = float("-inf")
        self._bar: tqdm[Any] | None = None

    def started(self, standing: Progress) -> None:
        if self._bar_wanted:
            with self._shown():
                self._bar = self._tqdm(
                    total=standing.rows,
                    initial=standing.settled,
                    unit="row",
                    file=self._file,
                    dynamic_ncols=True,
                    mininterval=REFRESH_S,
                    smoothing=0.1,
                )

    def moved(self, standing: Progress) -> None:
        if self._bar is None:
            return
        now = self._clock()
        if now - self._drawn_s < REFRESH_S and standing.settled < standing.rows:
            return
        self._drawn_s = now
        with self._shown():
            still = standing.settled == self._bar.n
            self._bar.set_postfix_str(postfix(standing), refresh=still)
            self._bar.update(standing.settled - self._bar.n)

    def note(self, text: str) -> None:
        text = harmless(text)
        with self._shown():
            if self._bar is None:
                print(text, file=self._file)
            else:
                tqdm.write(text, file=self._file)

    def finished(self, standing: Progress) -> None:
        if self._bar is not None:
            with self._shown():
                self._bar.set_postfix_str(postfix(standing), refresh=False)
                self._bar.update(standing.settled - self._bar.n)
                self._bar.close()
            self._bar = None

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """Show nothing more once the terminal is gone, which must not end the run."""
        try:
            yield
        except (OSError, ValueError):
            self._bar, self._bar_wanted = None, False
            self._file = open(os.devnull, "w")  # noqa: SIM115 - as long as the process


def _notebook_bar() -> type[tqdm[Any]]:
    from tqdm.auto import tqdm as found

    return found


def postfix(standing: Progress) -> str:
    """Return the end of the bar: cost, what is left of the budget, the expected cost of all rows; then failures."""
    parts = []
    if standing.spent is not None:
        parts.append(f"cost {money(standing.spent, standing.currency)}")
        if standing.asked > 0 and standing.pending:
            expected = standing.spent + standing.spent / standing.asked * standing.pending
            parts.append(f"of about {money(expected, standing.currency)}")
        if standing.budget is not None:
            parts.append(f"budget left {money(standing.budget - standing.spent, standing.currency)}")
    if standing.failed:
        parts.append(f"failed {standing.failed:,}")
    if standing.cached_tokens:
        parts.append(f"cached {standing.cached_tokens / max(1, standing.input_tokens):.0%}")
    if standing.refused:
        parts.append(f"429s {standing.refused:,}")
    if standing.left_out is not None:
        parts.append(f"left out: {harmless(standing.left_out)[:80]}")
    if standing.waits_for is not None:
        parts.append(f"waits: {harmless(standing.waits_for)[:100]}")
    if standing.trouble is not None:
        parts.append(f"last error {harmless(standing.trouble)[:80]}")
    return ", ".join(parts)


@contextmanager
def bytes_bar(
    total: int | None, *, shown: bool = True, file: TextIO | None = None, delay_s: float = _DELAY_S
) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of bytes read so far; the bar appears on stderr after `delay_s`
    seconds."""
    bar = tqdm(
        total=total,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        file=file if file is not None else sys.stderr,
        disable=not shown,
        dynamic_ncols=True,
        mininterval=REFRESH_S,
        delay=delay_s,
    )
    with bar:

        def moved(read_bytes: int) -> None:
            bar.update(read_bytes - bar.n)

        yield moved
