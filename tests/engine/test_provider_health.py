"""The signs that stop a run, and those that are one row's own."""

import pytest

from batchgen.engine.provider_health import (
    ALIKE_SAID,
    DIFFERENT_ROWS,
    UNREACHABLE_TRIES,
    UNREADABLE_AT_FIRST,
    UNREADABLE_IN_A_ROW,
    ProviderHealth,
)
from batchgen.engine.refusals import DOUBTFUL_ROWS, REFUSED_ROWS
from batchgen.engine.work import RowInProgress
from batchgen.job.settings import LimitSettings
from batchgen.pace.retry import AttemptCounts
from batchgen.values import Completion, Failure, FailureKind, Prompt, Request, Throttle, Usage, Verdict

DONE = Completion("yes", "stop", Usage())
CUT = Completion("ye", "length", Usage())


def failure(kind, verdict, message="no", status=400, **more):
    """A failure of an attempt."""
    return Failure(kind, verdict, message, http_status=status, **more)


BAD_KEY = failure(FailureKind.AUTHENTICATION, Verdict.STOP, "wrong key", 401)
BLOCKED = failure(FailureKind.AUTHENTICATION, Verdict.STOP, "blocked", 403)
BAD_ROW = failure(FailureKind.INVALID_REQUEST, Verdict.FAIL, "bad row")
SETTING = failure(FailureKind.INVALID_REQUEST, Verdict.FAIL, "no such parameter", setting=True)
LONG = failure(FailureKind.TOO_LONG, Verdict.FAIL, "too long")
MISFIT = failure(FailureKind.INVALID_OUTPUT, Verdict.FAIL, "no such label", None)
HTML = failure(FailureKind.UNREADABLE, Verdict.RETRY, "not JSON", 200)
DOWN = failure(FailureKind.SERVER_ERROR, Verdict.RETRY, "down", 500)
LOADING = failure(FailureKind.SERVER_ERROR, Verdict.RETRY, "Loading model", 503)
FULL = failure(FailureKind.SERVER_ERROR, Verdict.WAIT, "no words", 503, throttle=Throttle.UNKNOWN)
OVERLOADED = failure(FailureKind.SERVER_ERROR, Verdict.WAIT, "overloaded", 503, throttle=Throttle.OVERLOAD)
BUSY = failure(FailureKind.RATE_LIMITED, Verdict.WAIT, "slowly", 429, throttle=Throttle.UNKNOWN)
NO_NAME = failure(FailureKind.NETWORK, Verdict.RETRY, "cannot be resolved", None, code="dns")
REFUSED = failure(FailureKind.NETWORK, Verdict.RETRY, "no connection", None, code="connect")
LATE = failure(FailureKind.TIMEOUT, Verdict.RETRY, "no whole reply", None, code="timeout", maybe_billed=True)


class Provider:
    """A provider's health, and rows that are asked one after the other or together."""

    def __init__(self, *, worked=False, **limits):
        self.health = ProviderHealth("h", LimitSettings(**limits), 900.0, worked=worked)
        self.rows = self.number = 0
        self.now_s = 0.0
        self.failed = []

    def send(self):
        """A further row's request goes out."""
        self.number += 1
        row = RowInProgress(self.rows, Prompt(), AttemptCounts(requests=1), Request("http://h/v1/x?key=s3", b"", {}))
        row.number = self.number
        self.rows += 1
        self.health.sent(row.number)
        return row

    def answer(self, row, outcome):
        """Its reply; return why the run should stop."""
        self.health.returned(row.number)
        self.now_s += 1.0
        reason = self.health.observe(row, outcome, self.now_s - 1, self.now_s)
        if isinstance(outcome, Failure) and self.health.is_suspect(outcome) and outcome.verdict is not Verdict.RETRY:
            reason = reason or self.health.hold(row, outcome)
        self.failed += [suspect.row.row for suspect in self.health.cleared()]
        return reason

    def all(self, outcomes):
        """Ask rows one after the other; return the reasons."""
        return [self.answer(self.send(), outcome) for outcome in outcomes]


