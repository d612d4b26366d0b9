"""What one request can cost at the most, and what is said where nothing bounds it."""

import base64
import io
import wave
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.money.prices import load_prices
from batchgen.money.worst_case import Unbounded, WorstCase
from batchgen.values import Prompt, Request

LISTED = load_prices().find("gpt-4o", "international")
IMAGE = {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}}


def priced(tmp_path, limits, prices=""):
    """A price of 1 and 10 per million tokens, with these limits and further prices."""
    path = tmp_path / "prices.toml"
    path.write_text(
        f"[models.m]\n{limits}\n[models.m.international]\n"
        'input = 1\noutput = 10\ncache_write = 1\ncurrency = "USD"\nsource = "own"\ndate = 2026-11-20\n'
        f"{prices}\n"
    )
    found = load_prices(path).find("m", "international")
    assert found is not None
    return found


def asked(content, **own):
    messages = [{"role": "user", "content": content}]
    body = msgspec.json.encode({"model": "m", "messages": messages})
    return Request("", body, {}), Prompt(messages=messages, parameters=own or None)


def bound(price, content, parameters=None):
    given_parameters = {"max_tokens": 100} if parameters is None else parameters
    return WorstCase(lambda model: price, "m", given_parameters)(*asked(content))


def amount(value):
    assert isinstance(value, Decimal), value
    return value


def reason(value):
    assert isinstance(value, Unbounded)
    return value.reason


def test_an_image_by_url_counts_at_its_stated_maximum(tmp_path):
    """Two images of up to 2,500 tokens each, whatever the length of their addresses."""
    price = priced(tmp_path, "max_media_tokens = 2500\nmax_output = 8192")
    text = amount(bound(price, "What is this?"))
    worst = amount(bound(price, [{"type": "text", "text": "What is this?"}, IMAGE, IMAGE]))
    assert Decimal("0.005") < worst - text < Decimal("0.0052")


def test_an_image_in_the_body_is_not_counted_by_its_bytes(tmp_path):
    """A megabyte of base64 is no million tokens."""
    price = priced(tmp_path, "max_media_tokens = 2500\nmax_output = 8192")
    inline = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    worst = amount(bound(price, [inline]))
    assert Decimal("0.0025") < worst < Decimal("0.005")


def test_an_image_without_stated_maximum_takes_the_longest_input(tmp_path):
    """What a model takes at the most bounds the whole request, however many images it holds."""
    price = priced(tmp_path, "max_input = 50000\nmax_output = 8192")
    worst = amount(bound(price, [IMAGE, IMAGE]))
    assert worst == price.worst_case(50_000, 110)


def test_an_image_that_nothing_bounds_is_refused_with_what_to_set(tmp_path):
    """The key and the file are named."""
    told = reason(bound(priced(tmp_path, "max_output = 8192"), [IMAGE]))
    assert "max_media_tokens" in told
    assert "pricing.file" in told


def test_audio_has_a_price_of_its_own(tmp_path):
    """So that no bound of its tokens helps."""
    price = priced(tmp_path, "max_media_tokens = 2500\nmax_input = 50000\nmax_output = 8192")
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    assert "audio" in reason(bound(price, [sound]))


