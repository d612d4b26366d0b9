"""The words for how an answer ended, as servers write them → our four, the vendor's own, or a failure.

Whatever is not a known good end is not taken for one. Vendors spell the same end in many ways (`MAX_TOKENS`,
`max_tokens`, `maxTokens`, `FINISH_REASON_MAX_TOKENS`), so letters count and their case and separators do not; an end
of which nobody has heard is judged by the words in it.
"""

from __future__ import annotations

import re

UNFINISHED = ("", "null", "None")
"""What a running frame has as `finish_reason`: DashScope writes null as a string."""

OUR_WORDS = ("stop", "length", "tool_calls", "content_filter")
"""The ends that have one word for all vendors (contract: `finish_reason`)."""

_ENDS = {
    "stop": "stop stopsequence stoptoken stopstring stopstr stopword stopwords stopcriteria end endturn endofturn "
    "endoftext endofsequence eos eostoken eot eotid eom imend complete completed completion done finish finished "
    "normal natural success succeeded ok eosfound eosid stoppatternfound matchedstop",
    "tool_calls": "toolcalls toolcall toolscall tooluse functioncall functioncalls tools",
    "length": "length",
    "content_filter": "contentfilter safety language",
}
_KNOWN = {spelling: word for word, spellings in _ENDS.items() for spelling in spellings.split()}
_FILTERED = re.compile(
    r"filter|safety|sensitiv|moderat|policy|policies|prohibit|blocklist|blocked|spii|recitation|refus|guardrail|"
    r"inspection|harm|toxic|risk|illegal|violat|copyright|censor|unsafe|armor|forbidden|nsfw|denied|flagged|jailbreak|guideline|"
    r"escalat|^hate|^violence|^sexual"
)
_CUT = re.compile(
    r"length|max(?:imum)?(?:output|new|completion|predicted)?(?:token|output|len)|context|window|tokenlimit|"
    r"outputlimit|truncat|repetit|repeat|tokensexceeded|budgetreached|outoftoken|timelimit|maxtime|"
    r"numberlimit|(?:tokens?|stopped|stop)limit|toolong|cachefull|tokenbudget|budgetexceeded|^tokens?$|^(?:error)?limit$|^(?:infinite)?loop"
)
_FAILED = re.compile(
    r"error|fail|abort|cancel|resource|network|time(?:d)?out|unavailable|overload|exception|interrupt|"
    r"disconnect|exhaust|outofmemory|^oom|^nan$|^hang|busy|dead$|unloaded|userstop|"
    r"malformed|unexpected|crash|kill|evict|preempt|invalid|reject|incomplete|unfinished|toomany|missing|insufficient|"
    r"^internal|^partial|dropped|halted|capacity|lost|closed|shutdown|expired|ratelimit|quota|stall|broken|terminated|deadline|^(?:un)?load$|"
    r"noresponse|inprogress|not(?:yet)?(?:finish|complete|done)|^(?:running|paused|pending|queued|processing|generating|streaming)$"
)
_ENDED = re.compile(
    r"^(?:eo[sgt]|s$|user$|natural|normal|final|end|done)|stop|complete|finish|(?:assistant|text|turn)end$"
)
_LETTERS = re.compile(r"[^a-z0-9]+")


def read_end(word: str) -> str | None:
    """Return how an answer ended: one of `OUR_WORDS`, the vendor's own word if it tells nothing, None for a failure."""
    letters = _LETTERS.sub("", word.lower()).removeprefix("finishreason")
    known = _KNOWN.get(letters)
    if known is not None:
        return known
    for pattern, ours in ((_FILTERED, "content_filter"), (_CUT, "length"), (_FAILED, None)):
        if pattern.search(letters):
            return ours
    return "stop" if _ENDED.search(letters) else word


def is_unfinished(word: str | None) -> bool:
    """Whether a word says that there is more to come, or nothing."""
    return word is None or word in UNFINISHED or word.lower() in ("null", "none", "nil", "undefined")