def test_a_wrong_key_stops_after_three_different_rows():
    """Of whatever came before; the reason names rows and words."""
    for before in ([], [DONE] * 5):
        reasons = Provider().all(before + [BAD_KEY] * REFUSED_ROWS)
        assert not any(reasons[:-1])
        assert "wrong key" in reasons[-1]
        assert str(len(before)) in reasons[-1]


def test_statuses_that_a_single_row_can_cause_take_more_rows_after_an_answer():
    """403 of a firewall, 402 of a request too dear."""
    assert Provider().all([BLOCKED] * REFUSED_ROWS)[-1] is not None
    reasons = Provider().all([DONE] + [BLOCKED] * DOUBTFUL_ROWS)
    assert not any(reasons[:-1])
    assert reasons[-1] is not None


@pytest.mark.parametrize("outcome", [BLOCKED, BAD_KEY, BAD_ROW, SETTING], ids=["403", "401", "400", "setting"])
def test_an_answer_shows_that_the_row_was_to_blame(outcome):
    """However many there are, and they fail as soon as the answer is there."""
    provider = Provider()
    assert not any(provider.all([outcome, outcome, DONE] * 50))
    assert len(provider.failed) == 100
    assert provider.health.held == []


def test_slow_answers_are_waited_for_before_quick_refusals_stop_a_run():
    """A fifth of the rows is blocked at once, the answers of the others take a second: none of it stops the run."""
    provider = Provider()
    out = []
    for n in range(400):
        row = provider.send()
        if n % 5 == 3:
            assert provider.answer(row, BLOCKED) is None
        else:
            out.append(row)
        if len(out) == 64:
            assert provider.answer(out.pop(0), DONE) is None


def test_what_was_sent_before_an_account_ran_dry_proves_nothing():
    """Its answers come in among the refusals, which stop the run all the same."""
    provider = Provider()
    before = [provider.send() for _ in range(30)]
    reasons = []
    while not any(reasons) and before:
        reasons.append(provider.answer(provider.send(), BLOCKED))
        assert provider.answer(before.pop(), DONE) is None
    assert len(reasons) == DOUBTFUL_ROWS
    assert provider.failed == []


def test_the_first_answers_may_be_slow_where_refusals_are_quick():
    """Eight are out together, some are refused and so are the next: the others may yet be answered."""
    provider = Provider()
    first = [provider.send() for _ in range(8)]
    assert not any(provider.answer(row, BAD_KEY) for row in first[:4])
    assert not any(provider.all([BAD_KEY] * 3))
    assert not any(provider.answer(row, DONE) for row in first[4:])
    assert not any(provider.all([BAD_KEY] * 3)), "refusals and answers were mixed from the start"
    assert any(provider.all([BAD_KEY] * 150))


def test_the_first_rows_refused_alike_stop_the_run():
    """Figures and names in the words do not count; other words, an answer or an earlier run's answers do."""
    alike = [
        failure(FailureKind.INVALID_REQUEST, Verdict.FAIL, f"field 'x{n}' of request req-{n} is bad") for n in range(40)
    ]
    assert Provider().all(alike[:20])[-1] is not None
    assert not any(Provider(max_alike_at_first=30).all(alike[:29]))
    assert not any(Provider(max_alike_at_first=0).all(alike))
    assert not any(Provider(worked=True).all(alike))
    assert not any(Provider().all([DONE, *alike]))
    assert not any(Provider().all([*alike[:19], BAD_ROW, *alike[:19]]))


def test_many_failures_in_a_row_stop_a_run_that_has_worked():
    """In whatever words they come; 0 says never."""
    mixed = [BAD_ROW, SETTING] * 25
    reasons = Provider().all([DONE, *mixed])
    assert not any(reasons[:-1])
    assert "limits.max_failed_in_a_row" in reasons[-1]
    assert not any(Provider(max_failed_in_a_row=0).all([DONE, *mixed, *mixed]))


def test_what_is_a_rows_own_counts_only_while_nothing_else_was_heard():
    """Too long, or filtered, or no fitting answer."""
    assert Provider().all([LONG] * 20)[-1] is not None
    provider = Provider()
    assert not any(provider.all([DONE, BLOCKED] + [LONG] * 500))
    assert provider.failed == [1]
    assert not provider.health.is_suspect(MISFIT)


