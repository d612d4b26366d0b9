"""Bodies of errors in the form of each vendor, and HTML pages of proxies.

Codes: https://docs.qwencloud.com/api-reference/preparation/error-messages and
https://developers.openai.com/docs/guides/error-codes .
"""

from __future__ import annotations

import msgspec

from batchgen.simulator.bodies import native_frame
from batchgen.simulator.messages_api import message_error, message_error_frame
from batchgen.simulator.rules import Problem, Wire

_encode = msgspec.json.encode

HTML_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n"
    b"<hr><center>proxy</center>\r\n</body>\r\n</html>\r\n"
)
PORTAL_PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in to the network.</body></html>"


# Native code → code and type of compatible mode, then status (None: the problem's own), code and type of OpenAI.
_OTHER_CODES: dict[str, tuple[str, str, int | None, str | None, str | None]] = {
    "InvalidApiKey": ("invalid_api_key", "invalid_request_error", None, "invalid_api_key", "invalid_request_error"),
    "Arrearage": ("Arrearage", "Arrearage", 429, "insufficient_quota", "insufficient_quota"),
    "AccessDenied": ("access_denied", "access_denied", None, None, "invalid_request_error"),
    "ModelNotFound": ("model_not_found", "invalid_request_error", None, "model_not_found", "invalid_request_error"),
    "NotFound": ("not_found", "invalid_request_error", None, None, "invalid_request_error"),
    "BadRequest.TooLarge": ("request_too_large", "invalid_request_error", None, None, "invalid_request_error"),
    "DataInspectionFailed": (
        "data_inspection_failed",
        "data_inspection_failed",
        None,
        "content_policy_violation",
        "invalid_request_error",
    ),
    "InternalError": ("internal_error", "internal_error", None, None, "server_error"),
    "ModelUnavailable": ("ModelUnavailable", "ModelUnavailable", None, "server_is_overloaded", "server_error"),
    "resource_unavailable": ("resource_unavailable", "resource_unavailable", None, "resource_unavailable", "requests"),
    "Throttling": ("Throttling", "Throttling", None, "rate_limit_exceeded", None),
    "Throttling.RateQuota": ("limit_requests", "limit_requests", None, "rate_limit_exceeded", "requests"),
    "Throttling.AllocationQuota": ("insufficient_quota", "insufficient_quota", None, "rate_limit_exceeded", "tokens"),
    "Throttling.BurstRate": ("limit_burst_rate", "limit_burst_rate", None, "slow_down", "requests"),
}
_ANY_OTHER = ("invalid_parameter_error", "invalid_request_error", None, None, "invalid_request_error")


def error_body(wire: Wire, problem: Problem, request_id: str) -> tuple[int, bytes]:
    """Return the status and the body of an error in the form of the vendor."""
    if wire == "anthropic":
        return message_error(problem, request_id)
    if wire == "native":
        return problem.status, _encode(_native_error(problem, request_id))
    code, kind, status, openai_code, openai_kind = _OTHER_CODES.get(problem.code, _ANY_OTHER)
    error = {"message": problem.message, "type": kind, "param": None, "code": code}
    if wire == "compatible":
        return problem.status, _encode({"error": error, "id": f"chatcmpl-{request_id}", "request_id": request_id})
    error |= {"type": openai_kind, "param": problem.param, "code": openai_code}
    return status or problem.status, _encode({"error": error})


def error_frame(wire: Wire, problem: Problem, request_id: str) -> bytes:
    """Return an error as a frame within a stream. Chat completions still end with `[DONE]`, as in vLLM."""
    if wire == "anthropic":
        return message_error_frame(problem, request_id)
    if wire == "native":
        return native_frame(99, "error", problem.status, _native_error(problem, request_id))
    return b"data: %s\n\ndata: [DONE]\n\n" % error_body(wire, problem, request_id)[1]


def _native_error(problem: Problem, request_id: str) -> dict[str, str]:
    return {"code": problem.code, "message": problem.message, "request_id": request_id}
