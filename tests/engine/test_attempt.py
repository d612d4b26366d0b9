"""One prompt → one outcome: provider, transport, limiter, retry and budget meeting, with a scripted transport."""

from decimal import Decimal

import msgspec
import pytest

from batchgen.errors import BudgetStop, ProviderStop, ResourceStop
from batchgen.pace.limiter import LimiterClosed
from batchgen.providers.wire import MESSAGE_CAP
from batchgen.values import Completion, Failure, FailureKind, Response, Status, Verdict
from tests.engine.asking import BROKEN, LOST, Asking
from tests.engine.asking import row_to_ask as work

pytestmark = pytest.mark.anyio

GOOD = Response(
    200,
    {},
    b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"Blue"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":24,"completion_tokens":1,"total_tokens":25}}',
)
REFUSED = Response(
    429, {}, b'{"error":{"message":"slow down","type":"rate_limit_exceeded","code":"rate_limit_exceeded"}}'
)
WRONG_KEY = Response(401, {}, b'{"error":{"message":"Incorrect API key sk-abc123456789","code":"invalid_api_key"}}')
STREAM_ONLY = Response(
    400, {}, b'{"error":{"message":"This model only support stream mode","code":"invalid_parameter"}}'
)
NO_FILES = Failure(FailureKind.NETWORK, Verdict.WAIT, "no file descriptor is left", code="fd_limit")


def asking(*answers, key="sk-abc123456789", **settings):
    """Return what asks a row over a scripted transport, with its parts."""
    made = Asking(*answers, key=key, **settings)
    return made, made.transport, made.limiter, made.budget, made.clock


async def test_a_good_answer_becomes_a_result_with_its_cost():
    """Tokens, cost, latency and attempts of the one request."""
    made, transport, limiter, _, _ = asking(GOOD)
    row = work()
    result = made.result(row, await made.attempt(row))
    assert (result.row, result.status, result.completion, result.attempts) == (7, Status.SUCCEEDED, "Blue", 1)
    assert result.input_cost == Decimal("0.4") * 24 / 1_000_000
    assert result.output_cost == Decimal("1.2") * 1 / 1_000_000
    assert (result.finished_at_us, result.http_status) == (5, 200)
    assert limiter.in_flight == 0
    assert not transport.requests[0].streamed


async def test_a_broken_attempt_is_followed_by_others():
    """Attempts are counted; the permit is given back each time."""
    made, transport, limiter, _, clock = asking(BROKEN, BROKEN, GOOD)
    row = work()
    outcome = await made.again(row, await made.attempt(row), clock.sleep)
    assert isinstance(outcome, Completion)
    assert made.result(row, outcome).attempts == 3
    assert len(transport.requests) == 3
    assert limiter.in_flight == 0


async def test_a_row_that_stays_broken_fails_with_the_vendors_words():
    """After `max_attempts`, cut and masked."""
    long = Response(500, {}, b'{"error":{"message":"sk-abc123456789 ' + b"x" * 5000 + b'"}}')
    made, *_, clock = asking(long, long, long)
    row = work()
    result = made.result(row, await made.again(row, await made.attempt(row), clock.sleep))
    assert (result.status, result.error_kind, result.http_status) == (Status.FAILED, FailureKind.SERVER_ERROR, 500)
    assert len(result.error_message) <= MESSAGE_CAP
    assert "sk-abc" not in result.error_message
    assert result.input_cost == 0


async def test_a_refusal_costs_no_attempt():
    """Ten refusals of a row with three attempts, then an answer."""
    made, *_, clock = asking(*[REFUSED] * 10, GOOD)
    row = work()

    outcome = await made.attempt(row)
    while isinstance(outcome, Failure):
        assert outcome.verdict is Verdict.WAIT
        clock.now_s += 200.0
        outcome = await made.attempt(row, retry=True)
    assert row.tally.attempts == 0
    assert made.attempts.refused == 10
    assert made.result(row, outcome).attempts == 11


async def test_a_wish_beyond_patience_stops_the_run():
    """A Retry-After of days is no pacing."""
    days = Response(429, {"retry-after": "1814400"}, REFUSED.body)
    made, *_ = asking(days, patience_s=900)
    with pytest.raises(ProviderStop, match="1,814,400 s"):
        await made.attempt(work())


