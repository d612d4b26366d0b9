"""Errors known by their words whatever the status, and the reasons that gateways hide."""

from __future__ import annotations

import msgspec
import pytest

from batchgen.values import Failure, FailureKind, Verdict

from .samples import read

# status, message -> kind and verdict
SAID = [
    # one row's
    (403, "This input violates our usage guidelines.", "content_filter fail"),
    (403, "The prompt was flagged for self-harm.", "content_filter fail"),
    (400, "您的输入包含敏感内容", "content_filter fail"),
    (402, "This asks for up to 9000 tokens, but you can only afford 100.", "account fail"),
    (404, "No endpoints found that support image input", "invalid_request fail"),
    (429, "Rate limit on tokens per minute: Limit 6,000, Used 0, Requested 7,001.", "too_long fail"),
    (413, "Request too large for this model", "too_long fail"),
    (400, "Content Exists Risk", "content_filter fail"),
    (400, "InputTextRiskDetection: it may contain politically risky content", "content_filter fail"),
    (200, "input new_sensitive", "content_filter fail"),
    (422, "`inputs` must have less than 1024 tokens. Given: 1300", "too_long fail"),
    (422, "`inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5200 and 512", "too_long fail"),
    (400, "Prompt exceeds max length", "too_long fail"),
    (400, "Your request exceeded model token limit: 8192", "too_long fail"),
    (400, "ContextWindowExceededError: the input has too many", "too_long fail"),
    (400, "length of prompt_tokens (40000) must be less than max_seq_len (32768).", "too_long fail"),
    (400, "Trying to keep the first 5000 tokens when context the overflows.", "too_long fail"),
    (404, "No endpoints found that support tool use", "invalid_request fail"),
    (500, "image input is not supported - hint: an mmproj is needed", "invalid_request fail"),
    (500, "tools param requires --jinja flag", "invalid_request fail"),
    (500, "Conversation roles must alternate user/assistant", "invalid_request fail"),
    (200, "invalid params, messages is empty", "invalid_request fail"),
    (400, "Input tokens exceed the configured limit of 272000 tokens.", "too_long fail"),
    (400, "Please reduce the length of the messages or completion.", "too_long fail"),
    (400, "total tokens of image and text exceed max message tokens", "too_long fail"),
    (422, "inputs tokens + max_new_tokens must be <= 4096", "too_long fail"),
    (400, "Invalid 'messages[0].content': string too long. Expected a string with maximum length 9.", "too_long fail"),
    (500, "output new_sensitive (1027)", "content_filter fail"),
    (400, "The content you provided or machine outputted is blocked.", "content_filter fail"),
    (400, "NSFW input", "content_filter fail"),
    # what no row can survive
    (403, "Your trial has expired.", "account stop"),
    (403, "The key has exceeded its budget", "account stop"),
    (403, "Subscription required for this model", "account stop"),
    (400, "预扣费额度失败, 用户剩余额度: ¥0.1", "account stop"),
    (400, "Unauthorized", "authentication stop"),
    (200, "Invalid token", "authentication stop"),
    (400, "The requested model is not supported", "model_unavailable stop"),
    (403, "You don't have access to model m", "model_unavailable stop"),
    (400, "The parameter top_k for this model is not supported.", "invalid_request fail"),
    (404, "The API deployment for this resource does not exist.", "model_unavailable stop"),
    (429, "Insufficient balance, please recharge.", "account stop"),
    (400, "Your credit balance is too low.", "account stop"),
    (412, "账户余额不足", "account stop"),
    (500, "insufficient balance (1008)", "account stop"),
    (200, "Your account has been suspended due to overdue payment.", "account stop"),
    (429, "Limit of 200 requests per day reached, try again in 3h.", "account stop"),
    (429, "You exceeded your current quota, please check your plan.", "account stop"),
    (400, "API key not valid. Please pass a valid one.", "authentication stop"),
    (500, "Incorrect API key provided", "authentication stop"),
    (400, "mistrel-large is not a valid model ID", "model_unavailable stop"),
    (500, "The model `x` does not exist", "model_unavailable stop"),
    (200, "Unexpected endpoint or method. (POST /v2/chat)", "endpoint stop"),
    (400, "No models loaded. Please load a model first.", "model_unavailable stop"),
    (400, '"m" does not support chat completions', "model_unavailable stop"),
    (500, "model requires more system memory (48 GiB) than is available (7 GiB)", "model_unavailable stop"),
    (400, "Your organization must be verified to use the model `m`.", "model_unavailable stop"),
    (400, "The plain HTTP request was sent to HTTPS port", "endpoint stop"),
    (403, "Your new team does not have any credits or licenses yet.", "account stop"),
    (429, "Your team has either used all available credits or reached its monthly limit.", "account stop"),
    (412, "Account me is suspended, possibly by the monthly spending limit.", "account stop"),
    (429, "Usage limit reached for 5 hours. It will reset at 14:29.", "account stop"),
    (429, "you've reached your hourly usage limit, please upgrade", "account stop"),
    (429, "已达到 5 小时的使用上限。", "account stop"),
    (429, "You have exceeded the 5-hour usage quota.", "account stop"),
    (429, "week allocated quota exceeded", "account stop"),
    (429, "您的套餐已到期，暂无法使用", "account stop"),
    (429, "The account has reached the set inference limit for the model; it has been paused.", "account stop"),
    (429, "You have exhausted your free trial quota.", "account stop"),
    (429, "Too many tokens per day, please wait before trying again.", "account stop"),
    (429, "Rate limit of 50 per 86400s exceeded for UserByModelByDay.", "account stop"),
    (429, "A trial key is limited to 1000 calls / month.", "account stop"),
    (429, "Quota exceeded for the free tier, limit: 0. Please retry in 34s.", "account stop"),
    (429, "You have used up your daily free allocation of 10,000 neurons.", "account stop"),
    (403, "Key limit exceeded (total limit).", "account stop"),
    (400, "You have reached your specified API usage limits.", "account stop"),
    (400, "This organization has been disabled.", "account stop"),
    (400, "The security token included in the request is invalid.", "authentication stop"),
    (200, "Access token invalid or no longer valid", "authentication stop"),
    (200, "AppIdNoAuthError: the app id is not authorized", "authentication stop"),
    (400, "User location is not supported for the API use.", "authentication stop"),
    (400, "Unable to access non-serverless model x/y.", "model_unavailable stop"),
    (404, "models/gem-9 is not found for API version v1", "model_unavailable stop"),
    (404, "No endpoints found for qwen/x.", "model_unavailable stop"),
    (404, "Your account has not activated the model doubao.", "model_unavailable stop"),
    (400, "This model version has reached the end of its life.", "model_unavailable stop"),
    (400, "The provided model identifier is invalid.", "model_unavailable stop"),
    (400, "The model `x` requires terms acceptance.", "model_unavailable stop"),
    (400, "Invocation of model ID x with on-demand throughput isn't supported.", "model_unavailable stop"),
    # what passes
    (429, "Per minute usage limit reached, 20 requests per minute.", "rate_limited wait"),
    (429, "Limit 60, remaining limit: 0, try again in 2s", "rate_limited wait"),
    (429, "A trial key is limited to 20 calls / minute.", "rate_limited wait"),
    (400, "ThrottlingException: Too many tokens, please wait before trying again.", "rate_limited wait"),
    (200, "Open api qps request limit reached", "rate_limited wait"),
    (503, "The request queue is full.", "server_error wait"),
    (500, "could not load model: failed loading model", "server_error retry"),
    (503, "System is really busy.", "server_error wait"),
    (503, "Model x/y is currently loading", "server_error wait"),
    (503, "no healthy upstream", "server_error wait"),
    (400, "Model unloaded.", "server_error retry"),
    (400, "The model has crashed without additional information.", "server_error retry"),
    (400, "Failed to load model x: not enough memory", "server_error retry"),
    (400, "网络错误，请联系客服。", "server_error retry"),
    (400, "DEGRADED function cannot be invoked", "server_error retry"),
    (429, "You exceeded your current quota. Please retry in 2.4s.", "rate_limited wait"),
    (429, "Allocated quota exceeded, please increase your quota limit.", "rate_limited wait"),
    (498, "Flex tier capacity exceeded", "rate_limited wait"),
    (200, "Capacity temporarily exceeded, please try again.", "rate_limited wait"),
    (400, "The service is currently busy.", "rate_limited wait"),
    (503, "Loading model", "server_error wait"),
    (424, "a dependency did not answer", "server_error retry"),
    (499, "", "server_error retry"),
    (400, "Failed to generate JSON. Please adjust your prompt.", "server_error retry"),
    (400, "Provider returned error", "server_error retry"),
    (400, "do request failed", "server_error retry"),
]


