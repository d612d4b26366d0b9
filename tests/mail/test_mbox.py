"""Mboxes as programs write them: rows in = rows out, with the truth known from the mails that were put in."""

import gzip
import io
import mailbox

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.mail.mbox import cut_mbox, looks_like_mbox
from tests.linear import check_linear

ASCTIME = "From ann{n}@x.example Mon Feb  2 08:41:0{n} 2026"
LINES = {
    "asctime": ASCTIME,
    "zone": "From ann{n}@x.example Mon Feb  2 08:41:0{n} CET 2026",
    "gmail": "From 17{n}@xxx Mon Feb 02 08:41:0{n} +0000 2026",
    "thunderbird": "From - Mon Feb  2 08:41:0{n} 2026",
    "thunderbird, year first": "From - Sat Apr 12 2025 15:59:2{n}",
    "pipermail": "From ann{n} at x.example  Mon Feb  2 08:41:0{n} 2026",
    "uucp": "From ann{n} Mon Feb  2 08:41:0{n} 2026 remote from host",
    "eudora": "From ???@??? Mon Feb 02 08:41:0{n} 2026",
    "name": 'From "Ann B." <ann{n}@x.example> Mon Feb  2 08:41:0{n} 2026',
    "rfc": "From ann{n}@x.example Mon, 2 Feb 2026 08:41:0{n} +0100",
    "iso": "From ann{n}@x.example 2026-02-02T08:41:0{n}+01:00",
    "no sender": "From Mon Feb  2 08:41:0{n} 2026",
    "address": "From ann{n}@x.example",
    "dash": "From -",
    "bare": "From ",
    "other language": "From ann{n}@x.example lun. févr. 2 08:41:0{n} 2026",
}
TEXTS = [
    "Hello,\n\nplain text.\n",
    "Dear all,\n\nFrom 2024 onwards all prices rise.\nNote: old contracts stay.\n\nBye\n",
    "Hello,\n\nFrom 9:30 to noon the shop was down.\nError: E-77\n\nBye\n",
    "Hello\nFrom my side: yes.\nFrom: a pasted line\nTo: somebody\n\n",
    "",
    "Hello,\n\nFrom ann@x.example we have heard nothing.\n",
]


def head(n):
    """The headers of a mail."""
    return f"Return-Path: <ann{n}@x.example>\nFrom: ann{n}@x.example\nSubject: number {n}\n\n"


def quoted(text, kind):
    """Quote From lines as mboxo (`>` once), mboxrd (`>` more) or not at all."""
    lines = []
    for line in text.split("\n"):
        starts = line.startswith("From ") or (kind == "mboxrd" and line.lstrip(">").startswith("From "))
        lines.append(f">{line}" if starts and kind != "plain" else line)
    return "\n".join(lines)


def cut(raw):
    """Return the mails of an mbox."""
    return list(cut_mbox(io.BytesIO(raw)))


@pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
@pytest.mark.parametrize("between", ["\n", "\n\n", ""], ids=["blank", "two blanks", "no blank"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_each_mail_comes_back_whatever_the_separator(line, between, line_end):
    """Sixteen forms of From line, with and without empty lines before them, three line ends; text is not cut."""
    mails = [head(n) + text for n, text in enumerate(TEXTS)]
    raw = "".join(line.format(n=n) + "\n" + mail + between for n, mail in enumerate(mails)).replace("\n", line_end)
    found = cut(raw.encode())
    texts = [mail.body.decode().replace("\r\n", "\n").rstrip("\n") for mail in found]
    assert texts == [mail.rstrip("\n") for mail in mails]
    assert [raw.encode()[mail.place :].startswith(b"From ") for mail in found] == [True] * len(mails)
    assert found[-1].read_bytes == len(raw.encode())
    assert not any(mail.note for mail in found)


@pytest.mark.parametrize("kind", ["mboxo", "mboxrd", "plain"])
def test_quoted_lines_come_back(kind):
    """One `>` is taken off; in a file whose writer does not quote, nothing is."""
    texts = ["One\n\nFrom here\n", "Two\n\n>From a quotation\n>>From a deeper one\n" if kind != "mboxo" else "Two\n"]
    raw = "".join(f"{ASCTIME.format(n=n)}\n{head(n)}{quoted(text, kind)}\n" for n, text in enumerate(texts))
    assert [mail.body.decode().rstrip("\n") for mail in cut(raw.encode())] == [
        (head(n) + text).rstrip("\n") for n, text in enumerate(texts)
    ]


def stated(n, text, length=None):
    """A mail of an mboxcl2: nothing is quoted, the length of the text is stated."""
    length = len(text.encode()) if length is None else length
    return f"{ASCTIME.format(n=n)}\nFrom: ann{n}@x.example\nContent-Length: {length}\nSubject: s{n}\n\n{text}\n"


def test_a_content_length_that_holds_protects_a_pasted_mail():
    """In mboxcl2 a whole mail stands in the text as it is; three lengths that do not hold are of no account."""
    pasted = (
        f"See below.\n\n{ASCTIME.format(n=7)}\nFrom: zed@x.example\nSubject: pasted\n\ninner\n>From quoted by hand\n"
    )
    raw = stated(0, pasted) + stated(1, "short\n") + stated(2, pasted)
    assert [mail.body.decode().partition("\n\n")[2].rstrip() for mail in cut(raw.encode())] == [
        pasted.rstrip(),
        "short",
        pasted.rstrip(),
    ]
    for wrong in (0, 3, 10**9, 10**15):
        raw = "".join(stated(n, f"text {n}\n", length=wrong) for n in range(3))
        assert [mail.body.decode().partition("\n\n")[2].rstrip() for mail in cut(raw.encode())] == [
            f"text {n}" for n in range(3)
        ]


def test_a_patch_and_an_attached_mail_stay_in_their_mail():
    """Both have From lines with a date and headers after them; a file of patches is cut at each."""
    sha = "0123456789" * 4
    patch = f"From {sha} Mon Sep 17 00:00:00 2001\nFrom: Ann <a@x.example>\nSubject: [PATCH] fix\n\n---\n"
    attached = (
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\nX-Other: 1\n\n"
        f"{ASCTIME.format(n=8)}\nFrom: inner@x.example\nSubject: inner\n\ntext\n--b--\n"
    )
    first, last = f"{ASCTIME.format(n=0)}\n{head(0)}See:\n\n{patch}\n", f"{ASCTIME.format(n=2)}\n{head(2)}End\n"
    raw = first + f"{ASCTIME.format(n=1)}\nFrom: b@x.example\n{attached}\n" + last
    found = cut(raw.encode())
    assert len(found) == 3
    assert b"[PATCH]" in found[0].body
    assert b"inner@x.example" in found[1].body
    assert len(cut((patch + "\n").encode() * 3)) == 3


def test_doubt_is_said():
    """A dated From line with no header after it is text, and the mail says so."""
    line = ASCTIME.format(n=1)
    first, second = cut(f"{line}\n{head(0)}Hello\n\n{line}\nno header here\n\n{line}\n{head(2)}B".encode())
    assert b"no header here" in first.body
    assert first.note == 'a dated line "From ..." without headers was taken as text'
    assert second.note is None


def test_mails_without_headers_or_content_count():
    """Behind a line as most programs write it, after and before an empty line, a mail stands whatever is in it."""
    line = ASCTIME.format(n=1)
    raw = f"{line}\n\nonly text\n\n{line}\n\n{line}\n{head(2)}B\n\n{line}\n\n"
    assert [mail.body.strip() for mail in cut(raw.encode())] == [b"only text", b"", f"{head(2)}B".encode(), b""]
    assert len(cut(raw.replace("\n", "\r\n").encode())) == 4
    prose = f"{line}\n{head(0)}He wrote in\n{line}\n\nand left.\n"  # no empty line before it
    (mail,) = cut(prose.encode())
    assert mail.note


@pytest.mark.parametrize("headers", ["Subject: s\nFrom: a@x.example\n", "Date: today\nTo: b@x.example\n"])
def test_an_empty_line_before_the_headers_is_passed_over(headers):
    """Whatever the first of them is, two make a mail."""
    raw = "".join(f"From - Mon Feb  2 08:41:0{n} 2026\n\n{headers}\ntext {n}\n\n" for n in range(3))
    assert [mail.body.rstrip()[-6:] for mail in cut(raw.encode())] == [b"text 0", b"text 1", b"text 2"]


def test_a_length_from_before_the_line_ends_were_changed_holds():
    """An mboxcl2 that went through Windows: the lengths are those of the text with single line feeds."""
    pasted = f"See.\n\n{ASCTIME.format(n=7)}\nFrom: zed@x.example\nSubject: pasted\n\ninner\n"
    raw = "".join(stated(n, pasted) for n in range(3)).replace("\n", "\r\n")
    found = cut(raw.encode())
    assert [mail.body.count(b"inner") for mail in found] == [1, 1, 1]
    assert all("stated length" in mail.note for mail in found)


def test_files_with_byte_order_marks_that_were_joined_are_cut():
    """Each part brings its mark."""
    raw = "".join(f"\ufeff{ASCTIME.format(n=n)}\n{head(n)}text {n}\n\n" for n in range(3))
    assert [mail.body.rstrip()[-6:] for mail in cut(raw.encode())] == [b"text 0", b"text 1", b"text 2"]


def test_what_programs_put_between_the_from_line_and_the_headers():
    """A second From line, a quoted one, a line that is no header, an empty line: the mail begins all the same."""
    for extra in ("From - Mon Feb  2 08:41:00 2026\n", ">From - Mon Feb  2 08:41:00 2026\n", "no header\n", "\n"):
        raw = "".join(f"From - Mon Feb  2 08:41:0{n} 2026\n{extra}{head(n)}text {n}\n\n" for n in range(3))
        found = cut(raw.encode())
        assert [mail.body.rstrip()[-6:] for mail in found] == [b"text 0", b"text 1", b"text 2"], extra


def test_zeros_that_a_crash_left_do_not_join_two_mails():
    """They stand where the mail program was writing; nothing else is lost."""
    line = "From - Mon Feb  2 08:41:00 2026\n"
    zeros = "\0" * 5_000
    found = cut(f"{zeros}{line}{head(0)}one\n{zeros}{line}{head(1)}two\n".encode())
    assert [mail.body.decode().strip("\n\0")[-4:].strip() for mail in found] == ["one", "two"]


def test_what_is_quoted_only_after_an_empty_line_comes_back():
    """Some programs leave a From line inside a paragraph as it is, which says nothing of the others."""
    text = "Hello\nFrom here on.\n\n>From there.\n"
    assert cut(f"{ASCTIME.format(n=0)}\n{head(0)}{text}".encode())[0].body.endswith(
        b"Hello\nFrom here on.\n\nFrom there.\n"
    )


def test_mmdf_files_are_cut_at_their_own_lines(tmp_path):
    """As the standard library writes them, and without From lines; a pasted mail stays in its text."""
    pasted = f"See below.\n\n{ASCTIME.format(n=7)}\nFrom: zed@x.example\n\n>From inside\n"
    box = mailbox.MMDF(tmp_path / "box")
    for number, text in enumerate([pasted, "two\n", pasted]):
        box.add(head(number) + text)
    box.close()
    raw = (tmp_path / "box").read_bytes()
    bare = b"".join(b"\1\1\1\1\n" + (head(n) + f"text {n}\n").encode() + b"\1\1\1\1\n" for n in range(3))
    assert looks_like_mbox(raw)
    assert looks_like_mbox(bare)
    assert b"\n>From ann7" in raw  # mailbox.MMDF quotes From lines, as mboxo does
    assert [mail.body.decode().rstrip() for mail in cut(raw)] == [
        (head(n) + text).replace("\n>From", "\nFrom").rstrip() for n, text in enumerate([pasted, "two\n", pasted])
    ]
    assert [mail.body.decode() for mail in cut(bare)] == [head(n) + f"text {n}\n" for n in range(3)]
    for line, text in (("", ">From a letter\n"), (ASCTIME.format(n=1) + "\n", "From ann\n>From a letter\n")):
        unquoted = f"\1\1\1\1\n{line}{head(1)}{text}\1\1\1\1\n".encode()
        assert [mail.body.decode() for mail in cut(unquoted)] == [head(1) + text]


def test_what_begins_with_a_from_line_and_a_header_is_an_mbox():
    """Prose that begins with From is none."""
    assert looks_like_mbox(b"\xef\xbb\xbf\nFrom \nSubject: s\n\n")
    assert looks_like_mbox(b"From a 08:41 2026\rSubject: s\r\r")
    assert looks_like_mbox(b"From a@x.example Mon Feb  2 08:41:00 2026\n\nno header\n")
    assert not looks_like_mbox(b"From Monday on\nwe are closed.\n")
    assert not looks_like_mbox(b"From: a@x.example\n")


PROSE = """From 2024 on|From here|From ann@x.example|From ann@x.example we got 3 orders at 10:30|From Berlin Mon Jun 3
From Monday, 3 June 2024 at 10:30|From 10:30 to 12:45|From the desk of|>From old|> From: x|Error: 5|Note: x
X-Ray: y|--b||Hi""".replace("\n", "|").split("|")
HEADERS = ["From: Bob <b@x.example>", "To: us", "Subject: pasted", "Date: Mon, 3 Jun 2024"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(LINES.values())),
            st.lists(st.sampled_from(PROSE) | st.sampled_from(HEADERS).map("Hello\n{}".format), max_size=10),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["", "\n", "\n\n"]),
)
@settings(max_examples=300, deadline=None)
def test_no_text_cuts_a_mail_and_no_separator_is_missed(mails, between):
    """All forms of From line in one file, and texts full of lines that look like one or like headers."""
    texts = [head(number) + "\n".join([*lines, f"end {number}"]) for number, (_, lines) in enumerate(mails)]
    raw = "".join(f"{line.format(n=n)}\n{texts[n]}\n{between}" for n, (line, _) in enumerate(mails))
    found = [mail.body.decode().rstrip().replace(">From", "From") for mail in cut(raw.encode())]
    assert found == [text.replace(">From", "From") for text in texts]


