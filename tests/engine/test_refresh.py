"""Rows that are asked again although they have an answer: what they keep, and what is counted as moved."""

from decimal import Decimal
from typing import ClassVar

import msgspec
import pytest

from batchgen.answers.enforcement import Target
from batchgen.answers.settings import ResponseSettings
from batchgen.answers.structured import StructuredAnswers
from batchgen.engine.refresh import KeepEarlier, compare_answers
from batchgen.job.endpoint import Endpoint
from batchgen.job.reuse import Reuse
from batchgen.storage.answer_index import AnswerIndex
from batchgen.storage.earlier_runs import EarlierAnswer, EarlierRun
from batchgen.storage.identity import RunIdentity
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.run_state import Refreshed, fingerprints
from batchgen.storage.shards import ShardRecord
from batchgen.values import FailureKind, Prompt, Result, Status
from tests.storage.example_shard import succeeded

KEYS = [bytes([n]) * 16 + bytes(4) for n in range(6)]
HERE = "https://a.test"


class Parts:
    """As much of a job as reuse looks at."""

    currency = "USD"
    model = "m"
    endpoint = Endpoint(HERE, None, HERE)
    fingerprint: ClassVar = {"model": {"base_url": HERE}}

    def __init__(self, answers=None):
        self.answers = answers

    @staticmethod
    def price_of(model):
        return None


def earlier(place, text, finish_reason="stop"):
    return EarlierAnswer(
        KEYS[place], 0, 7, text, None, None, finish_reason, 1, 2, 3, None, None, "old", f"r{place}", 5.0, 200
    )


@pytest.fixture
def reuse_of(tmp_path):
    """Make what gives earlier answers."""
    made = []

    def make(*answers, refresh=0.0, parts=None, server=HERE):
        index = AnswerIndex(tmp_path / "earlier.sqlite", shared=False)
        index.add(answers)
        index.sort()
        run = EarlierRun(tmp_path, RunIdentity("x", fingerprints({"model.base_url": server})), None)
        made.append(Reuse(parts or Parts(), [run], index, refresh, "run"))
        return made[-1]

    yield make
    for reuse in made:
        reuse.close()


def test_an_answer_comes_as_it_was(reuse_of):
    """With its tokens, model and time, at no attempt and no cost."""
    result = reuse_of(earlier(1, "yes")).result(9, KEYS[1], Prompt())
    assert (result.row, result.status, result.completion, result.reused) == (9, Status.SUCCEEDED, "yes", True)
    assert (result.attempts, result.input_cost, result.output_cost) == (0, 0, 0)
    assert (result.finished_at_us, result.model, result.request_id, result.output_tokens) == (7, "old", "r1", 2)
    assert result.request_key == KEYS[1].hex()


@pytest.mark.parametrize(("server", "taken"), [(HERE, True), ("https://b.test", False)])
def test_a_cut_answer_only_from_the_same_server(reuse_of, server, taken):
    """Its own limits are in no request; what ended by itself is the same anywhere."""
    reuse = reuse_of(earlier(1, "ye", "length"), earlier(2, "yes"), server=server)
    assert (reuse.result(0, KEYS[1], Prompt()) is not None) == taken
    assert reuse.result(0, KEYS[2], Prompt()) is not None


def test_an_answer_that_would_not_be_accepted_now_is_asked_again(reuse_of):
    """The job's own validation decides."""
    target = Target(provider="openai", base_url=HERE, model="m", parameters={})
    parts = Parts(StructuredAnswers(ResponseSettings(labels=["yes", "no"]), target))
    reuse = reuse_of(earlier(1, "yes"), earlier(2, "whatever"), parts=parts)
    assert reuse.result(0, KEYS[1], Prompt()).completion == "yes"
    assert reuse.result(0, KEYS[2], Prompt()) is None


def test_a_row_that_fails_when_asked_again_keeps_its_answer(reuse_of):
    """With what asking again has cost; a row without an earlier answer fails."""
    reuse = reuse_of(earlier(1, "yes"), refresh=1.0)
    assert reuse.result(0, KEYS[1], Prompt()) is None
    kept = []

    class Outlet:
        congested = False
        wait_for_room = spend = None
        emit = staticmethod(kept.append)

    failed = Result(
        4, Status.FAILED, 6, 9, input_cost=Decimal(1), output_cost=Decimal(0), error_kind=FailureKind.TIMEOUT
    )
    for place in (1, 2):
        KeepEarlier(Outlet, reuse).emit(msgspec.structs.replace(failed, request_key=KEYS[place].hex()))
    assert [(r.status, r.completion, r.attempts, r.input_cost, r.reused) for r in kept] == [
        (Status.SUCCEEDED, "yes", 6, 1, True),
        (Status.FAILED, None, 6, 1, False),
    ]


def test_what_has_moved_is_counted_by_what_answers_mean(reuse_of, tmp_path):
    """A label in other words has not moved; rows without an earlier answer are not counted."""
    target = Target(provider="openai", base_url=HERE, model="m", parameters={})
    answers = StructuredAnswers(ResponseSettings(labels=["yes", "no"]), target)
    reuse = reuse_of(earlier(0, "yes"), earlier(1, "yes"), refresh=1.0, parts=Parts(answers))
    with RunDirectory.open(tmp_path / "out", job="j", fingerprints={}) as directory:
        directory.journal.record([ShardRecord(0, 0, 3)])
        texts = ["Yes.", "no", "yes"]
        directory.journal.append(
            [succeeded(n, completion=text, request_key=KEYS[n].hex()) for n, text in enumerate(texts)]
        )
        assert compare_answers(reuse, directory, answers) == Refreshed(2, 1)
        assert reuse.left() == []
