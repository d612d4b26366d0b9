"""Commands one after another on one directory, in any order, against a small model of what each may say."""

import json
import shutil

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batchgen.errors import OutputError
from batchgen.results.committed import read_results
from batchgen.simulator import expected_answer
from batchgen.storage.run_state import read_run_json
from tests.cli.conftest import JOB
from tests.inputs import messages, write_csv

ROWS = 24
POISONED = {5, 11}


class Place:
    """A directory for one run, and what the model knows of it.

    `begun`: a run is there. `complete`: it has come to its end. `kept`: the estimate that a report of it will show.
    `published`: parts are there. `looked_at` counts nothing, it only names the steps in a failure.
    """

    def __init__(self, spare, server, place):
        self.spare, self.server, self.place = spare, server, place
        place.mkdir()
        self.out = place / "out"
        texts = [f"POISON {n}" if n in POISONED else f"row {n}" for n in range(ROWS)]
        self.texts = texts
        table = write_csv(place / "in.csv", texts)
        self.path = place / "job.toml"
        values = {"input": str(table), "provider": "dashscope", "base_url": server.url, "concurrency": 4}
        self.path.write_text(JOB.format(model="qwen-plus", **values))
        self.other_path = place / "other.toml"
        self.other_path.write_text(JOB.format(model="qwen-max", **values))
        self.begun = self.complete = self.kept = False
        self.steps = []

    def command(self, *arguments, codes, sends=True):
        """Run a command to its end; its exit code is one of `codes`, and its errors are sentences."""
        asked = self.server.stats()["requests"]
        run = self.spare.start(*arguments, cwd=self.place)
        code = run.wait(60)
        self.steps.append((" ".join(map(str, arguments[:2])), code))
        assert code in codes, (self.steps, run.err)
        assert "Traceback" not in run.err, (self.steps, run.err)
        if code == 2:
            assert [line for line in run.err.splitlines() if line.startswith("batchgen: ")], (self.steps, run.err)
        if not sends or code == 2:
            assert self.server.stats()["requests"] == asked, self.steps
        self.look()
        return code, run.out

    def look(self):
        """Nothing stands there that nobody can read; the state is the one of the model, once a run has ended."""
        state = read_run_json(self.out) if self.out.is_dir() else None
        assert (state is not None) == self.begun, self.steps
        if self.complete:
            assert state.state == "complete", self.steps
            assert (state.summary.rows, state.summary.pending) == (ROWS, 0)
        if state is not None:
            assert (state.estimate is not None) == self.kept, self.steps

    @property
    def published(self):
        return any((self.out / "results").glob("part-*.parquet"))

    @property
    def answered(self):
        """How many rows have a result, in parts or in the journal."""
        try:
            return read_results(self.out).num_rows
        except OutputError:
            return 0

    # The commands

    def check(self):
        self.command("check", self.path, "--output", self.out, codes=[0], sends=False)

    def check_other(self):
        self.command("check", self.other_path, "--output", self.out, codes=[2 if self.begun else 0], sends=False)

    def estimate(self):
        if self.begun and not self.complete:
            self.kept = True
        _, out = self.command("estimate", self.path, "--json", "--set", self.target, codes=[0], sends=False)
        assert json.loads(out)["rows"] == ROWS

    def estimate_unbounded(self):
        """Without max_tokens nothing bounds the answers. It is another job: what it says is kept with no run."""
        parameters = "model.parameters={}"
        self.command("estimate", self.path, "--set", parameters, "--set", self.target, codes=[0], sends=False)

    def estimate_other(self):
        self.command("estimate", self.other_path, "--set", self.target, codes=[0], sends=False)

    def estimate_there(self):
        """The table of its rows goes into the directory of the run, or makes it; the run there keeps its totals."""
        if self.begun and not self.complete:
            self.kept = True
        _, out = self.command("estimate", self.path, "--output", self.out, "--json", codes=[0], sends=False)
        assert json.loads(out)["rows"] == ROWS
        assert (self.out / "estimate.parquet").stat().st_mode & 0o077 == 0

    def pilot(self):
        was, self.begun = self.begun, True
        if not self.complete:
            self.kept = True
        self.command("estimate", self.path, "--pilot", "3", "--no-progress", "--set", self.target, codes=[0])
        assert was or not self.published

    @property
    def target(self):
        return f"output.path={self.out}"

    def run(self, *more):
        was = self.complete and more in ((), ("--update",))
        self.begun = self.complete = True
        if "--fresh" in more:
            self.kept = False
        _, out = self.command(
            "run", self.path, "--json", "--no-progress", "--output", self.out, *more, codes=[1], sends=not was
        )
        summary = json.loads(out)
        assert (summary["state"], summary["rows"], summary["failed"]) == ("complete", ROWS, len(POISONED))
        table = read_results(self.out)
        assert table["text"].to_pylist() == self.texts
        for row, answer in enumerate(table["completion"].to_pylist()):
            assert answer == (None if row in POISONED else expected_answer(messages(self.texts[row])))

    def retry_failed(self):
        self.run("--retry-failed")

    def fresh(self):
        self.run("--fresh")

    def update(self):
        """Where nothing has changed it is a run like any other."""
        self.run("--update")

    def update_other(self):
        """Another model: the run that is there is moved aside whole, and the one asked for stands in its place."""
        if not self.begun:
            return
        old = {path.name for path in self.place.glob("out.old-*")}
        self.kept = self.complete = False
        self.command("run", self.other_path, "--output", self.out, "--no-progress", "--update", codes=[1])
        assert len({path.name for path in self.place.glob("out.old-*")} - old) == 1, self.steps
        served = self.server.stats()["served"]
        self.run("--update")
        assert self.server.stats()["served"] - served <= ROWS

    def check_update(self):
        """It says how many rows would be asked, and sends nothing."""
        _, out = self.command("check", self.path, "--output", self.out, "--update", "--json", codes=[0], sends=False)
        plan = json.loads(out)["reuse"]
        assert plan["asked"] + plan["reused"] == ROWS, self.steps
        if self.complete:
            assert plan["asked"] == len(POISONED), self.steps

    def run_other(self):
        if self.begun:
            self.command("run", self.other_path, "--output", self.out, "--no-progress", codes=[2])

    def kill(self):
        """SIGKILL amid a run, or of a run that had nothing to do."""
        served = self.server.stats()["served"]
        run = self.spare.start("run", self.path, "--no-progress", "--output", self.out, cwd=self.place)
        while run.running and self.server.stats()["served"] < served + 6:
            pass
        run.send(9)
        run.wait()
        self.steps.append(("kill", run.code))
        self.begun = (self.out / "run.json").exists()
        self.complete = self.begun and read_run_json(self.out).state == "complete"
        self.look()

    def status(self):
        code, out = self.command("status", self.out, "--json", codes=[0 if self.begun else 2], sends=False)
        if code == 0 and self.complete:
            counts = json.loads(out)["summary"]
            assert (counts["succeeded"], counts["failed"]) == (ROWS - len(POISONED), len(POISONED))

    def report(self):
        code, out = self.command("report", self.out, "--json", codes=[0 if self.begun else 2], sends=False)
        if code == 0:
            told = json.loads(out)
            assert told["state"] in (["complete"] if self.complete else ["killed", "stopped"])
            assert (told["estimate"] is not None) == self.kept
            assert told["published"] == self.answered

    def page(self):
        page = self.out / "report.html"
        code, _ = self.command("report", self.out, "--html", page, codes=[0 if self.begun else 2], sends=False)
        assert code == 2 or page.stat().st_mode & 0o077 == 0

    def evaluate(self):
        measures = self.out / "measures.parquet"
        codes = [0 if self.answered else 2]
        code, _ = self.command("evaluate", self.out, "--gold", "text", "--parquet", measures, codes=codes, sends=False)
        assert code == 2 or measures.exists()

    def diff(self):
        codes = [0 if self.answered else 2]
        _, out = self.command("diff", self.out, self.out, "--json", codes=codes, sends=False)
        assert not out or json.loads(out)["changed_rows"] == 0

    def clear(self):
        """The user deletes what is there, and begins again."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.begun = self.complete = self.kept = False


COMMANDS = [
    name
    for name in vars(Place)
    if not name.startswith("_") and name not in ("command", "look", "published", "answered", "target")
]


@pytest.mark.parametrize("most", [4, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.timeout(3600)
def test_any_order_of_commands(spare, simulator, tmp_path, most):
    """Whatever came before, each command does its work, or refuses with a sentence and touches nothing."""
    server = simulator(latency_ms=5, poison="POISON")
    places = iter(range(10**9))

    @settings(
        max_examples=most,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(st.lists(st.sampled_from(COMMANDS), min_size=2, max_size=7))
    @example(["estimate_there", "check", "run", "estimate", "report", "page"])
    @example(["kill", "estimate_unbounded", "estimate_other", "report", "run", "report", "evaluate", "diff"])
    @example(["pilot", "report", "evaluate", "kill", "estimate", "run", "page", "status", "retry_failed", "status"])
    @example(["evaluate", "diff", "status", "report", "run_other", "check_other", "kill", "check_other", "run_other"])
    @example(["run", "update_other", "update", "check_update", "kill", "update_other", "retry_failed", "report"])
    @example(["kill", "update", "update_other", "check_update", "fresh", "update", "status", "diff"])
    @example(["run", "evaluate", "page", "fresh", "report", "retry_failed", "run", "estimate_there", "fresh"])
    def walk(names):
        place = Place(spare, server, tmp_path / f"place-{next(places)}")
        for name in names:
            getattr(place, name)()
        shutil.rmtree(place.place)

    walk()
