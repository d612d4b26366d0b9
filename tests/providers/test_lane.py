"""What is sent in a lane: the same question in another form, with the same key."""

import json

import pytest

from batchgen.errors import JobError
from batchgen.providers import ModelSettings, lane_of, open_provider
from batchgen.providers.request_key import RequestKeys
from batchgen.values import Prompt

BEIJING = "https://dashscope.aliyuncs.com"
BATCH_CHAT = "https://batch.dashscope.aliyuncs.com/compatible-mode/v1"
PROMPT = Prompt(messages=[{"role": "user", "content": "?"}])


def sent(lane, provider, base_url, parameters, prompt=PROMPT):
    """Return the URL and the body of a request in a lane."""
    found = lane_of(lane, provider, base_url)
    settings = ModelSettings(name="m", base_url=found.address(base_url) if found else base_url, parameters=parameters)
    request = open_provider(provider, settings, lane=found).build_request(prompt, stream=False)
    return request.url, json.loads(request.body)


def test_flex_is_a_field():
    """And nothing else of the request changes."""
    url = "https://api.openai.com/v1"
    live, flex = (sent(lane, "openai", url, {"temperature": 0}) for lane in ("live", "flex"))
    assert flex == (live[0], live[1] | {"service_tier": "flex"})


@pytest.mark.parametrize(
    ("provider", "base_url"),
    [("dashscope", BEIJING), ("openai", f"{BEIJING}/compatible-mode/v1"), ("openai", BATCH_CHAT)],
)
def test_batch_chat_has_a_host_of_its_own(provider, base_url):
    """In Beijing, with the chat form, whatever the form of the job."""
    url, body = sent("batch-chat", provider, base_url, {"max_tokens": 5, "enable_thinking": False})
    assert url == f"{BATCH_CHAT}/chat/completions"
    assert body == {"model": "m", "messages": PROMPT.messages, "max_tokens": 5, "enable_thinking": False}


def test_a_native_job_in_the_chat_form():
    """What only lays out a native reply is left out; images and the like are converted."""
    parts = [
        {"text": "a"},
        {"image": "https://e.test/a.png"},
        {"video": ["f1", "f2"]},
        {"audio": "https://e.test/a.mp3"},
    ]
    given = {"result_format": "message", "incremental_output": True, "top_k": 5, "repetition_penalty": 1.1}
    prompt = Prompt(messages=[{"role": "system", "content": "b"}, {"role": "user", "content": parts}])
    _, body = sent("batch-chat", "dashscope", BEIJING, given, prompt)
    assert (body["top_k"], body["repetition_penalty"]) == (5, 1.1)
    assert body.keys() == {"model", "messages", "top_k", "repetition_penalty"}
    assert body["messages"][0] == {"role": "system", "content": "b"}
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "https://e.test/a.png"}},
        {"type": "video", "video": ["f1", "f2"]},
        {"type": "input_audio", "input_audio": {"data": "https://e.test/a.mp3"}},
    ]


@pytest.mark.parametrize(
    "parameters", [{"tool_stream": True}, {"stop": [[108386]]}, {"result_format": {"column": "x"}}]
)
def test_what_has_no_place_is_named(parameters):
    """A parameter that chat completions do not have is an error, never dropped."""
    with pytest.raises(JobError, match=f"parameters.{next(iter(parameters))}"):
        sent("batch-chat", "dashscope", BEIJING, parameters)


@pytest.mark.parametrize(
    ("provider", "base_url"), [("dashscope", BEIJING), ("openai", f"{BEIJING}/compatible-mode/v1")]
)
def test_the_key_of_a_request_is_that_of_the_ordinary_call(provider, base_url):
    """The host of the lane is no part of it."""
    keys = [
        RequestKeys(provider, ModelSettings(name="m", base_url=url, parameters={"max_tokens": 5})).of(PROMPT)
        for url in (base_url, lane_of("batch-chat", provider, base_url).address(base_url))
    ]
    assert keys[0] == keys[1]
