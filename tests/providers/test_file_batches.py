"""Batches made of files: what is sent to each vendor, and what is read of each one's replies."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.errors import JobError
from batchgen.providers.batch_api import BatchError, BatchIntent, BatchPage, BatchStatus
from batchgen.providers.batch_replies import time_s
from batchgen.values import Failure, FailureKind, Response, Verdict
from tests.providers.batches import HOSTS, answer, opened, request_of, shown

API, CHAT = opened()
INTENT = BatchIntent(
    run="k3f9", part=2, sha="b1946ac9e0", path=Path("staged"), rows=3, window="24h", input_file="file-1", model="m"
)
BATCH = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "errors": None,
    "input_file_id": "file-1",
    "completion_window": "24h",
    "status": "in_progress",
    "output_file_id": None,
    "error_file_id": None,
    "created_at": 1795823100,
    "request_counts": {"total": 3, "completed": 0, "failed": 0},
    "metadata": {"batchgen_run": "k3f9"},
}


def seen(**fields):
    return API.read_batch(shown(BATCH | fields))


# ---- what is sent


@pytest.mark.parametrize(
    ("provider", "base_url", "root", "request_path"),
    [
        ("openai", None, "https://api.openai.com/v1", "/v1/chat/completions"),
        ("openai", "http://127.0.0.1:8000", "http://127.0.0.1:8000/v1", "/v1/chat/completions"),
        ("openai", "https://gw.test/x/v1/chat/completions", "https://gw.test/x/v1", "/v1/chat/completions"),
        ("openai", "https://zhipu.test/api/paas/v4", "https://zhipu.test/api/paas/v4", "/v4/chat/completions"),
        ("dashscope", None, f"{HOSTS['dashscope']}/compatible-mode/v1", "/v1/chat/completions"),
        ("dashscope", f"{HOSTS['dashscope']}/api/v1", f"{HOSTS['dashscope']}/compatible-mode/v1",
         "/v1/chat/completions"),
        ("openai", f"{HOSTS['dashscope']}/compatible-mode/v1", f"{HOSTS['dashscope']}/compatible-mode/v1",
         "/v1/chat/completions"),
        ("dashscope", "https://gw.test/x", "https://gw.test/x/compatible-mode/v1", "/v1/chat/completions"),
        ("azure", None, "https://res.openai.azure.com/openai/v1", "/chat/completions"),
        ("groq", None, "https://api.groq.com/openai/v1", "/v1/chat/completions"),
    ],
)  # fmt: skip
def test_where_calls_go(provider, base_url, root, request_path):
    """Below the root of the calls, and to one path in all lines and in the batch."""
    api, wire_format = opened(provider, base_url)
    assert api.upload(Path("s"), "a.jsonl").url == f"{root}/files"
    assert api.file("f/1").url == f"{root}/files/f%2F1"
    assert api.create(INTENT).url == f"{root}/batches"
    assert api.retrieve("b").url == f"{root}/batches/b"
    assert api.cancel("b").url == f"{root}/batches/b/cancel"
    assert json.loads(api.line("k-1", request_of(wire_format)))["url"] == request_path
    assert json.loads(api.create(INTENT).body)["endpoint"] == request_path


def test_azure_by_deployment():
    """An older address names version and deployment, which every line has to name too."""
    api, wire_format = opened("azure", f"{HOSTS['azure']}/openai/deployments/mine?api-version=2024-10-21", model="gpt")
    assert api.create(INTENT).url == f"{HOSTS['azure']}/openai/batches?api-version=2024-10-21"
    listed = api.list_files().url
    assert listed.startswith(f"{HOSTS['azure']}/openai/files?api-version=2024-10-21&purpose=batch")
    assert json.loads(api.line("k-1", request_of(wire_format)))["body"]["model"] == "mine"
    assert api.upload(Path("s"), "a.jsonl").form == {"purpose": "batch"}
    assert opened("azure")[0].upload(Path("s"), "a.jsonl").form["expires_after[seconds]"] == "2592000"


def test_what_creates_says_so():
    """And nothing else does: all else may be sent again."""
    creating = [API.upload(Path("s"), "a.jsonl"), API.create(INTENT)]
    status = BatchStatus(id="b", phase="ended", word="completed", input_file="f", results=("o", "e"))
    others = [API.file("f"), API.retrieve("b"), API.cancel("b"), API.list_files(), API.list_batches(0.0)]
    others += [*API.clean_up(status), *API.results(status)]
    assert all(call.creates for call in creating)
    assert not any(call.creates for call in others)
    assert [call.url.rpartition("/")[2] for call in API.clean_up(status)] == ["f", "o", "e"]
    assert {call.method for call in API.clean_up(status)} == {"DELETE"}


def test_the_bodies_that_create():
    """Each vendor's own, with what names the batch in its list."""
    bodies = {name: json.loads(opened(name)[0].create(INTENT).body) for name in ("openai", "dashscope", "mistral")}
    named = {"batchgen_run": "k3f9", "batchgen_part": "2", "batchgen_sha": "b1946ac9e0"}
    assert bodies["openai"] == {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": named,
    }
    assert bodies["dashscope"]["metadata"]["ds_name"] == "bg k3f9 2 b1946ac9"
    assert bodies["mistral"] == {
        "input_files": ["file-1"],
        "model": "m",
        "endpoint": "/v1/chat/completions",
        "timeout_hours": 24,
        "metadata": named,
    }


