"""`view --html`: one file with sampled rows, whole, and how many there are of each kind; nothing in it runs."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from pathlib import Path

from batchgen.errors import OutputError
from batchgen.files.replace import named_file
from batchgen.review.room import ReviewRoom
from batchgen.review.table import RowChoice
from batchgen.review.whole_row import WholeRow
from batchgen.text.figures import quantity
from batchgen.text.terminal import harmless

MOST_ROWS = 200


def write_static_page(room: ReviewRoom, path: Path) -> int:
    """Write the page; return how many rows are in it. They are drawn at random for each label."""
    number = room.open()
    table = room.reading(number).table
    drawn = table.page(RowChoice(order="sample"), 0, MOST_ROWS)["rows"]
    style = files("batchgen.review").joinpath("page.css").read_text(encoding="utf-8")
    title = _safe(str(room.directory))
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"content-security-policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body class=static><main><h1>{title}</h1>"
        f"<p>{len(drawn):,} of {quantity(table.rows.rows, 'row')}, drawn at random for each {_safe(table.label)}.</p>"
    ]
    for name, counts in table.facets(RowChoice())["words"].items():
        cells = "".join(f"<tr><td>{_safe(value or '(none)')}<td>{count:,}" for value, count in counts)
        parts.append(f"<details class=count><summary>{_safe(name)}</summary><table>{cells}</table></details>")
    for one in drawn:
        here, there = room.row(number, one["place"])
        if here is not None:
            parts.append(_row(here, there, one["label"]))
    parts.append("</main></body></html>")
    try:
        with named_file(path) as file:
            file.write("".join(parts).encode("utf-8", "replace"))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}. Mend that, or name another file.") from error
    return len(drawn)


def _row(row: WholeRow, other: WholeRow | None, label: str | None) -> str:
    then = {} if other is None else {field.name: field.value for field in other.fields}
    fields = "".join(
        f"<dt>{_safe(field.name)}<dd>{_text(field.value)}"
        + ("" if field.value == field.was else f"<p class=was>the run said {_text(field.was)}")
        + (
            ""
            if other is None or then.get(field.name) == field.was
            else f"<p class=was>other {_text(then.get(field.name))}"
        )
        for field in row.fields
    )
    source = "".join(f"<dt>{_safe(name)}<dd>{_text(value)}" for name, value in row.source)
    prompt = "".join(f"<dt>{_safe(role)}<dd>{_text(text)}" for role, text in row.prompt)
    turns = "".join(f"<dt>{_safe(title)}<dd>{_text(text)}" for title, text in row.turns)
    figures = "".join(f"<dt>{_safe(name)}<dd>{_text(value)}" for name, value in row.figures)
    sections = [
        ("Fields", fields),
        ("Source", source),
        ("Prompt", prompt),
        ("All answers", turns),
        ("Figures", figures),
    ]
    for title, text in (("Reasoning", row.reasoning), ("Answer", row.answer), ("Tool calls", row.tool_calls)):
        if text is not None:
            sections.insert(-1, (title, f"<dd>{_text(text)}"))
    body = "".join(f"<h3>{title}</h3><dl>{inner}</dl>" for title, inner in sections if inner)
    return f"<details><summary>{_safe(row.row_id)} · {_safe(label or '–')}</summary>{body}</details>"


def _text(value: str | None) -> str:
    return "<pre dir=auto>–</pre>" if value is None else f"<pre dir=auto>{_safe(value)}</pre>"


def _safe(text: str) -> str:
    return escape(harmless(text))
