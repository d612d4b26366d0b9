"""The simulator bills pictures as the vendors do, by another computation than batchgen's own."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchgen.simulator.pictures import picture_tokens
from batchgen.tokens import pictures
from tests.attachments.making import picture

MODELS = ["qwen3.6-plus", "qwen2.5-vl-72b-instruct", "gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-5", "o3"]


def asked(data, **said):
    """Return messages with a picture in the form of chat completions."""
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url, **said}}]}]


def header(width, height):
    """Return the beginning of a PNG file."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + width.to_bytes(4) + height.to_bytes(4) + b"\x08\2\0\0\0"


@pytest.mark.parametrize(
    ("model", "size", "said", "tokens"),
    [
        ("gpt-4o", (1024, 1024), {}, 765),
        ("gpt-4o", (4096, 8192), {"detail": "low"}, 85),
        ("gpt-4.1-mini", (1800, 2400), {}, 2353),
        ("qwen3-vl-plus", (1024, 1024), {}, 1026),
        ("qwen2.5-vl-72b-instruct", (280, 560), {"max_pixels": "x"}, 202),
        ("claude-sonnet-4-5", (750, 1000), {}, 1000),
        ("some-model", (750, 1000), {}, 0),
    ],
)
def test_the_examples_of_the_vendors(model, size, said, tokens):
    assert picture_tokens(model, asked(header(*size), **said)) == tokens


@given(st.sampled_from(MODELS), st.integers(1, 9000), st.integers(1, 9000), st.booleans())
@example("gpt-4.1-mini", 1200, 9000, False)
def test_two_computations_of_the_same_rules_agree(model, width, height, high):
    settings = {"vl_high_resolution_images": True} if high else {}
    billed = picture_tokens(model, asked(header(width, height)), high_resolution=high)
    assert billed == pictures.picture_tokens(model, (width, height), settings)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP"])
def test_each_wire_format_and_form_counts(form):
    data = picture((640, 320), form)
    text = base64.b64encode(data).decode()
    native = [{"role": "user", "content": [{"image": f"data:image/x;base64,{text}"}, {"text": "x"}]}]
    messages = [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": text}}]}]
    for shape in (asked(data), native, messages):
        assert picture_tokens("qwen3-vl-plus", shape) == 20 * 10 + 2


def test_what_is_no_picture_counts_nothing():
    for url in ("https://host/a.png", "data:image/png;base64,AAAAA", "data:,x"):
        assert picture_tokens("gpt-4o", [{"content": [{"image_url": {"url": url}}, "text", {"text": "x"}]}]) == 0
