"""Pictures that providers may show otherwise than they are meant are sent upright, in ordinary colours, and as one."""

import base64
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from batchgen.attachments.limits import AttachmentLimits
from batchgen.attachments.load import Attachments
from batchgen.attachments.settings import AttachSettings
from batchgen.attachments.traits import shown_otherwise
from batchgen.tokens.hidden import media_of
from batchgen.values import Prompt
from tests.attachments.making import picture

TAKEN = AttachmentLimits(pictures=frozenset({"jpeg", "png", "webp", "gif", "tiff"}))
RED, BLUE = (254, 0, 0), (0, 0, 254)


def sent(data, limits=TAKEN):
    """Return the prompt in which the picture is sent, and what the model sees."""
    attachments = Attachments(AttachSettings(column="files"), None, limits)
    prompt = Prompt(({"role": "user", "content": "look"},), attached=attachments.read(data))
    loaded = attachments.load(prompt)
    url = loaded.messages[0]["content"][0]["image_url"]["url"]
    return loaded, Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def saved(image, form, **options):
    """Return an image as bytes."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def arrow(orientation):
    """Return a picture 64 wide and 32 high, red on the left, as a camera that was held otherwise stores it."""
    image = Image.new("RGB", (64, 32), BLUE)
    image.paste(RED, (0, 0, 16, 32))
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }.get(orientation)  # fmt: skip
    return image if back is None else image.transpose(back)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_sent_upright(form, orientation):
    """Whatever a server makes of its mark, which is gone; one that stands upright is sent as it is."""
    exif = Image.Exif()
    exif[274] = orientation
    data = saved(arrow(orientation), form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    prompt, seen = sent(data)
    assert seen.size == (64, 32)
    assert seen.getexif().get(274, 1) == 1
    near = [[abs(one - other) < 60 for one, other in zip(seen.convert("RGB").getpixel(at), colour, strict=True)]
            for at, colour in (((5, 16), RED), ((55, 16), BLUE))]  # fmt: skip
    assert near == [[True] * 3] * 2
    [media] = media_of(prompt)
    assert media.picture == (64, 32)
    assert shown_otherwise(form.lower(), data) == (orientation > 1)


def test_a_photograph_that_is_turned_and_too_large_is_upright_and_small():
    """Both at once, in proportion."""
    exif = Image.Exif()
    exif[274] = 6
    _, seen = sent(saved(arrow(6), "JPEG", exif=exif), AttachmentLimits(longest=40))
    assert seen.size == (40, 20)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_colours_of_print_become_those_of_a_screen(form):
    """Many readers know no CMYK."""
    data = saved(Image.new("CMYK", (40, 30), (0, 255, 255, 0)), form)
    assert shown_otherwise(form.lower(), data)
    _, seen = sent(data)
    assert (seen.mode, seen.size) == ("RGB", (40, 30))
    red, green, blue = seen.getpixel((5, 5))
    assert red > 200
    assert max(green, blue) < 60


def test_a_grey_picture_of_16_bits_is_not_white():
    """A server that cuts its brightness off would show nothing."""
    data = saved(Image.new("I;16", (40, 30), 20_000), "PNG")
    assert shown_otherwise("png", data)
    _, seen = sent(data)
    assert abs(seen.convert("L").getpixel((5, 5)) - 78) <= 2


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_of_an_animated_picture_the_first_one_is_sent(form):
    """Some providers refuse the whole, others look at the first."""
    frames = [Image.new("RGB", (40, 30), colour) for colour in (RED, BLUE, RED)]
    data = saved(frames[0], form, save_all=True, append_images=frames[1:], duration=100)
    assert shown_otherwise(form.lower(), data)
    _, seen = sent(data)
    assert getattr(seen, "n_frames", 1) == 1
    assert seen.convert("RGB").getpixel((5, 5))[0] > 200


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_an_ordinary_picture_is_sent_as_it_is(form, mode):
    """Also with a palette."""
    if (form, mode) not in (("JPEG", "P"), ("JPEG", "RGBA")):
        data = picture((40, 30), form, mode)
        assert not shown_otherwise(form.lower(), data)
        prompt, _ = sent(data)
        url = prompt.messages[0]["content"][0]["image_url"]["url"]
        assert base64.b64decode(url.partition(",")[2]) == data


@given(
    kind=st.sampled_from(["jpeg", "png", "webp", "gif", "tiff", "avif", "bmp"]),
    place=st.integers(0, 400),
    byte=st.integers(0, 255),
)
def test_damaged_pictures_raise_nothing(kind, place, byte):
    """Whatever stands in their first bytes."""
    exif = Image.Exif()
    exif[274] = 3
    forms = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "tiff": "TIFF"}
    data = bytearray(
        saved(Image.new("RGB", (8, 8)), forms.get(kind, "PNG"), **({"exif": exif} if kind != "gif" else {}))
    )
    if place < len(data):
        data[place] = byte
    assert shown_otherwise(kind, bytes(data)) in (True, False)
    assert shown_otherwise(kind, bytes(data[:place])) in (True, False)
