"""Which error means what: the table from (vendor, code, message) to what becomes of row and run.

The status alone does not tell: a 429 may be an overdue bill, a 400 a wrong URL, a 200 anything. The first row that
fits decides; the last rows go by status. `openai` here is every chat-completions server that is not DashScope's
compatible mode, which uses the words of chat completions with DashScope's meanings (`insufficient_quota` is a token
rate there and an unpaid bill at OpenAI).
"""

from __future__ import annotations

import re

from batchgen.providers.error_body import VendorError
from batchgen.providers.error_rule import Rule, limit, rule
from batchgen.providers.error_words import ANY_VENDOR, TOO_LONG, exceeds_limit
from batchgen.values import FailureKind, Throttle, Verdict

QC = "https://docs.qwencloud.com/api-reference/preparation/error-messages"
AL = "https://www.alibabacloud.com/help/en/model-studio/error-code"
RLB = "https://help.aliyun.com/zh/model-studio/rate-limiting-best-practices"
OAI = "https://developers.openai.com/docs/guides/error-codes"
VLLM = "https://github.com/vllm-project/vllm"
CLOUDFLARE = "https://developers.cloudflare.com/waf"
LITELLM = "https://github.com/BerriAI/litellm"
TPM = "https://github.com/can1357/oh-my-pi/pull/8476"

_RETRY, _WAIT, _FAIL, _STOP = Verdict.RETRY, Verdict.WAIT, Verdict.FAIL, Verdict.STOP
_K = FailureKind


DS, OA = "dashscope", "openai"
_DS_BAD_ROW = r"\[\] is too short|list index out of range|role must be|last message|Expecting '.+' delimiter"

