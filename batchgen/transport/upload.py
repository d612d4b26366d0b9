"""Bodies of calls that are streamed from a file: as a form, as they are, or as the members of a JSON list."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
from msgspec import Struct

from batchgen.values import ApiCall

CHUNK = 256 * 1024
"""Bytes of a file that are read at a time."""


class UploadBody(Struct, frozen=True):
    """Bytes before and after those of a file; `size` is that of the file, as far as it is sent."""

    before: bytes
    after: bytes
    type: str | None
    path: Path | None = None
    size: int = 0
    as_list: bool = False

    @property
    def length(self) -> int:
        """All its bytes."""
        return len(self.before) + self.size + len(self.after)

    async def parts(self, progressed: Callable[[], None]) -> AsyncIterator[bytes]:
        """Yield it piece by piece; `progressed` is called whenever one has gone."""
        yield self.before
        left = self.size
        if self.path is not None:
            async with await anyio.open_file(self.path, "rb") as file:
                while left and (chunk := await file.read(min(CHUNK, left))):
                    progressed()
                    left -= len(chunk)
                    yield chunk.replace(b"\n", b",") if self.as_list else chunk
        progressed()
        yield self.after


def body_of(call: ApiCall) -> UploadBody:
    """Return the body of a call. Raises `OSError` if its file is not there."""
    if call.upload is None:
        return UploadBody(call.body, b"", "application/json" if call.body else None)
    size = call.upload.stat().st_size
    if call.as_list and size:
        with open(call.upload, "rb") as file:
            file.seek(size - 1)
            size -= file.read(1) == b"\n"  # no comma behind the last member
    if call.file_field is None:
        return UploadBody(call.before, call.after, "application/json", call.upload, size, call.as_list)
    mark = secrets.token_hex(16)
    fields = "".join(f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
                     for name, value in call.form.items())  # fmt: skip
    name = call.file_name.replace('"', "%22").replace("\r", " ").replace("\n", " ")
    head = (
        f'{fields}--{mark}\r\nContent-Disposition: form-data; name="{call.file_field}"; filename="{name}"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    return UploadBody(
        head.encode() + call.before,
        call.after + f"\r\n--{mark}--\r\n".encode(),
        f"multipart/form-data; boundary={mark}",
        call.upload,
        size,
        call.as_list,
    )
