"""Secrets in a wrapper that never shows itself, and the mask for other people's texts that may quote one."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

_KEY_START = "sk-"
_KEY_SHAPE = re.compile(rf"\b{_KEY_START}[A-Za-z0-9_\-*.]{{8,}}")
_MASK = "***"
_SHORTEST_LITERAL = 4  # a key of three letters would mask half of every sentence
_SHORTEST_PIECE = 6  # what five letters at the end of a text tell of a key is nothing
_SHORTEST_UNMISTAKABLE = 16  # "EMPTY", "none" and "token" are keys too, of servers that want none
_ESCAPES = ("%", "\\", "&")
_RAREST_FIRST = "QZXJKVYWUqzjxHGFBLMPDRONCEISTA0987654321kvbpgwyfmcudlhrsnioate"  # in answers, roughly


class Secret:
    """An API key or the like. `repr`, `str` and formatting give `***`; only `reveal()` gives the value."""

    __slots__ = ("_encoded", "_escaped", "_rare", "_sign", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._encoded = tuple(dict.fromkeys(_encoded(value))) if len(value) >= _SHORTEST_PIECE else ()
        self._rare = min(value, key=lambda letter: _RAREST_FIRST.find(letter) % 99, default="")  # -1: after all others
        self._sign: Callable[[str], re.Match[str] | None] | None = None  # like the next, made when it is needed
        self._escaped: re.Pattern[str] | None = None  # hardly any text needs it, and it takes 5 ms to make

    def __repr__(self) -> str:
        return _MASK

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")

    def reveal(self) -> str:
        """Return the value itself. Only the transport needs it."""
        return self._value

    def mask(self, text: str) -> str:
        """Return `text` with this key, and whatever has the shape of a key, replaced by `***`.

        Found too: the key in base64 (as part of a longer text), in hexadecimal, with letters escaped as URLs, JSON or
        HTML do it, and its beginning at the end of the text, where a long message was cut within it.
        """
        if self._sign is None:
            signs = (self._value[:_SHORTEST_PIECE], _KEY_START, *_ESCAPES, *self._encoded)
            self._sign = re.compile("|".join(map(re.escape, signs))).search
        if self._sign(text) is None:  # as nearly all texts, and this is done for every row
            return text
        if len(self._value) >= _SHORTEST_LITERAL:
            text = text.replace(self._value, _MASK)
            if any(sign in text for sign in _ESCAPES):
                if self._escaped is None:
                    self._escaped = re.compile("".join(map(_escaped, self._value)), re.DOTALL)
                text = self._escaped.sub(_MASK, text)
        for form in self._encoded:
            if form in text:
                text = text.replace(form, _MASK)
        if self._value[:_SHORTEST_PIECE] in text:
            for length in range(len(self._value) - 1, _SHORTEST_PIECE - 1, -1):
                if text.endswith(self._value[:length]):
                    text = text[:-length] + _MASK
                    break
        return _KEY_SHAPE.sub(_MASK, text)

    def mask_literal(self, text: str) -> str:
        """Return an answer's text without this very key, should the answer quote it; nothing else is changed.

        A key of less than 16 letters stays: it may as well be a word of the answer.
        """
        if self._rare not in text:  # a letter is found in a tenth of the time of a word, and this is done for every row
            return text
        if len(self._value) < _SHORTEST_UNMISTAKABLE:
            return text
        return text.replace(self._value, _MASK)


class SecretHeader(Struct, frozen=True):
    """A request header whose value ends in a secret; `scheme` is the part before it, such as `Bearer ` or nothing."""

    name: str
    secret: Secret
    scheme: str = ""

    def reveal(self) -> str:
        """Return the value as it is sent."""
        return self.scheme + self.secret._value

    def __str__(self) -> str:
        return f"{self.scheme}{_MASK}"


class Secrets:
    """All secrets of a run: the headers that carry them, those that stand elsewhere, and one mask for all of them."""

    def __init__(self, headers: Sequence[SecretHeader] = (), others: Sequence[Secret] = ()) -> None:
        self.headers = tuple(headers)
        self._all = (*(header.secret for header in headers), *others)
        if len(self._all) == 1:  # as nearly always: three texts of a row are looked at
            self.mask, self.mask_literal = self._all[0].mask, self._all[0].mask_literal  # type: ignore[method-assign]

    def mask(self, text: str) -> str:
        """Return `text` with every secret masked: see `Secret.mask`."""
        for secret in self._all:
            text = secret.mask(text)
        return text

    def mask_literal(self, text: str) -> str:
        """Return an answer's text with every secret masked: see `Secret.mask_literal`."""
        for secret in self._all:
            text = secret.mask_literal(text)
        return text


class MaskingFilter(logging.Filter):
    """Masks secrets in what a client library logs: its debug lines have a server's headers as they came."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """Put the masked message in place of the record's own."""
        record.msg, record.args = self._secrets.mask(record.getMessage()), None
        return True


def _encoded(value: str) -> Iterator[str]:
    """Yield what the key looks like inside of base64, by its place modulo 3 in the bytes before, and in hexadecimal."""
    raw = value.encode()
    for before in range(3):
        first = -(-before * 8 // 6)  # letters that the bytes before have a part in
        last = (before + len(raw)) * 8 // 6  # letters that are the key's alone
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + raw).decode()[first:last]
    yield raw.hex()
    yield raw.hex().upper()


def _escaped(letter: str) -> str:
    """Return a pattern for one letter, as it is or escaped: `%2B`, `\\u002b`, `\\x2b`, `\\/`, `&#43;`, `&#x2b;`."""
    code, plain = f"{ord(letter):02x}", re.escape(letter)
    escapes = (f"%{code}", f"\\\\u00{code}", f"\\\\x{code}", f"&#0*{ord(letter)};", f"&#x0*{code};")
    return f"(?:{plain}|\\\\{plain}|(?i:{'|'.join(escapes)}))"
