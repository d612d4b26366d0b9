"""Several processes at one simulated account, for a benchmark and for tests."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from batchgen.simulator import Settings, start_in_thread

JOB = """
name = "shared"
[input]
path = "in.csv"
[prompt]
user = "{{{{ text }}}}"
[model]
provider = "openai"
name = "qwen-plus"
base_url = "{url}/compatible-mode/v1"
api_key_env = "SHARED_KEY"
[limits]
stalled_s = 60
{account}
[output]
path = "{output}"
"""


class Counter:
    """A relay before the simulator that notes when each answer with status 200 or 429 went to which key."""

    def __init__(self, url):
        parts = urlsplit(url)
        self._target = parts.hostname, parts.port
        self.seen = []  # (seconds since 1970, key, status)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        opened = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = opened.result()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self):
        """Stop serving, and leave no task or connection behind."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self):
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # so that connections are closed

    async def _serve(self, reader, writer):
        key = ["?"]
        with closing(writer), suppress(OSError):
            incoming, outgoing = await asyncio.open_connection(*self._target)
            back = asyncio.ensure_future(self._answers(incoming, writer, key))
            with closing(outgoing):
                while data := await reader.read(65_536):
                    if b"Bearer " in data:
                        key[0] = data.split(b"Bearer ", 1)[1].split(b"\r\n")[0].decode()
                    outgoing.write(data)
                back.cancel()

    async def _answers(self, reader, writer, key):
        with closing(writer), suppress(OSError):
            while data := await reader.read(65_536):
                if data.startswith(b"HTTP/1.1 "):
                    self.seen.append((time.time(), key[0], int(data[9:12])))
                writer.write(data)


class Account:
    """A provider of 3,600 requests a minute, and processes that share it."""

    def __init__(self, folder, *, alone=False, rpm=3_600, state=None):
        self.folder, self.alone, self.rpm = folder, alone, rpm
        self._state = state or folder / "state"
        self.processes = []

    def __enter__(self):
        self._simulator = start_in_thread(Settings(latency_ms=300, latency_sigma=0.3, rpm=self.rpm))
        self.counter = Counter(self._simulator.url)
        (self.folder / "in.csv").write_text("text\n" + "".join(f"row {n}\n" for n in range(20_000)))
        return self

    def __exit__(self, *error):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self.counter.close()
        self._simulator.close()

    def start(self, number):
        """Start so many runs."""
        for _ in range(number):
            name = f"run{len(self.processes)}"
            job = self.folder / f"{name}.toml"
            account = "" if self.alone else 'account = "shared"'
            job.write_text(JOB.format(url=self.counter.url, account=account, output=name))
            environment = os.environ | {"SHARED_KEY": f"sk-{name}-0123456789", "XDG_STATE_HOME": str(self._state)}
            command = [sys.executable, "-m", "batchgen", "run", str(job), "--no-progress"]
            with (self.folder / f"{name}.log").open("wb") as log:
                self.processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))

    def leader(self):
        """Return the process that holds the lock."""
        lock = next((self._state / "batchgen" / "accounts").glob("*.lock")).stat()
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5].endswith(f":{lock.st_ino}"):
                return int(fields[4])
        raise LookupError("nobody leads")

    def of(self, process):
        """Return the key of a process."""
        return f"sk-run{[one.pid for one in self.processes].index(process)}-0123456789"

    def figures(self, since_s, until_s=float("inf")):
        """Return (share of the limit, share refused, rows by key, longest time without an answer), between seconds."""
        first_s = self.counter.seen[0][0]
        seen = [one for one in self.counter.seen if since_s <= one[0] - first_s < until_s]
        times = [at_s for at_s, _, status in seen if status == 200]
        rows = {}
        for _, key, status in seen:
            rows[key] = rows.get(key, 0) + (status == 200)
        share = len(times) / (times[-1] - times[0]) / (self.rpm / 60)
        gap_s = max(after - before for before, after in pairwise(times))
        return share, sum(status == 429 for _, _, status in seen) / len(seen), rows, gap_s

    def report(self, warm_s):
        """Return the figures as text."""
        share, refused, rows, gap_s = self.figures(warm_s)
        whole = self.figures(0.0)
        return (
            f"{share:.1%} of the limit after {warm_s:.0f} s, {refused:.2%} refused ({whole[1]:.2%} with the start); "
            f"rows {sorted(rows.values())}; longest gap {gap_s:.2f} s"
        )
