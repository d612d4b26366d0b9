"""Whole runs in real processes against a dictionary: whatever befalls them in whatever order, they agree.

Hypothesis chooses the order: runs, kills, signals, damage, a full disk, rows that fail, `--retry-failed`, other limits,
a changed job. The model knows what each row must be, and how many answers may have been paid for twice.
"""

import random
import resource
import shutil
import signal
import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from batchgen.rundir import RunDirectory, read_state
from batchgen.simulator import expected_answer
from batchgen.sink import part_path, read_part, read_results, table_results
from batchgen.values import Status
from tests.cli.conftest import JOB
from tests.cli.test_run import messages, write_csv
from tests.survival.harness import assert_whole, killed_after
from tests.survival.test_corruption import damaged

IN_FLIGHT = 16
POISON_EVERY = 13
MOMENTS = st.floats(0, 0.6)


def settled_rows(directory, scratch):
    """Return each settled row's status and completion as a copy of the directory has them; the damage found there."""
    if not (directory / "run.json").exists():
        return {}, []
    copy = scratch / "looked-at"
    shutil.copytree(directory, copy)
    try:
        state, _ = read_state(copy)
        with RunDirectory.open(
            copy, job=state.job, fingerprints=state.fingerprints, published=state.published
        ) as opened:
            if opened.complete:
                table = read_results(copy)
                found = enumerate(zip(table["status"].to_pylist(), table["completion"].to_pylist(), strict=True))
                return dict(found), []
            results = []
            for record in opened.journal.shards():
                if record.sealed:
                    part = read_part(part_path(opened.results_path, record.number))[1]
                    results += table_results(part, record.first_row, lambda result: None)
                else:
                    results += opened.journal.results(record.first_row, record.end_row)
            return {result.row: (result.status, result.completion) for result in results}, opened.damage
    finally:
        shutil.rmtree(copy)


