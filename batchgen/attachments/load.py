"""From files to parts of a message, in the form of chat completions, which the other wire formats convert."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.attachments.cells import AttachmentError, read_cell
from batchgen.attachments.limits import AttachmentLimits
from batchgen.attachments.settings import AttachSettings
from batchgen.values import Attachment, Failure, FailureKind, Message, Prompt, Verdict

TEXT_BYTES = 4_000_000
"""The longest text of one file."""


class Attachments(Struct, frozen=True):
    """The files of a job's rows: `folder` is where paths begin, `limits` what the provider takes."""

    settings: AttachSettings
    folder: Path
    limits: AttachmentLimits

    def read(self, value: Any) -> tuple[Attachment, ...]:
        """Return the files in a cell. Raises `AttachmentError`."""
        return read_cell(value, self.folder)

    def load(self, prompt: Prompt) -> Prompt | Failure:
        """Return the prompt with its files as parts of its last message of the user, or why it cannot be asked.

        It reads files and may draw pages: call it in a thread.
        """
        pictures: list[dict[str, Any]] = []
        texts: list[str] = []
        for attachment in prompt.attached:
            try:
                for part in self._parts(attachment):
                    if isinstance(part, str):
                        texts.append(part)
                    else:
                        pictures.append(part)
            except AttachmentError as error:
                if self.settings.unreadable == "fail":
                    return _failed(str(error))
                texts.append(f"(The file {attachment.name} is attached and cannot be shown.)")
        if len(pictures) > self.limits.most:
            return _failed(f"{len(pictures):,} pictures are more than the {self.limits.most:,} that the provider takes")
        return msgspec.structs.replace(prompt, messages=_joined(prompt.messages, pictures, texts), attached=())

    def _parts(self, attachment: Attachment) -> Iterator[dict[str, Any] | str]:
        if attachment.url is not None:
            if attachment.kind == "audio":
                raise AttachmentError(f"{attachment.name}: a recording is sent as a file, not by its URL")
            yield self._picture(attachment.url)
            return
        data = _bytes(attachment)
        if attachment.kind == "image":
            yield from self._pictures(data, attachment)
        elif attachment.kind == "pdf":
            yield from self._pages(data, attachment.name)
        elif attachment.kind == "audio":
            yield self._recording(data, attachment)
        elif attachment.kind == "text":
            yield _titled(attachment.name, _text(data, attachment.name))
        else:
            what = "it is no picture, PDF, recording or text"
            raise AttachmentError(f'{attachment.name}: {what} (attach.unreadable = "name" sends the row without it)')

    def _picture(self, url: str) -> dict[str, Any]:
        shown: dict[str, Any] = {"url": url}
        if self.settings.detail is not None:
            shown["detail"] = self.settings.detail
        return {"type": "image_url", "image_url": shown}

    def _pictures(self, data: bytes, attachment: Attachment) -> Iterator[dict[str, Any]]:
        from batchgen.attachments.pictures import fitting

        for form, fitted in fitting(data, attachment, self.limits, self.settings):
            yield self._picture(f"data:image/{form};base64,{base64.b64encode(fitted).decode()}")

    def _pages(self, data: bytes, name: str) -> Iterator[dict[str, Any] | str]:
        from batchgen.attachments.pdf import read_pdf

        text, pages = read_pdf(data, name, self.settings, self.limits)
        if text is not None:
            yield _titled(name, text)
        for page in pages:
            yield self._picture(f"data:image/jpeg;base64,{base64.b64encode(page).decode()}")

    def _recording(self, data: bytes, attachment: Attachment) -> dict[str, Any]:
        if attachment.form not in self.limits.audio:
            taken = " and ".join(sorted(self.limits.audio)) or "none"
            raise AttachmentError(f"{attachment.name}: the provider takes no recordings of this form, but {taken}")
        if len(data) > self.limits.bytes:
            raise AttachmentError(_too_large(attachment.name, len(data), self.limits.bytes))
        return {
            "type": "input_audio",
            "input_audio": {"data": base64.b64encode(data).decode(), "format": attachment.form},
        }


def _failed(text: str) -> Failure:
    return Failure(FailureKind.PROMPT, Verdict.FAIL, text)


def _bytes(attachment: Attachment) -> bytes:
    if attachment.data is not None:
        return attachment.data
    assert attachment.path is not None
    try:
        return Path(attachment.path).read_bytes()
    except OSError as error:
        raise AttachmentError(f"{attachment.name}: the file cannot be read any more ({error.strerror})") from error


def _text(data: bytes, name: str) -> str:
    if len(data) > TEXT_BYTES:
        raise AttachmentError(_too_large(name, len(data), TEXT_BYTES))
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _too_large(name: str, size: int, most: int) -> str:
    return f"{name}: {size / 1e6:,.1f} MB are more than the {most / 1e6:,.1f} MB that one file may have"


def _titled(name: str, text: str) -> str:
    return f"File {name}:\n{text}"


def _joined(messages: Any, pictures: list[dict[str, Any]], texts: list[str]) -> list[Message]:
    """Return the messages with pictures before and texts behind the content of the last message of the user."""
    joined: list[Message] = list(messages)
    place = next((n for n in range(len(joined) - 1, -1, -1) if joined[n].get("role") == "user"), None)
    if place is None:
        joined.append({"role": "user", "content": ""})
        place = len(joined) - 1
    content = joined[place]["content"]
    if not pictures and isinstance(content, str):
        whole: Any = "\n\n".join(filter(None, (content, *texts)))
    else:
        own = [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
        whole = [*pictures, *own, *({"type": "text", "text": text} for text in texts)]
    joined[place] = {**joined[place], "content": whole}
    return joined