def test_lines_without_a_model():
    """At Mistral the model stands beside the file."""
    api, wire_format = opened("mistral", max_tokens=5)
    assert json.loads(api.line("k-1", request_of(wire_format))) == {
        "custom_id": "k-1",
        "body": {"messages": [{"role": "user", "content": "?"}], "max_tokens": 5},
    }


@pytest.mark.parametrize(
    ("model", "own", "sent", "group"),
    [
        ("qwen-plus", None, False, "qwen-plus does not think"),
        ("qwen-plus", True, True, "qwen-plus thinks"),
        ("qwen3.5-flash", None, True, "qwen3.5-flash thinks"),
        ("qwen3.5-flash", False, False, "qwen3.5-flash does not think"),
        ("qwen3-8b", None, True, "qwen3-8b thinks"),
        ("qwen2.5-72b-instruct", None, None, "qwen2.5-72b-instruct"),
        ("qwen3-30b-a3b-thinking-2507", None, None, "qwen3-30b-a3b-thinking-2507"),
        ("qwen-mt-plus", None, None, "qwen-mt-plus"),
        ("deepseek-v3.2", None, None, "deepseek-v3.2"),
    ],
)
def test_thinking_is_said_in_every_line(model, own, sent, group):
    """At DashScope, for models that have the switch; a file has one model and one setting."""
    given = {} if own is None else {"enable_thinking": own}
    api, wire_format = opened("dashscope", model=model, **given)
    request = request_of(wire_format, text='"enable_thinking":true')
    body = json.loads(api.line("k-1", request))["body"]
    assert body.get("enable_thinking") is sent
    assert api.group(request) == group


def test_a_switch_elsewhere_in_a_request_is_none():
    """A tool may have a parameter of that name."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"enable_thinking": True}}}
    api, wire_format = opened("dashscope", model="qwen3.5-plus", tools=[tool])
    request = request_of(wire_format)
    assert json.loads(api.line("k-1", request))["body"]["enable_thinking"] is True
    assert json.loads(request.body).keys().isdisjoint({"enable_thinking"})


def test_a_row_may_name_its_model_and_setting():
    """Which then is another file's."""
    api, wire_format = opened("dashscope", model="qwen-plus")
    requests = [
        request_of(wire_format),
        request_of(wire_format, model="qwen-turbo"),
        request_of(wire_format, parameters={"enable_thinking": True}),
    ]
    assert len({api.group(request) for request in requests}) == 3


