"""Workers with scripted attempts: everything settles once, waiting rows hold no worker, stops drain."""

import asyncio
import contextvars
import math
import random
import time
from types import SimpleNamespace

import anyio
import pytest

from batchgen.engine.dialogue import PlainDialogue
from batchgen.engine.masking import Masker
from batchgen.engine.provider_health import ProviderHealth
from batchgen.engine.request_memory import RequestMemory
from batchgen.engine.row_result import RowResults
from batchgen.engine.work import RowInProgress
from batchgen.engine.workers import FIRST_WORKERS, Workers
from batchgen.errors import StorageStop
from batchgen.job.settings import LimitSettings
from batchgen.pace.limiter import LimiterClosed
from batchgen.pace.retry import AttemptCounts
from batchgen.secret import Secrets
from batchgen.values import Completion, Failure, FailureKind, Prompt, Usage, Verdict

pytestmark = pytest.mark.anyio

DONE = Completion("yes", "stop", Usage())
BROKEN = Failure(FailureKind.SERVER_ERROR, Verdict.RETRY, "broken")
BLOCKED = Failure(FailureKind.AUTHENTICATION, Verdict.STOP, "blocked", http_status=403)
DOWN = Failure(FailureKind.SERVER_ERROR, Verdict.RETRY, "down", http_status=500)
WRONG_KEY = Failure(FailureKind.AUTHENTICATION, Verdict.STOP, "wrong key", http_status=401)


class Feed:
    """Shards of rows, numbered through."""

    def __init__(self, *shards):
        self.shards = list(shards)
        self.rows = iter(())
        self.next_row = 0

    def __iter__(self):
        return self.rows

    async def more(self):
        if not self.shards:
            return False
        first, self.next_row = self.next_row, self.next_row + self.shards[0]
        self.rows = iter(
            [RowInProgress(row, Prompt(), AttemptCounts()) for row in range(first, first + self.shards.pop(0))]
        )
        return True


class Outlet:
    """Keeps what was emitted."""

    def __init__(self, storage_error=None):
        self.results, self.left = [], []
        self.error = storage_error

    @property
    def congested(self):
        return self.error is not None and len(self.results) >= 3

    def emit(self, result):
        self.results.append(result)

    def spend(self, charges):
        self.left.append(charges)

    async def wait_for_room(self):
        raise self.error


class Limiter:
    """Only its end matters here, and how many requests are out."""

    closed = False
    in_flight = waiting = 0
    clock = staticmethod(lambda: 0.0)
    pacer = SimpleNamespace(limits=SimpleNamespace(timeout_s=300.0), is_down=False)

    def stop(self):
        self.closed = True


class Attempts:
    """Attempts by a function of the row; counts how many are under way."""

    def __init__(self, limiter, attempt):
        self.limiter, self._attempt = limiter, attempt
        self.now = self.peak = self.sent = 0
        self.begun = set()
        self.memory = RequestMemory(100)
        self.health = ProviderHealth("test", LimitSettings(), 900.0)

    async def send(self, work, *, retry=False):
        if self.limiter.closed:
            raise LimiterClosed
        self.now += 1
        self.begun.add(work.row)
        self.peak = max(self.peak, self.now)
        self.limiter.in_flight = self.now
        work.tally.requests += 1
        self.sent += 1
        work.number = self.sent
        self.health.sent(work.number)
        try:
            outcome = await self._attempt(work)
            self.health.returned(work.number)
            reason = self.health.observe(work, outcome, 0.0, 1.0)
            assert reason is None
            return outcome
        finally:
            self.health.returned(work.number)
            self.now -= 1
            self.limiter.in_flight = self.now


class Retry:
    """Goes on with a failed row by a function of the row, its failure and the sleep."""

    def __init__(self, again):
        self._again = again

    async def run(self, failure, attempt, tally, sleep):
        return await self._again(attempt.args[0], failure, sleep)


class Running(Workers):
    """Workers with their feed and outlet at hand."""

    def __init__(self, attempts, again, limiter, feed, outlet):
        results = RowResults("m", lambda model: None, Masker(Secrets()), wall_ns=lambda: 0)
        super().__init__(attempts, PlainDialogue(), results, Retry(again), limiter)
        self.feed, self.outlet = feed, outlet

    async def run(self, workers):
        await super().run(self.feed, self.outlet, workers)


