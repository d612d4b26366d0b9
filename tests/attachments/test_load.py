"""Files in cells become parts of a message within the limits, or a reason why the row cannot be asked."""

import base64
import io
import json
import math
import os
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from batchgen import extras
from batchgen.attachments.cells import AttachmentError, kind_of, read_cell
from batchgen.attachments.limits import AttachmentLimits
from batchgen.attachments.load import Attachments
from batchgen.attachments.pdf import PAGE_PIXELS
from batchgen.attachments.settings import AttachSettings
from batchgen.providers.vendors import VENDORS
from batchgen.tokens.pictures import Picture, picture_in, read_picture
from batchgen.values import Failure, Prompt
from tests.attachments.making import noise, pdf, picture

ASKED = Prompt(messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "What is it?"}])


def load(value, folder=Path(), limits=None, **settings):
    """Return the prompt with the files of a cell, or the failure."""
    attachments = Attachments(AttachSettings(column="f", **settings), folder, limits or AttachmentLimits())
    return attachments.load(Prompt(messages=ASKED.messages, attached=attachments.read(value)))


def parts(value, folder=Path(), **more):
    """Return the content of the last message."""
    prompt = load(value, folder, **more)
    assert isinstance(prompt, Prompt), prompt
    assert prompt.attached == ()
    assert prompt.messages[0] == {"role": "system", "content": "s"}
    return prompt.messages[-1]["content"]


def reason(value, folder=Path(), **more):
    """Return why a row cannot be asked."""
    try:
        failure = load(value, folder, **more)
    except AttachmentError as error:
        return str(error)
    assert isinstance(failure, Failure), failure
    return failure.message


NOTHING_IN_A_STRUCT = {"bytes": None, "path": None}


@pytest.mark.parametrize(
    "nothing", [None, "", " \n", [], b"", [None, ""], "[]", NOTHING_IN_A_STRUCT, [NOTHING_IN_A_STRUCT]]
)
def test_no_file_leaves_the_prompt_as_it_is(nothing):
    assert parts(nothing) == "What is it?"


@pytest.mark.parametrize(
    "shape",
    [
        lambda path, data: path.name,
        lambda path, data: str(path),
        lambda path, data: f"file://{path}",
        lambda path, data: [path.name],
        lambda path, data: json.dumps([path.name]),
        lambda path, data: data,
        lambda path, data: [data],
        lambda path, data: {"bytes": data, "path": None},
        lambda path, data: {"bytes": None, "path": path.name},
        lambda path, data: f"data:image/png;base64,{base64.b64encode(data).decode()}",
        lambda path, data: f"data:image/png;base64,{base64.encodebytes(data).decode()}",
        lambda path, data: f"file://localhost{path}",
        lambda path, data: f' "{path}"',
        lambda path, data: path.name.replace("a", "%61"),
        lambda path, data: f" data:image/png;base64,{base64.b64encode(data).decode()}",
        lambda path, data: path.as_uri().replace("a.png", "%61.png"),
    ],
)
def test_a_picture_is_the_same_part_however_the_cell_gives_it(tmp_path, shape):
    data = picture()
    (tmp_path / "a.png").write_bytes(data)
    shown = parts(shape(tmp_path / "a.png", data), tmp_path)
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    assert shown == [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]


@pytest.mark.parametrize(("kept", "asked"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_is_found_in_both_forms_of_unicode(tmp_path, kept, asked):
    """A Mac writes the letter and its mark apart, also in the archive that holds table and files."""
    (tmp_path / unicodedata.normalize(kept, "größe.txt")).write_text("as long as it is wide")
    assert "as long as it is wide" in parts(unicodedata.normalize(asked, "größe.txt"), tmp_path)


def test_the_same_bytes_have_the_same_digest_and_others_another(tmp_path):
    data = picture()
    (tmp_path / "a.png").write_bytes(data)
    (by_path,), (by_bytes,), (other,) = (
        read_cell(value, tmp_path) for value in ("a.png", data, picture(size=(65, 48)))
    )
    assert by_path.digest == by_bytes.digest != other.digest


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "sub/../../secret.txt", "link.txt"])
def test_a_row_cannot_open_files_elsewhere(tmp_path, path):
    """Rows come from others: only what lies below the folder is sent, also by way of a link."""
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert "attach.folder" in reason(path, folder)


