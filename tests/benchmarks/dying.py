"""A relay before a simulated provider that can be told to fail everything for a while."""

from __future__ import annotations

import asyncio
import threading
from urllib.parse import urlsplit

FAILED = b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Relay:
    """Passes connections on to `url`, from a thread of its own; `fail` and `mend` may be called from any."""

    def __init__(self, url):
        parts = urlsplit(url)
        self._target = parts.hostname, parts.port
        self._failing = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self.url = f"http://127.0.0.1:{server.result().sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *error):
        self._loop.call_soon_threadsafe(self._loop.stop)

    def fail(self):
        """Answer every request with status 500 from now on."""
        self._failing = True

    def mend(self):
        """Pass requests on again."""
        self._failing = False

    async def _serve(self, reader, writer):
        try:
            theirs = await asyncio.open_connection(*self._target)
            back = asyncio.ensure_future(self._answers(theirs[0], writer))
            while data := await reader.read(65_536):
                if self._failing:  # a small request comes in one piece
                    writer.write(FAILED)
                else:
                    theirs[1].write(data)
            back.cancel()
            theirs[1].close()
            writer.close()
        except OSError:
            writer.close()

    @staticmethod
    async def _answers(reader, writer):
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()
