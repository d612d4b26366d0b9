"""Rows still to do: in order, once, without those that are settled; what cannot be asked comes as a result."""

import anyio
import pyarrow as pa
import pytest

from batchgen.engine.row_feed import SLICE_ROWS, Feed, InputRows
from batchgen.engine.work import RowInProgress
from batchgen.errors import InputError, InputStop
from batchgen.pace.retry import AttemptCounts
from batchgen.prompts.prompt import PromptSettings, PromptTemplate
from batchgen.source.row_values import own_column
from batchgen.storage.shards import Shard
from batchgen.values import FailureKind, Result, Status

pytestmark = pytest.mark.anyio


class Writer:
    """Knows which rows are settled; counts openings."""

    def __init__(self, settled=()):
        self.settled = set(settled)
        self.opened = []
        self.room = []

    async def open_shard(self, shard):
        self.opened.append((shard.number, shard.table.column_names))
        return self.settled

    async def wait_for_room(self, open_shards=None):
        self.room.append(open_shards)


def shards(*sizes):
    """Yield shards of numbered texts."""
    first = 0
    for number, size in enumerate(sizes):
        table = pa.table({"text": [f"t{row}" for row in range(first, first + size)], "note": ["n"] * size})
        yield Shard(number, first, table)
        first += size


def feed(source, writer, problems=None, only=None, *, finish=None, admitted=None):
    """Return a feed over a template with one column; `admitted` takes the words that come beside prompts."""
    template = PromptTemplate(PromptSettings(user="ask {{ text }}"))
    if finish is not None:
        template.finish_with(finish)
    words_of = [] if admitted is None else admitted
    return Feed(
        InputRows(source, {} if problems is None else problems),
        template,
        writer,
        carried=["note"],
        open_shards=3,
        failed=lambda row, failure: Result(row, Status.FAILED, 0, 0, error_kind=failure.kind),
        admit=lambda row, prompt, words: words_of.append(words) or RowInProgress(row, prompt, AttemptCounts()),
        only=only,
    )


async def drained(source, writer, problems=None, only=None):
    """Return everything that a feed gives."""
    items = []
    with feed(source, writer, problems, only) as rows:
        while await rows.more():
            items += rows
    return items


@pytest.mark.parametrize(("finish", "words"), [(None, ["ask t0", "ask t1"]), (lambda prompt: prompt, [None, None])])
async def test_words_come_beside_prompts_that_are_nothing_else(finish, words):
    """What a job adds to its prompts, an instruction or examples, may stand anywhere: then only the prompt tells."""
    admitted = []
    with feed(shards(2), Writer(), finish=finish, admitted=admitted) as rows:
        assert await rows.more()
        assert len([*rows]) == 2
    assert admitted == words


async def test_rows_come_in_order_shard_after_shard():
    """Each once, rendered; the writer is told of each shard first, with the carried columns only."""
    writer = Writer()
    items = await drained(shards(3, SLICE_ROWS + 7, 1), writer)
    assert [item.row for item in items] == list(range(SLICE_ROWS + 11))
    assert items[5].prompt.messages[-1]["content"] == "ask t5"
    assert writer.opened == [(0, ["note"]), (1, ["note"]), (2, ["note"])]
    assert writer.room[0] == 2


async def test_settled_rows_are_left_out():
    """What the journal has is not asked again."""
    items = await drained(shards(5), Writer(settled={0, 3}))
    assert [item.row for item in items] == [1, 2, 4]


async def test_a_row_that_cannot_be_read_comes_as_its_failure():
    """It never becomes a request; the problem is used up, so that memory does not grow."""
    problems = {1: "bad bytes"}
    items = await drained(shards(3), Writer(), problems)
    assert [type(item) for item in items] == [RowInProgress, Result, RowInProgress]
    assert items[1].error_kind is FailureKind.PROMPT
    assert problems == {}


async def test_a_row_that_cannot_be_rendered_fails_alone_among_rows_rendered_as_a_table():
    """A null in one slice leaves the others as they are, and the values that JSON rows had are those of the prompt."""
    texts = [f"t{row}" for row in range(SLICE_ROWS + 2)]
    texts[1] = None
    table = pa.table({"text": pa.array(texts), "note": ["n"] * len(texts)})
    items = await drained(iter([Shard(0, 0, table)]), Writer())
    assert items[1].error_kind is FailureKind.PROMPT
    asked = [item.prompt.messages[-1]["content"] for item in items[:1] + items[2:]]
    assert asked == [f"ask {text}" for text in texts if text is not None]
    own = pa.table({"text": ["10.0", "2.5"], own_column("text"): ["10", "2.5"], "note": ["n", "n"]})
    items = await drained(iter([Shard(0, 0, own)]), Writer())
    assert [item.prompt.messages[-1]["content"] for item in items] == ["ask 10", "ask 2.5"]


async def test_a_pilot_gets_its_rows_only_and_opens_every_shard():
    """Chosen rows that are not settled, problems of others left alone; boundaries of all shards are put on record."""
    writer = Writer(settled={1})
    problems = {0: "bad bytes"}
    items = await drained(shards(3, 2 * SLICE_ROWS, 1), writer, problems, only={1, 2, SLICE_ROWS + 8})
    assert [item.row for item in items] == [2, SLICE_ROWS + 8]
    assert [number for number, _ in writer.opened] == [0, 1, 2]
    assert problems == {0: "bad bytes"}


async def test_workers_share_one_feed():
    """Many at once: every row goes to one of them."""
    taken = []

    async def worker(rows):
        while True:
            for item in rows:
                taken.append(item.row)
                await anyio.lowlevel.checkpoint()
            if not await rows.more():
                return

    with feed(shards(20, 20, 20), Writer()) as rows:
        async with anyio.create_task_group() as tasks:
            for _ in range(7):
                tasks.start_soon(worker, rows)
    assert sorted(taken) == list(range(60))


async def test_an_input_that_breaks_in_mid_run_stops_it():
    """A file that was changed or removed while it is read: exit 3, not a crash."""

    def broken():
        yield from shards(2)
        raise InputError("in.csv was changed while it was read.")

    with feed(broken(), Writer()) as rows:
        assert await rows.more()
        with pytest.raises(InputStop, match=r"in\.csv was changed"):
            await rows.more()


async def test_a_worker_late_with_one_shard_goes_on_with_the_newest():
    """It asks for no further shard while rows are left, or it would leave at the end of the input, others with it."""
    given, left = [], []

    async def worker(rows, turns):
        while True:
            for item in rows:
                given.append(item.row)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
            if not await rows.more():
                left.append(len(given))
                return

    with feed(shards(10, 10, 10, 10), Writer()) as rows:
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(worker, rows, 1 + 5 * number)
    assert given == list(range(40))
    assert left == [40, 40, 40, 40]
