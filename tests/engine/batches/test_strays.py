"""What a lost reply has left at the vendor, and lists show too late."""

import msgspec
import pytest

from batchgen.engine.batches import build
from batchgen.values import Response
from tests.engine.batches.conftest import books_agree
from tests.engine.batches.virtual import Client, VirtualVendor


def test_a_batch_that_its_list_shows_too_late_is_cancelled(job, tmp_path, monkeypatch):
    """It runs already when it is handed in anew: both are in the books, the second is cancelled when it shows."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=("create_lost=1x", "list_lag=1x"))
    monkeypatch.setattr(build, "LOOK_AGAIN_S", 100.0)
    done = vendor.run(job(30, batch={"poll_s": 60}))
    assert (done.state, done.succeeded) == ("complete", 30)
    words = [batch["status"] for batch in vendor.books()["batches"]]
    assert sorted(words) == ["cancelled", "completed"]
    billed = vendor.books()["billed_lanes"]["batch"]["requests"]
    assert billed - 30 < 10
    assert done.possibly_billed.requests == 30
    assert any("possibly" in said or "billed too" in said for said in vendor.notes.said)


def test_it_is_inside_the_budget(job, tmp_path, monkeypatch):
    """A budget that has no room for both waits until the list must have it."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=("create_lost=1x", "list_lag=1x"))
    monkeypatch.setattr(build, "LOOK_AGAIN_S", 100.0)
    done = vendor.run(job(10, batch={"poll_s": 60}, limits={"budget": 0.006}))
    assert (done.state, done.succeeded, done.possibly_billed.requests) == ("complete", 10, 0), done.error
    assert len(vendor.books()["batches"]) == 1
    books_agree(vendor, done)


def test_a_file_that_was_uploaded_twice_is_deleted_twice(job, tmp_path, monkeypatch):
    """The first upload's reply was lost, and no list showed it then."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=("upload_lost=1x", "file_lag=1x"))
    done = vendor.run(job(20, batch={"poll_s": 60}))
    assert (done.state, done.succeeded, done.attempts) == ("complete", 20, 20)
    assert not [path for path in (tmp_path / "vendor").iterdir() if path.name.startswith("file")]


@pytest.mark.parametrize("order", ["list_oldest_first", "list_repeats", "bom"])
@pytest.mark.parametrize("lost", ["create_lost", "upload_lost"])
def test_what_was_lost_is_found_however_the_list_is_ordered(job, tmp_path, monkeypatch, lost, order):
    """Behind pages of batches that are days old, or on the first of pages that never end; nothing is bought twice."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0)
    vendor.run(job(7, name="before", batch={"poll_s": 60, "rows": 1}))
    vendor.clock.now_s += 3 * 86_400
    settings = msgspec.structs.replace(vendor.behaviour.settings, oddities=(f"{lost}=1x", order))
    vendor.behaviour.change(settings, vendor.clock.now_s)
    done = vendor.run(job(20, batch={"poll_s": 60}))
    assert (done.state, done.succeeded, done.attempts) == ("complete", 20, 20)
    assert done.possibly_billed.requests == 0
    assert len(vendor.books()["batches"]) == 8


def test_a_server_without_a_list_of_batches(job, tmp_path, monkeypatch):
    """What was lost cannot be found there: the run stops, as the address may be wrong, until the user says that it is
    not; then its rows are handed in once more, and count as possibly billed."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=("create_lost=1x",))
    made, call = job(20, batch={"poll_s": 60}), Client.call

    async def without_list(self, asked, *, timeout_s):
        if asked.method == "GET" and asked.url.partition("?")[0].endswith(("/files", "/batches")):
            return Response(404, {}, b'{"detail": "Not Found"}')
        return await call(self, asked, timeout_s=timeout_s)

    monkeypatch.setattr(Client, "call", without_list)
    for _ in range(2):
        stopped = vendor.run(made)
        assert (stopped.state, stopped.pending, stopped.error["kind"]) == ("stopped", 20, "ProviderStop")
        assert "--take-over" in stopped.error["remedy"]
        assert len(vendor.books()["batches"]) == 1
    done = vendor.run(made, take_over=True)
    assert (done.state, done.succeeded, done.possibly_billed.requests) == ("complete", 20, 20)
    assert len(vendor.books()["batches"]) == 2
