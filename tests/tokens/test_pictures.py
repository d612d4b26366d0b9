"""The size of pictures from their first bytes, held against Pillow, and their tokens against the vendors' examples."""

import base64
import io

import pytest
from PIL import Image

from batchgen.tokens.hidden import media_of
from batchgen.tokens.pictures import picture_tokens, read_picture
from batchgen.values import Prompt
from tests.attachments.making import picture


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("size", [(1, 1), (640, 480), (11, 3000), (4097, 2)])
def test_sizes_are_those_that_pillow_reads(form, size):
    data = picture(size, form)
    found = read_picture(data)
    assert (found.kind, found.size) == (form.lower(), Image.open(io.BytesIO(data)).size)


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("WEBP", {"lossless": True}),
        ("WEBP", {"quality": 50}),
        ("JPEG", {"progressive": True}),
        ("PNG", {"mode": "RGBA"}),
    ],
)
def test_other_forms_of_the_same_kinds(form, options):
    assert read_picture(picture((123, 45), form, **options)).size == (123, 45)


def test_a_size_behind_a_long_preview_is_found():
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    assert read_picture(picture((321, 123), "JPEG", exif=exif)).size == (321, 123)


@pytest.mark.parametrize(
    ("model", "size", "settings", "tokens"),
    [
        # https://platform.openai.com/docs/guides/images-vision
        ("gpt-4o", (1024, 1024), {}, 765),
        ("gpt-4o", (2048, 4096), {}, 1105),
        ("gpt-4o", (4096, 8192), {"detail": "low"}, 85),
        ("gpt-4.1-mini", (1024, 1024), {}, 1659),
        ("gpt-4.1-mini", (1800, 2400), {}, 2353),
        # squares of 32 pixels and two more tokens; https://docs.qwencloud.com/developer-guides/multimodal/vision
        ("qwen3-vl-plus", (1024, 1024), {}, 32 * 32 + 2),
        ("qwen3.6-plus", (40, 40), {}, 64 + 2),
        ("qwen2.5-vl-72b-instruct", (280, 560), {}, 10 * 20 + 2),
        ("qwen3-vl-plus", (320, 320), {"max_pixels": 160 * 160}, 5 * 5 + 2),
        ("some-model", (10, 10), {}, None),
    ],
)
def test_tokens_are_those_of_the_published_rules(model, size, settings, tokens):
    assert picture_tokens(model, size, settings) == tokens


def test_a_large_picture_costs_the_most_that_the_model_takes():
    assert picture_tokens("qwen3-vl-plus", (8000, 8000), {}) <= 2562
    assert 2562 < picture_tokens("qwen3-vl-plus", (8000, 8000), {"vl_high_resolution_images": True}) <= 16_386


@pytest.mark.parametrize(
    "part",
    [
        lambda url: {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        lambda url: {"image": url},
        lambda url: {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": url.partition(",")[2]},
        },
    ],
)
def test_a_picture_in_a_message_is_counted_by_its_data(part):
    url = f"data:image/png;base64,{base64.b64encode(picture((640, 320))).decode()}"
    (media,) = media_of(Prompt(messages=[{"role": "user", "content": [part(url)]}]))
    assert media.tokens("qwen3-vl-plus", {}) == 20 * 10 + 2


def test_a_picture_by_address_is_not_counted():
    (media,) = media_of(Prompt(messages=[{"role": "user", "content": [{"image": "https://example.com/a.png"}]}]))
    assert media.tokens("qwen3-vl-plus", {}) is None
