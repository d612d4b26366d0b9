"""A run by batches in virtual time: the simulated vendor in this thread, its clock the engine's own."""

import random
import shutil
from decimal import Decimal
from functools import partial
from pathlib import Path

import anyio
import anyio.lowlevel

from batchgen.api import acancel, arun
from batchgen.engine.batches import build
from batchgen.engine.protocol import EngineFigures
from batchgen.engine.reporter import Reporter
from batchgen.errors import BudgetStop
from batchgen.job.endpoint import Endpoint
from batchgen.secret import Secret
from batchgen.simulator import Behaviour, HttpRequest, Settings
from batchgen.transport.upload import body_of
from batchgen.values import Completion, Failure, FailureKind, Response, Result, Usage, Verdict

HOST = "http://127.0.0.1:9"
BEGAN_S = 1_800_000_000.0
LIVE_COST = Decimal("0.0004")
"""What a row costs that is asked live, and what is reserved for it."""


class Clock:
    """The wall clock: it goes on when somebody sleeps. `back_s`: the run's own is so much behind the vendor's."""

    def __init__(self):
        self.now_s = BEGAN_S
        self.back_s = 0.0

    def __call__(self):
        return self.now_s - self.back_s

    async def sleep(self, seconds):
        self.now_s += seconds
        await anyio.lowlevel.checkpoint()


class Client:
    """Makes the calls of files and batches in this thread; `calls` counts those of each kind."""

    def __init__(self, behaviour, clock):
        self._behaviour = behaviour
        self._clock = clock

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        return None

    async def _reply(self, call):
        await anyio.lowlevel.checkpoint()
        self._clock.now_s += 0.2
        headers = {name.lower(): value for name, value in call.headers.items()} | {"authorization": "Bearer k"}
        body = b""
        if call.method == "POST":
            sent = body_of(call)
            body = b"".join([part async for part in sent.parts(lambda: None)])
            headers["content-type"] = sent.type or "application/json"
        request = HttpRequest(call.method, call.url.removeprefix(HOST), headers, body)
        return self._behaviour.reply(request, self._clock.now_s)

    async def call(self, call, *, timeout_s):
        reply = await self._reply(call)
        if reply.fault in ("reset", "reset_body", "truncate", "hang"):
            return Failure(FailureKind.NETWORK, Verdict.RETRY, "the connection was cut", maybe_billed=True)
        return Response(reply.status, dict(reply.headers), reply.body)

    async def download(self, call, path, *, timeout_s):
        reply = await self._reply(call)
        if reply.fault is not None:
            return Failure(FailureKind.NETWORK, Verdict.RETRY, "the connection was cut", maybe_billed=True)
        if reply.file is None:
            return Response(reply.status, dict(reply.headers), reply.body)
        shutil.copyfile(reply.file.path, path)
        return Response(reply.status, {}, b"")


class Live:
    """Asks rows live: twenty in a virtual second, each for `LIVE_COST`, inside the budget."""

    most_in_flight = 20
    asked = 0

    def __init__(self, parts, clock):
        self._parts = parts
        self._clock = clock
        self.error = None
        Live.asked = 0

    async def run(self, rows, out):
        while True:
            for row in rows:
                assert not isinstance(row, Result)
                if not self._parts.budget.reserve(LIVE_COST):
                    self.error = BudgetStop("no room for a live row")
                    return
                Live.asked += 1
                self._clock.now_s += 0.05
                row.tally.requests += 1
                answer = Completion("live", "stop", Usage(20, 20, 40))
                self._parts.budget.settle(LIVE_COST, Decimal(0))
                cost = self._parts.results.cost(row, answer)
                self._parts.budget.settle(Decimal(0), cost.input + cost.output)
                out.emit(self._parts.results.result(row, answer))
            if not await rows.more():
                return

    def stop(self, reason):
        self.error = self.error or reason

    def interrupt(self):
        pass

    def change(self, limits):
        pass

    def figures(self):
        return EngineFigures(0, None, self._parts.budget.possibly_billed, self.error, interrupted=False)


class Notes(Reporter):
    """Keeps what a run says."""

    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


class VirtualVendor:
    """A vendor, its clock, and runs against it."""

    def __init__(self, directory, monkeypatch, **settings):
        self.clock = Clock()
        self.behaviour = Behaviour(
            Settings(batch_speed=1, **settings),
            wall_clock=lambda: self.clock.now_s,
            directory=Path(directory) / "vendor",
        )
        monkeypatch.setattr(build, "open_file_client", lambda *_: Client(self.behaviour, self.clock))
        monkeypatch.setattr(build, "LOOK_AGAIN_S", 60.0)
        self.notes = Notes()
        Live.asked = 0

    def run(self, job, **options):
        """Run a job and return its summary."""
        engine = partial(
            build.build_batch_engine,
            directory=Path(job.output.path),
            live=lambda parts: Live(parts, self.clock),
            clock=self.clock,
            sleep=self.clock.sleep,
            mode=options.pop("mode", "finish"),
            take_over=options.get("take_over", False),
        )
        endpoint = Endpoint(HOST + "/v1", Secret("k"), None)

        async def main():
            return await arun(job, endpoint=endpoint, engine=engine, reporter=self.notes, **options)

        return anyio.run(main)

    def cancel(self, job):
        """End the batches of the run in the job's output directory."""

        def engine(parts):
            return build.build_batch_engine(
                parts,
                directory=Path(job.output.path),
                live=lambda parts: Live(parts, self.clock),
                clock=self.clock,
                sleep=self.clock.sleep,
                mode="cancel",
            )

        async def main():
            endpoint = Endpoint(HOST + "/v1", Secret("k"), None)
            return await acancel(job, endpoint=endpoint, engine=engine, reporter=self.notes)

        return anyio.run(main)

    @property
    def hours(self):
        """How many virtual hours have passed."""
        return (self.clock.now_s - BEGAN_S) / 3600

    def books(self):
        """Return the vendor's books."""
        return self.behaviour.told(prompts=False)

    stats = books


def random_history(rng: random.Random):
    """Return the settings of a vendor whose batches are slow, stuck, cancelled or expired at random."""
    shares = {
        name: round(rng.choice([0, 0, rng.random()]), 2)
        for name in (
            "stuck",
            "slow",
            "half_cancelled",
            "cancel_slow",
            "cancel_ignored",
            "long_validating",
            "row_missing",
        )
    }
    shares |= {name: rng.choice([0, 0.2]) for name in ("create_lost", "retrieve_500", "cancel_500", "list_lag")}
    return {
        "batch_hours": rng.choice([0.1, 1, 3, 8]),
        "batch_sigma": rng.choice([0, 0.4, 1]),
        "seed": rng.randrange(1000),
        "oddities": tuple(f"{name}={share}" for name, share in shares.items() if share),
    }
