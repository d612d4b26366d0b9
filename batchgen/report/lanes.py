"""In which lane the rows of a run were asked: `run.json` keeps the lane of each session, and rows their time."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pyarrow.compute as pc

from batchgen.providers.lane import LIVE
from batchgen.storage.run_state import RunState


class LanesOfRun:
    """The lanes of a run's sessions. `names` are those that occur, without order."""

    def __init__(self, state: RunState) -> None:
        lanes = list(state.session_lanes)[-len(state.session_times) :]
        began = [_moment(times[0]) for times in state.session_times][-len(lanes) :] if lanes else []
        earlier = len(state.session_times) > len(lanes) > 0
        first = LIVE if earlier else (lanes[0] if lanes else str(state.settings.get("model.lane") or LIVE))
        self._first = first
        self._changes = [
            (moment, lane)
            for moment, lane, before in zip(began, lanes, [first, *lanes], strict=False)
            if lane != before
        ]
        self.names = {first, *(lane for _, lane in self._changes)}

    def of(self, finished_at: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the lane of each row, by the time at which it was finished."""
        found = pa.chunked_array([pa.array([self._first] * len(finished_at), pa.string())])
        for moment, lane in self._changes:
            later = pc.fill_null(pc.greater_equal(finished_at, pa.scalar(moment, finished_at.type)), False)
            found = pc.if_else(later, lane, found)
        return found


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)
