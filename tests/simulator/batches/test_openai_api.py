"""Files and batches in OpenAI's form: their objects, refusals, lists, and results that are the same as live."""

from __future__ import annotations

import json

import pytest

from batchgen.simulator import expected_answer
from batchgen.simulator.batches.books import billed_rows
from tests.simulator.batches.conftest import BASES, chat_line

LINES = [chat_line(f"row-{i}") for i in range(40)]


@pytest.mark.parametrize("base", BASES)
def test_a_batch_from_the_upload_to_its_results(vendor, base):
    """Each state comes after the other, every row gets the answer that it gets live, and all of it is billed."""
    vendor = vendor(base)
    batch = vendor.create(LINES, metadata={"part": "1"})
    assert (batch["status"], batch["request_counts"]["total"]) == ("validating", 0)
    assert vendor.later(batch, 0.5)["request_counts"] == {"total": 40, "completed": 19, "failed": 0}
    assert vendor.later(batch, 0.52)["status"] == "finalizing"
    batch = vendor.later(batch)
    assert (batch["status"], batch["metadata"]) == ("completed", {"part": "1"})
    assert batch["created_at"] < batch["in_progress_at"] < batch["finalizing_at"] < batch["completed_at"]
    assert batch["request_counts"] == {"total": 40, "completed": 40, "failed": 0}
    output, errors = vendor.results(batch)
    assert not errors
    for line in LINES:
        body = output[line["custom_id"]]["response"]["body"]
        assert body["choices"][0]["message"]["content"] == expected_answer(line["body"]["messages"])
    told = vendor.behaviour.told()
    usage = [line["response"]["body"]["usage"] for line in output.values()]
    billed = {
        "requests": 40,
        "input_tokens": sum(u["prompt_tokens"] for u in usage),
        "output_tokens": sum(u["completion_tokens"] for u in usage),
    }
    assert told["billed"] == told["billed_lanes"]["batch"] == told["batches"][0]["billed"] == billed
    rows = billed_rows(vendor.behaviour.desk)
    assert sum(row.output_tokens for row in rows) == billed["output_tokens"]
    assert {row.custom_id for row in rows} == {*output}


def test_failed_rows_are_in_the_error_file_and_are_not_billed(vendor):
    """A body that the model refuses is the row's own failure, with the status and the error of a live call."""
    vendor = vendor()
    batch = vendor.create([chat_line("good"), chat_line("bad", temperature=9)])
    batch = vendor.later(batch)
    output, errors = vendor.results(batch)
    assert {*output}, {*errors} == ({"good"}, {"bad"})
    told = errors["bad"]
    assert (told["response"]["status_code"], told["error"]) == (400, None)
    assert told["response"]["body"]["error"]["param"] == "temperature"
    assert vendor.behaviour.told()["billed"]["requests"] == 1
    assert batch["request_counts"] == {"total": 2, "completed": 1, "failed": 1}


