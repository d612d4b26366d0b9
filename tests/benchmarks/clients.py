"""The other ways to send the same prompts: one client in a process of its own, pinned to core 0.

    python -m tests.benchmarks.clients NAME BASE_URL IN_FLIGHT ROWS OUTPUT.jsonl

Each is set up for speed: no limit of its own on connections, no retries, uvloop, answers kept as JSON lines. The
prompts are in memory before the clock starts. Prints figures as JSON. Imports are inside the functions, so that the
script runs under an interpreter that has the peers and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TextIO

from tests.benchmarks.server import ANSWER, pin

MODEL, KEY = "qwen-plus", "sk-benchmark"
SYSTEM = "Read the text and say in one sentence what it is about."
WARM_ROWS = 20

Ask = Callable[[str], Awaitable[str]]
"""Sends one prompt and returns the line to keep."""

Client = Callable[[str, int, list[str], TextIO], Awaitable[None]]
"""Sends all prompts to a base URL, so many in flight, and writes a line for each."""


def messages_of(prompt):
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]


async def work_off(ask, in_flight, prompts, kept):
    """The cheapest loop there is: so many workers over one iterator."""
    rest = iter(prompts)

    async def work():
        for prompt in rest:
            kept.write(await ask(prompt))

    await asyncio.gather(*(work() for _ in range(in_flight)))


async def semaphore_loop(ask, in_flight, prompts, kept):
    """The loop that everybody writes: a task for each prompt, a semaphore round the call."""
    semaphore = asyncio.Semaphore(in_flight)

    async def one(prompt):
        async with semaphore:
            kept.write(await ask(prompt))

    await asyncio.gather(*map(one, prompts))


async def bare_aiohttp(base_url, in_flight, prompts, kept):
    """Post JSON, keep the JSON that comes as a line: no status is looked at, nothing is tried again."""
    import aiohttp

    url = f"{base_url}/api/v1/services/aigc/text-generation/generation"
    headers = {"authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def ask(prompt):
            body = {"model": MODEL, "input": {"messages": messages_of(prompt)}, "parameters": {}}
            async with session.post(url, json=body) as reply:
                return json.dumps(await reply.json()) + "\n"

        await work_off(ask, in_flight, prompts, kept)


async def stripped_aiohttp(base_url, in_flight, prompts, kept):
    """The same with all taken out that can be: bytes made before go out, bytes are kept as they come."""
    import aiohttp

    url = f"{base_url}/api/v1/services/aigc/text-generation/generation"
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    bodies = [
        json.dumps({"model": MODEL, "input": {"messages": messages_of(prompt)}, "parameters": {}}) for prompt in prompts
    ]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=headers) as session:

        async def ask(body):
            async with session.post(url, data=body.encode()) as reply:
                return (await reply.read()).decode() + "\n"

        await work_off(ask, in_flight, bodies, kept)


async def transport_alone(base_url, in_flight, prompts, kept):
    """batchgen's transport with a request made before: what is left when all but sending is taken away."""
    from batchgen.transport import open_transport
    from batchgen.values import Request, Response
    from tests.transport.conftest import bearer

    url = f"{base_url}/api/v1/services/aigc/text-generation/generation"
    body = json.dumps({"model": MODEL, "input": {"messages": messages_of(prompts[0])}, "parameters": {}}).encode()
    request = Request(url, body, {"content-type": "application/json"})
    async with open_transport("fast", base_url=base_url, secrets=bearer(KEY), concurrency=in_flight) as transport:

        async def ask(_prompt):
            reply = await transport.send(request, timeout_s=60)
            assert isinstance(reply, Response)
            return ANSWER

        await work_off(ask, in_flight, prompts, kept)


async def dashscope_sdk(base_url, in_flight, prompts, kept):
    """`AioGeneration.call` over one session of its own (its shared one stops at 100 connections)."""
    import aiohttp
    import dashscope
    from dashscope.aigc.generation import AioGeneration

    dashscope.base_http_api_url = f"{base_url}/api/v1"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(prompt):
            reply = await AioGeneration.call(
                MODEL, messages=messages_of(prompt), api_key=KEY, result_format="message", session=session
            )
            return json.dumps({"text": reply.output.choices[0].message.content, "usage": reply.usage}) + "\n"

        await semaphore_loop(ask, in_flight, prompts, kept)


async def openai_sdk(base_url, in_flight, prompts, kept):
    """`AsyncOpenAI` over its default transport."""
    await _openai(base_url, in_flight, prompts, kept, over_aiohttp=False)


