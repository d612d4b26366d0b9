"""Whether a reader's time is linear in the length of the text."""

import time

SHORT = 4_000
TIMES = 4


def check_linear(read):
    """Check that a text four times as long takes about four times as long, where a square law would take sixteen.

    What is measured is the processor's time. Times below 20 ms say nothing and are let pass; a machine that is busy
    gets three tries.
    """
    for _ in range(3):
        short, long = _seconds(read, SHORT), _seconds(read, SHORT * TIMES)
        if long <= 0.02 + short * TIMES * 2:
            return
    raise AssertionError(f"{SHORT} letters took {short:.3f} s, {SHORT * TIMES} took {long:.3f} s")


def _seconds(read, length):
    start = time.thread_time()
    read(length)
    return time.thread_time() - start
