"""Byte-pair vocabularies that are installed on this machine, used without a network and safe for any text."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import re
import tempfile
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchgen.extras import missing

if TYPE_CHECKING:
    import tiktoken

SLICE = 1 << 14
"""The longest text that is given to tiktoken at once, in characters. Its regular expression fails on a million blanks
in a row, and the time to merge one piece grows faster than its length: both need a bound."""

_SAFE_CUT = re.compile(r"[^\W_](?=[ ,.;:!?\n，。、；：！？])")
"""A letter or digit before a blank, line end or punctuation mark. This is always the end of a piece in the vocabularies
below, so that a cut there changes no count: their expressions have no lookbehind, and no alternative matches a letter
and such a mark together."""

_QWEN_RANKS = 151_643
_QWEN_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen's tokenizer splits text into pieces (github.com/dashscope/dashscope-sdk-python, dashscope/tokenizers)."""

_OPENAI_TABLES = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}
"""SHA-256 of the tables, as tiktoken expects them (tiktoken_ext/openai_public.py)."""


class VocabularyMissing(Exception):
    """The vocabulary is not installed; the message says what to install or to copy."""


class Vocabulary:
    """Counts the tokens of plain text, in which the names of control tokens are ordinary text.

    `normalize`: the tokenizer works on NFC, as Qwen's does. `longest`: the most characters it is given at once.
    """

    __slots__ = ("_encode", "_longest", "_normalize", "encoding")

    def __init__(self, encoding: tiktoken.Encoding, *, normalize: bool, longest: int = SLICE) -> None:
        self.encoding = encoding
        self._encode = encoding.encode_ordinary
        self._normalize = normalize
        self._longest = longest

    def count(self, text: str) -> int:
        """Return the number of tokens.

        It is exact with one exception: a run of more than `longest` / 2 characters without a safe place to cut (blanks,
        one repeated letter, symbols only) is cut anywhere, which adds a few tokens at most. A lone surrogate counts as
        U+FFFD.
        """
        if self._normalize and not text.isascii():
            text = unicodedata.normalize("NFC", text)
        longest = self._longest
        if len(text) <= longest:
            return len(self._encode(text))
        total = start = 0
        while len(text) - start > longest:
            cut = _SAFE_CUT.search(text, start + longest // 2, start + longest)
            end = cut.end() if cut else start + longest
            total += len(self._encode(text[start:end]))
            start = end
        return total + len(self._encode(text[start:]))


@cache
def qwen_vocabulary() -> Vocabulary:
    """Return the vocabulary of Qwen 1 to 3. Raises VocabularyMissing.

    It ships as `resources/qwen.tiktoken` in the `dashscope` package, which is located but not imported.
    """
    tiktoken = _tiktoken()
    spec = importlib.util.find_spec("dashscope")
    places = [Path(place) / "resources" / "qwen.tiktoken" for place in (spec and spec.submodule_search_locations) or ()]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        source = missing("estimate", "dashscope") or "another version of the package dashscope"
        raise VocabularyMissing(f"the Qwen vocabulary is missing; it comes with {source}")
    ranks = {
        base64.b64decode(token): int(rank) for token, rank in (line.split() for line in path.read_bytes().splitlines())
    }
    if len(ranks) != _QWEN_RANKS:
        raise VocabularyMissing(f"the Qwen vocabulary in {path} has {len(ranks)} entries, not {_QWEN_RANKS}")
    encoding = tiktoken.Encoding("qwen", pat_str=_QWEN_PIECES, mergeable_ranks=ranks, special_tokens={})
    return Vocabulary(encoding, normalize=True)


@cache
def openai_vocabulary(name: str) -> Vocabulary:
    """Return an OpenAI vocabulary from tiktoken's own cache. Raises VocabularyMissing.

    tiktoken downloads a table that is missing or damaged in its cache; therefore it is only asked if the file exists
    and has the hash that tiktoken checks.
    """
    tiktoken = _tiktoken()
    url = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
    directory = os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR"))
    if directory is None:
        directory = str(Path(tempfile.gettempdir()) / "data-gym-cache")
    path = Path(directory) / hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()
    # An empty name of the directory turns tiktoken's cache off.
    if not directory or not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != _OPENAI_TABLES[name]:
        raise VocabularyMissing(
            f"the table {name} is not in tiktoken's cache; to have it, run "
            f"python -c \"import tiktoken; tiktoken.get_encoding('{name}')\" with network and TIKTOKEN_CACHE_DIR set"
        )
    return Vocabulary(tiktoken.get_encoding(name), normalize=False)


def _tiktoken() -> Any:
    try:
        import tiktoken
    except ModuleNotFoundError as error:
        raise VocabularyMissing(f"it needs {missing('estimate')}") from error
    return tiktoken
