"""How a delimited file is to be read: what separates its cells, whether quotes are text, and its encoding.

Each is found where the file leaves no doubt, taken from the job where it says so, and otherwise refused with the key
that settles it: a wrong guess would be paid for.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from msgspec import Struct

from batchgen.errors import InputError
from batchgen.source.file import File, Format, open_bytes

_CANDIDATES = (",", ";", "\t", "|")
_DEFAULTS = {Format.CSV: ",", Format.TSV: "\t"}
NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_SAMPLE_CHARACTERS = 1 << 16
_SAMPLE_RECORDS = 200
LINE_BREAK = re.compile(r"\r\n|\r|\n")
_SEP = re.compile(r'("?)sep=(\\t|.)\1$', re.IGNORECASE)
_PROPER = re.compile(r'"(?:[^"]|"")*"')
_NUMBER = re.compile(r"[-+]?[0-9.,]*(?:[eE][-+]?[0-9]+)?")
_SINGLE_BYTE = ("cp1252", "cp1250", "cp1251", "iso8859-15", "cp850", "mac_roman", "koi8_r", "cp1256")
_UNLIKELY = re.compile(
    r"(?![\u0300-\u036f\u2010-\u2027\u20ac\u3000-\u303f\uff00-\uffef\xa0\xa7\xab\xb0\xbb])[^\w\x20-\x7e\t]"
)
"""A character that a line of text hardly has: neither a letter nor a mark of punctuation, such as a line of a box."""

_MULTI_BYTE = ("gb18030", "big5", "shift_jis", "euc_kr")


class Dialect(Struct, frozen=True):
    """What separates cells, whether quotes are text, and how many lines come before the header (`sep=;`)."""

    delimiter: str
    quotes_are_text: bool = False
    lines_before: int = 0

    def records(self, stream: io.BufferedReader) -> Any:
        """Return the records of a file, beginning with the header."""
        text = as_text(stream)
        for _ in range(self.lines_before):
            text.readline()
        if self.quotes_are_text:
            return csv.reader(text, delimiter=self.delimiter, quoting=csv.QUOTE_NONE, strict=True)
        return csv.reader(text, delimiter=self.delimiter, strict=True)


def as_text(stream: io.BufferedReader) -> io.TextIOWrapper:
    """Return a file's text; bytes that are not UTF-8 stay recognisable, so that they cost one row and not the file."""
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")


def find_dialect(file: File) -> Dialect:
    """Return how a file is to be read. Raises `InputError` where it could be read in two ways."""
    reading = file.reading
    with open_bytes(file) as stream:
        sample = as_text(stream).read(_SAMPLE_CHARACTERS)
    first, *rest = LINE_BREAK.split(sample, maxsplit=1)
    named = _SEP.match(first)
    before = 1 if named else 0
    if named:
        sample = "".join(rest)
    delimiter = reading.delimiter or (named[2].replace("\\t", "\t") if named else _find_delimiter(file, sample))
    quotes_are_text = reading.quotes == "text"
    if reading.quotes is None and delimiter == "\t":
        quotes_are_text = _quotes_are_text(file, Dialect(delimiter, lines_before=before))
    return Dialect(delimiter, quotes_are_text, before)


def _find_delimiter(file: File, sample: str) -> str:
    default = _DEFAULTS[file.format]
    whole = len(sample) < _SAMPLE_CHARACTERS
    found = {mark: widths for mark in _CANDIDATES if (widths := _widths(sample, mark, whole))}
    fitting = [mark for mark, widths in found.items() if widths[0] > 1 and len(set(widths)) == 1]
    if fitting == [default] or not any(widths[0] > 1 for mark, widths in found.items() if mark != default):
        return default
    if len(fitting) == 1 and found.get(default, [0])[0] <= 1:
        return fitting[0]
    header = sample.splitlines()[0] if sample else ""
    tidy = [mark for mark in fitting if _is_tidy(header, mark)]
    if len(tidy) == 1:
        return tidy[0]
    if not fitting and found.get(default, [0])[0] > 1:
        return default  # its ragged row is told when it is read
    marks = " or ".join(NAMES[mark] for mark, widths in found.items() if widths[0] > 1)
    raise InputError(
        f"{file.path}: the cells may be separated by {marks}, and the first lines do not settle it. "
        'Say which under [input], for example delimiter = ";".'
    )


def _widths(sample: str, delimiter: str, whole: bool) -> list[int]:
    """Return how many cells each of the first records has; blank cells at the end of a row do not count."""
    widths: list[int] = []
    try:
        for record in islice(csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter), _SAMPLE_RECORDS):
            if not any(record):
                continue
            while widths and len(record) > widths[0] and not record[-1]:
                record.pop()
            widths.append(len(record))
    except csv.Error:
        return []
    return widths if whole or len(widths) < 2 else widths[:-1]


