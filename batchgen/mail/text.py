"""Bytes of a mail → text: charsets declared, wrong or missing; encoded words in headers; format=flowed.

What is declared is believed only as far as the bytes bear it out. In order: UTF-8 that stands under the name of a
one-byte charset; the declared charset, strictly; UTF-8; what charset-normalizer (MIT, typed) finds; windows-1252,
with U+FFFD for what it does not have. Text that is almost all in the declared charset is damaged rather than
mislabelled, and keeps it, also with U+FFFD.
"""

from __future__ import annotations

import binascii
import codecs
import quopri
import re
from collections.abc import Iterator
from encodings.aliases import aliases

from msgspec import Struct

from batchgen.text.storable import whole_text

REPLACEMENT = "\ufffd"
_DETECTED_BYTES = 1 << 16  # enough to tell a charset by; detection costs milliseconds per 10 KB
_FEWEST_DETECTED = 24  # non-ASCII bytes: fewer tell nothing, and windows-1252 is the likeliest
_ASCII = bytes(range(128))
_DAMAGED_SHARE = 0.1  # of the non-ASCII characters: up to here text is damaged, beyond it mislabelled
_DAMAGED_SHARE_UTF8 = 0.5  # what is well-formed UTF-8 is so by intention

_WIDER = {
    # A charset's name → the one that is meant by those who use it. https://encoding.spec.whatwg.org/#names-and-labels
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "johab": "cp949",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
}
_ALIASES = {
    "iso-8859-8-i": "iso8859-8",
    "iso-8859-8-e": "iso8859-8",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "x-sjis": "cp932",
    "x-gbk": "gb18030",
    "x-euc-jp": "euc_jp",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
    "unicode-1-1-utf-7": "utf-7",
    "cp-850": "cp850",
    "windows-31j": "cp932",
    "windows31j": "cp932",
    "ms_kanji": "cp932",
    "cn-gb": "gb18030",
    "ansi": "cp1252",
    "iso-2022-jp-ms": "iso2022_jp",
    "cp50220": "iso2022_jp",
    "cp50221": "iso2022_jp",
    "windows-iso2022jp": "iso2022_jp",
    "ms-cp932": "cp932",
    "gb18030-2005": "gb18030",
    "gbk2312": "gb18030",
    "chinesebig5": "big5hkscs",
    "turkish": "cp1254",
    "logical": "iso8859-8",
    "visual": "iso8859-8",
    "koi8-ru": "koi8-u",
    "x-unknown": "",
    "unknown-8bit": "",
    "default": "",
    "_autodetect": "",
}
_SQUEEZED = {name.replace("_", ""): name for name in (*aliases.values(), *aliases)}
"""Python's names of codecs without the marks between letters and digits, as senders leave these out or put others."""

