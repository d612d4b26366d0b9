"""Lines of results in every shape that they have been seen in, and in none."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.values import Completion, Failure, FailureKind, Verdict
from tests.providers.batches import answer, opened, request_of

NAMES = ("custom_id", "key", "customId", "custom-id", "customid")
CHAT, _ = opened()
CLAUDE, _ = opened("anthropic", max_tokens=5)
MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [{"type": "text", "text": "yes"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 31, "output_tokens": 2, "service_tier": "batch"},
}


def line(**fields):
    return json.dumps({"custom_id": "k-1", **fields}, ensure_ascii=False).encode()


def reply(body, status=200, **fields):
    return {"status_code": status, "request_id": "r-1", "body": body, **fields}


@pytest.mark.parametrize(
    "given",
    [
        line(id="x", response=reply(answer()), error=None),
        line(response=reply(answer())),
        line(response=reply(answer()), error={}),
        line(response=reply(answer()), error=""),
        line(response=reply(answer()), error={"message": "a word beside a whole answer"}),
        line(response=reply(json.dumps(answer()))),
        line(response=reply(answer(), "200")),
        line(response={"body": answer()}),
        line(response=answer()),
        line(status_code=200, body=answer()),
        line(response=json.dumps(reply(answer()))),
        line(result=reply(answer())),
        line(output=answer()),
        line(**answer()),
        json.dumps({"customId": "k-1", "response": reply(answer())}).encode(),
        json.dumps({"request": {"custom_id": "k-1"}, "response": reply(answer())}).encode(),
        b"\xef\xbb\xbf" + line(response=reply(answer())),
        line(response=reply(answer())) + b"\r\n",
        line(response=reply(answer(choices=[{"finish_reason": "stop", "message": {"content": "yes"}, "index": 0}]))),
    ],
)
def test_an_answer_in_any_wrapping(given):
    """Is the answer that a live call would have given."""
    found = CHAT.read_line(given)
    assert (found.custom_id, found.again) == ("k-1", False)
    assert isinstance(found.outcome, Completion)
    assert (found.outcome.text, found.outcome.usage.input_tokens, found.outcome.model) == ("yes", 31, "m-1")


def test_an_answer_of_another_api_in_a_line():
    """Gemini's batches name a line by `key`."""
    candidate = {"content": {"parts": [{"text": "yes"}]}, "finishReason": "STOP"}
    given = {"key": "k-1", "response": {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 31}}}
    found = CHAT.read_line(json.dumps(given).encode())
    assert (found.custom_id, found.outcome.text, found.outcome.usage.input_tokens) == ("k-1", "yes", 31)


@pytest.mark.parametrize(
    "result", [{"type": "SUCCEEDED", "message": MESSAGE}, {"message": MESSAGE}, {"type": "success", "message": MESSAGE}]
)
def test_an_answer_of_anthropics_by_other_words(result):
    """A whole message is an answer; so is a line in OpenAI's form, from a gateway."""
    assert CLAUDE.read_line(line(result=result)).outcome.text == "yes"
    assert CLAUDE.read_line(line(response=reply(MESSAGE))).outcome.text == "yes"


def test_other_words_for_a_row_that_never_ran():
    """Their letters count; and the reason of a row may stand in the line itself."""
    assert CHAT.read_line(line(response=None, error={"code": "BatchExpired", "message": "x"})).again
    found = CHAT.read_line(line(response=None, error_message="Rate limit exceeded"))
    assert found.outcome.kind is FailureKind.RATE_LIMITED


def test_letters_that_others_take_for_line_ends():
    """Stay in the answer."""
    text = "a\u2028b\u2029c\u0085d"
    assert CHAT.read_line(line(response=reply(answer(text)))).outcome.text == text


