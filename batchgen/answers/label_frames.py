"""Where an answer in prose gives its label: the frames in which a mention counts.

A label may be named to deny it, to doubt it or to weigh it against another, in any language, and no list of negations
is ever complete. So a mention counts only in a line whose other words are all known (`label_words.toml`): a name for
the answer and the label after it (`Category: X`, `The answer is X`), a sentence that classifies (`I would classify this
email as X.`), or the label alone. What stands before and after that line must be known as well, or end before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from enum import Enum

from msgspec import Struct

from batchgen.answers.label_layers import is_fence, is_known_tag, quoted
from batchgen.answers.label_words import Words, known_words

_MOST_WORDS = 40
_MOST_TAIL_WORDS = 12
_MOST_NAME_WORDS = 4
_MARKS = " :：=–—-"
_FEWEST_BLANKS = 2  # of a sentence
_BLANKLESS = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]{6}")
_BULLET = re.compile(r"[\s>*•·#-]*+")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？।])[\"'”’)*]{0,3}(?:\s++|(?<=[。！？।]))")
_ENDED = re.compile(r"[.!。！।۔｡][\"'”’»)\]*_`]{0,4}\Z")
_OPEN = re.compile(r"[^\w.!?。！？।۔｡)\]}>\"'”’»*_`%€$]\Z")
_RULE = re.compile(r"[\W_]*+\Z")
_WORD = re.compile(r"[^\s()（）\[\],;，；:：=–—%％]+")
_ITEM = re.compile(r"\s*+(?:[-*•>|]|\d{1,2}[.)]|[^:：]{1,30}[:：]\s+\S)")
_NUMBER = re.compile(r"(\d{1,3})(?:[.,](\d{1,6}))?(?:/\d{1,3})?")
_TAG = re.compile(r"\s*+<(\w[\w-]{0,30})>")
_COUNTING = re.compile(
    r"no|none|non|any|all|both|some|many|few|zero|one|two|kein|keine|aucun|aucune|nessun|nessuna|ning[uú]n|ningun[oa]|nenhum"
    r"|nenhuma|geen|ingen|inget|brak|žádný|žádná|nu|nici|нет|никакой|hiçbir|[\d.,+-]+",
    re.IGNORECASE,
)
"""A label that before a noun says how many there are: `no answer`, `0 results`."""
_GREETINGS = frozenset(("here", "sure", "voici", "hier", "okay", "ok", "certainly"))
_GOODBYE = re.compile(
    r"(?:please |feel free to )?(?:let me know|(?:i )?hope (?:this|it)|feel free|is there anything else"
    r"|would you like)\b",
    re.IGNORECASE,
)


class LineKind(Enum):
    """The kinds of line that give no label themselves."""

    BLANK = "nothing, or signs without words"
    HEADING = "announces the label"
    REASON = "begins the reason"
    SURENESS = "says how sure the label is"
    OTHER = "anything else"


class LabelFrame(Struct, frozen=True):
    """A line in which a label may be given: what may be the label, the surest first.

    With each goes whether the words before it have a name for the answer; else what follows must have one, or the label
    be quoted. `named`: there is such a name, and something after it.
    """

    rests: tuple[tuple[str, bool], ...]
    named: bool


def frame(line: str) -> LabelFrame:
    """Return the places of a line where a label may begin."""
    rests = tuple((_without_half_marks(line[start:]), named) for start, named in _scan(line, known_words())[0])
    return LabelFrame(rests, any(named and not _RULE.match(rest) for rest, named in rests))


def _scan(line: str, words: Words) -> tuple[list[tuple[int, bool]], bool, bool]:
    """Return the places after words that a label may follow, each with whether the answer has been named before it.

    And whether all of the line is known, and whether it names the answer.
    """
    found: list[tuple[int, bool]] = []
    place = _BULLET.match(line).end()  # type: ignore[union-attr]  # it matches always
    named = verb = False
    first = True
    for _ in range(_MOST_WORDS):
        token = words.token.match(line, place)
        if token is None:
            break
        place = token.end()
        kind = token.lastgroup
        if kind == "sep":
            if not first:
                found.append((place, named))
        elif kind in ("word", "piece"):
            word = token[0].casefold()
            if first and (word in words.questions or word in words.as_):
                return [], False, False
            if word in words.as_:
                found.append((place, named))
            pivot = word in words.copulas
            if word in words.verbs:
                named = verb = pivot = True
            elif word in words.nouns:
                named = pivot = True
            elif not (pivot or word in words.neutral or word in words.as_):
                return found, False, named
            if (pivot or verb) and not (found and found[-1][0] == place):
                found.append((place, named))
            first = False
    return found, place == len(line), named


def _without_half_marks(rest: str) -> str:
    """Return what follows a marker without the half of a mark that is the marker's: `**Label:** x`."""
    rest = rest.strip()
    for mark in ("**", "__", "*"):
        if rest.startswith(mark) and rest.count(mark) == 1 and len(rest) > len(mark):
            rest = rest.removeprefix(mark).strip()
    return rest


