"""Counted rows, and how many there are of each input length."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from msgspec import Struct


class Asked(Struct, frozen=True):
    """What decides the price of a row besides its length: the model, whether it thinks, what the provider adds, and
    whether it is `too_long` for a line of a batch, so that it is asked live; and how often it is asked (`votes`)."""

    model: str
    thinks: bool
    added: str | None = None
    too_long: bool = False
    votes: int = 1


class CountedRow(Struct, frozen=True, gc=False):
    """A row that has a prompt. `answer` is the most output tokens it can get, None if unbounded; `media` are the kinds
    of content in its messages that are not counted, `spoken` those of its tokens that recordings have."""

    asked: Asked
    tokens: int
    answer: int | None
    media: tuple[str, ...] = ()
    spoken: int = 0

    @property
    def all_tokens(self) -> int:
        """The input tokens of all its votes."""
        return self.tokens * self.asked.votes


class Histogram:
    """Rows and tokens by input length. The bins are divided at `edges`; an edge belongs to the bin below it.

    Tokens are those of all votes of a row.
    For each bin: `answers` are the most output tokens of its rows together, as far as they are bounded; `unbounded` is
    the number of rows whose answers nothing bounds. `spoken` are those of the tokens that recordings have.
    """

    __slots__ = ("answers", "edges", "rows", "spoken", "tokens", "unbounded")

    def __init__(self, edges: Iterable[int]) -> None:
        self.edges = sorted(set(edges))
        self.rows = [0] * (len(self.edges) + 1)
        self.tokens = [0] * (len(self.edges) + 1)
        self.answers = [0] * (len(self.edges) + 1)
        self.unbounded = [0] * (len(self.edges) + 1)
        self.spoken = [0] * (len(self.edges) + 1)

    def add(self, tokens: int, answer: int | None, spoken: int = 0, votes: int = 1) -> None:
        """Add a row with this many input tokens and at most this many output tokens (None: unbounded), in each of its
        votes."""
        place = bisect_left(self.edges, tokens)
        self.rows[place] += 1
        self.tokens[place] += tokens * votes
        self.spoken[place] += spoken * votes
        if answer is None:
            self.unbounded[place] += 1
        else:
            self.answers[place] += answer * votes

    def merge(self, other: Histogram) -> None:
        """Add the counts of a histogram with the same edges."""
        for mine, theirs in (
            (self.rows, other.rows),
            (self.tokens, other.tokens),
            (self.answers, other.answers),
            (self.unbounded, other.unbounded),
            (self.spoken, other.spoken),
        ):
            for place, value in enumerate(theirs):
                mine[place] += value

    def scaled(self, factor: float) -> Histogram:
        """Return the counts times a factor: those of a sample, for all rows."""
        other = Histogram(self.edges)
        for name in ("rows", "tokens", "answers", "unbounded", "spoken"):
            setattr(other, name, [round(value * factor) for value in getattr(self, name)])
        return other

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield the number of each bin that has rows, with an input length in it."""
        for place, rows in enumerate(self.rows):
            if rows:
                last = self.edges[-1] + 1 if self.edges else 0
                yield place, self.edges[place] if place < len(self.edges) else last
