"""The vendors' own clients accept the simulator's replies: plain, streamed, thinking, tools, schemas, errors."""

from __future__ import annotations

import json

import anthropic
import dashscope
import openai
import pytest
from dashscope.api_entities.aio_session import close_shared_aio_session

from batchgen.simulator import Simulator, count_tokens, expected_answer

MESSAGES = [{"role": "system", "content": "You help."}, {"role": "user", "content": "Where is my order 4711?"}]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "find_order",
            "description": "Look up an order.",
            "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]},
        },
    }
]
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}


@pytest.fixture(params=["/v1", "/compatible-mode/v1"])
async def client(request):
    """OpenAI's client, on both paths of chat completions; `client.simulator` is the other end."""
    async with (
        Simulator() as simulator,
        openai.AsyncOpenAI(
            base_url=simulator.url + request.param,
            api_key="test-key",
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(verify=False),
        ) as sdk,
    ):
        sdk.simulator = simulator  # type: ignore[attr-defined]
        yield sdk


@pytest.mark.anyio
async def test_openai_plain(client):
    """Text, finish_reason, usage."""
    done = await client.chat.completions.create(model="qwen-plus", messages=MESSAGES)
    assert done.choices[0].message.content == expected_answer(MESSAGES)
    assert done.choices[0].finish_reason == "stop"
    assert done.usage is not None
    assert done.usage.completion_tokens == count_tokens(expected_answer(MESSAGES))
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    assert [model.id async for model in client.models.list()]


@pytest.mark.anyio
async def test_openai_stream_with_thinking(client):
    """Deltas join to the answer, reasoning comes first, usage on the last chunk."""
    text, reasoning, usage, reasons = "", "", None, []
    async for chunk in await client.chat.completions.create(
        model="qwen-plus",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"enable_thinking": True},
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            reasoning += getattr(choice.delta, "reasoning_content", None) or ""
            text += choice.delta.content or ""
            reasons.append(choice.finish_reason)
    assert text == expected_answer(MESSAGES)
    assert reasoning.startswith("Considering")
    assert reasons[-1] == "stop"
    assert usage is not None
    assert usage.completion_tokens == count_tokens(text) + count_tokens(reasoning)
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == count_tokens(reasoning)


@pytest.mark.anyio
async def test_openai_tools_plain_and_streamed(client):
    """A call with arguments that fit; the stream's deltas join to the same call."""
    done = await client.chat.completions.create(model="qwen-plus", messages=MESSAGES, tools=TOOLS)
    assert done.choices[0].finish_reason == "tool_calls"
    calls = done.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert (calls[0].function.name, json.loads(calls[0].function.arguments)) == ("find_order", {"number": 4711})
    arguments, named = "", []
    stream = await client.chat.completions.create(model="qwen-plus", messages=MESSAGES, tools=TOOLS, stream=True)
    async for chunk in stream:
        for delta in chunk.choices[0].delta.tool_calls or ():
            assert delta.function is not None
            arguments += delta.function.arguments or ""
            named += [(delta.id, delta.function.name)] if delta.id else []
    assert arguments == calls[0].function.arguments
    assert named == [(calls[0].id, "find_order")]


@pytest.mark.anyio
async def test_openai_json_schema_and_stream_helper(client):
    """The SDK's own accumulator is content with a schema's answer."""
    async with client.chat.completions.stream(
        model="qwen-plus", messages=MESSAGES, response_format=JSON_SCHEMA
    ) as stream:
        done = await stream.get_final_completion()
    answer = json.loads(done.choices[0].message.content or "")
    assert set(answer) == {"name", "age"}
    assert 0 <= answer["age"] <= 99


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"api_key": "another"}, openai.AuthenticationError),
        ({"models": ("other",)}, openai.NotFoundError),
        ({"rpm": 0.001, "tpm": 0.001}, openai.RateLimitError),
        ({"error_500": 1.0}, openai.InternalServerError),
        ({"error_502_html": 1.0}, openai.InternalServerError),
        ({"error_503": 1.0}, openai.InternalServerError),
        ({"poison": "4711"}, openai.BadRequestError),
        ({"reset": 1.0}, openai.APIConnectionError),
        ({"truncate": 1.0}, openai.APIConnectionError),
    ],
)
async def test_openai_errors(client, settings, error):
    """Each error becomes the SDK's exception for it."""
    simulator = client.simulator  # type: ignore[attr-defined]
    await client.chat.completions.create(model="qwen-plus", messages=MESSAGES)
    simulator.change(**settings)
    simulator.change(rpm=settings.get("rpm"))
    if "rpm" in settings:
        await client.chat.completions.create(model="qwen-plus", messages=MESSAGES[1:])
    with pytest.raises(error):
        await client.chat.completions.create(model="qwen-plus", messages=MESSAGES)


