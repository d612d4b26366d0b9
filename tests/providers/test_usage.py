"""What replies say of tokens: read under every name and in every place, never invented, never beyond sense."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.providers.usage import LARGEST_COUNT, last_filled, read_cost, read_usage
from batchgen.values import Completion, Usage

from .samples import read

THOUGHT = {"completion_tokens_details": {"reasoning_tokens": 150}}
CACHED = {"prompt_tokens_details": {"cached_tokens": 640}}
PLAIN = {"prompt_tokens": 800, "completion_tokens": 200, "total_tokens": 1000}
TOLD = {
    "chat completions": (PLAIN, Usage(800, 200, 1000)),
    "native": ({"input_tokens": 800, "output_tokens": 200}, Usage(800, 200, 1000)),
    "the second pair empty": (PLAIN | {"input_tokens": 0, "output_tokens": 0}, Usage(800, 200, 1000)),
    "the second pair null": (PLAIN | {"input_tokens": None, "output_tokens": None}, Usage(800, 200, 1000)),
    "the first pair empty": (
        {"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 800, "output_tokens": 200, "total_tokens": 1000},
        Usage(800, 200, 1000),
    ),
    "two pairs, one makes up the total": (PLAIN | {"input_tokens": 7, "output_tokens": 9}, Usage(800, 200, 1000)),
    "recordings in the input": (
        PLAIN | {"prompt_tokens_details": {"audio_tokens": 700, "text_tokens": 100}},
        Usage(800, 200, 1000, audio_tokens=700),
    ),
    "no recordings in the input": (PLAIN | {"prompt_tokens_details": {"audio_tokens": 0}}, Usage(800, 200, 1000)),
    "floats": ({"prompt_tokens": 800.0, "completion_tokens": 200.0}, Usage(800, 200, 1000)),
    "texts": ({"prompt_tokens": "800", "completion_tokens": " 200 "}, Usage(800, 200, 1000)),
    "camel case": (
        {"inputTokens": 800, "outputTokens": 200, "totalTokens": 1000, "cacheReadInputTokens": 5},
        Usage(800, 200, 1000, cached_tokens=5),
    ),
    "numbers with commas": ({"prompt_tokens": "1,800", "completion_tokens": "200"}, Usage(1800, 200, 2000)),
    "names of one": ({"prompt_token": 800, "completion_token": 200, "total_token": 1000}, Usage(800, 200, 1000)),
    "a word for number": ({"num_prompt_tokens": 800, "num_completion_tokens": 200}, Usage(800, 200, 1000)),
    "one letter for number": ({"n_input_tokens": 800, "n_output_tokens": 200}, Usage(800, 200, 1000)),
    "a level deeper, for all": ({"total": PLAIN}, Usage(800, 200, 1000)),
    "hits and misses of a cache alone": (
        {"completion_tokens": 200, "prompt_cache_hit_tokens": 640, "prompt_cache_miss_tokens": 160},
        Usage(800, 200, 1000, cached_tokens=640),
    ),
    "Gemini's own names": (
        {
            "promptTokenCount": 800, "candidatesTokenCount": 50, "thoughtsTokenCount": 150, "totalTokenCount": 1000,
            "cachedContentTokenCount": 300,
        },
        Usage(800, 200, 1000, cached_tokens=300, reasoning_tokens=150),
    ),
    "thinking beside the output": (
        {"prompt_tokens": 800, "completion_tokens": 50, "total_tokens": 1000} | THOUGHT,
        Usage(800, 200, 1000, reasoning_tokens=150),
    ),
    "thinking in the total only": (
        {"prompt_tokens": 800, "completion_tokens": 50, "total_tokens": 1000},
        Usage(800, 200, 1000),
    ),
    "thinking beside an output, and no total": (
        {"prompt_tokens": 800, "completion_tokens": 50} | THOUGHT,
        Usage(800, 200, 1000, reasoning_tokens=150),
    ),
    "more thinking than output, against the total": (
        {"prompt_tokens": 800, "completion_tokens": 50, "total_tokens": 850} | THOUGHT,
        Usage(800, 50, 850, contradictory=True),
    ),
    "Perplexity's thinking, billed apart": (
        {"prompt_tokens": 800, "completion_tokens": 50, "total_tokens": 850, "citation_tokens": 9000,
         "num_search_queries": 18, "reasoning_tokens": 150},
        Usage(800, 200, 1000, reasoning_tokens=150),
    ),
    "thinking at the top": (PLAIN | {"reasoning_tokens": 60}, Usage(800, 200, 1000, reasoning_tokens=60)),
    "no output, but a total": ({"prompt_tokens": 800, "total_tokens": 1000}, Usage(800, 200, 1000)),
    "no input, but a total": ({"completion_tokens": 200, "total_tokens": 1000}, Usage(800, 200, 1000)),
    "a total of another month": (PLAIN | {"total_tokens": 900_000_000}, Usage(800, 200, 1000)),
    "a total too small": (PLAIN | {"total_tokens": 3}, Usage(800, 200, 1000)),
    "cached at the top": (PLAIN | {"cached_tokens": 640}, Usage(800, 200, 1000, cached_tokens=640)),
    "DeepSeek's hits and misses": (
        PLAIN | {"prompt_cache_hit_tokens": 640, "prompt_cache_miss_tokens": 160},
        Usage(800, 200, 1000, cached_tokens=640),
    ),
    "cached under two names, one empty": (
        PLAIN | {"prompt_tokens_details": {"cached_tokens": 0}, "cache_read_input_tokens": 640},
        Usage(800, 200, 1000, cached_tokens=640),
    ),
    "cached beside the prompt, and no total": (
        {"prompt_tokens": 160, "completion_tokens": 200} | CACHED,
        Usage(800, 200, 1000, cached_tokens=640),
    ),
    "more cached than prompt, against the total": (
        {"prompt_tokens": 160, "completion_tokens": 200, "total_tokens": 360} | CACHED,
        Usage(160, 200, 360, contradictory=True),
    ),
    "more cached and written than prompt, against the total": (
        {"prompt_tokens": 700, "completion_tokens": 200, "total_tokens": 900,
         "prompt_tokens_details": {"cached_tokens": 640, "cache_write_tokens": 100}},
        Usage(700, 200, 900, cached_tokens=640, contradictory=True),
    ),
    "cached beside the prompt under Anthropic's name, the total without it": (
        {"prompt_tokens": 160, "completion_tokens": 200, "total_tokens": 360, "cache_read_input_tokens": 640},
        Usage(800, 200, 1000, cached_tokens=640),
    ),
    "cached within the prompt, under both names": (
        PLAIN | CACHED | {"cache_read_input_tokens": 640, "cache_creation_input_tokens": 0},
        Usage(800, 200, 1000, cached_tokens=640, cache_write_tokens=0),
    ),
    "a gateway that says it counts as Anthropic does": (
        {"prompt_tokens": 700, "completion_tokens": 200, "total_tokens": 900, "usage_semantic": "anthropic",
         "prompt_tokens_details": {"cached_tokens": 60}, "claude_cache_creation_5_m_tokens": 30,
         "claude_cache_creation_1_h_tokens": 10},
        Usage(800, 200, 1000, cached_tokens=60, cache_write_tokens=40, long_cache_tokens=10),
    ),
    "only the read cache beside the prompt, as the total tells": (
        {"prompt_tokens": 700, "completion_tokens": 200, "total_tokens": 1000, "cache_read_input_tokens": 100,
         "cache_creation_input_tokens": 50},
        Usage(800, 200, 1000, cached_tokens=100, cache_write_tokens=50),
    ),
    "tools of the server": (
        {"promptTokenCount": 80, "toolUsePromptTokenCount": 237, "candidatesTokenCount": 173,
         "thoughtsTokenCount": 60, "totalTokenCount": 550},
        Usage(317, 233, 550, reasoning_tokens=60),
    ),
    "tools of the server, with thinking within the output": (
        {"prompt_tokens": 80, "tool_use_prompt_tokens": 237, "completion_tokens": 233, "total_tokens": 550,
         "reasoning_tokens": 60},
        Usage(317, 233, 550, reasoning_tokens=60),
    ),
    "as many thinking tokens beside the output as cached ones": (
        {"promptTokenCount": 80, "candidatesTokenCount": 20, "thoughtsTokenCount": 60, "totalTokenCount": 160,
         "cachedContentTokenCount": 60},
        Usage(80, 80, 160, cached_tokens=60, reasoning_tokens=60),
    ),
    "tools of the server, and no total": (
        {"promptTokenCount": 80, "toolUsePromptTokenCount": 720, "candidatesTokenCount": 200},
        Usage(800, 200, 1000),
    ),
    "tools of the server within the prompt": (
        PLAIN | {"tool_use_prompt_tokens": 500}, Usage(800, 200, 1000),
    ),
    "Cohere's billed units": (
        {"billed_units": {"input_tokens": 800.0, "output_tokens": 200.0}, "tokens": {"input_tokens": 1290,
         "output_tokens": 200}, "cached_tokens": 0},
        Usage(800, 200, 1000, cached_tokens=0),
    ),
    "Cohere's tokens alone": ({"tokens": {"input_tokens": 800, "output_tokens": 200}}, Usage(800, 200, 1000)),
    "Spark's": ({"text": {"prompt_tokens": 800, "completion_tokens": 200}}, Usage(800, 200, 1000)),
    "objects with a total": (
        {"inputTokens": {"total": 800, "cacheRead": 640, "noCache": 160}, "outputTokens": {"total": 200, "text": 50,
         "reasoning": 150}},
        Usage(800, 200, 1000, cached_tokens=640, reasoning_tokens=150),
    ),
    "short names": ({"input": 800, "output": 200, "total": 1000}, Usage(800, 200, 1000)),
    "tokens first": ({"tokens_in": 800, "tokens_out": 200}, Usage(800, 200, 1000)),
    "Llama's on Bedrock": ({"prompt_token_count": 800, "generation_token_count": 200}, Usage(800, 200, 1000)),
    "Titan's": ({"inputTextTokenCount": 800, "generated_token_count": 200}, Usage(800, 200, 1000)),
    "a total alone": ({"total_tokens": 1000}, Usage(total_tokens=1000)),
    "a total alone beside zeros": (
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 1000}, Usage(total_tokens=1000),
    ),
    "cached beside the prompt, as the total tells": (
        {"prompt_tokens": 700, "completion_tokens": 200, "total_tokens": 1000, "cache_read_input_tokens": 100},
        Usage(800, 200, 1000, cached_tokens=100),
    ),
    "Anthropic's": (
        {"input_tokens": 700, "output_tokens": 200, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 40},
        Usage(800, 200, 1000, cached_tokens=60, cache_write_tokens=40),
    ),
    "caches of two ages": (
        PLAIN | {"cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 10}},
        Usage(800, 200, 1000, cache_write_tokens=40, long_cache_tokens=10),
    ),
    "zeros": ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage()),
    "no input": ({"prompt_tokens": 0, "completion_tokens": 200, "total_tokens": 200}, Usage(output_tokens=200)),
    "no output for an answer": ({"prompt_tokens": 800, "completion_tokens": 0}, Usage(800)),
    "minus one": ({"prompt_tokens": -1, "completion_tokens": 200, "total_tokens": -1}, Usage(output_tokens=200)),
    "beyond 64 bits": ({"prompt_tokens": 2**70, "completion_tokens": 200}, Usage(output_tokens=200)),
    "only the total beyond 64 bits": (PLAIN | {"total_tokens": 2**64}, Usage(800, 200, 1000)),
    "words": ({"prompt_tokens": "many", "completion_tokens": [3], "total_tokens": {}}, Usage()),
    "truth": ({"prompt_tokens": True, "completion_tokens": False}, Usage()),
    "an input of zero beside a cache that is a part of it": (
        {"prompt_tokens": 0, "completion_tokens": 200, "total_tokens": 1000, "prompt_cache_hit_tokens": 640},
        Usage(800, 200, 1000, cached_tokens=640),
    ),
    "an input of zero where all came from the cache": (
        {"input_tokens": 0, "output_tokens": 200, "total_tokens": 1000, "cache_read_input_tokens": 800},
        Usage(800, 200, 1000, cached_tokens=800),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_every_way_to_tell_is_understood(name):
    """Figures agree with each other afterwards; what was not reported is null, never 0."""
    told, expected = TOLD[name]
    assert read_usage(told) == expected


PLACES = {
    "at the top": {"usage": PLAIN},
    "in the choice": {"choice": {"usage": PLAIN}},
    "empty at the top, in the choice": {"usage": {}, "choice": {"usage": PLAIN}},
    "in a member of Groq's": {"x_groq": {"id": "r", "usage": PLAIN}},
    "Gemini's member": {"usageMetadata": {"promptTokenCount": 800, "candidatesTokenCount": 200}},
    "Cohere's member": {
        "meta": {"api_version": {"version": "1"}, "billed_units": {"input_tokens": 800.0, "output_tokens": 200.0}}
    },
    "Bedrock's member": {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 800, "outputTokenCount": 200}},
    "beside null": {"usage": None, "metrics": {"input_token_count": 800, "output_token_count": 200}},
    "llama.cpp's counts": {"tokens_evaluated": 800, "tokens_predicted": 200, "tokens_cached": 999, "timings": {}},
    "in a list": {"usage": [PLAIN]},
    "as JSON text": {"usage": msgspec.json.encode(PLAIN).decode()},
    "in capitals": {"Usage": PLAIN},
    "under another name": {"usage_info": PLAIN},
    "of tokens": {"tokens": {"prompt": 800, "completion": 200}},
    "of LangChain's": {"llm_output": {"token_usage": PLAIN}},
    "in a gateway's own member": {"data": {"usage": PLAIN}},
    "SGLang's, in the choice": {"choice": {"meta_info": {"prompt_tokens": 800, "completion_tokens": 200}}},
    "in the message": {"message": {"usage": PLAIN}},
    "Ollama's counts": {"prompt_eval_count": 800, "eval_count": 200, "total_duration": 5043500667},
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_usage_is_found_in_every_place(place, stream):
    """Of a plain reply and of a stream's last chunk."""
    members = dict(PLACES[place])
    message = {"content": "a"} | members.pop("message", {})
    choice = {"index": 0, "finish_reason": "stop", "delta" if stream else "message": message} | members.pop(
        "choice", {}
    )
    document = {"choices": [choice]} | members
    body = msgspec.json.encode(document)
    outcome = read("openai", b"data: " + body + b"\n\n" if stream else body, stream=stream)
    assert isinstance(outcome, Completion)
    assert outcome.usage == Usage(800, 200, 1000)


