"""`batchgen mail` in a process of its own."""

import json
import mailbox
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
    code, summary = command.summary(path, "--set", "input.id=source", "--set", "prompt.user={{ subject }}: {{ body }}")
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
        "2 mails, 0 attachments named, written to out.parquet\n1 of them are not whole: the column `error` says why.\n"
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


def test_a_missing_package_is_named(command, tmp_path):
    """Without the extra the command says what to install."""
    mbox(tmp_path / "inbox.mbox", ["one"])
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, package=None: None if name == 'selectolax' else find(name, package)\n"
    )
    done = command("mail", "inbox.mbox", "out.parquet", env={"PYTHONPATH": f"{blocked}:{PACKAGE}"})
    assert done.returncode == 2
    assert done.stderr == "batchgen: Reading mails needs selectolax: pip install selectolax.\n"