def test_a_native_job_goes_in_the_chat_form():
    """What has no place there is named."""
    with pytest.raises(JobError, match=r"parameters\.tool_stream.*\"batch\""):
        opened("dashscope", tool_stream=True)
    api, wire_format = opened("dashscope", result_format="message", incremental_output=True, top_k=5)
    body = json.loads(api.line("k-1", request_of(wire_format)))["body"]
    assert body.keys() == {"model", "messages", "top_k", "enable_thinking"}


# ---- what is read


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("validating", "checking"),
        ("Validating", "checking"),
        ("VALIDATING", "checking"),
        ("QUEUED", "queued"),
        ("BATCH_STATE_PENDING", "queued"),
        ("JOB_STATE_RUNNING", "running"),
        ("PROGRESS", "running"),
        ("InProgress", "running"),
        ("brewing", "running"),
        ("", "running"),
        ("finalizing", "closing"),
        ("CANCELLATION_REQUESTED", "closing"),
        ("canceling", "closing"),
        ("completed", "ended"),
        ("SUCCESS", "ended"),
        ("TIMEOUT_EXCEEDED", "ended"),
        ("expired", "ended"),
        ("Cancelled", "ended"),
        ("failed", "refused"),
        ("FAILED", "refused"),
    ],
)
def test_words_for_a_state(word, phase):
    """In any case and with any prefix; one that nobody knows is no end."""
    assert seen(status=word).phase == phase
    assert seen(status=word).word == word


@pytest.mark.parametrize("word", ["completed", "expired", "cancelled", "failed"])
@pytest.mark.parametrize(("output", "errors"), [("o", "e"), ("o", None), (None, "e"), ("", "e"), ("o", "")])
def test_both_files_of_every_end(word, output, errors):
    """An id that is empty, null or absent is none; whatever there is may have been paid."""
    fields = {"output_file_id": output, "error_file_id": errors}
    given = {key: value for key, value in fields.items() if value is not None}
    for status in (seen(status=word, **fields), API.read_batch(shown({"id": "b", "status": word} | given))):
        assert status.phase == "ended"
        assert list(status.results) == [name for name in (output, errors) if name]
        assert [call.url for call in API.results(status)] == [
            f"https://api.openai.com/v1/files/{name}/content" for name in status.results
        ]


@pytest.mark.parametrize(
    "counts", [None, {}, {"total": 0}, {"total": "0"}, {"total": 0.0}, {"total": None}, [], "x", {"total": -1}]
)
def test_counts_are_a_hint(counts):
    """That may be missing."""
    assert seen(request_counts=counts).total in (0, None)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (1795823100, 1795823100.0),
        ("1795823100", 1795823100.0),
        (1795823100123, 1795823100.123),
        ("2026-11-27T23:45:00Z", 1795823100.0),
        ("2026-11-27T23:45:00.000000+00:00", 1795823100.0),
        ("2026-11-27T23:45:00", 1795823100.0),
        ({"seconds": 1795823100, "nanos": 0}, 1795823100.0),
        ({"$date": "2026-11-27T23:45:00Z"}, 1795823100.0),
        (946656000000, None),
        (946656000, None),
        ("0001-01-01T00:00:00Z", None),
        (0, None),
        (-5, None),
        (None, None),
        (True, None),
        ("soon", None),
        (float("inf"), None),
        (float("nan"), None),
        ({}, None),
        ([], None),
    ],
)
def test_times(given, seconds):
    """Seconds, milliseconds or texts; the days that stand for "not yet" are none."""
    assert time_s(given) == seconds


