"""The process of a worker: messages of the driver on standard input, its own on standard output."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import BinaryIO

import anyio

from batchgen.cluster.processes import GATHER_REPLIES_S, framed, read_frame
from batchgen.cluster.sender import Sender
from batchgen.transport.event_loop import loop_options


async def serve(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Work until the driver closes its end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), incoming)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, outgoing)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    with suppress(asyncio.IncompleteReadError, OSError):
        sender = Sender(await read_frame(reader), GATHER_REPLIES_S)
        await sender.open()
        answering = asyncio.create_task(_answer(sender, writer))
        answering.add_done_callback(lambda _: reader.feed_eof())  # so that nothing is awaited any more
        try:
            while not answering.done():
                sender.take(await read_frame(reader))
        finally:
            if not answering.cancel():
                answering.result()
            await sender.close()


async def _answer(sender: Sender, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(framed(await sender.outgoing()))
        await writer.drain()


def main() -> None:
    """Serve the driver; whatever a library prints goes to standard error."""
    outgoing = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    incoming = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    anyio.run(serve, incoming, outgoing, backend_options=loop_options())


if __name__ == "__main__":
    main()
