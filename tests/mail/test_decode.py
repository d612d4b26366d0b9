"""Mails written by hand, most of them broken in the ways that real ones are: each becomes a row."""

import email.policy
from datetime import UTC, datetime
from email.header import Header
from email.message import EmailMessage
from email.mime.image import MIMEImage
from email.mime.multipart import MIMEMultipart

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchgen.mail.decode import decode_mail

pytest.importorskip("selectolax")


def decode(text):
    """Decode a mail given as text; non-ASCII is UTF-8 unless given as bytes."""
    return decode_mail(text if isinstance(text, bytes) else text.encode(), "x.eml")


def multipart(kind, *parts, boundary="BB"):
    """Join parts (each with its own headers) under a boundary."""
    body = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"\n\n{body}--{boundary}--\n'


PLAIN = "Content-Type: text/plain; charset=utf-8\n\nPlain text"
HTML = "Content-Type: text/html; charset=utf-8\n\n<p>Rich <b>text</b></p>"
PDF = 'Content-Type: application/pdf; name="a.pdf"\nContent-Disposition: attachment; filename="a.pdf"\n\nx'


@pytest.mark.parametrize(
    ("content", "body", "attachments"),
    [
        (PLAIN, "Plain text", ()),
        (HTML, "Rich text", ()),
        (multipart("alternative", PLAIN, HTML), "Plain text", ()),
        (multipart("alternative", HTML, PLAIN), "Plain text", ()),
        (multipart("alternative", "Content-Type: text/plain\n\n  \n", HTML), "Rich text", ()),
        (multipart("mixed", PLAIN, PDF), "Plain text", ("a.pdf",)),
        (multipart("mixed", multipart("alternative", PLAIN, HTML, boundary="CC"), PDF), "Plain text", ("a.pdf",)),
        (
            multipart("alternative", PLAIN, multipart("related", HTML, PDF, boundary="CC")),
            "Plain text",
            ("a.pdf",),
        ),
        (multipart("mixed", PLAIN, PDF, "Content-Type: text/plain\n\nfooter"), "Plain text\n\nfooter", ("a.pdf",)),
        (
            multipart("mixed", PLAIN, 'Content-Type: text/plain; name="log.txt"\n\nlog'),
            "Plain text",
            ("log.txt",),
        ),
        (multipart("mixed", PLAIN, "Content-Type: image/png\n\nx"), "Plain text", ("image/png",)),
        (
            multipart("mixed", PLAIN, "Content-Type: message/rfc822\n\nSubject: =?utf-8?q?F=C3=BCr_dich?=\n\ninner"),
            "Plain text",
            ("Für dich.eml",),
        ),
        (multipart("mixed", "Content-Type: message/rfc822\n\nSubject: fwd\n\ninner"), "inner", ("fwd.eml",)),
        (
            multipart(
                "mixed", PLAIN, "Content-Type: message/rfc822\n\nSubject: m\n" + multipart("mixed", PDF, boundary="CC")
            ),
            "Plain text",
            ("m.eml",),
        ),
    ],
)
def test_the_body_is_the_text_a_person_would_read(content, body, attachments):
    """Plain before HTML, all inline texts, attachments by name, attached mails not opened unless all there is."""
    mail = decode("Subject: s\nMIME-Version: 1.0\n" + content)
    assert (mail.body, mail.attachments, mail.error) == (body, attachments, None)


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ('filename="=?utf-8?q?M=C3=A4rz.pdf?="', "März.pdf"),
        ("filename*=utf-8''M%C3%A4rz.pdf", "März.pdf"),
        ("filename*0*=utf-8''M%C3; filename*1*=%A4rz.pdf", "März.pdf"),
        ('filename="../../etc/passwd"', ".._.._etc_passwd"),
        ('filename="März.pdf"', "März.pdf"),
        ('filename="winmail.dat"', "winmail.dat"),
    ],
)
def test_attachment_names_are_decoded(parameter, name):
    """RFC 2231, encoded words where none may be, raw bytes; never a path."""
    part = f"Content-Type: application/octet-stream\nContent-Disposition: attachment; {parameter}\n\nx"
    mail = decode("Subject: s\nMIME-Version: 1.0\n" + multipart("mixed", PLAIN, part))
    assert mail.attachments == (name,)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no headers"),
        ("no mail at all\nbut text", "no headers"),
        (
            "Subject: s\nContent-Type: multipart/encrypted; boundary=BB\n\n"
            "--BB\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--BB--",
            "inside PGP",
        ),
        ("Subject: s\nContent-Type: application/pkcs7-mime; name=smime.p7m\n\nMIIB", "inside S/MIME"),
        (
            "Subject: s\nMIME-Version: 1.0\n"
            + multipart("mixed", "Content-Type: application/ms-tnef; name=winmail.dat\n\nx"),
            "winmail.dat",
        ),
        ("Subject: s\nContent-Type: text/html\n\n" + "<div>" * 50_000, "nests 50,000"),
        (
            b"Subject: s\nContent-Type: text/plain; charset=utf-8\n\n" + "Grüße ".encode() * 9 + b"\xff",
            "1 characters of the text are damaged",
        ),
        (
            "Subject: s\nContent-Type: multipart/mixed; boundary=BB\n\n--XX\nContent-Type: text/plain\n\ntext\n",
            "no parts",
        ),
    ],
)
def test_what_cannot_be_decoded_is_a_row_that_says_so(text, error):
    """The headers that can be read are kept."""
    mail = decode(text)
    assert error in mail.error
    if "Subject" in str(text[:20]):
        assert mail.subject == "s"


