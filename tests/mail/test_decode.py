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
from tests.linear import check_linear

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
            "Plain text\n\n----- Attachment: log.txt -----\nlog\n----- End of attachment: log.txt -----",
            ("log.txt",),
        ),
        (multipart("mixed", PLAIN, "Content-Type: image/png\n\nx"), "Plain text", ("image/png",)),
        (
            multipart("mixed", PLAIN, "Content-Type: message/rfc822\n\nSubject: =?utf-8?q?F=C3=BCr_dich?=\n\ninner"),
            "Plain text\n\n----- Attached mail: Für dich.eml -----\nSubject: Für dich\n\ninner\n"
            "----- End of attached mail: Für dich.eml -----",
            ("Für dich.eml",),
        ),
        (
            multipart("mixed", "Content-Type: message/rfc822\n\nSubject: fwd\n\ninner"),
            "----- Attached mail: fwd.eml -----\nSubject: fwd\n\ninner\n----- End of attached mail: fwd.eml -----",
            ("fwd.eml",),
        ),
        (
            multipart(
                "mixed", PLAIN, "Content-Type: message/rfc822\n\nSubject: m\n" + multipart("mixed", PDF, boundary="CC")
            ),
            "Plain text\n\n----- Attached mail: m.eml -----\nSubject: m\n----- End of attached mail: m.eml -----",
            ("m.eml", "a.pdf"),
        ),
    ],
)
def test_the_body_is_the_text_a_person_would_read(content, body, attachments):
    """Plain before HTML, all inline texts, attachments by name, attached mails and text files opened in order."""
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
            "PGP-encrypted",
        ),
        ("Subject: s\nContent-Type: application/pkcs7-mime; name=smime.p7m\n\nMIIB", "S/MIME-encrypted"),
        (
            "Subject: s\nMIME-Version: 1.0\n"
            + multipart("mixed", "Content-Type: application/ms-tnef; name=winmail.dat\n\nx"),
            "winmail.dat",
        ),
        ("Subject: s\nContent-Type: text/html\n\n" + "<div>" * 50_000, "nests 50,000"),
        (
            b"Subject: s\nContent-Type: text/plain; charset=utf-8\n\n" + "Grüße ".encode() * 9 + b"\xff",
            "1 character of the text damaged",
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
    assert mail.body == "innermost" or "nested more than 50 deep" in mail.error


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


# What people miss when it is dropped

STUB = "Content-Type: text/plain\n\nThis message needs a reader for HTML. Please use one."
ORDER = "Content-Type: text/html\n\n<p>Order <b>7788</b> is late.</p><a href='https://x.example/7788'>see it</a>"


def test_a_stub_gives_way_to_the_html():
    """Plain text that does not say what the HTML says; where the HTML is next to nothing, both are kept."""
    mail = decode("Subject: s\n" + multipart("alternative", STUB, ORDER))
    assert mail.body == "Order 7788 is late.\n\nsee it"
    assert mail.links == ("https://x.example/7788",)
    assert "the HTML was taken" in mail.notes
    long = "Content-Type: text/plain\n\n" + " ".join(f"word{n}" for n in range(40))
    mail = decode("Subject: s\n" + multipart("alternative", long, "Content-Type: text/html\n\n<img alt=logo>"))
    assert mail.body.endswith("word39\n\n[logo]")
    linked = "Content-Type: text/html\n\nplain <a href=https://x.example/1>text</a>"
    mail = decode("Subject: s\n" + multipart("alternative", PLAIN, linked))
    assert (mail.body, mail.notes, mail.links) == ("Plain text", None, ("https://x.example/1",))


def test_a_calendar_entry_stands_beside_the_text():
    """Inside an alternative, where its folded lines are joined, and as the whole mail."""
    entry = "BEGIN:VCALENDAR\nSUMMARY:A long\n er title\nEND:VCALENDAR"
    calendar = f"Content-Type: text/calendar; method=REQUEST\n\n{entry}\n"
    mail = decode("Subject: s\n" + multipart("alternative", PLAIN, HTML, calendar))
    assert mail.body.startswith(
        "Plain text\n\n----- Attachment: text/calendar -----\nBEGIN:VCALENDAR\nSUMMARY:A longer"
    )
    assert "SUMMARY:A longer title" in decode("Subject: s\n" + calendar).body


def test_a_digest_keeps_all_its_mails():
    """Its parts are mails without saying so."""
    mail = decode(
        "Subject: digest\n"
        + multipart("digest", *(f"\nFrom: a{n}@x.example\nSubject: s{n}\n\ntext {n}" for n in range(3)))
    )
    assert [f"text {n}" in mail.body for n in range(3)] == [True] * 3
    assert mail.attachments == ("s0.eml", "s1.eml", "s2.eml")


@pytest.mark.parametrize(
    "encoded",
    [
        "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogZgoKaW5uZXIK",
        "Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\nSubject: f\n\ninn=\ner",
        'Content-Type: application/octet-stream; name="f.eml"\n\nSubject: f\n\ninner',
        "Content-Type: message/rfc822\n\nFrom ann@x.example Mon Feb  2 08:41:00 2026\nSubject: f\n\ninner",
        "Content-Type: message/rfc822\n\n" + multipart("mixed", PLAIN.replace("Plain text", "inner"), boundary="CC"),
    ],
)
def test_an_attached_mail_is_opened_however_it_is_attached(encoded):
    """Encoded, by its name only, with a From line, with parts."""
    mail = decode("Subject: s\n" + multipart("mixed", PLAIN, encoded))
    assert "inner" in mail.body
    assert "End of attached mail" in mail.body


@pytest.mark.parametrize(
    ("headers", "subject"),
    [
        ("From: a@x\nthis is no header\nSubject: s\nContent-Type: text/html\n\n<p>text</p>", "s"),
        ("From: a@x\n>From - Mon Feb  2 08:41:00 2026\nSubject: s\n\ntext", "s"),
        ("From: a@x\nSubject: s\ntext", "s"),
        ("From: a@x\nSubject: s\n \ntext", "s"),
        ("Subject: s\nContent-Type: multipart/mixed; boundary=BB\n--BB\nContent-Type: text/plain\n\ntext\n--BB--", "s"),
        ("\n\n\ufeffSubject: s\n\ntext".lstrip("\n"), "s"),
        ("Subject: a\n  folded\n\ttwice\nX: y\n\ntext", "a folded twice"),
        ("Subject : s\r\n\r\ntext", "s"),
        ("Subject: s\r\rtext", "s"),
    ],
)
def test_headers_end_where_the_text_begins(headers, subject):
    """A line that is none among them, an empty line that is missing or has a space, other line ends."""
    mail = decode(headers)
    assert (mail.subject, mail.body) == (subject, "text")


@pytest.mark.parametrize("declared", ["", "; boundary=other", '; boundary=""'])
def test_a_boundary_that_is_missing_or_wrong_is_found(declared):
    """And said."""
    mail = decode(f"Subject: s\nContent-Type: multipart/mixed{declared}\n\n--B1\n{PLAIN}\n--B1\n{PDF}\n--B1--\n")
    assert (mail.body, mail.attachments, mail.error) == ("Plain text", ("a.pdf",), None)
    assert "boundary" in mail.notes


def test_parts_after_the_closing_boundary_count():
    """Gateways append a part and forget to move the end."""
    mail = decode(f"Subject: s\n{multipart('mixed', PLAIN)}--BB\nContent-Type: text/plain\n\nadded\n--BB--\n")
    assert mail.body == "Plain text\n\nadded"


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("application/ms-tnef", "winmail.dat", "Outlook's winmail.dat"),
        ("application/octet-stream", "WINMAIL.DAT", "Outlook's winmail.dat"),
        ("application/vnd.ms-outlook", "a.msg", "Outlook .msg"),
        ("application/octet-stream", "a.pdf", "PDF"),
        ("application/pkcs7-mime; smime-type=enveloped-data", "smime.p7m", "S/MIME-encrypted"),
        ("application/pkcs7-mime; smime-type=signed-data", "smime.p7m", "opaque-signed S/MIME"),
        ("image/png", "a.png", "image"),
        ("application/zip", "a.zip", "archive"),
        ("application/octet-stream", "a.bin", "application/octet-stream"),
    ],
)
def test_what_is_not_read_is_named_with_its_kind(kind, name, said):
    """In the row; the text beside it is read."""
    part = f'Content-Type: {kind}\nContent-Disposition: attachment; filename="{name}"\n\nx'
    mail = decode("Subject: s\n" + multipart("mixed", PLAIN, part))
    assert (mail.body, mail.not_read, mail.error) == ("Plain text", ((name, said),), None)


