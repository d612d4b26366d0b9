"""Whole runs in real processes against a dictionary: whatever befalls them in whatever order, they agree.

A seeded walk through runs, kills, signals, damage, a full disk, rows that fail, `--retry-failed`, other limits, a
changed job. The model knows what each row must be, and how many answers may have been paid for twice. (Not a state
machine of hypothesis: what a kill leaves depends on the moment, and what is drawn next must not.)
"""

import random
import resource
import shutil
import signal
import time
from contextlib import suppress

import pytest

from batchgen.results.committed import read_results
from batchgen.simulator import expected_answer
from batchgen.storage.parts import part_path, read_part
from batchgen.storage.result_schema import table_results
from batchgen.storage.run_directory import RunDirectory
from batchgen.storage.run_state import read_state
from batchgen.values import Status
from tests.cli.conftest import JOB
from tests.inputs import messages, write_csv
from tests.survival.damage import damaged
from tests.survival.harness import assert_whole, killed_when
from tests.waiting import wait_until

IN_FLIGHT = 16
POISON_EVERY = 13
DAMAGED = ("journal.sqlite", "journal.sqlite-wal", "results/part-00000.parquet")


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
                    results += table_results(part, range(record.first_row, record.end_row), lambda result: None)
                else:
                    results += opened.journal.results(record.first_row, record.end_row)
            return {result.row: (result.status, result.completion) for result in results}, opened.damage
    finally:
        shutil.rmtree(copy)


