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
    # what no row can survive
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
    # what passes
    (429, "You exceeded your current quota. Please retry in 2.4s.", "rate_limited wait"),
    (429, "Allocated quota exceeded, please increase your quota limit.", "rate_limited wait"),
    (498, "Flex tier capacity exceeded", "rate_limited wait"),
    (400, "The service is currently busy.", "rate_limited wait"),
    (503, "Loading model", "rate_limited wait"),
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
