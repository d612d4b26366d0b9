"""How several runs on one machine share an account whose limit nobody names.

    python -m tests.benchmarks.account [--seconds 40] [--runs 4] [--kill 9] [--alone] [--tokens]

One provider admits 3,600 requests a minute in one-second buckets and answers after a median of 300 ms. So many
processes (`batchgen run` with the same `limits.account`) begin within a second. `--kill N`: after half of the time the
one that leads gets signal N (9: it dies, 19: it is suspended for 5 s). `--alone`: without `limits.account`.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from pathlib import Path

from tests.benchmarks.sharing import Account

WARM_S = 8.0


def main():
    """Run the processes and print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--kill", type=int, default=0)
    parser.add_argument("--alone", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, Account(Path(scratch), alone=arguments.alone) as account:
        began_s = time.time()
        account.start(arguments.runs)
        time.sleep(arguments.seconds / 2)
        if arguments.kill:
            leader = account.leader()
            os.kill(leader, arguments.kill)
            if arguments.kill == signal.SIGSTOP:
                time.sleep(5.0)
                os.kill(leader, signal.SIGCONT)
        time.sleep(max(0.0, began_s + arguments.seconds - time.time()))
        print(account.report(WARM_S))


if __name__ == "__main__":
    main()
