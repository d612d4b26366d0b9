"""What replies say of their tokens and their cost → one `Usage` that does not contradict itself.

Servers disagree on names (`prompt_tokens`, `input_tokens`, `promptTokenCount`), on places (top, choice, details), and
on what counts as what: thinking within or beside the output, cached tokens within or beside the input. The total tells.
A figure that is no count of tokens is not reported: None, never 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from batchgen.values import Usage

LARGEST_COUNT = 10**9
"""Most tokens that one reply can have: a hundred times the longest context there is, and small enough that neither the
sums over a billion rows (64 bits) nor their costs (20 digits) overflow."""

LARGEST_OUTPUT = 10**6
"""Most output tokens that are taken from a total alone: beyond that it is the total that is wrong."""

LARGEST_COST = 10**6
"""Most that one reply can cost by its own account."""

Figures = Mapping[str, Any]

_INPUT = ("inputtokens", "prompttokens", "prompttokencount", "inputtokencount", "promptevalcount")
_OUTPUT = ("outputtokens", "completiontokens", "candidatestokencount", "outputtokencount", "completiontokencount",
           "generatedtokens", "evalcount")  # fmt: skip
_TOTAL = ("totaltokens", "totaltokencount")
_INPUT_DETAILS = ("prompttokensdetails", "inputtokensdetails", "prompttokendetails", "inputtokendetails")
_OUTPUT_DETAILS = ("completiontokensdetails", "outputtokensdetails", "completiontokendetails", "outputtokendetails")
_CACHED_DETAILS = ("cachedtokens", "cacheread", "cachereadtokens", "cachereadinputtokens", "cachedinputtokens",
                   "cachehittokens")  # fmt: skip
_CACHED = ("cachedtokens", "prompttokenscached", "promptcachehittokens", "cachereadinputtokens", "cachereadtokens",
           "cachedinputtokens", "cachedprompttokens", "inputcachedtokens", "cachedcontenttokencount",
           "cachereadinputtokencount", "cachehittokens", "cachetokens")  # fmt: skip
_WRITTEN = ("cachecreationinputtokens", "cachewritetokens", "cachewriteinputtokens", "cachedcreationtokens",
            "cachecreationtokens", "cachewriteinputtokencount", "cachewrite")  # fmt: skip
_THOUGHT = ("reasoningtokens", "thinkingtokens", "thoughtstokencount", "thoughttokens", "thoughtstokens", "reasoning",
            "reasoningoutputtokens")  # fmt: skip
_BESIDE = ("cachereadinputtokens", "cachecreationinputtokens")
_COSTS = ("cost", "totalcost", "estimatedcost", "costusd")
_TICKS = "costinusdticks"
_SEPARATORS = re.compile(r"[_\-\s]+")
_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,20})?")
_TWELVE_PLACES = Decimal("1e-12")


def last_filled(reports: Sequence[Figures]) -> dict[str, Any]:
    """Return the figures of a stream's reports together: of each the last one that is not empty.

    They are cumulative where there are several, but a last chunk of zeros takes nothing back, and some servers split
    them over the first and the last chunk.
    """
    together: dict[str, Any] = {}
    has_input = has_output = False
    for report in reversed(reports):
        for name, value in report.items():
            if not _is_filled(together.get(name)):
                together[name] = value
        figures = _figures(report)
        has_input = has_input or bool(_first(figures, _INPUT))
        has_output = has_output or bool(_first(figures, _OUTPUT))
        if has_input and has_output:
            break
    return together


def read_usage(report: Figures | None, *, answered: bool = True) -> Usage:
    """Return the token counts, whatever they are called; None where they were not reported.

    No input, or no output with an answer, is no report either. `answered`: there was an answer.
    https://docs.qwencloud.com/api-reference/chat/dashscope, https://github.com/openai/openai-openapi
    """
    if not report:
        return Usage()
    figures = _figures(report)
    read, written = _details(figures, _INPUT_DETAILS), _details(figures, _OUTPUT_DETAILS)
    cached = _either(_first(read, _CACHED_DETAILS), _first(figures, _CACHED))
    stored = _either(_either(_first(read, _WRITTEN), _first(figures, _WRITTEN)), _stored(read, figures))
    thought = _either(_first(written, _THOUGHT), _first(figures, _THOUGHT))
    total = _first(figures, _TOTAL) or None
    tokens_in, tokens_out = _pair(figures, total)
    beside = (cached or 0) + (stored or 0)
    if beside:
        tokens_in = _with_cache(figures, tokens_in, tokens_out, total, beside)
    tokens_in = tokens_in or None
    if answered or tokens_in is None:
        tokens_out = tokens_out or None
    if total is not None:
        if tokens_in is None and tokens_out is not None and total > tokens_out:
            tokens_in = total - tokens_out
        elif tokens_in is not None and (tokens_out is None or total > tokens_in + tokens_out):
            rest = total - tokens_in
            if 0 < rest <= LARGEST_OUTPUT or (rest == 0 and not answered):
                tokens_out = rest
    if tokens_out is not None and thought is not None and thought > tokens_out:
        tokens_out += thought
    if tokens_in is None:
        cached, stored, total = cached or None, stored or None, None
    elif tokens_out is not None:
        total = tokens_in + tokens_out
    if tokens_out is None:
        thought = thought or None
    return Usage(*map(_bounded, (tokens_in, tokens_out, total, cached, thought, stored)))


def read_cost(report: Figures | None) -> Decimal | None:
    """Return what the reply itself says that it cost, in the server's currency; None if it does not say."""
    if not report:
        return None
    figures = _figures(report)
    for name in _COSTS:
        stated = figures.get(name)
        if isinstance(stated, dict):
            inside = _figures(stated)
            stated = inside.get("totalcost", inside.get("total"))
        amount = _amount(stated)
        if amount is not None:
            return amount
    ticks = _amount(figures.get(_TICKS), most=LARGEST_COST * 10**10)  # xAI's unit is 1e-10 dollars
    return None if ticks is None else (ticks / 10**10).quantize(_TWELVE_PLACES)


