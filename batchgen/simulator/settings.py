"""The settings of a simulated provider, each with a line of help."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_type_hints

from msgspec import Meta, Struct

from batchgen.simulator.batches.oddity_names import parse

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]
Many = Annotated[int, Meta(ge=1)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Models, limits, latencies and faults of a simulated provider. `FIELD_HELP` explains each field.

    The rates of faults are shares of the admitted requests, 0 to 1. A request meets one fault at most, so that the sum
    of the rates must not exceed 1 (else ValueError). `content_filter` and `length` are drawn for a prompt, which then
    meets them in each attempt; all other faults are drawn for each attempt. So are the defects of answers that are JSON
    or a label (`BLEMISHES`, one at most), with which the request succeeds all the same.
    """

    seed: Annotated[int, Meta(description="decides answers, faults and latencies; same seed, same run")] = 0
    api_key: Annotated[str | None, Meta(description="the only valid key; by default any")] = None
    models: Annotated[tuple[str, ...] | None, Meta(description="known model names; by default all")] = None
    thinking: Annotated[tuple[str, ...], Meta(description="models that can think (name patterns)")] = ("*",)
    thinking_default: Annotated[
        tuple[str, ...], Meta(description="models that think unless told not to (name patterns)")
    ] = ("qwq*", "qvq*", "*-thinking*", "qwen3-[0-9]*b*", "qwen3.[5-9]*", "qwen4*")
    thinking_always: Annotated[tuple[str, ...], Meta(description="models that cannot stop thinking (patterns)")] = (
        "qwq*",
        "qvq*",
        "*-thinking*",
    )
    stream_only: Annotated[tuple[str, ...], Meta(description="models that answer streamed requests only")] = (
        "qwq*",
        "qvq*",
    )
    stream_to_think: Annotated[tuple[str, ...], Meta(description="models that think only when streamed")] = (
        "qwen3-[0-9]*b*",
    )
    multimodal: Annotated[tuple[str, ...], Meta(description="models of the native multimodal path (patterns)")] = (
        "qwen3.[5-9]-plus*",
        "qwen3.[5-9]-flash*",
        "*-vl-*",
        "qvq*",
    )

    latency_ms: Annotated[NotNegative, Meta(description="time to the first byte; the median if sigma is set")] = 0
    latency_sigma: Annotated[NotNegative, Meta(description="spread of a lognormal latency; 0 is a fixed one")] = 0
    tokens_per_s: Annotated[Positive | None, Meta(description="speed of an answer; adds output tokens / this")] = None
    answer_tokens: Annotated[Positive, Meta(description="median length of a prose answer, in tokens")] = 40

    rpm: Annotated[Positive | None, Meta(description="requests per minute that are admitted")] = None
    tpm: Annotated[Positive | None, Meta(description="tokens per minute, input at admission, output at the end")] = None
    max_in_flight: Annotated[Many | None, Meta(description="requests admitted at the same time")] = None
    burst_s: Annotated[Positive, Meta(description="seconds of a limit that can be used at once")] = 1
    count_refused: Annotated[bool, Meta(description="rate-limited requests use up the request limit too")] = False
    growth: Annotated[
        Positive | None, Meta(description="refuse when the rate of 5 s exceeds this × the rate of 30 s + growth_floor")
    ] = None
    growth_floor: Annotated[NotNegative, Meta(description="requests per second below which growth is not limited")] = 10
    tell: Annotated[bool, Meta(description="a 429 names the limit that was reached")] = True
    headers: Annotated[bool, Meta(description="send x-ratelimit-* headers (paths without compatible-mode)")] = False
    retry_after: Annotated[
        Literal["none", "seconds", "ms", "date"], Meta(description="form of the wait named by a 429")
    ] = "none"
    retry_after_s: Annotated[
        NotNegative | None, Meta(description="seconds that Retry-After names, instead of the true wait")
    ] = None

    cache_tokens: Annotated[
        Count, Meta(description="shortest beginning of a prompt that the prompt cache keeps, 0 for no cache")
    ] = 0
    batch_chat: Annotated[
        bool, Meta(description="answer as DashScope's Batch Chat host: compatible mode only, requests held hold_s")
    ] = False
    hold_s: Annotated[NotNegative, Meta(description="seconds that Batch Chat holds a request before it is served")] = 0
    flex_full: Annotated[
        Share, Meta(description="requests of service_tier flex refused with 429, resource unavailable (not billed)")
    ] = 0

    batch_speed: Annotated[Positive, Meta(description="virtual seconds of the batch API in one real second")] = 3600
    batch_hours: Annotated[
        NotNegative, Meta(description="virtual hours that a batch runs; the median if sigma is set")
    ] = 1
    batch_sigma: Annotated[NotNegative, Meta(description="spread of the lognormal time that batches run")] = 0.4
    batch_creates: Annotated[Many, Meta(description="batches that may be created in a virtual hour")] = 2000
    batch_kept_h: Annotated[
        Positive | None,
        Meta(description="virtual hours after which files and ended batches are gone; by default never"),
    ] = None
    queued_tokens: Annotated[
        Many | None, Meta(description="prompt tokens of a model that may wait in batches; told by a refusal only")
    ] = None
    oddities: Annotated[
        tuple[str, ...], Meta(description="what the batch API does oddly: NAME, NAME=SHARE, NAME=Nx (first N times)")
    ] = ()

    error_500: Annotated[Share, Meta(description="500 in the vendor's shape")] = 0
    error_502_html: Annotated[Share, Meta(description="502 with a proxy's HTML page")] = 0
    error_503: Annotated[Share, Meta(description="503, overloaded")] = 0
    reset: Annotated[Share, Meta(description="connection reset instead of the reply (billed)")] = 0
    reset_body: Annotated[Share, Meta(description="connection reset in the middle of the body (billed)")] = 0
    truncate: Annotated[Share, Meta(description="connection closed in the middle of the body (billed)")] = 0
    malformed: Annotated[Share, Meta(description="200 with broken JSON (billed)")] = 0
    html_200: Annotated[Share, Meta(description="200 with a captive portal's HTML page")] = 0
    cut_stream: Annotated[Share, Meta(description="stream that ends in order, but too soon (streamed; billed)")] = 0
    stream_error: Annotated[Share, Meta(description="error frame in the middle of a stream (streamed)")] = 0
    hang: Annotated[Share, Meta(description="no byte for hang_s, then the connection is closed (billed)")] = 0
    hang_s: Annotated[Positive, Meta(description="how long a hung request hangs")] = 900
    slow: Annotated[Share, Meta(description="reply sent byte by byte, drip_s apart")] = 0
    drip_s: Annotated[Positive, Meta(description="seconds between two bytes of a slow reply")] = 0.2
    null_content: Annotated[Share, Meta(description="200 whose content is null")] = 0

    content_filter: Annotated[Share, Meta(description="prompts refused by the content filter, each time")] = 0
    length: Annotated[Share, Meta(description="prompts whose answer is cut with finish_reason length, each time")] = 0
    poison: Annotated[str | None, Meta(description="a prompt with this text in it is refused with 400, each time")] = (
        None
    )
    fail_first: Annotated[Count, Meta(description="so many first tries of every request fail with 500")] = 0
    fatal_after: Annotated[
        Count | None, Meta(description="after so many served answers every request meets fatal_error")
    ] = None
    fatal_error: Annotated[
        Literal["invalid_key", "arrearage"], Meta(description="the error after fatal_after: 401, or an overdue account")
    ] = "invalid_key"
    fenced: Annotated[Share, Meta(description="JSON answers in a Markdown fence")] = 0
    wrapped: Annotated[Share, Meta(description="JSON answers and labels within prose")] = 0
    trailing_comma: Annotated[Share, Meta(description="JSON answers with a comma before the last brace")] = 0
    single_quoted: Annotated[Share, Meta(description="JSON answers in single quotes, as Python writes them")] = 0
    cut_json: Annotated[Share, Meta(description="JSON answers that end in the middle, with finish_reason stop")] = 0
    wrong_type: Annotated[Share, Meta(description="JSON answers with one value of another type")] = 0
    missing_field: Annotated[Share, Meta(description="JSON answers without one of their fields")] = 0
    wrong_label: Annotated[Share, Meta(description="labels that are another of those listed")] = 0
    no_usage: Annotated[bool, Meta(description="answers come without usage")] = False

    def __post_init__(self) -> None:
        parse(self.oddities)
        rates = [getattr(self, name) for name in (*FAULTS, *TRAITS, *BLEMISHES)]
        if min(rates) < 0 or sum(getattr(self, name) for name in FAULTS) > 1 + 1e-9:
            raise ValueError("The fault rates must be 0 or more and add up to at most 1.")
        if sum(getattr(self, name) for name in TRAITS) > 1 + 1e-9:
            raise ValueError("`content_filter` and `length` must add up to at most 1.")
        if sum(getattr(self, name) for name in BLEMISHES) > 1 + 1e-9:
            raise ValueError("The rates of the defects of structured answers must add up to at most 1.")


