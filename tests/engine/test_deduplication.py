"""Which rows are asked, and what the others get."""

import hashlib
from decimal import Decimal

import pytest

from batchgen.engine.deduplication import Sharing
from batchgen.engine.work import RowInProgress
from batchgen.pace.retry import AttemptCounts
from batchgen.storage.shared_answers import SharedAnswers
from batchgen.values import FailureKind, Prompt, Result, Status


class Writer:
    """Keeps what was emitted."""

    congested = False

    def __init__(self):
        self.results = []

    def emit(self, result):
        self.results.append(result)


@pytest.fixture
def store(tmp_path):
    """A store that is closed at the end."""
    store = SharedAnswers(tmp_path / "shared.sqlite")
    yield store
    store.close()


def key(text):
    """The key of a request."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def sharing(store, *texts):
    """Return what decides over rows with these texts, and the writer behind it."""
    writer = Writer()
    repeated = len(set(texts)) < len(texts)
    return Sharing(lambda row: repeated, store, writer, wall_us=lambda: 9), writer


def work(row, text):
    """A row that asks something."""
    return RowInProgress(row, Prompt(text=text), AttemptCounts(), key=key(text))


def answer(row, **more):
    """A row's own result."""
    fields = {"completion": "yes", "input_tokens": 5, "output_tokens": 2, "total_tokens": 7, "latency_ms": 1.5}
    cost = {"input_cost": Decimal("0.5"), "output_cost": Decimal("0.25")}
    return Result(row, Status.SUCCEEDED, 2, 5, request_id="r-1", model="m", http_status=200, **(fields | cost | more))


def test_a_row_alone_passes(store):
    """What comes once is not looked at again."""
    made, writer = sharing(store, "a", "b", "c")
    single = work(0, "a")
    assert made.admit(single) is single
    made.emit(answer(0))
    made.committed([answer(0)])
    assert writer.results == [answer(0)]
    assert store.get(key("a")) is None


def test_rows_wait_for_the_first_and_share_its_answer(store):
    """With no attempt, no tokens, no latency and a cost of zero; whose answer it is tells the request id."""
    made, writer = sharing(store, "a", "a", "a", "b")
    first = work(0, "a")
    assert made.admit(first) is first
    assert made.admit(work(1, "a")) is None
    assert made.admit(work(2, "a")) is None
    made.emit(answer(0, confidence=0.5, agreement=0.75))
    assert [result.row for result in writer.results] == [0, 1, 2]
    _, shared, _ = writer.results
    assert (shared.completion, shared.request_id, shared.model, shared.http_status) == ("yes", "r-1", "m", 200)
    assert (shared.attempts, shared.input_cost, shared.output_cost, shared.finished_at_us) == (0, 0, 0, 9)
    assert (shared.input_tokens, shared.output_tokens, shared.total_tokens, shared.latency_ms) == (None,) * 4
    assert (shared.confidence, shared.agreement) == (0.5, 0.75)


def test_later_rows_find_the_answer_before_and_after_its_commit(store):
    """In memory until it is durable, in the store then."""
    made, _ = sharing(store, "a", "a", "a")
    made.admit(work(0, "a"))
    made.emit(answer(0))
    assert store.get(key("a")) is None
    assert made.admit(work(1, "a")).attempts == 0
    made.committed([answer(0)])
    assert store.get(key("a")) == answer(0)
    assert made._answers == {}
    later, _ = sharing(store, "a", "a")
    assert later.admit(work(20_000, "a")).row == 20_000


def test_a_failure_that_another_try_could_mend_is_tried_by_the_next(store):
    """One unlucky row does not fail the others: they are asked one after the other until one has an answer."""
    made, writer = sharing(store, "a", "a", "a", "a")
    made.admit(work(0, "a"))
    for row in (1, 2, 3):
        assert made.admit(work(row, "a")) is None
    unlucky = Result(0, Status.FAILED, 6, 5, error_kind=FailureKind.TIMEOUT)
    again = made.emit(unlucky)
    assert (again.row, again.prompt, again.tally, again.key) == (1, Prompt(text="a"), AttemptCounts(), key("a"))
    assert made.emit(answer(1)) is None
    ended = [(result.row, result.status, result.attempts) for result in writer.results]
    assert ended == [(0, Status.FAILED, 6)] + [(row, Status.SUCCEEDED, 2 * (row == 1)) for row in (1, 2, 3)]


def test_the_last_of_them_fails_alone(store):
    """When every one has had its tries, nothing is left to wait."""
    made, writer = sharing(store, "a", "a")
    made.admit(work(0, "a"))
    made.admit(work(1, "a"))
    for row in (0, 1):
        again = made.emit(Result(row, Status.FAILED, 6, 5, error_kind=FailureKind.SERVER_ERROR))
    assert again is None
    assert [(result.row, result.attempts) for result in writer.results] == [(0, 6), (1, 6)]


def test_a_failure_for_good_is_shared_with_who_waits_only(store):
    """Later rows, and a later run, ask again."""
    made, writer = sharing(store, "a", "a", "a")
    made.admit(work(0, "a"))
    made.admit(work(1, "a"))
    failed = Result(0, Status.FAILED, 6, 5, error_kind=FailureKind.INVALID_REQUEST)
    made.emit(failed)
    made.committed([failed])
    assert [(r.row, r.status, r.attempts, r.input_cost) for r in writer.results] == [
        (0, Status.FAILED, 6, None),
        (1, Status.FAILED, 0, None),
    ]
    again = work(2, "a")
    assert made.admit(again) is again
