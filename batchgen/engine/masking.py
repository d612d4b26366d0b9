"""Masks the key in a vendor's messages and answers before they are kept: some vendors quote it in any field."""

from __future__ import annotations

from batchgen.secret import Secrets

MESSAGE_CAP = 2_000
"""Most characters kept of a vendor's error message."""

WORDS_KEPT = 100
"""Models and finish reasons remembered with their masked form."""


class Masker:
    """Masks the key in what a vendor says; without a key everything stays as it is."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._words: dict[str, str] = {}

    def field(self, text: str | None) -> str | None:
        """Return a field of a reply, such as an id or a code, with keys of any form masked."""
        return text if text is None else self._secrets.mask(text)

    def word(self, text: str | None) -> str | None:
        """Return the same as `field`, for words that come again and again: each is looked at once."""
        if text is None:
            return None
        known = self._words.get(text)
        if known is None:
            known = self.field(text) or ""
            if len(self._words) < WORDS_KEPT:
                self._words[text] = known
        return known

    def answer(self, text: str | None) -> str | None:
        """Return an answer's text with the key itself masked: what merely looks like a key may be the answer."""
        return text if text is None else self._secrets.mask_literal(text)

    def message(self, text: str) -> str:
        """Return an error message, masked and cut at `MESSAGE_CAP` characters."""
        return self._secrets.mask(text)[:MESSAGE_CAP]
