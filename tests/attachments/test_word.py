"""Word documents give their text as it is read, and damaged ones a reason."""

import io
import zipfile

import pytest

from batchgen.attachments.cells import AttachmentError, kind_of
from batchgen.attachments.word import docx_text

NAMES = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
)


def docx(body, name="word/document.xml", head=""):
    """Return a document with this body."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(name, f'<?xml version="1.0"?>{head}<w:document {NAMES}><w:body>{body}</w:body></w:document>')
    return out.getvalue()


def p(*runs):
    return f"<w:p><w:pPr/>{''.join(f'<w:r>{run}</w:r>' for run in runs)}</w:p>"


def t(text):
    return f'<w:t xml:space="preserve">{text}</w:t>'


def cell(*inner):
    return f"<w:tc><w:tcPr/>{''.join(inner)}</w:tc>"


TABLE = f"<w:tbl><w:tr>{cell(p(t('Item')))}{cell(p(t('Price')))}</w:tr></w:tbl>"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (p(t("Invoice "), t("12 &amp; 13")) + p(t("due")), "Invoice 12 & 13\ndue"),
        (p(t("a"), "<w:tab/>", t("b"), "<w:br/>", t("c")), "a\tb\nc"),
        (TABLE, "Item | Price"),
        (f"<w:tbl><w:tr>{cell(TABLE)}{cell(p(t('x')))}</w:tr></w:tbl>", "Item | Price | x"),
        (f"<w:p><w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:ins><w:r>{t('new')}</w:r></w:ins></w:p>", "new"),
        (f"<w:p><w:hyperlink><w:r>{t('link')}</w:r></w:hyperlink></w:p>", "link"),
        (f"<w:sdt><w:sdtContent>{p(t('form'))}</w:sdtContent></w:sdt>", "form"),
        (p("<w:instrText>PAGE</w:instrText>", t("1")), "1"),
        (
            "<w:p><w:r><mc:AlternateContent><mc:Choice><w:txbxContent>"
            f"{p(t('box'))}</w:txbxContent></mc:Choice><mc:Fallback>{p(t('box'))}</mc:Fallback></mc:AlternateContent>"
            "</w:r></w:p>",
            "box",
        ),
    ],
)
def test_the_text_of_a_document_is_what_a_reader_sees(body, text):
    """Without what was deleted and what stands there twice."""
    data = docx(body)
    assert kind_of(data) == ("other", "docx")
    assert docx_text(data, "a.docx", 1000) == text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (docx(p(t("text")))[:200], "damaged"),
        (docx(p(t("text")), name="word/other.xml"), "damaged"),
        (docx("<w:p>"), "damaged"),
        (docx(p(t("&x;")), head='<!DOCTYPE a [<!ENTITY x "lol">]>'), "document type"),
        (docx(p("")), "no text"),
        (docx(p(t("x" * 2000))), "longer than 1,000"),
        (docx(p(t("x" * 50_000))), "too long"),
        (docx("<w:sdt>" * 5000 + "</w:sdt>" * 5000), "damaged|too long"),
    ],
)
def test_a_document_that_cannot_be_read_says_why(data, said):
    """A bomb of zeros or of entities as well."""
    with pytest.raises(AttachmentError, match=said):
        docx_text(data, "a.docx", 1000)
