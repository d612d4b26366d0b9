"""The nouns of the corridor: prompt, request, response, completion | failure, result. Plain values, no behaviour.

`msgspec.Struct` rather than dataclasses because a frozen dataclass costs ten times as much to build, once per row
and noun. All are frozen; times are seconds (`_s`) or milliseconds (`_ms`), token counts whole tokens, money Decimal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

Message = Mapping[str, Any]
"""One chat message as it goes over the wire: `role`, `content` (text or parts), `tool_calls`, `tool_call_id`, ..."""


LocalPath = Path
"""A file's name as it is carried by what does no input and output itself."""


class Row(dict[str, Any]):
    """A row's values by column, where there is more to say than the values.

    `exact`: columns whose nested values are as the row's own JSON object had them: what is null there was written so,
    while an Arrow struct has every field in every row. `problem`: why the row cannot be asked.
    """

    __slots__ = ("exact", "problem")

    def __init__(self, values: Mapping[str, Any], exact: Sequence[str] = (), problem: str | None = None) -> None:
        super().__init__(values)
        self.exact = exact
        self.problem = problem


class Attachment(Struct, frozen=True, gc=False):
    """A file that goes with a row, before it is made a part of a message.

    Either `path`, `data` or `url` says where it is; `digest` stands for its bytes in the request's key (of a URL, for
    its text). `kind` is image, pdf, audio, text or other, `form` the exact one (png, wav, ...).
    """

    name: str
    kind: str
    form: str
    digest: bytes
    path: str | None = None
    data: bytes | None = None
    url: str | None = None


class Prompt(Struct, frozen=True, gc=False):
    """What a row asks. Either `messages`, or the older form `text` with optional `history` (DashScope native only).

    `model` and `parameters` are the row's own, from columns; they win over the job's. `attached` are files that are yet
    to be put into the last message.
    """

    messages: Sequence[Message] = ()
    text: str | None = None
    history: Sequence[Mapping[str, str]] = ()
    model: str | None = None
    parameters: Mapping[str, Any] | None = None
    attached: tuple[Attachment, ...] = ()


class Request(Struct, frozen=True, gc=False):
    """One POST. The key is not in here: the transport adds it, so that a request may be shown and logged."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    streamed: bool = False
    model: str = ""


class ApiCall(Struct, frozen=True):
    """One call of an API of files and batches; the key is not in here.

    `body` is sent as JSON unless `upload` names a local file, which is then streamed: as a multipart form with the
    fields of `form` where `file_field` is set, else as JSON, between `before` and `after`; `as_list` sends its lines as
    the members of a JSON list, with commas in place of the newlines. `creates`: done twice it would buy or leave
    something twice, so that a lost reply is looked up, never sent again.
    """

    method: Literal["GET", "POST", "DELETE"]
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    upload: LocalPath | None = None
    file_name: str = ""
    file_field: str | None = None
    form: Mapping[str, str] = {}
    before: bytes = b""
    after: bytes = b""
    as_list: bool = False
    creates: bool = False


class Response(Struct, frozen=True, gc=False):
    """What came back whole. `headers` has only those of `KEPT_HEADERS` that were present, names in lower case.

    A streamed response is its complete event stream in `body`.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


KEY_HASH_BYTES = 16
"""The beginning of a request's key (`providers.request_key`), which is a hash; the limit of the answer follows it."""

LIMIT_HEADERS = {
    # What each says, by the names of the vendors, in the order in which they are looked for. OpenAI, Groq, Azure,
    # SambaNova, Fireworks; Cerebras (https://inference-docs.cerebras.ai/support/rate-limits); Mistral
    # (https://github.com/mistralai/client-ts/issues/169); Anthropic. Limits of a day are no pace, and Fireworks'
    # limits of prompt tokens and of generated tokens are none of tokens in all.
    (what, unit): (
        f"x-ratelimit-{what}-{unit}",
        f"x-ratelimit-{what}-{unit}-minute",
        *((f"x-ratelimit-{what}-req-minute",) if unit == "requests" else ()),
        f"anthropic-ratelimit-{unit}-{what}",
    )
    for what in ("limit", "remaining")
    for unit in ("requests", "tokens")
}
POLICY, SERVICE_LIMIT = "ratelimit-policy", "ratelimit"
"""The two headers of https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-10.txt."""

