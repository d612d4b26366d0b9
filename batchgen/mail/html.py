"""The HTML of a mail → text as a person sees it: paragraphs, lists, table cells and quotes, nothing hidden.

The parser is selectolax's lexbor (MIT, typed, no dependencies): the HTML standard's own algorithm, so any damage gives
what a browser would show. Compared on mails: inscriptis loses all text below 256 nested elements without a word and
pads layout tables to hundreds of spaces a line; html2text is GPL and writes Markdown; BeautifulSoup's `get_text`
breaks lines at every inline tag.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from batchgen.mail.html_elements import BLOCKS, CELLS, FORMATTING, PARAGRAPHS, PREFORMATTED, SELF_CLOSING, SKIPPED
from batchgen.mail.html_rows import RowForm, row_of

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

MOST_COPIES = 1_000_000
"""Bound on tags × unclosed formatting elements: a browser's rule opens these anew in every block, so that 80 KB became
1.4 GB. A newsletter has about 10,000."""

MOST_STEPS = 200_000_000
"""Bound on tags × nested elements: parsing costs as many steps (0.3 s). A long quoted thread has about 1,000,000."""

_CHECKED_TAGS = 2_000  # fewer tags than this cannot do harm
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:]*)")
_KEEPS_LINES = re.compile(r"white-space(?:-collapse)?\s*:\s*(?:pre|break-spaces)", re.IGNORECASE)
_SUPERSCRIPTS = str.maketrans("0123456789+-()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ")
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_SUPERSCRIPT = re.compile(r"\s*[0-9+()n-]{1,9}\s*")
_MOST_WRAPPERS = 4  # elements round a superscript
_ROW_TAG = re.compile(r"<(/?)t[rdh](?:\s[^<>]*)?>", re.IGNORECASE)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\n\f]+")
_LINK = re.compile(r"\s*(?:https?|ftp):", re.IGNORECASE)
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u034f\u200b\u200c\u2060\ufeff"))  # what newsletters pad previews with
_BREAK, _PARAGRAPH = "\n", "\n\n"
_MOST_BREAKS = 20  # empty lines in a row that are kept in preformatted text
_MOST_QUOTES = 20  # depth of quoting that is shown; each line bears the marks of all


class TooDeepError(ValueError):
    """HTML that would grow beyond `MOST_COPIES` or `MOST_STEPS`."""


def html_text(html: str, links: list[str] | None = None) -> str:
    """Return the text of an HTML document, and add the targets of its links to `links`, in order.

    Raises `TooDeepError`, and `ImportError` without selectolax.
    """
    from selectolax.lexbor import LexborHTMLParser

    _check_size(html)
    tree = LexborHTMLParser(_in_tables(html))
    root = tree.root
    if root is None:
        return ""
    text = _Text()
    _render(root, text)
    if links is not None:
        links += text.links
    return text.finished()


def _in_tables(html: str) -> str:
    """Return HTML in which rows that stand in no table have one: a parser would run their cells together.

    It ends where they end, as what stands in a table and in none of its cells is put before it.
    """
    if _ROW_TAG.search(html) is None or "<table" in html.lower():
        return html
    pieces: list[str] = []
    end = 0
    open_table = closed = False
    for tag in _ROW_TAG.finditer(html):
        between, closes = html[end : tag.start()], bool(tag[1])
        if open_table and closed and between.strip():
            pieces.append("</table>")
            open_table = False
        pieces.append(between)
        if not open_table and not closes:
            pieces.append("<table>")
            open_table = True
        pieces.append(tag[0])
        end, closed = tag.end(), closes
    pieces += ("</table>" if open_table and closed else "", html[end:])
    return "".join(pieces)


def _check_size(html: str) -> None:
    tags = html.count("<")
    if tags < _CHECKED_TAGS:
        return
    depths, deepest = {True: 0, False: 0}, {True: 0, False: 0}
    open_by_name: Counter[str] = Counter()
    for end, written in _TAG.findall(html):
        name = written.lower()
        if name in SELF_CLOSING:
            continue
        formatting = name in FORMATTING
        if not end:
            open_by_name[name] += 1
            depths[formatting] += 1
            deepest[formatting] = max(deepest[formatting], depths[formatting])
        elif open_by_name[name]:
            open_by_name[name] -= 1
            depths[formatting] -= 1
    if tags * deepest[True] > MOST_COPIES or tags * sum(deepest.values()) > MOST_STEPS:
        raise TooDeepError(f"its HTML nests {sum(deepest.values()):,} elements in {tags:,} tags")


class _Text:
    """Text as it grows: white space collapses, and of the breaks between two words the largest counts."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._gap = ""
        self._depth = self._quotes = self._quotes_before = 0
        self.preformatted = self.raised = 0
        self.numbers: list[int] = []  # of the last entry in each ordered list that is open
        self.links: list[str] = []
        self._item_begins = False
        self.row = RowForm.BLOCKS
        self._cells = -1  # that have begun since the last text in a row; -1 outside of one

    def words(self, text: str) -> None:
        text = text.translate(_INVISIBLE)
        if self.raised:
            text = text.strip().translate(_SUPERSCRIPTS)
        if self.preformatted:
            lines = text.replace("\r\n", "\n").split("\n")
            for number, line in enumerate(lines):
                if number:
                    self._gap = self._gap + _BREAK if len(self._gap) < _MOST_BREAKS else self._gap
                self._put(line)
            return
        text = _SPACES.sub(" ", text)
        if text.startswith(" "):
            self.space()
        self._put(text.strip(" "))
        if text.endswith(" "):
            self.space()

    def _put(self, text: str) -> None:
        if not text:
            return
        if self._item_begins:
            self._gap, self._item_begins = "", False
        if self._cells > 0:  # an empty cell keeps its place in a table of values
            if self.row is RowForm.VALUES:
                text = "| " * (self._cells - (_BREAK not in self._gap)) + text
            self._cells = 0
        breaks = self._gap.count(_BREAK) if self._pieces else 1
        if breaks:  # an empty line between two depths of quoting belongs to the outer one
            empty = (_BREAK + "> " * min(self._quotes, self._quotes_before)) * (breaks - 1)
            self._pieces.append(empty + _BREAK + "> " * self._quotes)
        else:
            self._pieces.append(self._gap)
        self._gap = ""
        self._quotes_before = self._quotes
        self._pieces.append(text)

    def item(self, mark: str) -> None:
        """Begin an entry of a list; a paragraph in it begins in the same line."""
        self._put(mark)
        self._item_begins = True

    def end_item(self) -> None:
        """End an entry, which may have been empty."""
        self._item_begins = False
        self.line()

    def space(self) -> None:
        if self._item_begins:
            return
        self._gap = self._gap or " "

    def begin_row(self, row: RowForm) -> None:
        self.line()
        self.row, self._cells = row, -1

    def end_row(self) -> None:
        self.row, self._cells = RowForm.BLOCKS, -1
        self.line()

    def cell(self) -> None:
        """Set the next cell of a table row apart."""
        if self.row is RowForm.BLOCKS:
            if _BREAK not in self._gap:
                self._gap = " | "
            return
        self._cells += 1
        if self._cells and _BREAK not in self._gap:
            self._gap = " | "

    def line(self) -> None:
        """Start a line, unless at its beginning already, or within a row that is one."""
        if self._cells >= 0:
            self.space()
        elif _BREAK not in self._gap:
            self._gap = _BREAK

    def paragraph(self) -> None:
        if self._cells >= 0:
            self.space()
        elif self._gap.count(_BREAK) < 2:
            self._gap = _PARAGRAPH

    def newline(self) -> None:
        """`<br>`: each one counts, up to two empty lines."""
        if self._cells >= 0:
            self.space()
            return
        self._gap = _BREAK * min(3, self._gap.count(_BREAK) + 1)

    def quote(self, change: int) -> None:
        self._depth += change
        self._quotes = min(self._depth, _MOST_QUOTES)

    def finished(self) -> str:
        lines = "".join(self._pieces).replace("\u00a0", " ").split("\n")
        return "\n".join(line.rstrip() for line in lines).strip("\n")