SPLIT = {
    "zeros at the end": [PLAIN, {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}],
    "input first, output last": [
        {"prompt_tokens": 800, "completion_tokens": 1, "total_tokens": 801},
        {"prompt_tokens": 0, "completion_tokens": 200, "total_tokens": 200},
    ],
    "input first, output alone last": [{"input_tokens": 800, "output_tokens": 0}, {"output_tokens": 200}],
    "cumulative": [
        {"prompt_tokens": 800, "completion_tokens": 100, "total_tokens": 900},
        PLAIN,
    ],
    "null between": [PLAIN, {"prompt_tokens": None, "completion_tokens": None}],
}


@pytest.mark.parametrize("name", SPLIT)
def test_reports_of_a_stream_are_taken_together(name):
    """Of each figure the last one that says anything."""
    assert read_usage(last_filled(SPLIT[name])) == Usage(800, 200, 1000)


@pytest.mark.parametrize("stream", [True, False])
def test_llama_cpps_timings_are_read_where_there_is_no_usage(stream):
    """What came out of its cache is counted apart there; `usage` comes first where there is one."""
    timings = {"cache_n": 640, "prompt_n": 160, "predicted_n": 200, "prompt_ms": 3.5}
    for usage, expected in ((None, Usage(800, 200, 1000, cached_tokens=640)), (PLAIN, Usage(800, 200, 1000))):
        choice = {"index": 0, "finish_reason": "stop", "delta" if stream else "message": {"content": "a"}}
        body = msgspec.json.encode({"choices": [choice], "timings": timings, "usage": usage})
        outcome = read("openai", b"data: " + body + b"\n\n" if stream else body, stream=stream)
        assert isinstance(outcome, Completion)
        assert outcome.usage == expected


