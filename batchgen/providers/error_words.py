"""Errors known by their words, whatever the server and the status: what a 400, 403, 429, 500 or 200 really says.

What concerns one row (moderation, a firewall, an image the model cannot take, an answer too dear for the balance) comes
first, then what no row can survive (balance, daily quota, key, model, address), then what passes by itself.
"""

from __future__ import annotations

import re

from batchgen.providers.error_rule import Rule, limit, rule
from batchgen.values import FailureKind, Throttle, Verdict

_RETRY, _FAIL, _STOP = Verdict.RETRY, Verdict.FAIL, Verdict.STOP
_K = FailureKind

CLAUDE = "https://platform.claude.com/docs/en/api/errors"
OPENROUTER = "https://openrouter.ai/docs/api-reference/errors"
GEMINI = "https://ai.google.dev/gemini-api/docs/troubleshooting"
GROQ = "https://console.groq.com/docs/errors"
XAI = "https://docs.x.ai/docs/guides/errors"
MOONSHOT = "https://platform.moonshot.ai/docs/api/chat"
MINIMAX = "https://platform.minimaxi.com/document/error-code"
DEEPSEEK = "https://api-docs.deepseek.com/quick_start/error_codes"
NEW_API = "https://github.com/QuantumNous/new-api"
QWEN = "https://help.aliyun.com/zh/model-studio/error-code"
OLLAMA = "https://github.com/ollama/ollama"
VLLM = "https://github.com/vllm-project/vllm"

