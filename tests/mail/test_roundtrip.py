"""Mails made by Python's email package, kept in mailboxes made by Python's mailbox package, come back whole.

The truth is what was put in: each text holds a word of its own, each attachment has a name of its own.
"""

import mailbox
import re
from email.header import Header
from email.mime.application import MIMEApplication
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.mail.convert import convert_mails

pytest.importorskip("selectolax")

SAMPLES = {
    "utf-8": "Grüße 漢字",
    "iso-8859-1": "Grüße",
    "utf-16": "漢字",
    "koi8-r": "Привет, как дела",
    "gb18030": "您好",
    "shift_jis": "お世話になっております",
}
LINES = ["From 2024 on", "From here", "> quoted", "--no boundary", "Error: 5", ". dot", "", "plain"]


class Builder:
    """Builds one mail; `words` and `names` are what has to come back, in order."""

    def __init__(self, random, number):
        self.random, self.number, self.count = random, number, 0
        self.words, self.names = [], []

    def token(self):
        self.count += 1
        return f"TOKEN{self.number}X{self.count}X"

    def mail(self, depth=0):
        top = self.multipart(depth) if self.random.random() < 0.8 else self.text(named=False)
        subject = f"Sübject {self.number} {self.token().lower()}"
        for name, value in (
            ("Subject", Header(subject, "utf-8")),
            ("From", "Ann <a@x.example>"),
            ("To", "b@x.example"),
        ):
            top[name] = value
        return top, subject

    def part(self, depth):
        kind = self.random.choice(["text"] * 3 + ["binary", "mail", "alternative", "calendar", "multipart"])
        if depth > 3 or kind == "text":
            return self.text(named=self.random.random() < 0.3)
        if kind == "binary":
            self.names.append(f"{self.token()}.pdf".lower())
            part = MIMEApplication(b"\0%PDF", "octet-stream")
            part.add_header("Content-Disposition", "attachment", filename=self.names[-1])
            return part
        if kind == "mail":
            inner, subject = self.mail(depth + 1)
            self.names.append(f"{subject}.eml")
            return MIMEMessage(inner)
        if kind == "calendar":
            self.words.append(self.token())
            return MIMEText(f"BEGIN:VCALENDAR\nSUMMARY:{self.words[-1]}\nEND:VCALENDAR\n", "calendar", "utf-8")
        if kind == "alternative":
            self.words.append(self.token())
            part, said = MIMEMultipart("alternative"), f"the same in both {self.words[-1]}"
            part.attach(MIMEText(f"{said}\n", "plain", "utf-8"))
            part.attach(MIMEText(f"<p>the <b>same</b>{said.removeprefix('the same')}</p>", "html", "utf-8"))
            return part
        return self.multipart(depth)

    def multipart(self, depth):
        part = MIMEMultipart(self.random.choice(["mixed", "related", "signed", "report", "x-unknown"]))
        for _ in range(self.random.randint(1, 4)):
            part.attach(self.part(depth + 1))
        return part

    def text(self, *, named):
        charset, html = self.random.choice(list(SAMPLES)), self.random.random() < 0.5
        self.words.append(self.token())
        text = "\n".join([SAMPLES[charset], *self.random.choices(LINES, k=3), self.words[-1], ""])
        if html:
            text = "<html><body><p>" + text.replace(">", "&gt;").replace("\n", "<br>") + "</p></body></html>"
        part = MIMEText(text, "html" if html else "plain", charset)
        if named:
            self.names.append(f"{self.token()} ü.txt".lower())
            part.add_header("Content-Disposition", "attachment", filename=("utf-8", "", self.names[-1]))
        return part


def quoted(raw):
    """Quote as mboxrd does."""
    return re.sub(rb"(?m)^(>*From )", rb">\1", raw)


def stated(raw):
    """State the length of the text, as mboxcl2 does; nothing is quoted."""
    head, _, text = raw.partition(b"\n\n")
    return head + b"\nContent-Length: %d\n\n" % len(text) + text


def write(mails, kind, folder):
    """Keep mails in a mailbox of a kind; return its path."""
    raws = [mail.as_bytes().rstrip(b"\n") + b"\n" for mail in mails]
    line = b"From a@x.example Mon Feb  2 08:41:09 2026\n"
    path = folder / "box"
    if kind in ("mbox", "Maildir", "MH"):
        made = {"mbox": mailbox.mbox, "Maildir": mailbox.Maildir, "MH": mailbox.MH}[kind](path)
        for mail in mails:
            made.add(mail)
        made.close()
    elif kind == "eml":
        path.mkdir()
        for number, raw in enumerate(raws):
            (path / f"{number}.eml").write_bytes(raw.replace(b"\n", b"\r\n"))
    else:
        write_one, end = {"mboxrd": (quoted, b""), "mboxcl2": (stated, b"\n"), "CRLF": (quoted, b"\n")}[kind]
        whole = b"".join(line + write_one(raw) + end for raw in raws)
        path.write_bytes(whole.replace(b"\n", b"\r\n") if kind == "CRLF" else whole)
    return path


@given(
    st.randoms(use_true_random=False),
    st.integers(1, 5),
    st.sampled_from(["mbox", "Maildir", "MH", "eml", "mboxrd", "mboxcl2", "CRLF"]),
)
@settings(max_examples=60, deadline=None)
def test_every_text_and_name_comes_back_from_every_mailbox(tmp_path_factory, random, count, kind):
    """As many rows as mails, each with its subject, its texts in order, its attachments, and without an error."""
    folder = tmp_path_factory.mktemp("mails")
    builders = [Builder(random, number) for number in range(count)]
    built = [builder.mail() for builder in builders]
    summary = convert_mails([write([mail for mail, _ in built], kind, folder)], folder / "out.parquet")
    assert (summary.mails, summary.left_out, summary.with_error) == (count, {}, 0)
    with (folder / "out.parquet").open("rb") as file:
        rows = {row["subject"]: row for row in pq.read_table(file).to_pylist()}
    for builder, (_, subject) in zip(builders, built, strict=True):
        row = rows[subject]
        assert re.findall(r"TOKEN\w+X", row["body"]) == builder.words
        assert sorted(name for name in row["attachments"] if "token" in name) == sorted(builder.names)
