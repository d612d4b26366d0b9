"""Anthropic. https://platform.claude.com/docs/en/api/messages"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from batchgen.attachments.limits import AttachmentLimits
from batchgen.providers.batch_api import BatchLimits
from batchgen.providers.batch_terms import BatchTerms
from batchgen.providers.error_rule import Rule, limit, rule
from batchgen.providers.error_words import ANY_VENDOR, TOO_LONG
from batchgen.providers.lane import batch_lane
from batchgen.providers.protocol import ModelSettings
from batchgen.providers.request_parts import from_column
from batchgen.providers.vendor import POSITIVE, Finding, Range, Vendor, means_rule
from batchgen.values import FailureKind, Throttle, Verdict

_OTHER_NAMES = {
    "stop": "stop_sequences",
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "output_config = { effort = ... }",
    "enable_thinking": "thinking",
    "user": "metadata = { user_id = ... }",
}
_NONE_SUCH = ("seed", "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty", "logit_bias", "n")
_LEAST_THINKING = 1024

# Since Claude 4.5 a model can be held to a schema; those before have tools alone.
# https://platform.claude.com/docs/en/build-with-claude/structured-outputs
_BEFORE_SCHEMAS = r"claude-(?:\d|instant|v\d)|claude-(?:opus|sonnet|haiku)-4(?:-[01]\b|-\d{8}|@|$)"

# Claude 4.7 and later sample in one way only; https://platform.claude.com/docs/en/api/migration-2026-10-21
_BEFORE_FIXED_SAMPLING = re.compile(r"claude-(?:\d|instant|v\d)|claude-(?:opus|sonnet|haiku)-4(?:-[0-6]\b|-\d{8}|@|$)")


def thinks(model: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a request asks for thinking, by its parameters.

    https://platform.claude.com/docs/en/build-with-claude/extended-thinking
    """
    thinking = parameters.get("thinking")
    return isinstance(thinking, Mapping) and thinking.get("type") != "disabled"


def _check(settings: ModelSettings, parameters: Mapping[str, Any]) -> Iterator[Finding]:
    if "max_tokens" not in parameters:
        yield "parameters.max_tokens", "is required by Anthropic: the most tokens of an answer, thinking included", True
    for name, theirs in _OTHER_NAMES.items():
        if name in parameters:
            yield f"parameters.{name}", f"is no parameter of Anthropic's: use {theirs}", True
    for name in _NONE_SUCH:
        if name in parameters:
            yield f"parameters.{name}", "is no parameter of Anthropic's: leave it out", True
    if "system" in parameters:
        yield "parameters.system", "comes from [prompt]", True
    stops = parameters.get("stop_sequences")
    if (
        stops is not None
        and not from_column(stops)
        and not (isinstance(stops, list) and all(isinstance(stop, str) and stop.strip() for stop in stops))
    ):
        yield "parameters.stop_sequences", "must be a list of texts that are not blank", True
    yield from _check_thinking(parameters)
    if not _BEFORE_FIXED_SAMPLING.search(settings.name):
        for name in ("temperature", "top_p", "top_k"):
            if parameters.get(name, 1) != 1 and not from_column(parameters[name]):
                yield f"parameters.{name}", f"{settings.name} is known to take only the default", False


def _check_thinking(parameters: Mapping[str, Any]) -> Iterator[Finding]:
    thinking = parameters.get("thinking")
    if thinking is None or from_column(thinking):
        return
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if not isinstance(kind, str):
        yield "parameters.thinking", 'must be a table such as { type = "adaptive" }', True
        return
    if kind == "disabled":
        return
    budget, most = thinking.get("budget_tokens"), parameters.get("max_tokens")
    if kind == "enabled":
        if not isinstance(budget, int) or budget < _LEAST_THINKING:
            yield "parameters.thinking", f"needs budget_tokens of at least {_LEAST_THINKING}, not {budget!r}", True
        elif isinstance(most, int) and budget >= most:
            yield "parameters.thinking", f"budget_tokens must be below max_tokens ({most})", True
    if parameters.get("temperature", 1) != 1:
        yield "parameters.temperature", "must be 1, or left out, while thinking", True
    if "top_k" in parameters:
        yield "parameters.top_k", "must be left out while thinking", True
    choice = parameters.get("tool_choice")
    named = choice.get("type") if isinstance(choice, Mapping) else choice
    if named not in (None, "auto", "none") and not from_column(choice):
        yield "parameters.tool_choice", "must be auto or none while thinking", True


