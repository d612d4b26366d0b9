"""The length of recordings by their headers: what is likely, and what a budget has to reserve."""

import base64
import io
import struct
import wave

import pytest

from batchgen.tokens.recordings import likely_seconds, longest_seconds


def part(data, form="mp3"):
    """Return the part of a message that holds a recording."""
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": form}}


def waves(seconds, rate=8_000):
    """Return a WAV file of 16 bits."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * rate * seconds))
    return out.getvalue()


def tag(size):
    """Return an ID3 tag, as players write them with the picture of a cover."""
    return b"ID3\x04\0\0" + bytes(size >> 7 * place & 0x7F for place in (3, 2, 1, 0)) + bytes(size)


def frames(sign, count):
    """Return the first frame of a file of changing bit rate, which counts its frames (MPEG-1, 44,100 Hz)."""
    if sign == b"VBRI":
        return b"\xff\xfb\x90\x00" + bytes(32) + sign + bytes(10) + struct.pack(">I", count) + bytes(400)
    return b"\xff\xfb\x90\x00" + bytes(32) + sign + struct.pack(">II", 1, count) + bytes(400)


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (waves(7), 7),
        (b"\xff\xfb\x90\x00" + bytes(16_000 * 9), 9),  # MPEG-1, 128 kbit/s
        (b"\xff\xf3\x20\x00" + bytes(2_000 * 11), 11),  # MPEG-2, 16 kbit/s
        (tag(300_000) + b"\xff\xfb\x90\x00" + bytes(16_000 * 9), 9),
        (frames(b"Xing", 1_000), 1_000 * 1_152 / 44_100),
        (frames(b"Info", 2_000), 2_000 * 1_152 / 44_100),
        (tag(20_000) + frames(b"VBRI", 500), 500 * 1_152 / 44_100),
    ],
)
def test_the_header_tells_the_length(data, seconds):
    """Whatever stands before it; and the most is never less."""
    assert likely_seconds(part(data)) == pytest.approx(seconds, rel=0.01)
    url = {"type": "input_audio", "input_audio": {"data": f"data:;base64,{part(data)['input_audio']['data']}"}}
    assert likely_seconds(url) == likely_seconds(part(data))
    if b"\0" * 9_000 in data:  # a whole file, not its beginning alone
        assert longest_seconds(part(data)) >= seconds


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"RIFF....WAVE", b"ID3", b"\xff\xfb", b"\xff\xfb\xf0\x00" + bytes(90), tag(50), b"OggS" * 9]
)
def test_what_tells_no_length_has_none(data):
    """Also a file that ends within its header, and one of another form."""
    assert likely_seconds(part(data)) is None
    assert likely_seconds({"audio": "https://sounds.example/a.wav"}) is None
