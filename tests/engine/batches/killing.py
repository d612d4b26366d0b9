"""A run in a process of its own that kills itself at a state of a batch, or in the middle of collecting one."""

import multiprocessing
import os
import signal

STATES = ("planned", "uploading", "uploaded", "creating", "open", "ended", "collected", "cleaned")
BOUNDARIES = (*((state, when) for state in STATES for when in ("before", "after")), ("a line", "after"))
"""Before and after each state is written, and after a line of results has been counted."""

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["batchgen.api", "batchgen.transport.asyncio_client", "tests.engine.batches.killing"])


def run_killed(table, boundary, occurrence):
    """Run a job and return whether it was killed when it came to a boundary for the `occurrence`-th time."""
    process = context.Process(target=_run, args=(table, boundary, occurrence))
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def _run(table, boundary, occurrence):
    import batchgen
    from batchgen.engine.batches import build
    from batchgen.engine.batches.collecting import Collecting
    from batchgen.job.settings import Job
    from batchgen.storage.batch_table import BatchTable

    left = occurrence

    def at(where):
        nonlocal left
        if where == boundary:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    write, line = BatchTable._write, Collecting._line

    async def watched_write(self, record, members):
        known = self.records.get(record.number)
        moves = known is None or known.state != record.state
        if moves:
            at((record.state, "before"))
        await write(self, record, members)
        if moves:
            at((record.state, "after"))

    async def watched_line(self, *arguments):
        found = await line(self, *arguments)
        at(("a line", "after"))
        return found

    BatchTable._write, Collecting._line = watched_write, watched_line
    build.LOOK_AGAIN_S = 0.2
    batchgen.run(Job.from_dict(table))
