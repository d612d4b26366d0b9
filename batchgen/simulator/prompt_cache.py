"""The vendor's prompt cache: the beginnings of recent prompts, which cost less where another prompt begins the same.

As OpenAI and DashScope's implicit cache have it: beginnings of at least so many tokens are kept, in steps of 128
tokens, for five minutes after their last use, and can be found once the first request that has them is being answered.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from batchgen.simulator.calls import Call

LIFE_S = 300.0
STEP_TOKENS = 128
_STEP_BYTES = 4 * STEP_TOKENS  # as `answers.count_tokens` counts
_MOST = 100_000  # beginnings that are kept; the oldest are forgotten first

_encode = msgspec.json.encode


class PromptCache:
    """Keeps the beginnings of prompts. `least_tokens` is the shortest that counts, 0 where nothing is kept."""

    def __init__(self, least_tokens: int) -> None:
        self._least = least_tokens
        self._known: dict[bytes, tuple[float, float]] = {}  # beginning → from when and until when it is found

    def cached_tokens(self, call: Call, input_tokens: int, now: float, answered_s: float) -> int:
        """Return how many of a prompt's tokens are served from the cache, and keep its beginning for later prompts.

        `answered_s` is the time at which its answer begins.
        """
        if not self._least or input_tokens < self._least:
            return 0
        text = _encode([call.model, call.tools, call.messages])
        found = 0
        beginning = blake2b(digest_size=16)
        for number in range(1, len(text) // _STEP_BYTES + 1):
            beginning.update(text[(number - 1) * _STEP_BYTES : number * _STEP_BYTES])
            key = beginning.digest()
            begin_s, end_s = self._known.pop(key, (answered_s, 0.0))
            if begin_s <= now < end_s and found == number - 1:
                found = number
            elif now >= end_s:
                begin_s = answered_s
            self._known[key] = begin_s, max(end_s, answered_s + LIFE_S)
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        tokens = min(found * STEP_TOKENS, input_tokens)
        return tokens if tokens >= self._least else 0
