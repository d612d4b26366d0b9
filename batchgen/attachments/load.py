"""From files to parts of a message, in the form of chat completions, which the other wire formats convert."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from batchgen.attachments.cells import NO_VIDEOS, AttachmentError, read_cell
from batchgen.attachments.limits import AttachmentLimits
from batchgen.attachments.settings import AttachSettings
from batchgen.values import Attachment, Failure, FailureKind, Message, Prompt, Verdict

TEXT_BYTES = 4_000_000
"""The longest text of one file."""


_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_WHAT = {
    "office": "a document of this form is not read here: save it as PDF",
    "archive": "an archive is not unpacked here: unpack it and name its files",
    "video": NO_VIDEOS,
    "winmail.dat": "Outlook has packed the attachments of its mail into it: unpack it, for example with tnef",
}
_FOREIGN_SHARE, _FOREIGN_LEAST = 0.3, 7
"""The share and number of bytes beyond ASCII up to which a text that is not UTF-8 counts as a western language."""


class Attachments(Struct, frozen=True):
    """The files of a job's rows: `folder` is where paths begin, if they may be used; `limits` are the provider's."""

    settings: AttachSettings
    folder: Path | None
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
        size = sum(len(text) for part in pictures for inner in part.values() if not isinstance(inner, str)
                   for text in inner.values())  # fmt: skip
        if size > self.limits.request:
            most = f"{self.limits.request / 1e6:,.0f} MB that the provider takes in a request"
            return _failed(f"its pictures and recordings have {size / 1e6:,.1f} MB as base64, more than the {most}")
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
        elif attachment.form == "docx":
            from batchgen.attachments.word import docx_text

            yield _titled(attachment.name, docx_text(data, attachment.name, TEXT_BYTES))
        else:
            what = _WHAT.get(attachment.form, "it is no picture, PDF, recording or text of a known form")
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
            taken = " and ".join(sorted(self.limits.audio))
            what = f"of the form {attachment.form}, but {taken}" if taken else "at all"
            raise AttachmentError(f"{attachment.name}: the provider takes no recordings {what}")
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
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    text = data.decode("utf-8", "replace")
    broken, foreign = text.count("\N{REPLACEMENT CHARACTER}"), sum(letter > "\x7f" for letter in text)
    if 2 * broken <= foreign:  # UTF-8 with some damage
        return text
    if sum(byte > 0x7F for byte in data) > max(_FOREIGN_LEAST, _FOREIGN_SHARE * len(data)):
        raise AttachmentError(f"{name}: the encoding of the text is not known; save it as UTF-8")
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
