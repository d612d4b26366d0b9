"""The limiter on a real asyncio loop whose clock the test moves."""

from __future__ import annotations

import asyncio
import random

import pytest

from batchgen.pace.limiter import Limiter, LimiterClosed
from batchgen.pace.pacer import Pacer
from batchgen.pace.values import Limits, Ticket
from batchgen.values import Completion, Failure, FailureKind, Throttle, Usage, Verdict

ANSWER = Completion("yes", "stop", Usage(10, 5, 15))
REFUSED = Failure(FailureKind.RATE_LIMITED, Verdict.WAIT, "slow down", throttle=Throttle.REQUESTS)
BROKEN = Failure(FailureKind.SERVER_ERROR, Verdict.RETRY, "oops", http_status=500)
FULL = Failure(FailureKind.SERVER_ERROR, Verdict.WAIT, "no room", http_status=503, throttle=Throttle.UNKNOWN)
LOST = Failure(FailureKind.INVALID_REQUEST, Verdict.FAIL, "no", http_status=400)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer instead of waiting for it."""

    def __init__(self):
        super().__init__()
        self.now_s = 0.0
        self.timers_set = 0

    def time(self):
        return self.now_s

    def call_at(self, when, *args, **kwargs):
        self.timers_set += 1
        return super().call_at(when, *args, **kwargs)

    def _run_once(self):
        scheduled = [timer.when() for timer in self._scheduled if not timer.cancelled()]
        if not self._ready and scheduled:
            self.now_s = max(self.now_s, min(scheduled))
        super()._run_once()


def play(body):
    """Run one test body on its own virtual loop."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(body(loop))
    finally:
        loop.close()
    return loop


def limiter(loop, **limits):
    return Limiter(Pacer(Limits(**limits), random.Random(1)), clock=loop.time)


def test_fast_path_needs_no_loop_turn():
    """A free permit is there at once; a full house gives None."""

    async def body(loop):
        gate = limiter(loop, concurrency=2)
        first, second = gate.try_acquire(10), gate.try_acquire(10)
        assert first
        assert second
        assert gate.try_acquire(10) is None
        assert gate.in_flight == 2
        assert gate.settle(first, ANSWER) == 0
        assert gate.try_acquire(10)

    play(body)


def test_waiters_are_served_in_order_retries_first():
    """Fresh rows go in the order they came; a retry passes them all."""
    order = []

    async def ask(gate, name, *, retry=False):
        ticket = await gate.acquire(10, retry=retry)
        order.append(name)
        gate.settle(ticket, ANSWER)

    async def body(loop):
        gate = limiter(loop, concurrency=1)
        held = await gate.acquire(10)
        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(ask(gate, name))
            await asyncio.sleep(0)
            group.create_task(ask(gate, "retry", retry=True))
            await asyncio.sleep(0)
            assert gate.waiting == 4
            gate.settle(held, ANSWER)

    play(body)
    assert order == ["retry", "a", "b", "c"]


def test_fast_path_does_not_overtake_the_queue():
    """A newcomer waits behind those who wait, unless it is a retry and they are fresh."""

    async def body(loop):
        gate = limiter(loop, concurrency=1)
        held = await gate.acquire(10)
        waiter = asyncio.ensure_future(gate.acquire(10))
        await asyncio.sleep(0)
        assert gate.try_acquire(10) is None
        gate.settle(held, ANSWER)
        assert gate.try_acquire(10) is None
        gate.settle(await waiter, ANSWER)

    play(body)


def test_a_rate_is_kept_with_one_timer_for_the_queue():
    """A thousand waiting rows are paced evenly and need about one timer per permit, not one per row and turn."""
    sent = []

    async def ask(gate, loop):
        ticket = await gate.acquire(10)
        sent.append(loop.time())
        gate.settle(ticket, ANSWER)

    async def body(loop):
        gate = limiter(loop, concurrency=2000, requests_per_minute=6000)
        async with asyncio.TaskGroup() as group:
            for _ in range(1000):
                group.create_task(ask(gate, loop))

    loop = play(body)
    assert loop.now_s == pytest.approx(1000 / 99, rel=0.02)
    assert sum(t < 1 for t in sent) <= 106
    assert loop.timers_set <= 1100


