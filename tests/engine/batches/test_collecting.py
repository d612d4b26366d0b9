"""Results as vendors send them."""

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


LINE = b'{"custom_id": "r-1"}'


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (b"[" + LINE + b",\n" + LINE + b"]\n", [b"[" + LINE + b","]),
        (b"\n[\n" + LINE + b",\n" + LINE + b"\n]\n", [b"["]),
        (b"\xef\xbb\xbf[\r\n" + LINE + b"\r\n]", [b"["]),
        (LINE + b"\n[]\n" + LINE, [LINE, b"[]", LINE]),
    ],
)
def test_lines_of_an_array_are_no_results(tmp_path, content, read):
    """Its last member stands in a line of its own: taken alone, the others would be asked and paid again."""
    (tmp_path / "results").write_bytes(content)
    tools = SimpleNamespace(api=SimpleNamespace(read_line=lambda text, model: text))
    assert list(result_lines(tools, SimpleNamespace(model="m"), [tmp_path / "results"])) == read


def test_a_download_without_content(job, server, monkeypatch):
    """A status of success is no file: it is asked for again."""
    monkeypatch.setattr(tools, "GONE_POLLS", 1)
    server.change(oddities=("download_204=3x",))
    done = batchgen.run(job(20, batch={"rows": 10}))
    assert (done.state, done.succeeded, done.attempts) == ("complete", 20, 20)
