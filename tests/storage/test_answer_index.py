"""Answers of earlier runs by the key of their request: any number of them, each once or for everybody."""

import hashlib
import os

import pytest

from batchgen.errors import StorageStop
from batchgen.storage.answer_index import AnswerIndex
from batchgen.storage.earlier_runs import EarlierAnswer


def key(text):
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def answer(text, completion, source=0, finish_reason="stop", at=5):
    return EarlierAnswer(
        key(text), source, at, completion, None, None, finish_reason, 1, 2, 3, None, None, "m", completion, 1.5, 200
    )


def anything(_):
    return True


@pytest.fixture
def index_of(tmp_path):
    """Make an index of some runs' answers; it is deleted at the end."""
    made = []

    def make(*runs, shared=False):
        index = AnswerIndex(tmp_path / "earlier.sqlite", shared=shared)
        made.append(index)
        for run in runs:
            index.add(run)
        index.sort()
        return index

    yield make
    for index in made:
        index.close()
    assert os.listdir(tmp_path) == []


def test_an_answer_is_found_by_the_whole_key(index_of):
    """A key that begins with the same eight bytes is another one."""
    index = index_of([answer("a", "A"), answer("b", "B")])
    assert len(index) == 2
    assert index.take(key("b"), anything).completion == "B"
    assert index.take(key("c"), anything) is None
    assert index.take(key("a")[:8] + bytes(8), anything) is None


def test_several_answers_to_one_request_are_given_out_in_turn(index_of):
    """Where rows do not share, two that ask the same keep an answer each; a third has the first again."""
    index = index_of([answer("a", "first"), answer("a", "second", at=6)])
    assert [index.take(key("a"), anything).completion for _ in range(3)] == ["first", "second", "first"]
    assert index.find(key("a"), anything).completion == "first"


def test_a_shared_answer_serves_all(index_of):
    """The latest run's comes first."""
    index = index_of([answer("a", "new")], [answer("a", "old", 1)], shared=True)
    assert {index.take(key("a"), anything).completion for _ in range(3)} == {"new"}


def test_copies_of_one_answer_count_once(index_of):
    """A run that took an answer has it as well as the run that it took it from."""
    index = index_of([answer("a", "A")], [answer("a", "A", 1), answer("b", "B", 1)])
    assert [index.take(key("a"), anything).source for _ in range(2)] == [0, 0]
    assert (index.used_up(0), index.used_up(1)) == (True, False)
    index.take(key("b"), anything)
    assert index.used_up(1)


def test_what_does_not_fit_is_passed_over(index_of):
    """Another answer to the same request may fit."""
    index = index_of([answer("a", "cut", finish_reason="length"), answer("a", "whole", at=6)])
    assert index.take(key("a"), lambda found: found.finish_reason == "stop").completion == "whole"
    assert index.take(key("a"), lambda found: found.finish_reason == "tool_calls") is None


def test_what_rows_have_taken_before_a_kill_stays_taken(index_of):
    """They are marked by request and time; what is unknown changes nothing."""
    index = index_of([answer("a", "first"), answer("a", "second", at=6)])
    index.mark(key("a"), 6)
    index.mark(key("b"), 6)
    assert [index.take(key("a"), anything).completion for _ in range(2)] == ["first", "first"]


def test_a_disk_that_refuses_stops_the_run(tmp_path):
    """Nothing is asked again because it could not be looked up."""
    with pytest.raises(StorageStop, match="cannot be kept at hand"):
        AnswerIndex(tmp_path / "missing" / "earlier.sqlite", shared=True)
    index = AnswerIndex(tmp_path / "earlier.sqlite", shared=True)
    index._db.close()
    with pytest.raises(StorageStop):
        index.add([answer("a", "A")])
    index.close()
