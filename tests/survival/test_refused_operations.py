"""A disk that refuses one operation, or all from one on: exit 2 or 3 with a remedy, and on a whole disk all is whole.

Each play is a command whose N-th operation on the disk fails, and then the same command with nothing refused. What the
plays found is in the usual suite by the operation's name; all operations of all commands are played by hand.
"""

import shutil
from itertools import count

import pytest

from tests.survival.harness import Spare
from tests.survival.refused_disk import LOOKS, RUNS, compiled

PLAYS = RUNS | LOOKS
PART = "out/results/part-00000.parquet"


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    """Start commands that have the library loaded."""
    directory = tmp_path_factory.mktemp("refusing")
    library = compiled(directory)
    if library is None:
        pytest.skip("the library that refuses operations is written in C for Linux, and there is no compiler here")
    with Spare(directory, library) as spare:
        yield spare


def played(spare, place, name, number, **refusal):
    """Play a command; return the operation that was refused, None if it came to its end before."""
    play = PLAYS[name](spare, place)
    try:
        run = play.begin(number, **refusal)
        code = run.wait(60)
        refused = next((line for line in play.operations if line.split()[0].isupper()), None)
        play.judge(run, code)
        play.mended(run)
    except AssertionError as error:
        error.add_note(f"{name}: operation {number} {refusal} was refused")
        raise
    finally:
        play.close()
    return refused


@pytest.mark.parametrize(
    ("name", "operation", "number", "gone"),
    [
        ("live", "rename out/job.json", 1, False),
        ("live", "unlink out/open-00000.arrow", 1, False),
        ("live", "write out/journal.sqlite-wal", 21, True),
        ("live", "unlink out/journal.spill", 1, False),
        ("live", "read out/journal.sqlite-wal", 1, False),
        ("live", "write out/.open-00000.arrow", 2, True),
        ("live", "fsync out/results", 1, True),
        ("resume", "read out/journal.sqlite-wal", 2, False),
        ("retry", f"open {PART}", 3, False),
        ("retry", f"read {PART}", 7, False),
        ("update", "open out.old-", 1, False),
        ("collect", "read out/batch-00002.results-0", 2, True),
        ("report", "list out/results", 1, False),
        ("view", f"read {PART}", 3, False),
    ],
)
def test_an_operation_that_was_told_wrongly(refusing, tmp_path, name, operation, number, gone):
    """What lies on the disk is whole: nothing is taken for damaged, forgotten, or a mistake of the program."""
    assert played(refusing, tmp_path / "play", name, number, named=operation, gone=gone)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("gone", [False, True], ids=["once", "gone"])
@pytest.mark.parametrize("errors", [("EIO",), ("ENOSPC", "EDQUOT", "EROFS")], ids=["EIO", "full"])
@pytest.mark.parametrize("name", PLAYS)
def test_every_operation(refusing, tmp_path, name, errors, gone):
    """One after the other, until a command has come to its end before its N-th operation."""
    for number in count(1):
        place = tmp_path / str(number)
        error = errors[number % len(errors)]
        if played(refusing, place, name, number, gone=gone, error=error) is None:
            break
        shutil.rmtree(place)
    print(f"{name}: {number - 1} operations refused")
