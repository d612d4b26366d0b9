"""`batchgen status`: the progress of runs, printed once or repeatedly."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from glob import glob, has_magic
from pathlib import Path
from typing import Any, TextIO

import click
import msgspec

from batchgen.errors import OutputError
from batchgen.report.batches import batches_text
from batchgen.report.endpoints import endpoint_text
from batchgen.storage.mirror import local_directory
from batchgen.storage.own_files import is_run
from batchgen.storage.run_state import RunState, read_state
from batchgen.storage.set_aside import set_aside_text
from batchgen.stores.address import is_address
from batchgen.text.figures import amount, duration, figure, money, plain, quantity
from batchgen.text.sections import Document, Fact, Facts, Section, Table, sections_text
from batchgen.text.storable import json_bytes

WATCH_EVERY_S = 2.0
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"
_FRESH_S = 10.0  # a running process rewrites run.json every two seconds


def show_status(
    named: Sequence[str],
    *,
    as_json: bool,
    watch: bool,
    file: TextIO | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Print the progress of runs; with `watch` every two seconds until none of them is running.

    `named` are output directories, globs, or job files, which name theirs. Raises `OutputError` where there is no run.
    """
    shown = file if file is not None else sys.stdout
    directories = directories_named(named)
    while True:
        states = {str(directory): read_state(directory) for directory in directories}
        text = _json(states).decode() if as_json else status_text(states, datetime.now(UTC))
        if watch and not as_json and shown.isatty():
            click.echo(_CLEAR, nl=False, file=shown, color=True)
        click.echo(text, file=shown)
        if not watch or not any(holder for _, holder in states.values()):
            return
        sleep(WATCH_EVERY_S)


def directories_named(named: Sequence[str]) -> list[Path]:
    """Return the output directories that paths, globs and job files name; of several, those without a run are left out.

    Raises `UsageError`.
    """
    paths = [
        local_directory(path, state_only=True)
        for name in named
        for path in (sorted(glob(name)) if _is_glob(name) else [name])
    ]
    found = [_directory_of(path) for path in paths]
    if len(named) == 1 and not has_magic(named[0]):
        return found
    runs = [path for path in found if is_run(path)]
    if not runs:
        raise OutputError(f"{', '.join(named)}: there is no output directory of batchgen among these.")
    return runs


def _is_glob(name: str) -> bool:
    return has_magic(name) and not is_address(name) and not Path(name).exists()


def _directory_of(path: Path) -> Path:
    if path.suffix.lower() != ".toml" or not path.is_file():
        return path
    from batchgen.job.settings import load_job

    return load_job(path).output.directory


def status_text(states: dict[str, tuple[RunState, str | None]], now: datetime) -> str:
    """Return the progress of one run as lines, that of several as a table."""
    if len(states) == 1:
        [(directory, (state, holder))] = states.items()
        facts = _facts(state, holder, now)
        beside = set_aside_text(Path(directory), complete=state.state == "complete")
        facts += [Fact("beside it", plain(beside, 600))] if beside else []
        marks = [_what(state, holder), *(["simulated"] if state.simulated else [])]
        return sections_text(
            Document(f"{plain(directory, 300)}: {plain(state.job)}", marks, [Section("", [Facts(facts)])])
        )
    head = ["run", "state", "rows", "finished", "failed", "rows/s", "left", "cost"]
    rows = [
        [
            plain(directory, 80),
            _what(state, holder).partition(",")[0].partition(";")[0],
            f"{state.summary.rows:,}",
            f"{state.summary.succeeded + state.summary.failed:,}",
            f"{state.summary.failed:,}",
            figure(state.summary.rows_per_s) if holder else "–",
            _left(state, holder) or "–",
            "–" if state.summary.cost is None else amount(state.summary.cost, state.summary.currency),
        ]
        for directory, (state, holder) in states.items()
    ]
    return sections_text(
        Document(f"{quantity(len(states), 'run')}", [], [Section("", [Table("", head, rows, words=2)])])
    )


def _facts(state: RunState, holder: str | None, now: datetime) -> list[Fact]:
    told = state.summary
    facts = [
        Fact("model", plain(str(state.settings.get("model.name") or ""), 120)),
        Fact(
            "rows",
            f"{told.rows:,}",
            f"{told.succeeded:,} succeeded, {told.failed:,} failed, {told.pending:,} still to do",
        ),
    ]
    if told.rows_per_s and (holder or state.state != "running"):
        facts.append(
            Fact("rate", f"{figure(told.rows_per_s)} rows/s", "of the last minute" if holder else "of the last session")
        )
    facts.append(Fact("time left", _left(state, holder)))
    if holder:
        facts.append(Fact("in flight", f"{told.in_flight:,}", "requests"))
    facts.append(Fact("batches", batches_text(told.batches)))
    facts += [
        Fact("endpoint", plain(one.endpoint, 120), plain(endpoint_text(one, told.currency or ""), 600))
        for one in told.endpoints
    ]
    facts += [
        Fact("limited by", plain(told.limited_by or "")),
        Fact("failures", ", ".join(f"{plain(kind)} {rows:,}" for kind, rows in told.failures.items())),
        Fact("cut", f"{quantity(told.cut, 'answer')} at their longest allowed length" if told.cut else ""),
        Fact("rate-limited", f"{told.refused:,}" if told.refused else ""),
    ]
    if told.cost is not None:
        budget = f"of a budget of {money(told.budget, told.currency or '')}" if told.budget is not None else ""
        facts.append(
            Fact(
                "cost",
                amount(told.cost, told.currency),
                ", ".join(filter(None, [budget, "simulated" if state.simulated else ""])),
            )
        )
    if told.error is not None:
        facts.append(Fact("stopped by", plain(str(told.error.get("message")), 600)))
        facts.append(Fact("to go on", plain(str(told.error.get("remedy") or ""), 400)))
    elif holder and told.waits_for:
        facts.append(Fact("waits", plain(told.waits_for, 400)))
    if told.last_error and told.error is None:
        facts.append(Fact("last error", plain(told.last_error, 600), "no answer since"))
    age_s = (now - datetime.fromisoformat(state.updated_at)).total_seconds()
    ago = f"{duration(round(age_s))} ago" if age_s >= 1 else "just now"
    stuck = "; its process is there but has written nothing since" if holder and age_s > _FRESH_S else ""
    facts.append(Fact("as of", state.updated_at, f"{ago}{stuck}"))
    return [fact for fact in facts if fact.value]


def _what(state: RunState, holder: str | None) -> str:
    if state.state != "running":
        return state.state
    return f"running, {holder}" if holder else "killed; running it again goes on"


def _left(state: RunState, holder: str | None) -> str:
    told = state.summary
    if not holder or not told.pending:
        return ""
    return f"about {duration(round(told.pending / told.rows_per_s))}" if told.rows_per_s else "unknown"


def _json(states: dict[str, tuple[RunState, str | None]]) -> bytes:
    """Return the progress as JSON: an object for one run, a list for several."""
    listed: list[dict[str, Any]] = [
        {**msgspec.to_builtins(state), "held_by": holder, "directory": directory}
        for directory, (state, holder) in states.items()
    ]
    return json_bytes(listed if len(listed) > 1 else listed[0])
