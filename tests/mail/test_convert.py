"""Mailboxes of all kinds, made by the standard library or by hand, through files to the Parquet table."""

import bz2
import email.policy
import gzip
import lzma
import mailbox
import os
import stat
import tracemalloc
from datetime import UTC, datetime
from email.message import EmailMessage

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.errors import InputError, OutputError
from batchgen.mail.convert import MAIL_COLUMNS, convert_mails, input_size, read_mails
from batchgen.mail.files import LARGEST_MAIL
from batchgen.progress.bar import bytes_bar
from batchgen.source import Source

pytest.importorskip("selectolax")


def mail(number, text="Hello,\n\nthe export is stuck.\n", **headers):
    """A well-formed mail."""
    message = EmailMessage()
    message["From"] = f"Zoë Ångström <zoe{number}@example.org>"
    message["To"] = "Support <support@example.com>"
    message["Subject"] = f"Störung № {number}"
    message["Date"] = "Mon, 02 Feb 2026 08:41:09 +0100"
    message["Message-ID"] = f"<m{number}@example.org>"
    for name, value in headers.items():
        message[name] = value
    message.set_content(text)
    return message


def converted(path, tmp_path):
    """Convert, and return the rows and the summary."""
    summary = convert_mails([path], tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema == MAIL_COLUMNS
    assert summary.mails == table.num_rows
    return table.to_pylist(), summary


def test_a_mail_file_becomes_a_row_with_all_columns(tmp_path):
    """Every header is decoded, the date is UTC, the attachment is named."""
    message = mail(1, Cc="Team <team@example.com>")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="Rechnung März.pdf")
    path = tmp_path / "a.eml"
    path.write_bytes(message.as_bytes(policy=email.policy.SMTP))
    rows, summary = converted(path, tmp_path)
    assert rows == [
        {
            "id": "<m1@example.org>",
            "source": "a.eml",
            "message_id": "<m1@example.org>",
            "from": "Zoë Ångström <zoe1@example.org>",
            "reply_to": None,
            "to": "Support <support@example.com>",
            "cc": "Team <team@example.com>",
            "bcc": None,
            "date": datetime(2026, 2, 2, 7, 41, 9, tzinfo=UTC),
            "date_text": None,
            "subject": "Störung № 1",
            "body": "Hello,\n\nthe export is stuck.",
            "attachments": ["Rechnung März.pdf"],
            "not_read": ["Rechnung März.pdf (PDF)"],
            "links": [],
            "in_reply_to": None,
            "references": [],
            "thread": "<m1@example.org>",
            "labels": [],
            "list_id": None,
            "copy_of": None,
            "notes": None,
            "error": None,
        }
    ]
    assert (summary.mails, summary.with_error, summary.attachments) == (1, 0, 1)
    assert stat.S_IMODE((tmp_path / "out.parquet").stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.eml", "out.parquet"]


def test_an_mbox_is_cut_where_the_mailbox_module_joined_it(tmp_path):
    """Quoted From lines come back, a body line "From here on" is no new mail, copies of a mail are kept."""
    path = tmp_path / "inbox"
    box = mailbox.mbox(path)
    texts = ["One.", "From the desk of\n\nFrom Monday on nothing works.\n\nRegards", "Three.\n\n> quoted", "One."]
    for number, text in zip((0, 1, 2, 0), texts, strict=True):
        box.add(mail(number, text + "\n"))
    box.close()
    assert b"\n>From Monday" in path.read_bytes()
    rows, _ = converted(path, tmp_path)
    assert [row["body"] for row in rows] == texts
    assert [row["message_id"] for row in rows] == [f"<m{n}@example.org>" for n in (0, 1, 2, 0)]
    sources = [row["source"] for row in rows]
    assert len(set(sources)) == 4
    raw = path.read_bytes()
    for source in sources:
        name, _, offset = source.rpartition(":")
        assert name == "inbox"
        assert raw[int(offset) :].startswith(b"From ")


def test_an_unquoted_from_line_without_a_date_stays_in_its_mail(tmp_path):
    """Programs that do not quote are common: a From line without time or year, or inside a paragraph, is text."""
    path = tmp_path / "x.mbox"
    head = b"From a@example.org Mon Feb  2 08:41:09 2026\n"
    text = b"Subject: one\n\nHello\n\nFrom now on\nFrom 08:30 to 17:00\n\n"
    path.write_bytes(head + text + head + b"Subject: two\n\nBye\n")
    rows, _ = converted(path, tmp_path)
    assert [(row["subject"], row["body"]) for row in rows] == [
        ("one", "Hello\n\nFrom now on\nFrom 08:30 to 17:00"),
        ("two", "Bye"),
    ]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_line_ends_do_not_matter(tmp_path, line_end):
    """An mbox from Windows is cut at the same places."""
    text = b"From a 08:41 2026\nSubject: one\n\nA\nB\n\nFrom b 08:42 2026\nSubject: two\n\nC\n"
    (tmp_path / "w.mbox").write_bytes(text.replace(b"\n", line_end))
    rows, _ = converted(tmp_path / "w.mbox", tmp_path)
    assert [(row["subject"], row["body"]) for row in rows] == [("one", "A\nB"), ("two", "C")]


def zstd(raw):
    with pa.BufferOutputStream() as sink:
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(raw)
        return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
@pytest.mark.parametrize("name", ["a.mbox", "a"])
def test_every_packing_is_undone(tmp_path, pack, name):
    """What a file is packed with, its content says; in a folder a damaged one is a row with an error."""
    ends = {gzip.compress: ".gz", bz2.compress: ".bz2", lzma.compress: ".xz", zstd: ".zst"}
    raw = b"".join(
        b"From a 08:41 2026\nSubject: %d\n\n%s\n\n" % (n, os.urandom(20_000).hex().encode()) for n in range(9)
    )
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / (name + ends[pack])).write_bytes(pack(raw))
    rows, _ = converted(tmp_path / "in", tmp_path)
    assert [row["subject"] for row in rows] == [str(n) for n in range(9)]
    (tmp_path / "in" / (name + ends[pack])).write_bytes(pack(raw)[:-50_000])
    rows, _ = converted(tmp_path / "in", tmp_path)
    assert "cannot be read" in rows[-1]["error"]


