"""The words of `label_words.toml`: which of them a text is made up of."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

from msgspec import Struct

_PLAIN_NAMES = frozenset(("value", "values", "name", "names", "text", "content", "data"))
_NAME_GAP = re.compile(r"[\W\d_]++|(?<=[a-z])(?=[A-Z])")
_QUESTIONS = frozenset((
    "should", "would", "will", "was", "were", "is", "are", "be", "ist", "wäre", "est", "es", "é", "è", "är", "er",
    "jest", "do", "does", "did", "could", "can", "sind", "sono", "són",
))  # fmt: skip
_NO_BLANKS = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_MARKS = r"\s!-/:-@\[-`{-~¡-¿‐-⁞←-⇿─-➿\u3000-\u303f\uff00-\uff20"


class Words(Struct, frozen=True):
    """The lists of all languages together, and `token`, which takes a line apart."""

    nouns: frozenset[str]
    verbs: frozenset[str]
    copulas: frozenset[str]
    as_: frozenset[str]
    neutral: frozenset[str]
    reasons: frozenset[str]
    sureness: frozenset[str]
    tails: frozenset[str]
    questions: frozenset[str]
    pieces: tuple[str, ...]
    token: re.Pattern[str]


@cache
def known_words() -> Words:
    """Return the lists, read when they are first needed."""
    languages = tomllib.loads((Path(__file__).with_name("label_words.toml")).read_text(encoding="utf-8"))

    def all_of(name: str) -> frozenset[str]:
        return frozenset(word for words in languages.values() for word in words.get(name, "").casefold().split())

    nouns, verbs, copulas = all_of("nouns"), all_of("verbs"), all_of("copulas")
    glued = {
        word
        for words in languages.values()
        if "pieces" in words
        for name in ("pieces", "nouns", "verbs", "copulas")
        for word in words.get(name, "").split()
    }
    pieces = tuple(sorted(glued, key=len, reverse=True))
    token = re.compile(
        rf"(?P<gap>[\s,.*_#\"'`´“”„‘’‚«»‹›「」『』•·，、]++|(?<=\w)[!-](?=[\s\w])(?<!\s-)|(?<=\w)!\Z)"
        rf"|(?P<sep>-+>|=>|==?|[:：﹕︰꞉＝→⇒➔➜➡|｜—–―]|(?<=\s)-(?=\s))"
        rf"|(?P<number>\d{{1,3}}(?=[\s.):：]))"
        rf"|(?P<piece>{'|'.join(map(re.escape, pieces))})"
        rf"|(?P<word>[^{_MARKS}{_NO_BLANKS}\d]++)"
    )
    return Words(
        nouns=nouns,
        verbs=verbs,
        copulas=copulas,
        as_=all_of("as"),
        neutral=all_of("neutral") | all_of("pieces"),
        reasons=all_of("reasons"),
        sureness=all_of("sureness"),
        tails=nouns
        | verbs
        | copulas
        | frozenset(("for", "of", "für", "pour", "para", "per", "voor", "olarak", "email", "message")),
        questions=_QUESTIONS,
        pieces=pieces,
        token=token,
    )


@cache
def name_parts(name: str) -> tuple[str, ...]:
    """Return the words of a key or tag: `final_answer` and `finalAnswer` have two."""
    return tuple(part.casefold() for part in _NAME_GAP.split(name[:60]) if part)


def is_answer_name(name: str) -> bool:
    """Whether a key or tag says that it holds the answer: its words are known, and the last one is a noun for it."""
    words, parts = known_words(), name_parts(name)
    known = words.nouns | words.neutral
    return bool(parts) and parts[-1] in words.nouns and known.issuperset(parts)


def is_plain_name(name: str) -> bool:
    """Whether a key says nothing at all about what it holds."""
    return name.casefold() in _PLAIN_NAMES
