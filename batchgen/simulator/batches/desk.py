"""The simulated vendor's side of its batch APIs: keeps files and batches, lets batches go on, keeps the books.

Rows are answered in slices, so that a large batch does not keep live requests waiting. Without a server (`wake` is
None) a batch goes on whenever somebody looks at it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from math import inf, isfinite
from pathlib import Path
from time import monotonic
from typing import Any

from batchgen.simulator.batches.build import ResultBuilder
from batchgen.simulator.batches.life import ENDED, LAG_S, BatchLife, life_of, plan_of
from batchgen.simulator.batches.oddities import Oddities
from batchgen.simulator.batches.oddity_names import BATCHES, FILES
from batchgen.simulator.batches.records import Dialect, StoredBatch, StoredFile, VendorRecords
from batchgen.simulator.batches.scan import failure, scan
from batchgen.simulator.settings import Settings
from batchgen.simulator.stats import digest_of

_HOUR_S = 3600.0
_GONE_S = 24 * 3600.0
SLICE_S = 0.003
"""Seconds of work on batches between two looks at the sockets."""

_WHOLE = {
    "failed_tokens": ("token_limit_exceeded", ""),
    "failed_model": ("model_not_found", "The provided model does not exist or does not support the Batch API."),
    "failed_billing": ("billing_hard_limit_reached", "Billing hard limit has been reached."),
    "failed_bare": ("", ""),
}


class BatchDesk:
    """Files and batches of all accounts. `attempt_of` counts how often a request body has been asked."""

    def __init__(
        self,
        settings: Settings,
        attempt_of: Callable[[int], int],
        wall_clock: Callable[[], float],
        directory: Path | None = None,
    ) -> None:
        self._temporary = directory is None
        self.records = VendorRecords(directory or Path(tempfile.mkdtemp(prefix="simulated-batches-")))
        self.settings = settings
        self.oddities = Oddities(settings.oddities, settings.seed, self.records.met)
        self.wake: Callable[[float], None] | None = None
        self._attempt_of = attempt_of
        self._clock = wall_clock
        self._calls = 0
        self._jobs: dict[str, Iterator[None]] = {}
        self._open = {batch.id for batch in self.records.batches.values() if not batch.ended}

    def close(self) -> None:
        """Close the records, and delete them if they are in no given directory."""
        self.records.close()
        if self._temporary:
            shutil.rmtree(self.records.directory, ignore_errors=True)

    def change(self, settings: Settings) -> None:
        """Change the settings for what is created from now on; the speed changes at once."""
        changed = settings.oddities != self.settings.oddities
        self.settings = settings
        if changed:
            self.oddities = Oddities(settings.oddities, settings.seed)
        self.hurry()

    def hurry(self) -> None:
        """See to what is due now."""
        if self.wake is None:
            self.finish_due()
        else:
            self.wake(0.0)

    # Time

    def now(self) -> float:
        """Return the seconds since 1970 by the wall clock."""
        return self._clock()

    def elapsed_s(self, thing: StoredFile | StoredBatch) -> float:
        """Return the virtual seconds since a thing was created."""
        return (self._clock() - thing.created_s) * self.settings.batch_speed

    def life(self, batch: StoredBatch) -> BatchLife:
        """Return what a batch is now."""
        return self.life_at(batch, self.elapsed_s(batch))

    def life_at(self, batch: StoredBatch, elapsed_s: float) -> BatchLife:
        """Return what a batch was at a virtual second since it was created."""
        return life_of(
            batch.plan,
            elapsed_s,
            scanned=batch.scanned,
            failed=bool(batch.failure),
            built=batch.built,
            cancel_s=batch.cancel_s,
        )

    # Oddities

    def odd(self, name: str) -> bool:
        """Return whether this call is odd in this way, and keep count of it."""
        if not self.settings.oddities:
            return False
        self._calls += 1
        met = self.oddities.meets(name, (self.records.last_number << 16) + self._calls)
        if met:
            self.records.save_met(self.oddities.met)
        return met

    def odd_ones(self, names: dict[str, str], number: int) -> list[str]:
        """Return the oddities of a new file or batch."""
        met = [name for name in self.oddities.any_of(names) if self.oddities.meets(name, number)]
        if met:
            self.records.save_met(self.oddities.met)
        return met

    # Files

    def add_file(
        self, account: str, dialect: Dialect, source: Path, *, name: str, purpose: str, kept_s: float | None
    ) -> StoredFile:
        """Keep an uploaded file, whose bytes are moved from `source`."""
        number = self.records.next_number()
        middle = "batch-" if dialect == "compatible" else ""
        file_id = f"file-{middle}{digest_of(f'file {self.settings.seed} {number} {account}'.encode()):016x}"
        size = source.stat().st_size
        source.replace(self.records.path(file_id))
        stored = StoredFile(
            id=file_id,
            number=number,
            account=account,
            dialect=dialect,
            name=name,
            purpose=purpose,
            size=size,
            created_s=self.now(),
            expires_s=kept_s,
            odd=self.odd_ones(FILES, number),
        )
        self.records.save(stored)
        return stored

    def file(self, account: str, name: str) -> StoredFile | None:
        """Return a file of an account; None if there is none, or if it is gone."""
        stored = self.records.files.get(name)
        if stored is None or stored.account != account or self._is_gone(stored):
            return None
        return stored

    def _is_gone(self, stored: StoredFile) -> bool:
        elapsed_s, kept_h = self.elapsed_s(stored), self.settings.batch_kept_h
        if kept_h is not None and elapsed_s > kept_h * _HOUR_S:
            return True
        made_by = self.records.batches.get(stored.made_by or "")
        return made_by is not None and self.is_gone(made_by)

    def files(self, account: str, dialect: Dialect) -> list[StoredFile]:
        """Return the files of an account that its lists show, newest first."""
        found = [
            stored
            for stored in self.records.files.values()
            if stored.account == account
            and stored.dialect == dialect
            and not self._is_gone(stored)
            and not ("file_lag" in stored.odd and self.elapsed_s(stored) < LAG_S)
        ]
        return sorted(found, key=lambda stored: -stored.number)

    def delete_file(self, stored: StoredFile) -> None:
        """Delete a file. A batch that is still validating fails for want of it; one that runs goes on."""
        users = [batch for batch in self.open_batches(stored.account) if batch.input_file == stored.id]
        for batch in users:
            if self.life(batch).word == "validating":
                self._jobs.pop(batch.id, None)
                batch.failure = [_unreadable(batch)]
                batch.scanned = True
                self.records.save(batch)
        self.records.delete(stored.id, keep_bytes=bool(users))

    # Batches

    def add_batch(
        self,
        account: str,
        dialect: Dialect,
        input_file: str,
        *,
        endpoint: str,
        window: str,
        window_s: float | None,
        metadata: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        total: int = 0,
    ) -> StoredBatch:
        """Create a batch. `total`: how many rows it has, where that is known already."""
        number = self.records.next_number()
        odd = self.odd_ones(BATCHES, number)
        if dialect == "anthropic":
            odd = [name for name in odd if name not in _WHOLE and name != "failed_lines"]
        prefix = "msgbatch_" if dialect == "anthropic" else "batch_"
        batch = StoredBatch(
            id=f"{prefix}{digest_of(f'batch {self.settings.seed} {number} {account}'.encode()):016x}",
            number=number,
            account=account,
            dialect=dialect,
            created_s=self.now(),
            plan=plan_of(self.settings, number, odd, window_s),
            endpoint=endpoint,
            window=window,
            input_file=input_file,
            headers=headers or {},
            total=total,
            metadata=None if "metadata_null" in odd else metadata,
            odd=odd,
        )
        self.records.save(batch)
        self._open.add(batch.id)
        self.hurry()
        return batch

    def batch(self, account: str, name: str) -> StoredBatch | None:
        """Return a batch of an account; None if there is none, or if it is gone."""
        batch = self.records.batches.get(name)
        if batch is None or batch.account != account:
            return None
        if self.wake is None:
            self.finish_due()
        return None if self.is_gone(batch) else batch

    def is_gone(self, batch: StoredBatch) -> bool:
        """Return whether an ended batch has been removed already."""
        if batch.hidden:
            return True
        life = self.life(batch)
        return "gone" in batch.odd and life.word in ENDED and self.elapsed_s(batch) > life.close_s + _GONE_S

    def batches(self, account: str, *, dialect: Dialect, lagging: bool = False) -> list[StoredBatch]:
        """Return the batches of an account, newest first; `lagging` ones only on demand."""
        if self.wake is None:
            self.finish_due()
        found = [
            batch
            for batch in self.records.batches.values()
            if batch.account == account
            and batch.dialect == dialect
            and not self.is_gone(batch)
            and (lagging or not ("list_lag" in batch.odd and self.elapsed_s(batch) < LAG_S))
        ]
        return sorted(found, key=lambda batch: -batch.number)

    def cancel(self, batch: StoredBatch) -> None:
        """Cancel a batch: what is finished by now stays."""
        if batch.cancel_s is None and "cancel_ignored" not in batch.odd:
            batch.cancel_s = self.elapsed_s(batch)
            self.records.save(batch)
            self.hurry()

    def hide(self, batch: StoredBatch) -> None:
        """Delete an ended batch with its results. Its books stay."""
        batch.hidden = True
        if batch.output_file is not None:
            self.records.delete(batch.output_file)
        self.records.save(batch)

    def is_archived(self, batch: StoredBatch) -> bool:
        """Return whether an ended batch has lost its results to age."""
        kept_h = self.settings.batch_kept_h
        return kept_h is not None and self.elapsed_s(batch) > kept_h * _HOUR_S

    def created_lately(self, account: str) -> int:
        """Return how many batches an account has created in the last virtual hour."""
        return sum(
            batch.account == account and self.elapsed_s(batch) < _HOUR_S for batch in self.records.batches.values()
        )

    def open_batches(self, account: str) -> list[StoredBatch]:
        """Return the batches of an account that have not ended."""
        batches = [self.records.batches[name] for name in self._open if name in self.records.batches]
        return [batch for batch in batches if batch.account == account]

    # Work

    def finish_due(self) -> None:
        """Do all the work that is due now."""
        while self.step() == 0.0:
            pass

    def step(self, budget_s: float = inf) -> float:
        """Do a slice of the work. Return after how many seconds there is more; infinite if nobody waits."""
        until = monotonic() + budget_s
        next_s = self._start_due()
        while self._jobs:
            name, job = next(iter(self._jobs.items()))
            try:
                next(job)
            except StopIteration:
                del self._jobs[name]
                return 0.0
            if monotonic() >= until:
                return 0.0
        return next_s

    def _start_due(self) -> float:
        """Start what is due, and return after how many seconds the next batch changes."""
        soonest = inf
        for name in list(self._open):
            batch = self.records.batches.get(name)
            if batch is None:
                self._open.discard(name)
                continue
            life = self.life(batch)
            if life.word in ENDED:
                self._end(batch)
            elif name in self._jobs:
                continue
            elif not batch.scanned:
                self._jobs[name] = self._scan(batch)
            elif not batch.built and life.end != "failed" and self.elapsed_s(batch) >= life.stop_s:
                builder = ResultBuilder(self.records, self.settings, self.oddities, self._attempt_of)
                self._jobs[name] = builder.build(batch, life.end, life.done)
            elif isfinite(life.next_s):
                soonest = min(soonest, (life.next_s - self.elapsed_s(batch)) / self.settings.batch_speed)
        return max(soonest, 0.001)

    def _end(self, batch: StoredBatch) -> None:
        self._open.discard(batch.id)
        batch.ended = True
        self.records.save(batch)
        if batch.input_file not in self.records.files:
            self.records.path(batch.input_file).unlink(missing_ok=True)

    def _scan(self, batch: StoredBatch) -> Iterator[None]:
        path = self.records.path(batch.input_file)
        batch.failure = []
        if path.exists():
            yield from scan(batch, path, self.settings)
        else:
            batch.failure = [_unreadable(batch)]
        for name, (code, message) in _WHOLE.items():
            if name in batch.odd:
                batch.failure = [failure(code, message or self._limit_text(batch))] if code else [{}]
        if "failed_lines" in batch.odd:
            text = "This request cannot be processed in a batch."
            batch.failure = [failure("invalid_request", text, line) for line in range(1, batch.total + 1, 3)]
        if not batch.failure and self._queue_is_full(batch):
            batch.failure = [failure("token_limit_exceeded", self._limit_text(batch))]
        batch.scanned = True
        self.records.save(batch)

    def _queue_is_full(self, batch: StoredBatch) -> bool:
        limit = self.settings.queued_tokens
        if limit is None or batch.dialect == "anthropic":
            return False
        others = self.open_batches(batch.account)
        waiting = sum(o.prompt_tokens for o in others if o.model == batch.model and o.scanned and not o.failure)
        return waiting + batch.prompt_tokens > limit

    def _limit_text(self, batch: StoredBatch) -> str:
        limit = self.settings.queued_tokens or 90_000
        if batch.dialect == "azure":
            return (
                f"The number of enqueued tokens has surpassed the configured limit of {limit / 1000:g}K for the "
                f"deployment {batch.model}."
            )
        return (
            f"Enqueued token limit reached for {batch.model} in organization org-simulated. Limit: {limit:,} enqueued "
            "tokens. Please try again once some in_progress batches have been completed."
        )


def _unreadable(batch: StoredBatch) -> dict[str, Any]:
    return failure("invalid_request", f"The file {batch.input_file} cannot be read.")