@pytest.mark.parametrize(
    ("lines", "code", "line"),
    [
        (b"", "empty_file", None),
        (b'{"custom_id":"a"', "invalid_json_line", 1),
        (b'\xef\xbb\xbf{"custom_id":"a"}\n', "invalid_json_line", 1),
        (b'{"custom_id":"a"}\n', "missing_required_parameter", 1),
        ([chat_line("a"), chat_line("a")], "duplicate_custom_id", 2),
        ([chat_line("a"), chat_line("b", model="other")], "mismatched_model", 2),
        ([chat_line("a") | {"url": "/v1/embeddings"}], "url_mismatch", 1),
        ([chat_line("a", model="unheard-of")], "model_not_found", None),
    ],
)
def test_a_file_that_is_wrong_lets_the_batch_fail(vendor, lines, code, line):
    """It is accepted, and refused as a whole while it is validated."""
    vendor = vendor(models=("qwen-plus", "other"))
    batch = vendor.create(lines)
    assert batch["status"] == "validating"
    batch = vendor.later(batch)
    assert (batch["status"], batch["output_file_id"]) == ("failed", None)
    assert [(error["code"], error["line"]) for error in batch["errors"]["data"]] == [(code, line)]
    assert not vendor.behaviour.told()["billed"]["requests"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"completion_window": "12h"}, 400),
        ({"endpoint": "/v1/embeddings"}, 400),
        ({"metadata": {"a": 1}}, 400),
        ({"metadata": {str(i): "x" for i in range(17)}}, 400),
        ({"input_file_id": ""}, 400),
    ],
)
def test_a_wrong_create_call_is_refused_at_once(vendor, fields, status):
    """With the vendor's error, and no batch is left."""
    vendor = vendor()
    asked = {
        "input_file_id": vendor.upload(LINES)["id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    assert vendor.call("POST", "/batches", asked | fields).status == status
    assert vendor.get("/batches")["data"] == []


def test_wrong_uploads_are_refused(vendor):
    """The name, the purpose and the form are checked."""
    vendor = vendor()
    assert "Must be .jsonl" in vendor.upload(LINES, name="rows.txt")["error"]["message"]
    assert vendor.upload(LINES, purpose="")["error"]["param"] == "purpose"
    assert vendor.call("POST", "/files", b"{}").status == 400
    cut = b'--q\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}'
    assert vendor.call("POST", "/files", cut, content_type="multipart/form-data; boundary=q").status == 400
    assert vendor.get("/files")["data"] == []


def test_another_key_sees_nothing(vendor):
    """Files and batches belong to an account; a wrong key is refused."""
    vendor = vendor()
    batch = vendor.create(LINES)
    vendor.key = "another"
    assert vendor.get("/batches")["data"] == vendor.get("/files")["data"] == []
    for path in (f"/batches/{batch['id']}", f"/files/{batch['input_file_id']}"):
        assert vendor.call("GET", path).status == 404
    assert vendor.call("POST", f"/batches/{batch['id']}/cancel").status == 404
    vendor.key = ""
    assert vendor.call("GET", "/batches").status == 401


def test_lists_are_pages_newest_first(vendor):
    """`after` leads to the next page, `has_more` says whether there is one."""
    vendor = vendor()
    made = [vendor.create(LINES)["id"] for _ in range(5)]
    first = vendor.get("/batches?limit=2")
    assert [batch["id"] for batch in first["data"]] == [made[4], made[3]]
    assert first["has_more"]
    rest = vendor.get(f"/batches?limit=3&after={first['last_id']}")
    assert [batch["id"] for batch in rest["data"]] == made[2::-1]
    assert not rest["has_more"]
    assert len(vendor.get("/files?purpose=batch")["data"]) == 5
    assert vendor.call("GET", "/batches?limit=0").status == 400


def test_compatible_mode_finds_batches_by_their_files_and_names(vendor):
    """The filters that help to find a batch whose create reply was lost."""
    vendor = vendor("/compatible-mode/v1")
    one, two = (vendor.create(LINES, metadata={"ds_name": name}) for name in ("run 1/2", "run 2/2"))
    for query in (f"input_file_ids={one['input_file_id']},x", "ds_name=1/2"):
        assert [batch["id"] for batch in vendor.get(f"/batches?{query}")["data"]] == [one["id"]]
    vendor.later(two)
    assert len(vendor.get("/batches?status=completed")["data"]) == 2
    assert vendor.get("/batches?create_after=20990101000000")["data"] == []


def test_a_batch_fails_if_its_file_is_deleted_before_it_is_read(vendor):
    """So that a batch nobody knows of can be made harmless."""
    vendor = vendor()
    batch = vendor.create(LINES)
    vendor.call("DELETE", f"/files/{batch['input_file_id']}")
    batch = vendor.later(batch)
    assert (batch["status"], batch["errors"]["data"][0]["code"]) == ("failed", "invalid_request")


def test_a_deleted_file_is_gone_but_its_batch_goes_on(vendor):
    """The input of a batch that runs may be deleted; it is used to its end."""
    vendor = vendor()
    batch = vendor.create(LINES)
    name = vendor.later(batch, 0.1)["input_file_id"]
    assert json.loads(vendor.call("DELETE", f"/files/{name}").body)["deleted"]
    assert vendor.call("GET", f"/files/{name}").status == 404
    assert len(vendor.results(vendor.later(batch))[0]) == 40
    assert not vendor.behaviour.desk.records.path(name).exists()


def test_creating_is_limited_by_the_hour(vendor):
    """Beyond the limit 429, and again a batch when the hour is over."""
    vendor = vendor(batch_creates=2)
    assert [vendor.create(LINES).get("status") for _ in range(3)] == ["validating", "validating", None]
    assert vendor.create(LINES)["error"]["code"] == "rate_limit_exceeded"
    vendor.now += 3601
    assert vendor.create(LINES)["status"] == "validating"


def test_the_queue_limit_is_told_by_a_refusal_only(vendor):
    """Tokens count until a batch has ended, for each model; the refused batch names the limit."""
    vendor = vendor(queued_tokens=700)
    first, second = vendor.create(LINES), vendor.create(LINES)
    other = vendor.create([chat_line(f"row-{i}", model="qwen-max") for i in range(40)])
    vendor.now += 120
    assert vendor.get(f"/batches/{first['id']}")["status"] == "in_progress"
    assert vendor.get(f"/batches/{other['id']}")["status"] == "in_progress"
    refused = vendor.get(f"/batches/{second['id']}")
    assert refused["status"] == "failed"
    assert refused["errors"]["data"][0]["code"] == "token_limit_exceeded"
    assert "Limit: 700 enqueued" in refused["errors"]["data"][0]["message"]
    assert vendor.later(first)["status"] == "completed"
    assert vendor.later(vendor.create(LINES))["status"] == "completed"


def test_the_free_model_answers_always_the_same(vendor):
    """DashScope's model for trials: its own endpoint, a fixed answer, nothing billed, two at a time, 100 lines."""
    vendor = vendor("/compatible-mode/v1", models=("qwen-plus",))
    lines = [chat_line(f"row-{i}", model="batch-test-model") | {"url": "/v1/chat/ds-test"} for i in range(101)]
    asked = {"endpoint": "/v1/chat/ds-test"}
    batch, too_long = vendor.create(lines[:100], **asked), vendor.create(lines, **asked)
    assert vendor.create(lines, **asked)["error"]
    output, _ = vendor.results(vendor.later(batch))
    body = output["row-7"]["response"]["body"]
    assert body["choices"][0]["message"]["content"] == "This is a test result."
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (20, 6)
    assert vendor.get(f"/batches/{too_long['id']}")["status"] == "failed"
    assert not vendor.behaviour.told()["billed"]["requests"]