@pytest.mark.parametrize(("header", "said"), [("", "empty"), ("X-Apple-Content-Length: 99\n", "kept elsewhere")])
def test_an_attachment_without_a_byte_is_said_to_be_empty_and_not_kept(header, said):
    """A program has left it out, or keeps it in a file of its own; it is no file that a row could be sent with."""
    part = f'Content-Type: application/pdf\nContent-Disposition: attachment; filename="a.pdf"\n{header}\n\n'
    mail = decode_mail(f"Subject: s\n{multipart('mixed', PLAIN, part)}".encode(), "x.eml", with_files=True)
    assert (mail.body, mail.attachments, mail.not_read) == ("Plain text", ("a.pdf",), (("a.pdf", said),))
    assert mail.files == ()


def test_a_mail_whose_only_text_is_not_read_has_lost_it():
    """RTF without a name of its own is the text; an attached file is none."""
    lost = decode("Subject: s\nContent-Type: text/rtf\n\n{\\rtf1 Hello}\n")
    assert (lost.body, lost.not_read) == (None, (("text/rtf", "RTF"),))
    assert "RTF" in lost.error
    assert decode("Subject: s\nContent-Type: text/rtf; name=a.rtf\n\n{\\rtf1 Hello}\n").error is None


def test_text_that_is_encrypted_where_it_stands_is_no_text():
    """Inline PGP: alone it is an error, beside other text it is named."""
    armour = "-----BEGIN PGP MESSAGE-----\n\nhQEM\n-----END PGP MESSAGE-----\n"
    mail = decode(f"Subject: s\n\n{armour}")
    assert (mail.body, mail.not_read) == (None, (("the text", "PGP-encrypted"),))
    assert "PGP-encrypted" in mail.error
    mail = decode(f"Subject: s\n\nHello,\n{armour}")
    assert (mail.body[:6], mail.not_read, mail.error) == ("Hello,", (("the text", "PGP-encrypted"),), None)


