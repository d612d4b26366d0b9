"""In which lane the rows of a run were asked: `run.json` has the lane of each session, and that of an endpoint with its
own; rows have their time and endpoint."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from batchgen.files.compute import pc
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
        self._own = {one.endpoint: one.lane for one in state.summary.endpoints if one.lane}
        self.names = {first, *(lane for _, lane in self._changes), *self._own.values()}

    def of(self, finished_at: pa.ChunkedArray, endpoint: pa.Array | pa.ChunkedArray | None = None) -> pa.ChunkedArray:
        """Return the lane of each row, by the time at which it was finished and by the endpoint that answered."""
        found = pa.chunked_array([pa.array([self._first] * len(finished_at), pa.string())])
        for moment, lane in self._changes:
            later = pc.fill_null(pc.greater_equal(finished_at, pa.scalar(moment, finished_at.type)), False)
            found = pc.if_else(later, lane, found)
        for name, lane in self._own.items() if endpoint is not None else ():
            found = pc.if_else(pc.fill_null(pc.equal(endpoint, name), False), lane, found)
        return found


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)
