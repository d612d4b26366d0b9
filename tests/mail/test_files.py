"""Where mails lie: the layouts of mail programs, files of any name, and what is passed over."""

import os
import socket
import tarfile

import pytest

from batchgen.errors import InputError
from batchgen.mail.files import raw_mails

PLIST = b'<?xml version="1.0"?>\n<plist version="1.0"><dict><key>flags</key><integer>%d</integer></dict></plist>\n'


def mail(n):
    """A small mail."""
    return b"From: ann%d@x.example\nTo: help@y.example\nSubject: number %d\n\ntext %d\n" % (n, n, n)


def mbox(*numbers):
    """An mbox of small mails."""
    return b"".join(b"From - Mon Feb  2 08:41:00 2026\n" + mail(n) + b"\n" for n in numbers)


def emlx(n, flags=0):
    """A mail as Apple Mail keeps it: its length, the mail, a list of properties."""
    return b"%-10d\n" % len(mail(n)) + mail(n) + PLIST % flags


def read(*paths):
    """Return (source, number of the mail), the files left out by name, and the number of the programs' own files."""
    told = []
    found = [(raw.source, int(raw.body.split()[-1])) for raw in raw_mails(paths, told.append)]
    return found, {file.name: file.reason for file in told if not file.own}, sum(file.own for file in told)


