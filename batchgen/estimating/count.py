"""Counting the tokens of every row, streamed, on all cores.

Threads, not processes: tiktoken encodes without holding the interpreter's lock, and what holds it (rendering, bucket
sums) is a tenth of a row of prose. Measured end to end: 2 million tokens for each second of one core, with rows of 600
tokens and of 60; two threads took 0.55 to 0.8 of the time of one (busy machine). Processes start in most of a second.

What is kept is a histogram per model: rows and tokens between the input lengths at which a price or a limit changes.
All costs follow from it, so memory does not grow with the number of rows.
"""

from __future__ import annotations

import copy
import os
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from heapq import heappush, heapreplace
from typing import Any

import pyarrow as pa
from msgspec import Struct

from batchgen.engine.reporter import Progress, Reporter
from batchgen.job.parts import JobParts
from batchgen.job.render import rendered
from batchgen.money.prices import ModelLimits, ModelPrice, answer_bound
from batchgen.source import Batch
from batchgen.tokens.count import TokenCounter, counter_for
from batchgen.tokens.hidden import added_by_provider, media_of
from batchgen.tokens.parameters import effective_parameters
from batchgen.values import Prompt

SLICE_ROWS = 250
"""Rows that a thread takes at a time: few enough that a small input keeps all cores busy."""

LARGEST = 500
"""So many of the rows with the longest input are kept: single ones may decide what the job costs."""

EXAMPLES = 5
"""Rows that cannot be asked or do not fit are counted; so many of them are named."""

_REMEMBERED = 256  # texts whose count is kept: system prompts come back with every row
_REMEMBERED_CHARACTERS = 32_768


class Histogram:
    """Rows and tokens by input length; the lengths change at `edges`, each of which belongs to the part below it.

    `answers` are the most output tokens that the rows can get together, as far as bounded; `unbounded` counts the rows
    of which nothing bounds them.
    """

    __slots__ = ("answers", "edges", "rows", "tokens", "unbounded")

    def __init__(self, edges: Iterable[int]) -> None:
        self.edges = sorted(set(edges))
        self.rows = [0] * (len(self.edges) + 1)
        self.tokens = [0] * (len(self.edges) + 1)
        self.answers = [0] * (len(self.edges) + 1)
        self.unbounded = [0] * (len(self.edges) + 1)

    def add(self, tokens: int, answer: int | None) -> None:
        """Count a row of so many input tokens that can get so long an answer (None: unbounded)."""
        place = bisect_left(self.edges, tokens)
        self.rows[place] += 1
        self.tokens[place] += tokens
        if answer is None:
            self.unbounded[place] += 1
        else:
            self.answers[place] += answer

    def merge(self, other: Histogram) -> None:
        """Add the counts of a histogram with the same edges."""
        for mine, theirs in (
            (self.rows, other.rows),
            (self.tokens, other.tokens),
            (self.answers, other.answers),
            (self.unbounded, other.unbounded),
        ):
            for place, value in enumerate(theirs):
                mine[place] += value

    def places(self) -> Iterator[tuple[int, int]]:
        """Yield each part that has rows, with an input length that stands for it."""
        for place, rows in enumerate(self.rows):
            if rows:
                last = self.edges[-1] + 1 if self.edges else 0
                yield place, self.edges[place] if place < len(self.edges) else last


class Asked(Struct, frozen=True):
    """What decides a row's price: the model, whether it thinks before it answers, and what the provider adds to it."""

    model: str
    thinks: bool
    added: str | None = None


class CountedRow(Struct, frozen=True, gc=False):
    """A row that can be asked. `answer`: most output tokens it can get, None if unbounded; `media`: kinds of what is in
    its messages and not counted."""

    asked: Asked
    tokens: int
    answer: int | None
    media: tuple[str, ...] = ()


