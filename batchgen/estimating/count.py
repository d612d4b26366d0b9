"""Counts the tokens of every row, as a stream and on all cores.

Threads are used, not processes: tiktoken encodes without the interpreter's lock, and what needs the lock (rendering,
sums) takes a tenth of the time of a row of prose. Measured in all: 2 million tokens a second on one core, with rows of
600 and of 60 tokens; two threads took 0.55 to 0.8 times as long as one on a busy machine. Processes would need most of
a second to start.

For each model a histogram is kept: rows and tokens between the input lengths at which a price or a limit changes. All
costs follow from it, so that memory does not grow with the number of rows.
"""

from __future__ import annotations

import copy
import math
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from heapq import heappush, heapreplace
from threading import Lock
from typing import Any

import pyarrow as pa
from msgspec import Struct, json, structs

from batchgen.engine.reporter import Progress, Reporter
from batchgen.estimating.draw import Draw
from batchgen.estimating.endpoints import price_at
from batchgen.estimating.histogram import Asked, CountedRow, Histogram
from batchgen.estimating.intervals import mean_interval
from batchgen.job.parts import JobParts
from batchgen.job.render import loaded, rendered
from batchgen.job.reuse import Reuse
from batchgen.money.prices import ModelLimits, ModelPrice, answer_bound
from batchgen.money.worst_case import tokens_a_second
from batchgen.source import Batch
from batchgen.tokens.count import TokenCounter, counter_for
from batchgen.tokens.hidden import AUDIO, Media, added_by_provider, media_of
from batchgen.tokens.parameters import effective_parameters
from batchgen.values import Prompt

SLICE_ROWS = 250
"""Rows that a thread takes at a time: few, so that a small input keeps all cores busy too."""

LARGEST = 500
"""So many rows with the longest inputs are kept, since single rows may make up much of the cost."""

EXAMPLES = 5
"""Rows without a prompt, and rows that are too long, are counted; so many of them are named."""

_REMEMBERED = 256  # texts whose count is cached: a system prompt is the same in every row
_REMEMBERED_CHARACTERS = 32_768


class Census:
    """The result of counting all rows. `others` has the histograms for the models of a comparison, by the name of their
    counter; `media` the number of rows with content that is not counted, by kind."""

    def __init__(self) -> None:
        self.groups: dict[Asked, Histogram] = {}
        self.others: dict[str, Histogram] = {}
        self.counters: dict[str, TokenCounter] = {}
        self.unaskable = 0
        self.reused = 0
        self.unaskable_examples: dict[int, str] = {}
        self.too_long = 0
        self.too_long_ids: list[str] = []
        self.wanted: dict[int, CountedRow] = {}
        self.media: Counter[str] = Counter()
        self.sampled: list[int] = []
        self.sampling = (1.0, 1.0)
        self._largest: list[tuple[int, int, CountedRow]] = []  # a heap with the shortest row first

    @property
    def too_long_for_batches(self) -> int:
        """Rows that do not fit into a line of a batch."""
        return sum(sum(histogram.rows) for asked, histogram in self.groups.items() if asked.too_long)

    def consider(self, number: int, row: CountedRow) -> None:
        """Keep the row if it is among the longest."""
        entry = (row.all_tokens, -number, row)
        if len(self._largest) < LARGEST:
            heappush(self._largest, entry)
        elif row.all_tokens > self._largest[0][0]:
            heapreplace(self._largest, entry)

    def extrapolate(self, rows: int, counted: int) -> None:
        """Have the counts of `counted` rows, drawn at random, stand for all `rows`; `sampling` says how far off their
        input tokens may be."""
        factor = rows / counted
        self.groups = {asked: histogram.scaled(factor) for asked, histogram in self.groups.items()}
        self.others = {model: histogram.scaled(factor) for model, histogram in self.others.items()}
        for name in ("unaskable", "too_long", "reused"):
            setattr(self, name, round(getattr(self, name) * factor))
        self.media = Counter({kind: round(number * factor) for kind, number in self.media.items()})
        mean = mean_interval([*self.sampled, *[0] * (counted - len(self.sampled))], rows)
        if mean.expected:
            self.sampling = max(0.0, mean.low / mean.expected), mean.high / mean.expected

    def dominating(self, share: int, most: int) -> dict[int, CountedRow]:
        """Return the rows, `most` at most, that hold more than 1/`share` of the input tokens each."""
        total = sum(sum(histogram.tokens) for histogram in self.groups.values())
        longest = sorted(self._largest, key=lambda entry: entry[:2], reverse=True)[:most]
        return {-number: row for tokens, number, row in longest if tokens * share > total}


