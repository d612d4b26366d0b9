"""How messages between driver and workers are put together, without any process or cluster."""

import asyncio

import msgspec
import pytest

from batchgen.cluster.messages import (
    GROUP,
    Cancel,
    Completed,
    Destination,
    Head,
    Hello,
    ReaderSettings,
    Refused,
    Send,
    Start,
    decode_from_worker,
    decode_to_worker,
    encode,
)
from batchgen.cluster.pool import Post, Worker
from batchgen.cluster.ray_nodes import RemoteSender
from batchgen.cluster.sender import Sender
from batchgen.providers import open_provider, open_reader
from batchgen.providers.lane import Lane
from batchgen.providers.protocol import ModelSettings
from batchgen.simulator import Settings, start_in_thread
from batchgen.transport.reply_memory import Room
from batchgen.values import Completion, Request, Response, Usage
from batchgen.version import __version__
from tests.providers.samples import BODIES

AN_HOUR_S = 3_600.0
HEADERS = {"Content-Type": "application/json"}


class Kept:
    """A link that keeps what is pushed."""

    def __init__(self):
        self.groups = []

    def push(self, group):
        self.groups.append(decode_to_worker(group))


def request(url="http://127.0.0.1:1/v1/chat/completions"):
    body = b'{"model":"qwen-plus","messages":[{"role":"user","content":"hello"}],"max_tokens":8}'
    return Request(url, body, HEADERS, False, "qwen-plus")


