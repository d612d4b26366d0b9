"""How long a recording is at the most, read from its bytes: what it costs goes by its seconds."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

_HEAD_LETTERS = 16_384
_SLOWEST_MP3 = 1_000
"""Bytes of a second at the lowest bit rate of MP3, 8 kbit/s."""


def longest_seconds(part: Any) -> float | None:
    """Return the most seconds that a part with a recording can have; None where its bytes are not in the message."""
    inner = part.get("input_audio", part.get("audio")) if isinstance(part, Mapping) else None
    data = inner.get("data") if isinstance(inner, Mapping) else inner
    if not isinstance(data, str) or data[:6].lower().startswith(("http:/", "https:", "oss://")):
        return None
    if data[:5].lower() == "data:":
        data = data.partition(",")[2]
    try:
        head = base64.b64decode(data[:_HEAD_LETTERS], validate=False)
    except (binascii.Error, ValueError):
        return None
    return _seconds(head, len(data) * 3 // 4)


def _seconds(head: bytes, size: int) -> float | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        place = head.find(b"fmt ", 12)
        rate = int.from_bytes(head[place + 16 : place + 20], "little") if place > 0 else 0
        return size / rate if rate else None
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0):
        return size / _SLOWEST_MP3
    return None
