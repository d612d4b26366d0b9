"""The command: `python -m batchgen`, or `batchgen`.

Where Ctrl-C comes while modules are imported, Python shows a traceback, and that takes most of the first half second.
So this module imports nothing slow. Until the command is there, and again while Python ends, Ctrl-C ends the process.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

_INTERRUPTED = 130


def main() -> None:
    """Run the command and exit with its exit code."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda *_: _end("Interrupted; nothing was sent."))
    sys.unraisablehook = _unraisable
    try:
        from batchgen.cli.main import main as command

        for number, handler in before.items():
            signal.signal(number, handler)
        command()
    except KeyboardInterrupt:
        _end("Interrupted.")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
        signal.signal(signal.SIGINT, lambda *_: os._exit(code))
        raise


def _unraisable(ignored: sys.UnraisableHookArgs) -> None:
    """End where Python would drop a Ctrl-C, as it does in the callbacks that imports leave behind."""
    if isinstance(ignored.exc_value, KeyboardInterrupt):
        _end("Interrupted.")
    sys.__unraisablehook__(ignored)


def _end(text: str) -> NoReturn:
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
