"""Room for requests: counted by row, freed by row, and whoever waits goes on."""

import anyio
import pytest

from batchgen.engine.request_memory import RequestMemory
from batchgen.engine.work import RowInProgress
from batchgen.pace.retry import AttemptCounts
from batchgen.values import Prompt

pytestmark = pytest.mark.anyio


def row(number):
    """A row that asks something."""
    return RowInProgress(number, Prompt(), AttemptCounts())


def test_a_row_counts_once():
    """A request in place of an earlier one counts by what it has more; a freed row counts nothing, twice freed too."""
    room, first, second = RequestMemory(100), row(0), row(1)
    room.weigh(first, 60)
    room.weigh(first, 70)
    assert not room.full
    room.weigh(second, 30)
    assert room.full
    room.free(first)
    room.free(first)
    assert not room.full
    room.weigh(first, 69)
    assert not room.full
    room.weigh(first, 70)
    assert room.full


async def test_whoever_waits_goes_on_when_there_is_room():
    """Freeing too little wakes nobody; what makes room wakes all."""
    room, large, small = RequestMemory(100), row(0), row(1)
    room.weigh(large, 150)
    room.weigh(small, 20)
    through = []

    async def wait(name):
        await room.wait()
        through.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait, "a")
        tasks.start_soon(wait, "b")
        await anyio.wait_all_tasks_blocked()
        room.free(small)
        await anyio.wait_all_tasks_blocked()
        assert through == []
        room.free(large)
    assert sorted(through) == ["a", "b"]
