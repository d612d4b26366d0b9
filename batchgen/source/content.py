"""The format of a file that has no name yet, from what it holds."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from batchgen.errors import InputError
from batchgen.files.arrow import arrow_file

_HEAD_BYTES = 1 << 14
_BINARY = {b"PAR1": ".parquet", b"PARE": ".parquet", b"PK\x03\x04": ".xlsx"}
_PACKED = {b"\x1f\x8b": (".gz", "gzip"), b"\x28\xb5\x2f\xfd": (".zst", "zstd"), b"BZh": (".bz2", "bz2")}
_MARKS = b"\xef\xbb\xbf\xff\xfe"


def extension_by_content(path: Path, delimited: bool = False) -> str:
    """Return the extension that tells the file's format, such as `.jsonl.gz`; `delimited`: the text is no JSON.

    Text that begins with a brace or a bracket is JSON; any other is a table with tabs if its first line has tabs and
    no comma, else a CSV file, whose delimiter is found later.
    """
    packing = ""
    with open(path, "rb") as stream:
        head = stream.read(_HEAD_BYTES)
    for magic, extension in _BINARY.items():
        if head.startswith(magic):
            return extension
    for magic, (extension, compression) in _PACKED.items():
        if head.startswith(magic):
            packing = extension
            try:
                with pa.input_stream(arrow_file(path), compression=compression) as unpacked:
                    head = unpacked.read(_HEAD_BYTES)
            except OSError as error:
                raise InputError(f"The input cannot be unpacked with {compression}: {error}.") from error
    text = head.replace(b"\0", b"").lstrip(_MARKS)  # of UTF-16 and UTF-32 this leaves what is asked for here
    if text.lstrip().startswith((b"{", b"[")) and not delimited:
        return f".jsonl{packing}"
    line = text.partition(b"\n")[0]
    return f".tsv{packing}" if b"\t" in line and b"," not in line else f".csv{packing}"
