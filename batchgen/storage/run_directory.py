"""The output directory: whose it is, who has it open, and what state the run in it is in (`run.json`)."""

from __future__ import annotations

import hashlib
import os
import platform
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import pyarrow as pa
from msgspec import Struct

from batchgen import __version__
from batchgen.errors import OutputError, StorageStop
from batchgen.files.replace import replace_file
from batchgen.storage.journal import Journal
from batchgen.storage.journal_repair import open_journal
from batchgen.storage.lock import LOCK_FILE, enter, holder, make_private, refuse_network
from batchgen.storage.parts import PriceLabel, part_numbers, part_path, write_cost_summary
from batchgen.storage.recovery import check_parts, reopen_failed, take_spill
from batchgen.values import Result

_STATE_FILE, _JOURNAL_FILE, _SPILL_FILE, _SHARED_FILE = "run.json", "journal.sqlite", "journal.spill", "shared.sqlite"


class RunState(Struct, frozen=True, kw_only=True):
    """`run.json`. `state`: `running`, `stopped`, `interrupted` or `complete`; times are ISO 8601, UTC.

    A run that was killed is left as `running`, with nobody holding the lock. `fingerprints` are digests by dotted key;
    `summary` is `ledger.Summary` as JSON, the latest there is; `parts` has the CRC-32 of each part of a complete run;
    `estimate` is the latest estimate that was made while the run was there; `settings` are the job's keys worth
    showing, without prompts and secrets; `evaluate` is the job's table of that name.
    """

    state: str
    job: str
    started_at: str
    updated_at: str
    sessions: int
    fingerprints: Mapping[str, str]
    published: Mapping[str, str] = {}
    summary: Mapping[str, Any] = {}
    parts: Sequence[int] = ()
    versions: Mapping[str, str] = {}
    estimate: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = {}
    evaluate: Mapping[str, Any] | None = None


def fingerprints(values: Mapping[str, Any]) -> dict[str, str]:
    """Return dotted key → digest for nested mappings of JSON values: what an answer depends on, without its text."""
    digests: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            digests |= {f"{key}.{below}": digest for below, digest in fingerprints(value).items()}
        else:
            digests[key] = hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:32]
    return digests


class RunDirectory:
    """A locked output directory; `with RunDirectory.open(...) as directory:`.

    `state` is what the run before left, None for a new one; `damage` says what was found damaged and is done again.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.results_path = path / "results"
        self.spill_path = path / _SPILL_FILE
        self.shared_path = path / _SHARED_FILE
        self.state: RunState | None = None
        self.damage: list[str] = []
        self._lock = lock
        self._journal: Journal | None = None
        self._saved: RunState | None = None

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
        fresh: bool = False,
        mounts: Path = Path("/proc/mounts"),
    ) -> RunDirectory:
        """Create or reopen the directory, lock it, compare fingerprints, mend what a crash left, open the journal.

        `published` are fingerprints that only count once a part is written (output columns); `evaluate` is kept for
        `batchgen evaluate`. A complete run is left as it is: its journal opens with `reopen_failed`. Raises
        `OutputError` when the directory is somebody else's, in use, of another job, or not writable.
        """
        path = Path(path).absolute()
        refuse_network(path, mounts)
        try:
            directory = cls(path, enter(path))
            try:
                if fresh and any(name.name != LOCK_FILE for name in path.iterdir()):
                    directory = directory._moved_aside()
                directory._take_up(job, dict(fingerprints), dict(published or {}), settings or {})
                directory._keep_evaluate(evaluate)
            except BaseException:
                directory.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"{path} cannot be used as output directory: {error}. Choose another --output."
            ) from error
        return directory

    @property
    def journal(self) -> Journal:
        """The open journal; a complete run has none until `reopen_failed`."""
        if self._journal is None:
            raise RuntimeError("a complete run has no journal")
        return self._journal

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

    def _moved_aside(self) -> RunDirectory:
        """Rename the directory, which stays locked until then, and begin an empty one."""
        stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        target = self.path.with_name(f"{self.path.name}.old-{stamp}")
        number = 1
        while target.exists():
            number += 1
            target = self.path.with_name(f"{self.path.name}.old-{stamp}-{number}")
        self.path.rename(target)
        self.close()
        return RunDirectory(self.path, enter(self.path))

    def _take_up(
        self, job: str, fingerprints: dict[str, str], published: dict[str, str], settings: Mapping[str, Any]
    ) -> None:
        make_private(self.results_path)
        for leftover in (*self.path.glob(".*.partial"), *self.results_path.glob(".*.partial")):
            leftover.unlink()
        self.state = _read_run_json(self.path / _STATE_FILE)
        now = _now()
        if self.state is None:
            self._saved = RunState(
                state="running", job=job, started_at=now, updated_at=now, sessions=0, fingerprints=fingerprints
            )
        else:
            self._compare(fingerprints, published)
            self._saved = self.state
        if self.state is not None and self.state.state == "complete" and self._parts_whole(self.state):
            self._remove_journal()
            return
        self._save(
            state="running",
            sessions=self._saved.sessions + 1,
            published=published,
            settings=settings,
            versions={
                "batchgen": __version__,
                "python": platform.python_version(),
                "pyarrow": pa.__version__,
                "sqlite": sqlite3.sqlite_version,
            },
        )
        self._open_journal()

    def _keep_evaluate(self, evaluate: Mapping[str, Any] | None) -> None:
        assert self._saved is not None
        if evaluate != self._saved.evaluate:
            self._save(evaluate=evaluate)

    def _compare(self, fingerprints: dict[str, str], published: dict[str, str]) -> None:
        """Refuse a changed job or input, naming what changed."""
        assert self.state is not None
        problem = _mismatch(self.path, self.state, fingerprints, published)
        if problem is not None:
            raise OutputError(problem)

    def _open_journal(self) -> None:
        self._journal = open_journal(self.path / _JOURNAL_FILE)
        expected = self.state.parts if self.state is not None else ()
        self.damage += self._journal.damage + check_parts(self._journal, self.results_path, expected)
        self._journal.damage.clear()
        assert self._saved is not None
        self._saved = msgspec.structs.replace(self._saved, parts=())  # the journal has them now, and will be newer
        self.damage += take_spill(self._journal, self.spill_path)

    def _parts_whole(self, state: RunState) -> bool:
        """Whether a complete run's parts are all there as they were written; else `check_parts` says what is wrong."""
        return part_numbers(self.results_path) == list(range(len(state.parts))) and all(
            zlib.crc32(part_path(self.results_path, number).read_bytes()) == crc
            for number, crc in enumerate(state.parts)
        )

    def _remove_journal(self) -> None:
        companions = (*self.path.glob(f"{_JOURNAL_FILE}-*"), *self.path.glob(f"{_SHARED_FILE}*"))
        for path in (*companions, self.path / _JOURNAL_FILE, self.spill_path):
            path.unlink(missing_ok=True)

    # During a run

    def reopen_failed(self, input_cost: Callable[[Result], Decimal | None]) -> int:
        """Make all failed rows pending again (`--retry-failed`) and return how many.

        `input_cost` gives the input's share of a row's cost from its tokens (a part has the sum only). Each shard goes
        back to the journal in one transaction, and its part stays until the new one replaces it: a kill loses nothing.
        """
        with self._disk_stops():
            if self._journal is None:
                self._save(state="running")
                self._open_journal()
            return reopen_failed(self.journal, self.results_path, input_cost)

    def save(self, state: str, summary: Mapping[str, Any]) -> None:
        """Rewrite `run.json` atomically; `state` as in `RunState`. Raises `StorageStop`."""
        with self._disk_stops():
            self._save(state=state, summary=summary)

    def finish(
        self, summary: Mapping[str, Any], label: Callable[[str | None], PriceLabel], state: str = "complete"
    ) -> None:
        """End a run: write the cost summary and `run.json`, and drop the journal of a complete one.

        Raises `StorageStop` when the disk refuses (what is settled stays), `RuntimeError` for open shards in a
        complete run.
        """
        with self._disk_stops():
            records = self.journal.shards()
            crcs = [record.part.crc for record in records if record.part]
            if state == "complete" and len(crcs) != len(records):
                raise RuntimeError("a run with open shards is not complete")
            write_cost_summary(self.path / "cost_summary.parquet", self.journal.sums(), label)
            if state != "complete":
                self._save(state=state, summary=summary)
                return
            self._save(state=state, summary=summary, parts=crcs)
            self.journal.remove()
            self._journal = None
            self._remove_journal()

    @contextmanager
    def _disk_stops(self) -> Iterator[None]:
        if not self.in_place:
            raise StorageStop(
                f"{self.path} was removed or replaced while the run went on; what it held is lost and is asked again."
            )
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StorageStop(f"{self.path} cannot be written ({error}). Running the job again goes on.") from error

    def _save(self, **changes: Any) -> None:
        assert self._saved is not None
        self._saved = msgspec.structs.replace(self._saved, updated_at=_now(), **changes)
        _write_run_json(self.path / _STATE_FILE, self._saved)

    def close(self) -> None:
        """Close the journal and let the lock go."""
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


