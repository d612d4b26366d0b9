"""What errors do to row and run: the vendors' catalogues, by provider, code, message and status."""

from __future__ import annotations

import msgspec
import pytest

from batchgen.values import Failure, Prompt, Response

from .samples import provider_for, read

# server, status, code or type, message -> kind, verdict, and what else matters
CASES = [
    ("dashscope", 400, "InvalidParameter", "Range of max_tokens should be [1, 8192]", "invalid_request fail setting"),
    ("dashscope", 400, "InvalidParameter", "Range of input length should be [1, 30720]", "too_long fail"),
    ("dashscope", 400, "InvalidParameter", "[] is too short - 'messages'", "invalid_request fail"),
    ("dashscope", 400, "InvalidParameter", "url error, please check url", "endpoint stop"),
    ("dashscope", 400, "InvalidURL", "x", "endpoint stop"),
    ("dashscope", 400, "InvalidParameter", "Model not exist.", "model_unavailable stop"),
    ("dashscope", 400, "InvalidParameter", "This model only support stream mode", "invalid_request retry needs_stream"),
    (
        "dashscope",
        400,
        "InvalidParameter",
        "enable_thinking must be set to false for non-streaming calls",
        "invalid_request retry needs_stream",
    ),
    ("dashscope", 400, "InvalidParameter.NotSupportEnableThinking", "x", "invalid_request fail setting"),
    ("dashscope", 400, "BadRequest.EmptyInput", "x", "invalid_request fail"),
    ("dashscope", 400, "BadRequest.TooLarge", "x", "too_long fail"),
    ("dashscope", 400, "DataInspectionFailed", "x", "content_filter fail"),
    ("dashscope", 500, "InternalError.Algo", "<400> InternalError.Algo.DataInspectionFailed: x", "content_filter fail"),
    ("dashscope", 400, "IPInfringementSuspect", "x", "content_filter fail"),
    ("dashscope", 400, "Arrearage", "Access denied, account overdue", "account stop"),
    ("dashscope", 400, "ServiceUnavailableError", "Role must be user or assistant", "invalid_request fail"),
    ("dashscope", 401, "InvalidApiKey", "x", "authentication stop"),
    ("dashscope", 401, None, "NOT AUTHORIZED", "authentication stop"),
    ("dashscope", 403, "AccessDenied", "x", "authentication stop"),
    ("dashscope", 403, "AccessDenied.Unpurchased", "x", "account stop"),
    ("dashscope", 403, "Model.AccessDenied", "x", "model_unavailable stop"),
    ("dashscope", 403, "AllocationQuota.FreeTierOnly", "x", "account stop"),
    ("dashscope", 404, "ModelNotFound", "x", "model_unavailable stop"),
    ("dashscope", 404, "WorkSpaceNotFound", "x", "authentication stop"),
    ("dashscope", 429, "Throttling", "x", "rate_limited wait requests"),
    ("dashscope", 429, "Throttling.RateQuota", "x", "rate_limited wait requests"),
    ("dashscope", 429, "LimitRequests", "x", "rate_limited wait requests"),
    ("dashscope", 429, "Throttling.BurstRate", "x", "rate_limited wait growth"),
    ("dashscope", 429, "Throttling.AllocationQuota", "x", "rate_limited wait tokens"),
    ("dashscope", 429, "Throttling.AllocationQuota", "Free allocated quota exceeded.", "account stop"),
    ("dashscope", 429, "PostpaidBillOverdue", "x", "account stop"),
    ("dashscope", 429, "Throttling", "Batch requests are being throttled", "rate_limited wait overload"),
    ("dashscope", 429, "Throttling.AllocationQuota", "month allocated quota exceeded", "account stop"),
    ("dashscope", 429, "SomethingNew", "x", "rate_limited wait unknown"),
    ("dashscope", 500, "InternalError", "list index out of range", "server_error retry"),
    ("dashscope", 500, "InternalError.Timeout", "x", "timeout retry maybe_billed"),
    ("dashscope", 500, "RequestTimeOut", "x", "timeout retry needs_stream maybe_billed"),
    ("dashscope", 503, "ModelUnavailable", "x", "server_error wait unknown"),
    ("dashscope", 200, "Throttling.RateQuota", "an error inside a 200", "rate_limited wait requests"),
    ("dashscope", 200, "InternalError", "x", "server_error retry"),
    ("dashscope", 413, "request_too_large", "x", "too_long fail"),
    ("compatible", 400, "invalid_parameter_error", "x", "invalid_request fail setting"),
    ("compatible", 400, "data_inspection_failed", "x", "content_filter fail"),
    ("compatible", 400, "invalid_request_error", "max_tokens must be less than 8193", "invalid_request fail setting"),
    ("compatible", 402, "invalid_request_error", "Insufficient Balance", "account stop"),
    ("compatible", 400, "invalid_request_error", "Content Exists Risk", "content_filter fail"),
    ("openai", 400, "invalid_request_error", "max_tokens must be less than 8193", "invalid_request fail setting"),
    ("compatible", 401, "invalid_api_key", "x", "authentication stop"),
    ("compatible", 404, "model_not_found", "x", "model_unavailable stop"),
    ("compatible", 429, "limit_requests", "x", "rate_limited wait requests"),
    ("compatible", 429, "limit_burst_rate", "x", "rate_limited wait growth"),
    ("compatible", 429, "insufficient_quota", "You exceeded your current quota", "rate_limited wait tokens"),
    ("compatible", 429, "insufficient_quota", "Free allocated quota exceeded", "account stop"),
    ("openai", 400, "context_length_exceeded", "x", "too_long fail"),
    ("openai", 400, "string_above_max_length", "x", "too_long fail"),
    ("openai", 400, "invalid_request_error", "flagged by our content policy", "content_filter fail"),
    ("openai", 400, "unsupported_parameter", "x", "invalid_request fail setting"),
    ("openai", 400, "unsupported_value", "x", "invalid_request fail setting"),
    ("openai", 400, "invalid_request_error", "no such thing", "invalid_request fail"),
    ("openai", 401, "invalid_api_key", "x", "authentication stop"),
    ("openai", 400, "no_db_connection", "No connected db.", "authentication stop"),
    ("openai", 403, "unsupported_country_region_territory", "x", "authentication stop"),
    ("openai", 404, "model_not_found", "x", "model_unavailable stop"),
    ("openai", 408, None, "x", "timeout retry maybe_billed"),
    ("openai", 409, None, "x", "server_error retry"),
    ("openai", 413, None, "x", "too_long fail"),
    ("openai", 422, None, "x", "invalid_request fail setting"),
    ("openai", 429, "rate_limit_exceeded", "Rate limit reached on tokens per min (TPM)", "rate_limited wait tokens"),
    (
        "openai",
        429,
        "rate_limit_exceeded",
        "Rate limit reached on requests per min (RPM)",
        "rate_limited wait requests",
    ),
    ("openai", 429, "tokens", "x", "rate_limited wait tokens"),
    ("openai", 429, "rate_limit_exceeded", "Request too large for m on tokens per min (TPM)", "too_long fail"),
    ("openai", 429, "slow_down", "x", "rate_limited wait growth"),
    ("openai", 429, "insufficient_quota", "x", "account stop"),
    ("openai", 429, "credit_balance_exhausted", "x", "account stop"),
    ("openai", 429, "project_spend_limit_exceeded", "x", "account stop"),
    ("openai", 500, "server_error", "x", "server_error retry"),
    ("openai", 503, "server_is_overloaded", "x", "server_error wait overload"),
    ("openai", 529, "overloaded_error", "x", "server_error wait overload"),
    ("openai", 503, "server_error", "x", "server_error wait unknown"),
    ("vllm", 503, None, "x", "server_error wait unknown"),
    ("openai", 402, None, "Insufficient Balance", "account stop"),
    ("vllm", 400, 400, "This model's maximum context length is 4096 tokens", "too_long fail"),
    ("vllm", 404, 404, "The model `m` does not exist.", "model_unavailable stop"),
    ("vllm", 404, None, "Not Found", "endpoint stop"),
    ("vllm", 200, 500, "engine dead", "server_error retry"),
    ("vllm", 400, "exceed_context_size_error", "llama.cpp", "too_long fail"),
    ("vllm", 400, "budget_exceeded", "LiteLLM", "account stop"),
    ("vllm", 429, "None", "Max parallel request limit reached", "rate_limited wait concurrency"),
    ("vllm", 500, None, "the request exceeds the available context size", "too_long fail"),
]