_CODE_PAGE = re.compile(r"(?:windows|win|ibm|dos|ms|cp)(\d{3,4})(?!\d)")
_BARE_NAME = re.compile(r"[^\s,;()]+(?:\s+\d[\w.-]*)?")
_NO_CHARSETS = frozenset(("idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"))
_MULTIBYTE = re.compile(r"utf|gb|big5|euc|cp9[345]|shift|iso2022|hz")
_ENCODED_WORD = re.compile(
    # The end may be missing, and a question mark may stand in the text; the next word begins with no end before it.
    r"=\?([^?\s]+)\?[ ]?([bBqQ])[ ]?\?((?:(?!=\?[^?\s]+\?[bBqQ]\?)(?:[^?]|\?(?!=)))*)(\?=)?"
)
_NO_DIGIT = re.compile(r"[^A-Za-z0-9+/_-]")
_QUOTED_LETTERS = re.compile(r"(?:=[89A-F][0-9A-F]){2}")  # quoted-printable that is called base64
_ADDRESS = re.compile(r"(?:[^<>@,;]*<[^<>@\s]+@[^<>@\s]+>|[^<>@\s,;]+@[^<>@\s,;]+)\s*")
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1f\x7f]")
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_SPECIALS = re.compile(r'[()<>\[\]:;@\\,."]')
_WIDE = ("utf-16", "utf-32")
_WESTERN = ("ascii", "cp1252")  # what programs name that do not know the charset
_META_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{2,40})""", re.IGNORECASE)
_JIS_STRETCH = re.compile(rb"(?:\A|\x1b(\$[B@]|\([BJI]))([^\x1b]*)")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Decoded(Struct, frozen=True):
    """Text, and how many characters of it stand as U+FFFD because the bytes mean nothing in `charset`.

    `guessed`: no name and no well-formed UTF-8 tells the charset, so that it may be another.
    """

    text: str
    charset: str
    lost: int = 0
    guessed: bool = False


def decode_bytes(body: bytes, declared: str | None, *, html: bool = False) -> Decoded:
    """Return the text of a part under the rule of this module; line ends become `\\n`."""
    found = _decode(body, declared, html=html)
    text = found.text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    return Decoded(whole_text(text), found.charset, found.lost, found.guessed)


def _decode(body: bytes, declared: str | None, *, html: bool) -> Decoded:
    for mark, marked in _BOMS:
        if body.startswith(mark) and (text := _strictly(body, marked)) is not None:
            return Decoded(text, marked)
    if (wide := with_zeros(body)) is not None:
        return wide
    charset = _codec(declared)
    if charset is not None and charset.startswith(_WIDE) and b"\0" not in body and _strictly(body, "utf-8") is not None:
        charset = None  # a text of two or four bytes a letter has zeros in its spaces and line ends
    seven_bit = body.isascii()
    if html and (charset is None or (charset in _WESTERN and not seven_bit)):
        charset = _meta_charset(body, charset)
    if seven_bit and b"\x1b$" in body and (charset is None or not charset.startswith("iso2022")):
        escaped = "iso2022_kr" if b"\x1b$)C" in body else "iso2022_jp"
        if (text := _strictly(body, escaped)) is not None or (text := _japanese(body)) is not None:
            return Decoded(text, escaped)
    if seven_bit and (charset is None or not _MULTIBYTE.match(charset)):
        return Decoded(body.decode("ascii"), charset or "ascii")
    if charset == "ascii":  # what the body disproves says nothing
        charset = None
    utf8 = _strictly(body, "utf-8")
    if utf8 is not None and not seven_bit and (charset is None or not _MULTIBYTE.match(charset)):
        return Decoded(utf8, "utf-8")
    if charset is not None:
        text = _strictly(body, charset)
        if text is None and charset.startswith("iso2022_jp"):
            text = _japanese(body)
        if text is not None:
            return Decoded(text, charset)
        text = body.decode(charset, "replace")
        lost = text.count(REPLACEMENT)
        share = _DAMAGED_SHARE_UTF8 if charset == "utf-8" else _DAMAGED_SHARE
        if utf8 is None and lost <= share * sum(not character.isascii() for character in text):
            return Decoded(text, charset, lost)
    if utf8 is not None:
        return Decoded(utf8, "utf-8")
    found = _detected(body)
    if found is not None:
        return found
    text = body.decode("cp1252", "replace")
    return Decoded(text, "cp1252", text.count(REPLACEMENT), guessed=True)


def with_zeros(body: bytes) -> Decoded | None:
    """Return the text of a body in UTF-16 or UTF-32 without a mark, as its zeros show whatever name it has."""
    if body.count(0) * 3 < len(body) or not body:
        return None
    for codec, width, places in (
        ("utf-32-le", 4, (2, 3)),
        ("utf-32-be", 4, (0, 1)),
        ("utf-16-le", 2, (1,)),
        ("utf-16-be", 2, (0,)),
    ):
        stretches = [body[place::width] for place in places]
        zeros = all(2 * stretch.count(0) > len(stretch) for stretch in stretches)
        if len(body) % width == 0 and zeros and (text := _strictly(body, codec)) is not None and "\0" not in text:
            return Decoded(text, codec)
    return None


def _meta_charset(body: bytes, declared: str | None) -> str | None:
    """Return the charset that an HTML text names itself, where the text can be in it; else the declared one."""
    meta = _META_CHARSET.search(body[:4096])
    charset = None if meta is None else _codec(meta[1].decode("ascii", "replace"))
    if charset is None:
        return declared
    if charset.startswith(_WIDE):  # it could not be read here if it were
        charset = "utf-8"
    return charset if declared is None or _strictly(body, charset) is not None else declared


def _detected(body: bytes) -> Decoded | None:
    if len(body.translate(None, _ASCII)) < _FEWEST_DETECTED:
        return None
    from charset_normalizer import from_bytes

    best = from_bytes(body[:_DETECTED_BYTES]).best()
    if best is None:
        return None
    text = _strictly(body, best.encoding)
    return None if text is None else Decoded(text, best.encoding, guessed=True)


def _japanese(body: bytes) -> str | None:
    """Return ISO-2022-JP text with the characters that Windows adds to it (\u2460, \u32d1), which Python's codec lacks.

    Each row and cell of JIS is written as Shift JIS has it (https://encoding.spec.whatwg.org/#shift_jis), then decoded.
    """
    pieces: list[str] = []
    for escape, text in _JIS_STRETCH.findall(body):
        if escape in (b"$B", b"$@"):
            shifted = bytearray()
            for row, cell in zip(text[::2], text[1::2], strict=False):
                if not (0x21 <= row <= 0x7E and 0x21 <= cell <= 0x7E):
                    return None
                lead = (row + 1 >> 1) + (0x70 if row < 0x5F else 0xB0)
                trail = cell + 0x7E if row % 2 == 0 else cell + (0x1F if cell < 0x60 else 0x20)
                shifted += bytes((lead, trail))
            text = bytes(shifted)  # noqa: PLW2901
        elif escape == b"(I":
            text = bytes(byte | 0x80 for byte in text)  # noqa: PLW2901
        found = _strictly(text, "cp932")
        if found is None:
            return None
        pieces.append(found)
    return "".join(pieces)


def _strictly(body: bytes, charset: str) -> str | None:
    try:
        return body.decode(charset)
    except (UnicodeError, ValueError):  # utf-7 and punycode raise bare ValueErrors
        return None


def _codec(declared: str | None) -> str | None:
    """Return Python's name of a text codec, the wider one where senders mean that; None for unknown names."""
    if not declared:
        return None
    named = _BARE_NAME.search(declared.strip("\"'=;, \t").lower())
    name = named[0].strip("\"'") if named else ""
    bare = name.removeprefix("x-").removeprefix("cs")
    squeezed = re.sub(r"[^a-z0-9]", "", bare)
    page = _CODE_PAGE.match(squeezed)
    for tried in (name, bare, bare.replace("mac-", "mac_"), f"cp{page[1]}" if page else "", _known_name(squeezed)):
        try:
            found = codecs.lookup(_ALIASES.get(tried, tried))
            break
        except (LookupError, ValueError, UnicodeError):  # a name may hold anything, NUL too
            continue
    else:
        return None
    if not found._is_text_encoding or found.name in _NO_CHARSETS:
        return None
    return _WIDER.get(found.name, found.name)


def _known_name(squeezed: str) -> str:
    """Return the longest known name with which a name begins, unless a digit goes on: `utf8mb4`, `big5eten`."""
    for end in range(len(squeezed), 3, -1):
        if squeezed[:end] in _SQUEEZED and not squeezed[end : end + 1].isdigit():
            return _SQUEEZED[squeezed[:end]]
    return ""


# Headers


def header_text(raw: str, *, structured: bool = False) -> str:
    """Return a header's value as text: unfolded, encoded words decoded, 8-bit bytes under the rule of this module.

    Neighbouring encoded words of one charset are joined before they are decoded, since many senders cut in the middle
    of a character. `structured` (addresses): a decoded name with special characters is put into quotes (RFC 2047,
    section 5), so that `=?utf-8?q?Doe=2C_Jo?= <j@x.example>` does not become two addresses.
    """
    raw = re.sub(r"\r?\n[ \t]*|\r", " ", raw)
    pieces: list[str] = []
    pending: list[tuple[str, str]] = []
    charset = ""

    def flush() -> None:
        if pending:
            text = _decode(b"".join(_words_bytes(pending)), charset, html=False).text
            if structured and _SPECIALS.search(text) and not _stands_as_it_is(text, pieces, raw[end:]):
                escaped = text.replace("\\", "\\\\").replace('"', '\\"')
                text = f'"{escaped}"'
            pieces.append(text)
            pending.clear()

    end = 0
    for match in _ENCODED_WORD.finditer(raw):
        if match[4] is None and _codec(match[1].partition("*")[0]) is None:
            continue
        between = raw[end : match.start()]
        word_charset = match[1].partition("*")[0].lower()  # RFC 2231 adds a language after *
        if not pending or between.strip() or word_charset != charset:
            flush()
            if between.strip() or not pieces:
                pieces.append(_eight_bit(between))
        end = match.end()
        charset = word_charset
        pending.append((match[2].lower(), match[3] if match[4] else match[3].rstrip()))
    flush()
    pieces.append(_eight_bit(raw[end:]))
    return " ".join(_CONTROL.sub(" ", whole_text("".join(pieces))).split())


def _stands_as_it_is(text: str, before: list[str], after: str) -> bool:
    """Whether a decoded word needs no quotes: it stands in quotes or brackets, or is an address as a whole."""
    ahead = "".join(before[-1:])
    return ahead.endswith(('"', "<")) or (not after.lstrip().startswith("<") and _ADDRESS.fullmatch(text) is not None)


def _words_bytes(words: list[tuple[str, str]]) -> Iterator[bytes]:
    """Yield the bytes of neighbouring encoded words. Base64 that was cut between any two digits is joined first."""
    open_text: list[str] = []
    digits = 0
    for place, (encoding, text) in enumerate(words):
        if encoding == "b" and not _QUOTED_LETTERS.search(text):
            open_text.append(text)
            digits += len(_NO_DIGIT.sub("", text))
            goes_on = place + 1 < len(words) and words[place + 1][0] == "b"
            if goes_on and digits % 4 and not text.rstrip().endswith("="):
                continue
            yield _from_base64("".join(open_text).encode("utf-8", "surrogateescape"))
            open_text, digits = [], 0
        else:
            yield quopri.decodestring(text.encode("utf-8", "surrogateescape"), header=True)


def _from_base64(raw: bytes) -> bytes:
    digits = _NO_BASE64.sub(b"", raw.replace(b"-", b"+").replace(b"_", b"/"))
    if len(digits) % 4 == 1:  # a character is missing or too many: what stands before it still counts
        digits = digits[:-1]
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))


def _eight_bit(text: str) -> str:
    """Decode the raw bytes that the parser keeps as surrogates."""
    if text.isascii() and "\x1b$" not in text:
        return text
    return _decode(text.encode("utf-8", "surrogateescape"), None, html=False).text


# Soft line breaks


def unflowed(text: str, *, delete_space: bool = False) -> str:
    """Return format=flowed text (RFC 3676) with its soft line breaks taken out, quoting kept."""
    lines: list[list[str]] = []
    open_depth: int | None = None  # quote depth of the paragraph that goes on
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        content = content.removeprefix(" ")  # space-stuffing
        signature = content == "-- "
        soft = content.endswith(" ") and not signature
        kept = content[:-1] if soft and delete_space else content
        if open_depth == depth and not signature:
            lines[-1].append(kept)
        else:
            lines.append([">" * depth + (" " if depth and content else "") + kept])
        open_depth = depth if soft else None
    joined = ("".join(pieces) for pieces in lines)
    return "\n".join(line if line.endswith("-- ") else line.rstrip(" ") for line in joined)
