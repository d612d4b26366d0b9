"""`--retry-failed` of many parts: marked at once, brought back when the run comes to them; a kill loses nothing."""

import shutil
from decimal import Decimal
from functools import partial

import pytest

import batchgen
from batchgen.engine import run as engine_run
from batchgen.engine.control import Control
from batchgen.engine.reporter import Reporter
from batchgen.job.endpoint import Endpoint
from batchgen.job.settings import Job
from batchgen.results.committed import Committed
from batchgen.secret import Secret
from batchgen.simulator import Settings, start_in_thread
from batchgen.storage import retries
from batchgen.storage.journal import Journal
from batchgen.storage.parts import part_path
from batchgen.storage.run_state import read_run_json
from batchgen.storage.shards import cut
from batchgen.storage.writer_thread import Committer

ROWS, SHARD = 60, 10


@pytest.fixture
def server():
    """A vendor that refuses every row with a 7 in it, for good."""
    with start_in_thread(Settings(seed=4, poison="7")) as handle:
        yield handle


@pytest.fixture
def ended(tmp_path, server, monkeypatch):
    """A complete run in which a row of each of six parts has failed; parts of ten rows, all of them marked."""
    monkeypatch.setattr(engine_run, "cut", partial(cut, rows=SHARD))
    monkeypatch.setattr(retries, "AT_ONCE_ROWS", 0)
    first = run(tmp_path, server)
    assert (first.state, first.succeeded, first.failed) == ("complete", 54, 6)
    return first


def run(folder, server, **options):
    """Run the job."""
    path = folder / "in.csv"
    path.write_text("text\n" + "".join(f"number {row}\n" for row in range(ROWS)))
    job = Job.from_dict(
        {
            "name": "job",
            "input": {"path": str(path), "dedupe": False},
            "prompt": {"user": "{{ text }}"},
            "model": {"provider": "dashscope", "name": "qwen-flash", "parameters": {"max_tokens": 20}},
            "limits": {"concurrency": 4},
            "output": {"path": str(folder / options.pop("name", "out"))},
        }
    )
    endpoint = Endpoint(server.url, Secret("sk-test-0123456789abcdef"), "http://simulator")
    return batchgen.run(job, endpoint=endpoint, **options)


def table(folder, name="out"):
    """Return what does not depend on time of each row."""
    left_out = {"finished_at", "latency_ms", "request_id"}
    rows = batchgen.read_results(folder / name).to_pylist()
    return [{key: value for key, value in row.items() if key not in left_out} for row in rows]


def test_the_end_is_the_same_as_if_all_were_brought_back_at_once(tmp_path, server, ended, monkeypatch):
    """Results, sums, attempts and cost, to the digit; and no mark is left."""
    shutil.copytree(tmp_path / "out", tmp_path / "other")
    server.change(poison=None)
    lazily = run(tmp_path, server, retry_failed=True)
    monkeypatch.setattr(retries, "AT_ONCE_ROWS", 1_000)
    at_once = run(tmp_path, server, retry_failed=True, name="other")
    for one in (lazily, at_once):
        assert (one.state, one.succeeded, one.failed, one.attempts) == ("complete", ROWS, 0, ROWS + 6)
    assert (lazily.cost, lazily.total_tokens) == (at_once.cost, at_once.total_tokens)
    assert table(tmp_path) == table(tmp_path, "other")
    paid = sum((row["cost"] for row in table(tmp_path)), Decimal(0))
    assert paid == lazily.cost
    assert run(tmp_path, server).attempts == lazily.attempts


def test_rows_that_fail_again_stay_failed(tmp_path, server, ended):
    """With all their attempts, and the run is complete as before."""
    again = run(tmp_path, server, retry_failed=True)
    assert (again.state, again.succeeded, again.failed, again.attempts) == ("complete", 54, 6, ROWS + 6)
    assert sorted({row["attempts"] for row in table(tmp_path) if row["status"] == "failed"}) == [2]


@pytest.mark.parametrize("survived", range(7))
def test_a_kill_between_two_parts_loses_nothing(tmp_path, server, ended, monkeypatch, survived):
    """The next run goes on without being told to try again; no failed row counts as done, none is asked twice."""
    bring_back, left = Committer._bring_back, iter(range(survived))

    def die_in_time(committer, record):
        if next(left, None) is None:
            raise KeyboardInterrupt
        bring_back(committer, record)

    server.change(poison=None)
    with monkeypatch.context() as patch:
        patch.setattr(Committer, "_bring_back", die_in_time)
        try:
            run(tmp_path, server, retry_failed=True)
        except BaseException:  # as a kill: whatever it is, the process is gone
            assert survived < 6
    told = read_run_json(tmp_path / "out").summary
    assert told.succeeded + told.failed + told.pending == ROWS
    done = run(tmp_path, server)
    assert (done.state, done.succeeded, done.failed) == ("complete", ROWS, 0)
    assert server.stats()["prompts_answered_again"] <= 4 * 3
    assert {row["status"] for row in table(tmp_path)} == {"succeeded"}


def test_a_kill_right_after_the_marks(tmp_path, server, ended, monkeypatch):
    """Nothing was sent: all marked rows are still to do, also in what `status` says."""
    server.change(poison=None)
    with monkeypatch.context() as patch:
        patch.setattr("batchgen.api.run_job", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, server, retry_failed=True)
    told = read_run_json(tmp_path / "out")
    assert (told.state, told.summary.failed, told.summary.pending) == ("running", 0, 6)
    done = run(tmp_path, server)
    assert (done.state, done.succeeded, done.attempts) == ("complete", ROWS, ROWS + 6)


def test_an_interruption_leaves_the_rest_to_do(tmp_path, server, ended):
    """Counted as pending, by the run and by `status`; what is answered can be read meanwhile, each row once."""
    control = Control()

    class Impatient(Reporter):
        def stored(self, results):
            control.interrupt()

    server.change(poison=None)
    stopped = run(tmp_path, server, retry_failed=True, control=control, reporter=Impatient())
    assert stopped.state == "interrupted"
    assert (stopped.failed, stopped.pending) == (0, ROWS - stopped.succeeded)
    assert stopped.pending > 0
    told = read_run_json(tmp_path / "out").summary
    assert (told.failed, told.pending) == (0, stopped.pending)
    seen = [row["row_id"] for row in table(tmp_path)]
    assert len(seen) == len({*seen})
    assert Committed(tmp_path / "out").parts
    done = run(tmp_path, server)
    assert (done.state, done.succeeded, done.attempts) == ("complete", ROWS, ROWS + 6)


def test_a_part_that_is_damaged_since_is_done_again(tmp_path, server, ended):
    """It is kept aside, and the same command asks for its rows."""
    path = part_path(tmp_path / "out" / "results", 3)
    body = bytearray(path.read_bytes())
    server.change(poison=None)
    with_marks = Journal.forget_failed

    def then_damage(journal):
        body[200] ^= 1
        path.write_bytes(body)
        return with_marks(journal)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "forget_failed", then_damage)
        stopped = run(tmp_path, server, retry_failed=True)
    assert stopped.state == "stopped"
    assert "damaged" in stopped.error["message"]
    done = run(tmp_path, server)
    assert (done.state, done.succeeded) == ("complete", ROWS)
    assert [one.name for one in (tmp_path / "out").glob("*.damaged-*")] == ["part-00003.parquet.damaged-1"]