def test_a_missing_or_empty_file_is_named(tmp_path):
    (tmp_path / "empty.png").touch()
    assert "missing.png" in reason("missing.png", tmp_path)
    assert "empty" in reason("empty.png", tmp_path)
    assert "cannot be read" in reason(".", tmp_path)
    for empty in ({"bytes": b"", "path": "scan.png"}, "data:image/png;base64,"):
        assert "the file is empty" in reason(empty)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\0b.png", "null"),
        ("[" * 5_000, "cannot be read"),
        ("a" * 5_000, "cannot be read"),
        ("data:image/svg+xml,%3Csvg/%3E", "without base64"),
        ("pipe", "no file"),
    ],
)
def test_text_that_is_no_path_is_a_reason(tmp_path, text, said):
    os.mkfifo(tmp_path / "pipe")
    assert said in reason(text, tmp_path)


def test_a_picture_over_the_limits_is_made_smaller_and_one_within_them_is_not_touched(tmp_path):
    large = noise((3000, 1000), quality=95)
    (url,) = [part["image_url"]["url"] for part in parts(large, limits=AttachmentLimits(longest=1500))[:1]]
    assert picture_in(url).size == (1500, 500)
    (url,) = [part["image_url"]["url"] for part in parts(large, limits=AttachmentLimits(bytes=200_000))[:1]]
    assert len(base64.b64decode(url.partition(",")[2])) <= 200_000
    (url,) = [part["image_url"]["url"] for part in parts(large, max_side=600)[:1]]
    assert picture_in(url).size == (600, 200)
    assert base64.b64decode(parts(large)[0]["image_url"]["url"].partition(",")[2]) == large


@pytest.mark.parametrize("form", ["TIFF", "BMP", "GIF"])
def test_a_form_that_the_provider_does_not_take_is_converted(form):
    url = parts(picture(form=form), limits=AttachmentLimits(pictures=frozenset({"jpeg", "png"})))[0]["image_url"]["url"]
    assert picture_in(url).kind in ("jpeg", "png")
    assert picture_in(url).size == (64, 48)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
def test_a_grey_picture_of_many_bits_keeps_its_brightness(mode):
    """Scans and X-rays have 16 bits: cut instead of scaled they would be all white, and paid for."""
    from PIL import Image

    half = Image.new("I", (64, 48), 30_000)
    half.paste(0, (0, 0, 32, 48))
    half.putpixel((63, 47), 65_535)
    out = io.BytesIO()
    (half.convert(mode)).save(out, "TIFF")
    url = parts(out.getvalue(), limits=AttachmentLimits(pictures=frozenset({"png", "jpeg"})))[0]["image_url"]["url"]
    shown = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("L")
    assert shown.getpixel((8, 24)) < 10
    assert 107 <= shown.getpixel((48, 24)) <= 127


def test_transparency_and_turned_photographs_survive_a_conversion():
    url = parts(picture(form="GIF", mode="P", transparency=1), limits=AttachmentLimits(pictures=frozenset({"png"})))
    assert picture_in(url[0]["image_url"]["url"]).kind == "png"
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    turned = parts(picture((400, 200), "JPEG", exif=exif), max_side=100)[0]["image_url"]["url"]
    assert picture_in(turned).size == (50, 100)


@pytest.mark.parametrize("name", ["dashscope", "openai", "anthropic"])
def test_each_provider_gets_only_what_it_takes(name):
    limits = VENDORS[name].attachments
    for data in (noise((9000, 300), quality=95), picture(form="TIFF"), picture(form="GIF"), noise((2500, 2500), "PNG")):
        content = parts(data, limits=limits)
        url = content[0]["image_url"]["url"]
        found = picture_in(url)
        assert found.kind in limits.pictures
        assert max(found.size) <= limits.longest
        assert len(base64.b64decode(url.partition(",")[2])) <= limits.bytes


