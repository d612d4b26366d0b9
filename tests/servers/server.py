"""A third-party server as a process: started on a free port, waited for, ended by its pid, its log shown."""

from __future__ import annotations

import os
import socket
import subprocess
import time

import httpx

LOG_TAIL = 20_000
"""Most characters of a server's log that are shown when a test fails."""


def free_port():
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """Runs `argv`, in which `{port}` stands for the port, until the block ends. pytest shows the log of a failed test.

    `ready` is the path that answers 200 once the server serves; `start_s` seconds are granted until then.
    """

    def __init__(self, argv, log, *, ready, env=None, start_s=60):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._argv = [word.replace("{port}", str(self.port)) for word in argv]
        self._log = log
        self._ready = ready
        self._env = {**os.environ, **(env or {})}
        self._start_s = start_s

    def __enter__(self):
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=self._env
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_reason):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        print(f"--- {' '.join(self._argv)}: exit {self._process.returncode}, log: ---")
        print(self._log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:])

    def _wait(self):
        end_s = time.monotonic() + self._start_s
        while True:
            assert self._process.poll() is None, f"the server ended at once with {self._process.returncode}"
            assert time.monotonic() < end_s, f"the server does not serve after {self._start_s} s"
            try:
                if httpx.get(self.url + self._ready, timeout=2, trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
