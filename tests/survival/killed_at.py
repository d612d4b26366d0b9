"""`python killed_at.py N ARGUMENTS`: run the command, and kill it before its N-th change in the file system.

Changes are the renames, removals, new names and openings for writing of the interpreter's audit events, in folders
whose name has `out` in it. With N = 0 it runs to its end and prints on stderr how many there were.
"""

import os
import signal
import sys

from batchgen.cli import main as cli

CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "shutil.rmtree", "open"}
seen = []


def watch(event, arguments):
    """Count, and kill at the one that is meant."""
    if event not in CHANGES or "out" not in str(arguments[0]):
        return
    if event == "open" and not (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR):
        return
    seen.append(event)
    if len(seen) == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)


kill_at = int(sys.argv[1])
sys.addaudithook(watch)
try:
    cli.main(sys.argv[2:])
finally:
    if not kill_at:
        print(f"changes {len(seen)}", file=sys.stderr)
