"""Damage done to a file."""

from __future__ import annotations

import re


def damaged(body, kind, chance):
    """Return the bytes with bits flipped, cut short, zeroed in the middle, or with a piece of them twice.

    `texts` flips bits within stored answers, where neither SQLite nor JSON notices.
    """
    place = chance.randrange(len(body))
    if kind == "cut":
        return body[:place]
    changed = bytearray(body)
    if kind == "zeros":
        changed[place : place + 4096] = bytes(len(changed[place : place + 4096]))
    elif kind == "twice":
        changed[place:place] = changed[place : place + 512]
    else:
        texts = [match.end() for match in re.finditer(rb"Answer [0-9a-f]{4}", body)] if kind == "texts" else []
        for _ in range(1 if kind == "flip" else 20):
            spot = chance.choice(texts) if texts else chance.randrange(len(body))
            changed[spot] ^= 1 << chance.randrange(3)
    return bytes(changed)
