"""Extracts values from a text by the name of the field, as a reader would from an email, with simple heuristics.

The text before the first quoted message is searched first, as the newest message of a thread is on top.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(r"https?://[^\s<>\")\]]+")
_PHONE = re.compile(r"\+?\d[\d ()/-]{7,}\d")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_ERROR_CODE = re.compile(
    r"\b0x[0-9A-Fa-f]{2,}\b|\b[A-Z][A-Z0-9]{0,11}(?:[-_][A-Z0-9]{1,12}){0,2}[-_]\d{2,}[A-Z]?\b|\bE\d{3,}\b"
    r"|(?i:\b(?:error|code|fehler|erreur|errore?|código|ошибка|错误|错误码)\s*(?:code\s*)?[:#]?\s*)(\d{3,}\b)"
)
_VERSION = re.compile(r"(?:[A-Z][\w.-]* ){0,3}(?<![\w.])(?:[Vv]ersion |[Vv]\.? ?)?\d+\.\d+(?:\.\w+){0,2}(?![\w.]*@)")
_SYSTEM = re.compile(
    r"\b(?:Windows(?: Server)? (?:XP|Vista|NT|\d+(?:\.\d+)*)(?: (?:Pro|Home|Enterprise))?"
    r"(?: (?:version )?\w*\d{2}\w{2})?"
    r"|(?:mac ?OS|OS X)(?: [A-Z][a-z]+(?: [A-Z][a-z]+)?)?(?: \d+(?:\.\d+)*)?"
    r"|(?:Ubuntu|Debian|Fedora|CentOS|RHEL|Red Hat(?: Enterprise Linux)?|openSUSE|SLES|Rocky Linux|Arch Linux"
    r"|Linux Mint)"
    r"(?: \d+(?:\.\d+)*)?(?: LTS)?"
    r"|(?:Android|iOS|iPadOS|ChromeOS|FreeBSD)(?: \d+(?:\.\d+)*)?|Win ?\d+|Windows|Linux)"
)
_FROM = re.compile(r"(?im)^\s*(?:from|von|de|da|van|发件人)\s*[:：]\s*\"?([^<\"\n]*[^<\"\s])")
_SIGNED = re.compile(
    r"(?im)^[ \t>]*(?:(?:kind|best|warm)?[ \t]*(?:regards|wishes)|best|thanks[^\n]{0,20}|thank you"
    r"|cheers|sincerely|yours\b[^\n]*"
    r"|(?:mit )?(?:freundlichen?|besten|viele|liebe) gr(?:ü|ue)(?:ß|ss)en?|cordialement|bien à vous|merci"
    r"|saludos|atentamente|gracias"
    r"|cordiali saluti|grazie|atenciosamente|obrigad[oa]|met vriendelijke groet|с уважением"
    r"|此致|谢谢|敬上|よろしくお願いします)"
    r"[^\w\n]*\n+[ \t>—-]*([^\W\d_][^\n<@]{1,50}?)[ \t]*$"
)
_I_AM = re.compile(
    r"\b(?:I am|I'm|[Mm]y name is|[Mm]ein Name ist|[Jj]e m'appelle|[Mm]e llamo) ([A-Z][\w'-]+(?: [A-Z][\w'-]+)?)"
)
_SUBJECT = re.compile(
    r"(?im)^\s*(?:subject|betreff|objet|asunto|oggetto|主题)\s*[:：]\s*(?:(?:re|fwd?|aw|wg)\s*:\s*)*(\S[^\n]*)"
)
_SENTENCE = re.compile(r"(?:[^.!?。！？\n]|[.](?=\w)){6,300}[.!?。！？]?")
_HEADER_LINE = re.compile(
    r"(?im)^\s*[\w-]{2,20}\s*[:：][^\n]*$|^\s*(?:dear|hello|hi|hallo|bonjour|hola|sehr geehrte)\b[^\n]*$"
)
_QUOTED = re.compile(r"(?m)^(?:>|-{3,} ?\w|On .{5,120} wrote:|Am .{5,120} schrieb|Le .{5,120} a écrit)")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_CONCERN = re.compile(
    r"(?i)crash|fail|error|cannot|can't|unable|stuck|freez|broken|not work|doesn't|problem|issue|slow|missing|wrong"
    r"|fehler|nicht|erreur|impossible|no puedo|non funziona|错误|无法|失败|崩溃"
)


def _first(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    def find(text: str) -> str | None:
        match = pattern.search(text)
        return (match[match.lastindex or 0]).strip() if match else None

    return find


def _customer(text: str) -> str | None:
    for pattern in (_SIGNED, _FROM, _I_AM):
        name = _first(pattern)(text)
        if name and not _EMAIL.fullmatch(name):
            return name.split(",")[0].strip()
    return None


def _version(text: str) -> str | None:
    """Return a version number that is not the operating system's, a date or an address."""
    for match in _VERSION.finditer(_SYSTEM.sub(" ", text)):
        parts = re.findall(r"\d+", match[0].split()[-1])
        if len(parts) < 4 and len(parts[-1]) < 4:
            return match[0].strip()
    return None


def _sentences(text: str) -> list[str]:
    return [s for s in (m[0].strip() for m in _SENTENCE.finditer(_HEADER_LINE.sub("", text))) if len(s) >= 6]


def _problem(text: str) -> str | None:
    sentences = _sentences(text)
    return (
        next((s for s in sentences if _CONCERN.search(s)), None)
        or _first(_SUBJECT)(text)
        or next(iter(sentences), None)
    )


def _details(text: str) -> str | None:
    problem = _problem(text)
    return next((s for s in reversed(_sentences(text)) if s != problem and len(s) >= 24), None)


# The first rule whose words are all in the name of the field gives the value.
_RULES: tuple[tuple[tuple[str, ...], Callable[[str], str | None]], ...] = (
    (("mail",), _first(_EMAIL)),
    (("phone",), _first(_PHONE)),
    (("url",), _first(_URL)),
    (("error", "code"), _first(_ERROR_CODE)),
    (("error",), _first(_ERROR_CODE)),
    (("operating",), _first(_SYSTEM)),
    (("platform",), _first(_SYSTEM)),
    (("os",), _first(_SYSTEM)),
    (("version",), _version),
    (("subject",), _first(_SUBJECT)),
    (("title",), _first(_SUBJECT)),
    (("date",), _first(_DATE)),
    (("customer",), _customer),
    (("sender",), _customer),
    (("name",), _customer),
    (("problem",), _problem),
    (("issue",), _problem),
    (("summary",), _problem),
    (("description",), _problem),
    (("detail",), _details),
    (("other",), _details),
    (("note",), _details),
)
_WHOLE_WORDS = frozenset({"os"})  # two letters also stand inside other words


def rule_for(name: str) -> Callable[[str], str | None] | None:
    """Return the rule that extracts a field of this name, None if there is none."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z]+", " ", name).lower()
    whole = words.split()
    for keys, find in _RULES:
        if all(key in whole if key in _WHOLE_WORDS else key in words for key in keys):
            return find
    return None


def lift(name: str, text: str) -> str | None:
    """Return the value of the field `name` in `text`; None if it is not found or no rule knows the name."""
    find = rule_for(name)
    if find is None:
        return None
    quoted = _QUOTED.search(text)
    value = find(text[: quoted.start()]) if quoted and quoted.start() > 0 else None
    return value or find(text)


def lift_number(text: str) -> float | None:
    """Return the first number of the text."""
    match = _NUMBER.search(text)
    return float(match[0]) if match else None
