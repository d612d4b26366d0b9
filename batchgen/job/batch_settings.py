"""`[batch]` of a job: how large the vendor's batches are, how long they may take, and what happens at a deadline."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from batchgen.errors import JobError
from batchgen.providers.batch_api import BatchLimits
from batchgen.text.figures import duration, seconds_of

_HOUR_S = 3600
_MEGABYTE = 1_000_000
_SHARE_OF_LIMIT = 0.95
"""The share of the vendor's size limit that a file may take: nobody says whether its megabytes are binary."""


class BatchSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[batch]`, for `model.lane = "batch"`.

    `window` is how long the vendor may take for a batch. `rows` and `megabytes` bound a file, below the vendor's own
    limits. `queued_tokens` are the input tokens that the account may have in open batches; left out, it is learnt from
    refusals. `poll_s` is the time between two looks. At `deadline`, counted from the beginning of the run, what is
    open is cancelled and asked live, or waited for further (`after_deadline`).
    """

    window: str = "24h"
    rows: Annotated[int, Meta(ge=1)] | None = None
    megabytes: Annotated[float, Meta(gt=0)] | None = None
    queued_tokens: Annotated[int, Meta(ge=1)] | None = None
    poll_s: Annotated[float, Meta(gt=0, le=86400)] = 60.0
    deadline: str | None = None
    after_deadline: Literal["live", "wait"] = "live"

    @property
    def deadline_s(self) -> float | None:
        """The deadline in seconds from the beginning of the run."""
        return None if self.deadline is None else seconds_of(self.deadline)

    def largest_file(self, limits: BatchLimits) -> tuple[int, int]:
        """Return the most rows and bytes of one file: those of the job, else of the vendor."""
        rows = min(self.rows or limits.rows, limits.rows)
        megabytes = limits.file_bytes if self.megabytes is None else int(self.megabytes * _MEGABYTE)
        return rows, min(megabytes, int(limits.file_bytes * _SHARE_OF_LIMIT))

    def longest_line(self, limits: BatchLimits) -> int:
        """Return how many bytes a line of a file may have."""
        _, most = self.largest_file(limits)
        return min(most, limits.line_bytes or most)


def check_batch(settings: BatchSettings, limits: BatchLimits | None, vendor: str) -> None:
    """Raise `JobError` for times that cannot be read, and for what a vendor's batches cannot be; `limits` are those of
    the job's lane, None where that has no batches."""
    for name, text in (("window", settings.window), ("deadline", settings.deadline)):
        if text is not None and not seconds_of(text):
            raise JobError(f'batch.{name} must be a time such as "24h", "90m" or "2d", not {text!r}.')
    if limits is None:
        return
    hours = (seconds_of(settings.window) or 0) / _HOUR_S
    if limits.window_h is not None:
        least, most = limits.window_h
        if hours != int(hours) or not least <= hours <= most:
            allowed = f'"{least}h"' if least == most else f'whole hours from "{least}h" to "{most}h"'
            raise JobError(f"batch.window: {vendor} takes {allowed}, not {settings.window!r}.")
    if settings.rows is not None and settings.rows > limits.rows:
        raise JobError(f"batch.rows: {vendor} takes at most {limits.rows:,} rows in a batch, not {settings.rows:,}.")
    if settings.megabytes is not None and settings.megabytes * _MEGABYTE > limits.file_bytes:
        most_mb = limits.file_bytes // _MEGABYTE
        raise JobError(f"batch.megabytes: {vendor} takes files of at most {most_mb:,} MB, not {settings.megabytes:g}.")
    if settings.deadline_s is not None and settings.poll_s > settings.deadline_s:
        raise JobError(
            f"batch.poll_s: {settings.poll_s:g} s is longer than batch.deadline ({duration(settings.deadline_s)})."
        )