def runner(attempt, *shards, again=None, storage_error=None):
    """Return workers and their surroundings."""
    limiter, outlet = Limiter(), Outlet(storage_error)
    attempts = Attempts(limiter, attempt)
    return Running(attempts, again, limiter, Feed(*shards), outlet), outlet, outlet.left, attempts


async def soon(work):
    """An attempt that takes a turn of the loop."""
    await anyio.lowlevel.checkpoint()
    return DONE


async def test_every_row_of_every_shard_is_settled_once():
    """Workers share the feed; never more attempts at once than workers."""
    made, outlet, left, attempts = runner(soon, 10, 1, 100)
    await made.run(7)
    assert sorted(result.row for result in outlet.results) == list(range(111))
    assert attempts.peak == 7
    assert left == []
    assert made.error is None


async def test_workers_come_as_long_as_they_are_of_use():
    """Nobody is answered before 500 have asked: all 500 come; and a run that is over waits for none."""

    async def together(work):
        if attempts.now == 500:
            everybody.set()
        await everybody.wait()
        return DONE

    everybody = anyio.Event()
    made, outlet, _, attempts = runner(together, 800)
    with anyio.fail_after(30):
        await made.run(500)
    assert len(outlet.results) == 800
    assert attempts.peak == 500
    few, outlet, _, attempts = runner(soon, 10)
    with anyio.fail_after(30):
        await few.run(100_000)
    assert len(outlet.results) == 10


async def test_no_more_workers_come_than_keep_the_core_busy():
    """Each row takes a fifth of a millisecond of the core and no time besides."""

    async def hard(work):
        began_s = time.perf_counter()
        while time.perf_counter() < began_s + 0.0002:
            pass
        await anyio.lowlevel.checkpoint()
        return DONE

    made, outlet, _, attempts = runner(hard, 3000)
    await made.run(1000)
    assert len(outlet.results) == 3000
    assert attempts.peak <= 2 * FIRST_WORKERS


async def test_no_more_workers_come_than_the_limiter_has_work_for():
    """Two requests are out, all others wait for a permit: more workers would only hold more rows."""

    async def late(work):
        await anyio.sleep(0.05)  # what the permits take to come
        return DONE

    made, outlet, _, attempts = runner(late, 200)
    made._limiter = Limiter()
    made._limiter.in_flight = 2
    await made.run(1000)
    assert len(outlet.results) == 200
    assert attempts.peak == FIRST_WORKERS


@pytest.mark.parametrize("outcome", [DONE, BROKEN, WRONG_KEY])
async def test_rows_of_large_requests_are_not_begun_all_at_once(outcome):
    """Requests of 40 bytes and room for 100: three rows on their way, whatever becomes of them, and all end."""

    async def heavy(work):
        made_attempts.memory.weigh(work, 40)
        await anyio.lowlevel.checkpoint()
        return outcome

    async def again(work, failure, sleep):
        await anyio.lowlevel.checkpoint()
        return failure if work.row % 2 else WRONG_KEY if work.row > 20 else DONE

    made, outlet, left, made_attempts = runner(heavy, 20, 30, again=again)
    await made.run(16)
    assert made_attempts.peak == 3
    assert not made_attempts.memory.full
    made_attempts.memory.weigh(RowInProgress(0, Prompt(), AttemptCounts()), 99)
    assert not made_attempts.memory.full, "nothing is counted of rows that have ended"
    ended = sorted([result.row for result in outlet.results] + [charges.row for charges in left])
    assert ended == sorted(made_attempts.begun), "each row that was begun ends once"
    assert len(ended) == 50 if outcome is DONE else 3 <= len(ended) < 50


async def test_a_waiting_row_holds_no_worker():
    """One worker goes on with the others while the first row waits for its next attempt."""
    answered = anyio.Event()

    async def attempt(work):
        return BROKEN if work.row == 0 else await soon(work)

    async def again(work, failure, sleep):
        await answered.wait()
        return DONE

    made, outlet, _, _ = runner(attempt, 5, again=again)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.run, 1)
        while len(outlet.results) < 4:
            await anyio.lowlevel.checkpoint()
        answered.set()
    assert sorted(result.row for result in outlet.results) == [0, 1, 2, 3, 4]


