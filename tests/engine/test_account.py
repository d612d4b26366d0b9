"""Runs that share an account over files and a socket in the user's state directory."""

import asyncio
import fcntl
import os
import random
import signal
import socket
import stat
import time
from contextlib import suppress

import pytest

from batchgen.engine.account import Account, account_directory
from batchgen.pace.limiter import Limiter, LimiterClosed
from batchgen.pace.shared_pacer import Role, SharedPacer
from batchgen.pace.values import Limits
from batchgen.values import Completion, Failure, FailureKind, Throttle, Usage, Verdict
from tests.benchmarks.sharing import Account as Processes

REFUSED = Failure(FailureKind.RATE_LIMITED, Verdict.WAIT, "slow down", http_status=429, throttle=Throttle.REQUESTS)
ANSWER = Completion("yes", "stop", Usage(10, 5, 15))


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """A state directory of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


class Provider:
    """Admits `per_s` requests in buckets of 0.2 s; answers after 50 ms."""

    def __init__(self, per_s):
        self.per_s, self.level, self.at_s = per_s, 0.2 * per_s, time.monotonic()
        self.refused = 0
        self.answered_at = []

    async def ask(self):
        """Return what becomes of a request."""
        now_s = time.monotonic()
        self.level = min(0.2 * self.per_s, self.level + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        if self.level < 1:
            self.refused += 1
            await asyncio.sleep(0.01)
            return REFUSED
        self.level -= 1
        await asyncio.sleep(0.05)
        self.answered_at.append(time.monotonic())
        return ANSWER


class Run:
    """A run with `workers` requests at a time, as far as the pace is concerned."""

    def __init__(self, provider, name="shared", workers=20, **limits):
        self.provider, self.rows, self.notes = provider, 0, []
        self.pacer = SharedPacer(Limits(concurrency=workers, **limits), random.Random(1), time.monotonic())
        self.limiter = Limiter(self.pacer)
        self.account = Account(name, self.pacer, self.limiter, self.notes.append)
        self.tasks = [asyncio.create_task(self.account.keep())]
        self.tasks += [asyncio.create_task(self.work()) for _ in range(workers)]

    async def work(self):
        """Ask one row after the other."""
        with suppress(LimiterClosed):
            while True:
                ticket = await self.limiter.acquire(20.0)
                outcome = await self.provider.ask()
                self.limiter.settle(ticket, outcome)
                self.rows += isinstance(outcome, Completion)

    async def end(self):
        """End the run."""
        self.limiter.stop()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def until(holds, for_s=8.0):
    """Wait until something holds."""
    async with asyncio.timeout(for_s):
        while not holds():  # noqa: ASYNC110 - what holds is of no event
            await asyncio.sleep(0.01)


def leaders(runs):
    """Return the runs that lead."""
    return [run for run in runs if run.pacer.role is Role.LEADER]


def test_runs_of_one_account_have_the_pace_of_one():
    """Fair shares, few refusals, and files for nobody else."""

    async def play():
        provider = Provider(200)
        runs = [Run(provider, requests_per_minute=11_000) for _ in range(3)]
        await until(lambda: len(leaders(runs)) == 1 and all(run.rows > 30 for run in runs))
        before, refused, began_s = [run.rows for run in runs], provider.refused, time.monotonic()
        await asyncio.sleep(2.5)
        shares = [run.rows - was for run, was in zip(runs, before, strict=True)]
        took_s = time.monotonic() - began_s
        modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in account_directory().iterdir()}
        for run in runs:
            await run.end()
        return shares, provider.refused - refused, took_s, modes

    shares, refused, took_s, modes = asyncio.run(play())
    assert sum(shares) >= 0.85 * 200 * took_s
    assert refused <= 0.03 * sum(shares)
    assert max(shares) <= 1.5 * min(shares)
    assert modes == {".lock": 0o600, ".sock": 0o600}
    assert stat.S_IMODE(account_directory().stat().st_mode) == 0o700
    assert list(account_directory().iterdir()) == []


def test_the_others_go_on_when_the_leader_ends():
    """At once, and another leads."""

    async def play():
        provider = Provider(200)
        runs = [Run(provider, requests_per_minute=11_000) for _ in range(3)]
        await until(lambda: len(leaders(runs)) == 1 and all(run.rows > 10 for run in runs))
        (first,) = leaders(runs)
        await first.end()
        ended_s = time.monotonic()
        rest = [run for run in runs if run is not first]
        await until(lambda: len(leaders(rest)) == 1 and sum(at_s > ended_s + 0.1 for at_s in provider.answered_at) > 60)
        times = [at_s for at_s in provider.answered_at if at_s > ended_s]
        for run in rest:
            await run.end()
        return max(after - before for before, after in zip([ended_s, *times], times, strict=False))

    assert asyncio.run(play()) < 2.0


def test_a_long_path_is_no_hindrance(state, monkeypatch):
    """Sockets have short ones only."""
    monkeypatch.setenv("XDG_STATE_HOME", str(state / ("x" * 120)))

    async def play():
        runs = [Run(Provider(100)) for _ in range(2)]
        await until(lambda: len(leaders(runs)) == 1 and all(run.rows for run in runs))
        for run in runs:
            await run.end()
        assert runs[0].notes == []

    asyncio.run(play())


def test_runs_of_other_accounts_have_nothing_to_do_with_it():
    """Both lead."""

    async def play():
        runs = [Run(Provider(100), name) for name in ("one", "another")]
        await until(lambda: len(leaders(runs)) == 2)
        for run in runs:
            await run.end()

    asyncio.run(play())


@pytest.mark.parametrize("listens", [True, False])
def test_a_leader_that_says_nothing_is_given_up(listens):
    """It was suspended, before or after it listened; and it notices when it goes on."""

    async def play():
        run = Run(Provider(100))
        await until(lambda: leaders([run]))
        lock_path = run.account._lock_path
        await run.end()
        lock = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        mute = socket.socket(socket.AF_UNIX)
        if listens:
            with run.account._socket_address() as address:
                mute.bind(address)
            mute.listen()
        began_s = time.monotonic()
        run = Run(Provider(100))
        await until(lambda: leaders([run]) and run.rows)
        took_s = time.monotonic() - began_s
        assert not run.account._is_current(lock)
        await run.end()
        os.close(lock)
        mute.close()
        return took_s

    assert asyncio.run(play()) < 2.0


def test_a_leader_that_was_given_up_follows_when_it_goes_on():
    """Its lock file is another's."""

    async def play():
        first = Run(Provider(100))
        await until(lambda: leaders([first]))
        first.account._lock_path.unlink()  # what another does after a silence
        second = Run(Provider(100))
        await until(lambda: second.pacer.role is Role.LEADER and first.pacer.role is Role.FOLLOWER and first.rows > 3)
        for run in (first, second):
            await run.end()

    asyncio.run(play())