# fmt: off
RULES: tuple[Rule, ...] = (
    # --- DashScope, native and compatible -----------------------------------------------------------------------
    rule(DS, "", _K.INVALID_REQUEST, _RETRY, QC, needs_stream=True,
          message=r"only support stream|must be set to false for non-streaming|does not support http call"),
    rule(DS, "RequestTimeOut", _K.TIMEOUT, _RETRY, QC, needs_stream=True),  # 300 s without a stream: advised to stream
    rule(DS, "InvalidURL", _K.ENDPOINT, _STOP, QC),
    rule(DS, "", _K.ENDPOINT, _STOP, QC, message=r"url error"),
    rule(DS, "AllocationQuota.FreeTierOnly Arrearage CommodityNotPurchased PrepaidBillOverdue PostpaidBillOverdue "
              "AccessDenied.Unpurchased", _K.ACCOUNT, _STOP, QC),
    rule(DS, "", _K.ACCOUNT, _STOP, QC, message=r"free (?:allocated|tier) quota|free allocated quota"),
    rule(DS, "InvalidApiKey invalid_api_key", _K.AUTHENTICATION, _STOP, QC),
    rule(DS, "", _K.AUTHENTICATION, _STOP, QC, message=r"^not authorized"),
    rule(DS, "Model.AccessDenied ModelNotFound model_not_found model_not_supported", _K.MODEL_UNAVAILABLE, _STOP, QC),
    rule(DS, "InvalidParameter invalid_parameter_error", _K.MODEL_UNAVAILABLE, _STOP, QC, message=r"model not exist"),
    rule(DS, "AccessDenied Workspace.AccessDenied App.AccessDenied WorkSpaceNotFound access_denied",
          _K.AUTHENTICATION, _STOP, QC),
    rule(DS, "DataInspectionFailed data_inspection_failed IPInfringementSuspect FaqRuleBlocked CustomRoleBlocked",
          _K.CONTENT_FILTER, _FAIL, QC),
    rule(DS, "", _K.CONTENT_FILTER, _FAIL, QC, message=r"DataInspectionFailed"),
    rule(DS, "BadRequest.TooLarge request_too_large", _K.TOO_LONG, _FAIL, QC),
    rule(DS, "", _K.TOO_LONG, _FAIL, QC, status="400", message=TOO_LONG),
    limit(DS, "Throttling.BurstRate limit_burst_rate", Throttle.GROWTH, RLB),
    limit(DS, "", Throttle.OVERLOAD, RLB, status="429", message=r"batch requests are being throttled"),
    limit(DS, "Throttling.AllocationQuota insufficient_quota", Throttle.TOKENS, TPM),
    limit(DS, "", Throttle.TOKENS, TPM, status="429", message=r"allocated quota exceeded|exceeded your current quota"),
    limit(DS, "", Throttle.CONCURRENCY, AL, status="429", message=r"concurren"),
    limit(DS, "Throttling Throttling.RateQuota LimitRequests limit_requests", Throttle.REQUESTS, QC),
    rule(DS, "BadRequest.EmptyInput BadRequest.IllegalInput", _K.INVALID_REQUEST, _FAIL, QC),
    rule(DS, "ServiceUnavailableError", _K.INVALID_REQUEST, _FAIL, QC, status="400"),  # a bad role or empty content
    rule(DS, "", _K.INVALID_REQUEST, _FAIL, QC, status="400", message=_DS_BAD_ROW),
    rule(DS, "InvalidParameter.NotSupportEnableThinking UnsupportedOperation BadRequest.EmptyParameters "
              "BadRequest.EmptyModel InvalidParameter invalid_parameter_error invalid_request_error "
              "InternalError.Algo.InvalidParameter", _K.INVALID_REQUEST, _FAIL, QC, setting=True),
    rule(DS, "ResponseTimeout GatewayTimeout InternalError.Timeout", _K.TIMEOUT, _RETRY, QC),
    rule(DS, "InternalError internal_error InternalError.Algo SystemError ModelServiceFailed RewriteFailed "
              "ModelServingError ModelUnavailable ServiceUnavailable", _K.SERVER_ERROR, _RETRY, QC),
    *ANY_VENDOR,
    # --- chat completions elsewhere: OpenAI, vLLM, llama.cpp, transformers serve, LiteLLM -----------------------
    rule(OA, "insufficient_quota credit_balance_exhausted organization_spend_limit_exceeded "
              "project_spend_limit_exceeded organization_usage_limit_exceeded", _K.ACCOUNT, _STOP, OAI),
    rule(OA, "budget_exceeded", _K.ACCOUNT, _STOP, LITELLM),
    rule(OA, "invalid_api_key", _K.AUTHENTICATION, _STOP, OAI),
    rule(OA, "no_db_connection", _K.AUTHENTICATION, _STOP, LITELLM),  # 400: any key but the master's, no database
    rule(OA, "model_not_found", _K.MODEL_UNAVAILABLE, _STOP, OAI),
    rule(OA, "", _K.MODEL_UNAVAILABLE, _STOP, VLLM, status="404", message=r"\bmodel\b.*(?:not exist|not found)"),
    rule(OA, "", _K.MODEL_UNAVAILABLE, _STOP, LITELLM, status="400", message=r"invalid model name passed"),
    rule(OA, "", _K.TOO_LONG, _FAIL, OAI, status="429", message=r"request too large"),  # one row above the whole TPM
    limit(OA, "slow_down", Throttle.GROWTH, OAI),
    limit(OA, "server_is_overloaded overloaded_error", Throttle.OVERLOAD, OAI),
    limit(OA, "", Throttle.CONCURRENCY, LITELLM, status="429", message=r"concurren|parallel request"),
    limit(OA, "tokens", Throttle.TOKENS, OAI, status="429"),
    limit(OA, "requests", Throttle.REQUESTS, OAI, status="429"),
    limit(OA, "", Throttle.TOKENS, OAI, status="429", message=r"tokens per|\bTP[MD]\b|limit type: tokens"),
    limit(OA, "", Throttle.REQUESTS, OAI, status="429", message=r"requests per|\bRP[MD]\b|limit type: requests"),
    limit(OA, "rate_limit_exceeded", Throttle.UNKNOWN, OAI),
    rule(OA, "context_length_exceeded string_above_max_length exceed_context_size_error", _K.TOO_LONG, _FAIL, OAI),
    rule(OA, "", _K.TOO_LONG, _FAIL, VLLM, status="400 413 422 500", message=TOO_LONG),
    rule(OA, "content_filter content_policy_violation", _K.CONTENT_FILTER, _FAIL, OAI),
    rule(OA, "", _K.CONTENT_FILTER, _FAIL, OAI, status="400",
          message=r"content (?:management )?policy|safety system|content filter"),
    rule(OA, "unsupported_parameter unsupported_value unknown_parameter", _K.INVALID_REQUEST, _FAIL, OAI,
          setting=True),
    # --- by status, any vendor ------------------------------------------------------------------------------------
    rule("", "", _K.INVALID_REQUEST, _FAIL, CLOUDFLARE, status="403 405 406 418", message=r"^HTML page", setting=True),
    rule("", "", _K.AUTHENTICATION, _STOP, OAI, status="401 403"),
    rule("", "", _K.ACCOUNT, _STOP, OAI, status="402"),  # DeepSeek, OpenRouter: balance used up
    rule("", "", _K.ENDPOINT, _STOP, OAI, status="404 405 407 410"),
    rule("", "", _K.TIMEOUT, _RETRY, OAI, status="408 504 522 524"),
    rule("", "", _K.SERVER_ERROR, _RETRY, OAI, status="409 425"),
    rule("", "", _K.TOO_LONG, _FAIL, OAI, status="413 414 431"),
    rule("", "", _K.INVALID_REQUEST, _FAIL, OAI, status="422", setting=True),
    limit("", "", Throttle.UNKNOWN, OAI, status="429"),
    limit("", "", Throttle.OVERLOAD, OAI, status="498 529"),
)
# fmt: on

