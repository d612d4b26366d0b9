"""`batchgen.map` and its kin against the simulated provider: whole runs from Python."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel, Field

import batchgen
from batchgen.job.settings import Job, load_job
from batchgen.simulator import Settings, start_in_thread

ROOT = Path(__file__).parents[2]
MODEL = {
    "model": "qwen-flash",
    "simulate": True,
    "parameters": {"temperature": 0, "max_tokens": 64, "enable_thinking": False},
}
TEXTS = [{"id": f"t{n}", "text": f"message number {n}"} for n in range(12)]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    """The default output is below the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOME_KEY", "any")


def test_labels_stand_beside_the_rows(capfd):
    """The frame that went in, with the label, status and cost of each row; nothing is printed."""
    frame = pd.DataFrame(TEXTS, index=range(100, 112))
    run = batchgen.map(frame, user="Sort: {{ text }}", labels=["bug", "praise"], id="id", **MODEL)
    assert run.table.index.tolist() == list(range(100, 112))
    assert run.table["text"].tolist() == [row["text"] for row in TEXTS]
    assert set(run.table["label"]) <= {"bug", "praise"}
    assert run.table["status"].tolist() == ["succeeded"] * 12
    assert run.cost == sum(run.table["cost"], Decimal(0))
    assert len(run.failed) == 0
    assert run.summary.state == "complete"
    assert run.summary.simulated
    assert capfd.readouterr() == ("", "")


class Urgency(Enum):
    LOW = "low"
    HIGH = "high"


class Ticket(BaseModel):
    customer: str | None = Field(description="Who writes.")
    amount: float = Field(ge=0, le=1000, description="What is owed.")
    urgency: Urgency = Field(alias="howUrgent", description="How soon.")


def test_a_pydantic_model_gives_typed_columns():
    """Aliases, enums and constraints are the schema's; every answer makes a valid object of the model again."""
    run = batchgen.map(pl.DataFrame(TEXTS), user="{{ text }}", schema=Ticket, **MODEL)
    assert isinstance(run.table, pl.DataFrame)
    for row in run.table.to_dicts():
        ticket = Ticket.model_validate({name: row[name] for name in ("customer", "amount", "howUrgent")})
        assert 0 <= ticket.amount <= 1000


def test_the_same_call_sends_nothing_again(tmp_path):
    """Everything that was answered is at hand, also for another process that makes the same call."""
    with start_in_thread(Settings()) as provider:

        def ask(**more):
            return batchgen.map(
                TEXTS,
                user="{{ text }}",
                model="qwen-flash",
                base_url=provider.url + "/compatible-mode/v1",
                api_key_env="SOME_KEY",
                **more,
            )

        first = ask()
        sent = provider.stats()["requests"]
        again = ask()
        assert provider.stats()["requests"] == sent == 12
        assert again.table == first.table
        more = batchgen.map(
            [*TEXTS, {"id": "new", "text": "one more"}], user="{{ text }}", model="qwen-flash",
            base_url=provider.url + "/compatible-mode/v1", api_key_env="SOME_KEY",
        )  # fmt: skip
        assert provider.stats()["requests"] == 13
        assert [row["completion"] for row in more.table[:12]] == [row["completion"] for row in first.table]


def test_a_run_that_stops_raises_with_what_is_answered():
    """At its budget; the answers are kept, and the same call with more money goes on."""
    call = {"user": "{{ text }}", **MODEL}
    with pytest.raises(batchgen.RunStopped, match="budget") as stopped:
        batchgen.map(TEXTS, budget=0.00003, **call)
    assert isinstance(stopped.value, batchgen.BatchgenError)
    assert stopped.value.summary.pending > 0
    states = [row["status"] for row in stopped.value.run.table]
    assert states.count("succeeded") == stopped.value.summary.succeeded
    assert batchgen.map(TEXTS, budget=0.00003, raise_on_stop=False, **call).summary.state == "stopped"
    assert batchgen.map(TEXTS, budget=1, **call).summary.state == "complete"


def test_a_plan_says_what_the_run_would_cost():
    """Nothing is sent for it, and what is run is what was planned."""
    plan = batchgen.plan(TEXTS, user="{{ text }}", output="planned", **MODEL)
    assert plan.estimate.rows == 12
    assert plan.cost.high > 0
    assert "12 rows" in repr(plan)
    assert plan.run().cost <= plan.cost.high


