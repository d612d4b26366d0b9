"""When to do the next step of each batch, by a wall clock that may be set back."""

from __future__ import annotations

from collections.abc import Callable


class DueTimes:
    """The next step's time of each batch, by number. One without a time is due at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: dict[int, tuple[float, float]] = {}

    def __contains__(self, number: int) -> bool:
        return number in self._times

    def put(self, number: int, pause_s: float) -> None:
        """Let a batch wait so long from now on."""
        now_s = self._clock()
        self._times[number] = now_s, now_s + pause_s

    def of(self, number: int) -> float:
        """Return when a batch is due. After a clock was set back it waits anew, and no longer than it was to wait."""
        set_s, due_s = self._times.get(number, (0.0, 0.0))
        if self._clock() < set_s:
            self.put(number, due_s - set_s)
            due_s = self._times[number][1]
        return due_s

    def forget(self, number: int) -> None:
        """Let a batch be due at once."""
        self._times.pop(number, None)
