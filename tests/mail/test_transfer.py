"""Transfer encodings as senders and relays spoil them; the truth is what was encoded."""

import base64
import binascii
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.mail.decode import decode_mail
from batchgen.mail.transfer import decoded, encoding_name, undeclared
from tests.linear import check_linear

TEXT = "Grüße aus Köln: die dritte Lieferung ist nicht angekommen. " * 8
LINES = base64.encodebytes(TEXT.encode())


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (["base64"], "base64"),
        (["BASE64 "], "base64"),
        (['"base64"'], "base64"),
        (["base64 (by the gateway)"], "base64"),
        (["quotedprintable"], "quoted-printable"),
        (["Quoted_Printable; x=y"], "quoted-printable"),
        (["7bit", "quoted-printable"], "quoted-printable"),
        (["X-UUE"], "uuencode"),
        (["quoted-printeable"], "quoted-printable"),
        (["quoted/printable"], "quoted-printable"),
        (["base64;"], "base64"),
        (["8bit"], ""),
        ([], ""),
    ],
)
def test_an_encoding_is_known_however_it_is_spelt(written, name):
    """Quotes, comments, spaces; of contradicting headers the one that is not the absence of an encoding."""
    assert encoding_name(written) == name


PIECES = [base64.b64encode(TEXT.encode()[at : at + 19]) for at in range(0, len(TEXT.encode()), 19)]


@pytest.mark.parametrize(
    "body",
    [
        LINES,
        LINES.replace(b"\n", b"\r\n"),
        LINES.replace(b"\n", b"\n\n"),
        LINES.replace(b"\n", b""),
        LINES.rstrip(b"=\n"),
        LINES.replace(b"=", b"=3D"),
        LINES[:30] + b"!*" + LINES[30:],
        b"\n".join(PIECES),
        b"".join(PIECES),
        base64.encodebytes(TEXT.encode()[:100]) + base64.encodebytes(TEXT.encode()[100:]),
        LINES[:40] + b"\n" + LINES[40:],  # wrapped once more by a relay
        b"\n".join(LINES.replace(b"\n", b"")[at : at + 75] for at in range(0, len(LINES), 75)),
    ],
)
def test_base64_comes_back_whole(body):
    """Line ends, padding of each piece, stray signs and other widths cost nothing."""
    assert decoded(body, "base64") == (TEXT.encode(), False)


@pytest.mark.parametrize("spoilt", [LINES[:90] + b"A" + LINES[90:], LINES[:90] + LINES[91:], LINES[:90] + LINES[92:]])
def test_a_letter_too_many_or_too_few_costs_one_line_and_is_said(spoilt):
    """The lines after it are read again, and the row says that it is not whole."""
    found, damaged = decoded(spoilt, "base64")
    assert damaged
    assert found[:57] == TEXT.encode()[:57]
    assert found.endswith(TEXT.encode()[114:])
    head = b"Subject: s\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
    mail = decode_mail(head + spoilt, "x")
    assert "base64 of the text is damaged" in mail.error
    assert mail.body.endswith("Lieferung ist nicht angekommen. ")


@given(st.binary(min_size=1), st.integers(1, 30).map(lambda quarter: quarter * 4))
def test_any_bytes_come_back_from_base64_of_any_width(raw, width):
    """Also those whose last line is short."""
    digits = base64.b64encode(raw)
    body = b"\n".join(digits[at : at + width] for at in range(0, len(digits), width))
    assert decoded(body, "base64") == (raw, False)


@pytest.mark.parametrize("word", ["Thanks", "Regards", "Sent from home."])
def test_text_that_only_claims_to_be_base64_stays(word):
    """A program that declares an encoding and does not use it."""
    assert decoded(word.encode(), "base64")[0].decode() == word
    assert decoded(LINES + word.encode(), "base64")[0].decode() == f"{TEXT}\n{word}"


