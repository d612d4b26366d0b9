"""`batchgen mail` in a process of its own."""

import json
import mailbox
import os
from email.message import EmailMessage
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import batchgen

pytest.importorskip("selectolax")

PACKAGE = Path(batchgen.__file__).parent.parent


def mbox(path, texts):
    """Write an mbox."""
    box = mailbox.mbox(path)
    for number, text in enumerate(texts):
        message = EmailMessage()
        message["Subject"], message["From"] = f"Mail {number}", "a@example.org"
        message.set_content(text)
        box.add(message)
    box.close()


def test_an_mbox_becomes_a_table_that_a_job_answers(command, simulator, job, tmp_path):
    """The example of the help, end to end: mails, table, run; each mail has its answer."""
    mbox(tmp_path / "inbox.mbox", ["one", "two", "three"])
    done = command("mail", "inbox.mbox", "mails.parquet", "--json")
    assert (done.returncode, json.loads(done.stdout)["mails"]) == (0, 3)
    path = job(tmp_path / "mails.parquet", simulator().url)
    code, summary = command.summary(path, "--set", "input.id=id", "--set", "prompt.user={{ subject }}: {{ body }}")
    assert (code, summary["succeeded"]) == (0, 3)


def test_mails_that_are_not_whole_are_counted_and_give_exit_1(command, tmp_path):
    """As rows that failed do in a run."""
    folder = tmp_path / "mails"
    folder.mkdir()
    (folder / "a.eml").write_bytes(b"Subject: s\n\nfine\n")
    (folder / "b.eml").write_bytes(b"")
    done = command("mail", "mails", "out.parquet")
    assert done.returncode == 1
    assert done.stdout == (
        "2 mails, 0 attachments named, written to out.parquet\nNot whole: 1; the column `error` says why.\n"
    )
    assert pq.read_table(tmp_path / "out.parquet").column("error").to_pylist() == [
        None,
        "this is no mail: it has no headers",
    ]


def test_wrong_arguments_exit_2_with_a_sentence(command, tmp_path):
    """A path that is not there, an output that is no Parquet file."""
    done = command("mail", "nowhere", "out.parquet")
    assert (done.returncode, done.stderr) == (2, "batchgen: nowhere does not exist.\n")
    mbox(tmp_path / "inbox.mbox", ["one"])
    done = command("mail", "inbox.mbox", "out.csv")
    assert done.returncode == 2
    assert "ends in .parquet" in done.stderr


def test_several_paths_and_what_was_left_out_are_told(command, tmp_path):
    """Exit 1 when a file was left out; copies and unread parts are counted; the JSON says the same."""
    folder = tmp_path / "mails"
    folder.mkdir()
    mail = b"Message-ID: <1@x.example>\nFrom: a@x.example\nSubject: s\n\nfine\n"
    part = b"From: b@x.example\nSubject: p\nContent-Type: application/pdf; name=a.pdf\n\nx"
    for name, content in {"a.eml": mail, "b.msg": b"\xd0\xcf\x11\xe0", "p.eml": part, "a.msf": b"x"}.items():
        (folder / name).write_bytes(content)
    (tmp_path / "old.mbox").write_bytes(b"From - Mon Feb  2 08:41:00 2026\nX-Mozilla-Status: 0008\n" + mail)
    done = command("mail", "mails", "old.mbox", "out.parquet")
    assert done.returncode == 1
    assert done.stdout == (
        "3 mails, 1 attachment named, written to out.parquet\n"
        "Files left out: 1: mails/b.msg (Outlook's own format: save the mail as .eml first).\n"
        "Not read inside the mails: 1 PDF; the column `not_read` names them.\n"
        "Copies of other mails: 1; the column `copy_of` says of which.\n"
        "Deleted in the mail program and still in its files: 1; label \\Deleted.\n"
        "Files that mail programs keep for themselves, passed over: 1.\n"
    )
    (folder / "b.msg").unlink()
    done = command("mail", "mails", "old.mbox", "out.parquet", "--json")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["copies"], summary["not_read"], summary["left_out"]) == (0, 1, {"PDF": 1}, {})
    ids = pq.read_table(tmp_path / "out.parquet").column("id").to_pylist()
    assert len(set(ids)) == 3


def test_names_that_are_not_utf_8_do_not_lose_the_conversion(command, tmp_path):
    """As input and as output, in the text and in the JSON."""
    folder = tmp_path / os.fsdecode(b"d\xe9r")
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9.eml")).write_bytes(b"From: a@x.example\nSubject: s\n\nfine\n")
    for options in ((), ("--json",)):
        done = command("mail", os.fsdecode(b"d\xe9r"), os.fsdecode(b"o\xe9t.parquet"), *options)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False)
        assert r"o\xe9t.parquet" in done.stdout or r"o\\xe9t.parquet" in done.stdout
    with (tmp_path / os.fsdecode(b"o\xe9t.parquet")).open("rb") as file:
        table = pq.read_table(file)
    assert table.column("source").to_pylist() == [r"caf\xe9.eml"]
