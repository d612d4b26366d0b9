"""Odd heads of replies, and those that are left as they are."""

from __future__ import annotations

import pytest

from batchgen.transport.odd_head import usual_head
from tests.linear import check_linear


@pytest.mark.parametrize(
    ("head", "usual"),
    [
        (b"content-length: 3\r\nx: 1\r\ncontent-length: 3", b"x: 1\r\ncontent-length: 3"),
        (b"Content-Length: 3 ,3", b"content-length: 3"),
        (b"a: 1\r\n\t 2\r\nb: 3", b"a: 1 2\r\nb: 3"),
        (b"a: 1\n 2\ncontent-length: 3", b"a: 1 2\r\ncontent-length: 3"),
    ],
)
def test_what_means_one_thing_is_written_so(head, usual):
    """The body stays as it is, whatever is in it."""
    begin, body = b"HTTP/1.1 200 OK\r\n", b"a\r\n b\r\n\r\ncontent-length: 4\r\n"
    assert usual_head(begin + head + b"\r\n\r\n" + body) == begin + usual + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "head",
    [b"content-length: 3\r\ncontent-length: 4", b"content-length: 3, 4", b"content-length: \r\ncontent-length: ", b"a"],
)
def test_what_contradicts_itself_stays_so(head):
    """A parser refuses it: a body of the wrong length would be another reply's."""
    assert usual_head(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nbody") is None


def test_a_head_is_put_right_in_linear_time():
    """Also one of nothing but blanks."""
    for piece in (b" ", b"\r\n ", b"content-length:1\r\n", b"\t\r\n", b"\r\n"):
        check_linear(
            lambda length, piece=piece: usual_head(b"HTTP/1.1 200 OK\r\na:" + piece * length * 4 + b"\r\n\r\n")
        )
