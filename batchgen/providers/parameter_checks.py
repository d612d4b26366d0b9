"""What `check` can say about `[model]` before anything is sent: known ranges and forbidden combinations.

Fatal is what no model of the provider takes, or what cannot mean what its writer wants; where one model is stricter
than another, it is a warning and the request goes out. Names not known here pass untouched and unremarked. A value
that comes from a column is not judged.
What one vendor alone says stands in its module (`vendors/`), what a wire format alone says beside that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from batchgen.nearest import nearest
from batchgen.providers.auth import KEY_HEADERS
from batchgen.providers.protocol import ModelSettings, Remark
from batchgen.providers.request_parts import constant_parameters, from_column
from batchgen.providers.vendor import Finding, Range, Vendor

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

# Parameters of the APIs and of servers that speak their format. Others are passed on; one that is nearly one of these
# is likely a slip, and a limit on the answer's length that nobody reads costs money.
_KNOWN = frozenset(
    [
        "best_of",
        "enable_search",
        "enable_thinking",
        "frequency_penalty",
        "function_call",
        "functions",
        "ignore_eos",
        "incremental_output",
        "length_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_input_tokens",
        "max_tokens",
        "metadata",
        "min_p",
        "min_tokens",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "reasoning_effort",
        "repetition_penalty",
        "response_format",
        "result_format",
        "search_options",
        "seed",
        "service_tier",
        "stop",
        "stop_token_ids",
        "store",
        "stream_options",
        "temperature",
        "thinking_budget",
        "tool_choice",
        "tools",
        "top_k",
        "top_logprobs",
        "top_p",
        "translation_options",
        "user",
        "verbosity",
    ]
)

# Headers that say where a request ends or what becomes of its connection: two opinions on that mix up requests.
FRAMING = frozenset({"connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade"})

# Not wire fields: batchgen writes them, or they are arguments of the SDKs.
_ELSEWHERE = {
    "stream": "use model.stream",
    "model": "use model.name",
    "messages": "messages come from [prompt]",
    "prompt": "the prompt comes from [prompt]",
    "history": "use prompt.history",
    "input": "the input comes from [prompt]",
    "api_key": "name the variable that holds the key in model.api_key_env",
    "headers": "use [model.headers]",
    "extra_headers": "use [model.headers]",
    "workspace": 'use [model.headers] "X-DashScope-WorkSpace"',
    "timeout": "use limits.timeout_s",
    "request_timeout": "use limits.timeout_s",
    "max_retries": "use retry.max_attempts",
    "extra_query": "put the query string into model.base_url",
    "base_url": "use model.base_url",
    "base_address": "use model.base_url",
}


def remarks(
    settings: ModelSettings,
    vendor: Vendor,
    parameters: Mapping[str, Any],
    *,
    may_omit: Sequence[str],
    own: Iterable[Finding],
) -> list[Remark]:
    """Return everything that is to be said of the settings before a request is sent.

    `parameters` are the job's with `extra_body` among them; `may_omit` are the fields that the wire format sends by
    default and that a job may leave out; `own` are the findings of the wire format.
    """
    findings = [
        *_elsewhere(parameters),
        *_ranges(constant_parameters(parameters), vendor.ranges),
        *_common(parameters),
        *vendor.check(settings, parameters),
        *own,
        *_headers(settings.headers),
        *_omit(settings, may_omit),
        *_base_url(settings.base_url),
    ]
    return [Remark(f"model.{key}", text, fatal) for key, text, fatal in findings]


def _elsewhere(parameters: Mapping[str, Any]) -> Iterator[Finding]:
    for name in parameters:
        if name in _ELSEWHERE:
            yield f"parameters.{name}", f"is no parameter of the API: {_ELSEWHERE[name]}", True
        elif name not in _KNOWN and (near := nearest(name, _KNOWN, cutoff=0.85)):
            yield f"parameters.{name}", f"is not known here and is sent as it is; did you mean {near}?", False


def _ranges(parameters: Mapping[str, Any], ranges: Mapping[str, Range]) -> Iterator[Finding]:
    for name, expected in ranges.items():
        if name not in parameters:
            continue
        value = parameters[name]
        is_number = isinstance(value, int if expected.whole else (int, float)) and not isinstance(value, bool)
        if not is_number or not expected.fits(value):
            yield f"parameters.{name}", f"must be {expected.text}, not {value!r}", True


def _common(parameters: Mapping[str, Any]) -> Iterator[Finding]:
    """Rules that both formats share."""
    if "n" in parameters and parameters["n"] != 1:
        yield "parameters.n", "must be 1: every row has one answer; for more, repeat the row in the input", True
    if parameters.get("top_logprobs") and not parameters.get("logprobs"):
        yield "parameters.top_logprobs", "needs logprobs = true", True
    if "max_tokens" in parameters and "max_completion_tokens" in parameters:
        yield "parameters.max_tokens", "give either this or max_completion_tokens: most servers refuse both", False
    tools = parameters.get("tools")
    if tools is None:
        if parameters.get("tool_choice"):
            yield "parameters.tool_choice", "needs tools", True
    elif not from_column(tools):
        yield from _tools(tools)


def _tools(tools: Any) -> Iterator[Finding]:
    if not isinstance(tools, list) or not tools:
        yield "parameters.tools", "must be a list of tables {type, function}, not empty", True
        return
    for number, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if isinstance(tool, Mapping) and ("input_schema" in tool or tool.get("type", "function") != "function"):
            continue  # a server's own kind of tool
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
            text = "must be 1 to 64 letters, digits, _ or -"
            yield f"parameters.tools[{number}].function.name", f"{text}, not {name!r}", True


def stop_strings(parameters: Mapping[str, Any], *, token_ids: bool) -> Iterator[Finding]:
    """Check `stop`: a string, a list of strings; natively also token ids or lists of them; never mixed."""
    stop = parameters.get("stop")
    if stop is None or isinstance(stop, str) or from_column(stop):
        return
    kinds = {type(item) for item in stop} if isinstance(stop, list) else {type(stop)}
    lists_of_ids = kinds == {list} and all(type(token) is int for item in stop for token in item)
    if kinds == {str} and isinstance(stop, list):
        return
    if isinstance(stop, list) and (kinds == {int} or lists_of_ids):
        if not token_ids:
            text = "token ids are taken by the native DashScope API only (vLLM: stop_token_ids); give strings"
            yield "parameters.stop", text, True
        return
    ids = ", a list of token ids, or a list of such lists" if token_ids else ""
    yield "parameters.stop", f"must be a string, a list of strings{ids}, never mixed; not {stop!r}", True


def _headers(headers: Mapping[str, str]) -> Iterator[Finding]:
    for name, value in headers.items():
        lower = name.lower()
        if lower in KEY_HEADERS:
            text = "a key does not belong in a job file: use model.api_key_env (and model.api_key_header)"
            yield f"headers.{name}", f'{text}, or {{ env = "NAME" }}', True
        elif lower in FRAMING:
            yield f"headers.{name}", "is the transport's own: leave it out", True
        if not name.isascii() or not name.isprintable() or any(c in name for c in " :") or not value.isprintable():
            yield f"headers.{name.encode('unicode_escape').decode()}", "is not a valid header", True


def _omit(settings: ModelSettings, defaults: Sequence[str]) -> Iterator[Finding]:
    for name in settings.omit:
        if name not in defaults and name not in settings.parameters:
            yield (
                "omit",
                f"names {name!r}; of what is sent by default, these may be left out: {', '.join(defaults)}",
                True,
            )


def _base_url(base_url: str) -> Iterator[Finding]:
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        yield "base_url", f"must start with https:// (or http://) and name a host, not {base_url!r}", True
        return
    if parts.username or parts.password:
        yield "base_url", "must not carry a user name or password", True
    if parts.scheme == "http" and not _is_local(host):
        yield "base_url", "the key and the prompts travel unencrypted: use https://", False


def _is_local(host: str) -> bool:
    """Loopback and private addresses, and names without a dot (containers, local networks)."""
    try:
        return ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