@pytest.mark.parametrize(("status", "message", "expected"), SAID)
def test_words_decide_before_the_status(status, message, expected):
    """Whatever number is on it; of limits that speak of billing pages as of all others."""
    outcome = read("openai", msgspec.json.encode({"error": {"message": message}}), status)
    assert isinstance(outcome, Failure)
    assert f"{outcome.kind} {outcome.verdict}" == expected


def test_a_limit_per_minute_that_names_a_billing_page_is_waited_for():
    """Advice to pay for more is no lack of money."""
    message = "Rate limit reached on requests per min (RPM): Limit 3, Used 3. Add a payment method at /account/billing."
    outcome = read("openai", msgspec.json.encode({"error": {"message": message}}), 429)
    assert isinstance(outcome, Failure)
    assert outcome.verdict is Verdict.WAIT


def test_aws_names_the_kind_of_error_in_a_member_of_its_own():
    outcome = read("openai", b'{"__type": "ThrottlingException", "message": "Rate exceeded"}', 400)
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.verdict) == ("ThrottlingException", Verdict.WAIT)


CODES = [
    (400, "1039", "token limit exceeded", "rate_limited wait"),
    (400, "model_not_available", "x", "model_unavailable stop"),
    (429, "insufficient_quota", "当前分组上游负载已饱和，请稍后再试", "rate_limited wait"),
    (400, "ModelNotOpen", "x", "model_unavailable stop"),
    (200, "2009", "Unauthorized", "authentication stop"),
]


