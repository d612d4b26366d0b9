"""How long `evaluate` and `diff` take over published results, and the memory they need.

    python -m tests.benchmarks.comparisons [--rows 1000000]

Two runs with `parsed` (a label, a text that differs in every row, a number), gold columns beside it and answers of 400
characters; 10 % of the second run's answers differ. Every command is a process of its own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from batchgen.storage.parts import part_path
from batchgen.storage.result_schema import RESULT_COLUMNS
from tests.benchmarks.whole_run import describe_machine, run_process

PART_ROWS = 50_000


def main():
    """Write both runs, time the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        a, b = Path(scratch) / "a", Path(scratch) / "b"
        write_run(a, options.rows, wrong_every=5)
        write_run(b, options.rows, wrong_every=10)
        fields = ["--gold", "city=gold_city", "--gold", "amount=gold_amount", "--gold", "label=gold_label"]
        commands = {
            "evaluate, a label": ["evaluate", str(a), "--gold", "gold_label"],
            "evaluate, three fields": ["evaluate", str(a), *fields],
            "diff": ["diff", str(a), str(b)],
            "diff, gold": ["diff", str(a), str(b), "--gold", "gold_label"],
        }
        print(describe_machine())
        print(f"{'command':24} {'wall s':>7} {'CPU s':>7} {'peak MB':>8}")
        for name, arguments in commands.items():
            found, _ = run_process([sys.executable, "-m", "batchgen", *arguments])
            print(f"{name:24} {found.wall_s:7.1f} {found.cpu_s:7.1f} {found.peak_mb:8.0f}")


def write_run(directory, rows, *, wrong_every):
    """Write parts as a run has them."""
    (directory / "results").mkdir(parents=True)
    for number, first in enumerate(range(0, rows, PART_ROWS)):
        numbers = range(first, min(first + PART_ROWS, rows))
        wrong = [n % wrong_every == 0 for n in numbers]
        parsed = [
            {"label": f"label {(n + odd) % 12}", "city": f"City {n * 7919 + odd}", "amount": n / 8 + odd}
            for n, odd in zip(numbers, wrong, strict=True)
        ]
        columns = {
            "gold_label": pa.array([f"Label {n % 12}" for n in numbers]),
            "gold_city": pa.array([f"city  {n * 7919}" for n in numbers]),
            "gold_amount": pa.array([f"{n / 8:.4f}" for n in numbers]),
            "row_id": pa.array([str(n) for n in numbers]),
            "status": pa.array(["succeeded"] * len(numbers)).dictionary_encode(),
            "completion": pa.array([f"{n} {odd} ".ljust(400, "x") for n, odd in zip(numbers, wrong, strict=True)]),
            "parsed": pa.array(
                parsed,
                pa.struct(
                    [("label", pa.dictionary(pa.int32(), pa.string())), ("city", pa.string()), ("amount", pa.float64())]
                ),
            ),
            "model": pa.array(["a-model"] * len(numbers)),
            "latency_ms": pc.cast(pa.array([200 + n % 977 for n in numbers]), pa.float64()),
            "input_tokens": pa.array([500] * len(numbers)),
        }
        for field in RESULT_COLUMNS:
            if field.name not in columns:
                columns[field.name] = pa.nulls(len(numbers), field.type)
        pq.write_table(pa.table(columns), part_path(directory / "results", number), compression="zstd")


if __name__ == "__main__":
    main()
