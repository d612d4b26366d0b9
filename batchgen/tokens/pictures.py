"""Pictures: what kind and how large they are, read from their first bytes, and the input tokens that they cost.

Tokens depend on width and height alone, by rules that the vendors publish, so that they are known before anything is
paid:

- Qwen (https://docs.qwencloud.com/developer-guides/multimodal/vision): both sides are rounded to multiples of 32 pixels
  (28 up to Qwen2.5-VL and for QVQ), the area is brought between two bounds, and each square of that size is a token;
  two more mark beginning and end.
- OpenAI (https://platform.openai.com/docs/guides/images-vision): either tiles of 512 pixels, after the picture was
  fitted into 2,048 pixels with a short side of 768, or squares of 32 pixels, at most 1,536, times a factor.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

MARKERS = 2
"""Tokens that mark the beginning and the end of a picture for Qwen."""

_HEAD_BYTES = 256 * 1024
"""How much of a picture is looked at: in a photograph a preview may stand before the size."""


class Picture(Struct, frozen=True):
    """`kind` is png, jpeg, gif, webp, bmp, tiff, heic or avif; the size is in pixels, None where none was read."""

    kind: str
    width: int | None = None
    height: int | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height."""
        return None if self.width is None or self.height is None else (self.width, self.height)


def read_picture(data: bytes) -> Picture | None:
    """Return what the beginning of a file shows; None if it is no picture of a known kind."""
    for sign, kind, read in _KINDS:
        if re.match(sign, data[:48], re.DOTALL):
            try:
                found = read(data)
            except (struct.error, IndexError):
                found = None
            return Picture(kind) if found is None or min(found) <= 0 else Picture(kind, *found)
    return None


