"""Counts a prompt's tokens before it is sent: exactly where the model's vocabulary is installed, else by a rule.

The counts are for estimates, budgets and pace; billed is what the reply reports as `usage`. Rules and their sources:

- Qwen 1 to 3: 151,643 byte pairs, ChatML: `<|im_start|>role\\ncontent<|im_end|>\\n` a message, then
  `<|im_start|>assistant\\n`. Role and content are tokenized together, since a line end at the start of the content
  merges with the one before it. This agrees with the samples of Model Studio's pages (tests/tokens/test_count.py).
  A self-hosted server may add a default system message or an empty thinking block.
- OpenAI: each message has three tokens and its role besides its text, the start of the answer has three (OpenAI's
  cookbook).
- The name of a control token within a text is counted as ordinary text.
- Tools: their JSON and the text that Qwen's published template puts around them; close, but not exact.
- Content that is not text is not counted (see `tokens.hidden`).
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
"""Tokens that Qwen2.5's and Qwen3's template puts around a list of tools (measured with the vocabulary)."""

_TOOL_CALL_FRAME = 4  # an opening and a closing mark and two line ends
_PROMPT_BOUND = 96  # more tokens than any known template adds: the answer's start, a default system message, a date
_TOOLS_BOUND = 640  # bytes of the instructions that templates put around tools

# A figure before "b" is a size, not a version: qwen-72b-chat is Qwen 1.
_OLDER_QWEN = re.compile(r"(qwen|qwq|qvq)(?!-?(3\.[5-9]|[4-9](?!\d*b)))")
_NEWER_QWEN = re.compile(r"qwen-?(3\.[5-9]|[4-9](?!\d*b))")
_O200K = re.compile(r"(ft:)?(chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|o[134]\b)")
_CL100K = re.compile(r"(ft:)?gpt-(4|3\.5|35)\b")
_NEWER_OPENAI = re.compile(r"(ft:)?gpt-([5-9]|oss)")

_ASSUMED_BAND = (0.75, 1.15)
"""The band for a model that is counted with its predecessor's vocabulary. It is a judgement, not a measurement: newer
vocabularies are larger and give fewer tokens."""


class _Template(Struct, frozen=True):
    """Tokens that a chat template adds to each message and for the start of the answer; `joined`: role and content are
    tokenized as one text."""

    message: int
    answer: int
    joined: bool = False


_CHATML = _Template(message=3, answer=3, joined=True)
_OPENAI = _Template(message=4, answer=3)
_UNKNOWN = _Template(message=5, answer=3)


class TokenCounter:
    """Counts the tokens of prompts for one model.

    `name` is the vocabulary or the rule. `method` is "exact", or "rule" if the true count lies between count ×
    `band[0]` and count × `band[1]`. `note` says why the count is not exact and what the user can do about it.
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
        """Return the input tokens of a prompt, rendered by the model's chat template.

        `parameters` are the job's, over which the prompt's own win; `tools` in them are counted.
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
    """Return the best counter that this machine has for a model. It uses no network; the first call takes about 0.2 s.

    `qwen-plus`, `-max`, `-flash`, `-turbo` and `-long` are taken for Qwen3 or older. An organisation before a slash in
    the name is ignored.
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
    """Return a quick guess at the tokens of a text, or of a request body of so many bytes.

    It takes four bytes for a token. English prose has about 4.8 and Chinese 5; code and JSON have fewer, numbers
    fewest.
    """
    if isinstance(size, str):
        size = len(size) if size.isascii() else len(size.encode("utf-8", "replace"))
    return size // 4 + 1


def text_bound(body: bytes, added: int = 0) -> int:
    """Return an upper bound on the tokens of a request's text in any byte-level vocabulary.

    A token has at least one byte of UTF-8 (of the text in NFC, which may be longer), and a request's JSON is longer
    than its text. What templates add to a prompt comes on top, and `added` tokens (see `template_bound`).
    """
    size = len(body)
    if not body.isascii():
        text = body.decode("utf-8", "replace")
        if not unicodedata.is_normalized("NFC", text):
            size = len(unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass"))
    return size + _PROMPT_BOUND + added


def template_bound(parameters: Mapping[str, Any]) -> int:
    """Return an upper bound on the tokens that a template puts around tools and schema in the parameters."""
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
