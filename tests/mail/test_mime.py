"""How the parts of a mail are found where programs write MIME as they should not."""

import base64

import pytest

from batchgen.mail.decode import decode_mail

HEAD = "From: ann@x.example\nSubject: s\nMIME-Version: 1.0\n"
MULTI = HEAD + "Content-Type: multipart/mixed; boundary=BB\n\n"


def decode(text):
    return decode_mail(text.encode(), "x")


@pytest.mark.parametrize("between", ["", "--BB--\n"])
def test_a_multipart_inside_may_use_the_boundary_of_the_outer_one(between):
    """The alternative ends at the first closing line, and its two forms are one text."""
    mail = decode(
        MULTI
        + "--BB\nContent-Type: multipart/alternative; boundary=BB\n\n--BB\nContent-Type: text/plain\n\nthe words\n"
        "--BB\nContent-Type: text/html\n\n<p>the words</p>\n--BB--\n--BB\nContent-Type: text/plain\n"
        f"Content-Disposition: attachment; filename=n.txt\n\nnotes\n{between}"
    )
    assert mail.body == "the words\n\n----- Attachment: n.txt -----\nnotes\n----- End of attachment: n.txt -----"
    assert mail.error is None


def test_the_boundary_of_the_outer_one_may_begin_like_that_of_the_inner_one():
    """A longer boundary with the same beginning is another one."""
    mail = decode(
        MULTI + "--BB\nContent-Type: multipart/alternative; boundary=BB1\n\n--BB1\nContent-Type: text/plain\n\nfirst\n"
        "--BB1\nContent-Type: text/html\n\n<p>first</p>\n--BB1--\n--BB\n\nsecond\n--BB--\n"
    )
    assert (mail.body, mail.error) == ("first\n\nsecond", None)


@pytest.mark.parametrize("kind", ["mixed", "alternative"])
def test_text_before_between_and_after_the_parts_is_taken(kind):
    """Gateways and list servers put it there; it is said in the notes."""
    mail = decode(
        MULTI.replace("mixed", kind) + "The price rose to 500.\n\n--BB\n\ninner\n--BB--\n\nYou get this as a member.\n"
    )
    assert mail.body == "The price rose to 500.\n\ninner\n\nYou get this as a member."
    assert "outside the parts" in mail.notes


@pytest.mark.parametrize(
    "sentence",
    ["This is a multi-part message in MIME format.", "Ihr Programm kennt MIME nicht.", "Your mail client is too old."],
)
def test_the_sentence_for_readers_without_mime_is_left_out(sentence):
    """Programs write it before the first part."""
    mail = decode(MULTI + f"{sentence}\n--BB\n\ninner\n--BB--\n")
    assert (mail.body, mail.notes) == ("inner", None)


@pytest.mark.parametrize("first", ["text/plain", "multipart/mixed; boundary=BB"])
def test_of_two_content_types_the_one_that_fits_counts(first):
    """Relays add one; the boundary that stands in the body decides."""
    second = "multipart/mixed; boundary=BB" if first == "text/plain" else "text/plain"
    mail = decode(HEAD + f"Content-Type: {first}\nContent-Type: {second}\n\n--BB\n\ninner\n--BB--\n")
    assert (mail.body, mail.error) == ("inner", None)


def test_a_multipart_whose_type_has_been_lost_is_found():
    """The body begins with a boundary and the headers of a part."""
    mail = decode(HEAD + "\n--BB\nContent-Type: text/html\n\n<p>inner</p>\n--BB--\n")
    assert mail.body == "inner"
    assert mail.notes


def test_a_part_that_begins_with_a_word_and_a_colon_has_no_headers():
    """Without an empty line after it, it is text."""
    assert decode(MULTI + "--BB\nNote: come at ten\nand bring it\n--BB--\n").body == "Note: come at ten\nand bring it"


