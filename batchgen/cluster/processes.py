"""Workers as processes of this machine: a pipe each, and an end of the pipe is the end of the worker."""

from __future__ import annotations

import asyncio
import os
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress

from batchgen.cluster.link import Link, LinkLost

_LENGTH = struct.Struct(">I")

GATHER_S = 0.005
"""Seconds for which messages to workers are gathered: a group costs driver and worker as much as ten requests in it."""

GATHER_REPLIES_S = 0.01
"""Seconds for which each worker gathers replies."""


def framed(group: bytes) -> bytes:
    """Return a group with its length before it."""
    return _LENGTH.pack(len(group)) + group


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Return the next group. Raises `asyncio.IncompleteReadError` or `OSError` at the end of the pipe."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return await reader.readexactly(length)


class ProcessLink:
    """A process of our own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout

    def push(self, group: bytes) -> None:
        """Hand messages over; never blocks."""
        with suppress(OSError, RuntimeError):  # a pipe that is closed: `pull` tells it
            self._stdin.write(framed(group))

    async def pull(self) -> bytes:
        """Return the worker's next messages. Raises `LinkLost`."""
        try:
            return await read_frame(self._stdout)
        except (asyncio.IncompleteReadError, OSError):
            code = await self._process.wait()
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise LinkLost(f"process {self._process.pid} {how}") from None

    async def close(self) -> None:
        """End the process, at once."""
        with suppress(OSError, RuntimeError):
            self._stdin.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class Processes:
    """So many processes beside this one."""

    gather_s = GATHER_S

    def __init__(self, number: int) -> None:
        self._number = number

    async def start(self) -> None:
        """Nothing has to be there before."""

    async def places(self) -> Sequence[str]:
        """Return a name for each process."""
        return [f"worker {number}" for number in range(1, self._number + 1)]

    async def open(self, place: str, start: bytes) -> Link:
        """Start a process. Raises `LinkLost`."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "batchgen.cluster.worker",
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is the driver's to answer
                limit=2**20,
            )
        except OSError as error:
            raise LinkLost(f"no process can be started ({error})") from error
        link = ProcessLink(process)
        link.push(start)
        return link

    async def close(self) -> None:
        """Nothing is left behind."""