async def test_a_model_that_only_streams_is_streamed_from_then_on():
    """The 400 that says so teaches the run; the next row is streamed at once."""
    stream = Response(
        200,
        {},
        b'data: {"choices":[{"index":0,"delta":{"content":"Blue"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    )
    made, transport, _, _, clock = asking(STREAM_ONLY, stream, stream)
    row = work()
    outcome = await made.again(row, await made.attempt(row), clock.sleep)
    assert isinstance(outcome, Completion)
    await made.attempt(work())
    assert [request.streamed for request in transport.requests] == [False, True, True]


async def test_the_reason_to_stop_is_the_vendors_masked():
    """A wrong key: the verdict stops the run, the key is not repeated."""
    made, *_ = asking(WRONG_KEY)
    row = work()
    outcome = await made.attempt(row)
    assert outcome.verdict is Verdict.STOP
    assert made.attempts.health.hold(row, outcome) is None
    reason = made.results.masker.message(made.attempts.health.at_the_end())
    assert "Incorrect API key" in reason
    assert "401" in reason
    assert "sk-abc" not in reason


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [(1, [600]), (2, [120, 600]), (3, [120, 240, 600]), (6, [120, 240, 480, 600, 600, 600])],
)
async def test_a_row_that_was_too_late_gets_more_time_each_time(attempts, expected):
    """What was learnt of the others' latencies doubles up to the user's own limit, which the last attempt has whole."""
    late = Failure(FailureKind.TIMEOUT, Verdict.RETRY, "late", maybe_billed=True)
    made = Asking(*[late] * attempts, attempts=attempts)
    pacer = made.limiter.pacer
    pacer.change(msgspec.structs.replace(pacer.limits, timeout_s=600.0))
    pacer._log.deadline_s = 120.0
    row = work()
    outcome = await made.again(row, await made.attempt(row), made.clock.sleep)
    assert outcome.kind is FailureKind.TIMEOUT
    assert made.transport.timeouts_s == expected


async def test_want_of_file_descriptors_costs_no_attempt_and_lowers_the_concurrency():
    """The request that could not go out is not counted; the row waits a second, fewer go out at once, said once."""
    said = []
    made, transport, limiter, _, clock = asking(NO_FILES, NO_FILES, GOOD, note=said.append)
    tickets = [limiter.try_acquire(1.0) for _ in range(4)]
    row = work()
    began_s = clock()
    short = await made.attempt(row)
    assert limiter.pacer.limits.concurrency == 2, "the four that have their connections, less a share for files"
    for ticket in tickets:
        limiter.settle(ticket, None)
    result = made.result(row, await made.again(row, short, clock.sleep))
    assert (result.status, result.attempts, made.attempts.refused) == (Status.SUCCEEDED, 1, 0)
    assert len(transport.requests) == 3
    assert clock() - began_s >= 2
    assert len(said) == 1


async def test_a_try_at_once_that_finds_no_connection_is_no_attempt():
    """A host that goes away closes a kept connection and refuses the next a millisecond later: the row lives."""
    stale = Failure(FailureKind.NETWORK, Verdict.RETRY, "closed", maybe_billed=True, stale=True)
    away = Failure(FailureKind.NETWORK, Verdict.RETRY, "refused")
    made, _, _, _, clock = asking(stale, away, away, GOOD, attempts=2)
    row = work()
    began_s = clock()
    result = made.result(row, await made.again(row, await made.attempt(row), clock.sleep))
    assert (result.status, result.attempts) == (Status.SUCCEEDED, 4)
    assert row.tally.attempts == 1
    assert row.tally.refused_s == clock() - began_s >= 1.0


async def test_want_of_file_descriptors_for_minutes_stops_the_run():
    """Where not one connection can be had no row fails: the run stops and says why."""
    made, _, limiter, _, clock = asking(*[NO_FILES] * 100)
    row = work()
    with pytest.raises(ResourceStop, match=r"^For 1\d\d s no file descriptor is left"):
        await made.again(row, await made.attempt(row), clock.sleep)
    assert limiter.pacer.limits.concurrency == 1
    assert row.tally.requests == 0