@pytest.mark.parametrize(
    ("given", "kind", "verdict", "code", "again"),
    [
        (
            line(
                response=reply(
                    {
                        "error": {
                            "message": "Unsupported parameter: 'temperature'",
                            "type": "invalid_request_error",
                            "code": "unsupported_parameter",
                        }
                    },
                    400,
                ),
                error=None,
            ),
            FailureKind.INVALID_REQUEST,
            Verdict.FAIL,
            "unsupported_parameter",
            False,
        ),
        (
            line(response=reply({"error": {"code": "context_length_exceeded", "message": "x"}}, 400)),
            FailureKind.TOO_LONG,
            Verdict.FAIL,
            "context_length_exceeded",
            False,
        ),
        (
            line(response=None, error={"code": "batch_expired", "message": "the window is over"}),
            FailureKind.TIMEOUT,
            Verdict.RETRY,
            "batch_expired",
            True,
        ),
        (
            line(response=None, error={"code": "batch_cancelled", "message": "x"}),
            FailureKind.SERVER_ERROR,
            Verdict.RETRY,
            "batch_cancelled",
            True,
        ),
        (
            line(error={"type": "server_error", "message": "upstream closed"}),
            FailureKind.SERVER_ERROR,
            Verdict.RETRY,
            "server_error",
            False,
        ),
        (
            line(error={"error_code": "mismatched_model", "error_message": "models differ"}, response=None),
            FailureKind.SERVER_ERROR,
            Verdict.RETRY,
            "mismatched_model",
            False,
        ),
        (line(error="no reason"), FailureKind.SERVER_ERROR, Verdict.RETRY, None, False),
        (
            line(
                response=reply({"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}, 404)
            ),
            FailureKind.MODEL_UNAVAILABLE,
            Verdict.RETRY,
            "model_not_found",
            True,
        ),
        (line(response=reply(None, 404)), FailureKind.ENDPOINT, Verdict.RETRY, None, True),
        (
            line(response=reply({"error": {"message": "no"}}, 401)),
            FailureKind.AUTHENTICATION,
            Verdict.RETRY,
            None,
            True,
        ),
        (
            line(response=reply({"error": {"code": "insufficient_quota", "message": "x"}}, 429)),
            FailureKind.ACCOUNT,
            Verdict.STOP,
            "insufficient_quota",
            False,
        ),
        (
            line(response=reply({"error": {"code": "rate_limit_exceeded", "message": "x"}}, 429)),
            FailureKind.RATE_LIMITED,
            Verdict.WAIT,
            "rate_limit_exceeded",
            False,
        ),
        (line(response=reply({"error": {"message": "x"}}, 500)), FailureKind.SERVER_ERROR, Verdict.RETRY, None, False),
        (line(response=reply("<html>bad gateway</html>", 502)), FailureKind.SERVER_ERROR, Verdict.RETRY, None, False),
        (line(), FailureKind.SERVER_ERROR, Verdict.RETRY, None, False),
    ],
)
def test_a_row_without_an_answer(given, kind, verdict, code, again):
    """By class of error; an error is not billed, and one row never says that key or model are bad for all."""
    found = CHAT.read_line(given)
    assert (found.custom_id, found.again) == ("k-1", again)
    failure = found.outcome
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.verdict, failure.code) == (kind, verdict, code)
    assert failure.message
    assert not failure.maybe_billed


def test_the_rules_of_a_row_are_those_of_a_live_call():
    """An answer that was held back, or that was cut, is what it would be live."""
    held = answer(choices=[{"index": 0, "message": {"content": ""}, "finish_reason": "content_filter"}])
    assert CHAT.read_line(line(response=reply(held))).outcome.kind is FailureKind.CONTENT_FILTER
    cut = answer(choices=[{"index": 0, "message": {"content": "ye"}, "finish_reason": "length"}])
    assert CHAT.read_line(line(response=reply(cut))).outcome.finish_reason == "length"


@pytest.mark.parametrize("given", [b"", b"{", b"null", b"[]", b"7", b'"k-1"', b"\xff\xfe", b"[" * 100_000])
def test_a_line_that_is_none(given):
    """Names no row, says so, and may have been an answer."""
    for api in (CHAT, CLAUDE):
        found = api.read_line(given)
        assert found.custom_id is None
        assert found.outcome.kind is FailureKind.UNREADABLE
        assert found.outcome.maybe_billed


def test_a_member_of_an_array_is_no_line():
    """Some lines of an array would be read then, and the others be paid again; without any, the run stops."""
    assert CHAT.read_line(line(response=reply(answer())) + b",").custom_id is None


@pytest.mark.parametrize("own", [{}, {"custom_id": None}, {"custom_id": ""}, {"custom_id": ["k-1"]}])
def test_an_answer_without_an_id(own):
    """Belongs to nobody."""
    given = json.dumps({**own, "response": reply(answer())}).encode()
    assert CHAT.read_line(given).custom_id is None


@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["custom_id", "response", "error", "body", "status_code", "result", "type", "code"])
                    | st.text(max_size=4),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_no_bytes_raise(given):
    """And an id is never made up: it stands in the line."""
    for api in (CHAT, CLAUDE):
        found = api.read_line(given)
        assert isinstance(found.outcome, (Completion, Failure))
        if found.custom_id is not None:
            value = json.loads(given)
            told = value if any(name in value for name in NAMES) else value["request"]
            assert found.custom_id in {str(told[name]) for name in NAMES if name in told}


