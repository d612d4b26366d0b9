"""How many tokens a prompt has before it is sent: exact where the model's vocabulary is at hand, else by a stated rule.

What is billed is the `usage` of the reply; this is for estimates, budgets and pace. Rules and their sources:

- Qwen 1 to 3: 151,643 byte pairs, ChatML: `<|im_start|>role\\ncontent<|im_end|>\\n` a message, then
  `<|im_start|>assistant\\n`. Role and content are tokenized together, since a line end at the start of the content
  merges with the one before it. Agrees with the samples of Model Studio's pages (tests/test_tokens.py).
  A self-hosted server may add a default system message or an empty thinking block.
- OpenAI: three tokens and the role a message, three for the answer's start (OpenAI's cookbook).
- Text that spells a control token is counted as the text it is.
- Tools: their JSON and the frame Qwen's published template puts round them; close, not exact. What is not
  text counts nothing (`tokens.hidden` names it).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

from msgspec import Struct

from batchgen.tokens.parameters import effective_parameters
from batchgen.tokens.scripts import BAND, count_by_script
from batchgen.tokens.vocabularies import VocabularyMissing, openai_vocabulary, qwen_vocabulary
from batchgen.values import Message, Prompt

TOOLS_FRAME = 88
"""Tokens of Qwen2.5's and Qwen3's template round a list of tools (measured with the vocabulary)."""

_TOOL_CALL_FRAME = 4  # an opening and a closing mark and two line ends
_PROMPT_BOUND = 96  # more tokens than any known template adds: the answer's start, a default system message, a date
_TOOLS_BOUND = 640  # bytes of the instructions round tools

# A figure before "b" is a size, not a version: qwen-72b-chat is Qwen 1.
_OLDER_QWEN = re.compile(r"(qwen|qwq|qvq)(?!-?(3\.[5-9]|[4-9](?!\d*b)))")
_NEWER_QWEN = re.compile(r"qwen-?(3\.[5-9]|[4-9](?!\d*b))")
_O200K = re.compile(r"(ft:)?(chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|o[134]\b)")
_CL100K = re.compile(r"(ft:)?gpt-(4|3\.5|35)\b")
_NEWER_OPENAI = re.compile(r"(ft:)?gpt-([5-9]|oss)")

_ASSUMED_BAND = (0.75, 1.15)
"""For a model counted with the vocabulary of its predecessor: a judgement, not a measurement. Newer vocabularies are
larger and merge more."""


class _Template(Struct, frozen=True):
    """Tokens that a chat template adds: per message, for the answer's start; whether role and content are one text."""

    message: int
    answer: int
    joined: bool = False


_CHATML = _Template(message=3, answer=3, joined=True)
_OPENAI = _Template(message=4, answer=3)
_UNKNOWN = _Template(message=5, answer=3)


class TokenCounter:
    """Counts for one model.

    `name`: the vocabulary or rule. `method`: "exact", or "rule" when the true count may lie between count × `band[0]`
    and count × `band[1]`. `note`: why it is not exact and what to do, where something can be done.
    """

    __slots__ = ("_template", "band", "count_text", "method", "name", "note")

    def __init__(
        self,
        name: str,
        count_text: Callable[[str], int],
        template: _Template,
        *,
        band: tuple[float, float] | None = None,
        note: str | None = None,
    ) -> None:
        self.name = name
        self.method: Literal["exact", "rule"] = "rule" if band else "exact"
        self.band = band or (1.0, 1.0)
        self.note = note
        self.count_text = count_text
        self._template = template

    def __repr__(self) -> str:
        return f"TokenCounter({self.name!r}, {self.method})"

    def count(self, prompt: Prompt, parameters: Mapping[str, Any] | None = None) -> int:
        """Return the input tokens of a prompt as the chat template renders it.

        `parameters`: the job's; `tools` in them count. The prompt's own parameters win.
        """
        template, count = self._template, self.count_text
        total = template.answer
        for message in _messages(prompt):
            role = "user" if message.get("role") == "tool" else str(message.get("role", "user"))
            content = _content(message)
            total += template.message + count(f"{role}\n{content}" if template.joined else content)
            for call in message.get("tool_calls") or ():
                total += _TOOL_CALL_FRAME + count(_json(call.get("function", call)))
            if message.get("role") == "tool":
                total += _TOOL_CALL_FRAME
        if tools := effective_parameters(parameters or {}, prompt.parameters).get("tools"):
            total += TOOLS_FRAME + sum(1 + count(_json(tool)) for tool in tools)
        return total


