"""What of a picture makes it look otherwise at a provider than it is meant, read from its bytes without Pillow.

No vendor says what becomes of such pictures, and the servers that can be looked into differ:

- the orientation of a photograph (EXIF) is ignored, so that the model sees it lying on its side
  (https://github.com/ollama/ollama/issues/18418, https://github.com/ggml-org/llama.cpp/pull/24196);
- a JPEG in the colours of print (CMYK) cannot be read (https://github.com/nothings/stb/issues/128);
- grey pictures of 16 bits become white where Pillow converts them by itself, as servers in Python do;
- animated pictures are refused (OpenAI, https://platform.openai.com/docs/guides/images-vision) or count as their first
  frame; of a TIFF with several pages the first one is looked at.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from batchgen.tokens.pictures import is_jpeg_frame, jpeg_segments

_ORIENTATION, _BITS, _COLOURS = 274, 258, 262  # tags of TIFF, which EXIF has too
_CMYK = 5
_FRAME = re.compile(rb"\x21\xf9\x04....\x00[\x2c\x21]", re.DOTALL)


def looks_cut(kind: str, data: bytes) -> bool:
    """Whether the end of a picture seems to be missing: it may be shown with a grey half, and is paid for."""
    if kind == "png":
        return b"IEND" not in data
    if kind == "jpeg":
        return data.rfind(b"\xff\xd9") <= data.rfind(b"\xff\xda")
    if kind == "gif":
        return data.rstrip(b"\0")[-1:] != b";"
    if kind == "webp":
        return int.from_bytes(data[4:8], "little") + 8 > len(data) + 1
    if kind == "bmp":  # a file that is not compressed says how long it is
        return data[30:34] == b"\0\0\0\0" and int.from_bytes(data[2:6], "little") > len(data)
    return False


def shown_otherwise(kind: str, data: bytes) -> bool:
    """Whether a picture has to be turned, converted or taken apart so that every provider shows it as it is meant."""
    try:
        if kind == "jpeg":
            return _jpeg(data)
        if kind == "png":
            return _png(data)
        if kind == "webp":
            return _webp(data)
        if kind == "gif":
            return len(_FRAME.findall(data)) > 1
        if kind == "tiff":
            found, following = _tags(data)
            return following or _turned(found) or found.get(_COLOURS) == _CMYK or found.get(_BITS, 8) > 8
    except (struct.error, IndexError):  # damaged there: the picture is sent as it is
        pass
    return kind == "avif" and data[8:12] == b"avis"


def _turned(tags: Mapping[int, int]) -> bool:
    return 2 <= tags.get(_ORIENTATION, 1) <= 8


def _jpeg(data: bytes) -> bool:
    for marker, content in jpeg_segments(data):
        if marker == 0xE1 and content[:6] == b"Exif\0\0" and _turned(_tags(content[6:])[0]):
            return True
        if is_jpeg_frame(marker):
            return content[5] == 4
    return False


def _png(data: bytes) -> bool:
    if data[24] == 16 and data[25] in (0, 4):  # grey, without or with transparency
        return True
    place = 8
    while place + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        if name == b"acTL" or (name == b"eXIf" and _turned(_tags(data[place + 8 : place + 8 + length])[0])):
            return True
        place += 12 + length
    return False


def _webp(data: bytes) -> bool:
    if data[12:16] != b"VP8X":
        return False
    if data[20] & 0x02:  # animated
        return True
    place = 12
    while data[20] & 0x08 and place + 8 <= len(data):
        name, length = struct.unpack("<4sI", data[place : place + 8])
        if name == b"EXIF":
            return _turned(_tags(data[place + 8 : place + 8 + length].removeprefix(b"Exif\0\0"))[0])
        place += 8 + length + length % 2
    return False


def _tags(data: bytes) -> tuple[dict[int, int], bool]:
    """Return the tags of the first picture of a TIFF file or of EXIF, each with its first value, and whether there is
    another picture."""
    order = "<" if data[:2] == b"II" else ">"
    (place,) = struct.unpack(f"{order}I", data[4:8])
    (entries,) = struct.unpack(f"{order}H", data[place : place + 2])
    found = {}
    for number in range(min(entries, 1_000)):
        at = place + 2 + 12 * number
        tag, form, count = struct.unpack(f"{order}HHI", data[at : at + 8])
        if form == 3 and count > 2:  # several short numbers stand elsewhere
            (at,) = struct.unpack(f"{order}I", data[at + 8 : at + 12])
            at -= 8
        (found[tag],) = struct.unpack_from(f"{order}{'H' if form == 3 else 'I'}", data, at + 8)
    return found, data[place + 2 + 12 * entries :][:4] not in (b"", bytes(4))
