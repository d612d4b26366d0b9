"""The workers of a run: started, watched, replaced; each request goes to the one that has the fewest.

A worker is lost when its link breaks, or when nothing is heard of it for `SILENT_S`. What it had been given may have
been sent, and may be billed; it is never sent again here, that is for the engine to decide. A new worker takes its
place, and the link of the lost one is closed for good, so that nothing that it says later counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from batchgen.cluster.link import Link, LinkLost, Supply
from batchgen.cluster.messages import (
    Arrived,
    Cancel,
    Failed,
    FromWorker,
    Head,
    Hello,
    Offered,
    Send,
    Take,
    ToWorker,
    decode_from_worker,
    encode,
)
from batchgen.errors import ResourceStop
from batchgen.transport.protocol import WORKER_LOST
from batchgen.transport.reply_memory import Room, Share
from batchgen.values import Failure, FailureKind, Request, Response, Verdict
from batchgen.version import __version__

SILENT_S = 15.0
"""So long without a sign of life (one comes each second) a worker counts as lost."""

LOOK_EVERY_S = 1.0
"""How often it is asked where workers should run."""

BEGIN_S = 60.0
"""How long a worker may take to begin."""

MOST_STARTS = 5
"""So many starts in a row of workers that never began, with none at work anywhere, stop the run."""

LONGEST_PAUSE_S = 30.0
"""The longest pause before a worker is started again."""


class Worker:
    """One worker as the driver sees it."""

    def __init__(self, name: str, link: Link, room: Room, flush_s: float) -> None:
        self.name = name
        self.link = link
        self._room = room
        self._flush_s = flush_s
        self._loop = asyncio.get_running_loop()
        self._next = 0
        self._waiting: dict[int, asyncio.Future[Response | Failure]] = {}
        self._shares: dict[int, Share] = {}
        self._heads: dict[tuple[int, str, bool], tuple[Head, object]] = {}
        self._outgoing: list[ToWorker] = []
        self._given: set[int] = set()  # handed over, so that they may have been sent
        self.lost: str | None = None

    @property
    def in_flight(self) -> int:
        """Requests that it has."""
        return len(self._waiting)

    async def send(self, request: Request, destination: int, timeout_s: float) -> Response | Failure | None:
        """Have a request sent and return what came of it; None if the worker was lost before it could begin."""
        number, self._next = self._next, self._next + 1
        future: asyncio.Future[Response | Failure] = self._loop.create_future()
        self._waiting[number] = future
        head = self._head(request, destination)
        self._say(Send(number, head.number, request.body, request.streamed, timeout_s))
        try:
            outcome = await future
        except asyncio.CancelledError:
            self._say(Cancel(number))
            raise
        finally:
            unsent = self.lost is not None and number not in self._given
            self._waiting.pop(number, None)
            self._given.discard(number)
            if (share := self._shares.pop(number, None)) is not None:
                share.give_back()
        return None if unsent else outcome

    def _head(self, request: Request, destination: int) -> Head:
        shared = destination, request.url, request.streamed
        kept = self._heads.get(shared)
        if kept is not None and kept[1] is request.headers:
            return kept[0]
        head = Head(self._next, request.url, dict(request.headers), destination)
        self._heads[shared] = head, request.headers
        self._outgoing.append(head)
        return head

    def _say(self, message: ToWorker) -> None:
        if not self._outgoing or (len(self._outgoing) == 1 and isinstance(self._outgoing[0], Head)):
            if self._flush_s:
                self._loop.call_later(self._flush_s, self._flush)
            else:
                self._loop.call_soon(self._flush)
        self._outgoing.append(message)

    def _flush(self) -> None:
        group, self._outgoing = self._outgoing, []
        if self.lost is None and group:
            self._given.update(message.id for message in group if isinstance(message, Send))
            self.link.push(encode(group))

    def hear(self, message: FromWorker) -> None:
        """Take a message in; one for a request that nobody waits for any more is dropped."""
        if isinstance(message, Arrived):
            self._resolve(message.id, Response(message.status, message.headers, message.body))
        elif isinstance(message, Failed):
            self._resolve(message.id, message.failure)
        elif isinstance(message, Offered) and message.id in self._waiting:
            take = Take(message.id)
            share = self._shares[message.id] = Share(self._room, lambda: self._say(take))
            if share.grow(message.size):
                self._say(take)

    def _resolve(self, number: int, outcome: Response | Failure) -> None:
        future = self._waiting.get(number)
        if future is not None and not future.done():
            future.set_result(outcome)

    def lose(self, why: str) -> int:
        """Give up all that it has; return how many requests may have been sent and have no answer."""
        self.lost = why
        failure = Failure(
            FailureKind.NETWORK,
            Verdict.RETRY,
            f"{self.name} was lost while it had this request: {why}",
            code=WORKER_LOST,
            maybe_billed=True,
        )
        given = sum(not future.done() and number in self._given for number, future in self._waiting.items())
        for number in list(self._waiting):
            self._resolve(number, failure)
        return given


class Pool:
    """Keeps a worker at every place that the supply names. `note` takes a sentence for the user."""

    def __init__(self, supply: Supply, start: bytes, room: Room, note: Callable[[str], None]) -> None:
        self._supply = supply
        self._start = start
        self._room = room
        self._note = note
        self._ready: list[Worker] = []
        self._slots: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._troubles: dict[str, str] = {}  # by place
        self._hopeless: set[str] = set()  # places whose worker said why it cannot work
        self._chosen: Worker | None = None  # what is handed over together goes to one
        self._chosen_until_s = 0.0
        self._failed_starts = 0
        self._said_none = False
        self._closing = False

    async def run(self, begun: asyncio.Event) -> None:
        """Look after the workers until this is cancelled; set `begun` once it is known whether any can work."""
        try:
            while True:
                places = await self._supply.places()
                for place in places:
                    if place not in self._slots:
                        self._slots[place] = asyncio.create_task(self._keep(place))
                for place in self._slots.keys() - set(places):
                    self._slots.pop(place).cancel()
                    self._troubles.pop(place, None)
                    self._hopeless.discard(place)
                if self._ready or self.problem is not None:
                    begun.set()
                if not places and not self._ready and not self._said_none:
                    self._said_none = True
                    self._note("No worker is left: the run waits for one.")
                await asyncio.sleep(LOOK_EVERY_S if begun.is_set() else LOOK_EVERY_S / 20)
        finally:
            self._closing = True
            for task in self._slots.values():
                task.cancel()
            await asyncio.gather(*self._slots.values(), return_exceptions=True)

    @property
    def problem(self) -> str | None:
        """Why no worker will ever work, None while one may."""
        if self._ready or not self._slots:
            return None
        if self._hopeless >= self._slots.keys() or self._failed_starts >= MOST_STARTS:
            places: dict[str, list[str]] = {}
            for place, why in sorted(self._troubles.items()):
                places.setdefault(why, []).append(place)
            told = "; ".join(f"{why} ({', '.join(at)})" for why, at in places.items())
            return f"No worker can work: {told}."
        return None

    async def choose(self, timeout_s: float) -> Worker | None:
        """Return the worker with the fewest requests, the same one for as long as messages are gathered; None if there
        is none for so long. Raises `ResourceStop`."""
        until_s = asyncio.get_running_loop().time() + timeout_s
        while not self._ready:
            if (problem := self.problem) is not None:
                raise ResourceStop(problem, "Mend what is named; then the same command goes on from here.")
            left_s = until_s - asyncio.get_running_loop().time()
            if left_s <= 0:
                return None
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), min(left_s, LOOK_EVERY_S))
            except TimeoutError:
                continue
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._chosen_until_s or self._chosen not in self._ready:
            self._chosen = min(self._ready, key=lambda worker: worker.in_flight)
            self._chosen_until_s = now_s + self._supply.flush_s
        return self._chosen

    @property
    def at_work(self) -> int:
        """Workers that take requests."""
        return len(self._ready)

    async def _keep(self, place: str) -> None:
        """Have a worker at a place, and a new one when it is lost."""
        pause_s = 0.5
        while True:
            worker: Worker | None = None
            why = "it was ended"
            began = False
            try:
                link = await self._supply.open(place, self._start)
                try:
                    worker = Worker(place, link, self._room, self._supply.flush_s)
                    began = await self._begin(worker)
                    if not began:
                        return
                    while True:
                        for message in await self._pull(link, SILENT_S):
                            worker.hear(message)
                finally:
                    if worker in self._ready:
                        self._ready.remove(worker)
                    await asyncio.shield(link.close())
            except LinkLost as lost:
                why = str(lost)
            finally:
                if worker is not None and (given := worker.lose(why)) and not self._closing:
                    self._note(
                        f"{place} was lost ({why}): {given:,} requests that it had may have been billed, and are asked "
                        "again."
                    )
            pause_s = 0.5 if began else min(2 * pause_s, LONGEST_PAUSE_S)
            self._failed_starts = 0 if began else self._failed_starts + 1
            self._troubles[place] = why
            self._changed.set()
            await asyncio.sleep(pause_s)

    async def _begin(self, worker: Worker) -> bool:
        """Wait for a worker's first message; return whether it can work. Raises `LinkLost`."""
        first, *more = await self._pull(worker.link, BEGIN_S)
        if not isinstance(first, Hello):
            raise LinkLost("it said nothing that could be understood")
        problem = first.problem
        if problem is None and first.version != __version__:
            problem = f"it has batchgen {first.version}, the run {__version__}: install the same version everywhere"
        if problem is not None:
            self._troubles[worker.name] = problem
            self._hopeless.add(worker.name)
            self._changed.set()
            self._note(f"{worker.name} cannot work: {problem}")
            return False
        self._failed_starts = 0
        self._troubles.pop(worker.name, None)
        self._said_none = False
        self._ready.append(worker)
        self._changed.set()
        for message in more:
            worker.hear(message)
        return True

    async def _pull(self, link: Link, silent_s: float) -> list[FromWorker]:
        try:
            return decode_from_worker(await asyncio.wait_for(link.pull(), silent_s))
        except TimeoutError:
            raise LinkLost(f"nothing was heard of it for {silent_s:.0f} s") from None
        except ValueError as error:
            raise LinkLost(f"what it said could not be understood ({error})") from error