class WholeRun:
    """`settled` has each row's status and text as of the last process; `unkept` counts answers paid for and lost."""

    def __init__(self, spare, server, place, rows, seed):
        self.spare, self.server, self.place = spare, server, place
        self.chance = random.Random(seed)
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
        """Let a run come to its end, which it does; return how many requests it has sent."""
        asked = self.server.stats()["requests"]
        run = self.start(*more)
        code = run.wait(90)
        assert "Traceback" not in run.err, run.err
        asked = self.server.stats()["requests"] - asked
        self.note(" ".join(["run", *more]))
        if code == 3:  # the rows that are left begin with twenty that no provider would take: the job may be at fault
            assert self.poisoned
            assert "refused alike" in run.summary["error"]["message"], run.err
            return asked
        self.complete = True
        assert len(self.settled) == len(self.texts)
        counts = [status for status, _ in self.settled.values()].count(Status.FAILED)
        assert (code, run.summary["state"]) == (1 if counts else 0, "complete"), run.err
        assert (run.summary["failed"], run.summary["pending"]) == (counts, 0)
        return asked

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

    def amid(self, run, share):
        """Return whether, given the answers served, a run that begins is through with this share of what is left.

        One run in five is met before its first answer.
        """
        left = 1.25 * (share - 0.2) * (len(self.texts) - len(self.settled))
        begun = self.server.stats()["served"]
        return lambda served: served - begun >= left or not run.running

    def wait_amid(self, run, share):
        ready = self.amid(run, share)
        wait_until(lambda: ready(self.server.stats()["served"]))

    # Events

    def run(self):
        """A run to the end, with other limits; one that is complete asks nothing."""
        was = self.complete
        more = ["--set", f"limits.concurrency={self.chance.choice([3, IN_FLIGHT])}"]
        if self.chance.random() < 0.5:
            more += ["--set", "limits.requests_per_minute=60000"]
        asked = self.finish(*more)
        assert not was or asked == 0

    def kill(self):
        """SIGKILL: what was in flight and in the last commit is lost, no more."""
        share = self.chance.random()
        run = self.start()
        recent = killed_when(run, self.server, self.amid(run, share))
        self.note(f"kill at {share:.0%}", lost=IN_FLIGHT + recent)

    def interrupt(self):
        """Signals: once loses nothing, twice what is in flight."""
        share, twice = self.chance.random(), self.chance.random() < 0.4
        number = self.chance.choice([signal.SIGTERM, signal.SIGINT])
        asked = self.server.stats()["requests"]
        run = self.start()
        self.wait_amid(run, share)
        run.send(number)
        if twice:
            time.sleep(0.02)
            run.send(number)
        code = run.wait(30)
        assert "Traceback" not in run.err, run.err
        assert code in (0, 1, 3, 130) or (code == -number and self.server.stats()["requests"] == asked), run.err
        self.note(f"{number.name} {'twice ' if twice else ''}at {share:.0%}", lost=IN_FLIGHT if twice else 0)

    def damage(self):
        """Bits flip, or the end is cut off: rows may be lost, none may change."""
        files = [self.out / name for name in DAMAGED if (self.out / name).exists()]
        if files:
            file, kind = self.chance.choice(files), self.chance.choice(["texts", "cut", "flip", "zeros"])
            if file.stat().st_size:
                file.write_bytes(damaged(file.read_bytes(), kind, self.chance))
            self.complete = False
            self.note(f"{kind} in {file.name}", forgotten=range(len(self.texts)))

    def fill_disk(self):
        """No file may grow beyond a size any more: what is answered is kept, or the run says that it was not."""
        kilobytes, share = self.chance.choice([40, 100, 200]), self.chance.random()
        run = self.start()
        self.wait_amid(run, share)
        with suppress(ProcessLookupError):
            resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (kilobytes * 1024,) * 2)
        code = run.wait(60)
        assert "Traceback" not in run.err, run.err
        assert code in (0, 1, 2, 3), run.err
        told = "could not be kept" in run.out + run.err
        self.note(f"{code}, full at {kilobytes} kB at {share:.0%}", lost=len(self.texts) if told else 0)

    def retry_failed(self):
        """Failed rows are asked again, with or without success; all others stay."""
        self.poisoned = self.chance.random() < 0.5
        self.server.change(poison="POISON" if self.poisoned else None)
        self.settled = {row: value for row, value in self.settled.items() if value[0] == Status.SUCCEEDED}
        self.finish("--retry-failed")
        assert self.poisoned or all(status == Status.SUCCEEDED for status, _ in self.settled.values()), self.told

    def change_job(self):
        """Another model is refused, and nothing is sent or touched."""
        if not (self.out / "run.json").exists():
            return
        asked = self.server.stats()["requests"]
        run = self.start("--set", "model.name=qwen-max")
        assert run.wait() == 2
        assert "model.name" in run.err
        assert self.server.stats()["requests"] == asked
        self.note("changed job")

    def begin_anew(self):
        """`--fresh` moves all that there is aside, and is killed."""
        if not (self.out / "run.json").exists():
            return
        names = sorted(path.name for path in (self.out / "results").iterdir())
        before = set(self.place.glob("out.old-*"))
        run = self.start("--fresh")
        wait_until(lambda: set(self.place.glob("out.old-*")) - before)
        self.server.reset_stats()
        self.again = self.unkept = 0
        self.complete = False
        recent = killed_when(run, self.server, self.amid(run, self.chance.random()))
        self.note("--fresh, killed", lost=IN_FLIGHT + recent, forgotten=range(len(self.texts)))
        [aside] = set(self.place.glob("out.old-*")) - before
        assert sorted(path.name for path in (aside / "results").iterdir()) == names
        shutil.rmtree(aside)

    # The walk

    def walk(self, rounds, events):
        """Have each of the events once in every round, in any order; at last all rows can succeed, and do."""
        for _ in range(rounds):
            for name in self.chance.sample(events, len(events)):
                getattr(self, name)()
                self.check()
        self.poisoned = False
        self.server.change(poison=None)
        self.finish()
        self.settled = {row: value for row, value in self.settled.items() if value[0] == Status.SUCCEEDED}
        self.finish("--retry-failed")
        for aside in self.out.glob("*.damaged-*"):
            aside.unlink()
        table = assert_whole(self.out, self.texts)
        assert sum(table["attempts"].to_pylist()) <= self.server.stats()["requests"]

    def check(self):
        """Every settled row has its own right answer, or has failed because it had to."""
        for row, (status, completion) in self.settled.items():
            if status == Status.FAILED:
                assert self.texts[row].startswith("POISON"), f"row {row} failed: {self.told}"
            else:
                assert completion == expected_answer(messages(self.texts[row])), f"row {row}: {self.told}"


SHORT = [
    "kill",
    "interrupt",
    "damage",
    "run",
    "begin_anew",
    "kill",
    "retry_failed",
    "change_job",
    "interrupt",
    "damage",
]


@pytest.mark.parametrize(
    ("rows", "seed", "rounds", "events"),
    [
        (200, 1, 2, SHORT),
        *(pytest.param(300, seed, 20, [*SHORT, "fill_disk"], marks=pytest.mark.slow) for seed in range(2, 6)),
        pytest.param(10_200, 7, 4, [*SHORT, "fill_disk"], marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(3600)
def test_runs_agree_with_the_model(spare, simulator, tmp_path, rows, seed, rounds, events):
    """After any order of events every row is right, and no answer is paid for twice but those that a kill may cost."""
    server = simulator(latency_ms=15, latency_sigma=0.5)
    run = WholeRun(spare, server, tmp_path / "place", rows, seed)
    try:
        run.walk(rounds, events)
    finally:
        print(*run.told, sep="\n")
