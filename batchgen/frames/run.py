"""`map`, `plan` and `stream`: rows in memory asked as a job asks those of a file, with the same files left behind."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import msgspec
import pyarrow as pa

from batchgen.api import arun
from batchgen.engine.control import Control
from batchgen.engine.reporter import Progress, Reporter
from batchgen.engine.summary import Summary
from batchgen.errors import BatchgenError
from batchgen.estimating.estimate import estimate as estimate_job
from batchgen.estimating.values import Estimate
from batchgen.files.modes import make_directory
from batchgen.frames.answers import StoredAnswers, answers_of
from batchgen.frames.arguments import Arguments
from batchgen.frames.jobs import MEMORY, job_table_of
from batchgen.frames.runner import Runner
from batchgen.frames.tables import Rows, read_rows
from batchgen.job.endpoint import Endpoint
from batchgen.job.settings import Job, parse_job
from batchgen.job.spooled_input import write_table
from batchgen.storage.lock import refuse_foreign
from batchgen.storage.result_schema import OWN_COLUMNS
from batchgen.text.figures import quantity
from batchgen.values import Result

_OUTPUTS = Path("out")
"""Where runs are kept that were given no output, below the working directory."""


class Run:
    """A run of `map`: its answers, what it cost, and the directory in which everything is kept.

    Example:
        >>> run = batchgen.map(frame, user="Sort this: {{ text }}", labels=["bug", "praise"], model="qwen-flash")
        >>> run.table        # the frame with the columns of the answers
        >>> run.cost, run.failed
    """

    def __init__(self, job: Job, rows: Rows, summary: Summary) -> None:
        self.job = job
        self.summary = summary
        self._rows = rows

    @property
    def output(self) -> Path:
        """The run's directory, which `batchgen show`, `report`, `evaluate` and the others read."""
        return Path(self.summary.path)

    @property
    def cost(self) -> Decimal | None:
        """What all runs of this job have cost, in `summary.currency`; None without a known price."""
        return self.summary.cost

    @cached_property
    def table(self) -> Any:
        """The rows as they came in, in the same order and of the same kind, with the columns of the answers.

        The fields of an answer are columns of their own, after `status`. Rows without an answer yet have nulls.
        """
        return self._rows.join(self._answers, None)

    @cached_property
    def failed(self) -> Any:
        """The rows that failed, of the same kind as came in; `error_kind` and `error_message` say why."""
        status = self._answers.column(self._status).to_pylist()
        return self._rows.join(self._answers, [place for place, word in enumerate(status) if word == "failed"])

    def show(self, count: int = 3) -> None:
        """Print the rows that ended last: input, prompt as it was sent, answer, tokens and cost."""
        from batchgen.results.rows import ResultRows
        from batchgen.results.select import Selection, select_rows
        from batchgen.results.show import RowViewer

        viewer = RowViewer()
        shown, _ = select_rows(ResultRows(self.output), Selection(most=count))
        print("\n\n".join(viewer.as_text(row) for row in shown))

    def report(self, html: str | Path | None = None) -> None:
        """Print what happened and what it cost, or write it as one page to the file `html`."""
        from batchgen.files.replace import named_file
        from batchgen.report.html import page
        from batchgen.report.page import page_documents
        from batchgen.report.read import read_report
        from batchgen.report.sections import report_text

        report = read_report(self.output)
        if html is None:
            print(report_text(report))
            return
        with named_file(Path(html)) as file:
            file.write(page(page_documents([report], print)).encode(errors="replace"))

    def to_toml(self) -> str:
        """Return the job as the text of a job file, for the command line; its rows are to be put at `rows.parquet`."""
        return self.job.to_toml()

    def __repr__(self) -> str:
        summary = self.summary
        cost = "" if summary.cost is None else f", {summary.cost.normalize():f} {summary.currency}"
        pending = f", {summary.pending:,} to do" if summary.pending else ""
        return (
            f"<batchgen.Run {summary.state}: {quantity(summary.rows, 'row')}, {summary.succeeded:,} succeeded, "
            f"{summary.failed:,} failed{pending}{cost}, in {summary.output}>"
        )

    @cached_property
    def _answers(self) -> pa.Table:
        return answers_of(self.output, self._rows.table)

    @property
    def _status(self) -> str:
        return next(name for name in ("status", "batchgen_status") if name in self._answers.column_names)


