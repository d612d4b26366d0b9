"""How fast requests travel: both transports, a bare aiohttp session and `wrk` against one near-free server, in one run.

    python -m tests.benchmarks.transport [--requests 20000] [--rounds 3]

The server (an asyncio protocol that answers every request with the same bytes) runs in a process pinned to one core,
each client in a process pinned to another. Rates of one machine mean little to another: the ratios are what counts.
aiohttp and wrk are left out where they are not installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import cast

import uvloop

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "y" * 2000}]}).encode()
ANSWER = json.dumps({"choices": [{"message": {"content": "x" * 1200}, "finish_reason": "stop"}]}).encode()
REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: r\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)
CASES = [(64, 0.0), (512, 0.0), (2000, 0.0), (2000, 0.2)]
"""Connections, and the server's latency in seconds."""

HTTPX_REQUESTS, HTTPX_CONNECTIONS = 600, 512
"""httpx's cost per request grows with its connections: fewer requests, none where it takes minutes."""

Send = Callable[[], Awaitable[int]]


def pin(core):
    """Keep this process on one core, where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})


class Answering(asyncio.Protocol):
    """Answers each whole request, at once or after a latency."""

    def __init__(self, latency_s):
        self._latency_s = latency_s
        self._buffer = b""

    def connection_made(self, transport):
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data):
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"content-length: *(\d+)", self._buffer[:end], re.IGNORECASE)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            self._buffer = self._buffer[whole:]
            if self._latency_s:
                asyncio.get_running_loop().call_later(self._latency_s, self._answer)
            else:
                self._answer()

    def _answer(self):
        if not self._transport.is_closing():  # wrk leaves in the midst of its requests
            self._transport.write(REPLY)


async def serve(port, latency_s):
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Answering(latency_s), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


async def drive(name, url, connections, requests):
    """Send `requests` over `connections` and print rate, CPU per request and peak memory as JSON."""
    if name == "aiohttp":
        import aiohttp

        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers={"authorization": "Bearer sk-x"}) as session:

            async def post():
                async with session.post(url, data=BODY, headers={"content-type": "application/json"}) as reply:
                    return len(await reply.read())

            figures = await measure(post, connections, requests)
    else:
        from batchgen.transport import open_transport
        from batchgen.values import Request, Response
        from tests.transport.conftest import bearer

        request = Request(url, BODY, {"content-type": "application/json"}, streamed=name == "fast, streamed")
        kind = "httpx" if name == "httpx" else "fast"
        secrets = bearer("sk-benchmark")
        async with open_transport(kind, base_url=url, secrets=secrets, concurrency=connections) as transport:

            async def send():
                outcome = await transport.send(request, timeout_s=60)
                if not isinstance(outcome, Response):
                    raise SystemExit(outcome.message)
                return len(outcome.body)

            figures = await measure(send, connections, requests)
    print(json.dumps(figures))


async def measure(send, connections, requests):
    """Warm all connections up, then measure."""

    async def work(numbers):
        for _ in numbers:
            if await send() != len(ANSWER):
                raise SystemExit("a reply is not whole")

    async def all_of(count):
        share = -(-count // connections)
        await asyncio.gather(*(work(range(share)) for _ in range(connections)))

    await all_of(connections)
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    await all_of(requests)
    elapsed_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    count = -(-requests // connections) * connections
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rate": count / elapsed_s, "cpu_us": cpu_s / count * 1e6, "peak_mb": after.ru_maxrss / 1024}


def run_client(name, url, connections, requests):
    """Measure one client in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, "--drive", name, url, str(connections), str(requests)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr or done.stdout}")
    return json.loads(done.stdout)


def run_wrk(url, connections, script):
    """Measure wrk with one thread for two seconds."""
    command = ["wrk", "-t1", f"-c{connections}", "-d2s", "-s", script, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, preexec_fn=lambda: pin(0))
    rate = re.search(r"Requests/sec: *([\d.]+)", done.stdout)
    assert rate is not None
    return {"rate": float(rate[1])}


def free_port():
    """Return a port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port):
    """Wait until the server listens."""
    for _ in range(500):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise SystemExit("the server did not start")


def compare(requests, rounds):
    """Run all clients in turn, `rounds` times, and print medians and ratios to the fast transport."""
    import importlib.util
    import tempfile

    names = ["fast", "fast, streamed", "httpx"]
    if importlib.util.find_spec("aiohttp"):
        names.append("aiohttp")
    if shutil.which("wrk"):
        names.append("wrk")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(
            f"wrk.method='POST'\nwrk.body=[==[{BODY.decode()}]==]\n"
            "wrk.headers['content-type']='application/json'\nwrk.headers['authorization']='Bearer sk-x'\n"
        )
        script.flush()
        for connections, latency_s in CASES:
            port = free_port()
            command = [sys.executable, "-m", __spec__.name, "--serve", str(port), str(latency_s)]
            with subprocess.Popen(command) as server:
                try:
                    wait_for(port)
                    url = f"http://127.0.0.1:{port}/v1/chat/completions"
                    figures = {name: [] for name in names if name != "httpx" or connections <= HTTPX_CONNECTIONS}
                    for _ in range(rounds):
                        for name in figures:
                            count = HTTPX_REQUESTS if name == "httpx" else requests
                            figures[name].append(
                                run_wrk(url, connections, script.name)
                                if name == "wrk"
                                else run_client(name, url, connections, count)
                            )
                finally:
                    server.terminate()
            report(connections, latency_s, figures)


def report(connections, latency_s, figures):
    """Print one table."""
    print(f"\n{connections} connections, server latency {latency_s * 1000:.0f} ms")
    print(f"{'client':16} {'requests/s':>11} {'of fast':>8} {'CPU us':>8} {'peak MB':>8}")
    fast = statistics.median(run["rate"] for run in figures["fast"])
    for name, runs in figures.items():
        rate, cpu_us, peak_mb = (
            statistics.median(run.get(key, 0.0) for run in runs) for key in ("rate", "cpu_us", "peak_mb")
        )
        print(f"{name:16} {rate:11.0f} {rate / fast:8.2f} {cpu_us:8.1f} {peak_mb:8.0f}")


def main():
    """Compare, or be one of the processes of a comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "LATENCY_S"), help=argparse.SUPPRESS)
    parser.add_argument("--drive", nargs=4, metavar=("NAME", "URL", "CONNECTIONS", "REQUESTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        pin(1)
        uvloop.run(serve(int(options.serve[0]), float(options.serve[1])))
    elif options.drive:
        pin(0)
        name, url, connections, requests = options.drive
        uvloop.run(drive(name, url, int(connections), int(requests)))
    else:
        compare(options.requests, options.rounds)


if __name__ == "__main__":
    main()
