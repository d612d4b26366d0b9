"""DashScope (Alibaba Model Studio), on its native API and in its compatible mode, and what Qwen's names tell.

Sources, beside those at the rules: https://docs.qwencloud.com/api-reference/chat/dashscope,
https://www.alibabacloud.com/help/model-studio/base-url. A model whose name is not known here gets the plain treatment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from batchgen.attachments.limits import AttachmentLimits
from batchgen.errors import JobError
from batchgen.providers.batch_api import BatchIntent, BatchLimits
from batchgen.providers.batch_terms import BatchTerms, openai_body
from batchgen.providers.error_rule import Rule, limit, rule
from batchgen.providers.error_words import ANY_VENDOR, TOO_LONG
from batchgen.providers.lane import Lane, batch_lane
from batchgen.providers.protocol import ModelSettings
from batchgen.providers.request_parts import from_column
from batchgen.providers.vendor import (
    BEIJING,
    POSITIVE,
    SYMMETRIC,
    Finding,
    Range,
    Vendor,
    host_of,
    known_to_think,
    means_rule,
)
from batchgen.values import FailureKind, Throttle, Verdict

# Vision, audio and document models, and the vision-capable Plus and Flash lines from Qwen3.5 on.
_MULTIMODAL = re.compile(
    r"(?:^|[-/])(?:vl|ocr|omni|audio|qvq)(?:[-.\d]|$)|qvq|qwen[\d.]*-(?:vl|omni|audio)|qwen(?:3\.[5-9]|[4-9](?:\.\d)?)-(?:plus|flash)"
)
_THINKING_ONLY = re.compile(r"^(?:qwq|qvq)|-thinking\b")
_OPEN_QWEN3 = re.compile(r"^qwen3-(?:next-)?\d+(?:\.\d+)?b")
_ALWAYS_STREAMED = re.compile(r"^(?:qwq|qvq)|omni")
# On by default: Qwen3.5 and later, and open-source Qwen3 without "instruct".
_THINKS_BY_DEFAULT = re.compile(r"^qwen(?:3\.[5-9]|[4-9])")
_NEVER_THINKS = re.compile(r"^qwen(?:1\.5|2|2\.5)?-\d|^qwen(?:1\.5|2|2\.5)-|-instruct\b|^qwen3-coder")
_HAS_SWITCH = re.compile(r"^qwen(?:-(?:plus|flash|turbo)|3|[4-9])(?!.*(?:-mt|-math|-long|-ocr|-embedding|-rerank))")
_ONLY_INCREMENTAL = re.compile(r"^qwen(?:3\.[5-9]|[4-9])")


def is_multimodal(model: str) -> bool:
    """Whether the native API serves this model under `multimodal-generation`, with `content` as a list."""
    return _MULTIMODAL.search(model.lower()) is not None


def thinks_only(model: str) -> bool:
    """Whether the model refuses `enable_thinking = false`."""
    return _THINKING_ONLY.search(model.lower()) is not None


def never_thinks(model: str) -> bool:
    """Whether the model is known to have no thinking mode (400 `InvalidParameter.NotSupportEnableThinking`)."""
    return not thinks_only(model) and _NEVER_THINKS.search(model.lower()) is not None


def thinks_by_default(model: str) -> bool:
    """Whether the model thinks unless told not to."""
    name = model.lower()
    open_qwen3 = _OPEN_QWEN3.match(name) is not None and "-instruct" not in name
    return open_qwen3 or thinks_only(name) or _THINKS_BY_DEFAULT.match(name) is not None


def switch_default(model: str) -> bool | None:
    """Return whether a model thinks unless `enable_thinking` says otherwise; None for models without that switch."""
    if thinks_only(model) or never_thinks(model) or not _HAS_SWITCH.match(model.lower()):
        return None
    return thinks_by_default(model)


def is_thinking(model: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a call with these parameters thinks; a value that comes from the row counts as yes."""
    if thinks_only(model):
        return True
    return bool(parameters.get("enable_thinking", thinks_by_default(model)))


def streams_only(model: str, parameters: Mapping[str, Any]) -> bool:
    """Whether the model is known to refuse unstreamed calls: QwQ, QVQ, Omni, and open Qwen3 while thinking."""
    name = model.lower()
    if _ALWAYS_STREAMED.search(name):
        return True
    return _OPEN_QWEN3.match(name) is not None and "-instruct" not in name and is_thinking(name, parameters)


