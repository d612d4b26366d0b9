"""Charsets declared, wrong and missing; encoded words; format=flowed."""

import base64
import quopri

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.mail.text import decode_bytes, header_text, unflowed

pytest.importorskip("charset_normalizer")

GERMAN = "Grüße aus Köln: die Prüfung läuft, aber das Ergebnis fehlt für Österreich."
RUSSIAN = "Здравствуйте, после обновления программа не запускается, помогите пожалуйста разобраться с этим."
JAPANESE = "お世話になっております。更新後に起動しなくなりました。"
CHINESE = "您好，更新以后软件无法启动，请尽快处理这个问题，谢谢。"
KOREAN = "안녕하세요. 업데이트 후 프로그램이 실행되지 않습니다."


@pytest.mark.parametrize(
    ("text", "written", "declared"),
    [
        (GERMAN, "utf-8", "UTF-8"),
        (GERMAN, "iso8859-1", "ISO-8859-1"),
        (GERMAN + " 5 €", "cp1252", "iso-8859-1"),  # the euro sign is not in what is declared
        (GERMAN, "utf-8", "iso-8859-1"),  # mislabelled
        (GERMAN, "utf-8", "us-ascii"),
        (GERMAN, "utf-8", None),
        (GERMAN, "utf-8", "no-such-charset"),
        (GERMAN, "cp1252", "utf-8"),
        (GERMAN, "utf-7", "unicode-1-1-utf-7"),
        (GERMAN, "utf-16", "utf-16"),
        (GERMAN, "utf-8-sig", "iso-8859-1"),
        (RUSSIAN, "koi8-r", "KOI8-R"),
        (RUSSIAN, "cp1251", "windows-1251"),
        (RUSSIAN, "cp1251", None),
        (RUSSIAN, "koi8-r", "us-ascii"),
        (JAPANESE, "iso2022_jp", "ISO-2022-JP"),
        (JAPANESE, "cp932", "Shift_JIS"),
        (JAPANESE, "cp932", "x-sjis"),
        (CHINESE, "gb18030", "gb2312"),
        (CHINESE + "镕", "gbk", "gb2312"),  # not in GB 2312
        ("您好，請盡快處理", "big5", "Big5"),
        (KOREAN, "cp949", "ks_c_5601-1987"),
        (KOREAN + " 뷁", "cp949", "euc-kr"),
        ("שלום לכולם", "iso8859-8", "iso-8859-8-i"),
    ],
)
def test_text_comes_back_whatever_its_charset_is_called(text, written, declared):
    """Right, narrower, wrong, unknown and missing names."""
    found = decode_bytes(text.encode(written), declared)
    assert (found.text, found.lost) == (text, 0)


@pytest.mark.parametrize(
    ("written", "declared"),
    [
        ("cp1251", "windows1251"),
        ("cp1251", "win-1251"),
        ("cp1251", "CP-1251"),
        ("cp1251", "windows-1251 (Cyrillic)"),
        ("cp1251", "windows-1251, format=flowed"),
        ("koi8-r", "koi8r"),
        ("koi8-u", "koi8-ru"),
        ("cp866", "dos-866"),
        ("iso8859-5", "ISO-8859-5-Windows"),
        ("mac_cyrillic", "x-mac-cyrillic"),
        ("utf-8", "utf8mb4"),
    ],
)
def test_names_of_charsets_are_read_however_they_are_spelt(written, declared):
    """A text too short for its charset to be found by itself."""
    assert decode_bytes("Привет, заказ".encode(written), declared).text == "Привет, заказ"


@pytest.mark.parametrize(
    ("text", "written", "declared"),
    [
        ("中文邮件", "gb18030", "gb-2312"),
        ("中文邮件", "gb18030", "gb_2312-80"),
        ("中文邮件", "gb18030", "gb 2312"),
        ("中文郵件", "big5", "big-5"),
        ("中文郵件", "big5", "big5-eten"),
        ("日本語", "cp932", "x-ms-cp932"),
        ("10 € Œuvre", "iso8859-15", "latin-9"),
        ("İyi günler", "cp1254", "windows1254"),
    ],
)
def test_names_of_other_charsets_too(text, written, declared):
    """One place for all names: case, hyphens, what stands before and behind."""
    assert decode_bytes(text.encode(written), declared).text == text


