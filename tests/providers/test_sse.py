"""Event streams: large ones are read as small ones are, without all their documents in memory at once."""

import tracemalloc

import pytest

from batchgen.providers import sse
from batchgen.providers.sse import read_frames

STREAM = b'data: {"a": 1}\n\nevent:error\n:HTTP_STATUS/429\ndata: {"b": "x"}\n\ndata: {"c": [1]}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("body", [STREAM, b"data: {}\n", b": alive\n", STREAM + b"event:error\ndata: busy"])
def test_a_large_stream_reads_as_a_small_one(monkeypatch, body):
    """The same frames, as often as they are asked for."""
    small = list(read_frames(body))
    monkeypatch.setattr(sse, "_LARGE_BYTES", -1)
    large = read_frames(body)
    assert list(large) == small == list(large)
    assert (len(large), bool(large), list(large[1:])) == (len(small), bool(small), small[1:])


@pytest.mark.parametrize("body", [b'data: {"a": 1}\ndata: {"b"', b'data: {"a"\n\ndata: {"b": 1}\n'])
def test_what_is_cut_or_broken_is_found_at_once(monkeypatch, body):
    """Before the first frame is used."""
    monkeypatch.setattr(sse, "_LARGE_BYTES", -1)
    *whole, last = read_frames(body)
    assert last.broken
    assert all(not frame.broken for frame in whole)


def test_memory_of_a_large_stream():
    """It stays within a few times the bytes, where the decoded documents take ten times as many."""
    line = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"word word"},"finish_reason":null}],"n":1}\n\n'
    body = line * 40_000
    tracemalloc.start()
    try:
        frames = read_frames(body)
        assert sum(1 for _ in frames) == 40_000
        assert tracemalloc.get_traced_memory()[1] < 5 * len(body)
    finally:
        tracemalloc.stop()
