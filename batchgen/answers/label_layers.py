"""What may surround a label without saying anything about it: quotes, brackets, marks of Markdown, tags, tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator

from batchgen.answers.label_words import is_answer_name

_QUOTES = frozenset("\"'`´ʺʻʼ˝‘’‚‛“”„‟«»‹›′″‵‶〝〞〟「」『』｢｣﹁﹂﹃﹄❛❜❝❞❮❯❬❭⹂＂＇｀")
"""Each may open or close: which is which differs from country to country (`„x“`, `“x”`, `”x”`, `»x«`, `«x»`)."""

_OPENING = "([{<〈《【〔〖〘〚⟦⟨⟪❨❪❰❲❴（［｛｟＜﹙﹛﹝|$"
_CLOSING = ")]}>〉》】〕〗〙〛⟧⟩⟫❩❫❱❳❵）］｝｠＞﹚﹜﹞|$"
_BRACKETS = dict(zip(_OPENING, _CLOSING, strict=True))
_PAIRS = (("**", "**"), ("__", "__"), ("``", "''"), ("\\boxed{", "}"), ("\\text{", "}"), ("\\textbf{", "}"),
          ("\\mathrm{", "}"), ("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"))  # fmt: skip
_FENCE = re.compile(r"(`{3,}+|~{3,}+)([\w+-]{0,20})[ \t]*+\n(.*)\1", re.DOTALL)
_FENCE_LINE = re.compile(r"(?:(?:`{3,}|~{3,})([\w+-]{0,20})|json)")
_LANGUAGES = frozenset((
    "text", "txt", "plaintext", "plain", "json", "jsonc", "json5", "python", "py", "yaml", "yml", "xml", "html",
    "markdown", "md", "toml", "csv", "bash", "sh", "javascript", "js", "latex", "tex",
))  # fmt: skip
_TAGGED = re.compile(r"<(\w[\w-]{0,30})>(.*)</\1>", re.DOTALL)
_ONE_TAG = re.compile(r"<(/?)(\w[\w-]{0,30})>")
_SHORT_TAGGED = re.compile(r"<(\w[\w-]{0,30})>\s*+([^<>\n]{1,200})</\1>")
_PLAIN_TAGS = frozenset((
    "b", "strong", "i", "em", "u", "mark", "code", "pre", "p", "span", "div", "li", "h1", "h2", "h3", "h4", "tt",
    "kbd", "samp", "big", "html", "body", "text", "final", "json", "plaintext", "string", "tool_call",
    "tool_calls", "function_call",
))  # fmt: skip
_LEADING = re.compile(r"(?:#{1,6}|[-*•·◦▪►▶➤➡→⇒>]|[-=]>|✅|☑|✔\ufe0f?|👉|\d{1,2}[.)](?=\s)|-?\s?\[[xX]\])\s++")
_FINAL = ".!。！,，;；।۔．｡"
_UNSURE = ".!?,;:…？"
_MOST_LAYERS = 8
_ENDS = (
    "</s>", "<eos>", "<EOS>", "<eot>", "<EOT>", "<eod>", "<end_of_turn>", "<end_of_utterance>", "<turn|>", "<pad>",
    "<unk>", "[EOS]", "[/INST]", "[|endofturn|]", "[e~[", "<end_of_text>", "<endoftext>", "<extra_id_1>", "<_end>",
    "<|>", "<0x0A>", "<end>", "<SPECIAL_12>", "<|im_end|", "<end_of_sentence>", "<sep>",
)  # fmt: skip
_BARS = (("|>", "<|"), ("｜>", "<｜"))
_LONGEST_TOKEN = 40
_BEGINNING = re.compile(
    r"\s*+(?:(?:<[|｜](?:im_start|start|start_header_id|assistant|Assistant|bot|begin_of_text|START_OF_TURN_TOKEN"
    r"|CHATBOT_TOKEN|role_start|start_of_role)[|｜]>|<start_of_turn>|<bos>|\[/INST\])\s*+)*+"
    r"(?:(?:assistant|model)(?:<\|[\w ]{1,30}\|>\s*+|[ \t]*+[:：]\s++|[ \t]*+\n\s*+))?+",
    re.IGNORECASE,
)


def without_tokens(text: str) -> str:
    """Return a text without the tokens of a chat template that a server has left at its beginning and its end."""
    end = len(text)
    while end:
        before = end
        while end and text[end - 1].isspace():
            end -= 1
        if text.endswith(_ENDS, 0, end):
            end -= len(next(token for token in _ENDS if text.endswith(token, 0, end)))
        for closing, opening in _BARS:
            if text.endswith(closing, 0, end):
                start = text.rfind(opening, max(0, end - _LONGEST_TOKEN), end)
                end = start if start >= 0 else end
        if end == before:
            break
    found = text[:end]
    if text[end:].strip() == "</s>" and "<s>" in found:  # HTML's mark for what is struck out
        return text
    beginning = _BEGINNING.match(found)
    return found[beginning.end() :].strip() if beginning else found


def tags_apart(text: str) -> str:
    """Return a text with each tagged word on a line of its own."""
    return _SHORT_TAGGED.sub(r"\n<\1>\2</\1>\n", text) if "</" in text else text


def layers(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield a text, and what is left of it each time a layer is taken off: (before, text, after).

    A layer is a pair of quotes, brackets or marks of Markdown, a known tag, a bullet, or one final sign of punctuation;
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


def is_fence(line: str) -> bool:
    """Whether a line opens or closes a fence."""
    found = _FENCE_LINE.fullmatch(line.strip())
    return found is not None and (not found[1] or found[1].lower() in _LANGUAGES or is_answer_name(found[1]))


def in_answer_tag(line: str) -> bool:
    """Whether a line begins with a tag for the answer."""
    tag = _ONE_TAG.match(line.strip())
    return tag is not None and is_answer_name(tag[2])


def is_known_tag(line: str) -> bool:
    """Whether a line is one tag that says nothing about what it holds."""
    tag = _ONE_TAG.fullmatch(line.strip())
    return tag is not None and (tag[2].lower() in _PLAIN_TAGS or is_answer_name(tag[2]))


def quoted(text: str) -> bool:
    """Whether quotes, brackets or marks stand round a whole text, final punctuation aside."""
    return any(before and after and not before.startswith("<") for before, _, after in list(layers(text))[:3])


def _layer(text: str) -> tuple[str, str, str]:
    if text[:1] == "<" and (tag := _ONE_TAG.match(text)) is not None and (tag.end() < len(text) or tag[1]):
        tagged = _TAGGED.fullmatch(text)
        if not (tag[2].lower() in _PLAIN_TAGS or is_answer_name(tag[2])):
            return "", text, ""
        if tagged is not None:
            return f"<{tagged[1]}>", tagged[2], f"</{tagged[1]}>"
        if not tag[1] and "<" not in text[tag.end() :]:  # a stop sequence has cut the closing tag
            return tag[0], text[tag.end() :], ""
    if text[-1:] == ">" and text[:1] != "<" and (start := text.rfind("</")) > 0:  # the prompt had the opening tag
        tag = _ONE_TAG.fullmatch(text, start)
        if tag is not None and is_answer_name(tag[2]):
            return "", text[:start], tag[0]
    fence = _FENCE.fullmatch(text)
    if fence is not None and (fence[2].lower() in _LANGUAGES or not fence[2] or is_answer_name(fence[2])):
        return text[: fence.start(3)], fence[3], fence[1]
    if text.startswith("```") and text.endswith("```") and len(text) > 6:
        return "```", text[3:-3], "```"
    for opening, closing in _PAIRS:
        if len(text) > len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing):
            return opening, text[len(opening) : -len(closing)], closing
    first, last = text[:1], text[-1:]
    if len(text) > 2 and (
        _BRACKETS.get(first) == last
        or (first in _QUOTES and last in _QUOTES)
        or (first == last and first in "*_" and text[1] != " ")
    ):
        return first, text[1:-1], last
    if last == ")" and "(" not in text and len(text) > 1:  # `B)` from a list
        return "", text[:-1], last
    if last in _FINAL and text[-2:-1] not in _UNSURE:
        return "", text[:-1], last
    leading = _LEADING.match(text)
    return (leading[0], text[leading.end() :], "") if leading else ("", text, "")
