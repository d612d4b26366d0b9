"""Two budgets: attempts for what may have been billed, patience for refusals; carried out by tenacity."""

import random

import pytest

from batchgen.pace.retry import (
    BACKOFF_CAP_S,
    LAST_PATIENCE_S,
    LONGEST_RETRY_AFTER_S,
    AttemptCounts,
    RetryPolicy,
    RetrySettings,
)
from batchgen.values import Completion, Failure, FailureKind, Throttle, Usage, Verdict

pytestmark = pytest.mark.anyio

BROKEN = Failure(FailureKind.SERVER_ERROR, Verdict.RETRY, "broken")
REFUSED = Failure(FailureKind.RATE_LIMITED, Verdict.WAIT, "too fast")
LOST = Failure(FailureKind.INVALID_REQUEST, Verdict.FAIL, "no")
DONE = Completion("yes", "stop", Usage())


class Script:
    """Attempts that end as told; counts sleeps instead of sleeping."""

    def __init__(self, *outcomes, refused_s=1.0):
        self.outcomes = list(outcomes)
        self.tally = AttemptCounts(requests=1)
        self.sleeps = []
        self.refused_s = refused_s

    def count(self, outcome):
        if isinstance(outcome, Failure) and outcome.verdict is Verdict.RETRY:
            self.tally.attempts += 1
        if isinstance(outcome, Failure) and outcome.verdict is Verdict.WAIT:
            self.tally.refused_s += self.refused_s
        return outcome

    async def attempt(self):
        self.tally.requests += 1
        return self.count(self.outcomes.pop(0))

    async def sleep(self, seconds):
        self.sleeps.append(seconds)

    async def run(self, first, **settings):
        policy = RetryPolicy(RetrySettings(**settings), random.Random(1))
        return await policy.run(self.count(first), self.attempt, self.tally, self.sleep)


async def test_a_row_goes_on_until_it_succeeds():
    """Three failures, then an answer: four requests."""
    script = Script(BROKEN, BROKEN, DONE)
    assert await script.run(BROKEN) == DONE
    assert script.tally.requests == 4
    assert len(script.sleeps) == 3


async def test_attempts_run_out():
    """`max_attempts` requests in all, then the last failure is the row's."""
    script = Script(*[BROKEN] * 9)
    assert await script.run(BROKEN, max_attempts=3) == BROKEN
    assert script.tally.requests == 3


async def test_refusals_use_patience_and_no_attempts():
    """A hundred refusals cost no attempt; patience ends them."""
    script = Script(*[REFUSED] * 99, DONE, refused_s=1.0)
    assert await script.run(REFUSED, max_attempts=1) == DONE
    script = Script(*[REFUSED] * 99, DONE, refused_s=10.0)
    assert await script.run(REFUSED, rate_limit_patience_s=50) == REFUSED
    assert script.tally.requests == 5


FULL = Failure(FailureKind.SERVER_ERROR, Verdict.WAIT, "503", http_status=503, throttle=Throttle.UNKNOWN)


async def test_a_server_that_may_be_full_or_down_costs_the_last_rows_two_minutes():
    """A 503 without words draws on the whole patience while fresh rows wait behind, and never on attempts."""
    script = Script(*[FULL] * 99, refused_s=10.0)
    script.tally.last = True
    assert await script.run(FULL, max_attempts=1) == FULL
    assert script.tally.refused_s == LAST_PATIENCE_S
    script = Script(*[FULL] * 80, DONE, refused_s=10.0)
    assert await script.run(FULL, max_attempts=1) == DONE


async def test_a_refused_row_does_not_wait_by_itself():
    """The limiter paces everybody; the row asks again at once."""
    script = Script(REFUSED, DONE)
    await script.run(REFUSED)
    assert sum(script.sleeps) == 0


async def test_a_final_failure_ends_the_retries():
    """A refusal of the row is not retried."""
    script = Script(LOST, DONE)
    assert await script.run(BROKEN) == LOST
    assert script.outcomes == [DONE]


async def test_a_refused_row_keeps_to_the_servers_wish():
    """It comes back no sooner than `Retry-After` said, nor later than the cap on absurd wishes, also in an outage."""
    obey_retry_after = Failure(FailureKind.RATE_LIMITED, Verdict.WAIT, "later", retry_after_s=2.0)
    script = Script(obey_retry_after, DONE)
    await script.run(obey_retry_after)
    assert script.sleeps == [2.0, 2.0]
    policy = RetryPolicy(RetrySettings(), random.Random(7))
    assert policy.wait_s(AttemptCounts(asked_s=3.0), obey_retry_after) == 3.0
    busy = Failure(FailureKind.SERVER_ERROR, Verdict.RETRY, "later", retry_after_s=1e9)
    assert policy.wait_s(AttemptCounts(shared=True), busy) == LONGEST_RETRY_AFTER_S