def test_batches_of_other_vendors():
    """Their own names for the same things."""
    mistral = {
        "id": "u-1",
        "object": "batch",
        "input_files": ["f-1"],
        "metadata": {"batchgen_run": "k3f9"},
        "output_file": "o-1",
        "error_file": None,
        "errors": [],
        "status": "SUCCESS",
        "created_at": 1795823100,
        "total_requests": 3,
        "succeeded_requests": 2,
        "failed_requests": 1,
    }
    status = API.read_batch(shown(mistral))
    assert (status.phase, status.results, status.input_file) == ("ended", ("o-1",), "f-1")
    assert (status.total, status.completed, status.failed) == (3, 2, 1)
    together = {"job": {"id": "b-1", "status": "VALIDATING", "created_at": "2026-11-27T23:45:00Z"}, "warning": None}
    assert API.read_batch(shown(together)).id == "b-1"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            {"code": "token_limit_exceeded", "line": None,
             "message": "Enqueued token limit reached for m in organization o. Limit: 2,000,000 enqueued tokens."},
            BatchError("", queue_full=True, queue_limit=2_000_000, kind=FailureKind.RATE_LIMITED),
        ),
        (
            {"code": "token_limit_exceeded",
             "message": "The number of enqueued tokens has surpassed the configured limit of 30K for the deployment d"},
            BatchError("", queue_full=True, queue_limit=30_000, kind=FailureKind.RATE_LIMITED),
        ),
        (
            {"code": "invalid_request", "message": "Too many tokens enqueued, the maximum is 1.5M"},
            BatchError("", queue_full=True, queue_limit=1_500_000, kind=FailureKind.RATE_LIMITED),
        ),
        (
            {"message": "Too many active batch jobs, please wait"},
            BatchError("", queue_full=True, kind=FailureKind.RATE_LIMITED),
        ),
        ({"code": "too_many_tasks", "message": "6 lines"}, BatchError("", too_large=True, kind=FailureKind.TOO_LONG)),
        ({"code": "model_not_found", "message": "x"}, BatchError("", stops=True, kind=FailureKind.MODEL_UNAVAILABLE)),
        (
            {"code": "billing_hard_limit_reached", "message": "Billing hard limit has been reached"},
            BatchError("", stops=True, kind=FailureKind.ACCOUNT),
        ),
        ({"code": "Arrearage", "message": "account is overdue"}, BatchError("", stops=True, kind=FailureKind.ACCOUNT)),
        (
            "model m is not supported for batch processing",
            BatchError("", stops=True, kind=FailureKind.MODEL_UNAVAILABLE),
        ),
    ],
)  # fmt: skip
def test_why_a_batch_was_refused(error, expected):
    """A queue that is full takes nothing from the rows; what stops everything is told from both."""
    status = seen(status="failed", errors={"object": "list", "data": [error]})
    assert status.phase == "refused"
    assert msgspec.structs.replace(status.errors[0], message="", code=None) == expected
    assert status.errors[0].message


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("invalid_json_line", 7),
        ("duplicate_custom_id", 2),
        ("url_mismatch", 1),
        ("mismatched_model", None),
        ("empty_file", None),
    ],
)
def test_a_line_that_is_refused_is_named(code, line):
    """All that is wrong with it stands in the error; the others have lost nothing."""
    given = {"code": code, "message": "This line is wrong.", "param": None, "line": line}
    (error,) = seen(status="failed", errors={"data": [given]}).errors
    assert (error.code, error.line, error.queue_full, error.stops) == (code, line, False, False)


@pytest.mark.parametrize("errors", [None, [], {}, {"data": None}, {"object": "list", "data": []}])
def test_a_batch_that_failed_without_a_reason(errors):
    """Is refused all the same, and says that there is none."""
    status = seen(status="failed", errors=errors)
    assert status.phase == "refused"
    assert status.errors[0].message


def test_a_batch_that_ended_with_a_reason_alone():
    """As xAI writes it: no row ran, and why stands elsewhere. An expired one's rows are asked again."""
    said = "model x is not supported for batch processing"
    for name in ("cancel_by_xai_message", "cancel_by_vendor_message", "failure_reason"):
        status = seen(status="cancelled", **{name: said})
        assert (status.phase, status.errors[0].stops) == ("refused", True)
    assert seen(status="completed", status_message="Batch completed successfully").phase == "ended"
    assert seen(status="cancelled", errors=["something"], output_file_id="o").phase == "ended"
    assert seen(status="expired", errors=["too slow"]).phase == "ended"
    counts = {"total": 9, "completed": 7, "failed": 0}
    assert seen(status="failed", errors=["broke down"], request_counts=counts).phase == "ended"  # rows that are paid


# ---- refusals by HTTP status