def test_a_job_goes_both_ways_between_notebook_and_command(tmp_path):
    """The call as a job file means the same job; a job file and its tables can be called with changes."""
    run = batchgen.map(TEXTS, user='{{ text }} "quoted"\nand more', schema=Ticket, limits={"concurrency": 3}, **MODEL)
    (tmp_path / "job.toml").write_text(run.to_toml())
    assert load_job(tmp_path / "job.toml", input="rows.parquet", output=run.job.output.path) == run.job
    assert Job.from_toml(run.to_toml()) == Job.from_dict(run.job.to_dict()) == run.job
    other = batchgen.map(TEXTS, job=run.job, parameters={"max_tokens": 9}, simulate=True, output="other")
    assert (other.job.model.parameters, other.job.limits.concurrency) == ({"max_tokens": 9}, 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"user": "{{ txet }}"}, 'did you mean "text"'),
        ({"user": "{{ text }}", "tempreature": 0}, "no argument tempreature"),
        ({"user": "{{ text }}", "limits": 5}, r"\[limits\]"),
        ({"user": "{{ text }}", "schema": 5}, "pydantic model"),
        ({"user": "{{ text }}", "labels": ["a", "a"]}, "label"),
    ],
)
def test_mistakes_are_named(arguments, said):
    """Before anything is sent."""
    with pytest.raises(batchgen.BatchgenError, match=said):
        batchgen.map(TEXTS, **{**MODEL, **arguments})


def test_few_shot_examples_from_a_table():
    """Examples in memory are turns before every row, and part of what the run is."""
    examples = pl.DataFrame({"text": ["It crashes"], "answer": ["bug"]})
    run = batchgen.map(TEXTS, user="{{ text }}", labels=["bug", "praise"], examples=examples, **MODEL)
    assert run.summary.succeeded == 12
    with pytest.raises(batchgen.BatchgenError, match="answer"):
        batchgen.map(TEXTS, user="{{ text }}", labels=["x", "y"], examples=examples, **MODEL)


@pytest.mark.anyio
async def test_beside_a_running_loop_and_many_at_once():
    """A notebook's loop runs already; two awaited runs go on at the same time and the loop stays free."""
    run = batchgen.map(TEXTS, user="{{ text }}", output="sync", **MODEL)
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())
    one, two = await asyncio.gather(
        batchgen.amap(TEXTS, user="A {{ text }}", **MODEL), batchgen.amap(TEXTS, user="B {{ text }}", **MODEL)
    )
    ticking.cancel()
    assert {run.summary.state, one.summary.state, two.summary.state} == {"complete"}
    assert one.output != two.output
    assert ticks > 10


def test_many_maps_in_threads():
    """Nothing is shared between runs of one process but the machine."""
    runs = {}

    def ask(number):
        runs[number] = batchgen.map(TEXTS, user=f"{number} {{{{ text }}}}", output=f"run-{number}", **MODEL)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [runs[number].summary.succeeded for number in range(4)] == [12] * 4


@pytest.mark.anyio
async def test_rows_as_they_end():
    """Each row once, with its own columns; leaving early keeps what is there, and the rest follows later."""
    seen = []
    async for row in batchgen.stream(TEXTS, user="{{ text }}", labels=["a", "b"], limits={"concurrency": 2}, **MODEL):
        seen.append(row)
        if len(seen) == 3:
            break
    rest = [
        row
        async for row in batchgen.stream(
            TEXTS, user="{{ text }}", labels=["a", "b"], limits={"concurrency": 2}, **MODEL
        )
    ]
    places = [row["row"] for row in (*seen, *rest)]
    assert len(places) == len(set(places))
    assert all(row["text"] == TEXTS[row["row"]]["text"] and row["label"] in ("a", "b") for row in (*seen, *rest))
    assert len(rest) < 12