_ROW_PARAMS = re.compile(r"^(?:messages|input|prompt)")
_PARAMETER = re.compile(
    r"parameter|argument|unsupported|unrecognized|extra (?:fields|inputs)|must be (?:less|greater|between|in|a|an|one)|"
    r"should be in|max_tokens|max_completion_tokens|temperature|top_p|top_k|response.?format|schema|"
    r"enable_thinking|tool",
    re.IGNORECASE,
)
_OTHER_4XX = Rule("", frozenset(), frozenset(), None, _K.INVALID_REQUEST, _FAIL, OAI)
_PARAMETER_4XX = Rule("", frozenset(), frozenset(), None, _K.INVALID_REQUEST, _FAIL, OAI, setting=True)
_NEVER_FITS = Rule("", frozenset(), frozenset(), None, _K.TOO_LONG, _FAIL, OAI)
_OTHER = Rule("", frozenset(), frozenset(), None, _K.SERVER_ERROR, _RETRY, OAI)


_FINAL_4XX = frozenset({*range(400, 420), 422, 426, 428, 431, 451}) - {408, 409}
"""What a 4xx may be for good; all others are a gateway's words for trouble behind it (424, 499, ...)."""


def find_rule(vendor: str, status: int, error: VendorError) -> Rule:
    """Return the row that decides. `status` is the HTTP status, or the one a failing frame or body names, or 0.

    A 4xx that no row knows fails its prompt, as the job's fault if it speaks of a parameter; all else is taken for a
    passing server error.
    """
    words = frozenset(word.lower() for word in (error.code, error.type) if word)
    said = " ".join(filter(None, (f"{error.code}: {error.message}" if error.code else error.message, error.details)))
    if exceeds_limit(said):
        return _NEVER_FITS
    for one in RULES:
        if one.fits(vendor, status, words, said):
            return one
    if status not in _FINAL_4XX:
        return _OTHER
    if error.param:
        return _OTHER_4XX if _ROW_PARAMS.match(error.param) else _PARAMETER_4XX
    return _PARAMETER_4XX if _PARAMETER.search(error.message) else _OTHER_4XX
