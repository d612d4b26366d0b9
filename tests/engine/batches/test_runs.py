"""What a run does live it does by batches: repairs, votes, duplicates, budget, updates, retries, pilots, ends."""

import json
import re
import shutil
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

import batchgen
from batchgen.api import arun
from batchgen.cli.messages import check_text, summary_text
from batchgen.engine.control import Control
from batchgen.errors import OutputError
from batchgen.estimating.estimate import estimate
from batchgen.estimating.show import estimate_text
from batchgen.job.batch_job import read_batch_job
from batchgen.job.check import check_job
from batchgen.job.endpoint import Endpoint
from batchgen.secret import Secret
from tests.attachments.making import picture
from tests.engine.batches.conftest import answers, books_agree, price_of
from tests.engine.batches.virtual import HOST, Live, VirtualVendor

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["name", "count"],
    "additionalProperties": False,
}


@pytest.fixture
def schema(tmp_path):
    """A schema on disk."""
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(SCHEMA))
    return str(path)


def test_repairs_go_into_the_next_batch(job, server, schema):
    """An answer that does not fit is asked again with the error told; what both cost is the row's."""
    server.change(wrong_type=0.5)
    done = batchgen.run(job(60, batch={"rows": 20}, response={"schema": schema, "max_repairs": 4}))
    assert (done.state, done.succeeded + done.failed) == ("complete", 60), done.error
    assert done.succeeded >= 55
    assert done.attempts > 70
    assert server.stats()["billed_lanes"]["batch"]["requests"] > 70
    tokens = server.stats()["billed_delivered"]
    assert (done.input_tokens, done.output_tokens) == (tokens["input_tokens"], tokens["output_tokens"])


def test_votes_are_taken_batch_by_batch(job, server):
    """Three samples of each row, in three rounds."""
    labels = {"labels": ["red", "green", "blue"], "votes": 3, "confidence": "votes"}
    done = batchgen.run(job(20, batch={"rows": 10}, response=labels))
    assert (done.state, done.succeeded, done.attempts) == ("complete", 20, 60)
    books_agree(server, done)
    rows = batchgen.read_results(done.output).to_pylist()
    assert {len(json.loads(row["answer_turns"])) for row in rows} == {3}


def test_duplicates_are_asked_once(job, server):
    """Rows with the request of another one wait for its answer, in batches too."""
    done = batchgen.run(job(texts=["a", "b", "a", "c", "b", "a"] * 5, input={"dedupe": True}))
    assert (done.state, done.succeeded, done.attempts, done.shared) == ("complete", 30, 3, 27)
    books_agree(server, done)


def test_a_duplicate_is_asked_in_place_of_one_that_failed(job, tmp_path, monkeypatch):
    """The next of them takes its turn, with its own attempts."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=("row_500=1x",))
    done = vendor.run(
        job(texts=["a", "b"] * 5, input={"dedupe": True}, retry={"max_attempts": 1}, batch={"poll_s": 60})
    )
    assert (done.state, done.succeeded + done.failed) == ("complete", 10)
    assert done.failed <= 1


def test_failed_rows_are_tried_again(job, server):
    """`retry_failed` opens new batches for them alone."""
    server.change(poison="row 1")
    first = batchgen.run(job(20))
    assert (first.state, first.failed) == ("complete", 11)
    server.change(poison=None)
    done = batchgen.run(job(20), retry_failed=True)
    assert (done.state, done.succeeded, done.failed) == ("complete", 20, 0)
    assert server.stats()["billed_lanes"]["batch"]["requests"] == 20


def test_an_update_hands_in_only_what_is_new(job, server):
    """Answers of the earlier run are taken over."""
    path = job(20).input.path
    batchgen.run(job(20, input={"path": path, "limit": 8}))
    done = batchgen.run(job(20, input={"path": path}), update=True)
    assert (done.state, done.succeeded, done.reused) == ("complete", 20, 8)
    assert server.stats()["billed_lanes"]["batch"]["requests"] == 20


def test_a_pilot_is_asked_live(job, server):
    """Its few rows are not worth a day; the run keeps them."""
    pilot = batchgen.run(job(20), only={3, 7})
    assert pilot.succeeded == 2
    done = batchgen.run(job(20))
    assert (done.state, done.succeeded) == ("complete", 20)
    lanes = server.stats()["billed_lanes"]
    assert (lanes["live"]["requests"], lanes["batch"]["requests"]) == (2, 18)
    assert done.cost == price_of(lanes["live"], "1") + price_of(lanes["batch"], "0.5")


def test_a_budget_is_never_passed(job, tmp_path, monkeypatch):
    """As many rows as fit are handed in at a time; what they really cost frees the rest; then the run stops."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0)
    done = vendor.run(job(60, batch={"poll_s": 60}, limits={"budget": 0.005}))
    assert done.cost <= 0.005
    assert len(done.batches) > 1
    assert done.state == "complete" or done.error["kind"] == "BudgetStop"
    again = VirtualVendor(tmp_path / "b", monkeypatch, batch_sigma=0)
    small = again.run(job(60, name="small", batch={"poll_s": 60}, limits={"budget": 0.001}))
    assert small.error["kind"] == "BudgetStop"
    assert 0 < small.cost <= 0.001


