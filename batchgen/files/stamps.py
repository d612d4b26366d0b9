"""What a file system says of a file, by which a changed one is told from one that has stayed, without reading it."""

from __future__ import annotations

import os

from msgspec import Struct

_COARSE_NS = 2_000_000_000
_FINE_NS = 100_000_000
_SECOND_NS = 1_000_000_000


class Stamp(Struct, frozen=True, array_like=True):
    """All that changes with a file's bytes or is set to look as if it had not."""

    size: int
    modified_ns: int
    changed_ns: int
    device: int = 0
    inode: int = 0

    def settled(self, at_ns: int) -> bool:
        """Whether no later change than that of the stamp, before `at_ns`, could have left the same stamp.

        Times are as coarse as the file system has them: ticks of a clock, at most 10 ms apart, or whole seconds.
        """
        fine = self.changed_ns % _SECOND_NS != 0
        return max(self.modified_ns, self.changed_ns) <= at_ns - (_FINE_NS if fine else _COARSE_NS)


def stamp_of(path: str | os.PathLike[str]) -> Stamp:
    """Return the stamp of a file. Raises `OSError`."""
    found = os.stat(path)
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_dev, found.st_ino)