def test_backoff_is_jittered_and_grows_to_its_bound():
    """Between half a bound and the bound, which doubles from one second up to the cap."""
    policy = RetryPolicy(RetrySettings(), random.Random(7))
    for attempts in range(1, 40):
        bound = min(BACKOFF_CAP_S, 2.0 ** (attempts - 1))
        waits = [policy.wait_s(AttemptCounts(attempts=attempts), BROKEN) for _ in range(200)]
        assert bound / 2 <= min(waits) < 0.6 * bound
        assert 0.9 * bound < max(waits) <= bound


def test_a_wait_is_longer_than_the_last_one_really_was():
    """What the queue added to the last wait counts; the cap holds."""
    policy = RetryPolicy(RetrySettings(), random.Random(7))
    assert policy.wait_s(AttemptCounts(attempts=2, waited_s=4.0), BROKEN) == 5.0
    assert policy.wait_s(AttemptCounts(attempts=2, waited_s=400.0), BROKEN) == BACKOFF_CAP_S


def test_the_servers_wish_is_a_lower_bound():
    """`Retry-After` of a server error is waited for, within a row's patience."""
    policy = RetryPolicy(RetrySettings(rate_limit_patience_s=60), random.Random(7))
    obey_retry_after = Failure(FailureKind.SERVER_ERROR, Verdict.RETRY, "later", retry_after_s=45.0)
    assert policy.wait_s(AttemptCounts(attempts=1), obey_retry_after) == 45.0
    absurd = Failure(FailureKind.SERVER_ERROR, Verdict.RETRY, "later", retry_after_s=1e9)
    assert policy.wait_s(AttemptCounts(attempts=1), absurd) == 60.0


def test_a_stale_connection_is_retried_at_once_but_only_once():
    """The second time it is a failure like others."""
    policy = RetryPolicy(RetrySettings(), random.Random(7))
    stale = Failure(FailureKind.NETWORK, Verdict.RETRY, "closed", stale=True)
    tally = AttemptCounts(attempts=5)
    assert policy.wait_s(tally, stale) == 0
    assert policy.wait_s(tally, stale) > 0


def test_a_connection_that_cannot_be_had_costs_patience_and_no_attempts():
    """Nothing was sent; the row waits longer each time, and gives up after its patience.

    One of the last rows that has waited out refusals before must not fail at its first refused connection.
    """
    policy = RetryPolicy(RetrySettings(max_attempts=1), random.Random(7))
    unsent = Failure(FailureKind.NETWORK, Verdict.RETRY, "refused")
    assert not policy.exhausted(AttemptCounts(attempts=1, refused_s=899.0), unsent)
    assert policy.exhausted(AttemptCounts(refused_s=900.0), unsent)
    assert not policy.exhausted(AttemptCounts(refused_s=130.0, last=True), unsent)
    assert policy.exhausted(AttemptCounts(refused_s=130.0, last=True, shared=True), unsent)
    assert 0.5 <= policy.wait_s(AttemptCounts(), unsent) <= 1.0
    assert policy.wait_s(AttemptCounts(waited_s=4.0), unsent) == 5.0


def test_the_last_rows_do_not_wait_out_an_outage_for_ever():
    """With fresh rows behind it a row has all its patience; the last ones have two minutes."""
    policy = RetryPolicy(RetrySettings(), random.Random(7))
    waited = AttemptCounts(attempts=1, refused_s=130.0, shared=True)
    assert not policy.exhausted(waited, BROKEN)
    waited.last = True
    assert policy.exhausted(waited, BROKEN)
    assert not policy.exhausted(AttemptCounts(attempts=1, refused_s=60.0, shared=True, last=True), BROKEN)


async def test_a_row_does_not_fail_of_a_limit_that_refuses_all():
    """A quota for a day that is used up is no row's fault: the run stops, and the rows stay pending."""
    policy = RetryPolicy(RetrySettings(rate_limit_patience_s=60), random.Random(7))
    assert policy.exhausted(AttemptCounts(refused_s=61.0), REFUSED)
    assert not policy.exhausted(AttemptCounts(refused_s=61.0, all_refused=True), REFUSED)