@pytest.mark.parametrize("sigma", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_tight_budget_makes_no_more_files_than_needed(job, tmp_path, monkeypatch, sigma):
    """What one batch leaves of the budget waits for what the others leave, until a file is full."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=sigma)
    done = vendor.run(job(150, batch={"poll_s": 60, "rows": 10}, limits={"budget": 0.025}))
    assert (done.state, done.succeeded) == ("complete", 150)
    assert len(done.batches) <= 18  # of 15 that are full; 24 where each ended batch made a file at once
    hurried = VirtualVendor(tmp_path / "b", monkeypatch, batch_sigma=sigma)
    table = {"batch": {"poll_s": 60, "rows": 10, "deadline": "20h"}, "limits": {"budget": 0.025}}
    done = hurried.run(job(150, name="hurried", **table))
    assert (done.succeeded, hurried.hours <= 20) == (150, True), done.error


def test_reservations_of_open_batches_survive(job, tmp_path, monkeypatch):
    """A run that goes on counts what waits at the vendor against its budget."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0)
    first = vendor.run(job(60, batch={"poll_s": 60, "rows": 5}, limits={"budget": 0.004}), mode="detach")
    assert first.state in ("handed in", "stopped")
    handed = sum(batch.rows for batch in first.batches)
    assert 0 < handed < 60
    second = vendor.run(job(60, batch={"poll_s": 60, "rows": 5}, limits={"budget": 0.004}), mode="detach")
    assert sum(batch.rows for batch in second.batches if batch.state == "open") <= handed + 5


def test_a_detached_run_does_not_wait_for_the_budget(job, tmp_path, monkeypatch):
    """Rows that the budget has room for only once open batches are paid are the next call's, which hands them in."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, batch_hours=5)
    made = job(60, batch={"poll_s": 60}, limits={"budget": 0.005})
    began_s = vendor.clock.now_s
    first = vendor.run(made, mode="detach")
    assert first.state == "handed in"
    assert 0 < sum(batch.rows for batch in first.batches) < 60
    assert vendor.clock.now_s - began_s < 3600
    vendor.clock.now_s += 6 * 3600
    second = vendor.run(made, mode="detach")
    assert second.state == "handed in"
    assert second.succeeded > 0
    assert any(batch.state == "open" for batch in second.batches)


def test_rows_without_budget_do_not_keep_open_batches_from_being_collected(job, tmp_path, monkeypatch):
    """Rows that come before those of open batches, and have no room in a smaller budget, are passed over."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, batch_hours=2)
    shape = {"poll_s": 60, "rows": 10}
    vendor.run(job(30, batch=shape), mode="detach", only=set(range(10, 30)))
    vendor.clock.now_s += 3 * 3600
    done = vendor.run(job(30, batch=shape, limits={"budget": 0.0001}))
    assert done.error["kind"] == "BudgetStop"
    assert done.succeeded == 20


def test_detached_runs_go_on(job, server, tmp_path):
    """Handed in, then collected by the same call."""

    async def detach():
        return await arun(job(30, batch={"rows": 10}), mode="detach")

    server.change(batch_hours=100)
    first = anyio.run(detach)
    assert (first.state, first.succeeded) == ("handed in", 0)
    assert [batch.state for batch in first.batches] == ["open"] * 3
    with pytest.raises(OutputError, match="cancel"):
        batchgen.run(job(30, batch={"rows": 10}), fresh=True)
    with pytest.raises(OutputError, match="--lane batch"):
        batchgen.run(job(30, lane="live"))
    server.change(batch_hours=0.1, batch_speed=200_000)
    done = batchgen.run(job(30, batch={"rows": 10}))
    assert (done.state, done.succeeded) == ("complete", 30)
    books_agree(server, done)
    assert len(answers(tmp_path / "out")) == 30


def test_cancelled_batches_keep_what_is_finished(job, tmp_path, monkeypatch):
    """Half of the rows are done: they are collected, the others stay pending and are asked later, once."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, batch_hours=2)
    made = job(40, batch={"rows": 20, "poll_s": 60})
    assert vendor.run(made, mode="detach").state == "handed in"
    vendor.clock.now_s += 3700
    cancelled = vendor.run(made, mode="cancel")
    assert 10 < cancelled.succeeded < 30, vendor.notes.said
    assert cancelled.pending == 40 - cancelled.succeeded
    assert not [batch for batch in cancelled.batches if batch.state != "cleaned"]
    done = vendor.run(job(40, batch={"rows": 20, "poll_s": 60}))
    assert (done.state, done.succeeded) == ("complete", 40)
    assert vendor.books()["billed_lanes"]["batch"]["requests"] + Live.asked == 40


def test_an_interrupted_run_leaves_its_batches_open(job, server):
    """They are collected by the next."""
    server.change(batch_hours=100)
    control = Control()

    async def main():
        async with anyio.create_task_group() as tasks:

            async def interrupt():
                while not server.stats().get("batches"):  # noqa: ASYNC110 - the vendor has no event for it
                    await anyio.sleep(0.05)
                control.interrupt()

            tasks.start_soon(interrupt)
            return await arun(job(10), control=control)

    first = anyio.run(main)
    assert (first.state, first.pending) == ("interrupted", 10)
    server.change(batch_hours=0.1, batch_speed=200_000)
    done = batchgen.run(job(10))
    assert (done.state, done.succeeded) == ("complete", 10)
    books_agree(server, done)


def test_a_changed_job_is_told_to_collect_what_is_open_first(job, server, tmp_path):
    """By `run` and `check` alike: --update and --fresh would leave it at the vendor, and `cancel` does not."""
    server.change(batch_hours=100)
    batchgen.run(job(10), mode="detach")
    changed = job(10, prompt={"user": "Another: {{ text }}"})
    for options in ({}, {"update": True}, {"fresh": True}):
        with pytest.raises(OutputError, match=f"batchgen cancel {tmp_path / 'out'}"):
            batchgen.run(changed, **options)
    assert "batchgen cancel" in check_job(changed).problem
    assert "batchgen cancel" in check_job(changed, update=True).problem
    batchgen.run(job(10), mode="cancel")
    assert "--update" in check_job(changed).problem
    assert "batchgen cancel" not in check_job(changed).problem
    assert [batch["status"] for batch in server.stats()["batches"]] == ["cancelled"]


def test_a_copy_is_refused_by_check_too(job, server, tmp_path):
    """As by `run`, and overridden by the same word."""
    server.change(batch_hours=100)
    batchgen.run(job(10), mode="detach")
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    assert check_job(job(10)).problem is None
    assert f"is a copy of {tmp_path / 'out'}" in check_job(job(10, name="copy")).problem
    assert check_job(job(10, name="copy"), take_over=True).problem is None


def test_what_no_row_can_survive_stops_the_run(job, tmp_path, monkeypatch):
    """No balance, an unknown model, settings that are refused in every row: rows stay pending, nothing is lost."""
    for oddity in ("failed_billing", "failed_model", "create_refused", "credit_low"):
        vendor = VirtualVendor(tmp_path / oddity, monkeypatch, batch_sigma=0, oddities=(f"{oddity}=1x",))
        made = job(12, name=oddity, batch={"poll_s": 60})
        stopped = vendor.run(made)
        assert (stopped.state, stopped.pending, stopped.error["kind"]) == ("stopped", 12, "ProviderStop"), oddity
        done = vendor.run(made)
        assert (done.state, done.succeeded) == ("complete", 12), (oddity, done.error)


def test_a_line_that_is_too_long_is_asked_live(job, server):
    """The others go as a batch."""
    done = batchgen.run(job(texts=["x" * 2000, *[f"row {n}" for n in range(9)]], batch={"megabytes": 0.0015}))
    assert (done.state, done.succeeded) == ("complete", 10)
    lanes = server.stats()["billed_lanes"]
    assert (lanes["live"]["requests"], lanes["batch"]["requests"]) == (1, 9)
    assert (done.asked_live.rows, done.asked_live.too_long) == (1, 1)
    assert done.asked_live.cost == price_of(lanes["live"], "1")
    assert "1 row of this run was asked live, at the full price for" in summary_text(done)


def test_rows_that_are_too_long_are_told_before(job):
    """`check` says how many there are and what they can cost, `estimate` prices them live in the lane of batches."""
    long, short = "x" * 2000, [f"row {n}" for n in range(9)]
    made = job(texts=[long, *short], batch={"megabytes": 0.0015})
    checked = check_job(made)
    assert checked.asked_live.rows == 1
    alone = check_job(job(texts=[long], batch={"megabytes": 0.0015})).asked_live.most
    assert checked.asked_live.most == alone > 0
    assert "1 row is longer than a line of a batch may be, and asked live" in check_text(checked)
    assert check_job(job(texts=[long, *short])).asked_live is None
    found = estimate(made)
    mixed, live = ({lane.lane: lane.cost for lane in found.lanes}[name] for name in ("batch", "live"))
    assert found.asked_live == 1
    assert mixed == found.cost
    rest = estimate(job(texts=short, batch={"megabytes": 0.0015}))
    assert mixed.high == rest.cost.high + found.asked_live_cost.high
    assert live.high == 2 * rest.cost.high + found.asked_live_cost.high
    assert "1 rows" not in estimate_text(found)


def test_the_budget_counts_rows_at_the_price_of_the_lane(job):
    """Also where only a row alone is looked at, and in what is said of answers without a limit."""
    model = {"input": 2.0, "cache_write": 2.0, "output": 8.0, "currency": "USD", "lanes": {"batch": 0.5}}
    table = {"pricing": {"models": {"m": {**model, "max_output": 1000, "max_input": 1000}}}}
    notes = check_job(job(model={"parameters": {}}, limits={"budget": 1.0}, **table)).notes
    (said,) = [note for note in notes if note.startswith("limits.budget")]
    live = check_job(job(lane="live", model={"parameters": {}}, limits={"budget": 1.0}, **table)).notes
    assert amount_of(said) * 2 == amount_of(*[note for note in live if note.startswith("limits.budget")])
    small = {"limits": {"budget": 0.005}, "model": {"parameters": {"max_tokens": 1000}}}
    assert check_job(job(**small)).problem is None
    assert "Row 0 alone" in check_job(job(lane="live", **small)).problem


def amount_of(text):
    """Return the first amount of dollars in a text."""
    return Decimal(re.search(r"\$?([0-9.]+[0-9])", text.split("longest answer of m, ")[1]).group(1))


@pytest.mark.parametrize("oddity", ["row_missing=0.9", "half_expired=0.9", "row_500=0.9"])
def test_cancelling_asks_nothing_live(job, tmp_path, monkeypatch, oddity):
    """A row that an earlier batch brought nothing for would be asked live in the end; the user has said to end it."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, batch_hours=2, oddities=(oddity,))
    made = job(60, batch={"poll_s": 60})
    vendor.run(made, mode="detach")
    for _ in range(3):
        vendor.clock.now_s += 30 * 3600
        left = vendor.run(made, mode="detach")
        if left.state == "complete":
            break
        vendor.clock.now_s += 600
        Live.asked = 0
        cancelled = vendor.run(made, mode="cancel")
        assert Live.asked == 0, vendor.notes.said
        assert cancelled.pending == 60 - cancelled.succeeded - cancelled.failed
        assert not [batch for batch in cancelled.batches if batch.state != "cleaned"]
    done = vendor.run(made)
    assert (done.state, done.succeeded) == ("complete", 60)


def _rows_changed(folder):
    path = next(folder.glob("in-*.csv"))
    path.write_text(path.read_text().replace("row 3", "row three"))


def _rows_gone(folder):
    next(folder.glob("in-*.csv")).unlink()


def _prompt_changed(folder):
    (folder / "prompt.txt").write_text("Something else: {{ text }}")


def _prompt_gone(folder):
    (folder / "prompt.txt").unlink()


def _schema_gone(folder):
    (folder / "schema.json").unlink()


@pytest.mark.parametrize("spoil", [_rows_changed, _rows_gone, _prompt_changed, _prompt_gone, _schema_gone])
@pytest.mark.parametrize("hours", [1.0, 30.0])
def test_batches_are_ended_whatever_has_become_of_the_job(job, tmp_path, monkeypatch, schema, spoil, hours):
    """They are paid as long as they are open: what they bring is kept, and an update takes it over."""
    (tmp_path / "prompt.txt").write_text("Read: {{ text }}")
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, batch_hours=2)
    tables = {"prompt": {"user_file": str(tmp_path / "prompt.txt")}, "response": {"schema": schema, "max_repairs": 0}}
    made = job(40, batch={"rows": 20, "poll_s": 60}, **tables)
    assert vendor.run(made, mode="detach").state == "handed in"
    vendor.clock.now_s += hours * 3600
    files = [Path(path) for path in (made.input.path, tmp_path / "prompt.txt", schema)]
    rows = {path: path.read_bytes() for path in files}
    spoil(tmp_path)
    cancelled = vendor.cancel(read_batch_job(tmp_path / "out"))
    assert cancelled.error is None
    assert (cancelled.succeeded == 40) is (hours > 2)
    assert cancelled.succeeded
    assert cancelled.pending == 40 - cancelled.succeeded - cancelled.failed
    assert [batch.state for batch in cancelled.batches] == ["cleaned"] * 2
    assert {batch["status"] for batch in vendor.books()["batches"]} <= {"cancelled", "completed"}
    for path, content in rows.items():
        path.write_bytes(content)
    done = vendor.run(made)
    assert (done.state, done.succeeded + done.failed) == ("complete", 40)
    assert vendor.books()["billed_lanes"]["batch"]["requests"] + Live.asked == 40