def _render(root: LexborNode, text: _Text) -> None:
    """Walk the tree by its links, without recursion: mails nest deeper than Python's stack."""
    node = root
    while True:
        if _enter(node, text):
            below = node.child
            if below is not None:
                node = below
                continue
            _leave(node, text)
        while (beside := node.next) is None or node.mem_id == root.mem_id:
            above = node.parent
            if above is None or node.mem_id == root.mem_id:
                return
            node = above
            _leave(node, text)
        node = beside


def _enter(node: LexborNode, text: _Text) -> bool:
    """Begin an element or add a text; return whether to look inside."""
    tag = node.tag
    if tag == "-text":
        text.words(node.text_content or "")
        return False
    if tag is None or tag in SKIPPED or tag.startswith(("-", "!")):
        return False
    style = node.attributes.get("style")
    if (style and _HIDDEN.search(style)) or "hidden" in node.attributes:
        return False
    if tag == "br":
        text.newline()
    elif tag in PARAGRAPHS:
        text.paragraph()
        if tag == "blockquote":
            text.quote(1)
    elif tag in BLOCKS:
        text.line()
        if tag == "tr":
            text.begin_row(row_of(node))
        elif tag == "ol":
            text.numbers.append(_number(node.attributes.get("start"), 1) - 1)
        elif tag == "li":
            text.item(_mark(node, text))
    elif tag in CELLS:
        text.cell()
    elif tag == "q":
        text.words('"')
    elif tag == "a" and (target := node.attributes.get("href")) and _LINK.match(target):
        text.links.append("".join(target.split()))
    elif tag == "img" and (alternative := node.attributes.get("alt")):
        text.words(f"[{alternative.strip()}]" if alternative.strip() else "")
    text.preformatted += _keeps_lines(node)
    text.raised += _is_raised(node)
    return True


