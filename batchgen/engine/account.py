"""Runs on one machine that name the same account (`limits.account`): who leads, and the messages between them.

The leader holds a lock on a file and listens on a socket beside it, in the user's own state directory; the system frees
the lock when the leader dies, however it dies, and the first of the others takes it. A leader that says nothing for
`SILENT_S` is given up: its lock file is replaced by another, by which it knows when it comes back.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import msgspec
from msgspec import Struct

from batchgen.errors import OutputError
from batchgen.files.state_folder import state_folder
from batchgen.pace.limiter import Limiter
from batchgen.pace.shared_pacer import AccountState, LeaseOutcome, Role, SharedPacer
from batchgen.pace.values import Limits

BEAT_S = 0.2
"""How often each side says that it is there."""

SILENT_S = 1.2
"""A leader that says nothing for so long is given up; so is a follower after `LOST_S`."""

LOST_S = 5.0

RETRY_S = 0.02
"""How often it is tried to reach a leader that has the lock and does not answer yet."""

MOST_WANTED = 64
"""Most permits that a process asks for at a time."""

_LONGEST_SOCKET = 100
"""Bytes of a path that a socket can have on all systems, less a few."""


class Message(Struct, array_like=True):
    """What goes over the socket, one JSON line each: to the leader `limits`, `waiting`, `tokens`, `seen` and `done`; to
    a follower `leases` and `state`."""

    limits: Limits | None = None
    waiting: int = 0
    tokens: float = 0.0
    seen: int = 0
    done: list[LeaseOutcome] = []
    leases: list[int] = []
    state: AccountState | None = None


_decode = msgspec.json.Decoder(Message).decode


def _line(message: Message) -> bytes:
    return msgspec.json.encode(message) + b"\n"


async def _next_line(reader: asyncio.StreamReader, timeout_s: float) -> bytes:
    async with asyncio.timeout(timeout_s):
        return await reader.readline()


def account_directory() -> Path:
    """Return where accounts have their files. Raises `OutputError` where the user has no home."""
    return state_folder() / "accounts"


class Account:
    """Keeps a pacer in step with those of other processes. `note` takes a sentence for the user."""

    def __init__(self, name: str, pacer: SharedPacer, limiter: Limiter, note: Callable[[str], None]) -> None:
        self._name = name
        self._pacer = pacer
        self._limiter = limiter
        self._note = note
        # Locks and sockets do not reach other machines, which may have the same home directory.
        self._key = hashlib.blake2b(f"{socket.gethostname()}\0{name}".encode(), digest_size=10).hexdigest()
        self._lock_path = self._socket_path = Path()
        self._address = ""
        self._changed = asyncio.Event()
        self._terms = count(1)
        self._granted = 0  # permits that have come from this leader
        self._writers: dict[int, asyncio.StreamWriter] = {}
        pacer.wake, pacer.changed = limiter.changed, self._changed.set

    async def keep(self) -> None:
        """Lead or follow until cancelled; where neither can be, say so and go on alone."""
        try:
            folder = account_directory()
            self._lock_path, self._socket_path = folder / f"{self._key}.lock", folder / f"{self._key}.sock"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._socket_address() as self._address:
                await self._take_part()
        except (OSError, OutputError) as error:
            self._pacer.step_down(Role.ALONE)
            self._note(
                f"limits.account: runs that share {self._name!r} cannot be found ({error}); this run goes on alone, "
                "and finds its pace beside them as beside strangers."
            )

    @contextmanager
    def _socket_address(self) -> Iterator[str]:
        """Yield the path of the socket in a form that is short enough for one."""
        if len(os.fsencode(self._socket_path)) <= _LONGEST_SOCKET:
            yield str(self._socket_path)
            return
        folder = os.open(self._socket_path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            short = Path(f"/proc/self/fd/{folder}")
            if not short.is_dir():
                raise OSError(errno.ENAMETOOLONG, "the path is too long for a socket", str(self._socket_path))
            yield str(short / self._socket_path.name)
        finally:
            os.close(folder)

    async def _take_part(self) -> None:
        """Lead where nobody does, else follow."""
        while True:
            lock = self._try_lock()
            if lock is not None:
                try:
                    await self._lead(lock)
                finally:
                    os.close(lock)
            else:
                await self._follow()
            self._pacer.step_down()

    # ---- leading

    def _try_lock(self) -> int | None:
        """Return the descriptor of the lock, None if another process holds it."""
        lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:
            os.close(lock)
            raise
        if self._is_current(lock):
            return lock
        os.close(lock)
        return None

    def _is_current(self, lock: int) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(lock), os.stat(self._lock_path))
        return False

    async def _lead(self, lock: int) -> None:
        """Grant permits until another process has taken over."""
        pacer, clock = self._pacer, self._limiter.clock
        self._socket_path.unlink(missing_ok=True)
        # Starting to serve at once would wait, and a run that ends there would leave its socket behind.
        server = await asyncio.start_unix_server(self._serve, self._address, start_serving=False)
        try:
            os.chmod(self._socket_path, 0o600)
            await server.start_serving()
            pacer.lead()
            told_s = clock()
            while True:
                leases, wait_s = pacer.grant(clock())
                for number, granted in leases.items():
                    self._writers[number].write(_line(Message(leases=granted)))
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, min(wait_s, told_s + BEAT_S - clock()))):
                        await self._changed.wait()
                now_s = clock()
                if now_s - told_s >= BEAT_S:
                    if not self._is_current(lock):
                        return  # it was suspended, and given up
                    told_s = now_s
                    state = _line(Message(state=pacer.told(now_s)))
                    for writer in self._writers.values():
                        writer.write(state)
        finally:
            server.close()
            for writer in self._writers.values():
                writer.close()
            if self._is_current(lock):
                self._socket_path.unlink(missing_ok=True)
                self._lock_path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hear one follower until it is gone."""
        pacer, number = self._pacer, next(self._terms)
        try:
            while line := await _next_line(reader, LOST_S):
                message, now_s = _decode(line), self._limiter.clock()
                if pacer.role is not Role.LEADER:
                    return
                if message.limits is not None and number not in self._writers:
                    pacer.joined(number, message.limits)
                    self._writers[number] = writer
                for done in message.done:
                    pacer.heard(now_s, number, done)
                pacer.wants(number, message.waiting, message.tokens, message.seen)
                self._changed.set()
                pacer.wake()
        except (TimeoutError, OSError, ValueError, KeyError):
            pass  # it is gone, suspended or not ours: if it is alive, it comes again
        finally:
            writer.close()
            if self._writers.pop(number, None) is not None and pacer.role is Role.LEADER:
                pacer.left(number)
                self._changed.set()

    # ---- following

    async def _follow(self) -> None:
        """Lease permits until the leader is gone; give one up that does not answer."""
        loop = asyncio.get_running_loop()
        found = self._lock_stamp()
        until_s = loop.time() + SILENT_S
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._address)
                break
            except OSError:
                if self._lock_stamp() != found:
                    return  # another one leads
                if loop.time() >= until_s:
                    self._give_up(found)
                    return
                await asyncio.sleep(RETRY_S)
                lock = self._try_lock()
                if lock is not None:
                    os.close(lock)
                    return  # nobody does
        self._pacer.follow(next(self._terms))
        writer.write(_line(Message(limits=self._pacer.limits)))
        hearing = asyncio.ensure_future(self._hear(reader))
        try:
            await self._tell(writer, hearing)
            if not hearing.cancelled() and hearing.exception() is not None:
                self._give_up(found)
        except OSError:
            pass
        finally:
            hearing.cancel()
            writer.close()

    def _lock_stamp(self) -> tuple[int, int] | None:
        with suppress(FileNotFoundError):
            found = os.stat(self._lock_path)
            return found.st_dev, found.st_ino
        return None

    def _give_up(self, found: tuple[int, int] | None) -> None:
        """Make way for another leader, if there is none yet."""
        if found is not None and self._lock_stamp() == found:
            self._lock_path.unlink(missing_ok=True)

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        """Take permits and news until the leader is gone. Raises TimeoutError if it is silent."""
        pacer = self._pacer
        while line := await _next_line(reader, SILENT_S):
            message = _decode(line)
            if message.state is not None:
                pacer.state = message.state
            if message.leases:
                self._granted += len(message.leases)
                pacer.granted(self._limiter.clock(), message.leases)
                self._changed.set()

    async def _tell(self, writer: asyncio.StreamWriter, hearing: asyncio.Future[None]) -> None:
        """Tell the leader what came of its permits and how many more are wanted, until it is gone."""
        pacer = self._pacer
        self._granted = 0
        while not hearing.done():
            pacer.give_back_unused(self._limiter.clock(), waiting=self._limiter.waiting)
            waiting = min(self._limiter.waiting, MOST_WANTED)
            done, pacer.outbox = pacer.outbox, []
            writer.write(_line(Message(waiting=waiting, tokens=pacer.typical_tokens, seen=self._granted, done=done)))
            self._changed.clear()
            waker = asyncio.ensure_future(self._changed.wait())
            await asyncio.wait((waker, hearing), timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
            waker.cancel()
