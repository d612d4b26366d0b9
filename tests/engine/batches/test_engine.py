"""A run by batches from its first row to its books, against a simulated vendor with every oddity that users report."""

import pytest

import batchgen
from batchgen.simulator.batches.oddity_names import BATCHES, CALLS, FILES, ROWS
from tests.engine.batches.conftest import answers, books_agree

ENDINGS = {"failed_model", "failed_billing", "create_refused", "credit_low", "one_array", "ended_empty"}
"""Oddities after which no run can go on, mostly since the vendor says that the model or the account has no batches."""

SLOW = {"create_hang", "long_validating", "long_finalizing", "cancel_slow", "stuck", "slow"}
"""Those that take hours; they are looked at in virtual time."""


@pytest.mark.parametrize("provider", ["openai", "dashscope", "anthropic"])
def test_batches_bring_the_same_answers_as_live_calls(job, server, tmp_path, provider):
    """At half the price, and nothing stays at the vendor or in the output directory."""
    done = batchgen.run(job(40, provider, batch={"rows": 16}))
    assert (done.state, done.succeeded, done.attempts) == ("complete", 40, 40)
    books_agree(server, done)
    assert {one["total"] for one in server.stats()["batches"]} <= {16, 8}
    live = batchgen.run(job(40, provider, lane="live", name="live"))
    assert answers(tmp_path / "out") == answers(tmp_path / "live")
    assert live.cost == 2 * done.cost
    assert not list((tmp_path / "out").glob("batch-*"))
    assert [batch.state for batch in done.batches] == ["cleaned"] * 3
    assert not [path for path in (tmp_path / "vendor").iterdir() if path.name.startswith("file")]


QUICK = {"create_lost", "half_expired", "half_cancelled", "failed_tokens", "failed_lines", "create_404", "download_204"}
"""What the usual suite tries; the others take four minutes together."""


def each(names):
    """Return the oddities as cases."""
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(names)]


@pytest.mark.parametrize("oddity", each({*CALLS, *FILES, *BATCHES} - ENDINGS - SLOW))
def test_a_run_survives_what_vendors_do(job, server, oddity):
    """Each row has one answer, and the books agree, whatever the calls, files and batches do the first few times."""
    server.change(oddities=(f"{oddity}=2x",), hang_s=1)
    done = batchgen.run(job(30, batch={"rows": 10}, retry={"max_attempts": 8}))
    assert (done.state, done.succeeded, done.failed) == ("complete", 30, 0), done.error
    books_agree(server, done)


@pytest.mark.parametrize("oddity", each(ROWS))
def test_a_run_survives_odd_lines(job, server, oddity):
    """Lines that are missing, twice, foreign, broken or of another shape."""
    server.change(oddities=(f"{oddity}=0.2",))
    done = batchgen.run(job(30, batch={"rows": 10}))
    assert (done.state, done.succeeded, done.failed) == ("complete", 30, 0), done.error
    books_agree(server, done)