def _keeps_lines(node: LexborNode) -> bool:
    """Whether the line breaks and spaces of an element's text are shown as they are."""
    style = node.attributes.get("style")
    return node.tag in PREFORMATTED or (style is not None and _KEEPS_LINES.search(style) is not None)


def _is_raised(node: LexborNode) -> bool:
    """Whether an element is a superscript that has letters of its own: 10<sup>2</sup> is not 102."""
    if node.tag != "sup":
        return False
    inner = node.child
    for _ in range(_MOST_WRAPPERS):
        if inner is None or inner.next is not None or inner.tag == "-text":
            break
        inner = inner.child
    if inner is None or inner.next is not None or inner.tag != "-text":
        return False
    return _SUPERSCRIPT.fullmatch(inner.text_content or "") is not None


def _mark(node: LexborNode, text: _Text) -> str:
    """Return what stands before an entry of a list: its number, or a dash."""
    above = node.parent
    if above is None or above.tag != "ol" or not text.numbers:
        return "- "
    text.numbers[-1] = _number(node.attributes.get("value"), text.numbers[-1] + 1)
    return f"{text.numbers[-1]}. "


def _number(written: str | None, otherwise: int) -> int:
    return int(written) if written and _NUMBER.fullmatch(written.strip()) else otherwise


def _leave(node: LexborNode, text: _Text) -> None:
    tag = node.tag or ""
    text.preformatted -= _keeps_lines(node)
    text.raised -= _is_raised(node)
    if tag in PARAGRAPHS:
        if tag == "blockquote":
            text.quote(-1)
        text.paragraph()
    elif tag in BLOCKS:
        text.line()
        if tag == "tr":
            text.end_row()
        elif tag == "li":
            text.end_item()
        elif tag == "ol":
            text.numbers.pop()
    elif tag == "q":
        text.words('"')
