"""How a row of a table in HTML is shown: as one line of cells, or with a block for each of them."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from batchgen.mail.html_elements import BLOCKS, CELLS, PARAGRAPHS, PREFORMATTED

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_MOST_NODES = 40  # of a cell that is looked at: what has more is no single line


class RowForm(Enum):
    """What a table row is shown as: one line of short cells, the same with its empty cells, or a block for each."""

    LINE = auto()
    VALUES = auto()
    BLOCKS = auto()


def row_of(row: LexborNode) -> RowForm:
    """Return how a row of a table is shown: as one line if each of its cells is one."""
    cells = [cell for cell in row.iter() if cell.tag in CELLS]
    if len(cells) < 2 or not all(map(_is_one_line, cells)):
        return RowForm.BLOCKS
    beside = (_row_beside(row, next_one=False), _row_beside(row, next_one=True))
    same = any(other is not None and sum(cell.tag in CELLS for cell in other.iter()) == len(cells) for other in beside)
    return RowForm.VALUES if len(cells) > 2 and same else RowForm.LINE


def _row_beside(row: LexborNode, *, next_one: bool) -> LexborNode | None:
    beside = row.next if next_one else row.prev
    while beside is not None and beside.tag != "tr":
        beside = beside.next if next_one else beside.prev
    return beside


def _is_one_line(cell: LexborNode) -> bool:
    """Whether a cell holds a single line of text, whatever elements are round it."""
    blocks = 0
    for number, node in enumerate(cell.traverse(include_text=True)):
        tag = node.tag or ""
        if number > _MOST_NODES or tag in ("table", "ul", "ol", "blockquote", "hr", *PREFORMATTED):
            return False
        if tag == "-text" and (node.text_content or "").strip():
            blocks = max(blocks, 1)
        elif (tag in PARAGRAPHS or tag in BLOCKS or tag == "br") and blocks:
            blocks += 1
        if blocks > 1 and tag == "-text" and (node.text_content or "").strip():
            return False
    return True