async def openai_aiohttp(base_url, in_flight, prompts, kept):
    """`AsyncOpenAI` over `DefaultAioHttpClient`."""
    await _openai(base_url, in_flight, prompts, kept, over_aiohttp=True)


async def _openai(base_url, in_flight, prompts, kept, *, over_aiohttp):
    import httpx
    from openai import AsyncOpenAI, DefaultAioHttpClient, DefaultAsyncHttpxClient

    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    http = DefaultAioHttpClient(limits=limits) if over_aiohttp else DefaultAsyncHttpxClient(limits=limits)
    async with AsyncOpenAI(base_url=f"{base_url}/v1", api_key=KEY, max_retries=0, http_client=http) as client:

        async def ask(prompt):
            reply = await client.chat.completions.create(model=MODEL, messages=messages_of(prompt))
            assert reply.usage is not None
            line = {"text": reply.choices[0].message.content, "usage": reply.usage.total_tokens}
            return json.dumps(line) + "\n"

        await semaphore_loop(ask, in_flight, prompts, kept)


async def flexllm(base_url, in_flight, prompts, kept):
    """`LLMClient.chat_batch`, which keeps its answers itself."""
    from flexllm import LLMClient

    async with LLMClient(
        base_url=f"{base_url}/v1", api_key=KEY, model=MODEL, concurrency_limit=in_flight, max_qps=0, retry_times=0
    ) as client:
        results = await client.chat_batch(list(map(messages_of, prompts)), show_progress=False, output_jsonl=kept.name)
    if any(result.content != ANSWER for result in results):
        raise SystemExit("flexllm lost an answer")


async def async_batch_llm(base_url, in_flight, prompts, kept):
    """`process_prompts`; each answer is written as a line afterwards."""
    from async_batch_llm import OpenAIModel, OpenAIStrategy, process_prompts

    model = OpenAIModel.from_api_key(
        MODEL,
        KEY,
        base_url=f"{base_url}/v1",
        system_instruction=SYSTEM,
        api_surface="chat_completions",
        max_connections=in_flight,
    )
    batch = await process_prompts(OpenAIStrategy(model), prompts, concurrency=in_flight)
    for result in batch.results:
        if result.output != ANSWER:
            raise SystemExit(f"async-batch-llm lost an answer: {result.error}")
        kept.write(json.dumps({"text": result.output}) + "\n")


CLIENTS = {
    "bare aiohttp": (bare_aiohttp, "aiohttp", "aiohttp"),
    "stripped aiohttp": (stripped_aiohttp, "aiohttp", "aiohttp"),
    "dashscope SDK": (dashscope_sdk, "dashscope", "dashscope"),
    "openai SDK": (openai_sdk, "openai", "openai"),
    "openai over aiohttp": (openai_aiohttp, "openai", "httpx_aiohttp"),
    "flexllm": (flexllm, "flexllm", "flexllm"),
    "async-batch-llm": (async_batch_llm, "async-batch-llm", "async_batch_llm"),
    "transport alone": (transport_alone, "httptools", "httptools"),
}
"""Name → the client, the distribution whose version counts, and the module without which it is left out."""


async def measure(client, base_url, in_flight, prompts, path):
    """Warm up with a few prompts (imports, first connections), then measure."""
    with open(f"{path}.warm-up.jsonl", "w") as kept:  # noqa: ASYNC230 - a line each now and then, as the loops write too
        await client(base_url, WARM_ROWS, prompts[:WARM_ROWS], kept)
    with open(path, "w") as kept:  # noqa: ASYNC230
        before = resource.getrusage(resource.RUSAGE_SELF)
        start = time.perf_counter()
        await client(base_url, in_flight, prompts, kept)
        elapsed_s = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rate": len(prompts) / elapsed_s, "cpu_us": cpu_s / len(prompts) * 1e6, "peak_mb": after.ru_maxrss / 1024}


def main():
    """Measure one client and print its figures; without arguments, print the versions of those installed."""
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    import uvloop

    if len(sys.argv) == 1:
        versions = {}
        for name, (_, distribution, module) in CLIENTS.items():
            try:
                if module is None or find_spec(module):
                    versions[name] = f"{distribution} {version(distribution)}"
            except PackageNotFoundError:
                continue
        print(json.dumps(versions))
        return
    pin(0)
    name, base_url, in_flight, rows, output = sys.argv[1:]
    prompts = [f"{row:<10}{'lorem ipsum ' * 170}"[:2000] for row in range(int(rows))]
    client = CLIENTS[name][0]
    print(json.dumps(uvloop.run(measure(client, base_url, int(in_flight), prompts, output))))


if __name__ == "__main__":
    main()
