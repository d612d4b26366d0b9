"""A disk that is full while rows are written into files, and while results are fetched."""

import errno
from contextlib import contextmanager
from types import MethodType

import pytest

import batchgen
from batchgen.files.replace import replacing
from batchgen.storage import batch_files
from batchgen.transport import file_client
from tests.engine.batches.conftest import books_agree


class FullFile:
    """A file whose buffer finds no room: when it is written to, synced or closed."""

    def __init__(self, file, place):
        self._file = file
        self._place = place

    def __getattr__(self, name):
        if name == self._place or (name == "close" and self._place == "write"):
            self._file.close()
            raise OSError(errno.ENOSPC, "No space left on device")
        return getattr(self._file, name)


@pytest.mark.parametrize("place", ["write", "flush"])
def test_a_full_disk_while_files_are_written(job, server, monkeypatch, place):
    """The run stops with what to do, nothing is handed in, and what was written is gone; then it goes on."""
    new = batch_files._new
    with monkeypatch.context() as patch:
        patch.setattr(batch_files, "_new", lambda path: FullFile(new(path), place))
        stopped = batchgen.run(job(20, batch={"rows": 10}))
    assert (stopped.state, stopped.error["kind"], stopped.pending) == ("stopped", "StorageStop", 20)
    assert "batches" not in server.stats() or not server.stats()["batches"]
    done = batchgen.run(job(20, batch={"rows": 10}))
    assert (done.state, done.succeeded) == ("complete", 20)
    books_agree(server, done)


@contextmanager
def replacing_with(write, path):
    """`replacing`, whose files are written by `write`."""
    with replacing(path) as file:
        file.write = MethodType(write, file)
        yield file


def test_a_full_disk_while_results_are_fetched(job, server, monkeypatch):
    """They stay at the vendor, and are collected by the next run."""

    def write(self, data):
        self.refusal = OSError(errno.ENOSPC, "No space left on device")
        raise self.refusal

    with monkeypatch.context() as patch:
        patch.setattr(file_client, "replacing", lambda path: replacing_with(write, path))
        stopped = batchgen.run(job(20, batch={"rows": 10}))
    assert (stopped.state, stopped.error["kind"], stopped.pending) == ("stopped", "StorageStop", 20)
    done = batchgen.run(job(20, batch={"rows": 10}))
    assert (done.state, done.succeeded, done.attempts) == ("complete", 20, 20)
    books_agree(server, done)
