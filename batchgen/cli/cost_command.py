"""`batchgen cost`: what runs cost, as a table on stdout and as CSV or Parquet for a spreadsheet or a bill."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import pyarrow as pa

from batchgen.errors import UsageError
from batchgen.files.replace import named_file
from batchgen.files.table import table_file
from batchgen.job.settings import parse_assignment
from batchgen.report.costs import GROUPS, CostLine, Costs, read_costs
from batchgen.results.cells import csv_cell
from batchgen.results.rows import directories_of
from batchgen.storage.result_schema import MONEY_SUM
from batchgen.text.figures import amount, count, plain
from batchgen.text.sections import Block, Document, Fact, Facts, Note, Section, Table, sections_text
from batchgen.text.storable import json_bytes

COST_COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in GROUPS),
        ("tokens", pa.int64()),
        ("cost", MONEY_SUM),
        ("currency", pa.string()),
        ("simulated", pa.bool_()),
    ]
)


def show_costs(
    directories: Sequence[str],
    *,
    by: str,
    prices: str | None,
    assignments: Sequence[str],
    zone: str,
    files: Sequence[str],
    as_json: bool,
) -> None:
    """Print what the runs cost, and write it to `files` (`.csv`, `.parquet`). Raises `UsageError`."""
    groups = [name.strip() for name in by.split(",") if name.strip()]
    changed = pricing_changes(assignments)
    for name in files:
        if Path(name).suffix.lower() not in (".csv", ".parquet", ".pq"):
            raise UsageError(f"--write {name}: choose a name that ends in .csv or .parquet.")
    found = directories_of(*directories)
    costs = read_costs(found, by=groups, prices=Path(prices) if prices else None, changed=changed, zone=zone)
    for name in files:
        write_costs(costs, Path(name))
    if as_json:
        click.echo(json_bytes({"lines": costs.lines, "notes": costs.notes}))
    else:
        click.echo(sections_text(costs_document(costs, groups, len(found))))


def pricing_changes(assignments: Sequence[str]) -> dict[str, Any]:
    """Return the `[pricing]` keys that `--set` gives, by dotted path. Raises `UsageError` for any other key."""
    changed: dict[str, Any] = {}
    for text in assignments:
        key, value = parse_assignment(text)
        if key == "pricing.rate" and isinstance(value, Mapping):
            changed |= {f"pricing.rate.{name}": rate for name, rate in value.items()}
        elif key in ("pricing.factor", "pricing.currency", "pricing.region") or key.startswith("pricing.rate."):
            changed[key] = value
        else:
            raise UsageError(
                f"--set {text}: a finished run can be priced anew by pricing.factor, pricing.currency, pricing.rate "
                "and pricing.region; other prices come with --prices FILE."
            )
    return changed


def costs_document(costs: Costs, groups: Sequence[str], runs: int) -> Document:
    """Return the table for people; each currency, and what was simulated, by itself."""
    empty = {"endpoint"} if not any(line.endpoint for line in costs.lines) else set()
    shown = [name for name in GROUPS if name in groups and name not in empty]
    blocks: list[Block] = [Note(note) for note in costs.notes]
    for (currency, simulated), total in costs.totals().items():
        marks = " (simulated: nothing was charged)" if simulated else ""
        lines = [line for line in costs.lines if (line.currency, line.simulated) == (currency, simulated)]
        blocks.append(Table(f"{currency}{marks}", [*shown, "tokens", "cost"], _rows(lines, shown), words=len(shown)))
        blocks.append(Facts([Fact("together", amount(total, currency), f"exactly {total.normalize():f}")]))
    unpriced = [
        line for line in costs.lines if line.cost is None and (line.currency, line.simulated) not in costs.totals()
    ]
    if unpriced:
        head = [*shown, "tokens", "cost"]
        blocks.append(Table("Without a known price", head, _rows(unpriced, shown), words=len(shown)))
    return Document(f"Cost of {runs:,} run{'' if runs == 1 else 's'}", [], [Section("", blocks)])


def _rows(lines: Sequence[CostLine], shown: Sequence[str]) -> list[list[str]]:
    return [
        [*(plain(getattr(line, name)) for name in shown), count(line.tokens), amount(line.cost, None)] for line in lines
    ]


def write_costs(costs: Costs, path: Path) -> None:
    """Write the lines as CSV (UTF-8 with a mark for Excel, no cell a formula) or Parquet. Raises `OutputError`."""
    if path.suffix.lower() != ".csv":
        with table_file(path, COST_COLUMNS) as add:
            for line in costs.lines:
                add(msgspec.structs.asdict(line))
        return
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COST_COLUMNS.names)
    writer.writerows([csv_cell(value) for value in msgspec.structs.astuple(line)] for line in costs.lines)
    with named_file(path) as file:
        file.write(text.getvalue().encode("utf-8-sig", errors="replace"))
