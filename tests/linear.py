"""Whether the time of a reader is linear in the length of what it reads."""

from __future__ import annotations

import gc
import time

SHORT, TIMES = 4_000, 4
TRIES = 3


def check_linear(read, made=None, short=SHORT, times=TIMES, slack=2):
    """Check that a text some times as long takes about as many times as long, where a square law takes their square.

    `read` gets a length, or what `made` makes of it. The processor's time is measured, and the best of three counts;
    below 20 ms it says nothing and is let pass. `slack` is how many times as long it may take for all that.
    """
    gc.disable()  # its passes come by the number of objects, and cost by how many there are
    gc.freeze()  # those of the tests before need not be looked at either
    try:
        brief, long = (_seconds(read, made(length) if made else length) for length in (short, short * times))
    finally:
        gc.unfreeze()
        gc.enable()
    assert long <= 0.02 + brief * times * slack, f"{short} took {brief:.4f} s, {short * times} took {long:.4f} s"


def _seconds(read, given):
    taken = []
    for _ in range(TRIES):
        begun = time.thread_time()
        read(given)
        taken.append(time.thread_time() - begun)
    return min(taken)