async def test_whatever_stops_the_run_is_masked():
    """The watch's sentence and the one on patience quote no key."""
    lost = Failure(FailureKind.NETWORK, Verdict.RETRY, "no sk-abc123456789")
    made, _, _, _, clock = asking(*[lost] * 9, attempts=9)
    with pytest.raises(ProviderStop, match=r"no \*\*\*"):
        await made.again(work(), await made.attempt(work()), clock.sleep)
    refused = b'{"error":{"message":"sk-abc123456789 is slow","code":"rate_limit_exceeded"}}'
    made, *_ = asking(Response(429, {"retry-after": "1000000"}, refused))
    with pytest.raises(ProviderStop, match=r"\*\*\* is slow"):
        await made.attempt(work())


async def test_an_answer_that_quotes_the_key_is_kept_without_it():
    """A server that repeats the request's headers in its answer; a short key may be a word and stays."""
    key = "canary-0123456789"
    for given, kept in ((key, "Bearer ***"), ("EMPTY", "Bearer EMPTY")):
        made, *_ = asking(Response(200, {}, GOOD.body.replace(b"Blue", f"Bearer {given}".encode())), key=given)
        row = work()
        assert made.result(row, await made.attempt(row)).completion == kept


async def test_the_budget_is_held_and_settled():
    """The worst case while in flight, the real cost after; a cap that could be passed stops the run."""
    made, transport, _, budget, _ = asking(GOOD, cap=Decimal("0.0003"))
    await made.attempt(work())
    assert budget.reserved == 0
    assert budget.spent == Decimal("0.0000108")
    tight, transport, *_ = asking(GOOD, cap=Decimal("0.00001"))
    with pytest.raises(BudgetStop, match="budget"):
        await tight.attempt(work())
    assert transport.requests == []


async def test_an_attempt_without_an_answer_counts_as_possibly_billed():
    """At its worst case, with or without a budget."""
    for cap in (None, Decimal(1)):
        made, _, _, budget, _ = asking(LOST, cap=cap)
        await made.attempt(work())
        assert budget.possibly_billed.requests == 1
        assert budget.possibly_billed.cost > 0
        assert budget.reserved == 0


async def test_spending_counts_without_a_cap_too():
    """A cap that is set while the run goes on must know what was spent before."""
    made, _, _, budget, _ = asking(GOOD)
    await made.attempt(work())
    assert budget.spent == Decimal("0.0000108")
    budget.change_cap(Decimal("0.00001"))
    assert not budget.fits_later(Decimal("0.000001"))


async def test_a_budget_without_a_longest_answer_is_refused():
    """Nothing bounds a thinking model's answer: no cap could be kept."""
    made, *_ = asking(GOOD, cap=Decimal(1), parameters={"enable_thinking": True, "max_tokens": 16})
    with pytest.raises(BudgetStop, match="max_completion_tokens"):
        await made.attempt(work())


async def test_a_stopped_limiter_gives_back_what_was_held():
    """The row was not sent: nothing is counted, nothing stays reserved."""
    made, transport, limiter, budget, _ = asking(GOOD, cap=Decimal(1))
    limiter.stop()
    row = work()
    with pytest.raises(LimiterClosed):
        await made.attempt(row)
    assert row.tally.requests == 0
    assert budget.reserved == 0
    assert transport.requests == []


def told(usage):
    """A good answer with another report of its tokens."""
    return Response(200, {}, GOOD.body.replace(b'{"prompt_tokens":24,"completion_tokens":1,"total_tokens":25}', usage))


async def test_figures_that_contradict_each_other_are_told_once():
    """The row keeps what the pair and the total agree on, and its price."""
    odd = told(b'{"prompt_tokens":24,"completion_tokens":1,"total_tokens":25,"cached_tokens":99}')
    said = []
    made, *_ = asking(odd, odd, note=said.append)
    for _ in range(2):
        row = work()
        result = made.result(row, await made.attempt(row))
        assert (result.input_tokens, result.cached_tokens, result.total_tokens) == (24, None, 25)
        assert result.input_cost == Decimal("0.4") * 24 / 1_000_000
    assert len(said) == 1
    assert "cached" in said[0]


async def test_a_total_alone_is_kept_and_the_budget_counts_the_worst_case():
    """Nobody knows what of it was output."""
    made, _, _, budget, _ = asking(told(b'{"total_tokens":25}'), cap=Decimal(1))
    row = work()
    result = made.result(row, await made.attempt(row))
    assert (result.input_tokens, result.output_tokens, result.total_tokens) == (None, None, 25)
    assert result.input_cost is None
    assert budget.unreported > Decimal("1.2") * 16 / 1_000_000
