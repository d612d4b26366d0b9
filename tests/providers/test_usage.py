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
    "floats": ({"prompt_tokens": 800.0, "completion_tokens": 200.0}, Usage(800, 200, 1000)),
    "texts": ({"prompt_tokens": "800", "completion_tokens": " 200 "}, Usage(800, 200, 1000)),
    "camel case": (
        {"inputTokens": 800, "outputTokens": 200, "totalTokens": 1000, "cacheReadInputTokens": 5},
        Usage(800, 200, 1000, cached_tokens=5),
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
    "thinking beside an output and a total without it": (
        {"prompt_tokens": 800, "completion_tokens": 50, "total_tokens": 850} | THOUGHT,
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
    "cached beside the prompt": (
        {"prompt_tokens": 160, "completion_tokens": 200, "total_tokens": 360} | CACHED,
        Usage(800, 200, 1000, cached_tokens=640),
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
        Usage(800, 200, 1000, cache_write_tokens=40),
    ),
    "zeros": ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage()),
    "no input": ({"prompt_tokens": 0, "completion_tokens": 200, "total_tokens": 200}, Usage(output_tokens=200)),
    "no output for an answer": ({"prompt_tokens": 800, "completion_tokens": 0}, Usage(800)),
    "minus one": ({"prompt_tokens": -1, "completion_tokens": 200, "total_tokens": -1}, Usage(output_tokens=200)),
    "beyond 64 bits": ({"prompt_tokens": 2**70, "completion_tokens": 200}, Usage(output_tokens=200)),
    "only the total beyond 64 bits": (PLAIN | {"total_tokens": 2**64}, Usage(800, 200, 1000)),
    "words": ({"prompt_tokens": "many", "completion_tokens": [3], "total_tokens": {}}, Usage()),
    "truth": ({"prompt_tokens": True, "completion_tokens": False}, Usage()),
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
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_usage_is_found_in_every_place(place, stream):
    """Of a plain reply and of a stream's last chunk."""
    members = dict(PLACES[place])
    choice = {"index": 0, "finish_reason": "stop", "delta" if stream else "message": {"content": "a"}} | members.pop(
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
