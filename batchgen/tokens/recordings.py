"""How long a recording is, read from its bytes: what it costs goes by its seconds."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

_HEAD_BYTES = 12_288
_SLOWEST_MP3 = 1_000
"""Bytes of a second at the lowest bit rate of MP3, 8 kbit/s."""

_BIT_RATES = {  # kbit/s of layer III by the header's index, for MPEG-1 and for the lower sampling rates
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLING_RATES = (44_100, 48_000, 32_000)
_HALVED = {3: 1, 2: 2, 0: 4}  # MPEG-1, 2 and 2.5 by the header's two bits
_COUNTED = ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14))
"""Signs of a header that counts the frames of an MP3, and where behind the sign the count stands."""


def longest_seconds(part: Any) -> float | None:
    """Return the most seconds that a part with a recording can have; None where its bytes are not in the message."""
    data = _data(part)
    head = None if data is None else _bytes_at(data, 0)
    if data is None or head is None:
        return None
    if _is_mp3(head):
        return len(data) * 3 // 4 / _SLOWEST_MP3
    return _wave_seconds(head, len(data) * 3 // 4)


def likely_seconds(part: Any) -> float | None:
    """Return the seconds of a recording as its header has them; None where it does not tell."""
    data = _data(part)
    head = None if data is None else _bytes_at(data, 0)
    if data is None or head is None:
        return None
    return _mp3_seconds(head, data) if _is_mp3(head) else _wave_seconds(head, len(data) * 3 // 4)


def _data(part: Any) -> str | None:
    """Return the base64 text of a recording in a part."""
    inner = part.get("input_audio", part.get("audio")) if isinstance(part, Mapping) else None
    data = inner.get("data") if isinstance(inner, Mapping) else inner
    if not isinstance(data, str) or data[:6].lower().startswith(("http:/", "https:", "oss://")):
        return None
    return data.partition(",")[2] if data[:5].lower() == "data:" else data


def _bytes_at(data: str, place: int) -> bytes | None:
    """Return some bytes of what is written in base64, from a place on; None where that is not base64."""
    start = place // 3 * 4
    try:
        return base64.b64decode(data[start : start + _HEAD_BYTES // 3 * 4], validate=False)[place % 3 :]
    except (binascii.Error, ValueError):
        return None


def _wave_seconds(head: bytes, size: int) -> float | None:
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    place = head.find(b"fmt ", 12)
    rate = int.from_bytes(head[place + 16 : place + 20], "little") if place > 0 else 0
    return size / rate if rate else None


def _is_mp3(head: bytes) -> bool:
    return head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)


def _mp3_seconds(head: bytes, data: str) -> float | None:
    """Return the length by the count of frames, or by the bit rate where all frames have the same."""
    tags = 0
    if head[:3] == b"ID3":
        tags = 10 + sum((byte & 0x7F) << 7 * (9 - place) for place, byte in enumerate(head[6:10], 6))
    frame = _bytes_at(data, tags) or b""
    if len(frame) < 4 or not _is_mp3(frame) or (frame[1] >> 1 & 3) != 1:  # layer III
        return None
    version, rate, sampling = frame[1] >> 3 & 3, frame[2] >> 4, frame[2] >> 2 & 3
    if version not in _HALVED or not 0 < rate < 15 or sampling == 3:
        return None
    for sign, behind in _COUNTED:
        place = frame.find(sign, 4, 64)
        if place >= 0 and (sign == b"VBRI" or (frame[place + 7 : place + 8] > b"\0" and frame[place + 7] & 1)):
            frames = int.from_bytes(frame[place + behind : place + behind + 4], "big")
            return frames * (1152 if version == 3 else 576) * _HALVED[version] / _SAMPLING_RATES[sampling]
    return (len(data) * 3 // 4 - tags) / (_BIT_RATES[version == 3][rate - 1] * 125)