@pytest.mark.parametrize("kind", ["application/text", "Application/Plain", "plain/text", "txt/plain", "message/text"])
def test_invented_names_of_plain_text_are_known(kind):
    """The text of the mail stands there."""
    assert decode(HEAD + f"Content-Type: {kind}\n\nHello <b>\n").body == "Hello <b>"


@pytest.mark.parametrize("kind", ["application/html", "application/xhtml+xml"])
def test_other_names_of_html_are_known(kind):
    """It is read as HTML."""
    assert decode(HEAD + f"Content-Type: {kind}\n\n<p>Hello</p>\n").body == "Hello"


@pytest.mark.parametrize(
    "kind", ["application/octet-stream", "application/x-unknown-content-type", "x-unknown/x-unknown"]
)
def test_what_has_no_type_is_opened_where_it_is_text(kind):
    """As the mail itself and as an attachment; bytes that are no text are named."""
    assert decode(HEAD + f"Content-Type: {kind}\n\nHello\n").body == "Hello"
    attached = "--BB\nContent-Type: {}\nContent-Disposition: attachment; filename={}\n\n{}\n--BB--\n"
    assert "x = 1" in decode(MULTI + attached.format(kind, "setup.py", "x = 1")).body
    mail = decode(MULTI + attached.format(kind, "setup", "\0\1\2"))
    assert (mail.body, mail.not_read) == ("", (("setup", kind),))


def test_a_path_of_windows_in_a_file_name_keeps_its_parts():
    """Backslashes there escape nothing."""
    mail = decode(MULTI + '--BB\nContent-Type: image/png; name="C:\\temp\\new.png"\n\nx\n--BB--\n')
    assert mail.attachments == ("C:_temp_new.png",)


@pytest.mark.parametrize(
    ("charset", "codec", "text"),
    [
        ("windows-874", "cp874", "สวัสดี"),
        ("x-mac-cyrillic", "mac_cyrillic", "Привет"),
        ("x-windows-949", "cp949", "안녕하세요"),
        ("Windows-31J", "cp932", "①日本語"),
        ("csWindows31J", "cp932", "日本語"),
        ("utf-32", "utf-32", "Grüße"),
        ("x-euc-jp", "euc_jp", "日本語"),
    ],
)
def test_charsets_have_more_names_than_python_knows(charset, codec, text):
    """The names of Windows, Mac and Java."""
    raw = f"{HEAD}Content-Type: text/plain; charset={charset}\n\n".encode() + text.encode(codec)
    assert decode_mail(raw, "x").body == text


@pytest.mark.parametrize("declared", ["; charset=iso-2022-jp", "; charset=us-ascii", "; charset=utf-8", ""])
def test_japanese_in_seven_bits_is_read_whatever_is_declared(declared):
    """Also with the characters that Windows adds to the standard, and half-width ones."""
    raw = b"\x1b$BF|K\\8l-!-j\x1b(B abc \x1b(IC=D\x1b(B"  # -! is a circled one, -j a company in parentheses
    mail = decode_mail(f"{HEAD}Content-Type: text/plain{declared}\n\n".encode() + raw, "x")
    assert (mail.body, mail.error) == ("日本語①㈱ abc ﾃｽﾄ", None)


@pytest.mark.parametrize("kind", ["text/html", "text/plain; charset=utf-8", "TEXT/HTML"])
def test_a_text_with_a_boundary_is_a_multipart(kind):
    """Programs name the kind of the first part in place of the whole."""
    mail = decode(
        f'{HEAD}Content-Type: {kind}; boundary="--NX"\n\nThis is a multipart message in MIME format.\n----NX\n'
        "Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<b>Hi</b> =3D\n----NX--\n"
    )
    assert mail.body == "Hi ="
    assert decode(f'{HEAD}Content-Type: {kind}; boundary="--NX"\n\nno parts').body == "no parts"