def _is_tidy(header: str, delimiter: str) -> bool:
    """Whether the names are names: none begins with a space, none holds another mark that is not followed by one."""
    names = next(csv.reader([header], delimiter=delimiter), [])
    others = [mark for mark in _CANDIDATES if mark != delimiter]
    return not any(
        name.startswith(" ") or any(mark in name.replace(f"{mark} ", "") for mark in others) for name in names
    )


def _lines(file: File, dialect: Dialect) -> Iterator[str]:
    with open_bytes(file) as stream:
        text = as_text(stream)
        for _ in range(dialect.lines_before):
            text.readline()
        for line in text:
            yield line.rstrip("\r\n")


def _quotes_are_text(file: File, dialect: Dialect) -> bool:
    """Decide about the quotes of a file whose cells are separated by tabs.

    They are text, as in most such files, unless it is quoted throughout, or cells are quoted only where that is
    needed and rightly, as pandas and Excel write them, or lines fit together only when quoted.
    """
    begins = re.compile(rf'(?:^|{dialect.delimiter})"')
    if not any('"' in line and begins.search(line) for line in _lines(file, dialect)):
        return False
    width = 0
    quoted = needed = bare = commas = improper = 0
    for line in _lines(file, dialect):
        if not line:
            continue
        cells = line.split(dialect.delimiter)
        width = width or len(cells)
        if len(cells) > width and not any(cells[width:]):
            del cells[width:]
        if len(cells) != width:
            return False
        for cell in cells:
            if cell.startswith('"'):
                quoted += 1
                improper += _PROPER.fullmatch(cell) is None
                needed += cell == '""' or '""' in cell[1:-1]
                commas += "," in cell
            else:
                bare += bool(cell) and _NUMBER.fullmatch(cell) is None
                commas -= "," in cell
    if improper:
        if width > 1:
            return True
    elif bare == 0 or needed == quoted or file.encoding is not None:  # Excel writes its "Unicode text" in UTF-16
        return False
    elif needed == 0 and commas < quoted:
        return True
    raise InputError(
        f"{file.path}: some cells begin with a double quote, which may be text or may enclose the cell. Say which "
        'under [input]: quotes = "text", or quotes = "csv" where they enclose.'
    )


def swallowed(record: Sequence[str], delimiter: str) -> bool:
    """Whether a record of several lines is probably several rows, joined by a quote that only stands at a cell's start.

    Its lines have as many delimiters as a row, none followed by a space as in a sentence, and agree in form in a
    column that is not the text itself; nothing in it is quoted rightly.
    """
    width = len(record)
    place = next(index for index, cell in enumerate(record) if "\n" in cell or "\r" in cell)
    if width < 2 or '"' in record[place] or f"{delimiter} " in record[place]:
        return False
    rows = [line.split(delimiter) for line in LINE_BREAK.split(delimiter.join(record))]
    if len(rows) < 2 or len(rows[0]) < width or any(len(row) != width for row in rows[1:]):
        return False
    forms = [[_form(row[index]) for row in rows] for index in range(width) if index != place]
    return any(form[0] and len(set(form)) == 1 for form in forms)


def _form(cell: str) -> str:
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", cell.strip()))


def check_encoding(file: File, fewest: int = 1) -> None:
    """Raise `InputError` for a file that is probably not UTF-8 at all, rather than UTF-8 with a damaged row.

    Called at the first byte that is not UTF-8, where the job does not say the encoding. `fewest`: so many lines that
    are not UTF-8 are needed.
    """
    right = wrong = 0
    example = b""
    with open_bytes(file) as stream:
        for line in stream:
            if line.isascii():
                continue
            try:
                line.decode()
                right += 1
            except UnicodeDecodeError:
                wrong += 1
                example = example or line
    if right >= wrong or wrong < fewest:
        return
    readings = {}
    for encoding in (*_MULTI_BYTE, *_SINGLE_BYTE):
        with suppress(UnicodeDecodeError):
            readings[encoding] = example.decode(encoding).strip()[:40]
    likely = {encoding: text for encoding, text in readings.items() if _UNLIKELY.search(text) is None}
    shown = [f'{encoding}: "{text}"' for encoding, text in (likely or readings).items()]
    raise InputError(
        f"{file.path} is not UTF-8, and its encoding cannot be told for sure: {wrong:,} lines are not, {right:,} with "
        'letters beyond ASCII are. Say it under [input], for example encoding = "cp1252". A line of it would read, '
        f"{'; '.join(shown) or 'in none of the usual encodings'}."
    )
