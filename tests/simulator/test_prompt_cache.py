"""The prompt cache: what began the same costs less once the first of it is being answered, and for five minutes."""

import pytest

from batchgen.simulator.calls import Call
from batchgen.simulator.prompt_cache import LIFE_S, PromptCache

LONG = "the same words before every row. " * 250  # about 2,000 tokens


def call(text, system=LONG, model="m"):
    return Call(
        wire="openai",
        model=model,
        stream=False,
        messages=({"role": "system", "content": system}, {"role": "user", "content": text}),
    )


def cached(cache, text, now=0.0, answered_s=None, **changes):
    return cache.cached_tokens(call(text, **changes), 2_100, now, now if answered_s is None else answered_s)


def test_a_shared_beginning_is_found_once_it_is_answered():
    """Before that everybody pays in full; the number is a multiple of 128, and no more than what is the same."""
    cache = PromptCache(1_024)
    assert cached(cache, "one", 0.0, 2.0) == 0
    assert cached(cache, "two", 1.0, 3.0) == 0  # sent meanwhile
    found = cached(cache, "three", 2.0)
    assert (found % 128, 1_900 < found < 2_100) == (0, True)
    assert cached(cache, "four", 2.0, model="other") == 0
    assert cached(cache, "four", 2.0, system=f"x{LONG}") == 0
    assert cached(cache, "four", 2.0, system=LONG[:6_000] + "." + LONG) == 1_408


def test_it_is_kept_for_a_while_after_its_last_use():
    """Each use begins the time anew."""
    cache = PromptCache(1_024)
    cached(cache, "one")
    assert cached(cache, "two", LIFE_S - 1) > 0
    assert cached(cache, "three", 2 * LIFE_S - 2) > 0
    assert cached(cache, "four", 3 * LIFE_S) == 0
    assert cached(cache, "five", 3 * LIFE_S) > 0


@pytest.mark.parametrize("least", [0, 4_096])
def test_short_beginnings_and_no_cache(least):
    """A prompt below the least length is not kept."""
    cache = PromptCache(least)
    assert [cached(cache, text) for text in ("one", "two")] == [0, 0]