def test_an_interrupt_keeps_what_is_paid(tmp_path):
    """Ctrl-C in a plain script: the run comes back, says so, and the same script goes on with the rest."""
    script = textwrap.dedent(
        """
        import sys, batchgen
        rows = [{"text": f"message {n}"} for n in range(400)]
        run = batchgen.map(rows, user="{{ text }}", model="qwen-flash", simulate=True, limits={"concurrency": 4},
                           progress=True)
        print(run.summary.state, run.summary.succeeded, run.summary.attempts, flush=True)
        """
    )
    program = [sys.executable, "-c", script]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    for line in iter(lambda: process.stderr.read(1), ""):
        if line == "%":  # the bar has been drawn: rows are being asked
            break
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    state, answered, _ = out.split()
    assert (state, process.returncode) == ("interrupted", 0)
    done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, check=True, timeout=100)
    assert done.stdout.split() == ["complete", "400", "400"]
    assert int(answered) < 400


def test_a_killed_script_goes_on(tmp_path):
    """After kill -9 at most what was in flight is asked again."""
    script = textwrap.dedent(
        """
        import sys, batchgen, pandas
        rows = pandas.DataFrame({"text": [f"message {n}" for n in range(300)]})
        run = batchgen.map(rows, user="{{ text }}", model="qwen-flash", limits={"concurrency": 4},
                           base_url=sys.argv[1], api_key_env="SOME_KEY")
        print(run.summary.state, run.summary.succeeded, len(run.table))
        """
    )
    with start_in_thread(Settings(latency_ms=20)) as provider:
        program = [sys.executable, "-c", script, provider.url + "/compatible-mode/v1"]
        process = subprocess.Popen(program, cwd=tmp_path)
        while provider.stats()["requests"] < 200:
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path, check=True, timeout=100)
        assert done.stdout.split() == ["complete", "300", "300"]
        assert provider.stats()["requests"] <= 300 + 100  # in flight, and answered since the last commit


@dataclass
class Parcel:
    weight: float
    fragile: bool


def test_a_dataclass_is_a_schema_too():
    """A plain one, read by pydantic."""
    run = batchgen.map(TEXTS[:2], user="{{ text }}", schema=Parcel, **MODEL)
    assert all(isinstance(row["weight"], float) and isinstance(row["fragile"], bool) for row in run.table)


def test_columns_with_the_names_of_results_stay_beside_them():
    """The rows keep their own `status` and `label`; the answer's get another name."""
    frame = pd.DataFrame({"text": ["a", "b"], "status": [7, 8], "label": ["q", "w"]})
    run = batchgen.map(frame, user="{{ text }}", labels=["x", "y"], **MODEL)
    assert run.table["status"].tolist() == [7, 8]
    assert run.table["label"].tolist() == ["q", "w"]
    assert run.table["batchgen_status"].tolist() == ["succeeded"] * 2
    assert set(run.table["parsed_label"]) <= {"x", "y"}
    assert len(run.failed) == 0


def test_type_checkers_see_the_types(tmp_path):
    """A mistyped argument is an error before anything runs, and what comes back is known."""
    pytest.importorskip("mypy", reason="mypy is in the extra dev")
    script = tmp_path / "calls.py"
    script.write_text(
        "import batchgen\n"
        'run: batchgen.Run = batchgen.map(["x"], user="{{ text }}", model="m", labels={"a", "b"}, budget=1)\n'
        'batchgen.map(["x"], user="{{ text }}", modle="m")\n'
    )
    mypy = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", tmp_path / "cache"]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    check = subprocess.run([*mypy, script], capture_output=True, text=True, check=False, env=environment)
    errors = [line for line in check.stdout.splitlines() if "calls.py:" in line]
    assert any(":3: error: " in line and 'Unexpected keyword argument "modle"' in line for line in errors), check.stdout
    assert not any(":2: error" in line for line in errors)


def test_calls_with_one_output_at_once():
    """One of them runs; the others are told who has the directory, or find the run complete. Nothing is paid twice."""
    with start_in_thread(Settings(latency_ms=5)) as provider:
        base_url = provider.url + "/compatible-mode/v1"
        ended = []

        def ask():
            call = {"model": "qwen-flash", "base_url": base_url, "api_key_env": "SOME_KEY", "output": "shared"}
            try:
                ended.append(batchgen.map(TEXTS, user="{{ text }}", **call).summary.state)
            except batchgen.BatchgenError as error:
                ended.append(str(error))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert "complete" in ended, ended
        assert provider.stats()["requests"] == 12