def test_text_is_kept_where_only_a_part_is_damaged():
    """A broken boundary leaves the raw text, a broken byte the rest of it."""
    mail = decode("Subject: s\nContent-Type: multipart/mixed; boundary=BB\n\nHello there\n")
    assert "Hello there" in (mail.body or "")
    mail = decode(b"Subject: s\nContent-Type: text/plain; charset=utf-8\n\n" + "Grüße ".encode() * 9 + b"\xff")
    assert mail.body == "Grüße " * 9 + "\ufffd"


@pytest.mark.parametrize(
    ("header", "date", "text"),
    [
        ("Mon, 02 Feb 2026 08:41:09 +0100", datetime(2026, 2, 2, 7, 41, 9, tzinfo=UTC), None),
        ("2 Feb 2026 08:41 GMT", datetime(2026, 2, 2, 8, 41, tzinfo=UTC), None),
        ("Mon, 02 Feb 2026 08:41:09 -0000", datetime(2026, 2, 2, 8, 41, 9, tzinfo=UTC), None),
        ("yesterday", None, "yesterday"),
        ("Mon, 99 Feb 2026 08:41:09 +0100", None, "Mon, 99 Feb 2026 08:41:09 +0100"),
        ("Fri, 31 Dec 9999 23:59:59 -1200", None, "Fri, 31 Dec 9999 23:59:59 -1200"),
    ],
)
def test_dates_are_utc_and_others_stay_as_text(header, date, text):
    """A date that cannot be read is kept in `date_text`; that alone is no error."""
    mail = decode(f"Subject: s\nDate: {header}\n\nx")
    assert (mail.date, mail.date_text, mail.error) == (date, text, None)


def test_repeated_and_missing_headers():
    """All To lines count, of others the first; what is missing is null; the body of a bare mail is empty."""
    mail = decode("To: a@x.example\nSubject: one\nTO: b@x.example\nsubject: two\n\n")
    assert (mail.to, mail.subject) == ("a@x.example, b@x.example", "one")
    assert (mail.message_id, mail.from_, mail.cc, mail.date, mail.body, mail.error) == (
        None,
        None,
        None,
        None,
        "",
        None,
    )


def test_flowed_text_is_joined():
    """The parameters of the part are obeyed."""
    mail = decode("Subject: s\nContent-Type: text/plain; format=Flowed\n\nA long \nline.\nNext.\n")
    assert mail.body == "A long line.\nNext."


@pytest.mark.parametrize("depth", [50, 400, 5000])
def test_deep_nesting_does_not_crash(depth):
    """Multiparts in multiparts, deeper than Python's stack: the text or a row that says so."""
    head = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(depth))
    mail = decode("Subject: s\n" + head + "Content-Type: text/plain\n\ninnermost\n")
    assert mail.body == "innermost" or "RecursionError" in mail.error


def test_a_mail_of_many_parts_is_read_up_to_a_bound():
    """100,000 empty parts do not take minutes."""
    mail = decode("Subject: s\nMIME-Version: 1.0\n" + multipart("mixed", PLAIN, *["\n"] * 12_000))
    assert "more than 10,000 parts" in mail.error
    assert mail.body.startswith("Plain text")


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)


@given(
    subject=st.lists(WORDS, min_size=1, max_size=8).map(" ".join),
    name=WORDS,
    text=st.lists(st.lists(WORDS, max_size=5).map(" ".join), min_size=1, max_size=4).map("\n".join),
    encoding=st.sampled_from(["quoted-printable", "base64", "8bit"]),
)
@settings(max_examples=80, deadline=None)
def test_mails_written_by_the_standard_library_come_back(subject, name, text, encoding):
    """Any subject, body and attachment name, in each transfer encoding."""
    # The older policy writes the headers: folding of the newer one was seen to lose spaces between encoded words.
    message = MIMEMultipart()
    message["Subject"] = Header(subject, "utf-8")
    inner = EmailMessage(policy=email.policy.SMTP)
    inner.set_content(text, cte=encoding)
    message.attach(inner)
    image = MIMEImage(b"x", "png")
    image.add_header("Content-Disposition", "attachment", filename=("utf-8", "", f"{name}.png"))
    message.attach(image)
    mail = decode(message.as_bytes())
    assert mail.subject == subject
    assert mail.body == (text.strip("\n") if text.strip() else "")
    assert mail.attachments == (f"{name}.png".replace("/", "_").replace("\\", "_"),)
    assert mail.error is None


HEADS = [b"From", b"To", b"Date", b"Subject", b"Content-Type", b"Content-Transfer-Encoding", b"Content-Disposition"]
VALUES = [
    b"multipart/mixed; boundary=B",
    b"text/html; charset=",
    b"text/plain; charset*=utf-8''%FF",
    b"base64",
    b"=?utf-8?b?",
    b"x-uuencode",
    b"attachment; filename*0*=''%; filename*2=x",
    b"message/rfc822",
    b"\xff\xfe",
    b"quoted-printable",
    b"<<>,;:@",
    b"",
    b";",
    b"Mon, 1",
    b'text/plain; charset="a\x00b"',
]
LINES = [b"", b"--B", b"--B--", b"text =\xff=ZZ", b"begin 644 x", b"aGVsbG8", b" folded", b"<p>x", b"\x00"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(HEADS), st.sampled_from(VALUES)).map(b": ".join),
            st.sampled_from(LINES),
            st.binary(max_size=20),
        ),
        max_size=25,
    ).map(b"\n".join)
)
@example(b"Content-Type: multipart/mixed; boundary=B\nContent-Transfer-Encoding: base64\n\n--B\n\n--B--")
@settings(max_examples=400, deadline=None)
def test_any_wreck_becomes_a_row(raw):
    """No bytes make it raise, and what comes out can be stored."""
    mail = decode(raw)
    for value in (mail.subject, mail.body, mail.from_, mail.error, *mail.attachments):
        (value or "").encode()