def test_shapes_that_no_size_helps_are_refused_before_paying():
    limits = VENDORS["dashscope"].attachments
    assert "11 on each side" in reason(picture((10, 500)), limits=limits)
    assert "200 times" in reason(picture((20, 5000)), limits=limits)
    assert "damaged" in reason(picture()[:20], limits=limits)
    cut = noise((800, 800), "JPEG")[:9000]
    assert "damaged" in reason(cut, limits=limits, max_side=100)
    assert "provider takes" in reason([picture()] * 3, limits=AttachmentLimits(most=2))


def test_a_pdf_is_its_text_where_it_has_one():
    long = "The total is 105.60 EUR, payable within thirty days."
    content = parts(pdf(long, long))
    assert isinstance(content, str)
    assert content.count(long) == 2
    assert "[page 2]" in content


def test_a_scanned_pdf_is_pictures_and_a_mixed_one_both():
    assert [part["type"] for part in parts(pdf("", ""))] == ["image_url", "image_url", "text"]
    long = "A page with enough letters on it to be read as a text."
    mixed = parts(pdf(long, long, ""))
    assert [part["type"] for part in mixed] == ["image_url", "text", "text"]
    assert [part["type"] for part in parts(pdf(long), pages="images")] == ["image_url", "text"]
    assert max(picture_in(parts(pdf(""), max_side=500)[0]["image_url"]["url"]).size) <= 500


def test_what_was_filled_into_the_form_of_a_pdf_is_sent():
    """It is drawn on top of its page, and the text of the page alone has an empty form."""
    form = "Name of the applicant as it stands in the passport:"
    assert parts(pdf(form, filled="Ann Example")).endswith(f"{form}\nAnn Example")
    empty, filled = (parts(pdf(form, filled=name), pages="images")[0] for name in ("", "Ann Example"))
    assert empty != filled


def test_pdf_files_that_cannot_be_read_say_why():
    assert "no text" in reason(pdf(""), pages="text")
    assert "max_pages" in reason(pdf("", "", ""), max_pages=2)
    assert "cannot be opened" in reason(b"%PDF-1.4\nnothing")


def test_recordings_and_texts():
    wave = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(24)
    assert parts(wave)[0] == {
        "type": "input_audio",
        "input_audio": {"data": base64.b64encode(wave).decode(), "format": "wav"},
    }
    assert "takes no recordings" in reason(b"fLaC" + bytes(40))
    assert "takes no recordings" in reason(wave, limits=VENDORS["anthropic"].attachments)
    for text in ("café", "\ufeffcafé"):
        assert parts(text.encode()).endswith("café")
    assert parts("café".encode("utf-16")).endswith("café")
    assert parts("café".encode("cp1252")).endswith("café")


def test_a_file_of_another_kind_fails_its_row_or_is_only_named():
    other = b"PK\x03\x04" + bytes(60)
    assert "attach.unreadable" in reason({"bytes": other, "path": "offer.docx"})
    assert "offer.docx is attached" in parts({"bytes": other, "path": "offer.docx"}, unreadable="name")


def test_addresses_are_passed_on_and_never_fetched():
    assert parts("https://example.com/a.jpg?x=1")[0]["image_url"]["url"] == "https://example.com/a.jpg?x=1"
    assert parts("https://example.com/a.jpg", detail="low")[0]["image_url"]["detail"] == "low"
    assert "its file is needed" in reason("https://example.com/a.pdf")


@given(st.binary(max_size=300))
def test_any_bytes_have_a_kind_and_any_cell_a_part_or_a_reason(data):
    assert kind_of(data)[0] in ("image", "pdf", "audio", "text", "other")
    found = read_picture(data)
    assert found is None or found.size is None or min(found.size) > 0
    assert isinstance(load(data), Prompt | Failure)