def recording(seconds, form="wav"):
    """Return a part with a recording: 16,000 samples a second of two bytes, or 16 kB a second of MP3."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(32_000 * seconds))
    data = out.getvalue() if form == "wav" else b"\xff\xfb\x90\x00" + bytes(16_000 * seconds)
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": form}}


def test_recordings_are_bounded_by_their_length_where_their_price_is_known(tmp_path):
    """Ten tokens a second at 32 the million, whatever their bytes; an MP3 may be as slow as there are any."""
    price = priced(tmp_path, "audio_tokens_per_second = 10\nmax_output = 8192", "audio_input = 32.0")
    text = amount(bound(price, "hi"))
    for seconds in (3, 600):
        spoken = 10 * seconds * Decimal(32) / 1_000_000
        worst = amount(bound(price, [{"type": "text", "text": "hi"}, recording(seconds)]))
        assert spoken < worst < text + 2 * spoken + Decimal("0.001")
    assert amount(bound(price, [recording(60, "mp3")])) >= 600 * Decimal(32) / 1_000_000
    assert "how long" in reason(bound(price, [{"audio": "https://pictures.example/a.wav"}]))
    assert "audio_tokens_per_second" in reason(bound(priced(tmp_path, "max_output = 8192"), [recording(3)]))


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"max_tokens": 100, "enable_search": True}, "enable_search"),
        ({"max_tokens": 100, "extra_body": {"enable_search": True}}, "enable_search"),
        ({"max_tokens": 100, "tools": [{"type": "web_search"}]}, "web_search"),
        ({"max_tokens": "100"}, "max_completion_tokens"),
    ],
)
def test_what_nothing_bounds_is_refused(parameters, named):
    """The setting is named, in a job and in a row."""
    assert named in reason(bound(LISTED, "hi", parameters))
    by_row = WorstCase(lambda model: LISTED, "m", {"max_tokens": 100})(*asked("hi", **parameters))
    assert named in reason(by_row)
    assert named in reason(WorstCase(lambda model: LISTED, "m", parameters).of_job())


def test_a_model_without_price_is_refused():
    """Also one that a row names."""
    assert "pricing.file" in reason(bound(None, "hi"))


def test_a_null_cell_leaves_the_jobs_limit():
    """A row that sets no max_tokens has the job's."""
    worst_case = WorstCase(lambda model: LISTED, "m", {"max_tokens": 100})
    assert worst_case(*asked("hi", max_tokens=None)) == worst_case(*asked("hi"))


def test_a_prediction_can_be_charged_as_output():
    """What an answer does not use of it is billed like what it says."""
    with_prediction = {"max_tokens": 100, "prediction": {"type": "content", "content": "x" * 10_000}}
    more = amount(bound(LISTED, "hi", with_prediction)) - amount(bound(LISTED, "hi"))
    assert LISTED is not None
    assert more >= 10_000 * LISTED.tiers[0].output / 1_000_000


def test_text_that_grows_when_normalised_is_bounded(tmp_path):
    """Some letters fall apart into three times their bytes before a vocabulary sees them."""
    price = priced(tmp_path, "max_output = 8192")
    assert amount(bound(price, "\U0001d160" * 1_000)) >= Decimal("0.012")


@given(st.lists(st.sampled_from(["text", "image", "audio"]), max_size=5), st.integers(1, 4_000))
def test_more_parts_never_cost_less(parts, each):
    """And one that is not text never counts less than its stated maximum."""
    assert LISTED is not None
    price = msgspec.structs.replace(LISTED, max_media_tokens=each)
    made = {"text": {"text": "hello"}, "image": IMAGE, "audio": {"audio": "https://pictures.example/a.wav"}}
    worst = bound(price, [made[part] for part in parts])
    if "audio" in parts:
        assert isinstance(worst, Unbounded)
    else:
        least = each * parts.count("image") * price.tiers[0].input / 1_000_000
        assert amount(worst) >= least


@pytest.mark.parametrize(
    ("asked", "factor"), [(None, "2"), ("auto", "2"), ("default", "1"), ("flex", "1"), ("priority", "2"), ("own", "1")]
)
def test_the_dearest_class_of_service_that_may_answer_is_reserved_for(asked, factor):
    """Where the request does not name one, the account's settings decide; one that is named may fall back."""
    tiers = {"flex": Decimal("0.5"), "priority": Decimal(2)}
    price = msgspec.structs.replace(load_prices().find("qwen-plus", "international"), service_tiers=tiers)
    parameters = {"max_tokens": 16, "enable_thinking": False}
    plain = WorstCase(lambda model: price, "qwen-plus", parameters | {"service_tier": "default"}).of_job()
    tier = {} if asked is None else {"service_tier": asked}
    assert WorstCase(lambda model: price, "qwen-plus", parameters | tier).of_job() == plain * Decimal(factor)
