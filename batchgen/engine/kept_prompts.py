"""Prompts that may be needed again: few of them in memory, the rest in a file that has no name.

In the lane of batches all rows wait at the same time, those included whose request other rows share.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from batchgen.values import Prompt

KEPT_BYTES = 32 * 1024 * 1024
"""About so many bytes of prompts stay in memory."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Prompt).decode


class KeptPrompt(Struct, frozen=True, gc=False):
    """A prompt in memory, which counts for `size` bytes there; or where it is in the file."""

    size: int
    prompt: Prompt | None
    place: int = 0


class KeptPrompts:
    """Keeps prompts until they are taken back. `directory` is where the file is made once it is needed."""

    def __init__(self, directory: Path | None = None, most: int = KEPT_BYTES) -> None:
        self._directory = directory
        self._most = most
        self._file: BinaryIO | None = None
        self._in_file = 0
        self.held = 0
        """Bytes of the prompts in memory."""

    def keep(self, prompt: Prompt) -> KeptPrompt:
        """Return what the prompt is taken back with. A disk that refuses it leaves it in memory."""
        size = _size(prompt)
        if self.held + size > self._most:
            with suppress(OSError, OverflowError, TypeError, UnicodeEncodeError):
                return self._write(_encode(prompt))
        self.held += size
        return KeptPrompt(size, prompt)

    def _write(self, body: bytes) -> KeptPrompt:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115
        place = self._file.seek(0, 2)
        self._file.write(body)
        self._file.flush()
        self._in_file += 1
        return KeptPrompt(len(body), None, place)

    def take(self, kept: KeptPrompt, *, wanted: bool = True) -> Prompt:
        """Forget a prompt and return it; where it is not `wanted`, it is not read, and an empty prompt is returned."""
        if kept.prompt is not None:
            self.held -= kept.size
            return kept.prompt
        assert self._file is not None
        prompt = Prompt()
        if wanted:
            self._file.seek(kept.place)
            prompt = _decode(self._file.read(kept.size))
        self._in_file -= 1
        if not self._in_file:
            self._file.truncate(0)
        return prompt

    def close(self) -> None:
        """Forget everything."""
        if self._file is not None:
            self._file.close()


def _size(prompt: Prompt) -> int:
    """Return about how many bytes a prompt has in memory."""
    size = 500 + len(prompt.text or "")
    for message in prompt.messages:
        content = message.get("content")
        size += 200 + (len(content) if isinstance(content, str) else len(_encode(content)))
    return size
