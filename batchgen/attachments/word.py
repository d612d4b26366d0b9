"""The text of a Word document (.docx): its paragraphs and tables, as they follow each other."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from xml.etree import ElementTree

from batchgen.attachments.cells import AttachmentError

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_STRICT = "{http://purl.oclc.org/ooxml/wordprocessingml/main}"
_DOCUMENT = "word/document.xml"
_EXPANSION = 20
"""How many times larger than its text the XML of a document may be."""
_BREAKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_LEFT_OUT = frozenset({"del", "moveFrom", "instrText", "Fallback", "pPr", "rPr"})
"""What was deleted, what is no text, and the second form of a text box for older programs."""
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, KeyError, ElementTree.ParseError, RuntimeError, OSError, EOFError, ValueError
)  # fmt: skip
"""What a damaged, encrypted or endlessly nested one raises."""


def docx_text(data: bytes, name: str, most: int) -> str:
    """Return the text of a document; the cells of a table's row are separated by ` | `. Raises `AttachmentError`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.getinfo(_DOCUMENT).file_size > _EXPANSION * most:
                raise AttachmentError(f"{name}: the document is too long")
            with archive.open(_DOCUMENT) as file:
                body = file.read(_EXPANSION * most)
        if b"<!DOCTYPE" in body[:4096]:  # Word writes none; entities can swell without end
            raise AttachmentError(f"{name}: the document is damaged (it has a document type)")
        root = ElementTree.fromstring(body)  # noqa: S314 - see above
        text = "\n".join(_lines(root)).strip()
    except _DAMAGED as error:
        raise AttachmentError(f"{name}: the document is damaged ({error})") from error
    if not text:
        raise AttachmentError(f"{name}: the document has no text; save it as PDF to have its pages sent as pictures")
    if len(text) > most:
        raise AttachmentError(f"{name}: the text of the document is longer than {most:,} letters")
    return text


def _lines(element: ElementTree.Element) -> Iterator[str]:
    """Yield the paragraphs and rows of tables within an element."""
    for child in element:
        tag = _tag(child)
        if tag == "p":
            yield "".join(_letters(child))
        elif tag == "tr":
            yield " | ".join(" ".join(_lines(cell)).strip() for cell in _cells(child))
        elif tag not in _LEFT_OUT:
            yield from _lines(child)


def _cells(row: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for child in row:
        if _tag(child) == "tc":
            yield child
        else:
            yield from _cells(child)


def _letters(element: ElementTree.Element) -> Iterator[str]:
    for child in element:
        tag = _tag(child)
        if tag == "t":
            yield child.text or ""
        elif tag in _BREAKS:
            yield _BREAKS[tag]
        elif tag == "p":  # of a text box within the paragraph
            yield "\n"
            yield from _letters(child)
        elif tag not in _LEFT_OUT:
            yield from _letters(child)


def _tag(element: ElementTree.Element) -> str:
    return element.tag.removeprefix(_W).removeprefix(_STRICT).rpartition("}")[2]