def test_cancelled_waiter_leaves_the_queue_and_loses_no_permit():
    """Cancellation, also in the very turn the permit comes, gives the permit to the next."""

    async def body(loop):
        gate = limiter(loop, concurrency=1)
        held = await gate.acquire(10)
        first = asyncio.ensure_future(gate.acquire(10))
        second = asyncio.ensure_future(gate.acquire(10))
        third = asyncio.ensure_future(gate.acquire(10))
        await asyncio.sleep(0)
        first.cancel()
        gate.settle(held, ANSWER)  # serves the second: the first is cancelled or will be
        second.cancel()
        ticket = await third
        assert gate.in_flight == 1
        gate.settle(ticket, ANSWER)
        assert (gate.in_flight, gate.waiting) == (0, 0)

    play(body)


def test_stop_wakes_waiters_and_refuses_newcomers():
    """After `stop` nobody hangs and nobody gets a permit; those that are out can still be settled."""

    async def body(loop):
        gate = limiter(loop, concurrency=1)
        held = await gate.acquire(10)
        waiter = asyncio.ensure_future(gate.acquire(10))
        await asyncio.sleep(0)
        gate.stop()
        with pytest.raises(LimiterClosed):
            await waiter
        with pytest.raises(LimiterClosed):
            gate.try_acquire(10)
        with pytest.raises(LimiterClosed):
            await gate.acquire(10)
        assert gate.settle(held, None) == 0
        assert gate.in_flight == 0

    play(body)


def test_outcomes_reach_the_pacer():
    """Each kind of outcome is counted as what it is."""

    async def body(loop):
        gate = limiter(loop)
        tickets = [gate.try_acquire(10) for _ in range(5)]
        outcomes = [ANSWER, REFUSED, BROKEN, LOST, None]
        for ticket, outcome in zip(tickets, outcomes, strict=True):
            assert ticket
            assert gate.settle(ticket, outcome) == 0
        sample = gate.pacer.snapshot(0.0)
        assert (sample.sent, sample.refused, sample.failed, sample.in_flight) == (5, 1, 1, 0)

    play(body)


def test_long_retry_after_stops_everybody_then_all_go_on():
    """Nobody is sent before the wish is over, and afterwards no one is forgotten."""
    wait = Failure(FailureKind.RATE_LIMITED, Verdict.WAIT, "later", throttle=Throttle.REQUESTS, retry_after_s=30)
    sent = []

    async def ask(gate, loop):
        ticket = await gate.acquire(10)
        sent.append(loop.time())
        gate.settle(ticket, ANSWER)

    async def body(loop):
        gate = limiter(loop, requests_per_minute=600)
        gate.settle(await gate.acquire(10), wait)
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(ask(gate, loop))

    play(body)
    assert len(sent) == 20
    assert min(sent) >= 30


def test_changed_limits_wake_the_queue():
    """A higher concurrency serves those who wait at once."""

    async def body(loop):
        gate = limiter(loop, concurrency=1)
        await gate.acquire(10)
        waiter = asyncio.ensure_future(gate.acquire(10))
        await asyncio.sleep(0)
        gate.pacer.change(Limits(concurrency=2))
        gate.changed()
        assert isinstance(await waiter, Ticket)

    play(body)


def test_search_goes_on_by_itself_when_answers_are_slow():
    """Requests that nobody refuses permit more, though no answer has come yet."""

    async def body(loop):
        gate = limiter(loop, concurrency=200)
        tickets = [await gate.acquire(10) for _ in range(200)]
        assert loop.now_s < 4
        assert len({ticket.number for ticket in tickets}) == 200

    play(body)


@pytest.mark.parametrize(("failure", "paced"), [(FULL, True), (BROKEN, False)])
def test_a_full_server_is_paced_and_a_broken_one_is_not(failure, paced):
    """503 of a server that is full lowers the pace; a failure of it does not."""

    async def body(loop):
        gate = limiter(loop, concurrency=100, requests_per_minute=600)
        for _ in range(12):
            ticket = await gate.acquire(10)
            gate.settle(ticket, ANSWER)
        gate.settle(await gate.acquire(10), failure)
        assert (gate.pacer.snapshot(loop.time()).requests_per_s < 9.9) is paced

    play(body)
