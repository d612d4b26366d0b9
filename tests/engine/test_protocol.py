"""The engine seam: a second engine, of the tests, brings the same rows to the same results; requests travel."""

import multiprocessing
from pathlib import Path

import anyio
import pytest

import batchgen
from batchgen.api import arun
from batchgen.engine.control import Control
from batchgen.engine.model_requests import ModelRequests
from batchgen.engine.protocol import EngineFigures
from batchgen.engine.work import RowInProgress
from batchgen.errors import ProviderStop
from batchgen.job.endpoint import Endpoint, endpoint_of
from batchgen.job.requests import request_parts
from batchgen.money.ledger import Charges
from batchgen.pace.retry import is_retryable
from batchgen.secret import Secret
from batchgen.simulator import Settings, start_in_thread
from batchgen.transport import open_transport
from batchgen.values import Completion, Failure, Prompt, Result, Verdict

ROOT = Path(__file__).parents[2]
JOBS = sorted((ROOT / "jobs").glob("*.toml"))
SAME = (
    "row_id",
    "status",
    "completion",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "cost",
    "attempts",
    "parsed",
)
KEY = "sk-test-0123456789abcdef"


class OneByOne:
    """An engine that asks one row after the other and tries each request six times, without any pacing."""

    most_in_flight = 1

    def __init__(self, parts):
        self.parts = parts
        requests = parts.requests
        self.requests = ModelRequests(
            requests.provider,
            requests.model,
            stream=requests.job.model.stream,
            attachments=requests.attachments,
        )
        self.transport = open_transport(
            "fast", base_url=requests.endpoint.base_url, secrets=requests.secrets, concurrency=1
        )
        self.error, self.interrupted, self.refused = None, False, 0

    async def run(self, rows, out):
        async with self.transport:
            while await rows.more():
                for row in rows:
                    if self.error is not None or self.interrupted:
                        return
                    if out.congested:
                        await out.wait_for_room()
                    if isinstance(row, Result):
                        out.emit(row)
                    else:
                        await self.ask(row, out)

    async def ask(self, row, out):
        outcome = await self.turns(row, out)
        if isinstance(outcome, Failure) and outcome.verdict is Verdict.STOP:
            self.stop(ProviderStop(self.parts.results.masker.message(outcome.message)))
            out.spend(self.parts.results.unfinished(row))
        else:
            instead = out.emit(self.parts.dialogue.finish(row, outcome, self.parts.results.result(row, outcome)))
            if instead is not None:
                await self.ask(instead, out)

    async def turns(self, row, out):
        self.parts.dialogue.resume(row)
        while True:
            outcome = await self.tries(row)
            step = self.parts.dialogue.next(row, outcome) if isinstance(outcome, Completion) else outcome
            if not isinstance(step, Charges):
                return step
            out.spend(step)

    async def tries(self, row):
        for _ in range(6):
            row.tally.requests += 1
            if row.prompt.attached:
                row.prompt = await self.requests.load(row.prompt)
            request = self.requests.build(row.prompt)
            response = await self.transport.send(request, timeout_s=60)
            outcome = response if isinstance(response, Failure) else self.requests.read(request, response)
            if not is_retryable(outcome):
                return outcome
            if outcome.usage is not None:
                self.parts.results.bill(row, outcome)
        return outcome

    def stop(self, reason):
        self.error = self.error or reason

    def interrupt(self):
        self.interrupted = True

    def change(self, limits):
        """Nothing of it is limited."""

    def figures(self):
        return EngineFigures(self.refused, None, self.parts.budget.possibly_billed, self.error, self.interrupted)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a job by name against a simulator with these faults; return the summary and the results."""
    monkeypatch.chdir(ROOT)
    simulators = []

    def once(path, output, engine=None, control=None, **faults):
        simulators.append(start_in_thread(Settings(seed=5, **faults)))
        job = batchgen.load_job(path, **{"output.path": str(tmp_path / output), "input.limit": 40})
        endpoint = Endpoint(simulators[-1].url, Secret(KEY), "http://simulator")
        summary = anyio.run(lambda: arun(job, endpoint=endpoint, engine=engine, control=control))
        return summary, simulators[-1].stats()

    yield once
    for simulator in simulators:
        simulator.close()


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_a_second_engine_brings_the_same_rows_to_the_same_results(run, tmp_path, path):
    """Rows, answers, tokens and costs are equal; only who sends them, and when, differs."""
    (first, first_served), (second, second_served) = run(path, "a"), run(path, "b", OneByOne)
    assert first.state == second.state == "complete"
    mine, theirs = (batchgen.read_results(tmp_path / name).to_pylist() for name in "ab")
    assert len(mine) == first.rows > 0
    assert [[row.get(name) for name in SAME] for row in mine] == [[row.get(name) for name in SAME] for row in theirs]
    assert (first.cost, first.attempts, first.shared) == (second.cost, second.attempts, second.shared)
    assert first_served["billed"] == second_served["billed"]


def test_a_second_engine_keeps_what_it_has_when_it_stops_and_goes_on(run, tmp_path):
    """A wrong key stops it with the rows pending; the online engine then finishes what the other began."""
    path = ROOT / "jobs" / "email_extraction.toml"
    summary, _ = run(path, "out", OneByOne, api_key="sk-another")
    assert (summary.state, summary.error["kind"], summary.succeeded) == ("stopped", "ProviderStop", 0)
    control = Control()
    control.interrupt()
    summary, served = run(path, "out", OneByOne, control=control)
    assert (summary.state, served["requests"]) == ("interrupted", 0)
    summary, _ = run(path, "out")
    assert (summary.state, summary.pending) == ("complete", 0)


def build_elsewhere(job, prompt, answer):
    """In another process: make the job's request from the job and that process's own environment."""
    import os

    os.environ["DASHSCOPE_API_KEY"] = "sk-of-the-other-process"
    parts = request_parts(job, endpoint_of(job))
    request = parts.provider.build_request(prompt, stream=False)
    answer.put((request.url, request.body, parts.endpoint.key.reveal()))


def test_requests_can_be_made_in_another_process(monkeypatch):
    """The job and the prompts are sent there as plain values, the key is not: each process reads its own."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    monkeypatch.chdir(ROOT)
    job = batchgen.load_job(ROOT / "jobs" / "email_extraction.toml")
    parts = request_parts(job, endpoint_of(job))
    prompt = parts.template.render(dict.fromkeys(parts.template.columns, "Where is my parcel?"))
    assert isinstance(prompt, Prompt)
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    other = context.Process(target=build_elsewhere, args=(job, prompt, answer))
    other.start()
    url, body, key = answer.get(timeout=60)
    other.join()
    request = parts.provider.build_request(prompt, stream=False)
    assert (url, body) == (request.url, request.body)
    assert key == "sk-of-the-other-process"


def test_a_row_in_progress_carries_no_key():
    """What an engine is given of a row is its number and its prompt."""
    assert set(RowInProgress.__struct_fields__) >= {"row", "prompt"}
    with pytest.raises(TypeError, match="not pickled"):
        multiprocessing.reduction.ForkingPickler.dumps(Secret(KEY))