@pytest.mark.parametrize(("status", "code", "message", "expected"), CODES)
def test_codes_that_say_more_than_their_messages(status, code, message, expected):
    """And a busy gateway that says it with the code of an empty account."""
    outcome = read("openai", msgspec.json.encode({"error": {"message": message, "code": code}}), status)
    assert isinstance(outcome, Failure)
    assert f"{outcome.kind} {outcome.verdict}" == expected


FRAMES = {
    "an error field of the stream": b'error: {"code":400,"message":"the prompt is too long","type":"t"}\n\n',
    "a data frame": b'data: {"error":{"code":400,"message":"the prompt is too long"}}\n\ndata: [DONE]\n\n',
    "an event": b'event: error\ndata: {"type":"error","error":{"message":"the prompt is too long"}}\n\n',
}


@pytest.mark.parametrize("name", FRAMES)
def test_an_error_in_place_of_a_stream_is_read(name):
    """With the status 200."""
    outcome = read("openai", FRAMES[name], stream=True)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.verdict) == (FailureKind.TOO_LONG, Verdict.FAIL)


def test_an_error_in_a_response_member_is_read():
    """As Tencent's own API has it, with the status 200."""
    body = {"Response": {"Error": {"Code": "ResourceInsufficient", "Message": "计费资源已耗尽"}, "RequestId": "r"}}
    outcome = read("openai", msgspec.json.encode(body))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.verdict, outcome.code) == (FailureKind.ACCOUNT, Verdict.STOP, "ResourceInsufficient")


@pytest.mark.parametrize("message", ["", "x" * 50])
def test_a_firewalls_page_is_the_rows(message):
    """A page in HTML with 403 says nothing of the key."""
    page = b"<html><head><title>Attention Required!</title></head>" + message.encode()
    outcome = read("openai", page, 403)
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.verdict) == (FailureKind.INVALID_REQUEST, Verdict.FAIL)


REASON = {"message": "top_k is out of range", "type": "invalid_request_error", "param": "top_k"}
HIDDEN = {
    "raw": {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": {"error": REASON}}}},
    "raw as a text": {"error": {"message": "No", "metadata": {"raw": msgspec.json.encode({"error": REASON}).decode()}}},
    "in the message": {"error": {"message": "Upstream - " + msgspec.json.encode({"error": REASON}).decode()}},
    "the message itself": {"error": {"message": msgspec.json.encode(REASON).decode()}},
    "an object as message": {"message": {"detail": [{"loc": ["body", "top_k"], "msg": "top_k is out of range"}]}},
    "an error in an error": {"error": {"error": REASON}},
    "a list": {"errors": [REASON]},
    "beside a title": {"statusCode": 400, "error": "Bad Request", "message": "top_k is out of range"},
    "base_resp": {"base_resp": {"status_code": 2013, "status_msg": "top_k is out of range"}},
    "Baidu's": {"error_code": 336, "error_msg": "top_k is out of range"},
    "an API gateway's": {"fault": {"faultstring": "top_k is out of range"}},
}


@pytest.mark.parametrize("name", HIDDEN)
def test_the_reason_that_a_gateway_hides_is_kept(name):
    """The message has it, behind the gateway's own words."""
    outcome = read("openai", msgspec.json.encode(HIDDEN[name]), 400)
    assert isinstance(outcome, Failure)
    assert "top_k is out of range" in outcome.message
    assert outcome.verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "beside",
    [
        {"error": {"message": "", "code": None}}, {"error": {"code": 0, "message": "success"}}, {"error": "none"},
        {"code": "Success"}, {"code": 1000, "msg": "ok"}, {"status_code": 500}, {"base_resp": {"status_code": 0}},
        {"error": []}, {"error": False},
    ],
)  # fmt: skip
def test_a_whole_answer_is_not_thrown_away_for_a_field_beside_it(beside):
    """Without an answer a code that says something is an error all the same."""
    choice = {"index": 3, "message": {"content": "Blue"}, "finish_reason": "stop"}
    outcome = read("openai", msgspec.json.encode({"choices": [choice]} | beside))
    assert not isinstance(outcome, Failure)
    assert outcome.text == "Blue"
    assert isinstance(read("openai", msgspec.json.encode(beside)), Failure)


@pytest.mark.parametrize(("words", "seconds"), [("2s", 2), ("7m16.8s", 436.8), ("20 seconds", 20), ("90ms", 0.09)])
def test_a_wait_asked_for_in_words_is_kept(words, seconds):
    """Where no header says it."""
    outcome = read("openai", msgspec.json.encode({"error": {"message": f"Please try again in {words}."}}), 429)
    assert isinstance(outcome, Failure)
    assert outcome.retry_after_s == pytest.approx(seconds)