STREAM_FAULTS = ("cut_stream", "stream_error")
"""Faults that only a streamed request can meet; another request that draws one is answered normally."""

FAULTS = (
    "error_500",
    "error_502_html",
    "error_503",
    "reset",
    "reset_body",
    "truncate",
    "malformed",
    "html_200",
    *STREAM_FAULTS,
    "hang",
    "slow",
    "null_content",
)
"""Faults that are drawn for each attempt, in the order in which their shares divide the interval [0, 1)."""

TRAITS = ("content_filter", "length")
"""What a prompt meets in every attempt."""

BLEMISHES = (
    "fenced",
    "wrapped",
    "trailing_comma",
    "single_quoted",
    "cut_json",
    "wrong_type",
    "missing_field",
    "wrong_label",
)
"""The defects of answers that are JSON or a label, drawn for each attempt."""

LOST = frozenset({"reset", "reset_body", "truncate", "malformed", "cut_stream", "hang"})
"""Faults in which the answer was generated, and so billed, but the client cannot read it."""


def _help(hint: Any) -> str:
    return next(meta.description for meta in hint.__metadata__ if isinstance(meta, Meta) and meta.description)


FIELD_HELP: dict[str, str] = {name: _help(hint) for name, hint in get_type_hints(Settings, include_extras=True).items()}
"""The explanation of each field of `Settings`, for the command-line help."""
