"""Text in the encodings that editors choose."""

from __future__ import annotations

import pytest

from batchgen.files.plain_text import hand_written


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_mark_tells_the_encoding_and_is_no_part_of_the_text(encoding):
    mark = "\ufeff" if encoding.endswith(("le", "be")) else ""
    assert hand_written(f"{mark}grün".encode(encoding)) == "grün"


def test_other_encodings_are_refused():
    with pytest.raises(UnicodeDecodeError):
        hand_written("grün".encode("latin-1"))