async def settled():
    """Let the loop do what it has to do now."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_many_requests_leave_in_few_groups():
    """A group for each 32 requests, and what they share is said once; the rest leaves when its time has come."""

    async def run():
        link = Kept()
        post = Post(AN_HOUR_S)
        worker = Worker("worker 1", link, Room(), post)
        asked = [asyncio.create_task(worker.send(request(), 0, 60)) for _ in range(100)]
        await settled()
        sizes = [len(group) for group in link.groups]
        assert sizes == [GROUP, GROUP, GROUP]
        sent = [message for group in link.groups for message in group]
        assert sum(isinstance(message, Head) for message in sent) == 1
        worker.hear([Completed(message.id, 10, completion()) for message in sent if isinstance(message, Send)])
        worker.lose("it is gone")
        outcomes = await asyncio.gather(*asked)
        assert [outcome is None for outcome in outcomes] == [False] * 95 + [True] * 5

    asyncio.run(run())


def completion():
    return Completion("yes", "stop", Usage(3, 1, 4))


def test_a_message_that_comes_alone_leaves_at_once():
    """Nobody waits for others where none are about to come."""

    async def run():
        link = Kept()
        worker = Worker("worker 1", link, Room(), Post(AN_HOUR_S))
        asked = asyncio.create_task(worker.send(request(), 0, 60))
        await settled()
        assert [type(message) for message in link.groups[0]] == [Head, Send]
        worker.hear([Completed(0, 10, completion())])
        assert (await asked).outcome == completion()

    asyncio.run(run())


def test_what_a_worker_has_not_got_yet_when_its_link_breaks_is_not_billed():
    """Until the link is closed it may be given requests: they go to another one."""

    async def run():
        link = Kept()
        post = Post(0)
        worker = post.worker = Worker("worker 1", link, Room(), post)
        worker.retire()
        assert post.worker is None
        asked = asyncio.create_task(worker.send(request(), 0, 60))
        await settled()
        assert not link.groups
        assert worker.lose("it is gone") == 0
        assert await asked is None

    asyncio.run(run())


def test_a_request_that_nobody_waits_for_is_cancelled_and_its_answer_dropped():
    """Also where the answer is on its way already."""

    async def run():
        link = Kept()
        worker = Worker("worker 1", link, Room(), Post(0))
        asked = asyncio.create_task(worker.send(request(), 0, 60))
        await settled()
        asked.cancel()
        await settled()
        assert link.groups[-1] == [Cancel(0)]
        worker.hear([Completed(0, 10, completion())])
        assert worker.in_flight == 0

    asyncio.run(run())


def start_of(url):
    reading = ReaderSettings(provider="openai", model="qwen-plus")
    key = [("Authorization", "Bearer ", "sk-0123456789abcdef")]
    one = Destination(base_url=url, client="fast", concurrency=100, reading=reading, headers=key)
    return msgspec.msgpack.encode(Start(version=__version__, destinations=[one]))


def test_a_worker_returns_what_replies_mean_in_few_groups():
    """Not their bytes; and 32 of them make a group, however long others would be waited for."""

    async def run():
        simulator = start_in_thread(Settings(seed=3, latency_ms=1))
        try:
            sender = Sender(start_of(simulator.url), AN_HOUR_S)
            await sender.open()
            assert decode_from_worker(await sender.outgoing()) == [Hello(__version__)]
            address = f"{simulator.url}/compatible-mode/v1/chat/completions"
            sends = [Send(number, 0, request().body, 60.0) for number in range(2 * GROUP)]
            sender.take(encode([Head(0, 0, address, HEADERS, False, "qwen-plus"), *sends]))
            groups = [decode_from_worker(await sender.outgoing()) for _ in range(2)]
            await sender.close()
        finally:
            simulator.close()
        assert [len(group) for group in groups] == [GROUP, GROUP]
        replies = [message for group in groups for message in group]
        assert {reply.id for reply in replies} == set(range(2 * GROUP))
        assert all(isinstance(reply, Completed) and reply.outcome.usage.input_tokens for reply in replies)
        assert all(reply.size > len(reply.outcome.text) for reply in replies)

    asyncio.run(run())


@pytest.mark.parametrize("asked_before", [True, False])
def test_a_worker_that_fails_of_itself_says_so(asked_before):
    """A request whose answer would never come must not be waited for: the worker ends, and is replaced. It may fail
    while nobody waits for what it has to say, as when its last messages are still being written."""

    async def run():
        sender = Sender(start_of("http://127.0.0.1:1"), 0)
        await sender.open()
        await sender.outgoing()
        sender.take(encode([Send(0, 7, b"{}", 60.0)]))  # of a head that was never said
        if not asked_before:
            await settled()
        with pytest.raises(KeyError):
            await sender.outgoing()
        await sender.close()

    asyncio.run(run())


def test_a_call_that_overtakes_another_waits_for_it():
    """A large group may come after a small one that was sent later, which needs what the large one says first."""
    taken = []

    class Taking:
        def take(self, group):
            taken.append(group)

        async def outgoing(self):
            return b""

    async def run():
        remote = RemoteSender(b"")
        remote._sender = Taking()
        for number, group in ((1, b"second"), (3, b"fourth"), (0, b"first"), (2, b"third")):
            await remote.swap(number, group)

    asyncio.run(run())
    assert taken == [b"first", b"second", b"third", b"fourth"]


@pytest.mark.parametrize("lane", [None, Lane(name="some", timeout_s=60)])
@pytest.mark.parametrize("provider", ["openai", "dashscope", "anthropic"])
def test_a_worker_reads_replies_as_the_driver_would(provider, lane):
    """Of the job it knows only what reading takes: every recorded reply means the same, and is so when it arrives."""
    whole = ModelSettings(
        name="qwen-plus",
        base_url="http://127.0.0.1:1",
        parameters={"max_tokens": 512, "temperature": 0.5},
        headers={"X-Project": "one"},
        omit=("incremental_output",),
    )
    own = open_provider(provider, whole, lane=lane)
    needed = ModelSettings(name=whole.name, base_url=whole.base_url, omit=whole.omit)
    read = open_reader(provider, needed, in_lane=lane is not None)
    for body in sorted(BODIES.iterdir()):
        for status in (200, 429, 503):
            for streamed in (False, True):
                asked = msgspec.structs.replace(request(), streamed=streamed)
                response = Response(status, {"retry-after": "7", "x-request-id": "r1"}, body.read_bytes())
                outcome = read.read_response(asked, response)
                assert outcome == own.read_response(asked, response)
                said = Completed if isinstance(outcome, Completion) else Refused
                (arrived,) = decode_from_worker(encode([said(1, len(response.body), outcome)]))
                assert arrived.outcome == outcome
