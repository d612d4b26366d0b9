"""The workers of a run: started, watched, replaced; each request goes to the one that has the fewest.

A worker is lost when its link breaks, or when nothing is heard of it for `SILENT_S`. What it had been given may have
been sent, and may be billed; it is never sent again here, that is for the engine to decide. A new worker takes its
place, and the link of the lost one is closed for good, so that nothing that it says later counts.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from functools import partial

from batchgen.cluster.link import Link, LinkLost, Supply
from batchgen.cluster.messages import (
    GROUP,
    Cancel,
    Completed,
    Failed,
    FromWorker,
    Head,
    Hello,
    Offered,
    Refused,
    Send,
    Take,
    ToWorker,
    decode_from_worker,
    encode,
)
from batchgen.errors import ResourceStop
from batchgen.text.figures import quantity
from batchgen.transport.protocol import WORKER_LOST, ReadReply
from batchgen.transport.reply_memory import Room, Share
from batchgen.values import Failure, FailureKind, Request, Verdict
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


class Post:
    """When messages leave: those that come within `gather_s` of the last group are one group, for one worker, which
    leaves before that when it has `GROUP` messages."""

    def __init__(self, gather_s: float) -> None:
        self._gather_s = gather_s
        self._loop = asyncio.get_running_loop()
        self._left_s = -math.inf
        self.worker: Worker | None = None
        """The one that the next group is for; None until there is something to say."""

    def arrange(self, flush: Callable[[], None]) -> asyncio.Handle:
        """Have a group leave in time: at once, after what the loop does now, if none has left a moment ago."""
        wait_s = self._left_s + self._gather_s - self._loop.time()
        return self._loop.call_later(wait_s, flush) if wait_s > 0 else self._loop.call_soon(flush)

    def left(self, worker: Worker) -> None:
        """Note that a group has left."""
        self._left_s = self._loop.time()
        if self.worker is worker:
            self.worker = None


class Worker:
    """One worker as the driver sees it."""

    def __init__(self, name: str, link: Link, room: Room, post: Post) -> None:
        self.name = name
        self.link = link
        self._room = room
        self._post = post
        self._loop = asyncio.get_running_loop()
        self._next = 0
        self._handed = 0  # requests before this one were handed over, so that they may have been sent
        self._waiting: dict[int, asyncio.Future[ReadReply | Failure | None]] = {}
        self._shares: dict[int, Share] = {}
        self._heads: dict[tuple[int, str, bool, str], tuple[Head, object]] = {}
        self._heads_said = 0
        self._outgoing: list[ToWorker] = []
        self._leaves: asyncio.Handle | None = None
        self._retired = False

    @property
    def in_flight(self) -> int:
        """Requests that it has."""
        return len(self._waiting)

    async def send(self, request: Request, destination: int, timeout_s: float) -> ReadReply | Failure | None:
        """Have a request sent and return what came of it; None if the worker was lost before it could begin."""
        number = self._next
        self._next = number + 1
        future: asyncio.Future[ReadReply | Failure | None] = self._loop.create_future()
        self._waiting[number] = future
        kept = self._heads.get((destination, request.url, request.streamed, request.model))
        head = kept[0] if kept is not None and kept[1] is request.headers else self._head(request, destination)
        self._outgoing.append(Send(number, head.number, request.body, timeout_s))
        if self._leaves is None:
            self._leaves = self._post.arrange(self._flush)
        elif len(self._outgoing) >= GROUP:
            self._flush()
        try:
            return await future
        except asyncio.CancelledError:
            self._waiting.pop(number, None)
            self._give_back(number)
            self._say(Cancel(number))
            raise

    def _head(self, request: Request, destination: int) -> Head:
        shared = destination, request.url, request.streamed, request.model
        number, self._heads_said = self._heads_said, self._heads_said + 1
        head = Head(number, destination, request.url, dict(request.headers), request.streamed, request.model)
        self._heads[shared] = head, request.headers
        self._outgoing.append(head)
        return head

    def _say(self, message: ToWorker) -> None:
        self._outgoing.append(message)
        if self._leaves is None:
            self._leaves = self._post.arrange(self._flush)

    def _flush(self) -> None:
        if self._leaves is not None:
            self._leaves.cancel()
            self._leaves = None
        group, self._outgoing = self._outgoing, []
        self._post.left(self)
        if not self._retired:
            self._handed = self._next
            self.link.push(encode(group))

    def hear(self, group: Sequence[FromWorker]) -> None:
        """Take messages in; one for a request that nobody waits for any more is dropped."""
        waiting = self._waiting
        for message in group:
            if isinstance(message, Completed | Refused):
                future = waiting.pop(message.id, None)
                if future is not None and not future.done():
                    future.set_result(ReadReply(message.outcome, message.size))
                    if self._shares:
                        self._give_back(message.id)
            elif isinstance(message, Failed):
                future = waiting.pop(message.id, None)
                if future is not None and not future.done():
                    future.set_result(message.failure)
            elif isinstance(message, Offered) and message.id in waiting:
                take = Take(message.id)
                share = self._shares[message.id] = Share(self._room, partial(self._say, take))
                if share.grow(message.size):
                    self._say(take)

    def _give_back(self, number: int) -> None:
        """Free the room of a large reply, which is counted by the row from now on."""
        if (share := self._shares.pop(number, None)) is not None:
            share.give_back()

    def retire(self) -> None:
        """Hand nothing more over: the link is about to be closed."""
        self._retired = True
        if self._post.worker is self:
            self._post.worker = None

    def lose(self, why: str) -> int:
        """Give up all that it has; return how many requests may have been sent and have no answer."""
        self.retire()
        failure = Failure(
            FailureKind.NETWORK,
            Verdict.RETRY,
            f"{self.name} was lost while it had this request: {why}",
            code=WORKER_LOST,
            maybe_billed=True,
        )
        given = 0
        for number, future in self._waiting.items():
            if not future.done():
                given += number < self._handed
                future.set_result(failure if number < self._handed else None)
            self._give_back(number)
        self._waiting.clear()
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
        self.post = Post(supply.gather_s)
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
        """Return the worker with the fewest requests, which gets the next group; None if there is none for so long.

        Raises `ResourceStop`."""
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
        chosen = self.post.worker = min(self._ready, key=lambda worker: worker.in_flight)
        return chosen

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
                    worker = Worker(place, link, self._room, self.post)
                    began = await self._begin(worker)
                    if not began:
                        return
                    while True:
                        worker.hear(await self._pull(link, SILENT_S))
                finally:
                    if worker is not None:
                        worker.retire()
                        if worker in self._ready:
                            self._ready.remove(worker)
                    await asyncio.shield(link.close())
            except LinkLost as lost:
                why = str(lost)
            finally:
                if worker is not None and (given := worker.lose(why)) and not self._closing:
                    self._note(
                        f"{place} was lost ({why}): {quantity(given, 'request')} that it had may have been billed, and "
                        "will be sent again."
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
        worker.hear(more)
        return True

    async def _pull(self, link: Link, silent_s: float) -> list[FromWorker]:
        try:
            async with asyncio.timeout(silent_s):
                group = await link.pull()
            return decode_from_worker(group)
        except TimeoutError:
            raise LinkLost(f"nothing was heard of it for {silent_s:.0f} s") from None
        except ValueError as error:
            raise LinkLost(f"what it said could not be understood ({error})") from error