@pytest.mark.anyio
async def test_openai_error_in_a_stream(client):
    """An error frame raises in the middle of the stream."""
    client.simulator.change(stream_error=1.0)  # type: ignore[attr-defined]
    stream = await client.chat.completions.create(model="qwen-plus", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError, match="mid-stream"):
        _ = [chunk async for chunk in stream]


def generate(simulator, **arguments):
    """Call the native API through dashscope's own client."""
    given = {"model": "qwen-plus", "messages": MESSAGES, "result_format": "message"} | arguments
    return dashscope.Generation.call(
        api_key="test-key", base_address=simulator.url + "/api/v1", **{k: v for k, v in given.items() if v is not None}
    )


def test_dashscope_plain(simulator):
    """Message and text format, messages and prompt, usage."""
    done = generate(simulator)
    assert done.status_code == 200, done.message
    assert done.output.choices[0].message.content == expected_answer(MESSAGES)
    assert done.output.choices[0].finish_reason == "stop"
    assert done.usage.output_tokens == count_tokens(expected_answer(MESSAGES))
    assert done.request_id
    done = generate(simulator, messages=None, prompt="hello", result_format="text")
    assert done.output.text == expected_answer("hello")


@pytest.mark.parametrize("incremental", [True, False])
def test_dashscope_stream(simulator, incremental):
    """Frames in the native dialect, incremental or cumulative."""
    frames = list(generate(simulator, stream=True, incremental_output=incremental))
    assert all(frame.status_code == 200 for frame in frames)
    texts = [frame.output.choices[0].message.content for frame in frames]
    assert ("".join(texts) if incremental else texts[-1]) == expected_answer(MESSAGES)
    assert [frame.output.choices[0].finish_reason for frame in frames][-2:] == ["null", "stop"]
    assert frames[-1].usage.output_tokens == count_tokens(expected_answer(MESSAGES))


def test_dashscope_thinking_tools_and_schema(simulator):
    """Reasoning in its own field, a call of a tool, an object that fits."""
    frames = list(generate(simulator, model="qwq-plus", stream=True, incremental_output=True))
    reasoning = "".join(frame.output.choices[0].message.get("reasoning_content", "") for frame in frames)
    assert reasoning.startswith("Considering")
    assert frames[-1].usage.output_tokens_details["reasoning_tokens"] == count_tokens(reasoning)
    done = generate(simulator, tools=TOOLS)
    assert done.output.choices[0].finish_reason == "tool_calls"
    assert done.output.choices[0].message.tool_calls[0]["function"]["name"] == "find_order"
    done = generate(simulator, response_format=JSON_SCHEMA)
    assert set(json.loads(done.output.choices[0].message.content)) == {"name", "age"}


@pytest.mark.anyio
async def test_dashscope_async_client():
    """AioGeneration, plain and streamed."""
    async with Simulator() as simulator:
        asked = {
            "model": "qwen-plus",
            "messages": MESSAGES,
            "result_format": "message",
            "api_key": "test-key",
            "base_address": simulator.url + "/api/v1",
        }
        done = await dashscope.AioGeneration.call(**asked)
        assert done.output.choices[0].message.content == expected_answer(MESSAGES)
        stream = await dashscope.AioGeneration.call(**asked, stream=True, incremental_output=True)
        text = "".join([frame.output.choices[0].message.content async for frame in stream])
        assert text == expected_answer(MESSAGES)
    await close_shared_aio_session()


@pytest.mark.parametrize(
    ("settings", "arguments", "status", "code"),
    [
        ({"api_key": "another"}, {}, 401, "InvalidApiKey"),
        ({"models": ("other",)}, {}, 404, "ModelNotFound"),
        ({"fatal_after": 0, "fatal_error": "arrearage"}, {}, 400, "Arrearage"),
        ({"content_filter": 1.0}, {}, 400, "DataInspectionFailed"),
        ({}, {"temperature": 2.0}, 400, "InvalidParameter"),
        ({}, {"model": "qwq-plus"}, 400, "InvalidParameter"),
        ({}, {"model": "qwen3.6-plus"}, 400, "InvalidParameter"),
    ],
)
def test_dashscope_errors(simulator, settings, arguments, status, code):
    """Status and code come through as the SDK's own fields."""
    simulator.change(**settings)
    done = generate(simulator, **arguments)
    assert (done.status_code, done.code) == (status, code)
    assert done.message
    assert done.request_id


