"""What `diff` prints: plain text for people, free of control characters."""

from __future__ import annotations

from batchgen.difference.compare import Agreement, Changed, Difference
from batchgen.difference.floor import floor_text
from batchgen.difference.sides import Side
from batchgen.evaluation.statistics import LEVEL
from batchgen.evaluation.text import interval_text, plain, shown
from batchgen.text.figures import money, quantity
from batchgen.text.table import table

_MOST_FIELDS = 20


def difference_text(found: Difference) -> str:
    """Return agreement, both sides in columns, who is right more often, and the first changed rows."""
    lines = [
        f"A  {plain(found.a.directory, 200)}",
        f"B  {plain(found.b.directory, 200)}",
        f"{quantity(found.rows, 'row')} in both",
    ]
    for count, where in ((found.only_in_a, "A"), (found.only_in_b, "B")):
        if count:
            lines[2] += f", {count:,} only in {where}"
    agreements = [
        ["status", *_share(found.status)],
        ["finish_reason", *_share(found.finish_reason)],
        ["same answer", *_share(found.answer)],
        ["same completion, letter by letter", *_share(found.completion)],
        *([f"parsed.{plain(name)}", *_share(agreement)] for name, agreement in found.fields.items()),
    ]
    lines += ["", *table([["agreement", "", "rows"], *agreements])]
    for names, where in ((found.fields_only_in_a, "A"), (found.fields_only_in_b, "B")):
        if names:
            listed = ", ".join(f"parsed.{plain(name)}" for name in names[:_MOST_FIELDS])
            more = f" and {len(names) - _MOST_FIELDS:,} more" if len(names) > _MOST_FIELDS else ""
            lines.append(f"only in {where}, not compared: {listed}{more}")
    if found.floor is not None:
        answer = found.answer
        lines += ["", plain(floor_text(found.floor, answer.rows - answer.same, answer.rows), 500)]
    lines += ["", *_side_lines(found.a, found.b)]
    if found.gold is not None:
        gold = found.gold
        change = gold.difference
        assert change.value is not None
        assert change.low is not None
        assert change.high is not None
        lines += [
            "",
            *table(
                [
                    ["accuracy", f"{quantity(gold.rows, 'row')} with gold"],
                    ["A", interval_text(gold.accuracy_a)],
                    ["B", interval_text(gold.accuracy_b)],
                    ["B - A", f"{100 * change.value:+.1f} points [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"],
                ]
            ),
            f"only A right: {gold.only_a:,}, only B right: {gold.only_b:,} (intervals: {LEVEL:.0%}, paired bootstrap)",
        ]
    if found.changed:
        lines += ["", f"Changed: {quantity(found.changed_rows, 'row')}, the first {len(found.changed):,}"]
        for row in found.changed:
            lines += _changed_lines(row)
    elif not found.changed_rows:
        lines += ["", "No answer has changed."]
    return "\n".join(lines)


def _share(agreement: Agreement) -> tuple[str, str]:
    if agreement.rows == 0:
        return "–", "0"
    return f"{100 * agreement.same / agreement.rows:.1f} %", f"{agreement.same:,} of {agreement.rows:,}"


def _side_lines(a: Side, b: Side) -> list[str]:
    rows = [["", "A", "B"]]
    rows.append(["model", *(plain(", ".join(side.models) or "unknown") for side in (a, b))])
    rows.append(["succeeded", f"{a.succeeded:,}", f"{b.succeeded:,}"])
    rows.append(["failed", f"{a.failed:,}", f"{b.failed:,}"])
    rows.append(["cost", *(_cost(side) for side in (a, b))])
    rows.append(["input tokens", f"{a.input_tokens:,}", f"{b.input_tokens:,}"])
    rows.append(["output tokens", f"{a.output_tokens:,}", f"{b.output_tokens:,}"])
    rows.append(["latency, median", _milliseconds(a.latency_p50_ms), _milliseconds(b.latency_p50_ms)])
    rows.append(["latency, 95 %", _milliseconds(a.latency_p95_ms), _milliseconds(b.latency_p95_ms)])
    return table(rows)


def _cost(side: Side) -> str:
    if side.cost is None:
        return "unknown"
    least = "at least " if side.unpriced else ""
    return f"{least}{money(side.cost, side.currency or '')}"


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} ms"


def _changed_lines(row: Changed) -> list[str]:
    name = plain(row.row_id)
    if row.status_a != row.status_b:
        return [f"  {name}: {row.status_a} in A, {row.status_b} in B"]
    if row.fields:
        return [f"  {name} {plain(field)}: {shown(pair[0])} → {shown(pair[1])}" for field, pair in row.fields.items()]
    return [f"  {name}: {shown(row.completion_a)}", f"  {' ' * len(name)}→ {shown(row.completion_b)}"]
