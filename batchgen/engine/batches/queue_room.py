"""How much may wait in the vendor's queue: an account's limit that is told, or learnt from refusals.

What is in the queue is known of this machine's runs only: they write it into a file of the user's state directory that
they share. A limit that was learnt is kept there too, for a day: others may have filled the queue when it was met.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from batchgen.errors import OutputError
from batchgen.files.modes import PRIVATE, make_directory
from batchgen.files.state_folder import state_folder

KEPT_S = 86_400.0
"""How long what was learnt from a refusal is believed."""

LEFT_BEHIND_S = 172_800.0
"""After so long the entry of a batch counts no more: its run was given up."""

_NO_LIMIT = 2**62


class Waiting(Struct):
    """A batch in the queue."""

    tokens: int
    since_s: float


class Learnt(Struct):
    """The most tokens that may wait, as a refusal showed it: as told, or less than what was refused."""

    tokens: int
    at_s: float


class QueueFile(Struct):
    """What runs share, by model: batches that wait, by run and number, and what was learnt."""

    waiting: dict[str, dict[str, Waiting]] = {}
    learnt: dict[str, Learnt] = {}


class QueueRoom:
    """The queue of one account. `run` names this run's batches in it; `given` is the job's own `queued_tokens`."""

    def __init__(self, path: Path | None, run: str, given: int | None, clock: Callable[[], float]) -> None:
        self._path = path
        self._run = run
        self._given = given
        self._clock = clock
        self._state = QueueFile()

    def limit(self, model: str) -> int:
        """Return how many tokens may wait, as far as is known."""
        learnt = self._state.learnt.get(model)
        if learnt is not None and abs(self._clock() - learnt.at_s) > KEPT_S:  # a clock may have been wrong
            learnt = None
        return min(_NO_LIMIT if learnt is None else learnt.tokens, self._given or _NO_LIMIT)

    @property
    def given(self) -> bool:
        """Whether the job says how much may wait."""
        return self._given is not None

    def others(self, model: str) -> int:
        """Return the tokens of a model that wait now."""
        now_s = self._clock()
        waiting = self._state.waiting.get(model, {})
        return sum(one.tokens for one in waiting.values() if abs(now_s - one.since_s) < LEFT_BEHIND_S)

    def has_room(self, model: str, ahead: int, tokens: int) -> bool:
        """Whether a batch would fit now, as far as is known, after `ahead` tokens of others that are still to be handed
        in. An empty queue takes any."""
        with self._shared():
            others = self.others(model) + ahead
            return not others or others + tokens <= self.limit(model)

    def may_take(self, number: int, model: str, tokens: int) -> bool:
        """Whether a batch fits, and if so count it as waiting. An empty queue takes any."""
        with self._shared():
            waiting = self._state.waiting.setdefault(model, {})
            waiting.pop(self._name(number), None)
            others = self.others(model)
            if others and others + tokens > self.limit(model):
                return False
            waiting[self._name(number)] = Waiting(tokens, self._clock())
            return True

    def leave(self, number: int, model: str) -> None:
        """Count a batch no more: it has ended, or was never taken."""
        with self._shared():
            self._state.waiting.get(model, {}).pop(self._name(number), None)

    def refused(self, number: int, model: str, tokens: int, told: int | None) -> bool:
        """Learn from a refusal; return whether the batch was alone in the queue, so that only a smaller one can fit."""
        with self._shared():
            self._state.waiting.get(model, {}).pop(self._name(number), None)
            others = self.others(model)
            fits = others + tokens - 1 if others else tokens // 2
            most = min(fits, self.limit(model), told or _NO_LIMIT)  # the vendor counts tokens in its own way
            self._state.learnt[model] = Learnt(max(1, most), self._clock())
            return not others

    def _name(self, number: int) -> str:
        return f"{self._run}-{number}"

    @contextmanager
    def _shared(self) -> Iterator[None]:
        """Read the file, change it and write it, while nobody else does; without a file, in memory alone."""
        descriptor = -1
        if self._path is not None:
            with suppress(OSError):
                make_directory(self._path.parent, PRIVATE)
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                with suppress(msgspec.MsgspecError):
                    self._state = msgspec.json.decode(os.pread(descriptor, 2**26, 0), type=QueueFile)
        try:
            yield
            if descriptor >= 0:
                with suppress(OSError):
                    body = msgspec.json.encode(self._state)
                    os.pwrite(descriptor, body, 0)
                    os.ftruncate(descriptor, len(body))
        finally:
            if descriptor >= 0:
                os.close(descriptor)


def queue_path(host: str, account: str) -> Path | None:
    """Return the file that the runs of an account share; None where the user has no home."""
    try:
        folder = state_folder()
    except OutputError:
        return None
    name = hashlib.sha256(f"batchgen queue\0{host}\0{account}".encode()).hexdigest()[:16]
    return folder / f"queue-{name}.json"