class Ruler:
    """Measures the rows of a job. Counters, price tiers and bounds of answers are looked up once each. `votes` is how
    often each row is asked."""

    def __init__(self, parts: JobParts, limits_of: Callable[[str], ModelLimits | None]) -> None:
        self._parts = parts
        self._parameters = parts.job.model.parameters
        self._limits_of = limits_of
        self._counters: dict[str, TokenCounter] = {}
        self._longest = parts.longest_batched
        self._beside = 1_000 + len(json.encode(self._parameters))
        self.votes = 1 if parts.answers is None else parts.answers.settings.votes
        self._same = self._bounds_of(parts.model, effective_parameters(self._parameters))

    def counter(self, model: str) -> TokenCounter:
        """Return the counter for a model, which all threads share."""
        counter = self._counters.get(model)
        if counter is None:
            counter = self._counters[model] = _remembering(counter_for(model))
        return counter

    def max_input(self, model: str) -> int | None:
        """Return the most input tokens that a model takes; None if not known."""
        limits = self._limits_of(model)
        return limits.max_input if limits else None

    def edges(self, model: str, prices: Iterable[ModelPrice | None]) -> list[int]:
        """Return the input lengths at which the price tier of the model changes, and its longest input."""
        edges = [tier.up_to for price in prices if price for tier in price.tiers if tier.up_to is not None]
        longest = self.max_input(model)
        return edges if longest is None else [*edges, longest]

    def measure(self, prompt: Prompt) -> CountedRow:
        """Return what the cost of a prompt depends on."""
        model = prompt.model or self._parts.model
        if prompt.parameters is None and prompt.model is None:
            asked, answer = self._same
        else:
            asked, answer = self._bounds_of(model, effective_parameters(self._parameters, prompt.parameters))
        tokens = self.counter(model).count(prompt, self._parameters)
        uncounted: dict[str, None] = {}
        spoken = 0
        for part in media_of(prompt):
            if part.kind == AUDIO:
                shown = self._spoken(model, part)
                spoken += shown or 0
            else:
                shown = part.tokens(model, effective_parameters(self._parameters, prompt.parameters))
            tokens += shown or 0
            if shown is None:
                uncounted[part.kind] = None
        if self._longest is not None and self._is_longer(prompt):
            asked = structs.replace(asked, too_long=True)
        return CountedRow(asked, tokens, answer, tuple(uncounted), spoken)

    def _spoken(self, model: str, part: Media) -> int | None:
        """Return the tokens of a recording; None where its length, or at one of the endpoints its price, is not
        known."""
        prices = [price_at(one, model) for one in self._parts.sites or (self._parts,)]
        rates = [None if price is None else tokens_a_second(price) for price in prices]
        if part.likely_seconds is None or None in rates:
            return None
        return math.ceil(part.likely_seconds * max(rate for rate in rates if rate is not None))

    def _is_longer(self, prompt: Prompt) -> bool:
        """Whether the request is too long for a batch. It is built only where the text alone does not tell."""
        assert self._longest is not None
        texts = [message.get("content") for message in prompt.messages]
        plain = all(isinstance(text, str) for text in texts) and prompt.text is None
        if plain and 6 * sum(len(str(text)) + 40 for text in texts) + self._beside < self._longest:
            return False  # each letter takes six bytes at the most
        return len(self._parts.provider.build_request(prompt, stream=False).body) > self._longest

    def _bounds_of(self, model: str, parameters: Mapping[str, Any]) -> tuple[Asked, int | None]:
        price = self._parts.price_of(model) if model else None
        bound = answer_bound(price or self._limits_of(model) or ModelLimits(), parameters)
        asked = Asked(model, thinks(price, parameters), added_by_provider(model, parameters), votes=self.votes)
        return asked, bound


def thinks(price: ModelPrice | None, parameters: Mapping[str, Any]) -> bool:
    """Whether requests with these parameters think: as `enable_thinking` says, else as the model does by default."""
    default = price is not None and price.extra_thinking in ("on", "always")
    return bool(parameters.get("enable_thinking", default))


class _Slice(Struct):
    """What a thread counted. `rows` has an entry for each row, the reason why it has no prompt, or None where it has an
    earlier answer."""

    batch: Batch
    rows: list[CountedRow | str | None]
    others: dict[str, Histogram]


def count_rows(
    parts: JobParts,
    ruler: Ruler,
    *,
    others: Mapping[str, list[int]],
    wanted: AbstractSet[int],
    reporter: Reporter,
    each: Callable[[pa.Array, list[CountedRow | str | None]], None] | None = None,
    sample: AbstractSet[int] | None = None,
    reuse: Reuse | None = None,
    draw: Draw | None = None,
) -> Census:
    """Render and count every row, or those of `sample`.

    `others` maps a model of each further counter to the edges of its histogram. `wanted` rows are kept in the census,
    and those that `draw` draws among the rows that would be asked.
    `each` is called with the ids and counts of consecutive rows, in input order (a string says why a row has no
    prompt; None: it takes an answer of `reuse`).
    """
    census = Census()
    census.others = {model: Histogram(edges) for model, edges in others.items()}
    every = parts.source.scan().rows
    standing = Progress(rows=every if sample is None else len(sample | wanted))
    reporter.started(standing)
    slices = _slices(parts) if sample is None else _single_rows(parts, sample | wanted)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    lock = Lock()

    def answered(row: int, prompt: Prompt) -> bool:
        if reuse is None:
            return False
        keys = parts.keys.all(parts.keys.of(prompt))
        with lock:
            if sample is not None and row not in sample:
                return any(map(reuse.has_answer, keys))  # the row counts for nothing but its answer in an earlier run
            return any(reuse.result(row, key, prompt) is not None for key in keys)

    def measure(batch: Batch) -> _Slice:
        return _measure(parts, ruler, others, batch, sample, answered=answered)

    for found in _in_order(measure, slices, threads):
        _take(census, found, parts, ruler, wanted, sample=sample, draw=draw)
        if each is not None:
            each(parts.source.row_ids(found.batch), found.rows)
        standing.settled += len(found.rows)
        reporter.moved(standing)
    reporter.finished(standing)
    if draw is not None:
        census.wanted |= draw.rows()
    if sample is not None:
        census.extrapolate(every, len(sample))
    for asked in census.groups:
        census.counters[asked.model] = ruler.counter(asked.model)
    return census