class Census:
    """What counting all rows gives. `others`: histograms for the models of a comparison, by name of their counter;
    `media`: rows that hold images and the like, by kind."""

    def __init__(self) -> None:
        self.groups: dict[Asked, Histogram] = {}
        self.others: dict[str, Histogram] = {}
        self.counters: dict[str, TokenCounter] = {}
        self.unaskable = 0
        self.unaskable_examples: dict[int, str] = {}
        self.too_long = 0
        self.too_long_ids: list[str] = []
        self.wanted: dict[int, CountedRow] = {}
        self.media: Counter[str] = Counter()
        self._largest: list[tuple[int, int, CountedRow]] = []  # a heap, the shortest first

    def consider(self, number: int, row: CountedRow) -> None:
        """Keep the row if it is among the longest."""
        entry = (row.tokens, -number, row)
        if len(self._largest) < LARGEST:
            heappush(self._largest, entry)
        elif row.tokens > self._largest[0][0]:
            heapreplace(self._largest, entry)

    def dominating(self, share: int, most: int) -> dict[int, CountedRow]:
        """Return the rows, `most` at most, that hold more than 1/`share` of the input tokens each."""
        total = sum(sum(histogram.tokens) for histogram in self.groups.values())
        longest = sorted(self._largest, key=lambda entry: entry[:2], reverse=True)[:most]
        return {-number: row for tokens, number, row in longest if tokens * share > total}


class Ruler:
    """How a job's rows are measured: counters, price edges and answer bounds, looked up once each."""

    def __init__(self, parts: JobParts, limits_of: Callable[[str], ModelLimits | None]) -> None:
        self._parts = parts
        self._parameters = parts.job.model.parameters
        self._limits_of = limits_of
        self._counters: dict[str, TokenCounter] = {}
        self._same = self._bounds_of(parts.model, effective_parameters(self._parameters))

    def counter(self, model: str) -> TokenCounter:
        """Return the counter for a model; the threads share it."""
        counter = self._counters.get(model)
        if counter is None:
            counter = self._counters[model] = _remembering(counter_for(model))
        return counter

    def max_input(self, model: str) -> int | None:
        """Return the longest request that a model takes, None if not known."""
        limits = self._limits_of(model)
        return limits.max_input if limits else None

    def edges(self, model: str, prices: Iterable[ModelPrice | None]) -> list[int]:
        """Return the input lengths at which the cost of a request to the model changes its rule."""
        edges = [tier.up_to for price in prices if price for tier in price.tiers if tier.up_to is not None]
        longest = self.max_input(model)
        return edges if longest is None else [*edges, longest]

    def measure(self, prompt: Prompt) -> CountedRow:
        """Return what a prompt's cost depends on."""
        model = prompt.model or self._parts.model
        if prompt.parameters is None and prompt.model is None:
            asked, answer = self._same
        else:
            asked, answer = self._bounds_of(model, effective_parameters(self._parameters, prompt.parameters))
        tokens = self.counter(model).count(prompt, self._parameters)
        return CountedRow(asked, tokens, answer, tuple(dict.fromkeys(part.kind for part in media_of(prompt))))

    def _bounds_of(self, model: str, parameters: Mapping[str, Any]) -> tuple[Asked, int | None]:
        price = self._parts.price_of(model) if model else None
        bound = answer_bound(price or self._limits_of(model) or ModelLimits(), parameters)
        return Asked(model, thinks(price, parameters), added_by_provider(model, parameters)), bound


def thinks(price: ModelPrice | None, parameters: Mapping[str, Any]) -> bool:
    """Whether requests with these parameters are taken to think: as they say, else as the model does by default."""
    default = price is not None and price.extra_thinking in ("on", "always")
    return bool(parameters.get("enable_thinking", default))


class _Slice(Struct):
    """What a thread found: one entry per row, None where the row cannot be asked."""

    batch: Batch
    rows: list[CountedRow | str]
    others: dict[str, Histogram]


