"""What is known of one vendor, as one value: `vendors/` has a module with one of these for each.

A vendor is who answers at an address. The wire format is how it is spoken to; most vendors speak chat completions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from batchgen.attachments.limits import AttachmentLimits
from batchgen.money.price_file import REGIONS
from batchgen.providers.error_catalogue import CHAT_COMPLETIONS
from batchgen.providers.error_rule import Rule
from batchgen.providers.lane import Lane
from batchgen.providers.protocol import ModelSettings

WireName = Literal["dashscope", "openai", "anthropic"]
Means = Literal["json_schema", "json_object", "tool", "instruction"]
"""How an answer is held to JSON: see `answers.enforcement`."""

Finding = tuple[str, str, bool]
"""Something to say about the settings: dotted name under `model.`, text, whether it refuses the job."""

INTERNATIONAL, BEIJING = REGIONS
"""The regions that prices are listed for."""

_THINKERS = re.compile(
    r"^o\d|^gpt-(?:[5-9]|oss)|deepseek-(?:r\d|reasoner)|-r1\b|qwq|qvq|thinking|reason|magistral", re.IGNORECASE
)


class MeansRule(Struct, frozen=True):
    """One row of a vendor's table of means. `thinking`: only while the model thinks."""

    model: re.Pattern[str]
    means: Means
    thinking: bool = False


def means_rule(model: str, means: Means, *, thinking: bool = False) -> MeansRule:
    """Return a row for the models whose name matches the regular expression `model` somewhere, in any case."""
    return MeansRule(re.compile(model, re.IGNORECASE), means, thinking)


class Range(Struct, frozen=True):
    """Which numbers a parameter takes; `text` is the range as the user reads it."""

    fits: Callable[[float], bool]
    text: str
    whole: bool = False


POSITIVE = Range(lambda n: n >= 1, "a whole number from 1", whole=True)
SYMMETRIC = Range(lambda n: -2 <= n <= 2, "a number from -2 to 2")

CHAT_RANGES: Mapping[str, Range] = MappingProxyType(
    {
        "temperature": Range(lambda n: 0 <= n <= 2, "a number from 0 to 2"),
        "top_p": Range(lambda n: 0 <= n <= 1, "a number from 0 to 1"),
        "presence_penalty": SYMMETRIC,
        "frequency_penalty": SYMMETRIC,
        "seed": Range(lambda n: -(2**63) <= n < 2**63, "a whole number of 64 bits", whole=True),
        "max_tokens": POSITIVE,
        "max_completion_tokens": POSITIVE,
        "top_logprobs": Range(lambda n: 0 <= n <= 20, "a whole number from 0 to 20", whole=True),
    }
)
"""The ranges of chat completions (https://github.com/openai/openai-openapi)."""


def known_to_think(model: str, parameters: Mapping[str, Any]) -> bool:
    """Whether a model is known to think before it answers: as a parameter says, else by its name."""
    switch = _thinking_switch(parameters)
    return _THINKERS.search(model.rpartition("/")[2]) is not None if switch is None else switch


def _thinking_switch(parameters: Mapping[str, Any]) -> bool | None:
    """Return whether parameters turn thinking on or off, in the words of the vendors and of vLLM, SGLang and Ollama."""
    for name in ("chat_template_kwargs", "reasoning", "thinking"):
        inner = parameters.get(name)
        if isinstance(inner, Mapping) and (found := _thinking_switch(inner)) is not None:
            return found
    for name in ("enable_thinking", "thinking", "think", "enabled"):
        if isinstance(parameters.get(name), bool):
            return bool(parameters[name])
    kind = parameters.get("type")
    if kind in ("enabled", "adaptive", "disabled"):
        return bool(kind != "disabled")
    effort = parameters.get("reasoning_effort", parameters.get("effort"))
    return effort != "none" if isinstance(effort, str) else None


def _never_streams_only(model: str, parameters: Mapping[str, Any]) -> bool:
    return False


def _nothing(settings: ModelSettings, parameters: Mapping[str, Any]) -> Iterator[Finding]:
    yield from ()


class Vendor(Struct, frozen=True, kw_only=True):
    """Everything that is particular to one vendor. What is left out is as most servers of chat completions have it.

    - `name`: the word in `model.provider`; `wires`: the wire formats it speaks, the one meant by that word first.
    - `base_url`, `api_key_env`: what holds when the job is silent; without a `base_url` the job has to give one.
    - `hosts`: its host names, those that begin with a dot as endings; `paths`: parts of an address's path that show it
      behind any host; `elsewhere`: whose facts hold at an address that is not this vendor's own, None for its own.
    - `chat_root`: the path of chat completions at a host that is given without one.
    - `omits`: fields that a wire format sends by default and this vendor refuses.
    - `key_headers`: the header that shows the key, by wire format; `Authorization` where there is none.
    - `regions`: price region by host (as in `hosts`); "international" for all others.
    - `ranges`: the numbers its parameters take; `check`: what else is to be said of `[model]` and its parameters.
    - `errors`: its table of errors, in which the first row that fits decides.
    - `means`: how its models are asked for JSON; the first row that fits decides, so the last one fits all.
    - `shows_schema`: whether the model reads a schema that it is held to, so that no instruction need repeat it.
    - `attachments`: the pictures and recordings it takes.
    - `lanes`: its lanes beside the ordinary calls, by the word in `model.lane`.
    - `thinks`, `streams_only`: whether a model thinks before it answers, and whether it refuses requests that are not
      streamed, with these parameters.
    """

    name: str
    wires: tuple[WireName, ...] = ("openai",)
    base_url: str = ""
    api_key_env: str = ""
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    elsewhere: Vendor | None = None
    chat_root: str = "/v1"
    omits: tuple[str, ...] = ()
    key_headers: Mapping[WireName, str] = {}
    regions: Mapping[str, str] = {}
    ranges: Mapping[str, Range] = CHAT_RANGES
    check: Callable[[ModelSettings, Mapping[str, Any]], Iterator[Finding]] = _nothing
    errors: tuple[Rule, ...] = CHAT_COMPLETIONS
    means: tuple[MeansRule, ...] = (means_rule("", "json_schema"),)
    shows_schema: bool = False
    lanes: tuple[Lane, ...] = ()
    attachments: AttachmentLimits = AttachmentLimits()
    thinks: Callable[[str, Mapping[str, Any]], bool] = known_to_think
    streams_only: Callable[[str, Mapping[str, Any]], bool] = _never_streams_only

    def serves(self, base_url: str) -> bool:
        """Whether an address is this vendor's, by its host or its path."""
        parts = urlsplit(base_url)
        return any(_fits(host_of(base_url), host) for host in self.hosts) or any(p in parts.path for p in self.paths)

    def region(self, base_url: str) -> str:
        """Return the region whose prices hold at an address."""
        host = host_of(base_url)
        return next((region for pattern, region in self.regions.items() if _fits(host, pattern)), INTERNATIONAL)

    def json_means(self, model: str, parameters: Mapping[str, Any]) -> Means:
        """Return the tightest means of asking a model for JSON that is known to work."""
        thinking = self.thinks(model, parameters)
        return next(
            rule.means
            for rule in self.means
            if (thinking or not rule.thinking) and rule.model.search(model) is not None
        )


def host_of(base_url: str) -> str:
    """Return the host name in an address, also in one without a scheme; empty where there is none."""
    return urlsplit(base_url if "//" in base_url else f"//{base_url}").hostname or ""


def _fits(host: str, pattern: str) -> bool:
    return host.endswith(pattern) if pattern.startswith(".") else host == pattern
