"""In which lane a row was asked, by the time at which it was finished."""

import datetime as dt

import msgspec
import pyarrow as pa

from batchgen.report.lanes import LanesOfRun
from batchgen.storage.run_state import RunState

NINE, TEN, ELEVEN = (f"2026-09-21T{hour:02}:00:00+00:00" for hour in (9, 10, 11))
STATE = RunState(state="complete", job="x", started_at=NINE, updated_at=NINE, sessions=3, fingerprints={})


def lanes(begun, named, **told):
    """Return the lanes of rows that were finished at half past nine, ten and eleven, and at no known time."""
    state = msgspec.structs.replace(STATE, session_times=[(one, one) for one in begun], session_lanes=named, **told)
    times = [dt.datetime(2026, 9, 21, hour, 30, tzinfo=dt.UTC) for hour in (9, 10, 11)]
    column = pa.chunked_array([pa.array([*times, None], pa.timestamp("us", "UTC"))])
    return LanesOfRun(state).of(column).to_pylist()


def test_each_session_has_its_lane():
    """Also where the first sessions are of a version that kept none, or where none is known."""
    assert lanes([NINE, TEN, ELEVEN], ["live", "flex", "live"]) == ["live", "flex", "live", "live"]
    assert lanes([NINE, TEN, ELEVEN], ["flex"]) == ["live", "live", "flex", "live"]
    assert lanes([NINE, TEN], ["flex", "flex"]) == ["flex"] * 4
    assert lanes([], []) == ["live"] * 4
    assert lanes([], [], settings={"model.lane": "flex"}) == ["flex"] * 4