TOO_LONG = (
    r"range of input length|input length|maximum (?:model|context|prompt|input) length|context length|context_length|"
    r"max(?:imum)? ?(?:context|input|prompt)|context window|available context size|message token length exceed|"
    r"(?:prompt|input|messages?|content|context) (?:is |are |was )?(?:too long|too large)|too many (?:input )?"
    r"tokens(?!,? (?:per|please|a)\b)|token count .{0,40}exceeds|context ?window ?exceed|first \d+ tokens when context|"
    r"exceed\w* (?:the |your )?(?:model'?s? )?(?:max\w* )?(?:context|input|prompt|token limit)|"
    r"(?:prompt|input|messages?|request)\w* exceed\w* (?:the )?(?:max|model|context|token)|"
    r"must have (?:less|fewer) than [\d,]+ tokens|`?inputs`? tokens.{0,40}must be (?:<|less|at most)|"
    r"length of (?:the )?(?:prompt|input|messages)\w* .{0,40}must be|(?:than|exceeds) the context length|"
    r"provide a shorter (?:input|prompt)|(?:inputs?|prompt)[ _]tokens? exceed|"
    r"reduce the length of (?:the |your )?(?:messages?|prompt|input)|max(?:imum)? message tokens|"
    r"string too long\.? expected a string with maximum length|"
    r"tokens in (?:the |your )?(?:prompt|input|messages).{0,20}exceed|超长|长度超|过长"
)
_MODERATED = (
    r"content violat|violat\w* .{0,40}(?:polic|guideline|terms|law)|usage (?:guidelines|polic)|safety (?:system|"
    r"check|filter)|"
    r"SAFETY_CHECK|content[ _](?:management |usage )?policy|content[ _]filter|requires moderation|was flagged|"
    r"flagged (?:for|by|as)|"
    r"moderation|inappropriate content|sensitive[ _]?(?:content|words?|information)|new_sensitive|content exists risk|"
    r"risky content|high risk|risk ?detection|prohibited[ _]content|"
    r"harmful content|nsfw|content you provided[^.]{0,60} blocked|content is blocked|"
    r"responsible ?ai|blocked by (?:our |the )?(?:safety|content|guardrail)|guardrail|data_?inspection|"
    r"prompt (?:was |is )?blocked|"
    r"block_?reason|敏感|违规|不安全|内容安全|涉黄|审核"
)
_FIREWALL = (
    r"you have been blocked|attention required|web application firewall|\bWAF\b|request (?:was |"
    r"has been )?blocked|访问被阻断|拦截"
)
_MEDIA = (
    r"support\w* (?:for )?(?:image|vision|audio|video|multi-?modal|file)|(?:image|vision|audio|video|"
    r"multi-?modal|file)s? "
    r"(?:inputs? |content )?(?:is |are )?not (?:supported|enabled|allowed)|not (?:a )?(?:vision|multi-?modal)|"
    r"(?:invalid|unsupported|corrupt\w*|could not (?:load|process|download|fetch)|failed to (?:load|process|"
    r"download|fetch)|"
    r"unable to (?:load|process|download|fetch)) .{0,20}(?:image|audio|video|media|file)"
)
_SATURATED = r"负载已?饱和|no available channel|无可用渠道"
_AFFORD = r"can only afford|requires more credits, or fewer max_tokens|fewer max_tokens"
_DAILY = (
    r"\b(?:per|a|each)[ _-]?(?:day|week|month)\b|per(?:day|week|month)|"
    r"by ?day\b|per 86,?400 ?s|/ ?(?:day|week|month)\b|\b(?:daily|weekly|monthly)\b|"
    r"\b[RT]PD\b|"
    r"call volume quota|每日|每天|当日|每月|今日"
)
_MINUTELY = r"per[ _-]?(?:minute|second)|/ ?min|\b[RT]PM\b|每分钟|每秒|分钟内"
_LIMITED = r"limit|quota|too many|exceed|reached|usage|exhaust|used up|限|额度|配额|超"
_DAILY_LIMIT = rf"\A(?=.*?(?:{_DAILY}))(?=.*?(?:{_LIMITED}))"
_BALANCE = (
    r"insufficient[ _-](?:account[ _-])?(?:balance|credits?|funds?|(?:user_|token_)?quota|resource pack)|"
    r"(?:balance|credits?|funds?|quota) (?:is |are |has been |have been )?(?:too low|insufficient|not enough|"
    r"not sufficient|exhausted|"
    r"depleted|used up|below|negative|empty)|have any (?:available |remaining )?(?:balance|credits?|licenses)|"
    r"(?:exhausted|used up) (?:\w+ ){0,4}(?:quota|credits?|balance|allocation)|"
    r"(?:not enough|no remaining|no more|out of|run out of|ran out of|"
    r"used all|zero) "
    r"(?:available |your )?(?:balance|credits?|funds|prepaid)|no credits|credit limit|"
    r"(?:key|total) limit (?:exceeded|reached)|"
    r"(?:reached|exceeded|hit) (?:[\w-]+ ){0,4}(?:usage|inference|spend\w*) (?:limits?|quota)\b|"
    r"(?<!remaining )\blimit(?: of|:| is| to)? 0\b(?![.,]?\d)|"
    r"exceeded your (?:account )?(?:balance|credit)|"
    r"purchase (?:more )?credits|(?:please|to) (?:recharge|top[ -]?up)|payment required|arrear|overdue|unpaid|"
    r"billing (?:hard )?limit|billing (?:is )?not (?:active|enabled)|no (?:active|valid) (?:subscription|plan|"
    r"resource)|"
    r"subscription (?:has )?(?:expired|ended|inactive)|spend(?:ing)? (?:limit|cap)|usage (?:cap|"
    r"limit) (?:has been )?(?:reached|exceeded)|"
    r"(?:account|organi[sz]ation|team|tenant|consumer)\b.{0,60}(?:suspended|deactivated|disabled|frozen|banned|"
    r"terminated|not active|inactive|blocked|restricted)|"
    r"account_deactivated|"
    r"budget (?:has been )?exceeded|exceed\w* (?:its |the |your )?budget|over budget\b|"
    r"trial (?:has |period )*(?:expired|ended|is over)|"
    r"subscription (?:is )?required|预扣费额度失败|free (?:allocated |tier |trial )?quota|exceeded_current_quota|"
    r"使用上限|已?耗尽|已到期|套餐.{0,8}(?:到期|过期|用尽|用完)|余额不足|余额为|余额已|额度不足|额度已|欠费|已停用|已冻结|请充值|充值|资源包|配额已用|账户异常"
)
_KEY = (
    r"(?:invalid|incorrect|wrong|expired|revoked|missing|malformed|unknown|disabled|no|bad)[ _](?:or missing |"
    r"or expired )?"
    r"(?:x-)?(?:api[ _-]?key|access[ _-]?key|access[ _]token|auth\w*[ _]token|subscription[ _]key|bearer token|"
    r"credentials?|"
    r"authentication|authorization)|api[ _-]?key (?:is |was |has )?(?:been )?(?:not valid|invalid|incorrect|"
    r"expired|revoked|disabled|not found|missing|"
    r"required|not provided|does not exist|blocked)|API_KEY_INVALID|(?:authentication|authorization) (?:fail|"
    r"error|required|is required|token)|"
    r"(?:access|security|auth\w*|bearer)[ _]token\b.{0,60}(?:invalid|expired|no longer valid)|not authorized|NoAuth|"
    r"(?:location|country|region|territory)\b[^.]{0,40}not (?:supported|available|allowed)|login fail|"
    r"^(?:[\w.-]+:? )?(?:unauthorized\b.?|invalid token\.?)$|"
    r"not authenticated|could not validate credentials|no auth|user not found|token (?:has |"
    r"is )?(?:been )?expired|"
    r"令牌|无效的? ?(?:api)?[ _]?key|密钥|鉴权失败|身份验证|未授权"
)
_NO_MODEL = (
    r"\bmodels?\b[^.]{0,120}(?:not exist|not found|not a valid|is not valid|not available|not supported by|"
    r"end of (?:its )?life|requires terms acceptance|identifier is invalid|"
    r"unavailable for your|"
    r"deprecated|decommissioned|retired|has been (?:removed|shut ?down)|no longer (?:available|supported))|"
    r"(?:invalid|unknown|unsupported|no such|nonexistent|unrecognized) model\b|not found the model|(?:valid|"
    r"known) model (?:id|name)|"
    r"no endpoints found (?:for|matching)|unable to access (?:[\w-]+ )?model|not activated the model|accept the terms|"
    r"endpoint for this model is not running|does not work with the specified model|llm provider not provided|"
    r"(?:do not|don't|not|no) (?:have )?access to (?:the |this )?model|deployment ?not ?found|"
    r"api deployment .{0,40}(?:not exist|not found)|(?:requested|specified|selected) model is not supported|"
    r"^(?:the )?model [\w./:'\"`-]{1,80} is not supported\.?$|"
    r"no models? loaded|does not support chat|model not support(?:ed)?\b|"
    r"must be verified to use|model requires more (?:\w+ )?memory|"
    r"on-demand throughput|could not find model|no model named|model[ _]not[ _]found|"
    r"does not (?:exist or you do not )?have access to (?:the )?model|"
    r"模型不存在|模型未找到|不支持的模型|无效的模型|未知模型|模型已下线"
)
_ADDRESS = (
    r"unexpected endpoint|unknown (?:request )?url|invalid url|no route|route not found|cannot (?:post|get) /|"
    r"404 page not found|"
    r"endpoint (?:is |was )?(?:not found|does not exist)|no such endpoint|invalid (?:api )?path|no handler for|"
    r"plain http request was sent to https|接口不存在|url error"
)
_SCHEMA = (
    r"schema.{0,80}(?:not supported|unsupported|invalid|not allowed)|(?:invalid|unsupported|"
    r"not support\w*).{0,40}schema|"
    r"not support.{0,40}(?:response.?format|json_schema|json mode|json_object|structured output|tools?\b|function|"
    r"thinking|reasoning|logprobs|streaming|parameter)|no endpoints found that|requires? (?:the )?--[a-z]|"
    r"grammar.{0,60}(?:fail|error|invalid|unsupported)|failed to parse grammar"
)
_ROLES = r"roles? must alternate|(?:roles?|messages?) (?:should|must) alternate|after the optional system message"
_SAMPLED = (
    r"failed to (?:generate json|call a function|parse tool call|validate json)|failed_generation|"
    r"tool call validation failed"
)
_BUSY = (
    r"over(?:ly)? ?loaded|overload|over capacity|capacity (?:temporarily )?exceeded|at capacity|insufficient capacity|"
    r"no capacity|queue (?:is )?full|queue_exceeded|maximum pending|slot unavailable|unable to process additional|"
    r"high traffic|not ready (?:yet|for)|(?:server|service|system|engine|"
    r"model|node|cluster)s? (?:is |are )?(?:currently |too |very |really )?busy|too busy|high demand|high load|saturat|"
    r"(?<!failed )loading model|"
    r"is (?:currently |still )?(?:loading|starting up|warming|being loaded|booting)\b|model_loading|"
    r"warming up|cold ?start|"
    r"饱和|繁忙|过载|负载|拥挤|访问量过大|稍后(?:再试|重试)"
)
_LIMIT_WORDS = (
    r"rate[ _-]?(?:limit|exceeded)|too many requests|throttl(?:ed|ing)|too many tokens, please wait|"
    r"\b(?:qps|rpm|tpm)\b|request limit (?:reached|exceeded)|"
    r"请求过于频繁|频率|速率限制|限流|并发"
)
_BEHIND = (
    r"bad_response_status_code|bad_response|do[ _]request[ _]failed|"
    r"upstream (?:\w+ ){0,2}(?:error|fail|time|unavail|reset)|"
    r"no available channel|无可用渠道|"
    r"get_channel_failed|"
    r"^provider returned error$|connection (?:reset|refused|error|closed|aborted)|timed? ?out|temporar(?:y|ily)|"
    r"try again (?:later|in|after)|"
    r"please retry|internal (?:server )?error|bad gateway|service unavailable|failed dependency|unexpected eof|"
    r"broken pipe|"
    r"fetch failed|socket hang up|degraded|crashed|"
    r"model (?:is |was )?unloaded|(?:failed to|error) load(?:ing)? (?:the )?"
    r"model|网络错误|系统错误|服务异常|内部错误"
)
_CLIENT = " ".join(map(str, range(400, 500)))