def refusal(status, error, headers=None):
    return API.read_batch(Response(status, headers or {}, json.dumps({"error": error}).encode()))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"message": "Invalid file format for Batch API. Must be .jsonl", "type": "invalid_request_error"}),
        (422, {"message": "endpoint: wrong"}),
        (400, {"message": "The file is too large: maximum file size is 200 MB"}),
        (429, {"message": "Enqueued token limit reached. Limit: 90,000", "code": "token_limit_exceeded"}),
    ],
)
def test_a_refusal_when_a_batch_is_created(status, error):
    """Is final where the words or the status say so."""
    assert isinstance(refusal(status, error), BatchError)
    assert refusal(status, error).queue_full == (status == 429)


@pytest.mark.parametrize(
    ("status", "error", "verdict", "perhaps"),
    [
        (401, {"message": "Incorrect API key provided"}, Verdict.STOP, False),
        (429, {"message": "x", "code": "insufficient_quota"}, Verdict.STOP, False),
        (500, {"message": "Insufficient balance, please recharge."}, Verdict.STOP, False),
        (400, {"message": "completion_window must be one of 48h, 7d"}, Verdict.STOP, False),
        (422, {"message": "Invalid value.", "param": "endpoint"}, Verdict.STOP, False),
        (429, {"message": "You may create 2,000 batches per hour"}, Verdict.WAIT, True),
        (409, {"message": "conflict"}, Verdict.RETRY, True),
        (500, {"message": "x"}, Verdict.RETRY, True),
        (503, {"message": "x"}, Verdict.WAIT, True),
        (404, {"message": "No batch found with id 'b'"}, Verdict.STOP, False),
        (200, {"message": "no such batch", "type": "server_error"}, Verdict.RETRY, True),
    ],
)
def test_a_reply_that_tells_nothing_of_a_batch(status, error, verdict, perhaps):
    """May hide one that was created, unless its status or its words exclude it."""
    failure = refusal(status, error)
    assert isinstance(failure, Failure)
    assert (failure.verdict, failure.maybe_billed, failure.http_status) == (verdict, perhaps, status)


def test_the_line_that_is_at_fault_is_known_from_a_refusal_too():
    """Where the vendor reads the file before it answers."""
    error = {"message": "Line 7 is no JSON.", "type": "invalid_request_error", "code": "invalid_json", "line": 7}
    assert refusal(400, error).line == 7
    assert refusal(400, {"message": "Line 7 is no JSON.", "line": None}).line is None


def test_a_model_that_has_no_batches():
    """Is refused when the batch is created or after; either way it is the same refusal."""
    error = {"message": "The model does not exist or does not support the Batch API.", "code": "model_not_found"}
    for found in (refusal(404, error), seen(status="failed", errors=[error]).errors[0]):
        assert (found.stops, found.kind, found.code) == (True, FailureKind.MODEL_UNAVAILABLE, "model_not_found")


@pytest.mark.parametrize(
    "said",
    [
        "The file file-1 is not ready to be used.",
        "File file-1 is still being processed.",
        "Input file has not yet been processed",
    ],
)
def test_a_file_that_is_not_ready_yet(said):
    """Is no refusal: the batch is created later, and nothing was created now."""
    failure = refusal(400, {"message": said, "type": "invalid_request_error"})
    assert (failure.verdict, failure.maybe_billed) == (Verdict.RETRY, False)


def test_an_upload_that_is_refused():
    """For good, which all others would be too; but a smaller file may be taken."""
    wrong = API.read_file(shown({"error": {"message": "Invalid file format: must be .jsonl"}}, 400))
    large = API.read_file(shown({"error": {"message": "Payload too large"}}, 413))
    assert (wrong.verdict, wrong.kind) == (Verdict.STOP, FailureKind.INVALID_REQUEST)
    assert (large.verdict, large.kind) == (Verdict.FAIL, FailureKind.TOO_LONG)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"<html>", b"null", json.dumps(answer()).encode(), b'{"id":""}'])
