"""The report's nouns: what happened in a run and what it cost. Plain values; `batchgen report --json` is `Report`.

Money is Decimal in the run's currency (`Report.currency`), times are ISO 8601 in UTC or seconds (`_s`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from batchgen.estimating.values import Estimate
from batchgen.storage.batch_table import BatchShown


class Line(Struct, frozen=True):
    """The sums of one group of rows: a line of `cost_summary.parquet`. Sums are None where no row reported any.

    `endpoint` is who answered, where the job has several.
    """

    model: str | None
    status: str
    finish_reason: str | None
    error_kind: str | None
    rows: int
    attempts: int
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    cost: Decimal | None
    reported_cost: Decimal | None = None
    endpoint: str | None = None


class Count(Struct, frozen=True):
    """How many rows have a word in a column; `word` is None where the column is null."""

    word: str | None
    rows: int


class ErrorLine(Struct, frozen=True):
    """Failed rows of one kind, HTTP status and vendor's code, with one of them as an example."""

    kind: str | None
    http_status: int | None
    code: str | None
    rows: int
    row_id: str
    message: str | None


class RowLine(Struct, frozen=True):
    """One row that stands out."""

    row_id: str
    status: str
    finish_reason: str | None
    error_kind: str | None
    attempts: int
    latency_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost: Decimal | None


class Quantiles(Struct, frozen=True):
    """Of the rows that have a value. Exact for token counts; else within 0.5 %, smallest, largest and mean exact."""

    rows: int
    mean: float
    smallest: float
    p50: float
    p90: float
    p95: float
    p99: float
    largest: float


class Bin(Struct, frozen=True):
    """Rows with `low` <= value < `high`."""

    low: float
    high: float
    rows: int


class Spread(Struct, frozen=True):
    """How a figure is spread over the rows; `quantiles` is None if no row has one."""

    quantiles: Quantiles | None = None
    bins: Sequence[Bin] = ()


class TimelinePoint(Struct, frozen=True):
    """Rows settled in the `span_s` seconds from `start_s` on (seconds since the epoch).

    All moments are equally long but those at either end of a stretch of activity, which end with it.
    """

    start_s: float
    span_s: float
    rows: int
    failed: int
    output_tokens: int
    cost: Decimal


class PaceMoment(Struct, frozen=True):
    """What the limiter did in the `span_s` seconds from `start_s` on: paces and in flight as at the end of it.

    Latencies: the median of the medians, the largest of the higher quantiles.
    """

    start_s: float
    span_s: float
    requests_per_s: float | None
    tokens_per_s: float | None
    in_flight: int
    cap: int
    sent: int
    refused: int
    failed: int
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p99_s: float | None


class SampleRow(Struct, frozen=True):
    """A row as it was asked (its texts, as far as they are carried) and answered."""

    row_id: str
    asked: str | None
    answer: str


class AttemptFigures(Struct, frozen=True):
    """Requests sent. `wasted`: those beyond one per row; `by_number`: requests → rows that took so many."""

    sent: int = 0
    wasted: int = 0
    retried_rows: int = 0
    by_number: Mapping[int, int] = {}


class Truncated(Struct, frozen=True):
    """Rows whose answer was cut at its longest allowed length (`finish_reason` length), with the first ids."""

    rows: int = 0
    first_ids: Sequence[str] = ()


class Report(Struct, frozen=True, kw_only=True):
    """What happened in a run.

    `state`: `complete`, `stopped`, `interrupted`, `running` or `killed`. A `simulated` run cost nothing.
    `rows` = `succeeded` + `failed` + `pending`. `lines` and what is summed from them count every settled row, or only
    the `published` ones where `lines_of` says `parts`; everything below row level (spreads, examples, moments) is read
    from the published parts.
    """

    directory: str
    job: str
    state: str
    simulated: bool
    held_by: str | None
    started_at: str
    updated_at: str
    sessions: int
    rows: int
    succeeded: int
    failed: int
    pending: int
    published: int
    lines_of: str
    lines: Sequence[Line]
    totals: Line | None
    by_status: Sequence[Count]
    by_finish_reason: Sequence[Count]
    by_error_kind: Sequence[Count]
    errors: Sequence[ErrorLine]
    attempts: AttemptFigures
    refused: int
    possibly_billed_requests: int
    possibly_billed_cost: Decimal | None
    currency: str | None
    price_dates: Sequence[str]
    price_sources: Sequence[str]
    cost_per_1000_rows: Decimal | None
    cost_per_1000_answers: Decimal | None
    input_tokens: Spread
    output_tokens: Spread
    latency_ms: Spread
    cost: Spread
    price: str | None
    samples: Sequence[SampleRow]
    slowest: Sequence[RowLine]
    most_expensive: Sequence[RowLine]
    truncated: Truncated
    moments: Sequence[TimelinePoint]
    active_s: float
    rows_per_s: float | None
    wall_s: float | None
    limited_by: str | None
    stopped_by: str | None
    last_error: str | None
    pace: Sequence[PaceMoment]
    estimate: Estimate | None
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    cached_saved: Decimal | None = None
    reused: int = 0
    saved: Decimal | None = None
    batches: Sequence[BatchShown] = ()