def test_dashscope_error_in_a_stream(simulator):
    """The error frame's code reaches the caller; the SDK does not read `:HTTP_STATUS`, so its status is always 400."""
    simulator.change(stream_error=1.0)
    frames = list(generate(simulator, stream=True, incremental_output=True))
    assert frames[0].status_code == 200
    assert (frames[-1].status_code, frames[-1].code) == (400, "InternalError")


@pytest.fixture
async def claude():
    """Anthropic's client; `claude.simulator` is the other end."""
    async with (
        Simulator() as simulator,
        anthropic.AsyncAnthropic(
            base_url=simulator.url,
            api_key="test-key",
            max_retries=0,
            http_client=anthropic.DefaultAsyncHttpxClient(verify=False),
        ) as sdk,
    ):
        sdk.simulator = simulator  # type: ignore[attr-defined]
        yield sdk


ASKED = {"model": "claude-haiku-5-5", "max_tokens": 4000, "system": "You help.", "messages": MESSAGES[1:]}


@pytest.mark.anyio
async def test_anthropic_plain_and_streamed(claude):
    """Text, stop_reason and usage; the stream's events join to the same message."""
    done = await claude.messages.create(**ASKED)
    assert [block.text for block in done.content] == [expected_answer(MESSAGES)]
    assert (done.stop_reason, done.usage.output_tokens) == ("end_turn", count_tokens(expected_answer(MESSAGES)))
    async with claude.messages.stream(**ASKED) as stream:
        joined = await stream.get_final_message()
    assert joined.content[0].text == done.content[0].text
    assert (joined.stop_reason, joined.usage.output_tokens) == (done.stop_reason, done.usage.output_tokens)
    cut = await claude.messages.create(**ASKED | {"max_tokens": 1})
    assert cut.stop_reason == "max_tokens"


@pytest.mark.anyio
async def test_anthropic_thinking_tools_and_schema(claude):
    """A block of thinking with its signature, a call whose input fits, an object that fits."""
    thinking = {"type": "enabled", "budget_tokens": 1024}
    async with claude.messages.stream(**ASKED, thinking=thinking) as stream:
        done = await stream.get_final_message()
    assert [block.type for block in done.content] == ["thinking", "text"]
    assert done.content[0].thinking.startswith("Considering")
    assert done.content[0].signature
    tools = [{"name": "find_order", "input_schema": TOOLS[0]["function"]["parameters"]}]
    plain = await claude.messages.create(**ASKED, tools=tools)
    async with claude.messages.stream(**ASKED, tools=tools) as stream:
        streamed = await stream.get_final_message()
    for done in (plain, streamed):
        assert done.stop_reason == "tool_use"
        assert (done.content[-1].name, done.content[-1].input) == ("find_order", {"number": 4711})
    form = {"format": {"type": "json_schema", "schema": SCHEMA}}
    done = await claude.messages.create(**ASKED, output_config=form)
    assert set(json.loads(done.content[0].text)) == {"name", "age"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"api_key": "another"}, anthropic.AuthenticationError),
        ({"models": ("other",)}, anthropic.NotFoundError),
        ({"rpm": 0.001, "tpm": 0.001}, anthropic.RateLimitError),
        ({"error_500": 1.0}, anthropic.InternalServerError),
        ({"error_503": 1.0}, anthropic.APIStatusError),
        ({"poison": "4711"}, anthropic.BadRequestError),
        ({"reset": 1.0}, anthropic.APIConnectionError),
    ],
)
async def test_anthropic_errors(claude, settings, error):
    """Each error becomes the SDK's exception for it; overload is a 529."""
    claude.simulator.change(**settings)
    if "rpm" in settings:
        await claude.messages.create(**ASKED | {"messages": [{"role": "user", "content": "first"}]})
    with pytest.raises(error) as raised:
        await claude.messages.create(**ASKED)
    if "error_503" in settings:
        assert raised.value.status_code == 529


@pytest.mark.anyio
async def test_anthropic_error_in_a_stream(claude):
    """An error event raises in the middle of the stream."""
    claude.simulator.change(stream_error=1.0)
    with pytest.raises(anthropic.APIError, match="mid-stream"):
        async with claude.messages.stream(**ASKED) as stream:
            await stream.get_final_message()
