"""The table of response bodies: file, how it was asked for, and what it must be read as."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from batchgen.providers import ModelSettings, open_provider
from batchgen.values import FailureKind, Prompt, Response, Throttle, Usage, Verdict

BODIES = Path(__file__).parent / "bodies"
HOSTS = {
    "dashscope": "https://dashscope-intl.aliyuncs.com",
    "compatible": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
    "openai": "https://api.openai.com/v1",
    "vllm": "http://vllm:8000/v1",
}
NOW = 1_790_000_000.0
EN, ZH = "Hello, I answer in one sentence.", "你好,我用一句话回答。"
RECIPE = '第一:列出材料。\n\n1. 萝卜\n2. 土豆\n\n第二:"慢慢煮"。'
SLOW = "你好,我用一句话回答,而且很慢。"


def provider_for(server, **settings):
    """Return the wire format that talks to one of HOSTS, with a fixed clock."""
    settings.setdefault("name", "qwen-plus")
    settings.setdefault("base_url", HOSTS[server])
    word = "dashscope" if server == "dashscope" else "openai"
    return open_provider(word, ModelSettings(**settings), lambda: NOW)


def read(
    server,
    body,
    status=200,
    *,
    stream=False,
    headers=None,
    **settings,
):
    """Return what `body` means as the answer of `server`."""
    provider = provider_for(server, **settings)
    return provider.read_response(ask(provider, stream=stream), Response(status, headers or {}, body))


def ask(provider, *, stream=False):
    """Return some request of this provider."""
    return provider.build_request(Prompt(messages=[{"role": "user", "content": "?"}]), stream=stream)


def fields(outcome, expected):
    """The fields of `outcome` that `expected` names."""
    return {name: getattr(outcome, name, "(no such field)") for name in expected}


class Sample(NamedTuple):
    """One body with its meaning; `expected` names the fields that must be so."""

    file: str
    server: str
    expected: dict[str, Any]
    status: int = 200

    @property
    def body(self):
        return (BODIES / self.file).read_bytes()

    @property
    def streamed(self):
        return self.file.endswith(".sse")

    def read(self, body=None, headers=None):
        whole = self.body if body is None else body
        return read(self.server, whole, self.status, stream=self.streamed, headers=headers)


def done(text, used, **more):
    """The fields of a completion; `used` is input, output and total tokens."""
    usage = Usage(*used, cached_tokens=more.pop("cached", None), reasoning_tokens=more.pop("thought", None))
    return {"text": text, "finish_reason": "stop", "usage": usage, **more}


SAMPLES = [
    Sample(
        "s0-message-sdk-print.json",
        "dashscope",
        done(EN, (31, 267, 298), request_id="b3d8bb75-05a2-9044-8e9e-ec8c87689a5e"),
    ),
    Sample("s0-text-sdk-print.json", "dashscope", done(EN, (31, 267, 298))),
    Sample("s0-text-http.json", "dashscope", done(EN, (85, 51, 136), model="qwen-plus")),
    Sample("s0-incremental-no-blank-lines.sse", "dashscope", done("Hello", (27, 64, 91), request_id="xxx")),
    Sample(
        "s0-error-invalid-api-key.json",
        "dashscope",
        {
            "kind": FailureKind.AUTHENTICATION,
            "verdict": Verdict.STOP,
            "code": "InvalidApiKey",
            "message": "Invalid API-key provided.",
            "http_status": 401,
        },
        401,
    ),
    Sample(
        "s1-compatible-sdk.json",
        "compatible",
        done(ZH, (22, 17, 39), model="qwen2-72b-instruct", request_id="chatcmpl-2399bcfb-6f3d-9269-bab2-7d2f4a68b3e5"),
    ),
    Sample("s1-compatible-http.json", "compatible", done(ZH, (22, 17, 39))),
    Sample("s1-message-sdk-print.json", "dashscope", done(ZH, (22, 36, 58))),
    Sample(
        "s1-message-java-print.json",
        "dashscope",
        done(ZH, (22, 17, 39), request_id="bfd9d25a-f355-974d-ab02-b6ca306ebcba"),
    ),
    Sample("s1-message-http.json", "dashscope", done(ZH, (22, 17, 39))),
    Sample("s1-compatible-multi-turn.json", "compatible", done(RECIPE, (43, 169, 212))),
    Sample("s1-message-multi-turn.json", "dashscope", done(RECIPE, (43, 163, 206))),
    Sample("s1-compatible-stream-usage.sse", "compatible", done(SLOW, (22, 17, 39))),
    Sample("s1-compatible-stream.sse", "compatible", {"text": SLOW, "finish_reason": "stop", "usage": Usage()}),
    Sample("s1-stream-sdk-print.sse", "dashscope", done(SLOW, (21, 36, 57))),
    Sample("s1-stream-java-print.sse", "dashscope", done(SLOW, (11, 36, 47))),
    Sample("s1-stream-http.sse", "dashscope", done(SLOW, (22, 36, 58))),
    Sample(
        "s1-running-choice.sse",
        "dashscope",
        {"kind": FailureKind.UNREADABLE, "verdict": Verdict.RETRY, "maybe_billed": True},
    ),
    Sample("s1-message-no-total.json", "dashscope", done(RECIPE, (31, 267, 298))),
    Sample("s1-text-no-total.json", "dashscope", done(RECIPE, (31, 267, 298))),
    Sample(
        "s1-tool-calls.json",
        "dashscope",
        {
            "text": "",
            "finish_reason": "tool_calls",
            "usage": Usage(633, 380, 1013),
            "tool_calls": '[{"function":{"name":"get_current_weather","arguments":'
            '"{\\"location\\": \\"Boston\\", \\"unit\\": \\"fahrenheit\\"}"},"type":"function"}]',
        },
    ),
    Sample(
        "s1-error-compatible.json",
        "compatible",
        {
            "kind": FailureKind.AUTHENTICATION,
            "verdict": Verdict.STOP,
            "code": "invalid_api_key",
            "message": "Incorrect API key provided.",
        },
        401,
    ),
    Sample(
        "s1-error-native.json",
        "dashscope",
        {
            "kind": FailureKind.AUTHENTICATION,
            "verdict": Verdict.STOP,
            "request_id": "c2b1ab6e-e5a5-9d21-8579-88a10ce39c2f",
        },
        401,
    ),
    Sample("s2-compatible-node.json", "compatible", done(EN, (22, 17, 39), model="qwen-plus")),
    Sample("s2-compatible-http.json", "compatible", done(EN, (22, 17, 39))),
    Sample(
        "s2-message-http.json", "dashscope", done(EN, (22, 16, 38), request_id="09dceb20-ae2e-999b-85f9-c5ab266198c0")
    ),
    Sample("s3-gateway-en.json", "dashscope", done(EN, (23, 106, 129), request_id=None)),
    Sample("s3-gateway-zh.json", "dashscope", done(ZH, (23, 106, 129))),
    Sample("facts-message.json", "dashscope", done("Blue", (24, 1, 25), cached=0)),
    Sample("facts-text-no-total.json", "dashscope", done("Blue", (14, 1, 15))),
    Sample("facts-gateway.json", "dashscope", done("Blue", (24, 1, 25))),
    Sample(
        "facts-throttling.json",
        "dashscope",
        {
            "kind": FailureKind.RATE_LIMITED,
            "verdict": Verdict.WAIT,
            "throttle": Throttle.REQUESTS,
            "code": "Throttling.RateQuota",
        },
        429,
    ),
    Sample("facts-thinking-stream.sse", "dashscope", done("Blue", (24, 5, 29), thought=4, reasoning="Light scatters.")),
    Sample(
        "facts-stream-fails.sse",
        "dashscope",
        {
            "kind": FailureKind.RATE_LIMITED,
            "verdict": Verdict.WAIT,
            "throttle": Throttle.TOKENS,
            "http_status": 200,
            "maybe_billed": True,
        },
    ),
    Sample("facts-compatible.json", "compatible", done("Blue", (24, 1, 25), cached=0, request_id="chatcmpl-0001")),
    Sample(
        "facts-compatible-inspection.json",
        "compatible",
        {
            "kind": FailureKind.CONTENT_FILTER,
            "verdict": Verdict.FAIL,
            "request_id": "11111111-aaaa-4bbb-8ccc-000000000006",
        },
        400,
    ),
    Sample("facts-openai-quota.json", "openai", {"kind": FailureKind.ACCOUNT, "verdict": Verdict.STOP}, 429),
    Sample(
        "facts-openai-quota.json", "compatible", {"kind": FailureKind.RATE_LIMITED, "throttle": Throttle.TOKENS}, 429
    ),
    Sample(
        "facts-vllm-too-long.json",
        "vllm",
        {"kind": FailureKind.TOO_LONG, "verdict": Verdict.FAIL, "code": "BadRequestError"},
        400,
    ),
    Sample(
        "facts-vllm-unauthorized.json", "vllm", {"kind": FailureKind.AUTHENTICATION, "message": "Unauthorized"}, 401
    ),
    Sample("facts-vllm-reasoning.json", "vllm", done("Blue", (24, 5, 29), reasoning="Light scatters.")),
    Sample("facts-compatible-stream.sse", "compatible", done("Blue", (24, 2, 26))),
    Sample(
        "facts-vllm-stream-fails.sse",
        "vllm",
        {
            "kind": FailureKind.SERVER_ERROR,
            "verdict": Verdict.RETRY,
            "maybe_billed": True,
            "code": "InternalServerError",
        },
    ),
]
