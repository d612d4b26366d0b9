"""The signs that stop a run: refused alike, unreadable in a row, unreachable."""

from batchgen.engine.provider_health import (
    ALIKE,
    UNANSWERED_TRIES,
    UNREACHABLE_TRIES,
    UNREADABLE_AT_FIRST,
    UNREADABLE_IN_A_ROW,
    Watch,
)
from batchgen.values import Completion, Failure, FailureKind, Usage, Verdict

DONE = Completion("yes", "stop", Usage())
SETTING = Failure(FailureKind.INVALID_REQUEST, Verdict.FAIL, "no such parameter", "bad", 400, setting=True)
ROW = Failure(FailureKind.INVALID_REQUEST, Verdict.FAIL, "bad row", "bad", 400)
HTML = Failure(FailureKind.UNREADABLE, Verdict.RETRY, "not JSON", http_status=200)
DOWN = Failure(FailureKind.NETWORK, Verdict.RETRY, "refused")


def observe(watch, outcomes):
    """Show outcomes one after the other, each sent when the one before was answered; return the verdicts."""
    return [watch.observe(outcome, float(n), float(n + 1)) for n, outcome in enumerate(outcomes)]


def test_first_rows_refused_alike_for_a_setting_stop_the_run():
    """The twentieth says so, in the vendor's words."""
    verdicts = observe(Watch("h"), [SETTING] * ALIKE)
    assert verdicts[:-1] == [None] * (ALIKE - 1)
    assert "no such parameter" in verdicts[-1]


def test_one_answer_proves_the_job_right():
    """After a success, refusals are the rows' own."""
    assert not any(observe(Watch("h"), [SETTING] * (ALIKE - 1) + [DONE] + [SETTING] * 99))


def test_an_earlier_runs_answers_prove_the_job_right_too():
    """A run that goes on may have only the bad rows left."""
    assert not any(observe(Watch("h", worked=True), [SETTING] * 99))


def test_rows_refused_for_their_own_sake_never_stop_the_run():
    """Only failures that look like a setting's count."""
    assert not any(observe(Watch("h"), [ROW] * 99))


def test_unreadable_answers_in_a_row_stop_the_run():
    """A portal answers everything with its page; single bad answers in between are no portal."""
    assert observe(Watch("h"), [DONE] + [HTML] * UNREADABLE_IN_A_ROW)[-1] is not None
    assert not any(observe(Watch("h"), [DONE] + ([HTML] * (UNREADABLE_IN_A_ROW - 1) + [DONE]) * 5))


def test_a_portal_from_the_start_stops_the_run_after_a_few_rows():
    """Five rows are enough while nothing has worked; the retries of four bad rows that are left over are not."""
    assert observe(Watch("h"), [HTML] * UNREADABLE_AT_FIRST)[-1] is not None
    watch = Watch("h")
    assert not any(observe(watch, [HTML] * (UNREADABLE_AT_FIRST - 1)))
    assert not any(watch.observe(HTML, 9.0, 10.0, first=False) for _ in range(99))


def test_a_host_that_was_never_reached_stops_the_run_after_three_tries():
    """Requests that were sent together count as one try."""
    watch = Watch("example.invalid")
    together = [watch.observe(DOWN, 0.0, 1.0) for _ in range(50)]
    assert not any(together)
    verdicts = [watch.observe(DOWN, 2.0 * n, 2.0 * n + 1) for n in range(1, UNREACHABLE_TRIES)]
    assert "example.invalid" in verdicts[-1]


def test_an_outage_in_mid_run_is_waited_out():
    """Once there was any answer, lost connections never stop the run."""
    assert not any(observe(Watch("h"), [ROW] + [DOWN] * 99))


def test_a_host_that_never_answers_stops_the_run():
    """Requests go out and nothing comes back: a port that speaks something else."""
    lost = Failure(FailureKind.NETWORK, Verdict.RETRY, "closed", maybe_billed=True)
    verdicts = observe(Watch("h"), [lost] * UNANSWERED_TRIES)
    assert verdicts[:-1] == [None] * (UNANSWERED_TRIES - 1)
    assert "no answer" in verdicts[-1]


def test_the_bad_rows_at_the_end_do_not_stop_a_run():
    """A row's retries are no further sign that nothing can be read."""
    watch = Watch("h")
    watch.observe(DONE, 0.0, 1.0)
    assert not any(watch.observe(HTML, 9.0, 10.0, first=False) for _ in range(99))
