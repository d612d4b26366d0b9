"""Which requests are the same, and when sharing an answer is right by default."""

import pytest
from msgspec.structs import replace

from batchgen.answers import dedupe_default, request_key
from batchgen.values import Request

REQUEST = Request("https://a/v1", b'{"model":"m"}', {"Accept": "x", "X-B": "y"}, model="m")


def test_requests_with_the_same_bytes_share_a_key():
    """Order and case of header names do not matter."""
    assert request_key(REQUEST) == request_key(replace(REQUEST, headers={"x-b": "y", "accept": "x"}))
    assert len(request_key(REQUEST)) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://a/v2"},
        {"body": b'{"model":"n"}'},
        {"streamed": True},
        {"headers": {"Accept": "x"}},
        {"headers": {"Accept": "xx-b:y"}},
    ],
)
def test_any_difference_is_another_key(change):
    """URL, body, headers and streaming count, and parts cannot run into each other."""
    assert request_key(REQUEST) != request_key(replace(REQUEST, **change))


@pytest.mark.parametrize(
    ("parameters", "shared"),
    [
        ({}, False),
        ({"temperature": 0}, True),
        ({"temperature": 0.0}, True),
        ({"temperature": 0.7}, False),
        ({"temperature": False}, False),
        ({"temperature": {"column": "t"}}, False),
        ({"seed": 7}, True),
        ({"seed": 0, "temperature": 1}, True),
        ({"seed": {"column": "s"}}, False),
        ({"extra_body": {"temperature": 0}}, True),
    ],
)
def test_rows_share_an_answer_by_default_only_if_it_would_be_the_same(parameters, shared):
    """Temperature 0 or a fixed seed."""
    assert dedupe_default(parameters) is shared