@pytest.mark.parametrize(
    "written",
    [
        "text/plain charset=koi8-r",
        "text/plain, charset=koi8-r",
        "text/plain; charset: koi8-r",
        "charset=koi8-r",
        "text/plain\nContent-Type: text/plain; charset=koi8-r",
    ],
)
def test_a_charset_counts_however_it_is_attached(written):
    """A semicolon that is missing, a colon, a second header."""
    raw = f"Subject: s\nContent-Type: {written}\n\nПривет, заказ".encode("koi8-r")
    assert decode_mail(raw, "x").body == "Привет, заказ"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("attachment; filename*0*=UTF-8''a%; filename*1*=20b.pdf", "a b.pdf"),
        ("attachment; filename=UTF-8''%C3%A9.pdf", "é.pdf"),
        ("attachment; filename=\"UTF-8''%C3%A9.pdf\"", "é.pdf"),
        ("attachment; filename=\"it's%20'ok'.pdf\"", "it's%20'ok'.pdf"),
        ('attachment; name="x.pdf"', "x.pdf"),
        ("attachment; filename*=\"=?UTF-8?Q?Ma=C3=9Fn'ah'me?=\"", "Maßn'ah'me"),
        ('attachment filename="x.pdf"', "x.pdf"),
        ('filename="x.pdf"', "x.pdf"),
    ],
)
def test_names_of_files_in_wrong_forms(disposition, name):
    """RFC 2231 cut in an escape or without its star, other parameters, no semicolon."""
    part = f"--BB\nContent-Type: application/pdf\nContent-Disposition: {disposition}\n\nx\n--BB--\n"
    assert decode(MULTI + part).attachments == (name,)


def test_a_multipart_in_a_transfer_encoding_is_opened():
    """The standard forbids it, and some programs do it."""
    inner = b"--BB\nContent-Type: text/plain\n\nhello there\n--BB--\n"
    head = MULTI.replace("\n\n", "\nContent-Transfer-Encoding: base64\n\n").encode()
    mail = decode_mail(head + base64.encodebytes(inner), "x")
    assert (mail.body, mail.error) == ("hello there", None)


CSV = 'Content-Type: text/csv; name="d.csv"\n\na,b\n1,2\n3,4'
CARD = "Content-Type: text/x-vcard\n\nBEGIN:VCARD\nFN:Bob Builder\nEND:VCARD"
MAIL = "Content-Type: message/rfc822\n\nFrom: b@x.example\nSubject: inner\n\nquite other words"
SECOND = "Content-Type: text/plain\n\nquite other words"
NAMED = "Content-Type: text/plain; name=log.txt\n\nquite other words"


@pytest.mark.parametrize("other", [CSV, CARD, MAIL, SECOND, NAMED], ids=["csv", "vcard", "mail", "plain", "named"])
def test_what_goes_with_a_text_is_no_form_of_it(other):
    """Programs that know only multipart/alternative put tables, cards, mails and second texts into it."""
    mail = decode(
        MULTI.replace("mixed", "alternative")
        + "--BB\nContent-Type: text/plain\n\nDear Ann, see the list\n"
        + "--BB\nContent-Type: text/html\n\n<p>Dear Ann, see the list</p>\n"
        + f"--BB\n{other}\n--BB--\n"
    )
    assert mail.body.startswith("Dear Ann, see the list\n\n")
    assert other.rpartition("\n")[2] in mail.body


def test_a_file_without_any_header_of_a_mail_is_none():
    """Text with a colon in its first line loses nothing."""
    mail = decode('{"a": 1}\n')
    assert (mail.body, mail.error) == ('{"a": 1}', "this is no mail: it has no headers")


def test_a_boundary_that_nothing_closes_is_found_where_a_part_begins_with_it():
    """The header names another one, and the end of the mail is missing too."""
    mail = decode(
        MULTI.replace("mixed", "alternative") + "--CC\nContent-Type: text/plain\n\none\n--CC\nContent-Type: x/y\n"
    )
    assert (mail.body, mail.error) == ("one", None)