async def test_a_stop_leaves_its_rows_pending_and_drains_the_others():
    """Different rows are refused for good, three and one for each of the first two that may yet be answered, and none
    is answered between: what is in flight is kept, no more is sent."""
    release = anyio.Event()

    async def attempt(work):
        await anyio.lowlevel.checkpoint()
        if work.row >= 2:
            return WRONG_KEY
        await release.wait()
        return DONE

    made, outlet, left, _ = runner(attempt, 100)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.run, 4)
        while made.error is None:
            await anyio.lowlevel.checkpoint()
        release.set()
    assert "wrong key" in str(made.error)
    assert sorted(result.row for result in outlet.results) == [0, 1]
    assert 5 <= len(left) <= 7
    assert sorted(work.row for work in left) == list(range(2, 2 + len(left)))


async def test_a_row_that_is_refused_alone_fails_alone():
    """An answer to a request that was sent after the refusal was seen shows that it was the row's own; it is asked
    once more, as the refusal may have been one of the moment, and where no row can be at fault twice more."""
    outcomes = {3: BLOCKED, 7: BLOCKED, 8: WRONG_KEY}

    async def attempt(work):
        await anyio.lowlevel.checkpoint()
        return outcomes.get(work.row, DONE)

    made, outlet, left, _ = runner(attempt, 60, again=lambda work, failure, sleep: made._attempts.send(work))
    await made.run(1)
    assert (made.error, left) == (None, [])
    failed = {result.row: (result.http_status, result.attempts) for result in outlet.results if result.error_kind}
    assert failed == {3: (403, 2), 7: (403, 2), 8: (401, 3)}
    assert sorted(result.row for result in outlet.results) == list(range(60))


@pytest.mark.parametrize("refusal", [BLOCKED, WRONG_KEY], ids=["403", "401"])
@pytest.mark.parametrize("at_once", [1, 16])
@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
async def test_rows_that_a_gateway_refuses_at_random_are_tried_again(refusal, at_once, share):
    """Some of the keys behind it are bad: no row fails for them, the run does not stop, and the user is told once."""
    rng, said = random.Random(3), []

    async def attempt(work):
        bad = rng.random() < share and attempts.sent > 8
        for _ in range(1 if bad else 9):
            await anyio.lowlevel.checkpoint()
        return refusal if bad else DONE

    made, outlet, left, attempts = runner(attempt, 400, again=lambda work, failure, sleep: attempts.send(work))
    made._note = said.append
    await made.run(at_once)
    assert (made.error, left) == (None, [])
    assert sorted(result.row for result in outlet.results) == list(range(400))
    assert [result.row for result in outlet.results if result.error_kind] == []
    assert len(said) == 1
    assert refusal.message in said[0]


async def test_a_key_that_is_refused_for_all_stops_a_run_among_random_refusals_too():
    """A quarter was refused at random; then the last good key goes: few more are sent, and rows stay pending."""
    rng = random.Random(3)

    async def attempt(work):
        await anyio.lowlevel.checkpoint()
        return WRONG_KEY if attempts.sent > 200 or rng.random() < 0.25 else DONE

    made, outlet, left, attempts = runner(attempt, 1000, again=lambda work, failure, sleep: attempts.send(work))
    await made.run(4)
    assert "wrong key" in str(made.error)
    assert attempts.sent < 240
    assert [result.row for result in outlet.results if result.error_kind] == []
    assert len(outlet.results) + len(left) <= 240


async def test_a_refused_row_at_the_very_end_fails_too():
    """No later request can tell, but others were answered."""

    async def attempt(work):
        return BLOCKED if work.row == 4 else DONE

    made, outlet, left, _ = runner(attempt, 5, again=lambda work, failure, sleep: made._attempts.send(work))
    await made.run(1)
    assert (made.error, left, len(outlet.results)) == (None, [], 5)


