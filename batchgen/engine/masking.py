"""Masks the key in a vendor's messages and answers before they are kept: some vendors quote it in any field."""

from __future__ import annotations

from collections.abc import Callable

from batchgen.providers.wire import MESSAGE_CAP
from batchgen.secret import Secrets

WORDS_KEPT = 100
"""Models and finish reasons remembered with their masked form."""


class MaskedWords(dict[str | None, str | None]):
    """Words that come again and again, each with its masked form: each is looked at once."""

    def __init__(self, mask: Callable[[str], str]) -> None:
        super().__init__({None: None})
        self._mask = mask

    def __missing__(self, word: str) -> str:
        masked = self._mask(word)
        if len(self) <= WORDS_KEPT:
            self[word] = masked
        return masked


class Masker:
    """Masks the key in what a vendor says; without a key everything stays as it is.

    `words` has the masked form of words that come again and again, such as a model's name.
    """

    def __init__(self, secrets: Secrets) -> None:
        self.any_form = secrets.mask
        """Masks keys of any form in a field of a reply, such as an id or a code."""
        self.literal = secrets.mask_literal
        """Masks the key itself in an answer's text: what merely looks like a key may be the answer."""
        self.words = MaskedWords(secrets.mask)

    def field(self, text: str | None) -> str | None:
        """Return the same as `any_form`; None stays None."""
        return text if text is None else self.any_form(text)

    def answer(self, text: str | None) -> str | None:
        """Return the same as `literal`; None stays None."""
        return text if text is None else self.literal(text)

    def message(self, text: str) -> str:
        """Return an error message, masked and cut at `MESSAGE_CAP` characters."""
        return self.any_form(text)[:MESSAGE_CAP]