class WholeRun(RuleBasedStateMachine):
    """`settled` has each row's status and text as of the last process; `unkept` counts answers paid for and lost."""

    def __init__(self, spare, server, place, rows):
        super().__init__()
        self.spare, self.server, self.place = spare, server, place
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        self.out = place / "out"
        self.texts = [f"POISON {n}" if n % POISON_EVERY == 7 else f"row {n}" for n in range(rows)]
        table = write_csv(place / "in.csv", self.texts)
        self.path = place / "job.toml"
        self.path.write_text(
            JOB.format(
                input=str(table), provider="dashscope", model="qwen-plus", base_url=server.url, concurrency=IN_FLIGHT
            )
        )
        server.reset_stats()
        server.change(poison="POISON")
        self.poisoned = True
        self.settled = {}
        self.complete = False
        self.unkept = self.again = 0
        self.told = []

    def start(self, *more):
        return self.spare.start("run", self.path, "--json", "--no-progress", "--output", self.out, *more)

    def finish(self, *more):
        """Let a run come to its end, which it does; return its summary."""
        asked = self.server.stats()["requests"]
        run = self.start(*more)
        code = run.wait(90)
        assert "Traceback" not in run.err, run.err
        failed = [row for row, text in enumerate(self.texts) if text.startswith("POISON")]
        self.note(f"run {more}")
        if code == 3:  # what is left are rows that no provider would take: the run says so instead of failing them
            assert self.poisoned
            assert "refused alike" in run.summary["error"]["message"], run.err
            assert set(range(len(self.texts))) - set(self.settled) <= set(failed)
            return run.summary
        self.complete = True
        assert len(self.settled) == len(self.texts)
        counts = [status for status, _ in self.settled.values()].count(Status.FAILED)
        assert (code, run.summary["state"]) == (1 if counts else 0, "complete"), run.err
        assert (run.summary["failed"], run.summary["pending"]) == (counts, 0)
        return {**run.summary, "asked": self.server.stats()["requests"] - asked}

    def note(self, what, *, lost=0, forgotten=()):
        """Look what a process has left, and hold it against the model.

        `lost` is how many answers it may have paid for and not kept; of `forgotten` rows it may have dropped any.
        """
        self.told.append(what)
        before, (self.settled, damage) = self.settled, settled_rows(self.out, self.place)
        for row, value in before.items():
            if row not in forgotten:
                assert self.settled.get(row) == value, f"row {row} was {value}: {self.told} {damage}"
        stats = self.server.stats()
        kept = sum(status == Status.SUCCEEDED for status, _ in self.settled.values())
        dropped = sum(value[0] == Status.SUCCEEDED and row not in self.settled for row, value in before.items())
        paid_again = stats["prompts_answered_again"] - self.again
        unkept = stats["prompts_answered"] - kept
        assert unkept - dropped + paid_again <= self.unkept + lost, f"{self.told}: {unkept=} {dropped=} {paid_again=}"
        self.again, self.unkept = stats["prompts_answered_again"], unkept

    @rule(concurrency=st.sampled_from([3, 16]), per_minute=st.sampled_from([None, 60_000]))
    def run(self, concurrency, per_minute):
        """A run to the end, with other limits; one that is complete asks nothing."""
        was = self.complete
        more = ["--set", f"limits.concurrency={concurrency}"]
        more += ["--set", f"limits.requests_per_minute={per_minute}"] if per_minute else []
        summary = self.finish(*more)
        assert not was or summary["asked"] == 0

    @rule(after_s=MOMENTS)
    def kill(self, after_s):
        """SIGKILL: what was in flight and in the last commit is lost, no more."""
        was = self.complete
        recent = killed_after(self.start(), self.server, after_s)
        self.note(f"kill {after_s:.2f}", lost=IN_FLIGHT + recent)
        assert not was or self.complete

    @rule(after_s=MOMENTS, number=st.sampled_from([signal.SIGTERM, signal.SIGINT]), twice=st.booleans())
    def interrupt(self, after_s, number, twice):
        """Signals: once loses nothing, twice what is in flight."""
        asked = self.server.stats()["requests"]
        run = self.start()
        time.sleep(after_s)
        run.send(number)
        if twice:
            time.sleep(0.02)
            run.send(number)
        code = run.wait(30)
        assert "Traceback" not in run.err, run.err
        assert code in (0, 1, 3, 130) or (code == -number and self.server.stats()["requests"] == asked), run.err
        self.note(f"signal {number.name} {after_s:.2f} {twice}", lost=IN_FLIGHT if twice else 0)

    @precondition(lambda self: self.settled)
    @rule(
        name=st.sampled_from(["journal.sqlite", "journal.sqlite-wal", "results/part-00000.parquet"]),
        kind=st.sampled_from(["texts", "cut", "flip", "zeros"]),
        seed=st.integers(0, 99),
    )
    def damage(self, name, kind, seed):
        """Bits flip, or the end is cut off: rows may be lost, none may change."""
        file = self.out / name
        if file.exists() and file.stat().st_size:
            file.write_bytes(damaged(file.read_bytes(), kind, random.Random(seed)))
            self.complete = False
            self.note(f"damage {name} {kind} {seed}", forgotten=range(len(self.texts)))

    @precondition(lambda self: self.settled)
    @rule(kilobytes=st.sampled_from([0, 40, 200]), after_s=MOMENTS)
    def fill_disk(self, kilobytes, after_s):
        """No file may grow beyond a size any more: what is answered is kept, or the run says that it was not."""
        run = self.start()
        time.sleep(after_s)
        if run.running:
            resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (kilobytes * 1024,) * 2)
        code = run.wait(60)
        assert "Traceback" not in run.err, run.err
        assert code in (0, 1, 2, 3), run.err
        spilt = "could not be kept" not in run.out + run.err
        self.note(f"full at {kilobytes} kB after {after_s:.2f}", lost=0 if spilt else len(self.texts))

    @precondition(lambda self: self.complete)
    @rule(cured=st.booleans())
    def retry_failed(self, cured):
        """Failed rows are asked again, with or without success; all others stay."""
        failed = {row for row, (status, _) in self.settled.items() if status == Status.FAILED}
        self.poisoned = not cured
        self.server.change(poison=None if cured else "POISON")
        self.complete = not failed
        for row in failed:
            del self.settled[row]
        self.finish("--retry-failed")

    @precondition(lambda self: (self.out / "run.json").exists())
    @rule()
    def change_job(self):
        """Another model is refused, and nothing is sent or touched."""
        asked = self.server.stats()["requests"]
        run = self.start("--set", "model.name=qwen-max")
        assert run.wait() == 2
        assert "model.name" in run.err
        assert self.server.stats()["requests"] == asked
        self.note("changed job")

    @invariant()
    def right(self):
        """Every settled row has its own right answer, or has failed because it had to."""
        for row, (status, completion) in self.settled.items():
            if status == Status.FAILED:
                assert self.texts[row].startswith("POISON"), f"row {row} failed: {self.told}"
            else:
                assert completion == expected_answer(messages(self.texts[row])), f"row {row}: {self.told}"

    def teardown(self):
        """At last all rows can succeed, and do."""
        self.poisoned = False
        self.server.change(poison=None)
        self.finish()
        self.settled = {row: value for row, value in self.settled.items() if value[0] == Status.SUCCEEDED}
        if len(self.settled) < len(self.texts):
            self.finish("--retry-failed")
        for aside in self.out.glob("*.damaged-*"):
            aside.unlink()
        table = assert_whole(self.out, self.texts)
        assert sum(table["attempts"].to_pylist()) <= self.server.stats()["requests"]


@pytest.mark.parametrize(
    ("rows", "examples", "steps"),
    [
        (150, 2, 8),
        pytest.param(150, 30, 20, marks=pytest.mark.slow),
        pytest.param(10_200, 4, 12, marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(3600)
def test_runs_agree_with_the_model(spare, simulator, tmp_path, rows, examples, steps):
    """After any order of events every row is right, and no answer is paid for twice but those that a kill may cost."""
    server = simulator(latency_ms=15, latency_sigma=0.5)
    run_state_machine_as_test(
        lambda: WholeRun(spare, server, tmp_path / "place", rows),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=steps < 10,
            suppress_health_check=list(HealthCheck),
        ),
    )