def test_url_safe_base64():
    """The alphabet of RFC 4648, section 5."""
    raw = bytes(range(256))
    assert decoded(base64.urlsafe_b64encode(raw), "base64") == (raw, False)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"a =\r\nb", "a b"),
        (b"a= \t\nb", "ab"),
        (b"100=% sure =ZZ", "100=% sure =ZZ"),
        (b"gr=c3=bc=c3=9fe", "grüße"),
        (quopri.encodestring(TEXT.encode()), TEXT),
    ],
)
def test_quoted_printable_as_it_is_found(body, text):
    """White space after a soft line break is none of the text; what is no encoding stays."""
    assert decoded(body, "quoted-printable")[0].decode() == text


def test_files_in_uuencoding_inside_a_text_are_opened():
    """As mail programs before MIME sent them: text is read in its place, the rest is named."""
    notes = "".join(binascii.b2a_uu(line).decode() for line in (b"first line\n", b"second\n"))
    picture = binascii.b2a_uu(b"\x89PNG\r\n\0\0").decode()
    text = (
        f"See both:\n\nbegin 644 notes.txt\n{notes}`\nend\nand\nbegin 666 a photo.png\n{picture}`\nend\n\n"
        "begin with this\nend\n"
    )
    mail = decode_mail(f"Subject: s\n\n{text}".encode(), "x")
    assert "first line\nsecond" in mail.body
    assert mail.body.startswith("See both:\n\n----- Attachment: notes.txt -----")
    assert mail.body.endswith("[a photo.png]\n\nbegin with this\nend")
    assert mail.attachments == ("notes.txt", "a photo.png")
    assert [name for name, _ in mail.not_read] == ["a photo.png"]
    assert mail.error is None


HEAD = b"From: a@example.org\nSubject: s\nDate: Mon, 02 Feb 2026 08:41:09 +0100\n"
QUOTED = quopri.encodestring(TEXT.encode())
SAYS_NOTHING = [b"", b"Content-Transfer-Encoding: 7bit\n", b"Content-Transfer-Encoding: utf-8\n"]


@pytest.mark.parametrize("says", SAYS_NOTHING)
@pytest.mark.parametrize(("body", "name"), [(LINES, "base64"), (QUOTED, "quoted-printable")])
def test_an_encoding_that_no_header_names(says, body, name):
    """Programs forget the header, and relays drop it; the note tells what was done."""
    mail = decode_mail(HEAD + says + b"Content-Type: text/plain; charset=utf-8\n\n" + body, "a")
    assert mail.body.rstrip() == TEXT.rstrip()
    assert mail.notes == f"the text is encoded as {name}, which no header says"


AS_IT_IS = [
    "a=1 and b=20, and c=3D as well",  # hexadecimal digits by chance
    "see https://example.org/?a=C3&b=B6",
    "x =\ny=20",
    "Gr=C3=BC=C3=9Fe, but a = b is no letter",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",  # a hash
    "SGVsbG8=",  # short enough to be a word
    "A" * 76 + "\n" + "A" * 76,
]


@pytest.mark.parametrize("text", AS_IT_IS)
def test_a_text_that_only_looks_encoded_stays_as_it_is(text):
    mail = decode_mail(HEAD + b"\n" + text.encode(), "a")
    assert (mail.body, mail.notes) == (text, None)


def test_an_attached_file_that_is_encoded_stays_as_it_is():
    """It may be meant so: a key, a certificate."""
    start = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nHi\n--b\nContent-Type: text/plain; name=a.txt\n"
    mail = decode_mail(HEAD + start + b"Content-Disposition: attachment; filename=a.txt\n\n" + LINES + b"--b--\n", "a")
    assert LINES.decode().strip() in mail.body


def test_looking_for_an_encoding_takes_a_time_in_proportion_to_the_length():
    for piece in ("word =\n", "w" * 60 + "=\n", "A" * 60 + "\n", "=C3"):
        check_linear(
            undeclared,
            lambda size, piece=piece: (piece * (size // len(piece)) + "!").encode(),
            short=40_000,
            times=8,
            slack=3,
        )
