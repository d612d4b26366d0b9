"""The output directory: which run it belongs to, which process has it open, and the state of the run (`run.json`)."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from batchgen.errors import OutputError, StorageStop
from batchgen.files.disk_errors import storage_stop
from batchgen.files.modes import GROUP, LOCK_FILE, file_mode, make_directory
from batchgen.storage.cost_summary import write_cost_summary
from batchgen.storage.identity import RunIdentity
from batchgen.storage.journal import Journal
from batchgen.storage.journal_repair import open_journal, set_aside
from batchgen.storage.lock import enter, refuse_network
from batchgen.storage.move_aside import finish_move, move_aside, needs_new_directory, new_state
from batchgen.storage.open_batches import collect_first, refuse_open_batches
from batchgen.storage.own_files import (
    COST_SUMMARY_FILE,
    JOURNAL_FILE,
    RESULTS,
    SHARED_FILE,
    SPILL_FILE,
    SPOOLED_INPUT,
    WORKING_FILES,
)
from batchgen.storage.part_check import PartCheck
from batchgen.storage.parts import are_whole, part_identity, part_path, unfinished_parts
from batchgen.storage.recovery import reopen_failed, take_spill
from batchgen.storage.result_schema import PriceLabel
from batchgen.storage.retries import is_much, mark_failed, settled_sums
from batchgen.storage.run_state import (
    RunState,
    SavedSummary,
    found_identity,
    is_simulated,
    mismatch,
    now_text,
    read_run_json,
    rebuilt_state,
    unusable,
    versions_now,
    write_run_json,
)
from batchgen.storage.shard_inputs import forget_sealed
from batchgen.storage.target import OutputTarget
from batchgen.values import Result


class RunDirectory:
    """A locked output directory; `with RunDirectory.open(...) as directory:`.

    `state` is what the run before left, None for a new one; `damage` is done again; `target` is where it is published;
    `input_cost`: see `reopen_failed`.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.results_path = path / RESULTS
        self.spill_path = path / SPILL_FILE
        self.shared_path = path / SHARED_FILE
        self.state: RunState | None = None
        self.damage: list[str] = []
        self.target: OutputTarget | None = None
        self.input_cost: Callable[[Result], Decimal | None] = lambda result: None
        self._lock = lock
        self._journal: Journal | None = None
        self._part_check: PartCheck | None = None
        self._saved: RunState | None = None
        self._in_session = False
        self._at_vendor = 0  # batches of the run, when it was opened
        self._currency: str | None = None

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        job: str,
        fingerprints: Mapping[str, str],
        published: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
        evaluate: Mapping[str, Any] | None = None,
        currency: str | None = None,
        price: str | None = None,
        spooled: Path | None = None,
        fresh: bool = False,
        update: bool = False,
        again: bool = False,
        changed: bool = False,
        take_over: bool = False,
        mode: int | None = None,
        mounts: Path = Path("/proc/mounts"),
    ) -> RunDirectory:
        """Create or reopen the directory, lock it, compare fingerprints, mend what a crash left, open the journal.

        `published` are fingerprints that only count once a part is written (output columns); `evaluate` is kept for
        `batchgen evaluate`; `currency` is that of the job's prices, `price` describes that of its model; `spooled` is
        the input's copy in here (`own_files.SPOOLED_INPUT`), which outlasts every other such copy and stays until all
        rows succeed; `mode` is that of the files (`files.modes`), None leaves it. `fresh` moves what is there aside;
        `update` only where it is of another form of the job or of other input (`again`, `changed`: see
        `needs_new_directory`), and then the new run takes its answers (`reuse`); `take_over`: see
        `refuse_open_batches`. A complete run is left as it is: its journal opens with `reopen_failed`. Raises
        `OutputError` when the directory is somebody else's, in use, of another job, or not writable.
        """
        path = Path(path).absolute()
        refuse_network(path, mounts)
        try:
            finish_move(path)
            directory = cls(path, enter(path, mode))
            try:
                found = dict(fingerprints)
                if fresh:
                    move = any(name.name != LOCK_FILE for name in path.iterdir())
                else:
                    move = update and needs_new_directory(
                        path, found, published or {}, currency, again=again, changed=changed
                    )
                directory._at_vendor = refuse_open_batches(path, settings or {}, moves=move, take_over=take_over)
                if move:
                    begin = new_state(job, found)
                    directory._lock = move_aside(path, directory._lock, begin, spooled=spooled, keep_answers=not fresh)
                directory._take_up(
                    job, found, dict(published or {}), settings or {}, currency=currency, price=price, update=update
                )
                directory._keep_evaluate(evaluate)
                if spooled is not None:
                    done = directory.complete and directory.state is not None and not directory.state.summary.failed
                    directory._keep_spooled(None if done else spooled.name)
            except BaseException:
                directory.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise OutputError(unusable(path, error)) from error
        return directory

    @property
    def journal(self) -> Journal:
        """The open journal; a complete run has none until `reopen_failed`."""
        if self._journal is None:
            raise RuntimeError("a complete run has no journal")
        return self._journal

    @property
    def sealed_parts(self) -> list[Path]:
        """The parts whose rows have left the journal; those of an unfinished part are in both."""
        return [part_path(self.results_path, record.number) for record in self.journal.shards() if record.sealed]

    @property
    def in_place(self) -> bool:
        """Whether the path still leads to the directory that is locked; False once it was removed or replaced."""
        try:
            return os.path.samestat(os.fstat(self._lock), os.stat(self.path / LOCK_FILE))
        except FileNotFoundError:
            return False

    @property
    def complete(self) -> bool:
        """Whether all rows are settled and published: nothing is left to do."""
        return self._journal is None

    def _take_up(
        self,
        job: str,
        fingerprints: dict[str, str],
        published: dict[str, str],
        settings: Mapping[str, Any],
        *,
        currency: str | None,
        price: str | None,
        update: bool,
    ) -> None:
        self._currency = currency
        self._lane = str(settings.get("model.lane") or "live")
        self._make_results()
        for leftover in (*self.path.glob(".*.partial"), *self.results_path.glob(".*.partial")):
            leftover.unlink()
        found = read_run_json(self.path)
        now = now_text()
        if found is not None and not found.sessions:  # made by a move aside, nothing was done here yet
            if not update:
                self._compare(found, fingerprints, published, currency)
            self._saved = msgspec.structs.replace(found, job=job, fingerprints=fingerprints)
        else:
            known = found or self._found_identity()
            if known is not None:
                self._compare(known, fingerprints, published, currency)
            self.state = known if isinstance(known, RunState) or known is None else rebuilt_state(job, known)
            self._saved = self.state or new_state(job, fingerprints)
        if self.state is not None and self.state.state == "complete" and are_whole(self.results_path, self.state.parts):
            self._remove_journal()
            return
        self._in_session = True
        self._save(
            state="running",
            simulated=is_simulated(fingerprints),
            sessions=self._saved.sessions + 1,
            session_times=[*self._saved.session_times, (now, now)],
            session_lanes=[*self._saved.session_lanes, self._lane],
            price=price,
            published=published,
            settings=settings,
            versions=versions_now(),
        )
        self._open_journal()

    def _make_results(self) -> None:
        mode = file_mode(self.path / LOCK_FILE)
        if self.results_path.is_symlink():
            raise OutputError(f"{self.results_path} is a symbolic link, not a directory of this run.")
        make_directory(self.results_path, mode)
        if mode == GROUP and (stat.S_IMODE(self.path.stat().st_mode) & 0o070) != 0o070:
            self.damage.append(
                f"output.mode is group, but {self.path} itself is closed to the group, and its mode is left to you: "
                f"chmod g+rwx {self.path}"
            )

    @property
    def reuse(self) -> Sequence[str]:
        """The earlier runs whose answers this one takes, see `earlier_runs`."""
        return () if self._saved is None else self._saved.reuse

    def keep_reuse(self, reuse: Sequence[str]) -> None:
        """Put on record whose answers this run takes: a run that goes on takes them too. Raises `StorageStop`."""
        if list(reuse) != list(self.reuse):
            with self.disk_stops():
                self._save(reuse=list(reuse))

    def _keep_evaluate(self, evaluate: Mapping[str, Any] | None) -> None:
        assert self._saved is not None
        if evaluate != self._saved.evaluate:
            self._save(evaluate=evaluate)

    def _keep_spooled(self, name: str | None) -> None:
        """Remove copies of standard input other than the one called `name`."""
        for path in self.path.glob(SPOOLED_INPUT):
            if path.name != name:
                path.unlink()

    def _compare(
        self,
        state: RunState | RunIdentity,
        fingerprints: dict[str, str],
        published: dict[str, str],
        currency: str | None,
    ) -> None:
        """Refuse a changed job, input or currency, naming what changed."""
        problem = mismatch(self.path, state, fingerprints, published, currency)
        if problem is not None:
            raise OutputError(collect_first(problem, self._at_vendor, self.path))

    def _found_identity(self) -> RunIdentity | None:
        """Return which run this is where `run.json` is gone; None if nothing here belongs to any run."""
        found = found_identity(self.path)
        if found is None:
            journal = self.path / JOURNAL_FILE
            if journal.exists():
                self.damage.append(f"{set_aside(journal)} does not say which run it belongs to and is not used")
            return None
        self.damage.append("run.json was missing; what is here says itself which run it belongs to")
        return found

    def _open_journal(self) -> None:
        assert self._saved is not None
        saved = self._saved
        identity = RunIdentity(saved.run, saved.fingerprints, saved.published, self._currency)
        self._journal = open_journal(self.path / JOURNAL_FILE, identity)
        self._journal.keep_identity(identity)
        expected = self.state.parts if self.state is not None else ()
        self._part_check = PartCheck(self._journal, self.results_path, expected)
        self.damage += self._journal.damage + self._part_check.damage
        for path in unfinished_parts(self.results_path, self._part_check.whole):
            if part_identity(path).published != identity.published:  # of other columns; the journal has their rows
                path.unlink()
        forget_sealed(self.path, self._part_check.whole)
        self._journal.damage.clear()
        self._saved = msgspec.structs.replace(self._saved, parts=())  # the journal has them now, and will be newer
        self.damage += take_spill(self._journal, self.spill_path)

    def _remove_journal(self) -> None:
        companions = [path for name in WORKING_FILES for path in self.path.glob(name)]
        for path in (*companions, self.path / JOURNAL_FILE, self.spill_path):
            path.unlink(missing_ok=True)

    # During a run

    def reopen_failed(self, input_cost: Callable[[Result], Decimal | None]) -> int:
        """Make all failed rows pending again (`--retry-failed`) and return how many.

        `input_cost` gives the input's share of a row's cost, of which a part has the sum only. Each shard goes back to
        the journal in one transaction, its part staying until the new one replaces it: a kill loses nothing. Of many
        parts each is only marked (`retries`).
        """
        with self.disk_stops():
            assert self._saved is not None
            if self._journal is None:
                self._in_session = True
                self._save(
                    state="running",
                    session_times=[*self._saved.session_times, (now := now_text(), now)],
                    session_lanes=[*self._saved.session_lanes, self._lane],
                )
                self._open_journal()
            self.damage += [] if (many := is_much(self.journal)) else self.verify_parts()
            count = mark_failed(self.journal) if many else reopen_failed(self.journal, self.results_path, input_cost)
            self._save(summary=self._saved.summary.to_do_again(count))
            return count

    def verify_parts(self) -> list[str]:
        """Wait until all parts are read; return what was found damaged, whose rows are pending again."""
        return [] if self._part_check is None else self._part_check.wait()

    def save(self, state: str, summary: Mapping[str, Any]) -> None:
        """Rewrite `run.json` atomically; `state` as in `RunState`. Raises `StorageStop`."""
        with self.disk_stops():
            self._save(state=state, summary=msgspec.convert(summary, SavedSummary))

    def finish(
        self, summary: Mapping[str, Any], label: Callable[[str | None], PriceLabel], state: str = "complete"
    ) -> None:
        """End a run: write the cost summary and `run.json`, and drop the journal of a complete one.

        Raises `StorageStop` when the disk refuses (what is settled stays), `RuntimeError` for open shards in a
        complete run.
        """
        with self.disk_stops():
            records = self.journal.shards()
            crcs = [record.part.crc for record in records if record.part]
            if state == "complete" and len(crcs) != len(records):
                raise RuntimeError("a run with open shards is not complete")
            assert self._saved is not None
            write_cost_summary(
                self.path / COST_SUMMARY_FILE, settled_sums(self.journal)[0], label, simulated=self._saved.simulated
            )
            saved = msgspec.convert(summary, SavedSummary)
            if state != "complete":
                self._save(state=state, summary=saved)
                return
            self._save(state=state, summary=saved, parts=crcs)
            self.journal.remove()
            self._journal = None
            self._remove_journal()
            if not saved.failed:  # else `--retry-failed` reads it
                self._keep_spooled(None)

    @contextmanager
    def disk_stops(self) -> Iterator[None]:
        """Turn an error of the disk into a `StorageStop`."""
        if not self.in_place:
            raise StorageStop(
                f"{self.path} was removed or replaced while the run went on; what it held is lost and is asked again."
            )
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise storage_stop(f"{self.path} cannot be written or read ({error}).", error) from error

    def _save(self, **changes: Any) -> None:
        assert self._saved is not None
        now = now_text()
        self._saved = msgspec.structs.replace(self._saved, updated_at=now, **changes)
        if self._in_session:
            *earlier, (began, _) = self._saved.session_times
            self._saved = msgspec.structs.replace(self._saved, session_times=[*earlier, (began, now)])
        write_run_json(self.path, self._saved)

    def close(self) -> None:
        """Close the journal and let the lock go."""
        if self._part_check is not None:
            self._part_check.close()
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