USED_UP_HEADERS = (
    ("x-ratelimit-remaining-requests-day", "x-ratelimit-reset-requests-day"),
    ("x-ratelimit-remaining-tokens-day", "x-ratelimit-reset-tokens-day"),
    ("x-ratelimit-remaining-requests-minute", "x-ratelimit-reset-requests-minute"),
    ("x-ratelimit-remaining-req-minute", "x-ratelimit-reset-req-minute"),
    ("x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),  # Together: https://docs.together.ai/docs/rate-limits
    ("ratelimit-remaining", "ratelimit-reset"),  # an older form of the draft
)
"""What is left of a limit, and when it is filled again: where nothing is left, that is how long to wait."""

KEPT_HEADERS = (
    "content-type",
    "location",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-dashscope-partialresponse",
    "x-request-id",
    "x-should-retry",
    POLICY,
    SERVICE_LIMIT,
    *dict.fromkeys(
        [
            *(name for names in LIMIT_HEADERS.values() for name in names),
            *(name for pair in USED_UP_HEADERS for name in pair),
        ]
    ),
)
"""The response headers that anything here reads; the transports keep these and drop the rest."""


class Usage(Struct, frozen=True, gc=False):
    """Tokens as the provider reported them; None where it did not (never 0 for unknown).

    `output_tokens` includes `reasoning_tokens`; `input_tokens` includes `cached_tokens` (read from a cache) and
    `cache_write_tokens` (written to one). `contradictory`: a figure was left out, as it contradicted the others.
    `long_cache_tokens` are those of `cache_write_tokens` that are kept for an hour, `audio_tokens` those of the input
    that are recordings, where there are any.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None
    contradictory: bool = False
    long_cache_tokens: int | None = None
    audio_tokens: int | None = None


class RateLimits(Struct, frozen=True, gc=False):
    """What the headers about limits said; None where they did not. Limits are per minute."""

    limit_requests: int | None = None
    limit_tokens: int | None = None
    remaining_requests: int | None = None
    remaining_tokens: int | None = None


class FailureKind(StrEnum):
    """Why an attempt failed: the words of the result column `error_kind`."""

    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    NETWORK = "network"
    UNREADABLE = "unreadable"
    INVALID_REQUEST = "invalid_request"
    TOO_LONG = "too_long"
    CONTENT_FILTER = "content_filter"
    INVALID_OUTPUT = "invalid_output"
    PROMPT = "prompt"
    AUTHENTICATION = "authentication"
    MODEL_UNAVAILABLE = "model_unavailable"
    ACCOUNT = "account"
    ENDPOINT = "endpoint"


class Verdict(StrEnum):
    """What a failure means for the row and the run."""

    RETRY = "retry"  # again after a backoff; costs one of `retry.max_attempts` if it can have been billed
    WAIT = "wait"  # a limit spoke: again when the limiter allows; costs patience, not attempts
    FAIL = "fail"  # this row is lost, the others are not
    STOP = "stop"  # no row can succeed until somebody acts; the row stays pending


class Throttle(StrEnum):
    """Which limit refused a request, as far as the answer tells."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    GROWTH = "growth"  # the rate rose too quickly
    CONCURRENCY = "concurrency"
    OVERLOAD = "overload"  # the service is busy; nobody's quota
    QUEUE = "queue"  # too much is waiting in the account's batches
    UNKNOWN = "unknown"


class Completion(Struct, frozen=True, gc=False):
    """A finished answer. `finish_reason` is `stop`, `length`, `tool_calls`, `content_filter` or the vendor's own word;
    None if the server named none.

    `tool_calls` and `logprobs` are JSON text. `service_tier` is the class of service that answered, as the server calls
    it; `reported_cost` what the reply itself says that it cost, in the server's own currency.
    """

    text: str | None
    finish_reason: str | None
    usage: Usage
    reasoning: str | None = None
    tool_calls: str | None = None
    refusal: str | None = None
    logprobs: str | None = None
    model: str | None = None
    request_id: str | None = None
    http_status: int = 200
    limits: RateLimits | None = None
    service_tier: str | None = None
    reported_cost: Decimal | None = None


class Turn(Struct, frozen=True, gc=False, array_like=True):
    """A finished turn of a row that needs further ones: a vote, or an answer that is to be repaired."""

    completion: Completion
    latency_ms: float | None = None


class Failure(Struct, frozen=True, gc=False):
    """An attempt without a usable answer. `message` and `code` are the vendor's own words.

    `retry_after_s`: the server's wish, None if it named none. `maybe_billed`: the request went out whole and no final
    answer came back, so the provider may charge for it. `setting`: likely the job's fault rather than the row's (a
    parameter the model does not take): if the first rows all fail so, the run stops. `needs_stream`: the model only
    answers streamed requests. `stale`: a reused connection broke before the first byte of a reply; worth one
    immediate retry. `usage`: what was billed although there is no usable answer; `service_tier` as of a completion.
    """

    kind: FailureKind
    verdict: Verdict
    message: str
    code: str | None = None
    http_status: int | None = None
    request_id: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    throttle: Throttle | None = None
    retry_after_s: float | None = None
    maybe_billed: bool = False
    setting: bool = False
    needs_stream: bool = False
    stale: bool = False
    usage: Usage | None = None
    limits: RateLimits | None = None
    service_tier: str | None = None

    @property
    def unsent(self) -> bool:
        """Whether there was no connection to send it on, so that nothing can have been billed."""
        network = self.kind is FailureKind.NETWORK or self.kind is FailureKind.TIMEOUT
        return network and self.http_status is None and not self.maybe_billed


Outcome = Completion | Failure
"""On the way of every row it is asked whether something is what it nearly always is, as a completion: to find out that
it is not of another of these types, as a failure, takes thirty times as long."""


SMALLEST_AMOUNT = Decimal("1e-12")
"""The smallest amount of money that is stored: the scale of the `cost` columns, decimal128(20, 12)."""


class Cost(Struct, frozen=True, gc=False):
    """Money in the price's currency, exact."""

    input: Decimal
    output: Decimal


class Status(StrEnum):
    """How a row ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Result(Struct, frozen=True, gc=False, array_like=True):
    """What is recorded for a settled row: the last outcome and the sums over all attempts.

    `row` is the 0-based number in the input; `row_id` and the carried columns are joined when a part is written.
    `finished_at_us` is microseconds since the epoch, UTC. `input_cost` + `output_cost` = the row's cost; both None
    when the model has no known price. `reported_cost` is what the replies themselves say that they cost. `confidence`
    and `agreement` (0 to 1) are a label's, if the job asks for them. `request_key` tells which requests are the same;
    a `reused` result has the answer that an earlier run got to it. `answer_turns` is a JSON list of all answers of a
    row that took several: its votes, and those that were repaired. `endpoint` is who answered, where a job has several.
    Fields may be appended, never reordered: the journal stores them by position.
    """

    row: int
    status: Status
    attempts: int
    finished_at_us: int
    completion: str | None = None
    reasoning: str | None = None
    tool_calls: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_cost: Decimal | None = None
    output_cost: Decimal | None = None
    model: str | None = None
    request_id: str | None = None
    latency_ms: float | None = None
    http_status: int | None = None
    error_kind: FailureKind | None = None
    error_code: str | None = None
    error_message: str | None = None
    confidence: float | None = None
    agreement: float | None = None
    reported_cost: Decimal | None = None
    request_key: str | None = None
    reused: bool = False
    answer_turns: str | None = None
    endpoint: str | None = None

    @property
    def cost(self) -> Decimal | None:
        """What the row cost; None when the model has no known price."""
        return None if self.input_cost is None or self.output_cost is None else self.input_cost + self.output_cost