def write(root, files):
    """Write files below a folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


LAYOUTS = {
    "Thunderbird": (
        {
            "Inbox": mbox(1, 2),
            "Inbox.msf": b"// index",
            "Inbox.sbd/Clients": mbox(3),
            "Inbox.sbd/Clients.msf": b"x",
            "Drafts": b"",
            "popstate.dat": b"x",
            "filterlog.html": b"<html>",
        },
        [1, 2, 3],
        4,
    ),
    "Apple Mail": (
        {
            "INBOX.mbox/1A/Data/3/Messages/1.emlx": emlx(1),
            "INBOX.mbox/1A/Data/3/Messages/2.partial.emlx": emlx(2),
            "INBOX.mbox/1A/Data/3/Attachments/2/2/a.pdf": b"%PDF-1.4",
            "INBOX.mbox/Info.plist": PLIST,
        },
        [1, 2],
        2,
    ),
    "Apple export": ({"Support.mbox/mbox": mbox(1, 2), "Support.mbox/table_of_contents": b"\0\1"}, [1, 2], 1),
    "MH": (
        {"inbox/1": mail(1), "inbox/2": mail(2), "inbox/10": mail(10), "inbox/.mh_sequences": b"unseen: 1"},
        [1, 2, 10],
        1,
    ),
    "Enron": ({"ann-a/inbox/1.": mail(1), "ann-a/_sent_mail/1.": mail(2)}, [2, 1], 0),
    "Maildir": (
        {
            "cur/17.M1.host:2,S": mail(1),
            "new/18.M2.host": mail(2),
            "tmp/19.M3.host": mail(3),
            ".Sent/cur/20.M4.host:2,S": mail(4),
            "dovecot.index.log": b"\0",
            "subscriptions": b"INBOX",
        },
        [4, 1, 2],
        3,
    ),
    "a copy of a Maildir": ({"cur/17.M1.host;2,S": mail(1), "new/18.M2.host": b"Subject: only\n\n2\n"}, [1, 2], 0),
    "mails of any name": (
        {"a.EML": mail(1), "b.txt": mail(2), "c": mail(3), "d.mht": mail(4), "e.mail": mail(5), "f.emlx": mail(6)},
        [1, 2, 3, 4, 5, 6],
        0,
    ),
    "several mails in one .eml": ({"all.eml": mbox(1, 2)}, [1, 2], 0),
    "old Mac": ({"Inbox": mbox(1, 2).replace(b"\n", b"\r")}, [1, 2], 0),
}


@pytest.mark.parametrize(("files", "mails", "own"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_mails_are_found_in_the_layouts_of_mail_programs(tmp_path, files, mails, own):
    """Each mail once, in natural order; indexes are passed over quietly."""
    write(tmp_path, files)
    found, left_out, count = read(tmp_path)
    assert ([number for _, number in found], left_out, count) == (mails, {}, own)
    assert len({source for source, _ in found}) == len(mails)


def test_what_is_passed_over_is_told_with_the_reason(tmp_path, monkeypatch):
    """Formats of other programs, archives, tables, links to folders, sockets: nothing is dropped in silence."""
    write(
        tmp_path,
        {
            "a.eml": mail(1),
            "b.msg": b"\xd0\xcf\x11\xe0" + bytes(600),
            "c.pst": b"!BDN" + bytes(60),
            "d.zip": b"PK\x03\x04",
            "e.csv": b"from,to\na,b\n",
            "notes.txt": b"Title: notes\n\nno mail",
            "From.txt": b"From Monday on we are closed.\n",
            "x.mbox": b"\0\1",
        },
    )
    (tmp_path / "elsewhere").symlink_to(tmp_path.parent, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # the name of a socket is bounded
        server.bind("socket")
        found, left_out, _ = read(tmp_path)
    assert found == [("a.eml", 1)]
    assert set(left_out) == {
        "b.msg", "c.pst", "d.zip", "e.csv", "notes.txt", "From.txt", "x.mbox", "elsewhere", "pipe", "socket",
    }  # fmt: skip
    assert "save the mail as .eml" in left_out["b.msg"]
    assert left_out["notes.txt"] == "no mail"


@pytest.mark.parametrize("name", ["b.msg", "c"])
def test_a_single_file_that_is_no_mail_is_refused(tmp_path, name):
    """With the reason."""
    write(tmp_path, {"b.msg": b"\xd0\xcf\x11\xe0", "c": b"text"})
    with pytest.raises(InputError, match=r"no mail(: it is Outlook's own format|; known)"):
        read(tmp_path / name)


def test_several_paths_are_read_as_one(tmp_path):
    """Sources begin with the path as given, bytes go on counting; a path inside another is refused."""
    write(tmp_path, {"a/x.eml": mail(1), "b/x.eml": mail(2), "c.mbox": mbox(3)})
    raws = list(raw_mails([tmp_path / "a", tmp_path / "b", tmp_path / "c.mbox"], print))
    assert [raw.source for raw in raws] == [f"{tmp_path}/a/x.eml", f"{tmp_path}/b/x.eml", f"{tmp_path}/c.mbox:0"]
    assert raws[-1].read_bytes == len(mail(1)) + len(mail(2)) + len(mbox(3))
    with pytest.raises(InputError, match="named twice"):
        read(tmp_path, tmp_path / "a")


def test_names_that_are_not_utf_8_are_written_with_their_bytes(tmp_path):
    """One such name does not lose the conversion."""
    folder = os.fsencode(tmp_path) + b"/d\xe9r"
    os.mkdir(folder)
    for number, name in enumerate((b"caf\xe9.eml", b"b.eml")):
        with open(folder + b"/" + name, "wb") as file:
            file.write(mail(number))
    found, _, _ = read(tmp_path)
    assert found == [(r"d\xe9r/b.eml", 1), (r"d\xe9r/caf\xe9.eml", 0)]


@pytest.mark.parametrize("length", [b"5\n", b"99999\n", b"\n"])
def test_an_emlx_with_a_wrong_length_ends_before_its_properties(tmp_path, length):
    """The mail is whole and the list of properties is not in its text."""
    write(tmp_path, {"1.emlx": length + mail(1) + PLIST % 0})
    (raw,) = raw_mails([tmp_path], print)
    assert raw.body.strip() in (mail(1).strip(), (mail(1) + PLIST % 0).strip())
    if length.strip():
        assert b"plist" not in raw.body


def test_deleted_mails_are_marked(tmp_path):
    """By Apple's flags and by a Maildir's."""
    write(tmp_path, {"1.emlx": emlx(1, 2), "2.emlx": emlx(2, 1), "cur/3.host:2,ST": mail(3), "cur/4.host:2,S": mail(4)})
    assert [raw.deleted for raw in raw_mails([tmp_path], print)] == [True, False, True, False]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_mailbox_that_a_shell_saved_as_utf_16_is_read(tmp_path, encoding):
    """PowerShell writes so what a program prints."""
    (tmp_path / "a.mbox").write_bytes(mbox(1, 2, 3).decode().encode(encoding))
    assert [number for _, number in read(tmp_path / "a.mbox")[0]] == [1, 2, 3]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_archive_is_called_one(tmp_path, mode):
    """Also a packed one, which unpacks to what looks like no mail."""
    with tarfile.open(tmp_path / "mails", mode) as archive:
        (tmp_path / "a.mbox").write_bytes(mbox(1))
        archive.add(tmp_path / "a.mbox", "a.mbox")
    with pytest.raises(InputError, match="a tar archive: unpack it first"):
        read(tmp_path / "mails")


def test_a_file_of_outlook_is_called_one_whatever_its_name_is(tmp_path):
    """Renaming a .msg file does not make it a mail."""
    (tmp_path / "a.eml").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    with pytest.raises(InputError, match="Outlook's own format"):
        read(tmp_path / "a.eml")


JUNK = [
    b"An archive of mails.\n\n",
    b"HTTP/1.1 200 OK\nContent-Type: x\n\n",
    b">From nobody\n",
    b"end of a mail\n",
    b"  \n",
]


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("name", ["a.mbox", "Inbox"])
def test_what_stands_before_the_first_mail_of_an_mbox_is_left_out(tmp_path, name, junk):
    """All mails come, and the first says how much was left out."""
    write(tmp_path, {name: junk + mbox(1, 2)})
    found = list(raw_mails([tmp_path / name], lambda told: pytest.fail(str(told))))
    assert [int(raw.body.split()[-1]) for raw in found] == [1, 2]
    assert found[0].source.endswith(f":{len(junk)}")
    assert [raw.note for raw in found] == [
        f"{len(junk)} bytes before the first mail of the file, which are no mail, were left out"
        if junk.strip()
        else None,
        None,
    ]


def test_a_mail_or_a_text_that_shows_an_mbox_is_none(tmp_path):
    """What its text quotes are no mails of the box."""
    write(tmp_path, {"letter": mail(3) + b"\n" + mbox(1), "README.txt": b"An example:\n\n" + mbox(1)})
    found, left_out, _ = read(tmp_path)
    assert len(found) == 1
    assert left_out == {"README.txt": "no mail"}
