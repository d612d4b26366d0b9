"""Unexpected errors (bugs): one line for the user, and a file with what is needed to find the cause.

What only `report` needs is imported there: every command imports this module, and `--help` has to be quick.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from batchgen.errors import innermost
from batchgen.version import __version__

_NAMES_SECRETS = "(?i)KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH"
_LOGIN = r"(?<=://)[^/\s@]+(?=@)"  # user and password in an address
_SHORTEST_SECRET = 8
_LONGEST_LINE = 300
_LIBRARIES = ("anyio", "click", "httptools", "httpx", "jinja2", "msgspec", "pyarrow", "uvloop")


class _Command:
    """What is known about the command that this process runs."""

    directory: Path | None = None
    secrets: Sequence[str] = ()


def remember(directory: str | Path | None, secrets: Mapping[str, object] | None = None) -> None:
    """Record the output directory of the command, and secrets of its job besides those in the environment."""
    _Command.directory = None if directory is None else Path(directory).absolute()
    _Command.secrets = [value for value in (secrets or {}).values() if isinstance(value, str)]


def report(error: BaseException) -> str:
    """Write the file and return the line for the user. It never raises."""
    import platform
    import traceback

    from batchgen.text.terminal import harmless

    what = "".join(traceback.format_exception_only(innermost(error))).strip().partition("\n")[0]
    body = "\n".join(
        [
            f"batchgen {__version__}, Python {sys.version}",
            platform.platform(),
            ", ".join(_versions()),
            time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "",
            *traceback.format_exception(error),
        ]
    )
    path = _write(masked(body))
    kept = f"Details are in {path}; please report it with that file" if path else "The details could not be written"
    line = f"batchgen: an error that should not happen: {masked(what)[:_LONGEST_LINE]}. {kept}. "
    return harmless(line.replace("\n", " ")) + "Nothing that was answered is lost."


def disk_text(error: BaseException) -> str:
    """Return the sentence for an error of the disk that no command has a sentence for."""
    from batchgen.files.disk_errors import mend

    name = getattr(error, "filename", None) or _Command.directory
    if name is None:
        return f"A file cannot be written or read ({error}). {mend(error)}"
    return f"{name} cannot be written or read ({getattr(error, 'strerror', None) or error}). {mend(error)}"


def masked(text: str) -> str:
    """Return the text without the keys, passwords and logins in the environment and the job."""
    from batchgen.secret import Secret

    found = {value for name, value in os.environ.items() if re.search(_NAMES_SECRETS, name)} | {*_Command.secrets}
    for value in sorted(found, key=len, reverse=True):
        if len(value) >= _SHORTEST_SECRET:
            text = Secret(value).mask(text)
    return re.sub(_LOGIN, "***", Secret("").mask(text))


def _versions() -> Iterator[str]:
    from importlib import metadata

    for name in _LIBRARIES:
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue


def _write(text: str) -> Path | None:
    """Write the file to the output directory if there is one, else to the temporary folder."""
    import tempfile

    from batchgen.files.modes import open_file
    from batchgen.storage.own_files import is_run

    name = f"batchgen-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    directory = _Command.directory
    ours = [directory] if directory is not None and is_run(directory) else []
    for directory in (*ours, Path(tempfile.gettempdir())):
        try:
            with open(open_file(directory / name, os.O_WRONLY | os.O_EXCL), "wb") as file:
                file.write(text.encode(errors="backslashreplace"))
        except OSError:
            continue
        return directory / name
    return None
