"""The feed: rows in order, shard after shard, to however many workers there are."""

import anyio
import pyarrow as pa
import pytest

from batchgen.feed import Feed
from batchgen.plan import cut

pytestmark = pytest.mark.anyio


class Template:
    """Renders nothing: the rows alone matter."""

    columns = ()

    def render(self, values):
        return None


class ShardWriter:
    """Takes any number of shards in; none of their rows is settled."""

    async def open_shard(self, shard):
        return set()

    async def wait_for_room(self, open_shards=None):
        return None


def feed_of(rows, shard_rows):
    batches = ((row, pa.RecordBatch.from_pydict({"n": [row]})) for row in range(rows))
    return Feed(cut(batches, rows=shard_rows), {}, Template(), ShardWriter(), carried=["n"], open_shards=2, failed=None)


async def test_a_worker_late_with_the_shard_before_goes_on_with_the_newest():
    """It asks for no further shard while rows are left, or it would go at the end of the input and others with it."""
    given = []
    left = []

    async def work(pause_s):
        while True:
            for item in feed:
                given.append(item.row)
                await anyio.sleep(pause_s)
            if not await feed.more():
                left.append(len(given))
                return

    with feed_of(40, 10) as feed:
        async with anyio.create_task_group() as tasks:
            for worker in range(4):
                tasks.start_soon(work, 0.001 * (1 + 5 * worker))
    assert given == list(range(40))
    assert left == [40, 40, 40, 40]
