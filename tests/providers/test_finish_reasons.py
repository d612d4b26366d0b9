"""How an answer ended: the words of servers, and what becomes of the row."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.providers.finish_reasons import OUR_WORDS, is_unfinished, read_end
from batchgen.values import Completion, Failure, FailureKind, Usage, Verdict

from .samples import read

WORDS = {
    "stop": "stop STOP end_turn endTurn END_TURN eos eos_token <|im_end|> stop_sequence FINISH_REASON_STOP COMPLETE "
    "message_stop response.completed </s> user natural_stop normal_end stop_eos stopped final eog "
    "normal <|eot_id|> end-turn eosFound stopPatternFound matched_stop",
    "tool_calls": "tool_calls tool_use TOOL_CALLS tools_call function_call tool_call toolUse",
    "length": "length LENGTH max_tokens MAX_TOKENS maxTokens model_length max_output_tokens max_completion_tokens "
    "context_length_exceeded model_context_window_exceeded FINISH_REASON_MAX_TOKENS token_limit truncated max_length "
    "max_new_tokens maxPredictedTokensReached limit ERROR_LIMIT max_time time_limit out_of_tokens number_limit loop "
    "TOKENS_LIMIT too_long stopped_limit kv_cache_full token_budget budget_exceeded tokens",
    "content_filter": "content_filter contentFilter content-filter SAFETY safety PROHIBITED_CONTENT BLOCKLIST SPII "
    "RECITATION sensitive content_filtered refusal guardrail_intervened IMAGE_SAFETY policy_violation blocked "
    "escalation hate violence sexual "
    "FINISH_REASON_SAFETY LANGUAGE ERROR_TOXIC risk high_risk illegal MODEL_ARMOR forbidden_content nsfw denied",
}
FAILURES = (
    "error ERROR abort aborted cancelled canceled network_error insufficient_system_resource engine_error timeout "
    "internal_error MALFORMED_FUNCTION_CALL UNEXPECTED_TOOL_CALL server_error overloaded interrupted connection_lost "
    "resource_exhausted load failed preempted oom out_of_memory server_busy engine_dead modelUnloaded userStopped "
    "in_progress running paused no_response not_finished incomplete "
    "hang nan rate_limit quota_limit internal partial dropped halted"
)


@pytest.mark.parametrize(("ours", "theirs"), [(ours, word) for ours, words in WORDS.items() for word in words.split()])
def test_an_end_is_the_same_in_all_spellings(ours, theirs):
    """Case, separators and prefixes do not count."""
    assert read_end(theirs) == ours


@pytest.mark.parametrize("word", FAILURES.split())
def test_a_failure_is_no_success(word):
    """Half an answer with such an end is tried again, and what was billed for it is kept."""
    assert read_end(word) is None
    outcome = read("openai", reply(word, "half an ans"))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.verdict) == (FailureKind.SERVER_ERROR, Verdict.RETRY)
    assert (outcome.finish_reason, outcome.usage) == (word, Usage(9, 4, 13))
    assert repr(word) in outcome.message


@pytest.mark.parametrize("word", ["gone_fishing", "OTHER", "pause_turn"])
def test_an_unknown_end_is_kept_as_it_is(word):
    """With words it is an answer that somebody has to look at; without any it is none."""
    outcome = read("openai", reply(word, "some answer"))
    assert isinstance(outcome, Completion)
    assert outcome.finish_reason == word
    empty = read("openai", reply(word, ""))
    assert isinstance(empty, Failure)
    assert empty.verdict is Verdict.RETRY


@pytest.mark.parametrize("content", ["", None])
def test_a_filter_that_left_nothing_is_a_failure_of_the_row(content):
    """The row fails after one attempt, with what its prompt cost."""
    outcome = read("openai", reply("content_filter: PROHIBITED_CONTENT", content))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.verdict) == (FailureKind.CONTENT_FILTER, Verdict.FAIL)
    assert (outcome.finish_reason, outcome.usage) == ("content_filter", Usage(9, 4, 13))


@pytest.mark.parametrize(
    "place",
    [
        {"choice": {"finishReason": "MAX_TOKENS"}},
        {"choice": {"stop_reason": "max_tokens"}},
        {"choice": {"done_reason": "length"}},
        {"choice": {"finish_reason": ["length"]}},
        {"choice": {"finish_reason": {"reason": "length"}}},
        {"message": {"finish_reason": "length"}},
        {"top": {"finish_reason": "length"}},
    ],
)
def test_an_end_of_another_name_or_place(place):
    """A cut answer is known for one."""
    choice = {"message": {"content": "half an ans"} | place.get("message", {})} | place.get("choice", {})
    outcome = read("vllm", msgspec.json.encode({"choices": [choice]} | place.get("top", {})))
    assert (outcome.text, outcome.finish_reason) == ("half an ans", "length")


@pytest.mark.parametrize("error", [{"code": 502, "message": "upstream is gone"}, "upstream is gone"])
@pytest.mark.parametrize("stream", [True, False])
def test_an_error_inside_the_choice_fails_the_attempt(stream, error):
    """Whatever its end says; the words are the error's."""
    choice = {"index": 0, "finish_reason": "error", "error": error}
    if stream:
        pieces = [{"choices": [{"delta": {"content": "half an "}}]}, {"choices": [{**choice, "delta": {}}]}]
        body = b"".join(b"data: " + msgspec.json.encode(piece) + b"\n\n" for piece in pieces) + b"data: [DONE]\n\n"
    else:
        body = msgspec.json.encode({"choices": [{**choice, "message": {"content": "half an "}}]})
    outcome = read("openai", body, stream=stream)
    assert isinstance(outcome, Failure)
    assert outcome.verdict is Verdict.RETRY
    assert "upstream is gone" in outcome.message
    assert outcome.maybe_billed


def test_a_limit_inside_the_choice_is_waited_for():
    """The status in the choice's error counts."""
    choice = {"message": {"content": ""}, "finish_reason": "error", "error": {"code": 429, "message": "slow down"}}
    outcome = read("openai", msgspec.json.encode({"choices": [choice]}))
    assert isinstance(outcome, Failure)
    assert outcome.verdict is Verdict.WAIT


@given(st.text(max_size=40))
def test_any_word_has_a_meaning_and_no_failure_word_passes(word):
    """Nothing raises; a word with `error` in it that nobody knows as good never is."""
    end = read_end(word)
    assert end is None or end in OUR_WORDS or end == word
    assert read_end(f"{word}_error") not in ("stop", "tool_calls")
    is_unfinished(word)


def reply(word, content):
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": word}
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    return msgspec.json.encode({"object": "chat.completion", "choices": [choice], "usage": usage})
