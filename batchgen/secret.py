"""The API key in a wrapper that never shows itself, and the mask for other people's texts that may quote it."""

from __future__ import annotations

import re

_KEY_START = "sk-"
_KEY_SHAPE = re.compile(rf"\b{_KEY_START}[A-Za-z0-9_\-*.]{{8,}}")
_MASK = "***"
_SHORTEST_LITERAL = 4  # a key of three letters would mask half of every sentence
_SHORTEST_PIECE = 6  # what five letters at the end of a text tell of a key is nothing


class Secret:
    """An API key. `repr`, `str` and formatting give `***`; only `reveal()` gives the value, to the transport."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return _MASK

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")

    def reveal(self) -> str:
        """Return the key itself. Only the transport and the vendor's authorization header need it."""
        return self._value

    def mask(self, text: str) -> str:
        """Return `text` with this key, and whatever has the shape of a key, replaced by `***`.

        So is the beginning of the key at the end of the text: where a long message was cut within it.
        """
        if self._value[:_SHORTEST_PIECE] not in text and _KEY_START not in text:
            return text
        if len(self._value) >= _SHORTEST_LITERAL:
            text = text.replace(self._value, _MASK)
        if self._value[:_SHORTEST_PIECE] in text:
            for length in range(len(self._value) - 1, _SHORTEST_PIECE - 1, -1):
                if text.endswith(self._value[:length]):
                    text = text[:-length] + _MASK
                    break
        return _KEY_SHAPE.sub(_MASK, text)
