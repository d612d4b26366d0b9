"""A run by batches that is killed at any state of them: nothing is bought twice, nothing that was paid is lost."""

import os
import random

import pytest

import batchgen
from batchgen.engine.reporter import Reporter
from batchgen.job.export import job_table
from batchgen.simulator import Settings, start_in_thread
from tests.engine.batches.conftest import answers
from tests.engine.batches.killing import BOUNDARIES, run_killed

ROWS, BATCH_ROWS = 24, 8
KILLS = int(os.environ.get("KILLS", "100"))
"""At each boundary, where there is time for it."""


class Spoken(Reporter):
    """Shows what a run says where a test fails."""

    def note(self, text):
        print(text)


def survives(job, server, tmp_path, boundary, occurrence, name, provider="openai"):
    """Kill a run at a boundary, run it again, and compare books and answers.

    Of a message batch that was to be created when the process died, and that no list has, nobody can say whether it
    comes into being yet: there is no file that could be deleted first. Its rows count as possibly billed.
    """
    before = len(server.stats().get("batches", ()))
    made = job(ROWS, provider, batch={"rows": BATCH_ROWS}, name=name)
    killed = run_killed(job_table(made), boundary, occurrence)
    done = batchgen.run(made, reporter=Spoken())
    assert (done.state, done.succeeded) == ("complete", ROWS), (boundary, occurrence, done.error)
    bought = server.stats()["batches"][before:]
    assert sum(batch["billed"]["requests"] for batch in bought) == ROWS, (boundary, occurrence)
    assert (done.input_tokens, done.output_tokens) == tuple(
        sum(batch["billed"][kind] for batch in bought) for kind in ("input_tokens", "output_tokens")
    )
    undecided = provider == "anthropic" and boundary == ("creating", "after")
    assert done.possibly_billed.requests == (BATCH_ROWS if undecided else 0), (boundary, occurrence)
    assert len(answers(tmp_path / name)) == ROWS
    assert not list((tmp_path / name).glob("batch-*"))
    return killed


@pytest.fixture
def server(tmp_path):
    """A vendor whose batches take a twentieth of a second."""
    with start_in_thread(Settings(batch_speed=72_000, batch_sigma=0), directory=tmp_path / "vendor") as handle:
        yield handle


ALL = [
    (provider, *boundary)
    for provider in ("openai", "dashscope", "anthropic")
    for boundary in BOUNDARIES
    if provider != "anthropic" or boundary[0] not in ("uploading", "uploaded")
]
"""Message batches have no files."""

QUICK = {
    ("openai", "uploading", "after"),
    ("openai", "creating", "after"),
    ("openai", "open", "before"),
    ("openai", "a line", "after"),
    ("openai", "collected", "before"),
    ("anthropic", "open", "before"),
}
"""What the usual suite tries."""


@pytest.mark.parametrize(
    "case", [pytest.param(case, id="-".join(case), marks=() if case in QUICK else pytest.mark.slow) for case in ALL]
)
def test_a_killed_run_buys_nothing_twice(job, server, tmp_path, case):
    """At each boundary once, at the second batch; at a line in the middle of one."""
    provider, *boundary = case
    assert survives(job, server, tmp_path, tuple(boundary), 13 if boundary[0] == "a line" else 2, "out", provider)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", ALL, ids="-".join)
def test_a_hundred_killed_runs_buy_nothing_twice(job, server, tmp_path, case):
    """At each boundary a hundred times, at any batch or line."""
    provider, *boundary = case
    rng = random.Random(str(boundary))
    for trial in range(KILLS):
        occurrence = rng.randint(1, ROWS if boundary[0] == "a line" else ROWS // BATCH_ROWS)
        assert survives(job, server, tmp_path, tuple(boundary), occurrence, f"out-{trial}", provider)