@lru_cache(maxsize=256)
def counter_for(model: str) -> TokenCounter:
    """Return the best counter this machine has for a model. Never touches the network; loading takes about 0.2 s once.

    `qwen-plus`, `-max`, `-flash`, `-turbo` and `-long` count as Qwen3 or older; a name with an organisation before a
    slash counts as without it.
    """
    name = model.rsplit("/", 1)[-1].lower()
    try:
        if _OLDER_QWEN.match(name):
            return TokenCounter("Qwen vocabulary", qwen_vocabulary().count, _CHATML)
        if _NEWER_QWEN.match(name):
            return TokenCounter(
                "Qwen vocabulary (up to Qwen3)",
                qwen_vocabulary().count,
                _CHATML,
                band=_ASSUMED_BAND,
                note=f"{model} has a larger vocabulary that is not published with the SDK.",
            )
        if _O200K.match(name):
            return TokenCounter("o200k_base", openai_vocabulary("o200k_base").count, _OPENAI)
        if _CL100K.match(name):
            return TokenCounter("cl100k_base", openai_vocabulary("cl100k_base").count, _OPENAI)
        if _NEWER_OPENAI.match(name):
            return TokenCounter(
                "o200k_base",
                openai_vocabulary("o200k_base").count,
                _OPENAI,
                band=_ASSUMED_BAND,
                note=f"It is not known which vocabulary {model} has; the last known one is used.",
            )
    except VocabularyMissing as error:
        return _rule_counter(f"Not counted with the model's own vocabulary: {error}.")
    return _rule_counter(None)


def rough_tokens(size: int | str) -> int:
    """Return a quick guess from a text, or from the length of a request body in bytes.

    A token is about 4.8 bytes of English prose and 5 of Chinese, less in code and JSON: four here. Numbers are dearer.
    """
    if isinstance(size, str):
        size = len(size) if size.isascii() else len(size.encode("utf-8", "replace"))
    return size // 4 + 1


def text_bound(body: bytes, added: int = 0) -> int:
    """Return more tokens than the text of a request can have in any byte-level vocabulary.

    A token is at least one byte of UTF-8 (of NFC text, which may be longer), and a request's JSON is longer than its
    text; what templates add to a prompt comes on top, and `added` (see `template_bound`).
    """
    size = len(body)
    if not body.isascii():
        text = body.decode("utf-8", "replace")
        if not unicodedata.is_normalized("NFC", text):
            size = len(unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass"))
    return size + _PROMPT_BOUND + added


def template_bound(parameters: Mapping[str, Any]) -> int:
    """Return the most tokens that a template puts round the tools and the answer's schema in the parameters."""
    added = 0
    for key in ("tools", "response_format"):
        if value := parameters.get(key):
            text = _json(value)
            added += _TOOLS_BOUND + text.count(": ") + text.count(", ")  # blanks that the request's JSON does not have
    return added


def _rule_counter(note: str | None) -> TokenCounter:
    return TokenCounter("characters by script", count_by_script, _UNKNOWN, band=BAND, note=note)


def _messages(prompt: Prompt) -> Iterator[Message]:
    """Yield the messages of either form of a prompt."""
    yield from prompt.messages
    for turn in prompt.history:
        yield {"role": "user", "content": turn.get("user", "")}
        yield {"role": "assistant", "content": turn.get("bot", "")}
    if prompt.text is not None:
        yield {"role": "user", "content": prompt.text}


def _content(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content or () if _is_text(part))


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and isinstance(part.get("text"), str)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # with blanks after commas and colons, as templates write it
