"""What a request will cost in tokens, learned from what requests did cost. Pure arithmetic."""

from __future__ import annotations

from batchgen.values import Usage


class TokenCost:
    """Estimated prompt tokens → charged tokens: the callers' error as a `ratio`, plus the mean `answer`."""

    __slots__ = ("_answers", "_counted", "_estimated", "answer", "ratio")

    def __init__(self) -> None:
        self._estimated = self._counted = 1000.0
        self._answers = 20  # weight of the guess below; grows to 200 answers, then the past fades
        self.answer = 250.0
        self.ratio = 1.0

    def learn(self, prompt_tokens: float, usage: Usage) -> float | None:
        """Take one request's bill; return its tokens, None if the provider did not say."""
        used_in, used_out = usage.input_tokens, usage.output_tokens
        if used_in is None or used_out is None:
            return None if usage.total_tokens is None else float(usage.total_tokens)
        if self._answers < 200:
            self._answers += 1
        self.answer += (used_out - self.answer) / self._answers
        self._estimated += prompt_tokens
        self._counted += used_in
        if self._estimated > 200_000:
            self._estimated /= 2
            self._counted /= 2
        self.ratio = self._counted / self._estimated
        return float(used_in + used_out)
