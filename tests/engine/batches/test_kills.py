"""A run by batches that is killed at any state of them: nothing is bought twice, nothing that was paid is lost."""

import random

import pytest

import batchgen
from batchgen.engine.reporter import Reporter
from batchgen.job.export import job_table
from batchgen.simulator import Settings, start_in_thread
from tests.engine.batches.conftest import answers
from tests.engine.batches.killing import BOUNDARIES, run_killed

ROWS = 24


class Spoken(Reporter):
    """Shows what a run says where a test fails."""

    def note(self, text):
        print(text)


def survives(job, server, tmp_path, boundary, occurrence, name):
    """Kill a run at a boundary, run it again, and compare books and answers."""
    before = len(server.stats().get("batches", ()))
    made = job(ROWS, batch={"rows": 8}, name=name)
    killed = run_killed(job_table(made), boundary, occurrence)
    done = batchgen.run(made, reporter=Spoken())
    assert (done.state, done.succeeded) == ("complete", ROWS), (boundary, occurrence, done.error)
    bought = server.stats()["batches"][before:]
    assert sum(batch["billed"]["requests"] for batch in bought) == ROWS, (boundary, occurrence)
    assert (done.input_tokens, done.output_tokens) == tuple(
        sum(batch["billed"][kind] for batch in bought) for kind in ("input_tokens", "output_tokens")
    )
    assert done.possibly_billed.requests == 0, (boundary, occurrence)
    assert len(answers(tmp_path / name)) == ROWS
    assert not list((tmp_path / name).glob("batch-*"))
    return killed


@pytest.fixture
def server(tmp_path):
    """A vendor whose batches take a twentieth of a second."""
    with start_in_thread(Settings(batch_speed=72_000, batch_sigma=0), directory=tmp_path / "vendor") as handle:
        yield handle


QUICK = {
    ("uploading", "after"),
    ("creating", "after"),
    ("open", "before"),
    ("a line", "after"),
    ("collected", "before"),
}
"""What the usual suite tries."""


@pytest.mark.parametrize(
    "boundary", [pytest.param(at, id="-".join(at), marks=() if at in QUICK else pytest.mark.slow) for at in BOUNDARIES]
)
def test_a_killed_run_buys_nothing_twice(job, server, tmp_path, boundary):
    """At each boundary once, at the second batch; at a line in the middle of one."""
    assert survives(job, server, tmp_path, boundary, 13 if boundary[0] == "a line" else 2, "out")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("boundary", BOUNDARIES, ids="-".join)
def test_a_hundred_killed_runs_buy_nothing_twice(job, server, tmp_path, boundary):
    """At each boundary a hundred times, at any batch or line."""
    rng = random.Random(str(boundary))
    for trial in range(100):
        occurrence = rng.randint(1, ROWS if boundary[0] == "a line" else 3)
        assert survives(job, server, tmp_path, boundary, occurrence, f"out-{trial}")