def read_state(path: Path) -> tuple[RunState, str | None]:
    """Return `run.json` of a directory and who runs it now (`process 123 on host`), else None. Raises `OutputError`."""
    state = _read_run_json(Path(path) / _STATE_FILE)
    if state is None:
        raise OutputError(f"{path} is not an output directory of batchgen: it has no {_STATE_FILE}.")
    return state, holder(Path(path))


def keep_estimate(path: Path, estimate: Mapping[str, Any]) -> None:
    """Write an estimate into the `run.json` of an unfinished run, to be held against what it costs in the end.

    Raises `OutputError` while somebody else runs there.
    """
    if not (path / _STATE_FILE).is_file():
        return
    lock = enter(path.absolute())
    try:
        state = _read_run_json(path / _STATE_FILE)
        if state is not None and state.state != "complete":
            _write_run_json(path / _STATE_FILE, msgspec.structs.replace(state, estimate=estimate))
    finally:
        os.close(lock)


def problem_with(path: Path, fingerprints: Mapping[str, str], published: Mapping[str, str]) -> str | None:
    """Return why a run of this job could not go on in `path`, None if it could; changes nothing (for `check`)."""
    if not path.is_dir():
        return None
    state = _read_run_json(path / _STATE_FILE)
    return None if state is None else _mismatch(path, state, fingerprints, published)


def _mismatch(path: Path, state: RunState, fingerprints: Mapping[str, str], published: Mapping[str, str]) -> str | None:
    """Return a sentence that names what has changed since the run in `path` began."""
    changed = _differences(state.fingerprints, fingerprints)
    if part_numbers(path / "results"):
        changed += _differences(state.published, published)
    if not changed:
        return None
    verb = "has" if len(changed) == 1 else "have"
    return (
        f"{path} holds a run of another job or input: {', '.join(changed)} {verb} changed since. "
        "Use --fresh to move that run aside and start anew, or choose another --output."
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]


def _write_run_json(path: Path, state: RunState) -> None:
    replace_file(path, msgspec.json.format(msgspec.json.encode(state), indent=2))


def _read_run_json(path: Path) -> RunState | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunState)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, ValueError, OSError) as error:
        raise OutputError(
            f"{path} cannot be read: {error}. Use --fresh to move that run aside, or choose another --output."
        ) from None
