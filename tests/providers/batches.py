"""The batch APIs of the vendors as tests open them, and replies in their forms."""

from __future__ import annotations

import json

from batchgen.providers import ModelSettings, lane_of, open_batches, open_provider
from batchgen.values import Prompt, Response

HOSTS = {
    "openai": "https://api.openai.com/v1",
    "dashscope": "https://dashscope-intl.aliyuncs.com",
    "azure": "https://res.openai.azure.com",
    "anthropic": "https://api.anthropic.com",
    "groq": "https://api.groq.com",
    "mistral": "https://api.mistral.ai/v1",
    "together": "https://api.together.xyz/v1",
}


def opened(provider="openai", base_url=None, model="qwen-plus", **parameters):
    """Return a vendor's batch API, and what makes its requests."""
    base_url = base_url or HOSTS[provider]
    lane = lane_of("batch", provider, base_url)
    settings = ModelSettings(name=model, base_url=lane.address(base_url), parameters=parameters)
    wire_format = open_provider(provider, settings, lane=lane)
    return open_batches(provider, settings, lane, wire_format), wire_format


def request_of(wire_format, text="?", **own):
    return wire_format.build_request(Prompt(messages=[{"role": "user", "content": text}], **own), stream=False)


def shown(value, status=200):
    """Return a reply with this JSON."""
    return Response(status, {}, json.dumps(value).encode())


def answer(text="yes", **fields):
    """Return the body of a chat completion."""
    return {
        "id": "c",
        "object": "chat.completion",
        "model": "m-1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 31, "completion_tokens": 2, "total_tokens": 33},
        **fields,
    }
