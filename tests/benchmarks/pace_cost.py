"""What the limiter costs a row: `python tests/benchmarks/pace_cost.py` prints microseconds of CPU and memory held."""

from __future__ import annotations

import random
import statistics
import time
import tracemalloc

from batchgen.pace.limiter import Limiter
from batchgen.pace.pacer import Pacer
from batchgen.pace.values import Limits
from batchgen.values import Completion, Usage

ANSWER = Completion("yes", "stop", Usage(10, 5, 15))


def cycle_us(limits, in_flight, rows=200_000):
    """CPU per row of `try_acquire` + `settle` with so many permits out."""
    clock = [0.0]
    gate = Limiter(Pacer(limits, random.Random(1)), clock=lambda: clock[0])
    out = []
    for _ in range(40 * in_flight):  # past the search's small first windows
        clock[0] += 0.01
        ticket = gate.try_acquire(100)
        if ticket:
            out.append(ticket)
        else:  # answers show that the server bears more at once
            gate.settle(out.pop(0), ANSWER)
    while len(out) < in_flight:
        clock[0] += 0.01
        ticket = gate.try_acquire(100)
        if ticket:
            out.append(ticket)
    started = time.process_time()
    for i in range(rows):
        clock[0] += 0.002
        gate.settle(out[i % in_flight], ANSWER)
        ticket = gate.try_acquire(100)
        assert ticket
        out[i % in_flight] = ticket
    return (time.process_time() - started) / rows * 1e6


def main():
    """Print one line per case, median of 5."""
    million = 1e9
    for name, limits, in_flight in (
        ("no limits, 64 in flight", Limits(64), 64),
        ("no limits, 2,000 in flight", Limits(2000), 2000),
        ("both limits, 64 in flight", Limits(64, million, 1000 * million), 64),
    ):
        print(f"{name:30s} {statistics.median(cycle_us(limits, in_flight) for _ in range(5)):6.2f} us a row")
    tracemalloc.start()
    cycle_us(Limits(64), 64, 20_000)
    before = tracemalloc.get_traced_memory()[0]
    cycle_us(Limits(64), 64, 100_000)
    print(f"memory held after 100,000 more rows: {tracemalloc.get_traced_memory()[0] - before:+,d} bytes")


if __name__ == "__main__":
    main()