@pytest.mark.parametrize("declared", ["utf-16", "utf-16le", "utf-16be", "utf-32"])
@pytest.mark.parametrize("text", ["Dear Ann, order 12!!", "Grüße an Ann, Bestellung 12"])
def test_what_has_no_zeros_is_no_utf_16(declared, text):
    """Programs that hold text as UTF-16 say so of what they have written as UTF-8: it is not Chinese."""
    assert decode_bytes(text.encode(), declared).text == text


@pytest.mark.parametrize("written", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("declared", [None, "utf-8", "us-ascii", "iso-8859-1", "unicode", "ucs-2"])
def test_what_is_half_zeros_is_utf_16(written, declared):
    """Also without a byte order mark and under another name."""
    assert decode_bytes("Dear Ann, order 12, Grüße".encode(written), declared).text == "Dear Ann, order 12, Grüße"


def test_a_text_has_no_nul_characters():
    """Fillings of old programs; no provider takes them."""
    assert decode_bytes(b"a\0\0b", "us-ascii").text == "ab"


@pytest.mark.parametrize("declared", [None, "us-ascii", "iso-8859-1"])
def test_html_tells_its_charset_where_the_header_says_what_is_always_said(declared):
    """A gateway's default is no knowledge; the page's own word is."""
    html = '<meta charset="windows-1251"><p>Привет</p>'
    assert decode_bytes(html.encode("cp1251"), declared, html=True).text == html
    assert decode_bytes(html.encode("koi8-r"), "koi8-r", html=True).text == html


def test_a_charset_that_was_guessed_is_said():
    """A few letters in no known charset may be another text."""
    assert decode_bytes("Заказ".encode("cp1251"), None).guessed
    assert not decode_bytes("Заказ".encode(), None).guessed


def test_damaged_text_keeps_its_charset_and_counts_what_is_lost():
    """Three broken bytes in UTF-8 do not make the rest windows-1252."""
    body = (RUSSIAN * 3).encode()
    found = decode_bytes(body[:20] + b"\xff" + body[20:60] + b"\xfe" + body[60:], "utf-8")
    assert found.lost == 2
    assert found.charset == "utf-8"
    assert found.text.replace("\ufffd", "") == RUSSIAN * 3


def test_the_charset_of_html_is_taken_from_its_meta_tag_when_the_mail_names_none():
    """And never utf-16, in which the tag could not have been read."""
    page = '<html><head><meta http-equiv="Content-Type" content="text/html; charset={}"></head>Ужас</html>'
    assert "Ужас" in decode_bytes(page.format("koi8-r").encode("koi8-r"), None, html=True).text
    assert "Ужас" in decode_bytes(page.format("utf-16").encode(), None, html=True).text


def test_names_that_are_no_text_charsets_are_unknown():
    """Python knows codecs that are none of a mail's: base64, rot13, idna; and names may hold anything."""
    for declared in ("base64", "rot13", "idna", "zip", "unicode_escape", "undefined", "a\0b", "x" * 5000, "\udcff"):
        assert decode_bytes(GERMAN.encode(), declared).text == GERMAN
        assert decode_bytes(b"plain \\u0041", declared).text == "plain \\u0041"


@given(
    st.binary(max_size=300), st.sampled_from([None, "utf-8", "ascii", "gb2312", "utf-7", "utf-16", "iso-2022-jp", "hz"])
)
@settings(max_examples=150, deadline=None)
def test_any_bytes_become_text_that_can_be_stored(body, declared):
    """No bytes raise, and no lone surrogate is left."""
    decode_bytes(body, declared).text.encode()
    decode_bytes(body, declared, html=True).text.encode()


# Headers


def encoded(text, charset, encoding, size):
    """Encode in words of `size` bytes, cut without regard to characters."""
    raw = text.encode(charset)
    words = []
    for start in range(0, len(raw), size):
        piece = raw[start : start + size]
        if encoding == "b":
            body = base64.b64encode(piece).decode()
        else:
            body = "".join(chr(b) if chr(b).isalnum() and b < 128 else f"={b:02X}" for b in piece)
        words.append(f"=?{charset}?{encoding}?{body}?=")
    return "\r\n ".join(words)


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=60),
    st.sampled_from("bq"),
    st.integers(1, 40),
)
def test_encoded_words_cut_anywhere_come_back(text, encoding, size):
    """Also in the middle of a character, as many senders cut."""
    assert header_text(encoded(text, "utf-8", encoding, size)) == text