def test_a_file_of_rmail_is_not_taken_for_one_mail(tmp_path):
    """Its mails have headers like others, and lines of their own between them."""
    box = mailbox.Babyl(tmp_path / "RMAIL")
    for number in range(3):
        box.add(mail(number))
    box.close()
    with pytest.raises(InputError, match="Babyl"):
        convert_mails([tmp_path / "RMAIL"], tmp_path / "out.parquet")


def test_a_packed_mbox_is_read(tmp_path):
    """List archives come as .gz; a damaged one is said to be."""
    packed = gzip.compress(b"From a 08:41 2026\nSubject: one\n\n" + b"text " * 5000)
    (tmp_path / "list.mbox.gz").write_bytes(packed)
    rows, _ = converted(tmp_path / "list.mbox.gz", tmp_path)
    assert rows[0]["body"].startswith("text text")
    (tmp_path / "cut.mbox.gz").write_bytes(packed[:-20])
    with pytest.raises(InputError, match="damaged"):
        convert_mails([tmp_path / "cut.mbox.gz"], tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 1  # the earlier table stays


def test_a_maildir_and_its_folders_are_read(tmp_path):
    """cur and new count, tmp does not; folders below are read too."""
    box = mailbox.Maildir(tmp_path / "Maildir")
    for number in range(3):
        box.add(mail(number))
    box.add_folder("Sent").add(mail(7))
    (tmp_path / "Maildir/tmp/half").write_bytes(b"Subject: half")
    rows, _ = converted(tmp_path / "Maildir", tmp_path)
    assert sorted(row["message_id"] for row in rows) == [f"<m{n}@example.org>" for n in (0, 1, 2, 7)]
    assert len({row["source"] for row in rows}) == 4


def test_a_directory_is_read_in_natural_order(tmp_path):
    """mail2 comes before mail10, sub-directories are entered, other files are left alone."""
    folder = tmp_path / "mails"
    (folder / "more").mkdir(parents=True)
    for name in ("mail10.eml", "mail2.EML", "more/a.eml"):
        (folder / name).write_bytes(mail(1).as_bytes())
    (folder / "notes.txt").write_text("not a mail")
    box = mailbox.mbox(folder / "old.mbox")
    box.add(mail(3))
    box.close()
    rows, _ = converted(folder, tmp_path)
    assert [row["source"] for row in rows] == ["mail2.EML", "mail10.eml", "old.mbox:0", "more/a.eml"]


def test_a_file_that_cannot_be_read_is_a_row(tmp_path):
    """A dangling link in a directory does not stop the others."""
    folder = tmp_path / "mails"
    folder.mkdir()
    (folder / "a.eml").symlink_to(tmp_path / "gone")
    (folder / "b.eml").write_bytes(mail(1).as_bytes())
    rows, summary = converted(folder, tmp_path)
    assert summary.with_error == 1
    assert rows[0]["error"] == "the file cannot be read: No such file or directory"
    assert rows[1]["error"] is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "holds no mail"),
        (lambda path: path.write_bytes(b"\xd0\xcf\x11\xe0 outlook"), "save the mail as .eml"),
        (lambda path: path.write_bytes(b""), "holds no mail"),
        (lambda path: path.write_bytes(b"a,b\n1,2\n"), "is no mail"),
    ],
)
def test_what_cannot_be_mail_is_refused(tmp_path, make, message):
    """One sentence says what is wrong, and no table is left behind."""
    make(tmp_path / "input")
    with pytest.raises(InputError, match=message):
        convert_mails([tmp_path / "input"], tmp_path / "out.parquet")
    assert not list(tmp_path.glob("*.parquet")) + list(tmp_path.glob(".*"))