@given(
    st.integers(1, 60),
    st.sampled_from(["mbox", "MMDF", "zeros", "stated"]),
    st.lists(st.sampled_from(TEXTS), max_size=12),
)
@settings(max_examples=150, deadline=None)
def test_the_size_of_what_is_read_at_once_does_not_matter(chunk, kind, texts):
    """Lines that stand across two readings are found."""
    mails = [head(number) + text + "end\n" for number, text in enumerate(texts)]
    lines = [LINES["asctime"].format(n=number) for number in range(len(mails))]
    raw = {
        "mbox": "".join(f"{line}\n{mail}\n" for line, mail in zip(lines, mails, strict=True)),
        "MMDF": "".join(f"\1\1\1\1\n{mail}\1\1\1\1\n" for mail in mails),
        "zeros": "".join(f"{chr(0) * 30}{line}\n{mail}" for line, mail in zip(lines, mails, strict=True)),
        "stated": "".join(stated(number, text) for number, text in enumerate(texts)),
    }[kind].encode()
    whole = cut(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("batchgen.mail.mbox._CHUNK_BYTES", chunk)
        patch.setattr("batchgen.mail.mbox._LOOK_BYTES", 200)
        assert [(mail.place, mail.body, mail.note) for mail in cut(raw)] == [(m.place, m.body, m.note) for m in whole]
    assert len(whole) == len(texts)


LINE = st.sampled_from(["", "Hello", "From here", ">From there", "From 2024 on", "Error: 5", "From: ann", "--b", "Ünï"])


@given(
    st.lists(st.lists(LINE, max_size=8).map(lambda lines: "\n".join([*lines, "end\n"])), min_size=1, max_size=8),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_mailboxes_written_by_the_standard_library_come_back(tmp_path_factory, texts, packed):
    """Any texts: as many mails, and each with its text but for the quoting, which mboxo cannot undo."""
    path = tmp_path_factory.mktemp("box") / "x.mbox"
    box = mailbox.mbox(path)
    for number, text in enumerate(texts):
        box.add((head(number) + text).encode())
    box.close()
    raw = path.read_bytes()
    file = gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(raw))) if packed else io.BytesIO(raw)
    found = [mail.body.decode().replace(">From", "From").rstrip() for mail in cut_mbox(file)]
    assert found == [(head(number) + text).replace(">From", "From").rstrip() for number, text in enumerate(texts)]


@given(
    st.lists(
        st.sampled_from([b"From ", b"From a", b"\n", b"\r", b"a:", b"Content-Length: 5\n", b">", b"\0"]), max_size=60
    )
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_cut_without_loss(pieces):
    """Nothing raises, the places rise, and all of the file is accounted for."""
    raw = b"".join(pieces)
    found = cut(raw)
    places = [mail.place for mail in found]
    assert places == sorted(set(places))
    assert not found or found[-1].read_bytes == len(raw)


@pytest.mark.parametrize(
    "shape",
    [
        lambda n: "From a 8:41\nA: b\n" + "From 2024\n" * n,
        lambda n: "From \nFrom: a\n\n" * n,
        lambda n: "".join(stated(1, "text\n", length=10_000_000) for _ in range(n // 10)),
        lambda n: "From a 8:41\nA: b\n\n" + "x" * n * 10,
        lambda n: "From " + "Mon Jun 3 " * n,
        lambda n: "From - Mon Feb  2 08:41:00 2026\n" * n,
    ],
)
def test_time_grows_with_the_length_alone(shape):
    """Of eight times the length."""
    check_linear(cut, lambda size: shape(size).encode(), short=2_000, times=8, slack=3)