@given(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=80)
    | st.binary(max_size=80).map(lambda raw: raw.decode("ascii", "surrogateescape"))
)
def test_any_header_becomes_text_that_can_be_stored(raw):
    """Nothing raises; no control line ends are left."""
    text = header_text(raw, structured=True)
    text.encode()
    assert "\n" not in text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("=?utf-8?Q?a?= =?utf-8?Q?b?=", "ab"),
        ("=?utf-8?Q?a?= and =?utf-8?Q?b?=", "a and b"),
        ("=?iso-8859-1?Q?Gr=FC=DFe?= =?utf-8?B?4oKs?=", "Grüße€"),
        ("=?iso-8859-1*de?Q?Gr=FC=DFe_dazu?=", "Grüße dazu"),
        ("=?no-such?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("Re:=?utf-8?Q?=C3=BC?=x", "Re:üx"),
        ("=?utf-8?B?w7w", "ü"),  # cut: as far as it goes
        ("=?utf-8?Q?a=C3=BC?_b?=", "aü? b"),
        ("=?utf-8?Q?=C3=BC\n =?utf-8?Q?=C3=B6?=", "üö"),
        ("is =?x?q? a formula", "is =?x?q? a formula"),
        ("\x1b$B%F%9%H\x1b(B", "テスト"),
        ("=?utf-8?B?w7w?=", "ü"),  # padding missing
        ("=?utf-8?B?w7xh!YQ==?=", "üaa"),
        ("folded\r\n subject", "folded subject"),
        ("Gr\udcfc\udcdfe", "Grüße"),  # raw 8-bit, windows-1252
        ("Gr\udcc3\udcbc\udcc3\udc9fe", "Grüße"),  # raw 8-bit, UTF-8
    ],
)
def test_headers_as_they_are_found(raw, text):
    """One rule for encoded words, broken ones and raw bytes."""
    assert header_text(raw) == text


def test_a_decoded_name_with_a_comma_stays_one_address():
    """Names are quoted as RFC 2047 needs it, and not twice."""
    raw = "=?utf-8?Q?M=C3=BCller=2C_J=C3=B6rg?= <j@x.example>, b@x.example"
    assert header_text(raw, structured=True) == '"Müller, Jörg" <j@x.example>, b@x.example'
    assert header_text('"=?utf-8?Q?M=C3=BCller=2C_J?=" <j@x.example>', structured=True) == '"Müller, J" <j@x.example>'


# format=flowed


def test_flowed_text_is_joined_and_quotes_stay():
    """Soft breaks go, hard ones, quotes and the signature's line stay (RFC 3676, section 4)."""
    text = "A long \nline.\nAnother.\n>> quoted \n>> on\n> less\n From stuffed\n-- \nZoë"
    assert unflowed(text) == "A long line.\nAnother.\n>> quoted on\n> less\nFrom stuffed\n-- \nZoë"


def test_flowed_text_with_delsp_joins_words():
    """DelSp=yes: the space itself is no text (used where a script has no spaces)."""
    assert unflowed("更新 \n以后", delete_space=True) == "更新以后"


def test_damaged_quoted_printable_stays_readable():
    """What is no escape is left as it stands by the standard library; what is, is decoded."""
    assert decode_bytes(quopri.decodestring(b"Gr=C3=BC=C3=9Fe =ZZ =\nx ="), "utf-8").text == "Grüße =ZZ x "


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("=?utf-8?B?Y2Fmw?=\n =?utf-8?B?6k=?=", "café"),  # cut between two digits of base64
        ("=?utf-8?B?caf=C3=A9?=", "café"),  # quoted-printable that is called base64
        ("=?utf-8?B?w78-P8O_fn7DqQ?=", "ÿ>?ÿ~~é"),  # base64 for addresses of pages
        ("=?utf-8? Q ?=C3=A9?=", "é"),
        ("a\0b", "a b"),
    ],
)
def test_encoded_words_of_careless_programs(raw, text):
    """What they meant is sure."""
    assert header_text(raw) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("=?utf-8?Q?J=C3=B6rg_<j=40x.example>?=", "Jörg <j@x.example>"),
        ("=?utf-8?Q?J=C3=B6rg_<j=40x.example>?=, b@x.example", "Jörg <j@x.example>, b@x.example"),
        ("Jo <=?utf-8?Q?j=40x=2Eexample?=>", "Jo <j@x.example>"),
        ("=?utf-8?Q?j=40x=2Eexample?= <j@x.example>", '"j@x.example" <j@x.example>'),
    ],
)
def test_an_address_that_was_encoded_as_a_whole_is_one(raw, text):
    """Only a name is put into quotes."""
    assert header_text(raw, structured=True) == text