def needs_increments(model: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a streamed native call must have `incremental_output = true`: while thinking, always from Qwen3.5 on."""
    return _ONLY_INCREMENTAL.match(model.lower()) is not None or is_thinking(model, parameters)


def thinks(model: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a call thinks: Qwen's models as their switch says, others that are served there by their name."""
    return is_thinking(model, parameters) or known_to_think(model, parameters)


_SEED_31 = 2**31 - 1
_SEED_64 = 2**64 - 1
_RANGES = {
    "temperature": Range(lambda n: 0 <= n < 2, "a number from 0 to below 2"),
    "top_p": Range(lambda n: 0 < n <= 1, "a number above 0, at most 1"),
    "top_k": Range(lambda n: n >= 0, "a whole number from 0", whole=True),
    "repetition_penalty": Range(lambda n: n > 0, "a number above 0"),
    "presence_penalty": SYMMETRIC,
    "seed": Range(lambda n: 0 <= n <= _SEED_64, "a whole number from 0 to 2^31-1", whole=True),
    "max_tokens": POSITIVE,
    "max_completion_tokens": POSITIVE,
    "thinking_budget": POSITIVE,
    "top_logprobs": Range(lambda n: 0 <= n <= 5, "a whole number from 0 to 5", whole=True),
}

_NO_SUCH_HOST = ".aliyuncs-intl.com"
_HEADERS = {
    "x-dashscope-async": ("is for task APIs; text generation refuses it (403 AccessDenied)", True),
    "x-dashscope-sse": ("use model.stream", True),
    "x-dashscope-wait-timeout": ("lets the server hold a request back: add as much to limits.timeout_s", False),
}


def _check(settings: ModelSettings, parameters: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what both APIs refuse or take otherwise: thinking and sampling, the address, headers of its own."""
    model = settings.name
    if host_of(settings.base_url).endswith(_NO_SUCH_HOST):
        yield "base_url", "no such host: the international one is dashscope-intl.aliyuncs.com", True
    for name in settings.headers:
        if found := _HEADERS.get(name.lower()):
            text, fatal = found
            yield f"headers.{name}", text, fatal
    switch = parameters.get("enable_thinking")
    if switch is False and thinks_only(model):
        yield "parameters.enable_thinking", f"{model} always thinks and refuses false", True
    if switch is True and never_thinks(model):
        yield "parameters.enable_thinking", f"{model} is known to have no thinking mode", False
    if switch is None and thinks_by_default(model) and not thinks_only(model):
        yield "parameters.enable_thinking", f"{model} thinks unless this is false; thinking is billed as output", False
    if "thinking_budget" in parameters and switch is False:
        yield "parameters.thinking_budget", "is for thinking only, and enable_thinking is false", True
    if "thinking_budget" in parameters and "reasoning_effort" in parameters:
        yield "parameters.reasoning_effort", "cannot be combined with thinking_budget", True
    if switch is True:
        choice = parameters.get("tool_choice")
        if choice not in (None, "auto", "none") and not from_column(choice):
            yield "parameters.tool_choice", "must be auto or none while thinking", True
        form = parameters.get("response_format")
        if isinstance(form, Mapping) and form.get("type") == "json_object":
            yield "parameters.response_format", "json_object is refused by most models while thinking", False
    seed = parameters.get("seed")
    if isinstance(seed, int) and _SEED_31 < seed <= _SEED_64:
        yield "parameters.seed", "above 2^31-1: taken by older models only", False
    if parameters.get("top_p") == 1:
        yield "parameters.top_p", "1.0 is refused by older models", False


QC = "https://docs.qwencloud.com/api-reference/preparation/error-messages"
AL = "https://www.alibabacloud.com/help/en/model-studio/error-code"
RLB = "https://help.aliyun.com/zh/model-studio/rate-limiting-best-practices"
TPM = "https://github.com/can1357/oh-my-pi/pull/8476"

_RETRY, _FAIL, _STOP = Verdict.RETRY, Verdict.FAIL, Verdict.STOP
_K = FailureKind

_BAD_ROW = r"\[\] is too short|list index out of range|role must be|last message|Expecting '.+' delimiter"

# fmt: off
ERRORS: tuple[Rule, ...] = (
    rule("", _K.INVALID_REQUEST, _RETRY, QC, needs_stream=True,
         message=r"only support stream|must be set to false for non-streaming|does not support http call"),
    rule("RequestTimeOut", _K.TIMEOUT, _RETRY, QC, needs_stream=True),  # 300 s without a stream: advised to stream
    rule("InvalidURL", _K.ENDPOINT, _STOP, QC),
    rule("", _K.ENDPOINT, _STOP, QC, message=r"url error"),
    rule("AllocationQuota.FreeTierOnly Arrearage CommodityNotPurchased PrepaidBillOverdue PostpaidBillOverdue "
         "AccessDenied.Unpurchased", _K.ACCOUNT, _STOP, QC),
    rule("", _K.ACCOUNT, _STOP, QC, message=r"(?:free|hour|week|month)(?:ly)? (?:allocated|tier) quota"),
    rule("InvalidApiKey invalid_api_key", _K.AUTHENTICATION, _STOP, QC),
    rule("", _K.AUTHENTICATION, _STOP, QC, message=r"^not authorized"),
    rule("Model.AccessDenied ModelNotFound model_not_found model_not_supported", _K.MODEL_UNAVAILABLE, _STOP, QC),
    rule("InvalidParameter invalid_parameter_error", _K.MODEL_UNAVAILABLE, _STOP, QC, message=r"model not exist"),
    rule("AccessDenied Workspace.AccessDenied App.AccessDenied WorkSpaceNotFound access_denied",
         _K.AUTHENTICATION, _STOP, QC),
    rule("DataInspectionFailed data_inspection_failed IPInfringementSuspect FaqRuleBlocked CustomRoleBlocked",
         _K.CONTENT_FILTER, _FAIL, QC),
    rule("", _K.CONTENT_FILTER, _FAIL, QC, message=r"DataInspectionFailed"),
    rule("BadRequest.TooLarge request_too_large", _K.TOO_LONG, _FAIL, QC),
    rule("", _K.TOO_LONG, _FAIL, QC, status="400", message=TOO_LONG),
    limit("Throttling.BurstRate limit_burst_rate", Throttle.GROWTH, RLB),
    limit("", Throttle.OVERLOAD, RLB, status="429", message=r"batch requests are being throttled"),
    limit("Throttling.AllocationQuota insufficient_quota", Throttle.TOKENS, TPM),
    limit("", Throttle.TOKENS, TPM, status="429", message=r"allocated quota exceeded|exceeded your current quota"),
    limit("", Throttle.CONCURRENCY, AL, status="429", message=r"concurren"),
    limit("Throttling Throttling.RateQuota LimitRequests limit_requests", Throttle.REQUESTS, QC),
    rule("BadRequest.EmptyInput BadRequest.IllegalInput", _K.INVALID_REQUEST, _FAIL, QC),
    rule("ServiceUnavailableError", _K.INVALID_REQUEST, _FAIL, QC, status="400"),  # a bad role or empty content
    rule("", _K.INVALID_REQUEST, _FAIL, QC, status="400", message=_BAD_ROW),
    rule("ResponseTimeout GatewayTimeout InternalError.Timeout", _K.TIMEOUT, _RETRY, QC),
    rule("InternalError internal_error InternalError.Algo SystemError ModelServiceFailed RewriteFailed "
         "ModelServingError ModelUnavailable ServiceUnavailable", _K.SERVER_ERROR, _RETRY, QC),
    *ANY_VENDOR,
    rule("InvalidParameter.NotSupportEnableThinking UnsupportedOperation BadRequest.EmptyParameters "
         "BadRequest.EmptyModel InvalidParameter invalid_parameter_error invalid_request_error "
         "InternalError.Algo.InvalidParameter", _K.INVALID_REQUEST, _FAIL, QC, setting=True),
)
# fmt: on
"""Compatible mode uses the codes of chat completions with DashScope's meanings: `insufficient_quota` is a token rate
here and an unpaid bill at OpenAI."""


_BATCH_CHAT = "https://batch.dashscope.aliyuncs.com/compatible-mode/v1"
_BATCH_CHAT_S = 3600.0
_BEIJING_HOSTS = ("dashscope.aliyuncs.com", host_of(_BATCH_CHAT))

# Both forms have these, in the same meaning; https://docs.qwencloud.com/api-reference/chat/openai-chat
_IN_BOTH_FORMS = frozenset(
    {
        *("enable_search", "enable_thinking", "logprobs", "max_completion_tokens", "max_tokens", "n"),
        *("parallel_tool_calls", "presence_penalty", "preserve_thinking", "reasoning_effort", "repetition_penalty"),
        *("response_format", "search_options", "seed", "stop", "temperature", "thinking_budget", "tool_choice"),
        *("tools", "top_k", "top_logprobs", "top_p", "translation_options", "vl_high_resolution_images"),
    }
)
_NATIVE_ONLY = ("result_format", "incremental_output")  # how a native reply is laid out: the other form has one way


def _batch_chat_address(base_url: str) -> str:
    """Return the address of Batch Chat: a host of its own in Beijing; at a gateway its path of chat completions."""
    host = host_of(base_url)
    if host in _BEIJING_HOSTS:
        return _BATCH_CHAT
    if DASHSCOPE.serves(base_url) and host.endswith(tuple(name for name in DASHSCOPE.hosts)):
        raise JobError(
            f"model.lane: batch-chat is served in Beijing alone, at {host_of(_BATCH_CHAT)}, and not for {host}: a key "
            "of another region or of a workspace host is not known there. Set base_url = "
            '"https://dashscope.aliyuncs.com" with a key of that region, or use another lane.'
        )
    parts = urlsplit(base_url)
    return base_url if "compatible-mode" in parts.path else base_url.rstrip("/") + "/compatible-mode/v1"


def _chat_parameters(parameters: Mapping[str, Any], *, lane: str) -> dict[str, Any]:
    """Return the parameters of a native job as chat completions have them."""
    chat: dict[str, Any] = {}
    for name, value in parameters.items():
        if name in _NATIVE_ONLY and not from_column(value):
            continue
        if name not in _IN_BOTH_FORMS:
            raise JobError(
                f"model.parameters.{name} has no place in chat completions, the form in which model.lane = "
                f'"{lane}" sends a job: leave it out, or use another lane.'
            )
        tokens = [one for one in value if not isinstance(one, str)] if isinstance(value, list) else []
        if name == "stop" and tokens:
            raise JobError(
                "model.parameters.stop: lists of token numbers have no place in chat completions, the form in which "
                f'model.lane = "{lane}" sends a job: write the stops as strings.'
            )
        chat[name] = value
    return chat


BATCH_CHAT = Lane(  # https://www.alibabacloud.com/help/en/model-studio/openai-compatible-batch-chat
    name="batch-chat",
    timeout_s=_BATCH_CHAT_S,
    address=_batch_chat_address,
    chat=partial(_chat_parameters, lane="batch-chat"),
    held=True,
)
"""The ordinary call at half the price, held open by the server for up to an hour; without any cache discount."""


_NATIVE_PATH = re.compile(r"/api(?:/v1(?:/.*)?)?$")


def _batch_address(base_url: str) -> str:
    """Return the address of the compatible mode, the only one with batches, for that of either API."""
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    if "compatible-mode" in path:
        return base_url
    return urlunsplit(parts._replace(path=_NATIVE_PATH.sub("", path) + "/compatible-mode/v1"))


def _batch(intent: BatchIntent, url: str) -> dict[str, Any]:
    """Return the body with the two fields of the metadata that mean something here."""
    name = f"bg {intent.run} {intent.part} {intent.sha[:8]}"
    return {**openai_body(intent, url), "metadata": {"ds_name": name[:100], "ds_description": "batchgen"}}


BATCHES = BatchTerms(
    limits=BatchLimits(
        rows=50_000, file_bytes=500_000_000, line_bytes=6_000_000, open_batches=1_000, window_h=(24, 336)
    ),
    list_files={"limit": "100"},
    by_input="input_file_ids",
    body=_batch,
    trial=("batch-test-model", "/v1/chat/ds-test"),
    thinks=switch_default,
)
"""https://www.alibabacloud.com/help/en/model-studio/batch-interfaces-compatible-with-openai"""

DASHSCOPE = Vendor(
    name="dashscope",
    # https://docs.qwencloud.com/developer-guides/multimodal/vision
    attachments=AttachmentLimits(
        pictures=frozenset({"jpeg", "png", "webp", "bmp", "tiff", "heic"}),
        bytes=7_000_000,
        shortest=11,
        longest=8_192,
        common=3_840,
        ratio=200,
        most=250,
    ),
    wires=("dashscope", "openai"),
    base_url="https://dashscope-intl.aliyuncs.com",
    api_key_env="DASHSCOPE_API_KEY",
    hosts=(".aliyuncs.com", ".qwencloudapi.com", _NO_SUCH_HOST),
    paths=("compatible-mode",),
    chat_root="/compatible-mode/v1",
    regions={
        "dashscope.aliyuncs.com": BEIJING,
        "batch.dashscope.aliyuncs.com": BEIJING,
        ".cn-beijing.maas.aliyuncs.com": BEIJING,
    },
    ranges=_RANGES,
    check=_check,
    errors=ERRORS,
    # https://www.alibabacloud.com/help/en/model-studio/json-mode (2026-03-27): json_object, not while thinking, when
    # tool_choice too is auto or none; json_schema came and went, so that it is left to `response.means`.
    means=(
        means_rule(r"", "instruction", thinking=True),
        means_rule(r"^qwen(?:1\.5|2)?-(?:\d|moe)|-math|-coder|-mt-|omni|audio|^q[vw]q", "instruction"),
        means_rule(r"", "json_object"),
    ),
    lanes=(BATCH_CHAT, batch_lane(BATCHES, address=_batch_address, chat=partial(_chat_parameters, lane="batch"))),
    thinks=thinks,
    streams_only=streams_only,
)
