"""The id of a mail, its copies, its thread."""

import sqlite3

import pytest

from batchgen.errors import OutputError
from batchgen.mail.decode import decode_mail
from batchgen.mail.ids import Identities


def identities(*texts):
    """Return the identity of each mail."""
    with Identities() as known:
        return [known.identity(decode_mail(text.encode(), "x"), text.encode()) for text in texts]


def test_a_mail_has_its_message_id_and_a_copy_a_number():
    """Trace headers, line ends and flags of mail programs make no other mail."""
    one = "Message-ID: <a@x>\nSubject: s\n\ntext\n"
    found = identities(one, f"X-Mozilla-Status: 0001\nReceived: by y\n{one}", one.replace("\n", "\r\n"))
    assert [i.id for i in found] == ["<a@x>", "<a@x>#2", "<a@x>#3"]
    assert [i.copy_of for i in found] == [None, "<a@x>", "<a@x>"]


def test_two_mails_under_one_message_id_are_told_apart():
    """Broken senders give all their mails the same; the id does not depend on how many came before."""
    one, two, three = (f"Message-ID: <a@x>\nSubject: s\n\ntext {n}\n" for n in range(3))
    found = identities(one, two, three, two)
    assert len({i.id for i in found}) == 4
    assert [i.copy_of for i in found] == [None, None, None, found[1].id]
    assert found[2].id == identities(one, three)[1].id
    assert [i.note for i in found] == [None] + ["another mail has the same Message-ID"] * 3


def test_a_mail_without_a_message_id_has_a_hash_that_stays():
    """Empty ones count as none; a damaged mail has one too."""
    found = identities("Subject: s\n\none", "Subject: s\n\ntwo", "Message-ID: <>\nSubject: t\n\none", "", "no mail")
    assert len({i.id for i in found}) == 5
    assert all(i.id.startswith("sha256-") for i in found)
    assert identities("Subject: s\n\ntwo")[0].id == found[1].id


def test_mails_of_a_conversation_share_a_thread():
    """By References, by In-Reply-To along the chain, by Gmail's number."""
    found = identities(
        "Message-ID: <a@x>\n\n1",
        "Message-ID: <b@x>\nIn-Reply-To: <a@x>\n\n2",
        "Message-ID: <c@x>\nIn-Reply-To: Ann's message of Monday <b@x>\n\n3",
        "Message-ID: <d@x>\nReferences: <a@x>\n <b@x> <c@x>\n\n4",
        "X-GM-THRID: 15\nMessage-ID: <e@x>\nReferences: <a@x>\n\n5",
        "Subject: alone\n\n6",
    )
    assert [i.thread for i in found] == ["<a@x>"] * 4 + ["15", None]


def test_ids_are_unique_whatever_a_message_id_looks_like():
    """Copies of a mail and mails whose Message-ID looks like the id of a copy."""
    plain = "Message-ID: a@x\n\n1"
    found = identities(
        plain, "Message-ID: a@x#2\n\n2", plain, plain, "Message-ID: a@x#3\n\n3", "Message-ID: a@x#3\n\n4"
    )
    assert len({i.id for i in found}) == 6
    assert [i.copy_of for i in found] == [None, None, "a@x", "a@x", None, None]
    with Identities() as known:
        mail = decode_mail(b"Message-ID: " + b"x" * 5_000 + b"@y\n\n1", "x")
        assert len(known.identity(mail, b"").id) < 100


def test_a_full_temporary_folder_is_a_sentence():
    """And no traceback."""
    with pytest.raises(OutputError, match="temporary folder"), Identities():
        raise sqlite3.OperationalError("database or disk is full")