def count(value: Any) -> int | None:
    """Return a count of tokens, also one written as a float or as text; None for anything else."""
    if isinstance(value, str):
        text = value.strip()
        value = float(text) if _NUMBER.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not 0 <= value <= LARGEST_COUNT:  # no NaN either
        return None
    return math.ceil(value)


def _figures(report: Figures) -> dict[str, Any]:
    """Return the members by their names without case and separators; of two spellings the one that is filled."""
    figures: dict[str, Any] = {}
    for name, value in report.items():
        plain = _SEPARATORS.sub("", name).lower()
        if not _is_filled(figures.get(plain)):
            figures[plain] = value
    return figures


def _details(figures: Figures, names: Sequence[str]) -> dict[str, Any]:
    """Return the details of input or output, under all their names together."""
    found = [figures[name] for name in names if isinstance(figures.get(name), dict)]
    return _figures({name: value for report in reversed(found) for name, value in report.items() if value is not None})


def _counts(figures: Figures, names: Sequence[str]) -> list[int]:
    return [found for name in names if (found := count(figures.get(name))) is not None]


def _first(figures: Figures, names: Sequence[str]) -> int | None:
    """Return the first of these figures that is above 0; 0 if one says so; None if none is there."""
    found = _counts(figures, names)
    return next((number for number in found if number), 0 if found else None)


def _either(one: int | None, other: int | None) -> int | None:
    return one or (other if other is not None else one)


def _pair(figures: Figures, total: int | None) -> tuple[int | None, int | None]:
    """Return input and output; of several names the pair that makes up the total, else the first that is filled."""
    tokens_in, tokens_out = _first(figures, _INPUT), _first(figures, _OUTPUT)
    if total is not None and tokens_in is not None and tokens_out is not None and tokens_in + tokens_out != total:
        for one in _counts(figures, _INPUT):
            for other in _counts(figures, _OUTPUT):
                if one and other and one + other == total:
                    return one, other
    return tokens_in, tokens_out


def _with_cache(
    figures: Figures, tokens_in: int | None, tokens_out: int | None, total: int | None, beside: int
) -> int | None:
    """Return the input with its cached tokens, which Anthropic and gateways to it count beside the prompt."""
    if tokens_in is None:
        return None
    named = any(name in figures for name in _BESIDE) and not any(name in figures for name in _INPUT[1:])
    native = named and total is None
    told = total is not None and total == tokens_in + beside + (tokens_out or 0)
    return tokens_in + beside if native or told or beside > tokens_in else tokens_in


def _stored(read: Figures, figures: Figures) -> int | None:
    """Return what was written to caches of several ages, where only that is told."""
    creation = read.get("cachecreation", figures.get("cachecreation"))
    if not isinstance(creation, dict):
        return None
    found = [number for number in map(count, creation.values()) if number is not None]
    return sum(found) if found else None


def _is_filled(value: Any) -> bool:
    """Whether a figure says anything: not null, not 0, not "", no object of such."""
    if isinstance(value, dict):
        return any(map(_is_filled, value.values()))
    return bool(value) and value not in ("0", "0.0")


def _bounded(number: int | None) -> int | None:
    return None if number is None or number > LARGEST_COUNT else number


def _amount(value: Any, most: int = LARGEST_COST) -> Decimal | None:
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    number = Decimal(str(value).strip()) if not isinstance(value, int) or 0 <= value <= most else Decimal("NaN")
    if not number.is_finite() or not 0 <= number <= most:
        return None
    return number.quantize(_TWELVE_PLACES)
