"""What a request costs besides its text: images, recordings and files in messages, and what the provider adds.

The size of a request bounds only the tokens of its text. An image by URL costs thousands of tokens whatever the length
of its address, and a web search adds pages to the input and fees to the bill.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from batchgen.tokens.pictures import picture_in, picture_tokens
from batchgen.tokens.recordings import likely_seconds, longest_seconds
from batchgen.values import Prompt

IMAGES, VIDEO, FILES, AUDIO = "images", "video", "files", "audio"

_TEXT_TYPES = frozenset({None, "text", "input_text", "output_text", "refusal"})
_TEXT_KEYS = frozenset({"type", "text", "refusal", "cache_control", "annotations"})
_FILE_ID = (
    "fileid://"  # how qwen-long is given documents: https://help.aliyun.com/zh/model-studio/long-context-qwen-long
)

_RESOLUTION = ("detail", "min_pixels", "max_pixels")

_SEARCHING_MODEL = re.compile(r"(^|/)sonar\b|-search-(preview|api)\b|-deep-research\b|:online$")
_SWITCHES = {
    "enable_search": "a web search",
    "enable_code_interpreter": "a code interpreter",
    "data_sources": "documents that the provider looks up",
    "rag_options": "documents that the provider looks up",
    "plugins": "plug-ins of the provider",
}
"""Parameters that add to the input at the provider if their value is not false, empty or null."""


class Media(Struct, frozen=True):
    """A part of a message that is not text. `size` is the bytes of text in it: its address, or the data as base64;
    `picture` is its size in pixels where the data show it, `settings` what the part itself says of its resolution;
    `seconds` are the most that a recording can have, `likely_seconds` those that its header tells, None where that is
    not known."""

    kind: str
    size: int
    picture: tuple[int, int] | None = None
    settings: Mapping[str, Any] = {}
    seconds: float | None = None
    likely_seconds: float | None = None

    def tokens(self, model: str, parameters: Mapping[str, Any]) -> int | None:
        """Return its input tokens, None where they are not known."""
        return None if self.picture is None else picture_tokens(model, self.picture, {**parameters, **self.settings})


def media_of(prompt: Prompt) -> list[Media]:
    """Return the parts of a prompt that are not text, in order. It is quick where all content is text."""
    found: list[Media] = []
    for message in prompt.messages:
        content = message.get("content")
        if type(content) is not str:
            found += _parts(content)
        elif _FILE_ID in content and message.get("role") == "system":
            found += [Media(FILES, 0)] * content.count(_FILE_ID)
        if "audio" in message:  # an earlier spoken answer, by its id
            found.append(Media(AUDIO, 0))
    return found


def added_by_provider(model: str, parameters: Mapping[str, Any]) -> str | None:
    """Return what the provider adds to the input or the bill by itself, with the setting that asks for it; else None.

    Nothing in a request bounds it, and no reply reports its fees. `parameters` are those of `effective_parameters`.
    """
    for key, words in _SWITCHES.items():
        if parameters.get(key):
            return f"{words} ({key})"
    if parameters.get("web_search_options") is not None:
        return "a web search (web_search_options)"
    search = parameters.get("search_parameters")
    if search is not None and not (isinstance(search, Mapping) and search.get("mode") == "off"):
        return "a web search (search_parameters)"
    for tool in _items(parameters.get("tools")):
        kind = tool.get("type", "function") if isinstance(tool, Mapping) else "function"
        if kind not in ("function", "custom") or (isinstance(tool, Mapping) and "google_search" in tool):
            return f"a tool that the provider runs (tools, {kind if kind != 'function' else 'google_search'})"
    if _SEARCHING_MODEL.search(model):
        return f"a web search (the model {model})"
    if "audio" in _items(parameters.get("modalities")):
        return "a spoken answer (modalities)"
    return None


def _parts(content: Any) -> Iterator[Media]:
    """Yield what is not text in the content of a message: a list of parts, or a single one."""
    for part in content if isinstance(content, list | tuple) else _items(content):
        if isinstance(part, str) or part is None or _is_text(part):
            continue
        inner = part.get("content") if isinstance(part, Mapping) else None
        if isinstance(inner, list):
            yield from _parts(inner)
        elif not isinstance(inner, str) or part.keys() - {"type", "content", "tool_use_id"}:
            kind = _kind(part)
            size, settings = _picture(part) if kind == IMAGES else (None, {})
            times = (longest_seconds(part), likely_seconds(part)) if kind == AUDIO else ()
            yield Media(kind, _size(part), size, settings, *times)


def _picture(part: Any) -> tuple[tuple[int, int] | None, Mapping[str, Any]]:
    """Return the size of a part's picture in pixels, and what the part says of its resolution, in any wire format."""
    shown = part.get("image_url", part.get("image"))
    inner = shown if isinstance(shown, Mapping) else {}
    url = inner.get("url") if inner else shown
    source = part.get("source")
    if url is None and isinstance(source, Mapping) and isinstance(source.get("data"), str):
        url = f"data:;base64,{source['data']}"
    found = picture_in(url) if isinstance(url, str) else None
    said = {name: place[name] for name in _RESOLUTION for place in (part, inner) if name in place}
    return None if found is None else found.size, said


def _is_text(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in _TEXT_TYPES and not part.keys() - _TEXT_KEYS


def _kind(part: Any) -> str:
    words = " ".join(map(str, part)) + str(part.get("type", "")) if isinstance(part, Mapping) else ""
    for word, kind in (("audio", AUDIO), ("video", VIDEO), ("image", IMAGES)):
        if word in words:
            return kind
    return FILES


def _size(value: Any) -> int:
    """Return the bytes of all texts in a part, never more than they take in a request."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, Mapping):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list | tuple) else 0


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