# fmt: off
ANY_VENDOR: tuple[Rule, ...] = (
    # --- one row's
    rule("sensitive_words_detected prompt_blocked content_filter content_policy_violation "
         "responsibleaipolicyviolation", _K.CONTENT_FILTER, _FAIL, NEW_API),
    rule("", _K.CONTENT_FILTER, _FAIL, MINIMAX, message=r"new_sensitive", status="500"),
    rule("", _K.CONTENT_FILTER, _FAIL, XAI, message=_MODERATED, status=f"0 {_CLIENT}"),
    rule("", _K.INVALID_REQUEST, _FAIL, OPENROUTER, message=_FIREWALL, setting=True,
         status="400 403 405 406 418 429"),
    rule("", _K.ACCOUNT, _FAIL, OPENROUTER, message=_AFFORD),
    rule("", _K.INVALID_REQUEST, _FAIL, OPENROUTER, message=_MEDIA, status=f"0 500 {_CLIENT}", setting=True),
    # --- what no row can survive
    limit("", Throttle.OVERLOAD, NEW_API, message=_SATURATED, status="429 500 502 503 504"),
    limit("1039", Throttle.TOKENS, MINIMAX),
    limit("", Throttle.UNKNOWN, GEMINI, status="429", message=rf"\A(?=.*?(?:{_MINUTELY}))(?=.*?usage (?:limit|quota))"),
    rule("", _K.ACCOUNT, _STOP, QWEN, message=r"(?:free|hour|week|month)(?:ly)? (?:allocated|tier) quota"),
    limit("", Throttle.TOKENS, QWEN, message=r"allocated quota exceeded|error-code#token-limit"),
    rule("", _K.ACCOUNT, _STOP, GEMINI, message=_DAILY_LIMIT, status=f"0 500 {_CLIENT}"),
    rule("insufficient_user_quota pre_consume_token_quota_failed insufficient_balance 1113 account_deactivated",
         _K.ACCOUNT, _STOP, NEW_API),
    rule("", _K.ACCOUNT, _STOP, MOONSHOT, message=_BALANCE),
    limit("", Throttle.UNKNOWN, GEMINI, status="429",
         message=r"exceeded your current quota.{0,400}?(?:retry in|per ?minute|retryDelay)"),
    rule("", _K.ACCOUNT, _STOP, GEMINI, message=r"exceeded your current quota"),
    rule("", _K.AUTHENTICATION, _STOP, GEMINI, message=_KEY),
    rule("invalid_model model_not_found model_not_supported model_not_available dedicated_endpoint_not_running "
         "unknown_model modelnotopen invalidendpointormodel.notfound model_terms_required",
         _K.MODEL_UNAVAILABLE, _STOP, MOONSHOT),
    rule("", _K.MODEL_UNAVAILABLE, _STOP, OLLAMA, message=_NO_MODEL),
    rule("", _K.ENDPOINT, _STOP, OLLAMA, message=_ADDRESS),
    rule("authentication_error permission_error", _K.AUTHENTICATION, _STOP, CLAUDE, status="0"),
    rule("billing_error", _K.ACCOUNT, _STOP, CLAUDE, status="0"),
    # --- the row's or the job's request
    rule("", _K.TOO_LONG, _FAIL, VLLM, status="0 400 413 422 500", message=TOO_LONG),
    rule("", _K.TOO_LONG, _FAIL, GROQ, status=f"0 {_CLIENT}",
         message=r"request (?:entity |body |payload )?(?:is )?too large|reduce your message size"),
    rule("", _K.INVALID_REQUEST, _FAIL, VLLM, status=f"0 500 {_CLIENT}", message=_SCHEMA, setting=True),
    rule("", _K.INVALID_REQUEST, _FAIL, VLLM, status="0 400 422 500", message=_ROLES),
    # --- what passes
    rule("json_validate_failed tool_use_failed output_parse_failed", _K.SERVER_ERROR, _RETRY, GROQ),
    rule("", _K.SERVER_ERROR, _RETRY, GROQ, message=_SAMPLED, status=f"0 {_CLIENT}"),
    limit("capacity_exceeded engine_overloaded_error overloaded_error server_is_overloaded", Throttle.OVERLOAD,
         GROQ),
    limit("rate_limit_error", Throttle.UNKNOWN, CLAUDE, status="0"),
    limit("", Throttle.OVERLOAD, DEEPSEEK, message=_BUSY, status=f"0 500 502 503 529 {_CLIENT}"),
    limit("", Throttle.UNKNOWN, MINIMAX, message=_LIMIT_WORDS, status="0 400 403 498 500 502 503"),
    rule("", _K.SERVER_ERROR, _RETRY, NEW_API, message=_BEHIND, status="400 401 403 404 405 412 413 422 424 451"),
)
# fmt: on