def _slices(parts: JobParts) -> Iterator[Batch]:
    columns = [name for name in parts.source.columns if name in parts.template.columns]
    for batch in parts.source.batches(0, columns):
        for start in range(0, batch.table.num_rows, SLICE_ROWS):
            yield Batch(batch.first_row + start, batch.table.slice(start, SLICE_ROWS), batch.problems)


def _in_order(work: Callable[[Batch], _Slice], batches: Iterable[Batch], threads: int) -> Iterator[_Slice]:
    """Yield the results of `work` for the batches, in order. A few are in memory at a time."""
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


def _single_rows(parts: JobParts, chosen: AbstractSet[int]) -> Iterator[Batch]:
    """Yield the chosen rows, each by itself."""
    columns = [name for name in parts.source.columns if name in parts.template.columns]
    ahead = sorted(chosen, reverse=True)
    for batch in parts.source.batches(0, columns):
        end = batch.first_row + batch.table.num_rows
        while ahead and ahead[-1] < end:
            row = ahead.pop()
            yield Batch(row, batch.table.slice(row - batch.first_row, 1), batch.problems)
        if not ahead:
            return


def _measure(
    parts: JobParts,
    ruler: Ruler,
    others: Mapping[str, list[int]],
    batch: Batch,
    sample: AbstractSet[int] | None,
    *,
    answered: Callable[[int, Prompt], bool],
) -> _Slice:
    histograms = {model: Histogram(edges) for model, edges in others.items()}
    rows: list[CountedRow | str | None] = []
    for number, prompt in rendered(parts, batch):
        if isinstance(prompt, str):
            rows.append(prompt)
            continue
        if answered(number, prompt):
            rows.append(None)
            continue
        whole = loaded(parts, prompt)
        if isinstance(whole, str):
            rows.append(whole)
            continue
        row = ruler.measure(whole)
        rows.append(row)
        if sample is not None and number not in sample:
            continue
        for model, histogram in histograms.items():
            same = ruler.counter(model).name == ruler.counter(row.asked.model).name
            tokens = row.tokens - row.spoken
            if not same:
                tokens = ruler.counter(model).count(whole, parts.job.model.parameters)
            histogram.add(tokens, row.answer, votes=row.asked.votes)
    return _Slice(batch, rows, histograms)


def _take(
    census: Census,
    found: _Slice,
    parts: JobParts,
    ruler: Ruler,
    wanted: AbstractSet[int],
    *,
    sample: AbstractSet[int] | None,
    draw: Draw | None,
) -> None:
    ids: pa.Array | None = None
    for model, histogram in found.others.items():
        census.others[model].merge(histogram)
    for index, row in enumerate(found.rows):
        number = found.batch.first_row + index
        if sample is not None and number not in sample:
            if number in wanted and isinstance(row, CountedRow):
                census.wanted[number] = row
            continue
        if row is None:
            census.reused += 1
            continue
        if isinstance(row, str):
            census.unaskable += 1
            if len(census.unaskable_examples) < EXAMPLES:
                census.unaskable_examples[number] = row
            continue
        if number in wanted:
            census.wanted[number] = row
        if draw is not None:
            draw.consider(number, row)
        if sample is not None:
            census.sampled.append(row.all_tokens)
        if row.media:
            census.media.update(row.media)
        if row.asked not in census.groups:
            edges = ruler.edges(row.asked.model, [price_at(one, row.asked.model) for one in parts.sites or (parts,)])
            census.groups[row.asked] = Histogram(edges)
        longest = ruler.max_input(row.asked.model)
        if longest is not None and row.tokens > longest:
            census.too_long += 1
            if len(census.too_long_ids) < EXAMPLES:
                ids = parts.source.row_ids(found.batch) if ids is None else ids
                census.too_long_ids.append(ids[index].as_py())
        else:
            census.consider(number, row)
        census.groups[row.asked].add(row.tokens, row.answer, row.spoken, row.asked.votes)


def _remembering(counter: TokenCounter) -> TokenCounter:
    """Return the counter with a cache for shorter texts: most jobs repeat a system prompt."""
    count = counter.count_text
    remembered = lru_cache(maxsize=_REMEMBERED)(count)

    def quick(text: str) -> int:
        return remembered(text) if len(text) <= _REMEMBERED_CHARACTERS else count(text)

    counter = copy.copy(counter)
    counter.count_text = quick
    return counter