def test_signatures_are_no_unread_content():
    """They are named as attachments only."""
    signature = "Content-Type: application/pgp-signature; name=signature.asc\n\nx"
    mail = decode("Subject: s\n" + multipart("signed", PLAIN, signature))
    assert (mail.body, mail.attachments, mail.not_read) == ("Plain text", ("signature.asc",), ())


def test_all_headers_that_people_ask_for_are_columns():
    """Folded, repeated and encoded ones too."""
    mail = decode(
        "From: form <noreply@x.example>\nReply-To: =?utf-8?q?Zo=C3=AB?= <zoe@x.example>\nBcc: a@x.example\n"
        "Bcc: b@x.example\nIn-Reply-To: Your mail of Monday <1@x.example>\nReferences: <0@x.example>\n <1@x."
        "\n example>\n"
        'X-Gmail-Labels: Inbox,"a, b",=?utf-8?Q?Wichtig_=C3=BC?=\nX-GM-THRID: 15\nX-Mozilla-Keys: $label1 urgent\n'
        "List-Id: The users <users.x.example>\nMessage-ID:\n <2@x.example>\nX-Mozilla-Status: 0009\n\n"
        "See https://x.example/a?b=c#d, (http://y.example/). https://x.example/a?b=c#d\n"
    )
    assert mail.reply_to == "Zoë <zoe@x.example>"
    assert mail.bcc == "a@x.example, b@x.example"
    assert mail.in_reply_to == "<1@x.example>"
    assert mail.references == ("<0@x.example>", "<1@x.example>")
    assert mail.labels == ("Inbox", "a, b", "Wichtig ü", "$label1", "urgent", "\\Deleted")
    assert (mail.gmail_thread, mail.list_id, mail.message_id) == ("15", "users.x.example", "<2@x.example>")
    assert mail.links == ("https://x.example/a?b=c#d", "http://y.example/")


@pytest.mark.parametrize(
    ("header", "hour", "doubtful"),
    [
        ("Mon, 3 Jun 2024 10:00:00 GMT+2", 8, False),
        ("Mon, 3 Jun 2024 10:00:00 UTC+02:00", 8, False),
        ("Mon, 3 Jun 2024 10:00:00 CEST", 8, False),
        ("Mon, 3 Jun 2024 10:00:00 EST", 15, False),
        ("Mon, 3 Jun 2024 10:00:00 +0200 (CEST)", 8, False),
        ("2024-06-03T10:00:00+02:00", 8, False),
        ("2024-06-03 10:00:00", 10, False),
        ("Mon, 3 Jun 2024 10:00:00 IST", 10, True),
    ],
)
def test_zones_are_obeyed_or_doubted(header, hour, doubtful):
    """A moment is never invented without a word."""
    mail = decode(f"Subject: s\nDate: {header}\n\nx")
    assert mail.date == datetime(2024, 6, 3, hour, tzinfo=UTC)
    assert (mail.date_text == header, bool(mail.notes)) == (doubtful, doubtful)


