"""Characters that are invisible and have no meaning, and that come along with text copied from pages and documents."""

from __future__ import annotations

INVISIBLE = frozenset(
    "\u00ad\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069"
    "\ufe0e\ufe0f\ufeff"
)
"""Joiners (U+200C, U+200D) are none of them: words of some scripts and emoji are made with these."""
