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

from batchgen.providers.wire import UnreadableError, decode_json
from batchgen.values import SMALLEST_AMOUNT, Usage

LARGEST_COUNT = 10**9
"""Most tokens that one reply can have: a hundred times the longest context there is, and small enough that neither the
sums over a billion rows (64 bits) nor their costs (20 digits) overflow."""

LARGEST_OUTPUT = 10**6
"""Most output tokens that are taken from a total alone: beyond that it is the total that is wrong."""

LARGEST_COST = 10**6
"""Most that one reply can cost by its own account."""

Figures = Mapping[str, Any]

_INPUT = ("inputtokens", "prompttokens", "prompttokencount", "inputtokencount", "promptevalcount", "tokensevaluated",
          "tokensin", "intokens", "inputtexttokencount", "numtokensprompttotal", "inputtokenscount",
          "prompttokenscount", "input", "prompt")  # fmt: skip
_OUTPUT = ("outputtokens", "completiontokens", "candidatestokencount", "outputtokencount", "completiontokencount",
           "generatedtokens", "evalcount", "tokenspredicted", "tokensout", "outtokens", "generatedtokencount",
           "generationtokencount", "generationtokens", "outputtexttokencount", "numtokensgenerated",
           "outputtokenscount", "completiontokenscount", "responsetokencount", "output",
           "completion")  # fmt: skip
_TOTAL = ("totaltokens", "totaltokencount", "tokenstotal", "totaltokenscount", "total")
_INPUT_DETAILS = ("prompttokensdetails", "inputtokensdetails", "prompttokendetails", "inputtokendetails", "inputtokens")
_OUTPUT_DETAILS = ("completiontokensdetails", "outputtokensdetails", "completiontokendetails", "outputtokendetails",
                   "outputtokens")  # fmt: skip
_CACHED_DETAILS = ("cachedtokens", "cacheread", "cachereadtokens", "cachereadinputtokens", "cachedinputtokens",
                   "cachehittokens")  # fmt: skip
_CACHED = ("cachedtokens", "prompttokenscached", "promptcachehittokens", "cachereadinputtokens", "cachereadtokens",
           "cachedinputtokens", "cachedprompttokens", "inputcachedtokens", "cachedcontenttokencount",
           "cachereadinputtokencount", "cachehittokens", "cachetokens")  # fmt: skip
_MISSED = ("promptcachemisstokens",)
_WRITTEN = ("cachecreationinputtokens", "cachewritetokens", "cachewriteinputtokens", "cachedcreationtokens",
            "cachecreationtokens", "cachewriteinputtokencount", "cachewrite")  # fmt: skip
_WRITTEN_BY_AGE = ("claudecachecreation5mtokens", "claudecachecreation1htokens")
_THOUGHT = ("reasoningtokens", "thinkingtokens", "thoughtstokencount", "thoughttokens", "thoughtstokens", "reasoning",
            "reasoningoutputtokens")  # fmt: skip
_TOOLS = ("tooluseprompttokencount", "tooluseprompttokens")
"""What the server's own tools have put into the input, beside the prompt (Gemini)."""

_BESIDE = ("cachereadinputtokens", "cachecreationinputtokens")
_AUDIO = ("audiotokens", "audioinputtokens", "inputaudiotokens")
_OWN_BILL = ("citationtokens", "numsearchqueries")
"""Beside these (Perplexity) the thinking is counted and charged beside the output, and no total has it."""

_INSIDE = ("billedunits", "tokens", "text", "billing", "total", "models")
"""Where a report has its figures one level deeper: what is billed (Cohere) before what was processed."""

_COSTS = ("cost", "totalcost", "estimatedcost", "costusd")
_TICKS = "costinusdticks"
_PLACES = ("usageMetadata", "usage_metadata", "x_groq", "meta", "meta_info", "metrics", "token_usage", "tokenUsage",
           "amazon-bedrock-invocationMetrics", "Usage", "usage_info", "usageInfo", "token_count", "tokenCount",
           "tokens", "llm_output", "response_metadata", "data", "result", "output")  # fmt: skip
_INNER = ("usage", "token_usage", "tokenUsage", "tokens")
_AT_TOP = frozenset({"prompt_eval_count", "eval_count", "tokens_evaluated", "tokens_predicted", "prompt_token_count",
                     "generation_token_count", "generated_token_count", "input_token_count", "output_token_count",
                     "prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "tokens_in", "tokens_out",
                     "inputTextTokenCount", "inputTokens", "outputTokens", "total_tokens"})  # fmt: skip
