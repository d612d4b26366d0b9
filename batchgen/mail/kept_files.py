"""The attached files of mails, kept in a folder beside the table: one folder for each mail, named after its id."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from batchgen.errors import OutputError
from batchgen.files.modes import make_directory, open_file

_UNSAFE = re.compile(r"[^\w.()\[\] +,=@&-]+")
_LONGEST = 120


class KeptFiles:
    """Writes files below `OUT.files`, the folder of the table `OUT`, and tells their paths from the table's folder."""

    def __init__(self, table: Path) -> None:
        self.folder = table.with_name(f"{table.name}.files")
        self._start = table.parent
        self.written = 0

    def keep(self, mail_id: str, files: Sequence[tuple[str, bytes]]) -> list[str]:
        """Write the files of a mail; the same mail has the same paths every time. Raises `OutputError`."""
        paths: list[str] = []
        folder = self.folder / hashlib.sha256(mail_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        taken: set[str] = set()
        try:
            for name, data in files:
                if not paths:
                    make_directory(folder)
                path = folder / _free(_safe(name), taken)
                descriptor = open_file(path, os.O_WRONLY | os.O_TRUNC)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                paths.append(str(path.relative_to(self._start)))
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error.strerror}.") from error
        self.written += len(paths)
        return paths


def _safe(name: str) -> str:
    """Return a name without anything that could lead elsewhere or that a file system refuses; the ending stays."""
    stem, dot, ending = _UNSAFE.sub("_", name.replace("\\", "/").rpartition("/")[2]).strip(" .").rpartition(".")
    if not dot:
        stem, ending = ending, ""
    ending = ending[:12]
    while len(f"{stem}.{ending}".encode()) > _LONGEST:
        stem = stem[:-1]
    return f"{stem or 'file'}.{ending}" if ending else stem or "file"


def _free(name: str, taken: set[str]) -> str:
    """Return a name that no other file of the mail has, also where upper and lower case are the same."""
    stem, dot, ending = name.rpartition(".")
    found, number = name, 1
    while found.casefold() in taken:
        number += 1
        found = f"{stem} ({number}).{ending}" if dot else f"{ending} ({number})"
    taken.add(found.casefold())
    return found
