"""DashScope (Alibaba Model Studio): what is known of it, on its native API and in its compatible mode."""

from __future__ import annotations

from batchgen.providers.error_rule import Rule, limit, rule
from batchgen.providers.error_words import ANY_VENDOR, TOO_LONG
from batchgen.values import FailureKind, Throttle, Verdict

QC = "https://docs.qwencloud.com/api-reference/preparation/error-messages"
AL = "https://www.alibabacloud.com/help/en/model-studio/error-code"
RLB = "https://help.aliyun.com/zh/model-studio/rate-limiting-best-practices"
TPM = "https://github.com/can1357/oh-my-pi/pull/8476"

_RETRY, _FAIL, _STOP = Verdict.RETRY, Verdict.FAIL, Verdict.STOP
_K = FailureKind

_BAD_ROW = r"\[\] is too short|list index out of range|role must be|last message|Expecting '.+' delimiter"

# fmt: off
ERRORS: tuple[Rule, ...] = (
    rule("", _K.INVALID_REQUEST, _RETRY, QC, needs_stream=True,
         message=r"only support stream|must be set to false for non-streaming|does not support http call"),
    rule("RequestTimeOut", _K.TIMEOUT, _RETRY, QC, needs_stream=True),  # 300 s without a stream: advised to stream
    rule("InvalidURL", _K.ENDPOINT, _STOP, QC),
    rule("", _K.ENDPOINT, _STOP, QC, message=r"url error"),
    rule("AllocationQuota.FreeTierOnly Arrearage CommodityNotPurchased PrepaidBillOverdue PostpaidBillOverdue "
         "AccessDenied.Unpurchased", _K.ACCOUNT, _STOP, QC),
    rule("", _K.ACCOUNT, _STOP, QC, message=r"free (?:allocated|tier) quota|free allocated quota"),
    rule("InvalidApiKey invalid_api_key", _K.AUTHENTICATION, _STOP, QC),
    rule("", _K.AUTHENTICATION, _STOP, QC, message=r"^not authorized"),
    rule("Model.AccessDenied ModelNotFound model_not_found model_not_supported", _K.MODEL_UNAVAILABLE, _STOP, QC),
    rule("InvalidParameter invalid_parameter_error", _K.MODEL_UNAVAILABLE, _STOP, QC, message=r"model not exist"),
    rule("AccessDenied Workspace.AccessDenied App.AccessDenied WorkSpaceNotFound access_denied",
         _K.AUTHENTICATION, _STOP, QC),
    rule("DataInspectionFailed data_inspection_failed IPInfringementSuspect FaqRuleBlocked CustomRoleBlocked",
         _K.CONTENT_FILTER, _FAIL, QC),
    rule("", _K.CONTENT_FILTER, _FAIL, QC, message=r"DataInspectionFailed"),
    rule("BadRequest.TooLarge request_too_large", _K.TOO_LONG, _FAIL, QC),
    rule("", _K.TOO_LONG, _FAIL, QC, status="400", message=TOO_LONG),
    limit("Throttling.BurstRate limit_burst_rate", Throttle.GROWTH, RLB),
    limit("", Throttle.OVERLOAD, RLB, status="429", message=r"batch requests are being throttled"),
    limit("Throttling.AllocationQuota insufficient_quota", Throttle.TOKENS, TPM),
    limit("", Throttle.TOKENS, TPM, status="429", message=r"allocated quota exceeded|exceeded your current quota"),
    limit("", Throttle.CONCURRENCY, AL, status="429", message=r"concurren"),
    limit("Throttling Throttling.RateQuota LimitRequests limit_requests", Throttle.REQUESTS, QC),
    rule("BadRequest.EmptyInput BadRequest.IllegalInput", _K.INVALID_REQUEST, _FAIL, QC),
    rule("ServiceUnavailableError", _K.INVALID_REQUEST, _FAIL, QC, status="400"),  # a bad role or empty content
    rule("", _K.INVALID_REQUEST, _FAIL, QC, status="400", message=_BAD_ROW),
    rule("InvalidParameter.NotSupportEnableThinking UnsupportedOperation BadRequest.EmptyParameters "
         "BadRequest.EmptyModel InvalidParameter invalid_parameter_error invalid_request_error "
         "InternalError.Algo.InvalidParameter", _K.INVALID_REQUEST, _FAIL, QC, setting=True),
    rule("ResponseTimeout GatewayTimeout InternalError.Timeout", _K.TIMEOUT, _RETRY, QC),
    rule("InternalError internal_error InternalError.Algo SystemError ModelServiceFailed RewriteFailed "
         "ModelServingError ModelUnavailable ServiceUnavailable", _K.SERVER_ERROR, _RETRY, QC),
    *ANY_VENDOR,
)
# fmt: on
"""Compatible mode uses the codes of chat completions with DashScope's meanings: `insufficient_quota` is a token rate
here and an unpaid bill at OpenAI."""