def picture_in(url: str) -> Picture | None:
    """Return the picture of a `data:` URL; None for any other address, or where it is no picture."""
    head, comma, data = url[: _HEAD_BYTES * 2].partition(",")
    if not comma or head[:5].lower() != "data:" or "base64" not in head.lower():
        return None
    try:
        raw = base64.b64decode(data[: _HEAD_BYTES * 4 // 3 // 4 * 4], validate=False)
    except (binascii.Error, ValueError):
        return None
    return read_picture(raw)


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack("<HH", data[6:10])
    return width, height


def _bmp(data: bytes) -> tuple[int, int]:
    if struct.unpack("<I", data[14:18])[0] == 12:
        old_width, old_height = struct.unpack("<HH", data[18:22])
        return old_width, old_height
    width, height = struct.unpack("<ii", data[18:26])
    return width, abs(height)


def _webp(data: bytes) -> tuple[int, int] | None:
    form = data[12:16]
    if form == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if form == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if form == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker and the content of each segment of a JPEG. Raises `struct.error` where it is damaged."""
    place = 2
    while place + 9 < len(data):
        if data[place] != 0xFF:
            place += 1
            continue
        marker = data[place + 1]
        if marker in (0xFF, 0x01) or 0xD0 <= marker <= 0xD9:
            place += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack(">H", data[place + 2 : place + 4])
        yield marker, data[place + 4 : place + 2 + length]
        place += 2 + length


def is_jpeg_frame(marker: int) -> bool:
    """Whether a segment says how large the picture is, and in how many colours."""
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


def _jpeg(data: bytes) -> tuple[int, int] | None:
    for marker, content in jpeg_segments(data):
        if is_jpeg_frame(marker):
            height, width = struct.unpack(">HH", content[1:5])
            return width, height
    return None


def _tiff(data: bytes) -> tuple[int, int] | None:
    order = "<" if data[:2] == b"II" else ">"
    (place,) = struct.unpack(f"{order}I", data[4:8])
    (entries,) = struct.unpack(f"{order}H", data[place : place + 2])
    found: dict[int, int] = {}
    for number in range(min(entries, 100)):
        at = place + 2 + 12 * number
        tag, form = struct.unpack(f"{order}HH", data[at : at + 4])
        if tag in (256, 257):
            value = struct.unpack(
                f"{order}H" if form == 3 else f"{order}I", data[at + 8 : at + (10 if form == 3 else 12)]
            )
            found[tag] = value[0]
    return (found[256], found[257]) if found.keys() == {256, 257} else None


def _heif(data: bytes) -> tuple[int, int] | None:
    """Return the size of the whole picture: the largest of its tiles, previews and itself."""
    places = [found.start() for found in re.finditer(b"ispe", data)]
    sizes: list[tuple[int, int]] = [struct.unpack(">II", data[place + 8 : place + 16]) for place in places]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


_KINDS: tuple[tuple[bytes, str, Callable[[bytes], tuple[int, int] | None]], ...] = (
    (rb"\x89PNG\r\n\x1a\n", "png", _png),
    (rb"\xff\xd8\xff", "jpeg", _jpeg),
    (rb"GIF8[79]a", "gif", _gif),
    (rb"RIFF....WEBP", "webp", _webp),
    (rb"BM....\x00\x00\x00\x00", "bmp", _bmp),
    (rb"II\*\x00|MM\x00\*", "tiff", _tiff),
    (rb"....ftyp(?:avif|avis)|....ftyp(?:mif1|msf1)....(?:....){0,4}avif", "avif", _heif),
    (rb"....ftyp(?:heic|heix|heim|heis|hevc|mif1|msf1)", "heic", _heif),
)


def picture_tokens(model: str, size: tuple[int, int], settings: Mapping[str, Any]) -> int | None:
    """Return the input tokens of a picture for a model; None where its rule is not known.

    `settings` are the parameters of the request with what its part says (`detail`, `min_pixels`, `max_pixels`).
    """
    name = model.lower().rpartition("/")[2]
    if name.startswith(("qwen", "qvq")):
        return _qwen(name, size, settings)
    for pattern, rule in _OPENAI:
        if pattern.match(name):
            return rule(size, settings.get("detail") == "low")
    return None


_OLD_QWEN = re.compile(r"^qvq|^qwen2")
_EITHER = re.compile(r"^qwen-(?:vl|omni)")  # the name alone does not tell which generation answers
_HIGH = 16_384


def _qwen(name: str, size: tuple[int, int], settings: Mapping[str, Any]) -> int:
    old, new = (28, 1_280, 4), (32, 2_560, 64)
    rules = (old, new) if _EITHER.match(name) else (old,) if _OLD_QWEN.match(name) else (new,)
    return max(_squares(size, settings, *rule) for rule in rules)


def _squares(size: tuple[int, int], settings: Mapping[str, Any], side: int, usual: int, least: int) -> int:
    high = settings.get("vl_high_resolution_images") is True
    most = (_HIGH if high else usual) * side * side
    given_least, given_most = settings.get("min_pixels"), settings.get("max_pixels")
    if type(given_most) is int and given_most > 0 and not high:
        most = given_most
    floor = given_least if type(given_least) is int and given_least > 0 else least * side * side
    width, height = (max(side, round(one / side) * side) for one in size)
    area = size[0] * size[1]
    if width * height > most:
        shrink = math.sqrt(area / most)
        width, height = (max(side, math.floor(one / shrink / side) * side) for one in size)
    elif width * height < floor:
        grow = math.sqrt(floor / area)
        width, height = (math.ceil(one * grow / side) * side for one in size)
    return width * height // (side * side) + MARKERS


def _tiles(base: int, tile: int) -> Callable[[tuple[int, int], bool], int]:
    def count(size: tuple[int, int], low: bool) -> int:
        if low:
            return base
        width, height = map(float, size)
        fit = min(1.0, 2048 / max(width, height))
        width, height = width * fit, height * fit
        fit = min(1.0, 768 / min(width, height))
        width, height = round(width * fit), round(height * fit)
        return base + tile * math.ceil(width / 512) * math.ceil(height / 512)

    return count


def _patches(factor: float, most: int = 1_536) -> Callable[[tuple[int, int], bool], int]:
    def count(size: tuple[int, int], low: bool) -> int:
        width, height = size
        patches = math.ceil(width / 32) * math.ceil(height / 32)
        if patches > most:
            shrink = math.sqrt(most * 32 * 32 / (width * height))
            wide, high = width * shrink / 32, height * shrink / 32
            shrink *= min(math.floor(wide) / wide, math.floor(high) / high)
            patches = min(most, math.ceil(width * shrink / 32 - 1e-9) * math.ceil(height * shrink / 32 - 1e-9))
        return math.ceil(patches * factor)

    return count


_OPENAI: tuple[tuple[re.Pattern[str], Callable[[tuple[int, int], bool], int]], ...] = (
    (re.compile(r"gpt-4\.1-mini"), _patches(1.62)),
    (re.compile(r"gpt-4\.1-nano"), _patches(2.46)),
    (re.compile(r"o4-mini"), _patches(1.72)),
    (re.compile(r"gpt-5-mini"), _patches(1.62)),
    (re.compile(r"gpt-5-nano"), _patches(2.46)),
    (re.compile(r"gpt-4o-mini"), _tiles(2833, 5667)),
    (re.compile(r"gpt-4o|gpt-4\.1|gpt-4-turbo"), _tiles(85, 170)),
    (re.compile(r"o1(?!-mini)|o3(?!-mini)"), _tiles(75, 150)),
    (re.compile(r"gpt-5(?:$|-chat|-\d{4}|-pro)"), _tiles(70, 140)),
)
"""The rules that are published for each model. Newer models (gpt-5.2 and later) bill otherwise than their page says,
as users have measured (https://community.openai.com/t/1377015): for them nothing is claimed."""