def test_base64_with_a_footer_of_the_list_server():
    """The footer in plain text stands behind the text, and a stray character costs nothing."""
    head = "Subject: s\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
    assert decode(head + "R3LDvMOfZQ==\n\n-- \nsent by the list\n").body.endswith("Grüße\n-- \nsent by the list")
    line = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh"
    assert decode(f"{head}{line}\n!{line}\n{line}\n").body == "a" * 171


def test_the_text_of_a_mail_may_have_a_name():
    """As the first part it is the text all the same; a file that stands alone is marked."""
    named = 'Content-Type: text/html; name="mail.html"\n\n<p>Rich text</p>'
    related = multipart("related", named, PDF, boundary="CC")
    for content in (multipart("mixed", named, PDF), multipart("alternative", related), related):
        mail = decode("Subject: s\n" + content)
        assert (mail.body, mail.attachments) == ("Rich text", ("mail.html", "a.pdf"))
    file = "Content-Type: text/plain\nContent-Disposition: attachment; filename=log.txt\n\nlog"
    assert decode("Subject: s\n" + multipart("mixed", file)).body.startswith("----- Attachment: log.txt -----\nlog")


def test_a_from_header_that_was_quoted_counts():
    """Some backups quote it like a From line."""
    assert decode(">From: Ann <a@x.example>\nSubject: s\n\nx").from_ == "Ann <a@x.example>"


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ("filename*0*=''a%2E; filename*1*=p; filename*2=df", "a.pdf"),
        ("filename=old.pdf; filename*=utf-8''n%C3%A9w.pdf", "néw.pdf"),
        ("filename*0*=us-ascii''a%E2%80%93; filename*1*=b.pdf", "a–b.pdf"),
        ("filename*1=b.pdf; filename*0=a", "ab.pdf"),
        ("filename*0*=iso-8859-1''%E9; filename*1=%E8.pdf", "é%E8.pdf"),
        ('filename="a;b.pdf"', "a;b.pdf"),
        ('filename="a\\"b.pdf"', 'a"b.pdf'),
        ('filename="open.pdf', "open.pdf"),
        ("filename=two words.pdf; size=5", "two words.pdf"),
        ('filename*0="=?UTF-8?Q?=C3"; filename*1="=BC.pdf?="', "ü.pdf"),
    ],
)
def test_parameters_are_read_as_they_are_meant(parameter, name):
    """Pieces in any order, with and without a charset; quotes that are open; both forms."""
    part = f"Content-Type: application/octet-stream\nContent-Disposition: attachment; {parameter}\n\nx"
    assert decode("Subject: s\n" + multipart("mixed", PLAIN, part)).attachments == (name,)


def test_text_without_headers_is_kept():
    """The row says that it is no mail."""
    mail = decode("Just text\nwithout a header.\n")
    assert mail.body == "Just text\nwithout a header."
    assert "no headers" in mail.error


# Time


def nested(depth):
    """Multiparts inside each other."""
    return "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(depth)) + "\nx\n"