async def test_rows_that_are_held_back_do_not_keep_the_rest_of_the_input_waiting():
    """Where nothing else is out and the next shard waits for their results, they are judged without more evidence."""

    async def attempt(work):
        await anyio.lowlevel.checkpoint()
        return BLOCKED if work.row == 1 else DONE

    made, outlet, _, _ = runner(attempt, 2, 2, again=lambda work, failure, sleep: made._attempts.send(work))
    feed_more = made.feed.more

    async def more():
        while made.feed.next_row and len(outlet.results) < 2:
            made.look()
            await anyio.lowlevel.checkpoint()
        return await feed_more()

    made.feed.more = more
    with anyio.fail_after(10):
        await made.run(1)
    assert sorted(result.row for result in outlet.results) == [0, 1, 2, 3]


async def test_a_row_is_asked_in_place_of_another_that_failed():
    """The outlet names it; it is asked even when no other row is left."""

    async def attempt(work):
        await anyio.lowlevel.checkpoint()
        return DOWN if work.row == 0 else DONE

    async def again(work, failure, sleep):
        return failure

    made, outlet, _, _ = runner(attempt, 1, again=again)
    emit = outlet.emit

    def emit_and_name(result):
        emit(result)
        return RowInProgress(8, Prompt(), AttemptCounts()) if result.row == 0 else None

    outlet.emit = emit_and_name
    await made.run(1)
    assert [(result.row, result.error_kind) for result in outlet.results] == [(0, FailureKind.SERVER_ERROR), (8, None)]


async def test_an_interrupt_wakes_rows_that_wait():
    """A row in its backoff is left pending at once, not after thirty seconds."""

    async def attempt(work):
        return BROKEN

    async def again(work, failure, sleep):
        await sleep(1000)
        raise AssertionError("the sleep must not end well")

    made, outlet, left, _ = runner(attempt, 3, again=again)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.run, 3)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            outside = contextvars.Context()  # a callback from another thread knows of no task
            asyncio.get_running_loop().call_soon(made.interrupt, context=outside)
    assert made.interrupted
    assert made._abort.deadline < math.inf
    assert outlet.results == []
    assert sorted(work.row for work in left) == [0, 1, 2]


async def test_a_second_interrupt_cancels_what_hangs():
    """Cancelled rows are on record as tried."""

    async def attempt(work):
        await anyio.sleep_forever()

    made, _, left, _ = runner(attempt, 2)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.run, 2)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            made.interrupt()
            await anyio.lowlevel.checkpoint()
            made.interrupt()
    assert sorted(work.row for work in left) == [0, 1]


async def test_a_stop_ends_the_wait_for_the_next_shard():
    """The room that the feed waits for may never come: rows left pending keep their shards open."""
    entered = anyio.Event()

    async def attempt(work):
        await entered.wait()
        return WRONG_KEY

    made, _, left, _ = runner(attempt, 1)
    feed_more = made.feed.more

    async def more():
        if made.feed.next_row:
            entered.set()
            while True:
                await anyio.lowlevel.checkpoint()
                made.look()
        return await feed_more()

    made.feed.more = more
    with anyio.fail_after(10):
        await made.run(4)
    assert "wrong key" in str(made.error)
    assert len(left) == 1


async def test_storage_that_fails_ends_the_run():
    """The storage's own exception is the reason."""
    made, outlet, _, _ = runner(soon, 100, storage_error=StorageStop("disk full"))
    await made.run(1)
    assert str(made.error) == "disk full"
    assert len(outlet.results) == 3


async def test_the_number_of_workers_can_change():
    """More start at once; fewer leave when their row is done."""
    go = anyio.Event()

    async def attempt(work):
        await go.wait()
        return DONE

    made, outlet, _, attempts = runner(attempt, 50)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.run, 2)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        assert attempts.now == 2
        made.widen(9)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        assert attempts.now == 9
        made.widen(3)
        go.set()
    assert len(outlet.results) == 50


async def test_one_request_warms_the_cache_for_the_others():
    """They follow its answer, also where it fails; without a beginning to share all go at once."""

    async def slow(work):
        seen.append(attempts.now)
        await anyio.sleep(0.01)
        return DONE

    for warm_up in (True, False):
        seen = []
        made, outlet, _, attempts = runner(slow, 40)
        made._warm_up = warm_up
        with anyio.fail_after(30):
            await made.run(20)
        assert len(outlet.results) == 40
        assert (len(set(seen[:2])), max(seen)) == (2 if not warm_up else 1, 20)