_ELSEWHERE = _AT_TOP.union(_PLACES, ["timings"])
_TELLING = frozenset({*_INPUT[:-2], *_OUTPUT[:-2], *_TOTAL[:-1]})
_TELLING_OF_TOKENS = _TELLING.union(_INPUT, _OUTPUT)
_BESIDE_NAMES, _OWN_BILL_NAMES = frozenset(_BESIDE), frozenset(_OWN_BILL)
_SEPARATORS = re.compile(r"[_\-\s]+")
_ODD_NAME = re.compile(r"(?:num(?:berof)?|nb|n)?((?:prompt|input|completion|output|generated|total)token)s?")
"""A usual name behind a word for "number", or in the singular."""

_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,20})?")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3}){1,4}")


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
        figures = _spread(report)
        has_input = has_input or bool(_first(figures, _INPUT))
        has_output = has_output or bool(_first(figures, _OUTPUT))
        if has_input and has_output:
            break
    return together


def find_report(document: Figures) -> Figures | None:
    """Return a document's report of tokens, wherever it stands; None if it has none.

    In a member of its own, or in one of Groq's, Cohere's or Bedrock's; at the top (Ollama, Llama on Bedrock); as
    llama.cpp's `timings`. A gateway may have put it into a list or written it as JSON text.
    """
    report = document.get("usage")
    if report:
        report = _one_object(report)
        if report:
            return report
    if _ELSEWHERE.isdisjoint(document):
        return None
    for name in _PLACES:
        report = _one_object(document.get(name))
        if report:
            place = next((place for place in _INNER if isinstance(report.get(place), dict)), None)
            of_tokens = "token" in (place or name).lower()
            report = report if place is None else report[place]
            if not (_TELLING_OF_TOKENS if of_tokens else _TELLING).isdisjoint(_spread(report)):
                return report
    if not _AT_TOP.isdisjoint(document):
        return {name: value for name, value in document.items() if isinstance(value, (int, float))}
    timings = document.get("timings")
    return _of_timings(timings) if isinstance(timings, dict) else None


