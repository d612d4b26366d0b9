"""Standard output and error that may be closed by their reader without any effect on the run or its exit code."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import Any, TextIO

_READER_GONE = frozenset({errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO, errno.ECONNRESET})
"""The errors of a pipe without a reader and of a closed terminal: nobody is left to read the output."""


class LastingOutput(io.RawIOBase):
    """Writes to a descriptor until that fails; from then on everything is discarded, and `lost` holds the error."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.lost: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        while self.lost is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                import select  # --help has to be quick

                select.select([], [self._descriptor], [])
            except OSError as error:
                self.lost = error
        return len(data)


def outlast() -> list[LastingOutput]:
    """Replace the process's own standard output and error; return the new ones.

    Streams that were replaced before (by a test or a notebook) are left alone. A standard stream that is closed becomes
    the null device: else the next file that is opened would get its descriptor, and with it what a library prints.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # `open` returns the lowest free descriptor
    outputs = []
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        old = getattr(sys, name)
        if old is not getattr(sys, f"__{name}__") or not isinstance(old, io.TextIOWrapper | None):
            continue
        raw = LastingOutput(descriptor)
        setattr(sys, name, _text(raw, old))
        outputs.append(raw)
    return outputs


def _text(raw: LastingOutput, old: TextIO | None) -> TextIO:
    """Return a text stream like the old one; characters that its encoding does not have are escaped."""
    if not isinstance(old, io.TextIOWrapper):
        return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace")
    with contextlib.suppress(OSError):
        old.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=old.encoding,
        errors="backslashreplace",
        # An unbuffered stream (PYTHONUNBUFFERED) passes text on at once, here to a buffer: each line has to leave it.
        line_buffering=old.line_buffering or old.write_through,
        write_through=old.write_through,
    )


def settle(outputs: list[LastingOutput]) -> bool:
    """Flush both streams; return whether standard output is whole, or was cut because nobody reads any more.

    If it could not be written, to a full disk for example, that is said on standard error.
    """
    whole = True
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    for output in outputs:
        if output.lost is not None and output.fileno() == 1 and output.lost.errno not in _READER_GONE:
            whole = False
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"batchgen: standard output could not be written: {output.lost.strerror}.\n")
                sys.stderr.flush()
    return whole