def test_the_output_has_to_be_a_parquet_file_that_can_be_written(tmp_path):
    """A mistyped command never overwrites a mail; a directory that is not there is named."""
    path = tmp_path / "a.eml"
    path.write_bytes(mail(1).as_bytes())
    with pytest.raises(OutputError, match=r"ends in \.parquet"):
        convert_mails([path], path)
    with pytest.raises(OutputError, match="No such file"):
        convert_mails([path], tmp_path / "no/out.parquet")
    assert path.read_bytes() == mail(1).as_bytes()


def test_a_mail_beyond_the_bound_is_cut_and_says_so(tmp_path):
    """The next mail is found again behind it."""
    with (tmp_path / "big.mbox").open("wb") as file:
        file.write(b"From a 08:41 2026\nSubject: big\n\nThe text.\n\n")
        for _ in range(LARGEST_MAIL // 1_000_000 + 2):
            file.write((b"x" * 99 + b"\n") * 10_000)
        file.write(b"\nFrom b 08:42 2026\nSubject: next\n\nC\n")
    first, second = (row.mail for row in read_mails([tmp_path / "big.mbox"], print))
    assert "longer than 64 MB" in first.error
    assert first.body.startswith("The text.")
    assert (second.subject, second.body, second.error) == ("next", "C", None)


def test_memory_does_not_grow_with_the_mailbox(tmp_path):
    """Ten times the mails need the same memory."""

    def peak(mails):
        path = tmp_path / f"{mails}.mbox"
        one = b"From a 08:41 2026\nSubject: one\n\n" + b"some words in a line\n" * 1000 + b"\n"
        with path.open("wb") as file:
            for _ in range(mails):
                file.write(one)
        tracemalloc.start()
        assert sum(1 for _ in read_mails([path], print)) == mails
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak(2)
    assert peak(500) < 1.3 * peak(50)


def test_the_table_is_ready_to_be_an_input(tmp_path):
    """A job can read it, with `source` as id."""
    path = tmp_path / "x.mbox"
    box = mailbox.mbox(path)
    for _ in range(2):
        box.add(mail(1))
    box.close()
    converted(path, tmp_path)
    source = Source.open(str(tmp_path / "out.parquet"), id_column="source")
    assert source.scan().rows == 2
    assert source.schema.field("body").type in (pa.string(), pa.large_string())


def test_progress_counts_the_bytes_of_the_input(tmp_path, capsys):
    """The bar ends at the size of the mailbox; a small input shows none."""
    path = tmp_path / "x.mbox"
    path.write_bytes(b"From a 08:41 2026\nSubject: one\n\nA\n\nFrom b 08:42 2026\nSubject: two\n\nC\n")
    with bytes_bar(input_size([path]), delay_s=0) as moved:
        seen = []
        convert_mails([path], tmp_path / "out.parquet", lambda read: (seen.append(read), moved(read)))
    assert seen[-1] == path.stat().st_size
    assert "100%" in capsys.readouterr().err
    with bytes_bar(None) as moved:
        moved(5)
    assert capsys.readouterr().err == ""


def test_an_older_table_in_the_folder_is_no_file_left_out(tmp_path):
    """Converting the working directory twice gives the same."""
    (tmp_path / "a.eml").write_bytes(mail(1).as_bytes())
    for _ in range(2):
        summary = convert_mails([tmp_path], tmp_path / "out.parquet")
        assert (summary.mails, summary.left_out, summary.own_files) == (1, {}, 0)