def mentions(rest: str, *, named: bool) -> Iterator[str]:
    """Yield what may be the label in the rest of a frame: all of it, and what is left without a known tail."""
    words = known_words()
    if named or quoted(rest):
        yield rest
        shorter = without_confidence(rest)
        if shorter != rest:
            yield shorter
            rest = shorter
        rest = rest.rstrip(" .。!！")
        shorter = rest
        for _ in range(3):
            piece = next((piece for piece in words.pieces if shorter.endswith(piece)), None)
            if piece is None:
                break
            shorter = shorter.removesuffix(piece).rstrip()
            yield shorter
    end, tail_named = len(rest.rstrip(" .。")), False
    rest = rest[:end]
    for _ in range(_MOST_TAIL_WORDS):
        start = rest.rfind(" ", 0, end) + 1
        word = rest[start:end].strip("*_\"'`,”’“‘").casefold()
        if start == 0 or not (word in words.tails or word in words.neutral):
            return
        tail_named = tail_named or word in words.nouns or word in words.verbs
        end = start - 1
        if not rest[:end].strip(_MARKS):
            return  # the marker's own sign: in `Label: è` the last word is the label, whatever it means elsewhere
        if word in words.tails and (named or tail_named) and (word in words.copulas or not _counts(rest[:end])):
            yield rest[:end]


def label_first(line: str) -> Iterator[str]:
    """Yield what stands before `is the label`."""
    words = known_words()
    for mention in mentions(line, named=False):
        following = line[len(mention) :].split()
        first = following[0].casefold().strip("*_.\"'`") if following else ""
        if first in words.copulas or (len(following) == 1 and first in words.nouns and not _counts(mention)):
            yield mention


def _counts(text: str) -> bool:
    return _COUNTING.fullmatch(text.strip()) is not None


def without_confidence(rest: str) -> str:
    """Return a text without a remark at its end on how sure it is: `(95%)`, `- high confidence`."""
    trimmed = rest.rstrip(" .。")
    for opening in (" (", "(", "（", " [", " - ", " – ", " — ", ", ", "; "):
        start = trimmed.rfind(opening)
        if start > 0 and is_sure(trimmed[start:].strip("()（）[] -–—,;")):
            return trimmed[:start].strip()
    return rest


def is_sure(remark: str) -> bool:
    """Whether a text only says how sure something is, and not that it is not sure at all."""
    words, seen = known_words(), False
    for found in _WORD.findall(remark[:80].casefold()):
        word = found.strip("*_.\"'")
        number = _NUMBER.fullmatch(word)
        if number is not None:
            if not (number[1] + (number[2] or "")).strip("0"):
                return False
        elif word and not (word in words.sureness or (seen and word in words.neutral)):
            return False
        seen = seen or bool(word)
    return seen


def line_kind(line: str) -> LineKind:
    """Return the kind of a line that gives no label itself."""
    if _RULE.match(line) or is_fence(line) or is_known_tag(line):
        return LineKind.BLANK
    words = known_words()
    tag = _TAG.match(line)
    if tag is not None and tag[1].casefold() in words.reasons:
        return LineKind.REASON
    start = _BULLET.match(line).end()  # type: ignore[union-attr]  # it matches always
    head = re.split(r"[:：]", line[start : start + 60], maxsplit=1)[0]
    names = [word.strip("*_.\"'`").casefold() for word in head.split()]
    known = words.reasons | words.neutral | words.nouns
    if names and len(names) <= _MOST_NAME_WORDS and names[-1] in words.reasons and known.issuperset(names):
        return LineKind.REASON
    if is_sure(line[start:].strip().rstrip(".")):
        return LineKind.SURENESS
    _, whole, named = _scan(line, words)
    announces = named or not _GREETINGS.isdisjoint(re.findall(r"\w+", line.casefold()))
    return LineKind.HEADING if whole and announces else LineKind.OTHER


def may_precede(lines: Sequence[str], *, alone: bool) -> bool:
    """Whether these lines may precede a frame: the last one announces it, or is a sentence that has ended.

    `alone`: the frame is a label alone, which must be a paragraph of its own then. Otherwise the last line may be the
    item of a list too, unless it points forward (`This is not:`).
    """
    apart = False
    for line in reversed(lines):
        if not line.strip():
            apart = True
            continue
        kind = line_kind(line)
        if kind is LineKind.BLANK:
            apart = True
            continue
        if kind is LineKind.HEADING:
            return True
        text = line.rstrip()
        if alone:
            return apart and _is_sentence(text)
        if _OPEN.search(text):
            return False
        return kind is not LineKind.OTHER or _is_sentence(text) or _ITEM.match(text) is not None
    return True


def _is_sentence(text: str) -> bool:
    """Whether a text ends as a sentence does, and is not just a word or two, which may be said of what follows."""
    return _ENDED.search(text) is not None and (
        text.count(" ") >= _FEWEST_BLANKS or _BLANKLESS.search(text) is not None
    )


def may_follow(lines: Sequence[str]) -> bool:
    """Whether these lines may follow a label: how sure it is, and why."""
    for line in lines:
        kind = line_kind(line) if line.strip() else LineKind.BLANK
        if kind is LineKind.REASON:
            return True
        if kind not in (LineKind.BLANK, LineKind.SURENESS) and not _GOODBYE.match(line.strip()):
            return False
    return True


def last_sentence(line: str, longest: int) -> tuple[str, str]:
    """Return what stands before the last sentence of a line, and that sentence."""
    tail = line[-longest:]
    ends = [match.end() for match in _SENTENCE_END.finditer(tail.rstrip(" \t"))]
    inner = [end for end in ends if end < len(tail.rstrip())]
    if inner and _GOODBYE.match(tail[inner[-1] :]):
        line, tail = line[: len(line) - len(tail) + inner[-1]], tail[: inner.pop()]
    if not inner or not _is_sentence(tail[: inner[-1]].rstrip()):
        return "", line
    place = len(line) - (len(tail) - inner[-1])
    return line[:place], line[place:]