def _one_object(value: Any) -> dict[str, Any] | None:
    """Return an object, also the only one of a list, or one written as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = decode_json(value.encode("utf-8", "replace"))
        except UnreadableError:
            return None
    elif isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, dict) else None


def _of_timings(timings: Figures) -> Figures | None:
    """Return what llama.cpp has measured: `prompt_n` are the tokens that were not in its cache."""
    read, written = count(timings.get("prompt_n")), count(timings.get("predicted_n"))
    if read is None or written is None:
        return None
    cached = count(timings.get("cache_n"))
    return {"input_tokens": read + (cached or 0), "output_tokens": written, "cached_tokens": cached}


def read_usage(report: Figures | None, *, answered: bool = True, claude: bool = False) -> Usage:
    """Return the token counts, whatever they are called; None where they were not reported.

    No input, or no output with an answer, is no report either. `answered`: there was an answer; `claude`: by a model
    whose cached tokens are counted beside its input, as some gateways pass them on.

    A count of the cache or of thinking that cannot be a part of what it should be a part of, where the total says that
    it does not come on top, is left out: nothing is charged for a figure that contradicts the others.
    https://docs.qwencloud.com/api-reference/chat/dashscope, https://github.com/openai/openai-openapi
    """
    if not report:
        return Usage()
    figures = _spread(report)
    read, written = _details(figures, _INPUT_DETAILS), _details(figures, _OUTPUT_DETAILS)
    cached = _either(_first(read, _CACHED_DETAILS), _first(figures, _CACHED))
    stored = _either(_either(_first(read, _WRITTEN), _first(figures, _WRITTEN)), _stored(read, figures))
    thought = _either(_first(written, _THOUGHT), _first(figures, _THOUGHT))
    total = _first(figures, _TOTAL) or None
    tokens_in, tokens_out = _pair(figures, total)
    if tokens_in is None and total is None and (missed := _first(figures, _MISSED)) is not None:
        tokens_in = missed + (cached or 0)
    if tokens_in == 0 and cached and total is not None and tokens_out and total > tokens_out:
        tokens_in = total - tokens_out  # the cached tokens alone are not the input
    if tokens_in is not None:
        plain_out, all_out = tokens_out or 0, (tokens_out or 0) + (thought or 0)
        tools = _first(figures, _TOOLS) or 0
        if total is None or total - tokens_in - tools in (plain_out, all_out):
            tokens_in += tools
        if (cached or stored) and not (thought and total == tokens_in + all_out):
            caches = (cached or 0, stored or 0)
            tokens_in += _beside(figures, tokens_in, plain_out, total, caches, claude=claude)
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
    contradictory = False
    if tokens_out is not None and thought is not None and thought > tokens_out:
        if total is None or not _OWN_BILL_NAMES.isdisjoint(figures):
            tokens_out += thought
        else:
            thought, contradictory = None, True
    if tokens_in is not None and (cached or 0) + (stored or 0) > tokens_in:
        contradictory = True
        cached = cached if (cached or 0) <= tokens_in else None
        stored = stored if (stored or 0) + (cached or 0) <= tokens_in else None
    if tokens_in is not None and tokens_out is not None:
        total = tokens_in + tokens_out
    elif tokens_in is not None:
        total = total if total is not None and 0 <= total - tokens_in <= LARGEST_OUTPUT else None
    else:
        cached, stored = cached or None, stored or None
        total = None if tokens_out is not None else total
    if tokens_out is None:
        thought = thought or None
    return Usage(
        _bounded(tokens_in),
        _bounded(tokens_out),
        _bounded(total),
        _bounded(cached),
        _bounded(thought),
        _bounded(stored),
        contradictory,
        _stored_long(read, figures) if stored else None,
        min(_either(_first(read, _AUDIO), _first(figures, _AUDIO)) or 0, tokens_in or 0) or None,
    )


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
    return None if ticks is None else (ticks / 10**10).quantize(SMALLEST_AMOUNT)


def count(value: Any) -> int | None:
    """Return a count of tokens, also one written as a float or as text; None for anything else."""
    if isinstance(value, str):
        text = value.strip()
        text = text.replace(",", "") if _GROUPED.fullmatch(text) else text
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
        odd = _ODD_NAME.fullmatch(plain)
        plain = plain if odd is None else f"{odd[1]}s"
        if not _is_filled(figures.get(plain)):
            figures[plain] = value
    return figures


def _spread(report: Figures) -> dict[str, Any]:
    """Return the members of a report with those that stand one level deeper; what stands at the top comes first."""
    figures = _figures(report)
    for name in _INSIDE:
        inner = _one_object(figures.get(name))
        if inner is not None:
            for key, value in _figures(inner).items():
                if not _is_filled(figures.get(key)):
                    figures[key] = value
    return figures


def _details(figures: Figures, names: Sequence[str]) -> dict[str, Any]:
    """Return the details of input or output, under all their names together."""
    found = [figures[name] for name in names if isinstance(figures.get(name), dict)]
    return _figures({name: value for report in reversed(found) for name, value in report.items() if value is not None})


def _counts(figures: Figures, names: Sequence[str]) -> list[int]:
    return [found for name in names if (found := count(_total_of(figures.get(name)))) is not None]


def _total_of(value: Any) -> Any:
    """Return a figure, also where it is an object with its parts and their total."""
    return value.get("total") if isinstance(value, dict) else value


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


def _beside(
    figures: Figures, tokens_in: int, tokens_out: int, total: int | None, caches: tuple[int, int], *, claude: bool
) -> int:
    """Return how many cached tokens come on top of the input: Anthropic counts them beside it, chat completions within.

    The total tells. It may have been summed up without them (new-api, CLIProxyAPI): then Anthropic's names do, or the
    model, where the cache is larger than the input. `caches`: the tokens read from one and written to one.
    """
    both = sum(caches)
    for part in (both, *caches):
        if part and total == tokens_in + part + tokens_out:
            return part
    named = claude or figures.get("usagesemantic") == "anthropic" or not _BESIDE_NAMES.isdisjoint(figures)
    native = named and total is None and not any(name in figures for name in _INPUT[1:])
    if native or figures.get("usagesemantic") == "anthropic":
        return both
    return both if both > tokens_in and (named or total is None or total >= tokens_in + both + tokens_out) else 0


def _stored(read: Figures, figures: Figures) -> int | None:
    """Return what was written to caches of several ages, where only that is told."""
    creation = read.get("cachecreation", figures.get("cachecreation"))
    found = _counts(figures, _WRITTEN_BY_AGE)
    if isinstance(creation, dict):
        found = [number for number in map(count, creation.values()) if number is not None]
    return sum(found) if found else None


def _stored_long(read: Figures, figures: Figures) -> int | None:
    """Return what was written to a cache that is kept for an hour, None for nothing (Anthropic)."""
    creation = read.get("cachecreation", figures.get("cachecreation"))
    value = creation.get("ephemeral_1h_input_tokens") if isinstance(creation, dict) else figures.get(_WRITTEN_BY_AGE[1])
    return count(value) or None


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
    return number.quantize(SMALLEST_AMOUNT)