def test_too_many_failed_rows_keep_no_batch_from_being_ended(job, tmp_path, monkeypatch):
    """They stop the run, which leaves the other batches open; to end these is what a user wants then."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, batch_hours=2, poison="row 1")
    made = job(40, batch={"rows": 10, "poll_s": 60}, limits={"max_failed": 3})
    vendor.run(made, mode="detach")
    vendor.clock.now_s += 20 * 3600
    stopped = vendor.run(made)
    assert stopped.error["kind"] == "FailuresStop"
    cancelled = vendor.cancel(read_batch_job(tmp_path / "out"))
    assert [batch for batch in cancelled.batches if batch.state != "cleaned"] == []


def _with_pictures(job, folder, **tables):
    """Return a job of six rows with a picture each."""
    for row in range(6):
        (folder / f"{row}.png").write_bytes(picture((60 + row, 64)))
    (folder / "pictures.csv").write_text("files\n" + "".join(f"{row}.png\n" for row in range(6)))
    return job(6, input={"path": str(folder / "pictures.csv")}, attach={"column": "files"},
               prompt={"user": "What is on it?"}, batch={"poll_s": 60}, **tables)  # fmt: skip


def test_a_file_that_changes_while_its_row_is_at_the_vendor_is_noticed(job, tmp_path, monkeypatch):
    """As after an answer: the run is of other input, and its batches are ended or collected before another begins."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, batch_hours=2)
    made = _with_pictures(job, tmp_path)
    vendor.run(made, mode="detach")
    (tmp_path / "3.png").write_bytes(picture((90, 91)))
    with pytest.raises(OutputError, match=r"files of 1 row that .*handed in \(of row 3 first.*batchgen cancel"):
        vendor.run(made)
    said = check_job(made, endpoint=Endpoint(HOST + "/v1", Secret("k"), None)).problem
    assert re.search(r"files of 1 row .*handed in \(of row 3 first.*batchgen cancel", said)
    vendor.clock.now_s += 20 * 3600
    assert vendor.cancel(read_batch_job(tmp_path / "out")).succeeded == 6
    with pytest.raises(OutputError, match="--update"):
        vendor.run(made)
    done = vendor.run(made, update=True)
    assert (done.state, done.succeeded, done.reused) == ("complete", 6, 5)


def test_a_file_that_changes_while_the_run_waits_is_told_at_its_end(job, tmp_path, monkeypatch):
    """The answer is kept; the next run of the job is told that it is of other input."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, batch_hours=2)
    made = _with_pictures(job, tmp_path)
    sleep = vendor.clock.sleep

    async def changing(seconds):
        (tmp_path / "3.png").write_bytes(picture((90, 91)))
        await sleep(seconds)

    monkeypatch.setattr(vendor.clock, "sleep", changing)
    done = vendor.run(made)
    assert (done.state, done.succeeded) == ("complete", 6)
    assert any("files of 1 row (of row 3 first" in said for said in vendor.notes.said)
    with pytest.raises(OutputError, match="--update"):
        vendor.run(made)


def test_a_file_that_is_gone_costs_no_answer_that_is_paid(job, tmp_path, monkeypatch):
    """Its row cannot be asked any more, and need not be: its answer comes with the batch."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, batch_hours=2)
    made = _with_pictures(job, tmp_path)
    vendor.run(made, mode="detach")
    (tmp_path / "3.png").unlink()
    vendor.clock.now_s += 20 * 3600
    done = vendor.run(made)
    assert (done.state, done.succeeded, Live.asked) == ("complete", 6, 0)
