"""The limits of a provider on pictures and recordings in a request."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from msgspec import Struct


class AttachmentLimits(Struct, frozen=True, kw_only=True):
    """The pictures and recordings a provider takes: their forms, the most bytes of one (before base64), the shortest
    and longest side in pixels (`common`: of other forms than JPEG and PNG), how many times longer than wide, and the
    most of them in a request, in number and in bytes of base64.
    """

    pictures: AbstractSet[str] = frozenset({"jpeg", "png", "webp", "gif"})
    audio: AbstractSet[str] = frozenset({"wav", "mp3"})
    bytes: int = 15_000_000
    shortest: int = 1
    longest: int = 16_000
    common: int = 16_000
    ratio: float = 1_000.0
    most: int = 500
    request: int = 100_000_000
