"""`python -m tests.survival.killed_batches ORDER ARGUMENTS`: run the command against a simulated vendor, and kill it.

ORDER is a JSON object: `oddities` and `vendor`, the directory in which the vendor keeps its files and batches; `kill`,
before (2N - 1) or after (2N) the N-th time that the state of a batch is recorded (0: never). At its end it prints how
often there was something to record.
"""

import json
import os
import signal
import sys

from batchgen import simulated
from batchgen.cli import main as cli
from batchgen.simulator import Settings
from batchgen.storage.batch_table import BatchTable

order = json.loads(sys.argv[1])
simulated.DEMONSTRATION = Settings(batch_speed=1_000_000, oddities=tuple(order["oddities"]), hang_s=0.2)
simulated.SIMULATED_BATCHES = order["vendor"]
put, seen = BatchTable.put, 0


def kill_at(place):
    """Kill this process if it is here that it is meant to die."""
    if place == order["kill"]:
        os.kill(os.getpid(), signal.SIGKILL)


async def put_or_die(table, record):
    """Record a state, if the process lives on."""
    global seen  # noqa: PLW0603 - the count of this process
    seen += 1
    kill_at(2 * seen - 1)
    await put(table, record)
    kill_at(2 * seen)


BatchTable.put = put_or_die
try:
    cli.main(sys.argv[2:])
finally:
    print(f"recorded {seen}", file=sys.stderr)