def test_when_no_rows_are_left_few_are_enough():
    """Nothing was ever answered: the run stops; there were answers: a few rows fail."""
    for outcome, worked in ((BAD_KEY, False), (BAD_KEY, True), (BLOCKED, False)):
        provider = Provider(worked=worked)
        assert provider.all([outcome]) == [None]
        assert outcome.message in provider.health.at_the_end()
    for before, worked in (([DONE], False), ([], True)):
        provider = Provider(worked=worked)
        provider.all([*before, BLOCKED, BLOCKED])
        assert provider.health.at_the_end() is None
    provider = Provider()
    provider.all([SETTING] * 3)
    assert "All" in provider.health.at_the_end() or "first" in provider.health.at_the_end()
    provider = Provider()
    provider.all([BAD_ROW] * 3)
    assert provider.health.at_the_end() is None


@pytest.mark.parametrize("before", [[], [DONE]], ids=["at first", "in mid-run"])
def test_quick_failures_wait_for_the_slow_answer_behind_them(before):
    """One request takes its time, all others are refused at once, in unknown words: no row fails before it is back."""
    for last in (DONE, BAD_ROW):
        provider = Provider()
        provider.all(before)
        provider.answer(provider.send(), BAD_ROW)
        slow = provider.send()
        sent = 0
        while not provider.health.in_doubt:
            assert not any(provider.all([BAD_ROW]))
            sent += 1
        assert sent < 60
        together = [provider.send() for _ in range(300)]  # they were on their way
        assert not any(provider.answer(row, BAD_ROW) for row in together)
        assert provider.failed == []
        reason = provider.answer(slow, last)
        assert (reason is None) is (last is DONE)
        assert len(provider.failed) == (1 if last is DONE else 0)
        assert not provider.health.in_doubt


def test_rows_held_at_the_very_end_among_answers_are_their_own():
    """The last sixty are out together: six are blocked at once, the others are answered a little later."""
    provider = Provider()
    provider.all([DONE])
    last = [provider.send() for _ in range(60)]
    blocked = last[::10]
    assert not any(provider.answer(row, BLOCKED) for row in blocked)
    assert provider.health.at_the_end() is not None
    assert not any(provider.answer(row, DONE) for row in last if row not in blocked)
    assert len(provider.health.held) == 6
    assert provider.health.at_the_end() is None


def test_a_stop_on_404_names_the_address_without_its_secrets():
    """So that a wrong base_url is seen."""
    reason = Provider().all([failure(FailureKind.ENDPOINT, Verdict.STOP, "not found", 404)] * 3)[-1]
    assert "http://h/v1/x?key=***" in reason


def test_unreadable_answers_in_a_row_stop_the_run():
    """A portal answers everything with its page; single bad answers in between are no portal."""
    assert Provider().all([DONE] + [HTML] * UNREADABLE_IN_A_ROW)[-1] is not None
    assert not any(Provider().all([DONE] + ([HTML] * (UNREADABLE_IN_A_ROW - 1) + [DONE]) * 5))
    assert Provider().all([HTML] * UNREADABLE_AT_FIRST)[-1] is not None


def test_the_retries_of_a_few_bad_rows_are_no_portal():
    """A row's further tries are no further sign that nothing can be read."""
    provider = Provider()
    provider.all([HTML] * (UNREADABLE_AT_FIRST - 1))
    row = provider.send()
    row.tally.requests = 2
    assert not any(provider.answer(row, HTML) for _ in range(99))


def test_a_name_that_does_not_resolve_stops_the_run_after_three_tries():
    """Requests that were sent together count as one try."""
    provider = Provider()
    together = [provider.send() for _ in range(50)]
    assert not any(provider.health.observe(row, NO_NAME, 0.0, 1.0) for row in together)
    tries = [provider.health.observe(together[0], NO_NAME, 2.0 * n, 2.0 * n + 1) for n in range(1, UNREACHABLE_TRIES)]
    assert "cannot be resolved" in tries[-1]
    assert not any(Provider().all([BAD_ROW] + [NO_NAME] * 9)), "an outage in mid-run is waited out"