# ---- Anthropic


def test_a_message():
    """Is read as a live one."""
    found = CLAUDE.read_line(line(result={"type": "succeeded", "message": MESSAGE}))
    assert (found.custom_id, found.outcome.text, found.outcome.usage.output_tokens) == ("k-1", "yes", 2)
    assert found.outcome.service_tier == "batch"


def errored(kind, message):
    return line(result={"type": "errored", "error": {"type": "error", "error": {"type": kind, "message": message}}})


@pytest.mark.parametrize(
    ("given", "kind", "verdict", "again"),
    [
        (errored("invalid_request_error", "messages: at least one"), FailureKind.INVALID_REQUEST, Verdict.FAIL, False),
        (errored("invalid_request_error", "prompt is too long: 9 tokens"), FailureKind.TOO_LONG, Verdict.FAIL, False),
        (
            errored("invalid_request_error", "Your credit balance is too low to access the API"),
            FailureKind.ACCOUNT,
            Verdict.STOP,
            False,
        ),
        (errored("overloaded_error", "Overloaded"), FailureKind.RATE_LIMITED, Verdict.WAIT, False),
        (errored("api_error", "Internal server error"), FailureKind.SERVER_ERROR, Verdict.RETRY, False),
        (errored("not_found_error", "model: claude-x"), FailureKind.MODEL_UNAVAILABLE, Verdict.RETRY, True),
        (line(result={"type": "expired"}), FailureKind.TIMEOUT, Verdict.RETRY, True),
        (line(result={"type": "canceled"}), FailureKind.SERVER_ERROR, Verdict.RETRY, True),
        (line(result={"type": "new"}), FailureKind.SERVER_ERROR, Verdict.RETRY, False),
        (line(result=None), FailureKind.SERVER_ERROR, Verdict.RETRY, False),
    ],
)
def test_a_row_without_a_message(given, kind, verdict, again):
    """An empty account is the run's matter, whatever row says it."""
    found = CLAUDE.read_line(given)
    assert (found.custom_id, found.again) == ("k-1", again)
    assert (found.outcome.kind, found.outcome.verdict) == (kind, verdict)
    assert not found.outcome.maybe_billed


# ---- requests


@given(st.text(max_size=40))
def test_a_request_is_one_line(text):
    """Whatever is asked: other readers' line ends are escaped, and it is the same JSON."""
    for provider, name in (("openai", "body"), ("anthropic", "params")):
        api, wire_format = opened(provider, max_tokens=5)
        request = request_of(wire_format, text)
        written = api.line("k-1", request)
        assert len(written.decode().splitlines()) == 1
        assert json.loads(written)[name] == json.loads(request.body)