class RunStopped(BatchgenError):
    """A run stopped before its end: `summary` says where it stands, `run` has the answers. The same call goes on."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.summary = run.summary
        error = run.summary.error or {}
        super().__init__(f"{error.get('message', 'The run stopped.')} {error.get('remedy') or ''}".strip())


class Plan:
    """What `map` would do with the same arguments: `estimate` has tokens, money and time, `run` does it."""

    def __init__(self, call: _Call, estimate: Estimate) -> None:
        self._call = call
        self.job = call.job
        self.estimate = estimate

    @property
    def cost(self) -> Any:
        """Low, expected and high cost in `estimate.currency`; None without a known price."""
        return self.estimate.cost

    def run(self) -> Run:
        """Ask the rows, as `map` with the same arguments does."""
        return self._call.run()

    def __repr__(self) -> str:
        from batchgen.estimating.show import estimate_text

        return estimate_text(self.estimate)


def map(rows: Any, user: str | None = None, **arguments: Unpack[Arguments]) -> Run:
    """Ask every row of a table in memory once, and return the run with the answers beside the rows.

    Args:
        rows: A pandas or polars data frame, an Arrow table, a DuckDB relation, a Hugging Face dataset, a list of dicts
            (or of texts, which become the column `text`).
        user: The prompt, a Jinja2 template over a row's columns.
        **arguments: `model`, `system`, `messages`, `labels`, `schema` (a pydantic model or a JSON Schema), `examples`
            (a table), `votes`, `budget`, `id`, `limit`, `columns`, `gold`, `provider`, `base_url`, `api_key_env`,
            `parameters`, `output` (the run's directory; by default `out/map-` and a hash of the call), `name`, or any
            table of a job file as a dict (`limits={"concurrency": 8}`); `job` is a job, its tables or its file, to
            which the other arguments are changes.
            `progress=True` shows a bar, `retry_failed=True` tries failed rows again, `fresh=True` asks everything anew,
            `update=False` refuses an output with other rows or another question, `simulate=True` asks the built-in
            simulator, and `raise_on_stop=False` returns a run that stopped.

    The same call goes on with an unfinished run and pays only for what was in flight. With more or changed rows, or a
    changed question, an earlier run in the same output is moved aside, and what it has answered alike is taken from it.
    An interrupt (Ctrl-C, the notebook's stop button) keeps what is answered and returns the run, whose `summary.state`
    is then "interrupted".

    Raises:
        UsageError: An argument, the rows or the output directory are wrong; nothing was sent.
        RunStopped: The run stopped before its end, for example at its budget; what is answered is kept.

    Example:
        >>> run = batchgen.map(
        ...     [{"text": "I was charged twice"}, {"text": "Love it!"}],
        ...     user="{{ text }}", labels=["billing", "praise"], model="qwen-flash",
        ...     parameters={"temperature": 0, "enable_thinking": False}, budget=0.10,
        ... )
        >>> run.table
    """
    return _Call(rows, user, arguments).run()


async def amap(rows: Any, user: str | None = None, **arguments: Unpack[Arguments]) -> Run:
    """`map` for callers with an event loop, which stays free meanwhile. Being cancelled interrupts the run.

    Example:
        >>> first, second = await asyncio.gather(batchgen.amap(a, **job), batchgen.amap(b, **job))
    """
    return await _Call(rows, user, arguments).arun()


def plan(rows: Any, user: str | None = None, *, pilot: int = 0, **arguments: Unpack[Arguments]) -> Plan:
    """Say what `map` with the same arguments would cost, without asking anything; `pilot` rows are really sent.

    Example:
        >>> plan = batchgen.plan(frame, user="Sort this: {{ text }}", model="qwen-flash", pilot=50)
        >>> plan.cost.high
        >>> run = plan.run()
    """
    call = _Call(rows, user, arguments)
    return Plan(call, call.estimate(pilot))


async def stream(rows: Any, user: str | None = None, **arguments: Unpack[Arguments]) -> AsyncIterator[dict[str, Any]]:
    """Yield each row as it ends, as a dict: the row's own columns, its place `row`, and the columns of its answer.

    Arguments are those of `map`; rows that an earlier run has answered are not yielded again. Leaving the loop early
    interrupts the run, and the same call goes on.

    Example:
        >>> async for row in batchgen.stream(frame, user="{{ text }}", model="qwen-flash"):
        ...     print(row["row"], row["status"], row["completion"])
    """
    call = _Call(rows, user, arguments)
    answers = StoredAnswers(call.job.output.directory, call.rows.table)
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[Sequence[Result] | None] = asyncio.Queue()
    call.reporter = _Forwarding(call.reporter, lambda results: loop.call_soon_threadsafe(arrived.put_nowait, results))
    runner = call.start()
    runner.done.add_done_callback(lambda done: loop.call_soon_threadsafe(arrived.put_nowait, None))
    try:
        while (results := await arrived.get()) is not None:
            for row in answers.rows(results):
                yield row
        call.ended(await runner.result())
    finally:
        if not runner.done.done():
            runner.interrupt()
            await asyncio.shield(asyncio.wrap_future(runner.done))


class _Call:
    """One call of `map`: its job, its rows, and how it is run."""

    def __init__(self, rows: Any, user: str | None, arguments: Mapping[str, Any]) -> None:
        given = dict(arguments)
        self._progress = given.pop("progress", False)
        self._retry_failed = given.pop("retry_failed", False)
        self._fresh = given.pop("fresh", False)
        self._update = given.pop("update", not self._fresh)
        self._simulate = given.pop("simulate", False)
        self._raise_on_stop = given.pop("raise_on_stop", True)
        examples = given.pop("examples", None)
        table = job_table_of(given.pop("job", None), {"user": user, **given})
        self.rows = read_rows(rows, table.get("input", {}).get("id"))
        table.setdefault("name", "map")
        table.setdefault("input", {})["path"] = MEMORY
        output = table.setdefault("output", {})
        output.setdefault("columns", _carried(self.rows.table.column_names))
        if "path" not in output:
            output["path"] = str(_OUTPUTS / f"map-{_call_key(table)}")
        if isinstance(examples, (str, Path)):
            table.setdefault("prompt", {})["examples"] = str(examples)
        elif examples is not None:
            kept = _kept_examples(Path(output["path"]), examples)
            table.setdefault("prompt", {})["examples"] = str(kept)
        self.job = parse_job(table, "The job")
        self.reporter: Reporter = _bar() if self._progress else Reporter()
        self.control = Control()

    def start(self) -> Runner[Summary]:
        """Begin the run in a thread of its own."""
        runner = Runner(self._main, self.control)
        runner.start()
        return runner

    def run(self) -> Run:
        """Run to the end, an interrupt or a stop."""
        return self.ended(self.start().wait())

    async def arun(self) -> Run:
        """The same for callers with an event loop."""
        return self.ended(await self.start().result())

    def ended(self, summary: Summary) -> Run:
        """Return the run, or raise what it stopped for."""
        run = Run(self.job, self.rows, summary)
        if summary.state == "stopped" and self._raise_on_stop:
            raise RunStopped(run)
        return run

    def estimate(self, pilot: int) -> Estimate:
        """Return what the run would take."""
        with self._endpoint() as endpoint:
            return estimate_job(
                self.job,
                pilot=pilot,
                endpoint=endpoint,
                reporter=self.reporter,
                memory=self.rows.table,
                update=self._update,
            )

    async def _main(self) -> Summary:
        with self._endpoint() as endpoint:
            return await arun(
                self.job,
                endpoint=endpoint,
                reporter=self.reporter,
                control=self.control,
                fresh=self._fresh,
                update=self._update,
                retry_failed=self._retry_failed,
                rows=self.rows.table,
            )

    def _endpoint(self) -> AbstractContextManager[Endpoint | None]:
        if not self._simulate:
            return nullcontext()
        from batchgen.simulated import simulated_endpoint

        return simulated_endpoint(self.job)


class _Forwarding(Reporter):
    """Passes stored results on to a stream, and everything else to `below`."""

    def __init__(self, below: Reporter, forward: Any) -> None:
        self._below = below
        self._forward = forward

    def started(self, standing: Progress) -> None:
        self._below.started(standing)

    def stored(self, results: Sequence[Result]) -> None:
        self._forward(results)

    def moved(self, standing: Progress) -> None:
        self._below.moved(standing)

    def note(self, text: str) -> None:
        self._below.note(text)

    def finished(self, standing: Progress) -> None:
        self._below.finished(standing)


def _bar() -> Reporter:
    from batchgen.progress.bar import ProgressBar

    return ProgressBar(notebook=True)


def _carried(names: Sequence[str]) -> list[str] | str:
    """Return the rows' columns that can be kept with the answers: all but those with the name of a result column."""
    return [name for name in names if name not in OWN_COLUMNS] if OWN_COLUMNS & {*names} else "all"


def _kept_examples(directory: Path, examples: Any) -> Path:
    """Write examples that were given in memory to the run's directory."""
    rows = read_rows(examples).table
    refuse_foreign(directory)
    make_directory(directory)
    return write_table(directory, "examples", rows)[0]


def _call_key(table: Mapping[str, Any]) -> str:
    """Return what tells one question from another: a run over other rows of the same question is an update of it."""
    asked = {name: table[name] for name in ("prompt", "model", "response") if name in table}
    return hashlib.blake2b(msgspec.json.encode(asked, order="sorted", enc_hook=str), digest_size=6).hexdigest()