@pytest.mark.parametrize("fault", ["no directory", "full"])
def test_without_its_files_a_run_goes_on_alone_and_says_so(state, monkeypatch, fault):
    """A read-only or full disk."""
    if fault == "no directory":
        (state / "batchgen").write_text("a file where the directory should be")
    else:

        def full(*arguments, **named):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Account, "_try_lock", full)

    async def play():
        run = Run(Provider(100))
        await until(lambda: run.rows > 5)
        await run.end()
        return run

    run = asyncio.run(play())
    assert run.pacer.role is Role.ALONE
    (note,) = run.notes
    assert "goes on alone" in note


def test_nonsense_on_the_socket_harms_nobody():
    """Whoever sends it is sent away."""

    async def play():
        run = Run(Provider(100))
        await until(lambda: leaders([run]))
        reader, writer = await asyncio.open_unix_connection(run.account._address)
        writer.write(b'{"what": 1}\n' + b"x" * 200_000)
        with suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 3.0)
        rows = run.rows
        await until(lambda: run.rows > rows + 5)
        writer.close()
        await run.end()

    asyncio.run(play())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_four_processes_share_a_limit_and_outlive_their_leader(tmp_path, number):
    """95 % of it together, about 1 % refused, fair shares, no gap over 2 s when the leader dies or is suspended."""
    with Processes(tmp_path) as processes:
        processes.start(4)
        for _ in range(3_000):
            if len({key for _, key, _ in processes.counter.seen}) == 4:
                break
            time.sleep(0.02)
        began_s = time.time() - processes.counter.seen[0][0] + 8
        time.sleep(25)
        killed = processes.leader()
        os.kill(killed, number)
        at_s = time.time() - processes.counter.seen[0][0]
        time.sleep(45)
        share, refused, rows, gap_s = processes.figures(began_s, at_s)
        assert share >= 0.95
        assert refused <= 0.015  # 1 % is the aim; over a minute .0110 was measured with a leader that is killed
        assert max(rows.values()) <= 1.5 * min(rows.values())
        *_, gap_s = processes.figures(at_s - 1)
        assert gap_s <= 2.0
        assert processes.leader() != killed