def test_a_cache_larger_than_the_input_is_beside_it_where_the_model_is_anthropics():
    """Gateways leave Anthropic's names out, and sum up without the cache."""
    told = {"prompt_tokens": 160, "completion_tokens": 200, "total_tokens": 360} | CACHED
    for model, expected in (
        ("anthropic/claude-x", Usage(800, 200, 1000, cached_tokens=640)),
        ("other", Usage(160, 200, 360, contradictory=True)),
    ):
        choice = {"index": 0, "finish_reason": "stop", "message": {"content": "a"}}
        outcome = read("openai", msgspec.json.encode({"choices": [choice], "usage": told, "model": model}))
        assert isinstance(outcome, Completion)
        assert outcome.usage == expected


def test_a_blocked_prompt_has_no_output():
    """Without an answer an output of 0 is a report."""
    assert read_usage({"prompt_tokens": 20, "total_tokens": 20}, answered=False) == Usage(20, 0, 20)


@pytest.mark.parametrize(
    ("told", "cost"),
    [
        ({"cost": 0.0123}, "0.0123"),
        ({"cost": "0.5"}, "0.5"),
        ({"cost": {"total_cost": 0.25, "request_cost": 0.2}}, "0.25"),
        ({"estimated_cost": 1e-7}, "0.0000001"),
        ({"cost_in_usd_ticks": 37_756_000}, "0.0037756"),
        ({"cost": None}, None),
        ({"cost": -1}, None),
        ({"cost": 10**30}, None),
        ({"cost": float("inf")}, None),
        ({"cost": True}, None),
    ],
)
def test_a_replys_own_cost_is_read(told, cost):
    """In whatever form it stands, with a bound."""
    assert read_cost(told) == (None if cost is None else Decimal(cost))


