"""The input tokens of pictures that a request carries as data, by the formulas on the vendors' pages.

Written apart from what batchgen expects, so that an error there shows. A picture by its address counts nothing, as
its size is not known here.

- https://docs.qwencloud.com/developer-guides/multimodal/vision
- https://platform.openai.com/docs/guides/images-vision
- https://platform.claude.com/docs/en/build-with-claude/vision
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

_TILES = {"gpt-4o-mini": (2833, 5667), "gpt-4o": (85, 170), "gpt-5-chat": (70, 140), "o1": (75, 150), "o3": (75, 150)}
_PATCHES = {"gpt-4.1-mini": 1.62, "gpt-4.1-nano": 2.46, "gpt-5-mini": 1.62, "gpt-5-nano": 2.46, "o4-mini": 1.72}
_SAME = {"gpt-4.1": "gpt-4o", "gpt-5": "gpt-5-chat"}
_ANTHROPIC_MOST = 1_600


def picture_tokens(model: str, messages: Sequence[Mapping[str, Any]], *, high_resolution: bool = False) -> int:
    """Return the tokens of all pictures in messages of any wire format."""
    total = 0
    for part, given in _pictures(messages):
        size = _size(given)
        if size is not None:
            total += _tokens(model.lower(), *size, part, high_resolution)
    return total


def _pictures(messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], bytes]]:
    """Yield what is said of each picture, and its first bytes."""
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list | tuple) else ():
            if not isinstance(part, Mapping):
                continue
            source, shown = part.get("source"), part.get("image_url", part.get("image"))
            said = {**part, **shown} if isinstance(shown, Mapping) else part
            url = said.get("url") if isinstance(shown, Mapping) else shown
            text = source.get("data") if isinstance(source, Mapping) else None
            if isinstance(url, str) and url.startswith("data:"):
                text = url.partition(",")[2]
            if isinstance(text, str):
                with suppress(ValueError):
                    yield said, base64.b64decode(text[:400_000])


def _size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, GIF, WebP or JPEG file."""
    if data[:4] == b"\x89PNG":
        return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    if data[:3] == b"GIF":
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if data[8:16] == b"WEBPVP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[8:16] == b"WEBPVP8 ":
        return int.from_bytes(data[26:28], "little") % 16384, int.from_bytes(data[28:30], "little") % 16384
    if data[:2] == b"\xff\xd8":
        place = 2
        while place + 9 < len(data):
            marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
            if marker in (0xC0, 0xC1, 0xC2, 0xC3):
                return int.from_bytes(data[place + 7 : place + 9]), int.from_bytes(data[place + 5 : place + 7])
            place += 2 + length
    return None


def _tokens(model: str, width: int, height: int, said: Mapping[str, Any], high_resolution: bool) -> int:
    if model.startswith(("qwen", "qvq")):
        return _qwen(28 if model.startswith(("qwen2", "qvq")) else 32, width, height, said, high_resolution)
    if model.startswith("claude"):
        return min(_ANTHROPIC_MOST, width * height // 750)
    for name, factor in _PATCHES.items():
        if model.startswith(name):
            return math.ceil(_patches(width, height) * factor)
    found = next((name for name in (*_TILES, *_SAME) if model.startswith(name)), None)
    if found is None:
        return 0
    base, tile = _TILES[_SAME.get(found, found)]
    if said.get("detail") == "low":
        return base
    scale = min(1, 2048 / max(width, height))
    scale *= min(1, 768 / (min(width, height) * scale))
    return base + tile * math.ceil(round(width * scale) / 512) * math.ceil(round(height * scale) / 512)


def _qwen(unit: int, width: int, height: int, said: Mapping[str, Any], high_resolution: bool) -> int:
    """Return the tokens as the page's own function computes them."""
    least, most = (squares * unit * unit for squares in ((4, 1280) if unit == 28 else (64, 2560)))
    given_least, given_most = said.get("min_pixels"), said.get("max_pixels")
    least = given_least if isinstance(given_least, int) else least
    most = given_most if isinstance(given_most, int) else most
    if high_resolution:
        most = 16384 * unit * unit
    h_bar, w_bar = max(unit, round(height / unit) * unit), max(unit, round(width / unit) * unit)
    if h_bar * w_bar > most:
        beta = math.sqrt(height * width / most)
        h_bar = max(unit, math.floor(height / beta / unit) * unit)
        w_bar = max(unit, math.floor(width / beta / unit) * unit)
    elif h_bar * w_bar < least:
        beta = math.sqrt(least / (height * width))
        h_bar, w_bar = math.ceil(height * beta / unit) * unit, math.ceil(width * beta / unit) * unit
    return h_bar * w_bar // (unit * unit) + 2


def _patches(width: int, height: int) -> int:
    """Return the squares of 32 pixels, of a picture that is made smaller until they are 1,536 at most."""
    count = math.ceil(width / 32) * math.ceil(height / 32)
    if count <= 1536:
        return count
    shrink = math.sqrt(32 * 32 * 1536 / (width * height))
    wide, high = width * shrink / 32, height * shrink / 32
    shrink *= min(math.floor(wide) / wide, math.floor(high) / high)
    return min(1536, math.ceil(round(width * shrink / 32, 6)) * math.ceil(round(height * shrink / 32, 6)))
