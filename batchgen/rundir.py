"""The output directory: whose it is, who has it open, and what state the run in it is in (`run.json`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

from batchgen.journal import Journal
from batchgen.values import Result


class RunState(Struct, frozen=True):
    """`run.json`. `state`: `running`, `stopped`, `interrupted` or `complete`; times are ISO 8601, UTC.

    A run that was killed is left as `running`, with nobody holding the lock.
    """

    state: str
    job: str
    fingerprints: Mapping[str, str]
    started_at: str
    updated_at: str
    sessions: int
    summary: Mapping[str, Any]  # `summary.Summary` as JSON: the latest counts
    versions: Mapping[str, str]


def fingerprints(values: Mapping[str, Any]) -> dict[str, str]:
    """Return dotted key → digest, for nested mappings of JSON values (what an answer depends on)."""
    raise NotImplementedError


class RunDirectory:
    """A locked output directory; `with RunDirectory.open(...) as directory:`."""

    path: Path
    results_path: Path
    journal: Journal
    state: RunState | None  # as the run before left it; None: a new run

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        job: str,
        fingerprints: Mapping[str, str],
        published: Mapping[str, str] | None = None,
        fresh: bool = False,
    ) -> RunDirectory:
        """Create or reopen the directory, lock it, compare fingerprints, mend what a crash left, open the journal.

        `published`: fingerprints that only count once a part is written (output columns). Raises `OutputError`.
        """
        raise NotImplementedError

    def reopen_failed(self, input_cost: Callable[[Result], Decimal | None]) -> int:
        """Make all failed rows pending again (`--retry-failed`) and return how many."""
        raise NotImplementedError

    def save(self, state: str, summary: Mapping[str, Any]) -> None:
        """Rewrite `run.json` atomically."""
        raise NotImplementedError

    def finish(self, summary: Mapping[str, Any]) -> None:
        """All shards are sealed: state `complete`, journal removed."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the journal and let the lock go."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError


def read_state(path: Path) -> tuple[RunState, str | None]:
    """Return `run.json` of a directory and who runs it now (`process 123 on host`), else None; for `status`."""
    raise NotImplementedError