SHAPES = {
    "one header": lambda n: f"Subject: {'x ' * n}\n\nx",
    "headers": lambda n: "X-A: y\n" * n + "\nx",
    "folded": lambda n: "Subject: s\n" + " x\n" * n + "\nx",
    "garbage": lambda n: "Subject: s\n" + "garbage\nTo: a\n" * n + "\nx",
    "addresses": lambda n: "To: " + '"A, B" <a@x.example>, ' * n + "\n\nx",
    "open quotes": lambda n: 'To: "' + '\\"' * n + "\n\nx",
    "encoded words": lambda n: "Subject: " + "=?utf-8?q?=C3=BC?= " * n + "\n\nx",
    "base64 words": lambda n: "Subject: " + "=?utf-8?b?Y2Fmw?= " * n + "\n\nx",
    "half encoded words": lambda n: "Subject: " + "=?utf-8?q?" * n + "\n\nx",
    "references": lambda n: "References: " + "<a@x> " * n + "<" * n + "\n\nx",
    "labels": lambda n: "X-Gmail-Labels: " + '"a,' * n + "\n\nx",
    "parameters": lambda n: "Content-Type: text/plain" + "; a*0*=b" * n + '; "' * n + "\n\nx",
    "date": lambda n: "Date: " + "(" * n + "1 " * n + "\n\nx",
    "boundaries": lambda n: "Content-Type: multipart/mixed; boundary=b\n\n" + "--b\n\nx\n" * (n // 4),
    "half boundaries": lambda n: "Content-Type: multipart/mixed; boundary=b\n\n" + "--b x\n" * n,
    "no boundary": lambda n: "Content-Type: multipart/mixed\n\n" + "--b x\n" * n,
    "nesting": nested,
    "attached mails": lambda n: "Content-Type: message/rfc822\n\n" * n + "\nx",
    "flowed": lambda n: "Content-Type: text/plain; format=flowed\n\n" + "x \n" * n,
    "links": lambda n: "Subject: s\n\n" + "http://x " * n + "http" * n + "://" * n,
    "quoted-printable": lambda n: "Subject: s\nContent-Transfer-Encoding: quoted-printable\n\n" + "=\n" * n + "= " * n,
    "base64": lambda n: "Subject: s\nContent-Transfer-Encoding: base64\n\n" + "!YWFh\n" * n,
    "html": lambda n: "Content-Type: text/html\n\n" + "<p>x" * n + "<" * n,
    "html quotes": lambda n: "Content-Type: text/html\n\n" + "<blockquote>x" * (n // 8) + "<p>y" * n,
    "preformatted": lambda n: "Content-Type: text/html\n\n<pre>" + "\n" * n + "x" + " \n" * n,
    "alternatives": lambda n: "Content-Type: multipart/alternative; boundary=b\n\n" + "--b\n\nx\n" * (n // 4),
    "other alternatives": lambda n: (
        "Content-Type: multipart/alternative; boundary=b\n\n" + "".join(f"--b\n\nx{i}\n" for i in range(n // 8))
    ),
    "rows": lambda n: "Content-Type: text/html\n\n<table>" + "<tr><td><p>x<td><td>y" * n,
    "cells": lambda n: "Content-Type: text/html\n\n<table><tr>" + "<td>x<br>" * n + "<tr>" + "<td>y" * n,
    "comments": lambda n: "Subject: s\n\n" + "<!-- x -->" * n,
    "lists": lambda n: "Content-Type: text/html\n\n" + "<ol><li>x" * (n // 8) + "<li>y" * n,
    "PGP": lambda n: "Subject: s\n\n" + "-----BEGIN PGP MESSAGE-----\n" * n,
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_time_grows_with_the_length_alone(shape):
    """Of eight times the length."""
    check_linear(lambda raw: decode_mail(raw, "x"), lambda size: shape(size).encode(), short=5_000, times=8, slack=3)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"Subject: s\r\r\nTo: a@x\r\r\n\r\r\none\r\r\ntwo\r\r\n", "one\ntwo"),
        ("Subject: s\nTo: a@x\n\none\ntwo\n".encode("utf-16"), "one\ntwo"),
        ("Subject: s\nTo: a@x\n\none\ntwo\n".encode("utf-16-le"), "one\ntwo"),
        (b"Subject: s\nContent-Type: html\n\n<div>one<br>two</div>\n", "one\ntwo"),
        (b"Subject: s\n\n<!-- x --><html><body>one<br>two</body></html>\n", "one\ntwo"),
        (b"Subject: s\nContent-Type: text/enriched\n\n<bold>one</bold>\nand <<x>\n\ntwo\n", "one and <x>\ntwo"),
        (b"+OK message follows\nSubject: s\nTo: a@x\n\none\ntwo\n", "one\ntwo"),
        (b"Subject: s\nContent-Transfer-Encoding: base64\n\none and\ntwo, not encoded\n", "one and\ntwo, not encoded"),
        (b"Subject: s\nContent-Disposition: attachment; filename=a.txt\n\none\ntwo\n", "one\ntwo"),
        (b"Subject: s\nContent-Type: text\n\none\ntwo\n", "one\ntwo"),
    ],
)
def test_mails_that_went_through_other_hands_are_read(raw, text):
    """Line ends doubled, saved by an editor, a server's answer before it, an encoding that is none."""
    mail = decode(raw)
    assert (mail.subject, mail.body, mail.error) == ("s", text, None)


def test_an_attached_mail_that_only_claims_to_be_encoded_is_read():
    """As it stands."""
    part = "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nSubject: f\n\ninner words"
    assert "inner words" in decode("Subject: s\n" + multipart("mixed", PLAIN, part)).body


def test_only_flags_of_a_mail_program_mark_a_mail_as_deleted():
    """A Status header may say anything."""
    labels = [decode(f"{header}\n\nx").labels for header in ("Status: Done", "Status: RO", "X-Status: AD", "Status: D")]
    assert labels == [(), (), ("\\Deleted",), ("\\Deleted",)]
