"""Anthropic's message batches: one call with all requests, and a state in words of its own."""

import json
from pathlib import Path

import pytest

from batchgen.providers.batch_api import BatchError, BatchIntent
from batchgen.values import Failure, FailureKind, Verdict
from tests.providers.batches import opened, request_of, shown

API, WIRE = opened("anthropic", model="claude-x", max_tokens=5)
ROOT = "https://api.anthropic.com/v1/messages/batches"
INTENT = BatchIntent(run="k", part=1, sha="s", path=Path("staged"), rows=4, window="24h")
BATCH = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "in_progress",
    "request_counts": {"processing": 4, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0},
    "created_at": "2026-11-27T23:45:00Z",
    "ended_at": None,
    "archived_at": None,
    "results_url": None,
}
ENDED = BATCH | {
    "processing_status": "ended",
    "request_counts": {"processing": 0, "succeeded": 1, "errored": 1, "canceled": 1, "expired": 1},
    "ended_at": "2026-11-28T00:45:00Z",
    "results_url": "https://elsewhere.test/results",
}


def test_the_call_that_creates():
    """Is made of the file's lines, as the members of a list; it is sent once."""
    call = API.create(INTENT)
    assert (call.url, call.upload, call.as_list, call.creates) == (ROOT, Path("staged"), True, True)
    lines = [API.line(f"k-{number}", request_of(WIRE)) for number in range(2)]
    sent = json.loads(call.before + b",".join(lines) + call.after)
    params = {"model": "claude-x", "messages": [{"role": "user", "content": "?"}], "max_tokens": 5}
    assert sent == {"requests": [{"custom_id": f"k-{number}", "params": params} for number in range(2)]}
    assert call.headers["anthropic-version"] == "2023-06-01"
    assert "stream" not in params
    assert API.inline


@pytest.mark.parametrize("custom_id", ["", "a b", "k.1", "k" * 65, "é"])
def test_ids_that_are_not_taken(custom_id):
    """Are refused before a batch is made of them."""
    with pytest.raises(ValueError, match="no id"):
        API.line(custom_id, request_of(WIRE))


def test_whether_a_listed_batch_is_the_one_that_was_to_be_created():
    """Only its results can tell, also where rows are missing from its counts or these are zero; a running batch of
    another size is another one."""
    other = {"request_counts": BATCH["request_counts"] | {"processing": 5}}
    zero = {"request_counts": dict.fromkeys(BATCH["request_counts"], 0)}
    fewer = {"request_counts": ENDED["request_counts"] | {"errored": 0}}
    assert API.is_of(API.read_batch(shown(BATCH | other)), INTENT) is False
    for undecided in (BATCH, BATCH | zero, ENDED, ENDED | zero, ENDED | fewer):
        assert API.is_of(API.read_batch(shown(undecided)), INTENT) is None


def test_a_batch():
    """Its counts are those of all rows; results are fetched from our own address, where the key may go."""
    running = API.read_batch(shown(BATCH))
    assert (running.phase, running.total, running.completed, running.results) == ("running", 4, 0, ())
    ended = API.read_batch(shown(ENDED))
    assert (ended.phase, ended.total, ended.completed, ended.failed) == ("ended", 4, 1, 3)
    assert (ended.created_s, ended.ended_s) == (1795823100.0, 1795826700.0)
    (call,) = API.results(ended)
    assert call.url == f"{ROOT}/msgbatch_1/results"
    assert [(call.method, call.url) for call in API.clean_up(ended)] == [("DELETE", f"{ROOT}/msgbatch_1")]
    assert API.read_batch(shown(BATCH | {"processing_status": "canceling"})).phase == "closing"
    archived = API.read_batch(shown(ENDED | {"archived_at": "2026-12-28T00:45:00Z"}))
    assert (archived.phase, archived.results) == ("ended", ())


def test_only_its_results_tell_whose_it_is():
    """Of another size it is another one."""
    assert API.is_of(API.read_batch(shown(BATCH)), INTENT) is None
    other = BATCH | {"request_counts": {"processing": 5}}
    assert API.is_of(API.read_batch(shown(other)), INTENT) is False
    assert API.is_of(API.read_batch(shown({"id": "b"})), INTENT) is None


def test_lists():
    """Go on behind the last one."""
    page = API.read_page(shown({"data": [BATCH], "has_more": True, "first_id": "msgbatch_1", "last_id": "msgbatch_1"}))
    assert [status.id for status in page.batches] == ["msgbatch_1"]
    assert page.next.url == f"{ROOT}?limit=1000&after_id=msgbatch_1"
    assert API.read_page(shown({"data": [], "has_more": False})).next is None


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (400, "invalid_request_error", "requests: too few", "final"),
        (413, "request_too_large", "Request exceeds the maximum size", "too large"),
        (400, "invalid_request_error", "Your credit balance is too low", FailureKind.ACCOUNT),
        (401, "authentication_error", "invalid x-api-key", FailureKind.AUTHENTICATION),
        (404, "not_found_error", "no such batch", FailureKind.ENDPOINT),
        (429, "rate_limit_error", "too many requests in the queue", FailureKind.RATE_LIMITED),
        (529, "overloaded_error", "Overloaded", FailureKind.SERVER_ERROR),
    ],
)
def test_refusals(status, kind, message, expected):
    """Final ones are the batch's, all others are told as those of a live call."""
    found = API.read_batch(shown({"type": "error", "error": {"type": kind, "message": message}}, status))
    if not isinstance(expected, FailureKind):
        assert isinstance(found, BatchError)
        assert found.too_large == (expected == "too large")
    else:
        assert isinstance(found, Failure)
        assert found.kind is expected
        assert found.maybe_billed == (status in (429, 529))
        assert (found.verdict is Verdict.STOP) == (status < 429)
