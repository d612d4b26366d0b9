"""`run.json`: the state of a run, and the job and input that it belongs to."""

from __future__ import annotations

import hashlib
import os
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Struct

from batchgen.errors import OutputError
from batchgen.files.disk_errors import mend, unreadable
from batchgen.files.replace import replace_file
from batchgen.money.budget import PossiblyBilled
from batchgen.storage.batch_table import BatchShown
from batchgen.storage.identity import RunIdentity, stored_identity
from batchgen.storage.lock import enter, holder, refuse_foreign
from batchgen.storage.own_files import JOURNAL_FILE, RESULTS, STATE_FILE, is_no_run
from batchgen.storage.parts import DamagedPartError, part_identity, part_numbers, part_path, unfinished_parts
from batchgen.text.storable import json_bytes
from batchgen.version import __version__


class Refreshed(Struct, frozen=True):
    """How many rows with an earlier answer were asked again, and of how many the answer is another now."""

    asked: int
    moved: int


class EndpointShown(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one of several endpoints has done: requests in the last session, rows and cost in all of them (None while
    the run goes on). `api_key_env` is the variable of its key, `region` that of its prices; `lane` and
    `provider` are its own, if it has any."""

    endpoint: str
    model: str = ""
    api_key_env: str = ""
    region: str = ""
    lane: str = ""
    provider: str = ""
    requests: int = 0
    rate_limited: int = 0
    failed: int = 0
    possibly_billed: int = 0
    left_out: str | None = None
    rows: int | None = None
    cost: Decimal | None = None


class SavedSummary(Struct, frozen=True, kw_only=True):
    """The counts and sums of a run, the latest there are: those of `engine.summary.Summary`, fewer while it goes on.

    `killed_counted`, `most_out` (requests seen in flight at once) and `dearest` (cost of a row) are what the next run
    needs to know of one that is killed (`killed_runs`); `budget` is the one in force, and `unreported` what answers
    without usage are counted at in it.
    `endpoints` are those of a job with several. `batches` are those of the vendor's queue. `failures` are the failed
    rows by kind. While a run goes on, `last_error` is said if it has had no answer since, `waits_for` while it sends
    nothing, `in_flight` are its requests and `rows_per_s` is of the last minute.
    """

    state: str = "running"
    rows: int = 0
    succeeded: int = 0
    failed: int = 0
    pending: int = 0
    attempts: int = 0
    refused: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    cached_saved: Decimal | None = None
    cost: Decimal | None = None
    currency: str | None = None
    possibly_billed: PossiblyBilled = PossiblyBilled(0, Decimal(0))
    wall_s: float = 0.0
    rows_per_s: float = 0.0
    limited_by: str | None = None
    output: str = ""
    error: Mapping[str, Any] | None = None
    shared: int = 0
    reused: int = 0
    saved: Decimal | None = None
    refreshed: Refreshed | None = None
    simulated: bool = False
    killed_counted: int = 0
    most_out: int = 0
    dearest: Decimal = Decimal(0)
    budget: Decimal | None = None
    unreported: Decimal = Decimal(0)
    last_error: str | None = None
    cut: int = 0
    endpoints: tuple[EndpointShown, ...] = ()
    batches: tuple[BatchShown, ...] = ()
    failures: Mapping[str, int] = {}
    waits_for: str | None = None
    in_flight: int = 0

    def to_do_again(self, failed: int) -> SavedSummary:
        """Return it with so many failed rows as still to do, so that `status` counts them so after a kill, too."""
        return msgspec.structs.replace(self, failed=max(0, self.failed - failed), pending=self.pending + failed)


class RunState(Struct, frozen=True, kw_only=True):
    """`run.json`. `state`: `running`, `stopped`, `interrupted`, `handed in` or `complete`; times are ISO 8601, UTC.

    A run that was killed is left as `running`, with nobody holding the lock. `fingerprints` are digests by dotted key;
    `run` is its own name (`identity`); a `simulated` run was answered by the built-in simulator;
    `parts` has the CRC-32 of each part of a complete run; `session_times` are the beginning and the end of each session
    (of one that was killed, when it last wrote here),
    `session_lanes` the lane of each of the latest sessions; `price` describes the price of the job's model;
    `estimate` is the latest estimate that was made while the run was there; `settings` are the job's keys worth
    showing, without prompts and secrets; `evaluate` is the job's table of that name;
    `reuse` are the directories of earlier runs whose answers it takes (`earlier_runs`), the latest first.
    """

    state: str
    job: str
    started_at: str
    updated_at: str
    sessions: int
    fingerprints: Mapping[str, str]
    run: str = ""
    simulated: bool = False
    published: Mapping[str, str] = {}
    summary: SavedSummary = SavedSummary()
    parts: Sequence[int] = ()
    versions: Mapping[str, str] = {}
    estimate: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = {}
    evaluate: Mapping[str, Any] | None = None
    session_times: Sequence[tuple[str, str]] = ()
    session_lanes: Sequence[str] = ()
    price: str | None = None
    reuse: Sequence[str] = ()


def fingerprints(values: Mapping[str, Any]) -> dict[str, str]:
    """Return dotted key → digest for nested mappings of JSON values: what an answer depends on, without its text."""
    digests: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            digests |= {f"{key}.{below}": digest for below, digest in fingerprints(value).items()}
        else:
            digests[key] = hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:32]
    return digests


def run_fingerprints(answer_parts: Mapping[str, Any], input_fingerprint: str) -> dict[str, str]:
    """Return what a run is recognised by: all of its job that an answer depends on, and its input."""
    return {**fingerprints(answer_parts), "input": input_fingerprint}


SIMULATOR = "simulator"
"""What stands for the address of the built-in simulator in a run's fingerprint."""

_SIMULATED = fingerprints({"model.base_url": SIMULATOR})


def is_simulated(found: Mapping[str, str]) -> bool:
    """Whether the fingerprints are of a run against the simulator."""
    return _SIMULATED.items() <= found.items()


def read_state(path: Path) -> tuple[RunState, str | None]:
    """Return `run.json` of a directory and who runs it now (`process 123 on host`), else None. Raises `OutputError`."""
    state = read_run_json(Path(path))
    if state is None:
        raise OutputError(is_no_run(Path(path)) or f"{path} has no {STATE_FILE} yet: its run has only begun.")
    return state, holder(Path(path))


def keep_estimate(path: Path, estimate: Mapping[str, Any], fingerprints: Mapping[str, str]) -> None:
    """Write an estimate into the `run.json` of an unfinished run, to be held against what it costs in the end.

    An estimate of another job or input is not for that run and is left out. Raises `OutputError` while somebody else
    runs there.
    """
    if not (path / STATE_FILE).is_file():
        return
    lock = enter(path.absolute())
    try:
        state = read_run_json(path)
        if state is not None and state.state != "complete" and state.fingerprints == fingerprints:
            write_run_json(path, msgspec.structs.replace(state, estimate=estimate))
    finally:
        os.close(lock)


def problem_with(
    path: Path, fingerprints: Mapping[str, str], published: Mapping[str, str], currency: str | None = None
) -> str | None:
    """Return why a run of this job could not go on in `path`, None if it could; changes nothing (for `check`)."""
    try:
        if not path.is_dir():
            there = next((above for above in (path, *path.parents) if os.path.lexists(above)), None)
            is_file = there is not None and there.exists() and not there.is_dir()
            return unusable(path, NotADirectoryError(f"{there} is a file")) if is_file else None
        refuse_foreign(path)
        found = read_run_json(path) or found_identity(path)
    except OutputError as error:
        return str(error)
    except OSError as error:
        return unusable(path, error)
    return None if found is None else mismatch(path, found, fingerprints, published, currency)


def unusable(path: Path, error: Exception) -> str:
    """Return the sentence for an output directory that the disk gives no access to."""
    remedy = mend(error, "Mend that and run the same command again, or choose another --output.")
    return f"{path} cannot be used as output directory: {error}. {remedy}"


def found_identity(path: Path) -> RunIdentity | None:
    """Return which run an output directory without `run.json` belongs to, as its parts or its journal say."""
    for number in part_numbers(path / RESULTS):
        with suppress(DamagedPartError, FileNotFoundError):
            found = part_identity(part_path(path / RESULTS, number))
            if found.run:
                return found
    found_in_journal = stored_identity(path / JOURNAL_FILE)
    return found_in_journal if found_in_journal is not None and found_in_journal.run else None


def mismatch(
    path: Path,
    state: RunState | RunIdentity,
    fingerprints: Mapping[str, str],
    published: Mapping[str, str],
    currency: str | None = None,
) -> str | None:
    """Return a sentence that names what has changed since the run in `path` began.

    `currency` is that of the job's prices now: what was charged in another one cannot be added to it.
    """
    if is_simulated(state.fingerprints) != is_simulated(fingerprints):
        return _mixed(path, simulated=is_simulated(state.fingerprints))
    changed = _differences(state.fingerprints, fingerprints)
    written = _differences(state.published, published)
    if written and len(part_numbers(path / RESULTS)) > len(unfinished_parts(path / RESULTS)):  # those are written anew
        changed += written
    if not changed:
        return _other_currency(path, state, currency)
    verb = "has" if len(changed) == 1 else "have"
    return (
        f"{path} holds a run of another job or input: {', '.join(changed)} {verb} changed since. "
        "Use --update to move that run aside and ask only for what is new, --fresh to move it aside and ask for "
        "everything, or choose another --output."
    )


def _mixed(path: Path, *, simulated: bool) -> str:
    if simulated:
        return (
            f"{path} holds a simulated run, and simulated answers are never mixed with real ones. Use --fresh to move "
            "it aside, --simulate to go on with it, or choose another --output."
        )
    return f"{path} holds a real run, into which --simulate never writes. Choose another --output."


def _other_currency(path: Path, state: RunState | RunIdentity, currency: str | None) -> str | None:
    if isinstance(state, RunIdentity):
        before = state.currency
    else:
        before = state.summary.currency if state.summary.cost else None
    if None in (before, currency) or before == currency:
        return None
    return (
        f"What {path} holds was priced in {before}, and the prices of the job are now in {currency}: they cannot be "
        f"added up. Go on with prices in {before} (pricing.region, pricing.file), or use --update, --fresh or another "
        "--output; `batchgen report DIR --prices FILE` prices a finished run anew."
    )


def now_text() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def versions_now() -> dict[str, str]:
    """Return the versions that a run works with."""
    return {
        "batchgen": __version__,
        "python": platform.python_version(),
        "pyarrow": pa.__version__,
        "sqlite": sqlite3.sqlite_version,
    }


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]


def write_run_json(directory: Path, state: RunState) -> None:
    replace_file(directory / STATE_FILE, msgspec.json.format(json_bytes(state), indent=2))


def read_run_json(directory: Path) -> RunState | None:
    """Return what a directory's `run.json` says, None if it has none. Raises `OutputError` if it cannot be read."""
    path = directory / STATE_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunState)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (msgspec.MsgspecError, ValueError, OSError) as error:
        remedy = (
            "Restore that file, or remove it: the next run makes it anew from its results and its journal. "
            "`batchgen run --fresh` moves all of it aside."
        )
        raise OutputError(unreadable(path, error, remedy)) from None


def rebuilt_state(job: str, found: RunIdentity) -> RunState:
    """Return what is known of a run whose `run.json` is gone."""
    now = now_text()
    return RunState(
        state="stopped",
        job=job,
        started_at=now,
        updated_at=now,
        sessions=0,
        fingerprints=found.fingerprints,
        published=found.published,
        run=found.run,
        simulated=is_simulated(found.fingerprints),
        summary=SavedSummary(currency=found.currency),
    )
