"""Forms are read in pieces of any size, and everything that is wrong with one is told."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.simulator.batches.upload import CutError, FormFile
from tests.simulator.batches.conftest import form


def read(kind, body, path, cuts=(), cut_at=None):
    """Return a form that arrived in pieces."""
    taken = FormFile(kind, path, cut_at)
    places = [0, *sorted({cut % (len(body) + 1) for cut in cuts}), len(body)]
    for start, end in pairwise(places):
        taken.write(body[start:end])
    taken.end()
    return taken


@given(
    content=st.one_of(
        st.binary(max_size=200), st.lists(st.sampled_from([b"\r\n--", b"XyZ", b"\r", b"-"])).map(b"".join)
    ),
    cuts=st.lists(st.integers(0, 1000), max_size=12),
)
def test_any_bytes_come_out_as_they_went_in(tmp_path_factory, content, cuts):
    """However the body is cut, and also where the content looks like a boundary that is none."""
    if b"\r\n--XyZ" in b"\r\n" + content:
        return
    path = tmp_path_factory.mktemp("form") / "file"
    kind, body = form(content, purpose="batch", other="ü")
    taken = read(kind, body, path, cuts)
    assert (taken.wrong, taken.file_name, taken.size) == ("", "rows.jsonl", len(content))
    assert path.read_bytes() == content
    assert taken.fields == {"purpose": "batch", "other": "ü"}


def test_a_field_may_come_after_the_file(tmp_path):
    """The order of the parts says nothing."""
    body = b'--q\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}\r\n'
    body += b'--q\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--q--\r\n'
    taken = read('multipart/form-data; boundary="q"', body, tmp_path / "file")
    assert (taken.fields, taken.size, taken.wrong) == ({"purpose": "batch"}, 2, "")


@pytest.mark.parametrize(
    ("kind", "body", "wrong"),
    [
        ("application/json", b"{}", "must be multipart"),
        ("multipart/form-data", b"", "must be multipart"),
        ("multipart/form-data; boundary=q", b"--q\r\nX: y\r\n\r\nz\r\n--q--", "no name"),
        ("multipart/form-data; boundary=q", b'--q\r\nContent-Disposition: form-data; name="a"\r\n\r\nz', "is cut"),
        ("multipart/form-data; boundary=q", b"--q\r\n" + b"x" * 20_000, "too large"),
        (
            "multipart/form-data; boundary=q",
            b'--q\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"z" * 70_000 + b"\r\n--q--",
            "too large",
        ),
    ],
)
def test_what_is_wrong_with_a_form(tmp_path, kind, body, wrong):
    """Is told when the body is complete."""
    assert wrong in read(kind, body, tmp_path / "file").wrong


def test_a_body_may_be_cut_on_its_way(tmp_path):
    """From a number of bytes on; what was written is taken back."""
    kind, body = form(b"x" * 1000)
    taken = FormFile(kind, tmp_path / "file", 500)
    taken.write(body[:499])
    with pytest.raises(CutError):
        taken.write(body[499:])
    taken.abort()
    assert not list(tmp_path.iterdir())
