"""Where an answer in prose gives its label: the frames in which a mention counts.

A label may be named to deny it, to doubt it or to weigh it against another, in any language, and no list of negations
is ever complete. So only these places count, and always the whole line: the label alone, after a marker (`Category: X`,
`The answer is X`), or in a sentence that classifies (`I would classify this email as X.`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PAIRS = (
    ("```", "```"), ("**", "**"), ("__", "__"), ("\\boxed{", "}"), ("\\text{", "}"), ("$", "$"),
    ("*", "*"), ("_", "_"), ("`", "`"), ('"', '"'), ("'", "'"), ("“", "”"), ("„", "“"), ("”", "”"),
    ("‘", "’"), ("«", "»"), ("»", "«"), ("「", "」"), ("『", "』"), ("【", "】"), ("《", "》"), ("[", "]"), ("(", ")"),
    ("（", "）"), ("{", "}"), ("<", ">"),
)  # fmt: skip
_TAGGED = re.compile(r"<(\w{1,30})>(.*)</\1>", re.DOTALL)
_LEADING = re.compile(r"(?:#{1,6}|[-*•·>]|✅|☑|👉)\s++")
_FINAL = ".!。！,，;；"
_UNSURE = ".!?,;:…？"
_MOST_LAYERS = 8
_NOUN = (
    "label|category|class|classification|answer|verdict|prediction|result|output|decision|conclusion|sentiment|intent|"
    "topic|rating|score|grade|标签|类别|分类|答案|结果|标记|カテゴリー?|ラベル|回答|分類|答え|라벨|레이블|분류|답변?|카테고리|"
    "kategorie|klasse|antwort|klassifikation|klassifizierung|catégorie|classe|réponse|étiquette|categoría|clase|"
    "respuesta|etiqueta|categoria|risposta|etichetta|resposta|categorie|kategoria|odpowiedź|etykieta|категория|класс|"
    "ответ|метка|kategori|etiket|cevap|svar|etikett|nhãn|câu trả lời|label prediksi|الفئة|الإجابة|श्रेणी|उत्तर"
)
_THING = (
    "email|e-mail|mail|message|text|ticket|review|document|comment|post|article|request|question|sentence|tweet|row"
)
_SURE = (
    "the|my|die|der|das|meine|la|le|ma|el|mi|il|lo|a|o|minha|de|het|final|predicted|correct|best|right|overall|assigned|"
    "chosen|primary|main|most|likely|appropriate"
)
_INTRO = r"(?:(?:so|therefore|thus|hence|overall|in conclusion|in summary)[,:]?\s++)?"
_MARKER = re.compile(
    rf"[\s>*_#•\"'`(\[{{-]{{0,12}}{_INTRO}(?:(?:{_SURE}|{_THING})\s++){{0,4}}(?:{_NOUN})s?[*_`\"']{{0,3}}"
    rf"(?:\s++(?:of|for)\s++(?:this|the)\s++(?:{_THING}))?\s*+"
    r"(?::|=|：|→|-+>|=>|(?:is|are|would be|should be|ist|est|es|è|é)(?=[\s:])\s*+:?)(?P<rest>.*)",
    re.IGNORECASE,
)
_SUBJECT = rf"(?:this|it|(?:this|the)\s++(?:\w++\s++)?(?:{_THING}))"
_CLASSIFIED = re.compile(
    rf"{_INTRO}(?:(?:i|we)(?:['’]d|['’]ll|\s++would|\s++will|\s++have)?\s++"
    rf"(?:classify|classified|label|labell?ed|categori[sz]ed?|tag|tagged|mark|marked|rate|rated)\s++{_SUBJECT}\s++as"
    rf"|{_SUBJECT}\s++(?:is|was|should\s++be)\s++(?:best\s++)?(?:described|classified|labell?ed|categori[sz]ed|tagged|marked|rated)\s++as"
    rf"|{_SUBJECT}\s++(?:belongs\s++to|falls\s++under|falls\s++into)(?:\s++the\s++(?:category|class|label))?"
    rf"|{_SUBJECT}\s++is(?:\s++(?:a|an|the\s++label|the\s++category))?(?=\s++(?:\*\*|[\"“'‘`«「])))"
    r"(?P<rest>.*)",
    re.IGNORECASE,
)
_SURENESS = re.compile(
    r"\s*+\((?:confidence|probability|score)?[\s:=]*+\d{1,3}(?:\.\d{1,6})?\s?%?\)[.]?\Z", re.IGNORECASE
)
_HEADING = re.compile(rf"[\s>*_#-]{{0,12}}(?:(?:{_SURE})\s++){{0,3}}(?:{_NOUN})s?[:：*_\s]*+\Z", re.IGNORECASE)
_LONGEST_WORD = 12


def layers(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield a text, and what is left of it each time a layer is taken off: (before, text, after).

    A layer is a pair of quotes, brackets or marks of Markdown, a tag, a bullet, or one final sign of punctuation;
    `before` and `after` are the layer.
    """
    before = after = ""
    text = text.strip()
    for _ in range(_MOST_LAYERS):
        yield before, text, after
        before, text, after = _layer(text)
        text = text.strip()
        if not text or not (before or after):
            return


def _layer(text: str) -> tuple[str, str, str]:
    tagged = _TAGGED.fullmatch(text)
    if tagged is not None:
        return f"<{tagged[1]}>", tagged[2], f"</{tagged[1]}>"
    for opening, closing in _PAIRS:
        if len(text) > len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing):
            return opening, text[len(opening) : -len(closing)], closing
    if text[-1:] in _FINAL and text[-2:-1] not in _UNSURE:
        return "", text[:-1], text[-1:]
    leading = _LEADING.match(text)
    return (leading[0], text[leading.end() :], "") if leading else ("", text, "")


def after_frame(line: str) -> str | None:
    """Return what a line says after a marker, or as what it classifies the row; None where it does neither."""
    match = _MARKER.match(line) or _CLASSIFIED.match(line)
    if match is None:
        return None
    rest = match["rest"].strip()
    for mark in ("**", "__", "*"):  # the marker itself was in bold: `**Label:** x`
        rest = rest.removeprefix(mark) if rest.count(mark) == 1 else rest
    return _SURENESS.sub("", rest).strip()


def is_reply(line: str) -> bool:
    """Whether a line is one short word, such as may answer or deny the line before it."""
    word = line.strip()
    return len(word) <= _LONGEST_WORD and " " not in word and any(map(str.isalpha, word)) and not is_heading(line)


def is_heading(line: str) -> bool:
    """Whether a line only announces the label."""
    return _HEADING.match(line) is not None