LISTS = [
    '["a.png", null, "b.png"]',
    "['a.png', None, 'b.png']",
    '[{"path": "a.png"}, "b.png"]',
    ["a.png", float("nan"), "b.png"],
]


@pytest.mark.parametrize("cell", LISTS, ids=["JSON", "Python", "objects", "pandas"])
def test_a_list_may_be_written_as_programs_write_it(tmp_path, cell):
    """Gaps in it are no files."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(picture())
    assert len(parts(cell, tmp_path)) == 3


@pytest.mark.parametrize("text", [" a.png ", "sub\\a.png", "~/a.png"])
def test_a_path_is_found_as_it_was_meant(tmp_path, monkeypatch, text):
    """With spaces round it, from Windows, below the home directory; one that is there as it stands comes first."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "sub").mkdir()
    for place in (tmp_path, tmp_path / "sub"):
        (place / "a.png").write_bytes(picture())
    assert len(parts(text, tmp_path)) == 2


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("a.png;b.png", r'several files are a list: \["a.png", "b.png"\]'),
        ("s3://bucket/a.png", "fetch it first"),
        ("https://host/a.docx", "only pictures can be sent by their address"),
        ("https://host/page.html?a=1", "only pictures can be sent by their address"),
        ("https://host/drawing.svg", "only pictures can be sent by their address"),
        ("https://", "names no host"),
        ("http:///a.png", "names no host"),
        ("oss://?x", "names no host"),
        ({"file": "a.png"}, "an object without bytes, path or url"),
        ("\ud800.png", "a path cannot hold such characters"),
        ("x" * 5000, r"x{200}\.\.\.: the file cannot be read"),
        ("page.jpg", "it is no picture but a text"),
        ("data:image/png;base64,PGh0bWw+NDA0PC9odG1sPg==", "it is no picture but a text"),
    ],
)
def test_what_was_meant_is_hinted_at(tmp_path, cell, said):
    """In place of a file that is said not to be there."""
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "page.jpg").write_bytes(b"<html>404 Not Found</html>")
    assert re.search(said, reason(cell, tmp_path))


