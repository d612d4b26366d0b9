"""The budget under concurrency: 200 random runs with heavy tails, and what the provider bills never passes the cap."""

import random
from decimal import Decimal

import anyio
import msgspec
import pytest

from batchgen.engine.work import RowInProgress
from batchgen.errors import BudgetStop
from batchgen.money.budget import Budget
from batchgen.money.prices import load_prices
from batchgen.money.reservation import Reservations
from batchgen.pace.limiter import Limiter
from batchgen.pace.pacer import Pacer
from batchgen.pace.retry import AttemptCounts
from batchgen.pace.values import Limits
from batchgen.transport.reply_memory import Room
from batchgen.values import Completion, Failure, FailureKind, Prompt, Request, Response, Usage, Verdict
from tests.engine.asking import engine_of

pytestmark = pytest.mark.anyio

PRICE = load_prices().find("qwen-plus", "international")
MAX_TOKENS = 2_000
CONCURRENCY = 200


class Biller:
    """Answers out of order with heavy-tailed lengths; some answers are lost on the way and billed all the same."""

    def __init__(self, rng, on_request=lambda number: None):
        self.rng = rng
        self.billed = self.outstanding = Decimal(0)
        self.requests = 0
        self.on_request = on_request

    room = Room()

    async def send(self, request, *, timeout_s):
        worst = PRICE.worst_case(len(request.body), MAX_TOKENS)
        self.requests += 1
        self.outstanding += worst
        self.on_request(self.requests)
        for _ in range(self.rng.randrange(1, 6)):
            await anyio.lowlevel.checkpoint()
        self.outstanding -= worst
        output = min(MAX_TOKENS, int(self.rng.lognormvariate(4, 1.5)) + 1)
        usage = {"prompt_tokens": len(request.body) // 4, "completion_tokens": output}
        fate = self.rng.random()
        if fate < 0.05:
            return Response(500, {}, b'{"error":{"message":"oops"}}')
        cost = PRICE.cost(Usage(usage["prompt_tokens"], output))
        self.billed += cost.input + cost.output
        if fate < 0.1:
            return Failure(FailureKind.NETWORK, Verdict.RETRY, "reset", maybe_billed=True)
        choice = {"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}
        return Response(200, {}, msgspec.json.encode({"choices": [choice], "usage": usage}))


class Feed:
    """So many rows of different lengths."""

    def __init__(self, rng, rows):
        self.rows = iter([work(rng, row) for row in range(rows)])
        self.ended = False

    def __iter__(self):
        return self.rows

    async def more(self):
        if self.ended:
            return False
        self.ended = True
        return True


class Outlet:
    """Counts results."""

    congested = False

    def __init__(self):
        self.results = []

    def emit(self, result):
        self.results.append(result)

    def spend(self, charges):
        """Rows that stay pending are not looked at."""

    async def wait_for_room(self):
        """Never needed."""


def work(rng, row):
    """A row with a prompt of 10 to 4,000 characters."""
    return RowInProgress(
        row, Prompt(messages=[{"role": "user", "content": "x" * rng.randrange(10, 4_000)}]), AttemptCounts()
    )


async def run_once(seed, *, set_at=None):
    """Run once with a random cap; return the cap, what was billed, and what the budget and the results say.

    `set_at`: the cap is set when that request goes out, there is none before; whatever goes out later must fit beside
    the worst cases of all that is in flight.
    """
    rng = random.Random(seed)
    parameters = {"max_tokens": MAX_TOKENS, "enable_thinking": False}
    cap = Decimal(str(round(rng.uniform(0.01, 0.6), 4)))
    budget = Budget(cap if set_at is None else None)
    limiter = Limiter(Pacer(Limits(concurrency=CONCURRENCY), random.Random(seed)))

    def on_request(number):
        if number == set_at:
            budget.change_cap(budget.spent + budget.possibly_billed.cost + cap)
        elif budget.cap is not None:
            assert budget.spent + budget.possibly_billed.cost + biller.outstanding <= budget.cap

    biller, outlet = Biller(rng, on_request), Outlet()
    runner, *_ = engine_of(biller, budget, limiter, parameters=parameters, seed=seed)
    runner._sleep = lambda seconds: anyio.lowlevel.checkpoint()
    with anyio.fail_after(60):
        await runner.run(Feed(rng, 600), outlet, CONCURRENCY)
    assert limiter.in_flight == 0
    return budget.cap, biller, budget, outlet.results, runner.error


async def test_no_run_bills_more_than_its_budget():
    """200 runs, 200 in flight: the bill, lost answers included, stays below the cap, and every sum agrees."""
    stopped = finished = 0
    for seed in range(200):
        cap, biller, budget, results, error = await run_once(seed)
        assert biller.billed <= cap
        assert budget.spent + budget.possibly_billed.cost <= cap
        assert budget.spent == sum(r.input_cost + r.output_cost for r in results if r.input_cost is not None)
        assert budget.reserved == 0
        assert error is None or isinstance(error, BudgetStop)
        stopped += error is not None
        finished += error is None
    assert stopped > 20
    assert finished >= 10


async def test_a_budget_that_is_set_in_mid_run_counts_what_is_on_its_way():
    """100 runs without a cap until up to 200 requests are in flight and more wait for a permit: what is sent
    after it fits beside the worst cases of all that is in flight."""
    went_on = stopped = 0
    for seed in range(100):
        set_at = random.Random(seed).randrange(1, 400)
        cap, biller, budget, results, error = await run_once(seed, set_at=set_at)
        assert biller.billed <= cap
        assert budget.spent == sum(r.input_cost + r.output_cost for r in results if r.input_cost is not None)
        assert budget.reserved == 0
        went_on += biller.requests > set_at
        stopped += isinstance(error, BudgetStop)
    assert went_on > 20
    assert stopped > 20


async def test_the_last_rows_go_on_once_what_was_in_flight_without_a_budget_has_settled():
    """Nobody comes after them who could wake them."""
    budget = Budget(None)
    parameters = {"max_tokens": MAX_TOKENS, "enable_thinking": False}
    reserve = Reservations(
        budget, price_of=lambda model: PRICE, model="qwen-plus", parameters=parameters, currency="USD"
    )
    request = Request("http://127.0.0.1:1/v1", b"{}", {})
    reserve.pass_unheld()
    budget.change_cap(Decimal(1))
    with anyio.fail_after(10):
        async with anyio.create_task_group() as rows:
            for _ in range(3):
                rows.start_soon(reserve.hold, request, Prompt())
            await anyio.wait_all_tasks_blocked()
            assert budget.reserved == 0
            reserve.settle(None, request, Prompt(), Completion("yes", "stop", Usage()), None)
    worst = reserve.worst_case(request, Prompt())
    assert budget.reserved == 3 * worst
    assert budget.spent == worst, "an answer without usage counts at its worst case"


async def test_a_retry_takes_back_what_a_row_without_permit_holds():
    """In an outage one request at a time goes out: the rows that were tried before must be able to be that one."""
    request, prompt = Request("http://127.0.0.1:1/v1", b"{}", {}), Prompt()
    parameters = {"max_tokens": MAX_TOKENS, "enable_thinking": False}
    budget = Budget(None)
    reserve = Reservations(
        budget, price_of=lambda model: PRICE, model="qwen-plus", parameters=parameters, currency="USD"
    )
    worst = reserve.worst_case(request, prompt)
    budget.change_cap(worst)
    order = []

    async def fresh():
        held = await reserve.hold(request, prompt)
        permitted = False
        try:
            with reserve.until_permitted():
                await anyio.sleep_forever()
                permitted = True
        finally:
            reserve.release(held)
        order.append("fresh" if permitted else "given up")
        reserve.settle(await reserve.hold(request, prompt), request, prompt, Failure("k", Verdict.FAIL, "no"), None)
        order.append("fresh again")

    async def retry():
        held = await reserve.hold(request, prompt, retry=True)
        order.append("retry")
        reserve.release(held)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as rows:
            rows.start_soon(fresh)
            await anyio.wait_all_tasks_blocked()
            rows.start_soon(retry)
    assert order == ["given up", "retry", "fresh again"]
    assert budget.reserved == 0


async def test_waiting_for_the_budget_is_said_once():
    """With the worst case that has to fit, and what would let more out."""
    request, prompt, said = Request("http://127.0.0.1:1/v1", b"{}", {}), Prompt(), []
    parameters = {"max_tokens": MAX_TOKENS, "enable_thinking": False}
    budget = Budget(Decimal(0))
    reserve = Reservations(
        budget, price_of=lambda model: PRICE, model="qwen-plus", parameters=parameters, currency="USD", note=said.append
    )
    worst = reserve.worst_case(request, prompt)
    budget.change_cap(worst)
    held = await reserve.hold(request, prompt)
    assert said == []
    with anyio.fail_after(10):
        async with anyio.create_task_group() as rows:
            for _ in range(2):
                rows.start_soon(reserve.hold, request, prompt)
                await anyio.wait_all_tasks_blocked()
            assert len(said) == 1
            assert "budget" in said[0]
            assert "max_tokens" in said[0]
            budget.change_cap(9 * worst)
            reserve.release(held)
