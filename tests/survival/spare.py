"""A process that has imported everything and forks a `batchgen` command whenever it is asked: no 0.7 s of imports each.

`python spare.py`, a JSON object per line on stdin: `arguments`, `cwd`, `env` (added to its own), `stdout` and `stderr`
(file names), `disk` (arguments of `refuse_operations` in the preloaded library, or null), `shard_rows` (or null).
Answers with lines on stdout: `started PID`, and for each child that ends `ended PID STATUS`. What the child runs is
`batchgen.cli.main.main`, as the installed command does.
"""

import ctypes
import functools
import json
import os
import select
import signal
import sys

import anyio._backends._asyncio  # noqa: F401
import pyarrow as pa
import uvloop  # noqa: F401

import batchgen.api
import batchgen.cli.messages
import batchgen.transport.asyncio_client  # noqa: F401
from batchgen.cli import main as cli
from batchgen.engine import run as engine_run
from batchgen.storage.writer import Writer


def become(order):
    """In the child: be the command."""
    os.setpgid(0, 0)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(order["cwd"])
    os.environ.update(order["env"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), descriptor)
    if order["shard_rows"]:
        engine_run.cut = functools.partial(engine_run.cut, rows=order["shard_rows"])
    if order["disk"]:
        refuse(*order["disk"])
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        cli.main(order["arguments"])
    except KeyboardInterrupt:  # as the interpreter ends when nobody catches it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(end.code)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)


def refuse(directory, named, number, gone, error, log):
    """Have operations on the disk fail from now on. No test waits for the pauses between the attempts at a commit."""
    Writer.__init__.__kwdefaults__["retry_waits_s"] = (0.01,) * 5
    log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    ctypes.CDLL(None).refuse_operations(os.fsencode(directory), named.encode(), number, gone, error, log)


def main():
    """Fork on demand, until stdin ends."""
    pa.array([0])  # imports pandas, once for all forks
    news, tell = os.pipe()
    os.set_blocking(tell, False)
    os.set_blocking(news, False)
    signal.set_wakeup_fd(tell)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # until a child is ready for it
    waiting = b""
    while True:
        ready, _, _ = select.select([0, news], [], [])
        if news in ready:
            os.read(news, 4096)
            while True:
                try:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    break
                if not pid:
                    break
                os.write(1, f"ended {pid} {os.waitstatus_to_exitcode(status)}\n".encode())
        if 0 in ready:
            body = os.read(0, 65536)
            if not body:
                return
            *lines, waiting = (waiting + body).split(b"\n")
            for line in lines:
                pid = os.fork()
                if not pid:
                    become(json.loads(line))
                os.write(1, f"started {pid}\n".encode())


if __name__ == "__main__":
    main()