@pytest.mark.parametrize("status", [200, 201, 302, 400, 404, 500])
def test_replies_that_are_none(body, status):
    """Every reader takes every body."""
    response = Response(status, {}, body)
    for read in (API.read_file, API.read_batch, API.read_page, opened("anthropic", max_tokens=1)[0].read_batch):
        assert isinstance(read(response), (Failure, BatchPage, BatchError, BatchStatus)) or body[:5] == b'{"id"'
    assert (API.refusal(response) is None) == (status < 300)


@given(
    st.dictionaries(
        st.sampled_from(["id", "status", "errors", "error", "request_counts", "created_at", "metadata", "input_files",
                         "output_file_id", "data", "has_more", "bytes", "filename", "value"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
            max_leaves=5,
        ),
    )
)  # fmt: skip
def test_no_reply_raises(value):
    """Whatever stands in it."""
    response = Response(200, {}, msgspec.json.encode({"id": "x"} | value))
    for read in (API.read_file, API.read_batch, API.read_page, opened("anthropic", max_tokens=1)[0].read_batch):
        read(response)


# ---- files and lists


def test_a_file_that_is_checked_first():
    """At Azure it may be used when it is processed; elsewhere at once."""
    azure, _ = opened("azure")
    for word, ready, failed in (
        ("pending", False, False),
        ("uploaded", False, False),
        ("Processed", True, False),
        ("error", False, True),
    ):
        file = azure.read_file(shown({"id": "f", "status": word, "status_details": "bad line", "bytes": 5}))
        assert (file.ready, file.failed is not None) == (ready, failed)
    assert API.read_file(shown({"id": "f", "status": "uploaded", "filename": "a", "bytes": "5"})).ready
    assert API.read_file(shown({"id": "f", "status": "error", "status_details": "bad line"})).failed == "bad line"


@pytest.mark.parametrize("name", ["data", "value", None])
def test_lists(name):
    """Under any name, newest first, with the call for what comes before."""
    items = [BATCH | {"id": "b-2"}, BATCH | {"id": "b-1"}]
    page = API.read_page(shown(items if name is None else {name: items, "has_more": True, "last_id": "b-1"}))
    assert [status.id for status in page.batches] == ["b-2", "b-1"]
    assert (page.next is None) == (name is None)
    if page.next is not None:
        assert page.next.url == "https://api.openai.com/v1/batches?limit=100&after=b-1"
    files = API.read_page(
        shown({"data": [{"id": "f", "object": "file", "filename": "n", "bytes": 5}], "has_more": True})
    )
    assert [(file.name, file.bytes) for file in files.files] == [("n", 5)]
    assert files.next.url.startswith("https://api.openai.com/v1/files?purpose=batch&")
    empty = API.read_page(shown({"data": []}))
    assert (len(empty.batches), len(empty.files), empty.next) == (0, 0, None)


def test_the_lists_of_other_vendors():
    """Some can be asked for one input file, some for a time."""
    assert "input_file_ids=f-1" in opened("dashscope")[0].list_batches(0.0, "f-1").url
    assert "created_after=2026-11-27T23%3A45%3A00Z" in opened("mistral")[0].list_batches(1795823100.0).url
    assert opened("together")[0].upload(Path("s"), "a.jsonl").url == f"{HOSTS['together']}/files/upload"


def test_whose_batch_it_is():
    """By its input file, which no two share; without one by its name."""
    mine = API.read_batch(shown(BATCH))
    assert API.is_of(mine, INTENT)
    assert not API.is_of(API.read_batch(shown(BATCH | {"input_file_id": "file-2"})), INTENT)
    nameless = {"id": "b", "status": "queued", "metadata": {}}
    assert not API.is_of(API.read_batch(shown(nameless)), INTENT)
    named = nameless | {
        "metadata": {"batchgen_run": "k3f9", "batchgen_part": "2", "batchgen_sha": "b1946ac9e0", "z": "1"}
    }
    assert API.is_of(API.read_batch(shown(named)), INTENT)
    assert not API.is_of(API.read_batch(shown(named)), msgspec.structs.replace(INTENT, part=3))