def words(failure):
    """The failure in the table's words."""
    flags = [name for name in ("setting", "needs_stream", "maybe_billed") if getattr(failure, name)]
    return " ".join([failure.kind, failure.verdict, *([failure.throttle] if failure.throttle else []), *flags])


@pytest.mark.parametrize(("server", "status", "code", "message", "expected"), CASES)
def test_errors_are_classed_by_vendor_code_and_message(server, status, code, message, expected):
    """Each documented error has its kind, its verdict and, where a limit spoke, which one."""
    flat = {"code": code, "message": message, "request_id": "r"}
    body = msgspec.json.encode(flat if server == "dashscope" else {"error": flat})
    outcome = read(server, body, status)
    assert isinstance(outcome, Failure)
    assert words(outcome) == expected
    assert outcome.message == message
    assert outcome.http_status == status


SHAPES = {
    "msg": (b'{"code":"X","msg":"m"}', ("m", "X")),
    "openai's": (b'{"error":{"message":"m","type":"t","param":null,"code":null}}', ("m", "t")),
    "integer code": (b'{"error":{"message":"m","type":"BadRequestError","code":400}}', ("m", "BadRequestError")),
    "text in error": (b'{"error":"m"}', ("m", None)),
    "old vLLM": (b'{"object":"error","message":"m","type":"T","code":40001}', ("m", "T")),
    "detail text": (b'{"detail":"m"}', ("m", None)),
    "detail list": (
        b'{"detail":[{"loc":["body","messages",0],"msg":"Field required"}]}',
        ("body.messages.0: Field required", None),
    ),
    "detail object": (b'{"detail":{"error":{"message":"m","code":"X"}}}', ("m", "X")),
    "in a list": (b'[{"error":{"message":"m","code":"X"}}]', ("m", "X")),
    "plain text": (b"upstream gone", ("upstream gone", None)),
    "HTML": (b"<html><head><title>502 Bad Gateway</title></head></html>", ("HTML page: 502 Bad Gateway", None)),
    "empty": (b"", ("HTTP 502 Bad Gateway", None)),
    "an event stream": (b'id:1\nevent:error\n:HTTP_STATUS/502\ndata:{"code":"X","message":"m"}\n\n', ("m", "X")),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("server", ["dashscope", "openai"])
def test_every_shape_of_error_body_is_read(server, shape):
    """Message and code come out of each shape, on either path."""
    body, expected = SHAPES[shape]
    outcome = read(server, body, 502)
    assert isinstance(outcome, Failure)
    assert (outcome.message, outcome.code) == expected
    assert words(outcome).startswith("server_error retry")
    assert outcome.maybe_billed is (
        shape in ("plain text", "HTML", "empty")
    )  # a proxy spoke: the vendor may have answered


def test_a_rows_own_unknown_model_fails_that_row_only():
    """The job's model being gone stops the run; a model that a row named does not."""
    provider = provider_for("dashscope")
    gone = Response(404, {}, b'{"code":"ModelNotFound","message":"x"}')
    request = provider.build_request(Prompt(text="x", model="no-such"), stream=False)
    outcome = provider.read_response(request, gone)
    assert isinstance(outcome, Failure)
    assert words(outcome) == "model_unavailable fail setting"


def test_a_streamed_request_is_not_told_to_stream():
    """Otherwise run and server would go round in a circle."""
    body = b'{"code":"InvalidParameter","message":"This model only support stream mode"}'
    outcome = read("dashscope", body, 400, stream=True)
    assert isinstance(outcome, Failure)
    assert words(outcome) == "invalid_request fail setting"


@pytest.mark.parametrize(("param", "setting"), [("messages[0].content", False), ("temperature", True)])
def test_the_named_field_tells_row_from_job(param, setting):
    """A 400 about `messages` is the row's, one about a parameter the job's."""
    body = msgspec.json.encode({"error": {"message": "bad value", "type": "invalid_request_error", "param": param}})
    outcome = read("openai", body, 400)
    assert isinstance(outcome, Failure)
    assert outcome.setting is setting


@pytest.mark.parametrize(
    ("advice", "status", "verdict"), [("false", 500, "fail"), ("true", 400, "retry"), ("false", 429, "wait")]
)
def test_the_servers_advice_wins_over_the_status(advice, status, verdict):
    """`x-should-retry` is obeyed, but a limit stays a limit."""
    outcome = read("openai", b'{"error":{"message":"m"}}', status, headers={"x-should-retry": advice})
    assert isinstance(outcome, Failure)
    assert outcome.verdict == verdict
