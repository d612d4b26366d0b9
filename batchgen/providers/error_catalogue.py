"""Which error means what: tables from code, message and status to what becomes of row and run.

The status alone does not tell: a 429 may be an overdue bill, a 400 a wrong URL, a 200 anything. Each vendor has its own
table (`Vendor.errors`): the first row that fits decides. Where none does, the status decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from batchgen.providers.error_body import VendorError
from batchgen.providers.error_rule import Rule, limit, rule
from batchgen.providers.error_words import ANY_VENDOR, TOO_LONG, exceeds_limit
from batchgen.values import FailureKind, Throttle, Verdict

FLEX = "https://platform.openai.com/docs/guides/flex-processing"
OAI = "https://developers.openai.com/docs/guides/error-codes"
VLLM = "https://github.com/vllm-project/vllm"
CLOUDFLARE = "https://developers.cloudflare.com/waf"
LITELLM = "https://github.com/BerriAI/litellm"

BATCH = "https://platform.openai.com/docs/guides/batch"

_RETRY, _FAIL, _STOP = Verdict.RETRY, Verdict.FAIL, Verdict.STOP
_K = FailureKind

_QUEUED = (
    r"enqueued[ _](?:\w+[ _])?tokens?|tokens?\b.{0,40}\b(?:enqueued|in (?:the )?(?:batch )?queue)|"
    r"(?:too many|maximum number of|number of) (?:open|active|pending|queued|running|concurrent|in[- _]progress) "
    r"(?:\w+ )?(?:batch|job)|(?:open|active|pending|queued|concurrent|in[- _]progress) (?:batch\w*|jobs?)"
    r"(?: \w+)? (?:limit|quota)|"
    r"batch contains [\d,]+ (?:tokens|requests) but only"
)
_NOT_READY = (
    r"\bfiles?\b.{0,80}(?:not (?:yet )?(?:ready|processed|been processed|in (?:a |the )?processed)|"
    r"still (?:being |not )|is (?:currently )?(?:being |un)?(?:processed|processing|pending)\b)|"
    r"not (?:yet )?ready to be used"
)
_TOO_LARGE = (
    r"(?:file|batch|payload|body)\b.{0,60}(?:too large|too big|too many|exceed\w* .{0,40}(?:size|limit|maximum|lines|"
    r"requests|number))|too many (?:lines|tasks|rows|requests in)|(?:maximum|max) (?:file|batch) size"
)

# fmt: off
CHAT_COMPLETIONS: tuple[Rule, ...] = (
    *ANY_VENDOR,
    rule("insufficient_quota credit_balance_exhausted organization_spend_limit_exceeded "
         "project_spend_limit_exceeded organization_usage_limit_exceeded", _K.ACCOUNT, _STOP, OAI),
    rule("budget_exceeded", _K.ACCOUNT, _STOP, LITELLM),
    rule("invalid_api_key", _K.AUTHENTICATION, _STOP, OAI),
    rule("no_db_connection", _K.AUTHENTICATION, _STOP, LITELLM),  # 400: any key but the master's, no database
    rule("model_not_found", _K.MODEL_UNAVAILABLE, _STOP, OAI),
    rule("", _K.MODEL_UNAVAILABLE, _STOP, VLLM, status="404", message=r"\bmodel\b.*(?:not exist|not found)"),
    rule("", _K.MODEL_UNAVAILABLE, _STOP, LITELLM, status="400", message=r"invalid model name passed"),
    rule("", _K.TOO_LONG, _FAIL, OAI, status="429", message=r"request too large"),  # one row above the whole TPM
    limit("slow_down", Throttle.GROWTH, OAI),
    limit("resource_unavailable", Throttle.OVERLOAD, FLEX),
    limit("", Throttle.OVERLOAD, FLEX, status="429", message=r"resources? (?:is |are )?(?:currently )?unavailable"),
    limit("server_is_overloaded overloaded_error", Throttle.OVERLOAD, OAI),
    limit("", Throttle.CONCURRENCY, LITELLM, status="429", message=r"concurren|parallel request"),
    limit("tokens", Throttle.TOKENS, OAI, status="429"),
    limit("requests", Throttle.REQUESTS, OAI, status="429"),
    limit("", Throttle.TOKENS, OAI, status="429", message=r"tokens per|\bTP[MD]\b|limit type: tokens"),
    limit("", Throttle.REQUESTS, OAI, status="429", message=r"requests per|\bRP[MD]\b|limit type: requests"),
    limit("rate_limit_exceeded", Throttle.UNKNOWN, OAI),
    rule("context_length_exceeded string_above_max_length exceed_context_size_error", _K.TOO_LONG, _FAIL, OAI),
    rule("", _K.TOO_LONG, _FAIL, VLLM, status="400 413 422 500", message=TOO_LONG),
    rule("content_filter content_policy_violation", _K.CONTENT_FILTER, _FAIL, OAI),
    rule("", _K.CONTENT_FILTER, _FAIL, OAI, status="400",
         message=r"content (?:management )?policy|safety system|content filter"),
    rule("unsupported_parameter unsupported_value unknown_parameter", _K.INVALID_REQUEST, _FAIL, OAI,
         setting=True),
)
"""The words of chat completions: OpenAI's own, and those of vLLM, llama.cpp, transformers serve and LiteLLM."""