_REQUESTED = re.compile(r"Limit:? ?~?(\d{1,15})\b.{0,80}?Requested:? ?~?(\d{1,15})\b", re.IGNORECASE)


def exceeds_limit(said: str) -> bool:
    """Whether an error says that one request asks for more than the whole limit, so that it never fits."""
    found = _REQUESTED.search(said.replace(",", ""))
    return found is not None and int(found[2]) > int(found[1]) > 0


_QUEUE_LIMIT = re.compile(
    r"(?:limit|maximum|quota)(?: is| of|:)? ?~?(\d[\d.,_]{0,20}) ?(k|m|b|thousand|million|billion)?\b", re.IGNORECASE
)
_UNITS = {"k": 10**3, "m": 10**6, "b": 10**9}


def queue_limit(said: str) -> int | None:
    """Return how many tokens may wait in an account's batches, as an error says it (`Limit: 2,000,000`, `30K`)."""
    found = _QUEUE_LIMIT.search(said)
    if found is None:
        return None
    number, unit = found[1].rstrip(".,_"), found[2]
    if unit is None or re.fullmatch(r"\d{1,3}(?:,\d{3})+", number):
        digits = re.sub(r"[.,_]", "", number)
        return int(digits) * _UNITS[unit[0].lower()] if unit else int(digits)
    whole, _, part = number.replace(",", ".").partition(".")
    scale = _UNITS[unit[0].lower()]
    return int(whole) * scale + (int(part) * scale // 10 ** len(part) if part.isdecimal() else 0)
