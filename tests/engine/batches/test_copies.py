"""Copies of an output directory whose batches are open, and directories that were moved: no row is paid twice."""

import shutil
import threading

import pytest

import batchgen
from batchgen.errors import OutputError
from batchgen.job.export import job_table
from batchgen.job.settings import Job
from batchgen.simulator import Settings, start_in_thread
from tests.engine.batches.conftest import answers
from tests.engine.batches.killing import run_killed

ROWS = 16
STATES = [("planned", "after"), ("uploading", "after"), ("creating", "after"), ("open", "before"), ("open", "after")]
STATES += [("ended", "after"), ("a line", "after")]
QUICK = {("creating", "after")}


@pytest.fixture
def server(tmp_path):
    """A vendor whose batches take a twentieth of a second."""
    with start_in_thread(Settings(batch_speed=72_000, batch_sigma=0), directory=tmp_path / "vendor") as handle:
        yield handle


@pytest.fixture(
    params=[
        pytest.param(
            (provider, at),
            id="-".join((provider, *at)),
            marks=() if provider == "openai" and at in QUICK else pytest.mark.slow,
        )
        for provider in ("openai", "anthropic")
        for at in STATES
        if provider == "openai" or at[0] != "uploading"
    ]
)
def killed(request, job, tmp_path):
    """Return a job whose run was killed at its second batch, and a function that names another directory in it."""
    provider, at = request.param
    made = job(ROWS, provider, batch={"rows": 8})
    assert run_killed(job_table(made), at, 10 if at[0] == "a line" else 2)

    def at_place(name):
        table = job_table(made)
        return Job.from_dict({**table, "output": {**table["output"], "path": str(tmp_path / name)}})

    return at_place


def bought(server):
    """Return how many requests the vendor has billed."""
    return sum(batch["billed"]["requests"] for batch in server.stats()["batches"])


def finishes(job, server):
    """Run a job to its end: all rows have their answers, each paid once."""
    done = batchgen.run(job)
    assert (done.state, done.succeeded) == ("complete", ROWS), done.error
    assert bought(server) == ROWS
    assert len(answers(done.output)) == ROWS


def refused(job):
    """The copy says of what it is one, and nothing is sent."""
    with pytest.raises(OutputError, match=r"copy of .*out, made while batches"):
        batchgen.run(job)


@pytest.mark.parametrize("first", ["copy", "original"])
def test_a_copy_and_its_original_one_after_the_other(killed, server, tmp_path, first):
    """The original goes on, the copy does not, whichever is begun first."""
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    if first == "copy":
        refused(killed("copy"))
    finishes(killed("out"), server)
    refused(killed("copy"))
    assert bought(server) == ROWS


def test_a_copy_and_its_original_at_the_same_time(killed, server, tmp_path):
    """It does not depend on which of them is quicker."""
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    said = []

    def run_copy():
        for _ in range(3):
            try:
                batchgen.run(killed("copy"))
            except OutputError as error:
                said.append(str(error))

    beside = threading.Thread(target=run_copy)
    beside.start()
    finishes(killed("out"), server)
    beside.join()
    assert len(said) == 3


def test_a_directory_that_was_moved_goes_on_without_a_question(killed, server, tmp_path):
    """Renamed, and copied to another place and removed."""
    (tmp_path / "out").rename(tmp_path / "renamed")
    shutil.copytree(tmp_path / "renamed", tmp_path / "far" / "out")
    shutil.rmtree(tmp_path / "renamed")
    finishes(killed("far/out"), server)


def test_a_copy_goes_on_with_the_word_of_the_user(killed, server, tmp_path):
    """The original is there, but given up; the copy collects what is open and hands in the rest."""
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    done = batchgen.run(killed("copy"), take_over=True)
    assert (done.state, done.succeeded) == ("complete", ROWS), done.error
    assert bought(server) == ROWS


def test_a_copy_whose_original_was_thrown_away_with_its_results(job, server, tmp_path):
    """The vendor knows nothing of its batches: it stops and says so, and asks again with the user's word."""
    made = job(ROWS, "anthropic", batch={"rows": 8})
    run_killed(job_table(made), ("open", "after"), 2)
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    finishes(made, server)
    shutil.rmtree(tmp_path / "out")
    copy = job(ROWS, "anthropic", batch={"rows": 8}, name="copy")
    stopped = batchgen.run(copy)
    assert (stopped.state, stopped.error["kind"]) == ("stopped", "ProviderStop")
    assert "--take-over" in str(stopped.error)
    done = batchgen.run(copy, take_over=True)
    assert (done.state, done.succeeded) == ("complete", ROWS)
    assert done.possibly_billed.requests == ROWS - stopped.succeeded