BATCHES: tuple[Rule, ...] = (
    limit("token_limit_exceeded enqueued_token_limit_exceeded batch_queue_full", Throttle.QUEUE, BATCH),
    limit("", Throttle.QUEUE, BATCH, message=_QUEUED),
    rule("", _K.SERVER_ERROR, _RETRY, BATCH, status="0 400 404 409 422", message=_NOT_READY),
    rule("too_many_tasks file_too_large batch_too_large request_too_large", _K.TOO_LONG, _FAIL, BATCH),
    rule("", _K.TOO_LONG, _FAIL, BATCH, status="413"),
    rule("", _K.TOO_LONG, _FAIL, BATCH, status="0 400 422", message=_TOO_LARGE),
    rule("", _K.MODEL_UNAVAILABLE, _STOP, BATCH,
         message=r"(?:not|n't) (?:be )?(?:supported|available|enabled|allowed|eligible) (?:for|in|by|with) (?:the )?"
                 r"batch|batch\w*(?: \w+){0,3} (?:is |are )?not (?:supported|available|enabled) (?:for|by|on)|"
                 r"valid model deployment name"),
    rule("", _K.INVALID_REQUEST, _STOP, BATCH, status="400 422", message=r"completion[_ ]?window"),
)
"""What is said of a whole batch; these rows come before the vendor's own table."""

_OF_THE_CALL = frozenset({"completion_window", "endpoint", "metadata", "output_expires_after"})
_WRONG_CALL = rule("", _K.INVALID_REQUEST, _STOP, BATCH)
"""An error that names a field of the call that creates a batch: no row is at fault, and no other batch is taken."""

_BY_STATUS: tuple[Rule, ...] = (
    rule("", _K.INVALID_REQUEST, _FAIL, CLOUDFLARE, status="403 405 406 418", message=r"^HTML page", setting=True),
    rule("", _K.AUTHENTICATION, _STOP, OAI, status="401 403"),
    rule("", _K.ACCOUNT, _STOP, OAI, status="402"),  # DeepSeek, OpenRouter: balance used up
    rule("", _K.ENDPOINT, _STOP, OAI, status="404 405 407 410"),
    rule("", _K.TIMEOUT, _RETRY, OAI, status="408 504 522 524"),
    rule("", _K.SERVER_ERROR, _RETRY, OAI, status="409 425"),
    rule("", _K.TOO_LONG, _FAIL, OAI, status="413 414 431"),
    rule("", _K.INVALID_REQUEST, _FAIL, OAI, status="422", setting=True),
    limit("", Throttle.UNKNOWN, OAI, status="420 429 430"),
    limit("", Throttle.OVERLOAD, OAI, status="498 529"),
)
# fmt: on

_ROW_PARAMS = re.compile(r"^(?:messages|input|prompt)")
_PARAMETER = re.compile(
    r"parameter|argument|unsupported|unrecognized|extra (?:fields|inputs)|must be (?:less|greater|between|in|a|an|one)|"
    r"should be in|max_tokens|max_completion_tokens|temperature|top_p|top_k|response.?format|schema|"
    r"enable_thinking|tool",
    re.IGNORECASE,
)
_BAD_REQUEST = re.compile(r"invalid[_ ]?(?:param|request|argument)|bad ?request|参数(?:错误|非法|无效)", re.IGNORECASE)
"""The words of a 400 that comes with the status 200."""

_OTHER_4XX = Rule(frozenset(), frozenset(), "", _K.INVALID_REQUEST, _FAIL, OAI)
_PARAMETER_4XX = Rule(frozenset(), frozenset(), "", _K.INVALID_REQUEST, _FAIL, OAI, setting=True)
_NEVER_FITS = Rule(frozenset(), frozenset(), "", _K.TOO_LONG, _FAIL, OAI)
_FULL = limit("", Throttle.UNKNOWN, OAI)
"""A 503 without other words: the server is full, whether of requests in flight or of their rate."""

_OTHER = Rule(frozenset(), frozenset(), "", _K.SERVER_ERROR, _RETRY, OAI)


_FINAL_4XX = frozenset({*range(400, 420), 422, 426, 428, 431, 451}) - {408, 409}
"""What a 4xx may be for good; all others are a gateway's words for trouble behind it (424, 499, ...)."""


def find_batch_rule(table: Sequence[Rule], status: int, error: VendorError) -> Rule:
    """Return the row that decides on an error of a whole batch, as `find_rule` does on that of one request."""
    words, said = _said(error)
    if error.param in _OF_THE_CALL:
        return _WRONG_CALL
    return next((one for one in BATCHES if one.fits(status, words, said)), None) or find_rule(table, status, error)


def _said(error: VendorError) -> tuple[frozenset[str], str]:
    """Return an error's codes in lower case, and its code and words."""
    words = frozenset(word.lower() for word in (error.code, error.type) if word)
    said = f"{error.code}: {error.message}" if error.code else error.message
    return words, " ".join(filter(None, (said, error.details)))


def find_rule(table: Sequence[Rule], status: int, error: VendorError) -> Rule:
    """Return the row that decides: of the vendor's `table`, else by status.

    `status` is the HTTP status, or the one a failing frame or body names, or 0.
    A 4xx that no row knows fails its prompt, as the job's fault if it speaks of a parameter; all else is taken for a
    passing server error.
    """
    words, said = _said(error)
    if exceeds_limit(said):
        return _NEVER_FITS
    if status == 0 and _BAD_REQUEST.search(said):
        status = 400
    for one in (*table, *_BY_STATUS):
        if one.fits(status, words, said):
            return _FULL if status == 503 and one.kind is _K.SERVER_ERROR else one
    if status == 503:
        return _FULL
    if status not in _FINAL_4XX:
        return _OTHER
    if error.param:
        return _OTHER_4XX if _ROW_PARAMS.match(error.param) else _PARAMETER_4XX
    return _PARAMETER_4XX if _PARAMETER.search(error.message) else _OTHER_4XX
