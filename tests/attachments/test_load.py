"""Files in cells become parts of a message within the limits, or a reason why the row cannot be asked."""

import base64
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.attachments.cells import AttachmentError, kind_of, read_cell
from batchgen.attachments.limits import AttachmentLimits
from batchgen.attachments.load import Attachments
from batchgen.attachments.settings import AttachSettings
from batchgen.providers.vendors import VENDORS
from batchgen.tokens.pictures import picture_in, read_picture
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


@pytest.mark.parametrize("nothing", [None, "", [], b"", [None, ""], "[]", NOTHING_IN_A_STRUCT, [NOTHING_IN_A_STRUCT]])
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
        lambda path, data: path.as_uri().replace("a.png", "%61.png"),
    ],
)
def test_a_picture_is_the_same_part_however_the_cell_gives_it(tmp_path, shape):
    data = picture()
    (tmp_path / "a.png").write_bytes(data)
    shown = parts(shape(tmp_path / "a.png", data), tmp_path)
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    assert shown == [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]


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