def count_rows(
    parts: JobParts,
    ruler: Ruler,
    *,
    others: Mapping[str, list[int]],
    wanted: AbstractSet[int],
    reporter: Reporter,
    each: Callable[[pa.Array, list[CountedRow | str]], None] | None = None,
) -> Census:
    """Render and count every row.

    `others`: a model for each further counter → the edges of its histogram. `wanted` rows are kept in the census.
    `each` gets the ids and findings of consecutive rows, in input order (a string: why the row cannot be asked).
    """
    census = Census()
    census.others = {model: Histogram(edges) for model, edges in others.items()}
    standing = Progress(rows=parts.source.scan().rows)
    reporter.started(standing)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for found in _in_order(lambda batch: _measure(parts, ruler, others, batch), _slices(parts), threads):
        _take(census, found, parts, ruler, wanted)
        if each is not None:
            each(parts.source.row_ids(found.batch), found.rows)
        standing.settled += len(found.rows)
        reporter.moved(standing)
    reporter.finished(standing)
    for asked in census.groups:
        census.counters[asked.model] = ruler.counter(asked.model)
    return census


def _slices(parts: JobParts) -> Iterator[Batch]:
    columns = [name for name in parts.source.columns if name in parts.template.columns]
    for batch in parts.source.batches(0, columns):
        for start in range(0, batch.table.num_rows, SLICE_ROWS):
            yield Batch(batch.first_row + start, batch.table.slice(start, SLICE_ROWS), batch.problems)


def _in_order(work: Callable[[Batch], _Slice], batches: Iterable[Batch], threads: int) -> Iterator[_Slice]:
    """Yield what `work` makes of the batches, in order; a few are in memory at a time."""
    with ThreadPoolExecutor(threads, thread_name_prefix="batchgen-count") as pool:
        ahead: deque[Future[_Slice]] = deque()
        try:
            for batch in batches:
                ahead.append(pool.submit(work, batch))
                if len(ahead) > 3 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _measure(parts: JobParts, ruler: Ruler, others: Mapping[str, list[int]], batch: Batch) -> _Slice:
    histograms = {model: Histogram(edges) for model, edges in others.items()}
    rows: list[CountedRow | str] = []
    for _, prompt in rendered(parts, batch):
        if isinstance(prompt, str):
            rows.append(prompt)
            continue
        row = ruler.measure(prompt)
        rows.append(row)
        for model, histogram in histograms.items():
            same = ruler.counter(model).name == ruler.counter(row.asked.model).name
            tokens = row.tokens if same else ruler.counter(model).count(prompt, parts.job.model.parameters)
            histogram.add(tokens, row.answer)
    return _Slice(batch, rows, histograms)


def _take(census: Census, found: _Slice, parts: JobParts, ruler: Ruler, wanted: AbstractSet[int]) -> None:
    ids: pa.Array | None = None
    for model, histogram in found.others.items():
        census.others[model].merge(histogram)
    for index, row in enumerate(found.rows):
        number = found.batch.first_row + index
        if isinstance(row, str):
            census.unaskable += 1
            if len(census.unaskable_examples) < EXAMPLES:
                census.unaskable_examples[number] = row
            continue
        if number in wanted:
            census.wanted[number] = row
        if row.media:
            census.media.update(row.media)
        if row.asked not in census.groups:
            edges = ruler.edges(row.asked.model, [parts.price_of(row.asked.model)])
            census.groups[row.asked] = Histogram(edges)
        longest = ruler.max_input(row.asked.model)
        if longest is not None and row.tokens > longest:
            census.too_long += 1
            if len(census.too_long_ids) < EXAMPLES:
                ids = parts.source.row_ids(found.batch) if ids is None else ids
                census.too_long_ids.append(ids[index].as_py())
        else:
            census.consider(number, row)
        census.groups[row.asked].add(row.tokens, row.answer)


def _remembering(counter: TokenCounter) -> TokenCounter:
    """Return the counter with the counts of recent shorter texts remembered: most jobs repeat a system prompt."""
    count = counter.count_text
    remembered = lru_cache(maxsize=_REMEMBERED)(count)

    def quick(text: str) -> int:
        return remembered(text) if len(text) <= _REMEMBERED_CHARACTERS else count(text)

    counter = copy.copy(counter)
    counter.count_text = quick
    return counter
