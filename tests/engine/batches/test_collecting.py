"""Results as vendors send them."""

import gzip
from types import SimpleNamespace

import pytest

import batchgen
from batchgen.engine.batches import tools
from batchgen.engine.batches.result_lines import result_lines
from tests.engine.batches.conftest import books_agree
from tests.engine.batches.virtual import VirtualVendor


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_an_answer_counts_before_a_failure(job, server, provider):
    """A row that has failed once at the vendor, and was asked there again, stands in the results twice."""
    server.change(oddities=("row_failed_first=0.5",))
    done = batchgen.run(job(30, provider, batch={"rows": 10}))
    assert (done.state, done.succeeded, done.attempts) == ("complete", 30, 30)
    assert server.stats()["billed_lanes"]["batch"]["requests"] == 30
    books_agree(server, done)


def test_results_that_nobody_can_read_are_not_bought_again(job, tmp_path, monkeypatch):
    """The run stops, as often as it is started, until they can be read, or are given up by `cancel`."""
    vendor = VirtualVendor(tmp_path, monkeypatch, batch_sigma=0, oddities=("one_array=1x",))
    made = job(30, batch={"rows": 10, "poll_s": 60})
    for _ in range(2):
        stopped = vendor.run(made)
        assert (stopped.state, stopped.error["kind"]) == ("stopped", "ProviderStop")
        assert "batch 1 " in stopped.error["message"]
        assert "batchgen cancel" in stopped.error["remedy"]
    assert len(vendor.books()["batches"]) == 3
    given_up = vendor.run(made, mode="cancel")
    assert (given_up.succeeded, given_up.pending, given_up.possibly_billed.requests) == (20, 10, 10)
    done = vendor.run(made)
    assert (done.state, done.succeeded) == ("complete", 30)
    books_agree(vendor, done)


LINE = '{"custom_id": "r-1", "ö\u2028": 1}'


@pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize(
    ("content", "read"),
    [
        (LINE + "\n" + LINE, [LINE, LINE]),
        (LINE + "\r\n\r\n" + LINE + "\r\n", [LINE, LINE]),
        ("[" + LINE + ",\n" + LINE + "]\n", [LINE, LINE]),
        ("\n[\n" + LINE + ",\n" + LINE + "\n]\n", [LINE, LINE]),
        ("[" + LINE + "," + LINE + "]", [LINE, LINE]),
        ("[]", []),
        (LINE + "\n[]\n" + LINE, [LINE, "[]", LINE]),
        ("[[" + LINE + "]]", ["[" + LINE + "]"]),
    ],
)
def test_results_are_read_however_they_are_packed(tmp_path, content, read, encoding, packed):
    """Lines or one array, by gzip or not, in any Unicode."""
    assert texts_of(tmp_path, packed(content.encode(encoding))) == [text.encode() for text in read]


@pytest.mark.parametrize(
    "content",
    [
        f"[{LINE},\n{LINE}".encode(),
        f"[{LINE},\n{LINE[:-3]}\n]".encode(),
        f"[{LINE}]\n[{LINE}]".encode(),
        gzip.compress(f"{LINE}\n{LINE}".encode())[:-9],
        gzip.compress(f"{LINE}\n".encode() * 9000)[:-30],
    ],
    ids=["open", "damaged", "two", "cut gzip", "long cut gzip"],
)
def test_results_that_are_cut_are_no_results(tmp_path, content):
    """The rows that can still be read are not taken: the others would be asked and paid again."""
    (only,) = texts_of(tmp_path, content)
    assert only not in (LINE.encode(), b"")


def texts_of(tmp_path, content):
    """Return what is read of a file of results."""
    (tmp_path / "results").write_bytes(content)
    tools = SimpleNamespace(api=SimpleNamespace(read_line=lambda text, model: text))
    return list(result_lines(tools, SimpleNamespace(model="m"), [tmp_path / "results"]))


def test_a_download_without_content(job, server, monkeypatch):
    """A status of success is no file: it is asked for again."""
    monkeypatch.setattr(tools, "GONE_POLLS", 1)
    server.change(oddities=("download_204=3x",))
    done = batchgen.run(job(20, batch={"rows": 10}))
    assert (done.state, done.succeeded, done.attempts) == ("complete", 20, 20)
