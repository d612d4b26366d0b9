"""The way to a connection: one look-up for all that dial at once, and an address that does not answer is no end."""

from __future__ import annotations

import asyncio
import socket

import anyio
import pytest

from batchgen.transport.dial import NAME_S, Dialler
from batchgen.transport.http1 import Broken, Connection
from batchgen.transport.reply_memory import Room
from batchgen.transport.route import route_to
from batchgen.transport.send_buffer import Outbox
from batchgen.transport.usual_replies import UsualReplies
from tests.transport.faults import FaultServer, closed_port
from tests.transport.sending import until

pytestmark = pytest.mark.anyio


class Names:
    """Stands for the system's resolver: counts the look-ups and gives the addresses it was made with."""

    def __init__(self, *addresses):
        self.addresses = addresses
        self.lookups = 0
        self.now_s = 0.0

    def dialler(self):
        return Dialler(route_to("http://api.test/"), resolve=self.resolve, clock=lambda: self.now_s)

    async def resolve(self, host, port):
        assert (host, port) == ("api.test", 80)
        self.lookups += 1
        await asyncio.sleep(0)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_AGAIN, "try again")
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in self.addresses]


async def dial(dialler):
    def build(*, tunnel):
        return Connection(lambda _: None, lambda _: None, Outbox(), Room(), UsualReplies(), tunnel=tunnel)

    made = await dialler.connect(build, 5.0)
    if isinstance(made, Connection):
        made.socket_transport.abort()
    return made


async def test_a_name_is_looked_up_once_for_all():
    """Fifty that dial at once share a look-up; a later one asks again."""
    with FaultServer() as server:
        names = Names(("127.0.0.1", server.port))
        dialling = names.dialler()
        async with anyio.create_task_group() as group:
            for _ in range(50):
                group.start_soon(dial, dialling)
        await until(lambda: server.connections == 50)
        assert names.lookups == 1
        await dial(dialling)
        assert names.lookups == 1
        names.now_s = NAME_S + 1
        await dial(dialling)
        assert names.lookups == 2
        await until(lambda: server.connections == 52)


async def test_a_look_up_that_failed_is_not_kept():
    """All that waited are told; the next one asks again."""
    names = Names()
    dialling = names.dialler()
    outcomes = [await dial(dialling), await dial(dialling)]
    assert [outcome.trouble.code for outcome in outcomes if isinstance(outcome, Broken)] == ["dns", "dns"]
    assert names.lookups == 2


async def test_an_address_where_nobody_listens_is_passed_over():
    """Whichever address is first in turn, every dialler gets a connection."""
    with FaultServer() as server:
        dialling = Names(("127.0.0.1", closed_port()), ("127.0.0.1", server.port)).dialler()
        for _ in range(4):
            assert isinstance(await dial(dialling), Connection)
        await until(lambda: server.connections == 4)
