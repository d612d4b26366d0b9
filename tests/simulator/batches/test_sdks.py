"""The vendors' own clients work with the simulated batch APIs, over the socket."""

from __future__ import annotations

import asyncio
import json

import anthropic
import openai
import pytest

from batchgen.simulator import Settings, Simulator, expected_answer
from tests.simulator.batches.conftest import BASES, chat_line, jsonl

FAST = Settings(batch_speed=360_000)


@pytest.fixture
def anyio_backend():
    """Async tests run on asyncio."""
    return "asyncio"


async def ended(retrieve, is_open):
    """Return a batch when it has ended."""
    while is_open(batch := await retrieve()):  # noqa: ASYNC110 - as a client does it
        await asyncio.sleep(0.005)
    return batch


@pytest.mark.anyio
@pytest.mark.parametrize("base", BASES)
async def test_openai(base, tmp_path):
    """Upload, create, retrieve, list, content, delete."""
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(jsonl([chat_line(f"row-{i}") for i in range(30)] + [chat_line("bad", n=-1)]))
    async with (
        Simulator(FAST) as simulator,
        openai.AsyncOpenAI(
            base_url=simulator.url + base,
            api_key="k",
            default_headers={"api-key": "k"},
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(verify=False),
        ) as client,
    ):
        file = await client.files.create(file=rows, purpose="batch")
        assert (file.status, file.bytes, file.filename) == ("processed", rows.stat().st_size, "rows.jsonl")
        batch = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"part": "1"}
        )
        assert batch.status == "validating"
        batch = await ended(
            lambda: client.batches.retrieve(batch.id),
            lambda batch: batch.status in {"validating", "in_progress", "finalizing"},
        )
        assert (batch.status, batch.metadata, batch.errors) == ("completed", {"part": "1"}, None)
        assert batch.request_counts
        assert (batch.request_counts.completed, batch.request_counts.failed) == (30, 1)
        output = json.loads((await client.files.content(batch.output_file_id)).text.splitlines()[3])
        asked = chat_line(output["custom_id"])["body"]["messages"]
        assert output["response"]["body"]["choices"][0]["message"]["content"] == expected_answer(asked)
        error = json.loads((await client.files.content(batch.error_file_id)).text)
        assert (error["custom_id"], error["response"]["status_code"]) == ("bad", 400)
        assert [listed.id async for listed in client.batches.list(limit=1)] == [batch.id]
        assert {listed.id async for listed in client.files.list()} == {
            file.id,
            batch.output_file_id,
            batch.error_file_id,
        }
        assert (await client.files.delete(file.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve(file.id)
        with pytest.raises(openai.ConflictError):
            await client.batches.cancel(batch.id)


@pytest.mark.anyio
async def test_openai_cancels(tmp_path):
    """What was finished stays, and the rest is told as cancelled."""
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(jsonl([chat_line(f"row-{i}") for i in range(200)]))
    clock = [1_800_000_000.0]
    async with (
        Simulator(Settings(batch_speed=1, batch_sigma=0), wall_clock=lambda: clock[0]) as simulator,
        openai.AsyncOpenAI(
            base_url=simulator.url + "/v1", api_key="k", http_client=openai.DefaultAsyncHttpxClient(verify=False)
        ) as client,
    ):
        file = await client.files.create(file=rows, purpose="batch")
        batch = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        clock[0] += 60
        await ended(lambda: client.batches.retrieve(batch.id), lambda batch: batch.status == "validating")
        clock[0] += 1800
        assert (await client.batches.cancel(batch.id)).status == "cancelling"
        clock[0] += 600
        batch = await ended(lambda: client.batches.retrieve(batch.id), lambda batch: batch.status == "cancelling")
        assert batch.status == "cancelled"
        output = (await client.files.content(batch.output_file_id)).text.splitlines()
        errors = (await client.files.content(batch.error_file_id)).text.splitlines()
        assert len(output) + len(errors) == 200
        assert 60 < len(output) < 140
        assert {json.loads(line)["error"]["code"] for line in errors} == {"batch_cancelled"}
        assert simulator.stats()["billed"]["requests"] == len(output)


@pytest.mark.anyio
async def test_anthropic():
    """Create, retrieve, list, results, delete; a row that is refused is `errored`."""
    asked = {"model": "claude-haiku-5-5", "max_tokens": 4000}
    requests = [
        {"custom_id": f"row-{i}", "params": asked | {"messages": [{"role": "user", "content": f"text {i}"}]}}
        for i in range(30)
    ]
    requests.append({"custom_id": "bad", "params": asked | {"messages": []}})
    async with (
        Simulator(FAST) as simulator,
        anthropic.AsyncAnthropic(
            base_url=simulator.url,
            api_key="k",
            max_retries=0,
            http_client=anthropic.DefaultAsyncHttpxClient(verify=False),
        ) as client,
    ):
        batches = client.messages.batches
        batch = await batches.create(requests=requests)
        assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 31)
        with pytest.raises(anthropic.AnthropicError):
            await batches.results(batch.id)
        batch = await ended(lambda: batches.retrieve(batch.id), lambda b: b.processing_status != "ended")
        assert (batch.request_counts.succeeded, batch.request_counts.errored) == (30, 1)
        results = {line.custom_id: line.result async for line in await batches.results(batch.id)}
        assert results["row-4"].type == "succeeded"
        assert results["row-4"].message.content[0].text == expected_answer("text 4")
        assert results["row-4"].message.usage.service_tier == "batch"
        assert (results["bad"].type, results["bad"].error.error.type) == ("errored", "invalid_request_error")
        assert [listed.id async for listed in batches.list(limit=1)] == [batch.id]
        billed = simulator.stats()["billed_lanes"]["batch"]
        assert billed["requests"] == 30
        assert (await batches.delete(batch.id)).id == batch.id
        with pytest.raises(anthropic.NotFoundError):
            await batches.retrieve(batch.id)


@pytest.mark.anyio
async def test_anthropic_cancels_and_refuses():
    """A batch that is cancelled at once has no finished row; an id that is none is refused as a whole."""
    params = {"model": "claude-haiku-5-5", "max_tokens": 40, "messages": [{"role": "user", "content": "hello"}]}
    async with (
        Simulator(FAST) as simulator,
        anthropic.AsyncAnthropic(
            base_url=simulator.url,
            api_key="k",
            max_retries=0,
            http_client=anthropic.DefaultAsyncHttpxClient(verify=False),
        ) as client,
    ):
        batches = client.messages.batches
        for names in (["with space"], ["same", "same"], []):
            with pytest.raises(anthropic.BadRequestError):
                await batches.create(requests=[{"custom_id": name, "params": params} for name in names])
        simulator.change(batch_speed=36_000, oddities=("stuck",))
        batch = await batches.create(requests=[{"custom_id": "row", "params": params}])
        assert (await batches.cancel(batch.id)).processing_status == "canceling"
        batch = await ended(lambda: batches.retrieve(batch.id), lambda b: b.processing_status != "ended")
        assert batch.request_counts.canceled == 1
        assert [line.result.type async for line in await batches.results(batch.id)] == ["canceled"]
        assert simulator.stats()["billed"]["requests"] == 0