def overdue(provider, after_s, *, down=True, timeout_s=300.0):
    """Why the run stops so long after the last failure."""
    return provider.health.overdue(provider.now_s + after_s, timeout_s, down=down)


@pytest.mark.parametrize(
    ("outcome", "before", "wait_s", "named"),
    [
        (REFUSED, [], 60, "limits.startup_wait_s"),
        (DOWN, [], 60, "limits.startup_wait_s"),
        (LOADING, [], 300, "limits.stalled_s"),
        (DOWN, [DONE], 300, "limits.stalled_s"),
        (REFUSED, [DONE], 300, "limits.stalled_s"),
        (FULL, [], 300, "limits.stalled_s"),
        (FULL, [DONE], 300, "limits.stalled_s"),
        (OVERLOADED, [DONE], 900, "retry.rate_limit_patience_s"),
        (BUSY, [DONE], 900, "retry.rate_limit_patience_s"),
        (LATE, [], 600, "limits.startup_wait_s"),
    ],
)
def test_a_run_that_nobody_answers_is_told_and_then_stopped(outcome, before, wait_s, named):
    """The user reads within seconds what is wrong and what is waited for; the stop names the limit."""
    provider = Provider()
    provider.all([*before, *[outcome] * DIFFERENT_ROWS])
    began_s = provider.now_s - DIFFERENT_ROWS + 1
    told = provider.health.news(began_s + 4, 300.0)
    assert outcome.message in told
    assert named in told
    assert provider.health.news(began_s + 30, 300.0) is None, "not again within a minute"
    assert provider.health.news(began_s + 70, 300.0) is not None
    assert outcome.message in provider.health.trouble
    assert provider.health.overdue(began_s + wait_s - 1, 300.0, down=True) is None
    assert named in provider.health.overdue(began_s + wait_s, 300.0, down=True)
    provider.all([DONE])
    assert provider.health.trouble is None
    assert overdue(provider, 9999) is None


def test_the_last_bad_rows_do_not_stop_a_run_that_has_worked():
    """Few rows fail again and again, nothing else is left; nor does an answer that takes long."""
    provider = Provider()
    provider.all([DONE] + [DOWN] * (DIFFERENT_ROWS - 1))
    assert overdue(provider, 9999) is None
    provider.all([DOWN])
    assert overdue(provider, 9999, down=False) is None
    assert overdue(provider, 9999) is not None


def test_a_limit_that_refuses_all_stops_the_run_however_few_rows_are_asked():
    """A quota for a day is used up: one row probes again and again, and would fail alone, one after the other."""
    provider = Provider()
    provider.all([DONE, BUSY])
    assert overdue(provider, 899) is None
    assert not provider.health.is_limited(provider.now_s + 898)
    assert "slowly" in overdue(provider, 901)
    assert provider.health.is_limited(provider.now_s + 901)


def test_rows_that_end_alike_of_themselves_are_told_early():
    """After twenty, two hundred, two thousand in a row; one good answer begins anew."""
    health = Provider().health
    for outcome, word in ((MISFIT, "no such label"), (CUT, "cut")):
        said = [health.row_ended(outcome) for _ in range(10 * ALIKE_SAID)]
        assert [n for n, text in enumerate(said, 1) if text] == [ALIKE_SAID, 10 * ALIKE_SAID]
        assert word in said[ALIKE_SAID - 1]
        assert "limits.max_failed" in said[ALIKE_SAID - 1]
    assert not any(health.row_ended(outcome) for outcome in ([MISFIT] * (ALIKE_SAID - 1) + [DONE]) * 9)


def test_rows_that_end_alike_most_of_the_time_are_told_of_once():
    """Nine in ten, say, for a million rows: a good answer now and then makes no news of the same."""
    health = Provider().health
    assert sum(health.row_ended(outcome) is not None for outcome in ([CUT] * 50 + [DONE]) * 20) == 1
    assert sum(health.row_ended(outcome) is not None for outcome in [CUT] * 300) == 1