FIGURE = (
    st.none() | st.booleans() | st.integers(-3, 3000) | st.integers() | st.floats() | st.text(max_size=4) | st.just({})
)
NAMES = st.sampled_from(sorted({name for told, _ in TOLD.values() for name in told} | {"cost", "reasoning_tokens"}))
REPORTS = st.dictionaries(NAMES, FIGURE | st.dictionaries(NAMES, FIGURE, max_size=4), max_size=8)


@given(st.lists(REPORTS, max_size=3), st.booleans())
def test_any_figures_give_a_usage_that_agrees_with_itself(reports, answered):
    """Bounded, with input within total, thinking within output, caches within input, and never 0 for an answer."""
    together = last_filled(reports)
    usage = read_usage(together, answered=answered)
    read_cost(together)
    assert all(value is None or 0 <= value <= LARGEST_COUNT for value in msgspec.structs.astuple(usage))
    assert usage.input_tokens != 0
    assert not answered or usage.output_tokens != 0
    if usage.input_tokens is not None and usage.output_tokens is not None:
        assert usage.total_tokens in (usage.input_tokens + usage.output_tokens, None)
        assert (usage.reasoning_tokens or 0) <= usage.output_tokens
        assert (usage.cached_tokens or 0) + (usage.cache_write_tokens or 0) <= usage.input_tokens


WHOLE = st.integers(1, 5000)


@given(WHOLE, WHOLE, st.integers(0, 9000), st.integers(0, 9000), st.booleans())
def test_what_the_pair_and_the_total_say_is_never_raised_by_other_figures(tokens_in, tokens_out, cached, thought, top):
    """A total that is the sum of the pair settles both; a detail is a part of one of them, or left out."""
    details = {
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }
    report = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    usage = read_usage(report | ({"cached_tokens": cached, "reasoning_tokens": thought} if top else details))
    assert (usage.input_tokens, usage.output_tokens) == (tokens_in, tokens_out)
    assert usage.cached_tokens == (cached if cached <= tokens_in else None)
    assert usage.reasoning_tokens == (thought if thought <= tokens_out else None)
    assert usage.contradictory is (cached > tokens_in or thought > tokens_out)