ERR = "https://platform.claude.com/docs/en/api/errors"
LIMITS = "https://platform.claude.com/docs/en/api/rate-limits"
_RETRY, _FAIL, _STOP = Verdict.RETRY, Verdict.FAIL, Verdict.STOP
_K = FailureKind

# fmt: off
ERRORS: tuple[Rule, ...] = (
    rule("authentication_error", _K.AUTHENTICATION, _STOP, ERR),
    rule("billing_error", _K.ACCOUNT, _STOP, ERR),
    rule("", _K.ACCOUNT, _STOP, ERR, status="400 403 429",
         message=r"credit balance|specified API usage limits|workspace API usage limits"),
    rule("permission_error", _K.AUTHENTICATION, _STOP, ERR),
    rule("not_found_error", _K.MODEL_UNAVAILABLE, _STOP, ERR, message=r"\bmodel\b"),
    rule("not_found_error", _K.ENDPOINT, _STOP, ERR),
    limit("overloaded_error", Throttle.OVERLOAD, ERR),
    limit("rate_limit_error", Throttle.GROWTH, LIMITS, message=r"acceleration|increase.{0,40}(?:gradual|slow)"),
    limit("rate_limit_error", Throttle.CONCURRENCY, LIMITS, message=r"concurren"),
    limit("rate_limit_error", Throttle.TOKENS, LIMITS, message=r"tokens"),
    limit("rate_limit_error", Throttle.REQUESTS, LIMITS, message=r"requests"),
    limit("rate_limit_error", Throttle.UNKNOWN, LIMITS),
    rule("request_too_large", _K.TOO_LONG, _FAIL, ERR),
    rule("", _K.TOO_LONG, _FAIL, ERR, status="400 413", message=TOO_LONG),
    rule("", _K.CONTENT_FILTER, _FAIL, ERR, status="400", message=r"content filtering|usage polic"),
    rule("timeout_error", _K.TIMEOUT, _RETRY, ERR),
    rule("api_error", _K.SERVER_ERROR, _RETRY, ERR),
    *ANY_VENDOR,
)
# fmt: on

BATCHES = BatchTerms(limits=BatchLimits(rows=100_000, file_bytes=256_000_000))
"""https://platform.claude.com/docs/en/build-with-claude/batch-processing"""

ANTHROPIC = Vendor(
    # https://platform.claude.com/docs/en/build-with-claude/vision
    attachments=AttachmentLimits(
        audio=frozenset(), bytes=5_000_000 * 3 // 4, longest=8_000, most=100, request=32_000_000
    ),
    name="anthropic",
    wires=("anthropic",),
    base_url="https://api.anthropic.com",
    api_key_env="ANTHROPIC_API_KEY",
    hosts=("api.anthropic.com",),
    key_headers={"anthropic": "x-api-key"},
    ranges={
        "max_tokens": POSITIVE,
        "temperature": Range(lambda n: 0 <= n <= 1, "a number from 0 to 1"),
        "top_p": Range(lambda n: 0 <= n <= 1, "a number from 0 to 1"),
        "top_k": Range(lambda n: n >= 0, "a whole number from 0", whole=True),
    },
    check=_check,
    errors=ERRORS,
    means=(
        means_rule(_BEFORE_SCHEMAS, "instruction", thinking=True),  # a call cannot be forced while thinking
        means_rule(_BEFORE_SCHEMAS, "tool"),
        means_rule(r"", "json_schema"),
    ),
    lanes=(batch_lane(BATCHES),),
    thinks=thinks,
)
