"""What a report is made of: sections of figures, tables, charts and passages, described once.

`sections_text` shows them on a terminal; `report.html` shows the same ones as a page. All texts in a
section are safe to show: whoever makes it passes what comes from rows and vendors through `text.figures.plain`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from msgspec import Struct

from batchgen.text.table import table

_LABEL = 14
_WIDTH = 116


class Fact(Struct, frozen=True):
    """A figure with its name; `detail` explains it."""

    name: str
    value: str
    detail: str = ""


class Facts(Struct, frozen=True):
    """Figures side by side. `large`: the ones to see first; `code`: names and values as they are in a job file."""

    facts: Sequence[Fact]
    large: bool = False
    code: bool = False


class Note(Struct, frozen=True):
    """A sentence that the reader must not miss. `alarm`: something is wrong."""

    text: str
    alarm: bool = False


class Table(Struct, frozen=True):
    """A table; its first `words` columns are words, the others figures. `shares`: of each row, drawn as a bar in the
    page; `drawings`: an SVG for each row, in the page only; `fits`: it is narrow enough for a telephone."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    note: str = ""
    shares: Sequence[float] = ()
    drawings: Sequence[str | None] = ()
    fits: bool = False


class Chart(Struct, frozen=True):
    """A drawing (SVG, in the page only), a sentence that says what it shows, and its numbers."""

    id: str
    title: str
    caption: str
    drawing: str
    numbers: Table


class Passage(Struct, frozen=True):
    """Something with a text of its own: an answer, an error's message, a disagreement."""

    head: str
    text: str


class Passages(Struct, frozen=True):
    """Passages under one title."""

    title: str
    passages: Sequence[Passage]
    note: str = ""


Block = Facts | Note | Table | Chart | Passages


class Section(Struct, frozen=True):
    """Blocks under a heading; the first section of a document has none."""

    title: str
    blocks: Sequence[Block]


class Document(Struct, frozen=True):
    """A whole report. `marks` are words about it as a whole: its state, whether it was simulated."""

    title: str
    marks: Sequence[str]
    sections: Sequence[Section]


def sections_text(document: Document) -> str:
    """Return a document for a terminal; sections without content are left out."""
    head = f"{document.title}: {', '.join(document.marks)}" if document.marks else document.title
    parts = [[head]]
    for section in document.sections:
        blocks = [list(_lines(block)) for block in section.blocks]
        lines = [line for block in blocks for line in block]
        if not lines:
            continue
        if not section.title:
            parts[0] += lines
        else:
            parts.append([section.title, *("  " + line if line else "" for line in lines)])
    return "\n\n".join("\n".join(part) for part in parts)


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Facts():
            width = max([_LABEL, *(len(fact.name) + 2 for fact in block.facts)])
            for fact in block.facts:
                detail = f" ({fact.detail})" if fact.detail and fact.value else fact.detail
                yield f"{fact.name:<{width}}{fact.value}{detail}".rstrip()
        case Note():
            yield f"{'note':<{_LABEL}}{block.text}"
        case Table():
            if block.rows:
                yield block.title
                yield from table([block.head, *block.rows], words=block.words, indent="  ")
                if block.note:
                    yield f"  {block.note}"
        case Chart():
            yield f"{block.title}: {block.caption}"
        case Passages():
            if block.passages:
                yield f"{block.title}{f' ({block.note})' if block.note else ''}"
            for passage in block.passages:
                yield f"  {passage.head}"
                for line in passage.text.splitlines():
                    yield from textwrap.wrap(line, _WIDTH, initial_indent="    ", subsequent_indent="    ") or [""]
