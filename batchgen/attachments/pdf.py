"""PDF files as text or as pictures of their pages, by pypdfium2 (extra `attach`)."""

from __future__ import annotations

import math
import threading

from batchgen.attachments.cells import AttachmentError
from batchgen.attachments.limits import AttachmentLimits
from batchgen.attachments.pictures import check_shape, encode
from batchgen.attachments.settings import AttachSettings
from batchgen.extras import unusable

DOTS_PER_INCH = 150
"""Resolution of the pictures of pages: small print stays readable, and a page of A4 has 1,240 x 1,754 pixels."""

PAGE_PIXELS = 20_000_000
"""The most that a page is drawn with: plans in A0 would take hundreds of megabytes."""

LEAST_LETTERS = 30
"""A page with fewer letters than this (spaces aside) has no text worth reading: it is a scan, perhaps with a stamp."""

_one_at_a_time = threading.Lock()  # PDFium is not made for threads


def read_pdf(
    data: bytes, name: str, settings: AttachSettings, limits: AttachmentLimits
) -> tuple[str | None, list[bytes]]:
    """Return the text of a file, or None and its pages as JPEG. Raises `AttachmentError`.

    With `auto` it is the text if most pages have one, with the pictures of the pages that have none.
    """
    if (lacking := unusable("attach")) is not None:
        raise AttachmentError(f"{name}: reading PDF files needs {lacking}")
    import pypdfium2

    with _one_at_a_time:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            locked = any(word in str(error).lower() for word in ("password", "security"))
            why = "it is protected" if locked else "it is damaged"
            raise AttachmentError(f"{name}: the PDF cannot be opened, {why}") from error
        try:
            return _read(document, name, settings, limits)
        except pypdfium2.PdfiumError as error:
            raise AttachmentError(f"{name}: a page of the PDF cannot be read ({error})") from error
        finally:
            document.close()


def _read(
    document: object, name: str, settings: AttachSettings, limits: AttachmentLimits
) -> tuple[str | None, list[bytes]]:
    import pypdfium2
    from pypdfium2 import raw

    assert isinstance(document, pypdfium2.PdfDocument)
    number = len(document)
    if number > settings.max_pages:
        raise AttachmentError(f"{name}: {number:,} pages are more than attach.max_pages ({settings.max_pages:,})")
    document.init_forms()
    for place in range(number):  # what was filled in or typed on top is no text of a page until it is made a part of it
        page = document[place]
        if raw.FPDFPage_GetAnnotCount(page) > 0:
            raw.FPDFPage_Flatten(page, raw.FLAT_NORMALDISPLAY)
    texts: dict[int, str] = {}
    if settings.pages != "images":
        for place in range(number):
            text = document[place].get_textpage().get_text_bounded().replace("\r\n", "\n").strip()
            if len("".join(text.split())) >= LEAST_LETTERS:
                texts[place] = text
    if settings.pages == "text" and not texts:
        raise AttachmentError(f'{name}: the PDF has no text; attach.pages = "auto" sends pictures of its pages')
    if len(texts) * 2 <= number and settings.pages == "auto":
        texts = {}
    drawn = [] if settings.pages == "text" else [place for place in range(number) if place not in texts]
    longest = min(limits.longest, settings.max_side or limits.longest)
    pages: list[bytes] = []
    jpeg = AttachmentLimits(pictures=frozenset({"jpeg"}), bytes=limits.bytes)
    for place in drawn:
        page = document[place]
        width, height = page.get_size()
        fitting = math.sqrt(PAGE_PIXELS / max(1.0, width * height))
        scale = min(DOTS_PER_INCH / 72, longest / max(1.0, width, height), fitting)
        picture = page.render(scale=scale).to_pil()
        check_shape(f"{name}, page {place + 1}", picture.size, limits)
        pages.append(encode(picture, name, jpeg, longest)[1])
    whole = "\n\n".join(f"[page {place + 1}]\n{text}" if number > 1 else text for place, text in texts.items())
    return (whole or None), pages