def test_base64_is_read_in_each_of_its_forms():
    """Of URLs, without filling, and without anything before it; a damaged one is none."""
    data = picture(mode="RGB", size=(65, 47))
    text = base64.b64encode(data).decode()
    for form in (text, text.rstrip("="), text.replace("+", "-").replace("/", "_")):
        assert picture_in(parts(f"data:image/png;base64,{form}")[0]["image_url"]["url"]).size == (65, 47)
        assert parts(form)[0] == parts(data)[0]
    assert "damaged" in reason("data:image/png;base64,%%%")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_a_picture_whose_end_is_missing_is_not_sent(form):
    """Half of an invoice would be read, and paid for."""
    whole = noise((80, 60), form)
    assert parts(whole)
    assert "damaged" in reason(whole[: len(whole) * 2 // 3])


def test_each_page_of_a_tiff_is_sent_also_where_the_form_is_taken():
    """A provider looks at the first one only."""
    pages = [Image.new("RGB", (40 + n, 40)) for n in range(3)]
    out = io.BytesIO()
    pages[0].save(out, "TIFF", save_all=True, append_images=pages[1:])
    limits = VENDORS["dashscope"].attachments
    assert len(parts(out.getvalue(), limits=limits)) == 4
    [one, _] = parts(picture((40, 40), "TIFF"), limits=limits)
    assert one["image_url"]["url"].startswith("data:image/tiff")


def test_large_pictures_of_rarer_forms_are_converted_for_dashscope():
    """Beyond 4K it takes only JPEG and PNG."""
    limits = VENDORS["dashscope"].attachments
    sent = [parts(picture((side, 60), "WEBP"), limits=limits)[0]["image_url"]["url"] for side in (3_800, 4_000)]
    assert [url[:15] for url in sent] == ["data:image/webp", "data:image/jpeg"]
    assert picture_in(sent[1]).size == (4_000, 60)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x14ispe\0\0\0\0\0\0\2\0\0\0\1\0" * 2


def test_avif_is_told_from_heic():
    """The one is converted, the other passed on where it is taken; the size of both is known."""
    avif = picture((64, 48), "AVIF")
    assert read_picture(avif) == Picture("avif", 64, 48)
    assert picture_in(parts(avif)[0]["image_url"]["url"]) == Picture("jpeg", 64, 48)
    assert read_picture(HEIC) == Picture("heic", 512, 256)
    assert "HEIC pictures cannot be read here" in reason(HEIC)
    assert parts(HEIC, limits=VENDORS["dashscope"].attachments)[0]["image_url"]["url"].startswith("data:image/heic")


def test_a_request_has_a_most_of_bytes():
    """However few its pictures are."""
    limits = AttachmentLimits(request=20_000)
    assert parts([noise((80, 60))] * 2, limits=limits)
    assert "MB that the provider takes in a request" in reason([noise((80, 60))] * 20, limits=limits)


def test_a_page_of_any_size_takes_bounded_memory():
    """A plan is drawn smaller, and a strip that no provider takes is refused."""
    [page, _] = parts(pdf("").replace(b"595 842", b"9000 9000"))
    assert math.prod(picture_in(page["image_url"]["url"]).size) <= PAGE_PIXELS * 1.01
    limits = VENDORS["dashscope"].attachments
    assert "page 1: the picture has" in reason(pdf("").replace(b"595 842", b"3 9000"), limits=limits)


def test_texts_of_unknown_encoding_are_refused_rather_than_sent_as_rubbish():
    """A western one is taken for what it is, and damaged UTF-8 as well."""
    texts = {"gbk": "请提供发票号码和金额" * 2, "shift_jis": "請求書番号と金額を入力", "cp1251": "Счёт на оплату"}
    for encoding, text in texts.items():
        assert "the encoding of the text is not known" in reason(text.encode(encoding))
    assert "Grüße" in parts("Grüße".encode("cp1252"))
    assert "Grüße \ufffd" in parts("Grüße ".encode() + b"\xff")
    assert "Grüße" in parts("Grüße".encode("utf-32"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04" + b"\0" * 30 + b"xl/workbook.xml", "save it as PDF"),
        (b"PK\x03\x04" + b"\0" * 30 + b"readme", "unpack it"),
        (b"\0\0\0\x20ftypisom\0\1", "videos are not sent"),
        (b"\0\0\0\x08wide\0\0\1\0mdat", "videos are not sent"),
        (b"\0\0\1\xba\x44\0\4", "videos are not sent"),
        (b"FLV\1\5\0\0\0\x09", "videos are not sent"),
        ("https://host/film.mp4?x=1", "videos are not sent"),
        (b"\x78\x9f\x3e\x22\0\0", "Outlook"),
        (b"#!AMR\n\0\1", "no recordings of the form amr, but mp3 and wav"),
    ],
)
def test_files_of_known_forms_say_what_to_do(data, said):
    """Each form its own."""
    assert said in reason(data)


def test_a_library_that_cannot_be_imported_is_a_reason(monkeypatch):
    """A damaged installation fails the rows that need it, and no others."""

    def broken(name, *more):
        raise ImportError("libjpeg.so.8: cannot open shared object file")

    monkeypatch.setattr(extras.importlib, "import_module", broken)
    assert parts(picture())
    for data in (picture((64, 48), "BMP"), pdf("text")):
        assert "is installed and cannot be imported (libjpeg.so.8" in reason(data)


def test_an_input_at_an_address_needs_a_folder_for_paths():
    """Bytes and addresses need none."""
    attachments = Attachments(AttachSettings(column="f"), None, AttachmentLimits())
    assert attachments.read(picture())
    assert attachments.read("https://host/a.png")
    with pytest.raises(AttachmentError, match=r"attach\.folder"):
        attachments.read("a.png")


def test_a_path_of_nothing_but_a_quote_is_not_the_folder_itself(tmp_path):
    """The message names what was asked for."""
    assert "no such file" in reason('"', tmp_path).lower()
