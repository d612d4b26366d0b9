"""Every oddity does what it says, as often as it was told to; the books stay true."""

from __future__ import annotations

import json

import msgspec
import pytest

from batchgen.simulator import Settings
from batchgen.simulator.batches.oddities import Oddities
from batchgen.simulator.batches.oddity_names import BATCHES, CALLS, FILES, ODDITIES, ROWS
from tests.simulator.batches.conftest import chat_line

LINES = [chat_line(f"row-{i}") for i in range(40)]
TESTED = {"rest_left_out", "error_code_name", "range_ignored", "download_redirect"}  # in tests of their own


def cases(*rows):
    """Return test cases whose first value is an oddity, which then counts as tested."""
    TESTED.update(row[0] for row in rows)
    return pytest.mark.parametrize(("name", "expected"), rows)


def create_call(vendor, file_id):
    """Return the reply to the call that creates a batch."""
    asked = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return vendor.call("POST", "/batches", asked)


def raw_lines(vendor, batch, kind="output"):
    """Return the bytes of a result file."""
    return vendor.content(batch[f"{kind}_file_id"])


@cases(
    ("create_429", (429, None, 0)),
    ("create_500", (500, None, 0)),
    ("create_404", (404, None, 0)),
    ("create_refused", (404, None, 0)),
    ("create_lost", (200, "reset", 1)),
    ("create_cut", (200, "truncate", 1)),
    ("create_hang", (200, "hang", 1)),
    ("create_500_made", (500, None, 1)),
)
def test_odd_replies_to_a_create_call(vendor, name, expected):
    """Whether there is a batch afterwards is another matter than the reply. The second call meets nothing."""
    vendor = vendor(oddities=(f"{name}=1x",))
    file = vendor.upload(LINES)["id"]
    reply = create_call(vendor, file)
    assert (reply.status, reply.fault, len(vendor.get("/batches")["data"])) == expected
    assert vendor.get(f"/files/{file}")["id"] == file
    assert create_call(vendor, file).fault is None


@cases(
    ("upload_429", (429, None, 0)),
    ("upload_500", (500, None, 0)),
    ("upload_broken", (200, "reset", 0)),
    ("upload_lost", (200, "reset", 1)),
)
def test_odd_replies_to_an_upload(vendor, name, expected):
    """A file is stored or not, and nothing is left of one that is not."""
    vendor = vendor(oddities=(f"{name}=1x",))
    body = b'--q\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    body += b'--q\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}\n\r\n--q--\r\n'
    reply = vendor.call("POST", "/files", body, content_type="multipart/form-data; boundary=q")
    assert (reply.status, reply.fault, len(vendor.get("/files")["data"])) == expected
    assert not list(vendor.behaviour.desk.records.directory.glob("*.partial"))


@cases(
    ("retrieve_500", (500, None)),
    ("retrieve_html", (502, None)),
    ("retrieve_404", (404, None)),
    ("retrieve_cut", (200, "truncate")),
)
def test_odd_looks_at_a_batch(vendor, name, expected):
    """One look fails, the next is in order."""
    vendor = vendor()
    batch = vendor.create(LINES)
    vendor.behaviour.change(msgspec.structs.replace(vendor.behaviour.settings, oddities=(f"{name}=1x",)), 0)
    reply = vendor.call("GET", f"/batches/{batch['id']}")
    assert (reply.status, reply.fault) == expected
    assert vendor.later(batch)["status"] == "completed"


@cases(
    ("download_cut", (200, "reset_body", False, False, 1)),
    ("download_short", (200, "truncate", False, False, 1)),
    ("download_chunked_short", (200, None, True, False, 0.5)),
    ("download_gzip", (200, None, True, True, 1)),
    ("download_500", (500, None)),
    ("download_204", (204, None)),
    ("download_404", (404, None)),
)
def test_odd_downloads(vendor, name, expected):
    """Once; after that the whole file comes."""
    vendor = vendor(oddities=(f"{name}=1x",))
    batch = vendor.later(vendor.create(LINES))
    path = f"/files/{batch['output_file_id']}/content"
    reply = vendor.call("GET", path)
    if reply.file is None:
        assert (reply.status, reply.fault) == expected
    else:
        share = reply.file.size / vendor.get(f"/files/{batch['output_file_id']}")["bytes"]
        assert (reply.status, reply.fault, reply.file.chunked, reply.file.gzip) == expected[:4]
        assert share == pytest.approx(expected[4], abs=0.01)
    assert len(vendor.results(batch)[0]) == 40


@cases(
    ("cancel_409", (409, None, "in_progress")),
    ("cancel_500", (500, None, "in_progress")),
    ("cancel_lost", (200, "reset", "cancelling")),
    ("cancel_ignored", (200, None, "in_progress")),
    ("cancel_slow", (200, None, "cancelling")),
)
def test_odd_cancelling(vendor, name, expected):
    """What the reply says and what becomes of the batch."""
    vendor = vendor(oddities=(f"{name}=1x",))
    batch = vendor.create(LINES)
    vendor.now += 1800
    reply = vendor.call("POST", f"/batches/{batch['id']}/cancel")
    assert (reply.status, reply.fault, vendor.get(f"/batches/{batch['id']}")["status"]) == expected
    if name == "cancel_slow":
        assert vendor.later(batch, 5)["status"] == "cancelling"
        assert vendor.later(batch, 2)["status"] == "cancelled"


@cases(("delete_500", (500, None, 200)), ("delete_lost", (200, "reset", 404)))
def test_odd_deleting(vendor, name, expected):
    """Whether the file is gone is another matter than the reply."""
    vendor = vendor(oddities=(f"{name}=1x",))
    file = vendor.upload(LINES)["id"]
    reply = vendor.call("DELETE", f"/files/{file}")
    assert (reply.status, reply.fault, vendor.call("GET", f"/files/{file}").status) == expected


@cases(("list_500", None), ("list_value", None), ("retrieve_error", None), ("retrieve_stale", None))
def test_other_odd_replies(vendor, name, expected):
    """A list that fails or has another form, and looks at a batch that tell of an error or of the past."""
    vendor = vendor(oddities=(f"{name}=1x",))
    batch = vendor.create(LINES)
    if name == "list_500":
        assert vendor.call("GET", "/batches").status == 500
    elif name == "list_value":
        assert [listed["id"] for listed in vendor.get("/batches")["value"]] == [batch["id"]]
    elif name == "retrieve_error":
        assert {*vendor.get(f"/batches/{batch['id']}")} == {"error"}
    else:
        assert vendor.later(batch)["status"] == "in_progress"
        assert vendor.get(f"/batches/{batch['id']}")["status"] == "completed"
    assert len(vendor.get("/batches")["data"]) == 1


@cases(("list_oldest_first", [0, 1, 2]), ("list_repeats", [4, 3, 2]))
def test_lists_of_another_order(vendor, name, expected):
    """Three batches at a time, the oldest first; or the same page for ever."""
    vendor = vendor(oddities=(name,))
    made = [vendor.create(LINES)["id"] for _ in range(5)]
    page = vendor.get("/batches")
    shown = [made.index(listed["id"]) for listed in page["data"]]
    assert (len(shown), page["has_more"]) == (3, True)
    after = [listed["id"] for listed in vendor.get(f"/batches?after={page['last_id']}")["data"]]
    if name == "list_oldest_first":
        assert (shown, after) == (expected, made[3:])
    else:
        assert (shown, after) == (expected, [listed["id"] for listed in page["data"]])


@cases(("file_slow", "processed"), ("file_error", "error"), ("file_lag", "processed"))
def test_odd_files(vendor, name, expected):
    """A file that is not ready cannot be used, and one may be in no list for a while."""
    vendor = vendor("/openai/v1", oddities=(name,))
    file = vendor.upload(LINES)
    if name == "file_lag":
        assert vendor.get("/files")["data"] == []
    else:
        assert (file["status"], create_call(vendor, file["id"]).status) == ("pending", 400)
    vendor.now += 601
    assert vendor.get("/files")["data"][0]["status"] == expected
    assert (create_call(vendor, file["id"]).status == 200) is (expected == "processed")


@cases(
    ("long_validating", [("validating", 5.9), ("in_progress", 0.2), ("completed", 2)]),
    ("long_finalizing", [("finalizing", 1.5), ("finalizing", 5), ("completed", 1)]),
    ("slow", [("in_progress", 9), ("completed", 2)]),
    ("stuck", [("in_progress", 23.9), ("expired", 0.2)]),
    ("half_expired", [("in_progress", 23.9), ("expired", 0.2)]),
    ("half_cancelled", [("in_progress", 0.4), ("cancelled", 0.2)]),
    ("failed_tokens", [("validating", 0.01), ("failed", 0.1)]),
    ("failed_model", [("failed", 0.1)]),
    ("failed_billing", [("failed", 0.1)]),
    ("failed_bare", [("failed", 0.1)]),
    ("failed_lines", [("failed", 0.1)]),
    ("ended_empty", [("completed", 2)]),
    ("failed_with_rows", [("in_progress", 0.5), ("failed", 2)]),
    ("unknown_word", [("warming_up", 0.5), ("completed", 2)]),
    ("status_case", [("In_progress", 0.5), ("Completed", 2)]),
)
def test_odd_lives(vendor, name, expected):
    """The words at the virtual hours."""
    vendor = vendor(oddities=(name,))
    batch = vendor.create(LINES)
    for word, hours in expected:
        shown = vendor.later(batch, hours)
        assert shown["status"] == word
    output, errors = vendor.results(shown)
    billed = vendor.behaviour.told()["billed"]["requests"]
    if name.startswith("half"):
        assert 10 < len(output) < 30
        assert len(output) + len(errors) == 40
        assert shown["request_counts"] == {"total": 40, "completed": len(output), "failed": 0}
    elif name == "stuck":
        assert (len(output), len(errors)) == (0, 40)
    elif name.startswith("failed") and name != "failed_with_rows":
        assert not output
        assert (shown["errors"] is None) is (name == "failed_bare")
    elif name == "ended_empty":
        assert not output
        assert "not supported" in shown["cancel_by_vendor_message"]
    else:
        assert len(output) == 40
    assert billed == len(output)


@cases(
    ("counts_zero", {"request_counts": {"total": 0, "completed": 0, "failed": 0}}),
    ("counts_null", {"request_counts": None}),
    ("error_id_empty", {"error_file_id": ""}),
    ("metadata_null", {"metadata": None}),
    ("expires_null", {"expires_at": None}),
)
def test_odd_objects(vendor, name, expected):
    """A completed batch shows what no other shows."""
    vendor = vendor(oddities=(name,))
    batch = vendor.later(vendor.create(LINES, metadata={"a": "b"}))
    assert batch["status"] == "completed"
    assert {key: batch[key] for key in expected} == expected
    assert len(vendor.results(batch)[0]) == 40


@cases(("times_iso", str), ("times_ms", 1e12), ("times_placeholder", 946_656_000_000), ("counts_absent", None))
def test_odd_times_and_a_field_that_is_not_there(vendor, name, expected):
    """In all fields that end in `_at`."""
    vendor = vendor(oddities=(name,))
    batch = vendor.later(vendor.create(LINES))
    if name == "counts_absent":
        assert "request_counts" not in batch
    elif name == "times_iso":
        assert batch["completed_at"].startswith("2027-01-15T")
    else:
        assert batch["completed_at"] > 1e12
        assert batch["failed_at"] == (expected if name == "times_placeholder" else None)


@cases(("clock_ahead", 7200), ("clock_behind", -7200))
def test_clocks_of_vendors(vendor, name, expected):
    """All times of a batch are those of a clock of the vendor's own."""
    plain, odd = vendor(), vendor(oddities=(name,))
    right, shown = plain.later(plain.create(LINES)), odd.later(odd.create(LINES))
    assert {shown[at] - right[at] for at in ("created_at", "completed_at")} == {expected}


@cases(("output_id_late", None), ("output_id_early", None), ("list_lag", None), ("gone", None))
def test_odd_moments(vendor, name, expected):
    """Things are told too late or too early, or are gone."""
    vendor = vendor(oddities=(name,))
    batch = vendor.create(LINES)
    if name == "list_lag":
        assert vendor.get("/batches")["data"] == []
        vendor.now += 301
        assert len(vendor.get("/batches")["data"]) == 1
    elif name == "output_id_early":
        early = vendor.later(batch, 0.5)["output_file_id"]
        assert vendor.call("GET", f"/files/{early}/content").status == 404
        assert vendor.later(batch)["output_file_id"] != early
    elif name == "output_id_late":
        vendor.now += 3600 + 60 + 61
        shown = vendor.get(f"/batches/{batch['id']}")
        assert (shown["status"], shown["output_file_id"]) == ("completed", None)
        assert vendor.later(batch, 0.2)["output_file_id"]
    else:
        name = vendor.later(batch, 1.5)["output_file_id"]
        vendor.now += 24 * 3600
        for path in (f"/batches/{batch['id']}", f"/files/{name}/content"):
            assert vendor.call("GET", path).status == 404


@cases(
    ("bom", lambda text, plain: text == b"\xef\xbb\xbf" + plain),
    ("crlf", lambda text, plain: text == plain.replace(b"\n", b"\r\n")),
    ("blank_lines", lambda text, plain: text != plain and text.replace(b"\n\n", b"\n") == plain),
    ("one_array", lambda text, plain: json.loads(text) == [[json.loads(line) for line in plain.splitlines()]]),
    ("no_final_newline", lambda text, plain: text + b"\n" == plain),
    ("shuffled", lambda text, plain: text != plain and sorted(text.split(b"\n")) == sorted(plain.split(b"\n"))),
)
def test_odd_files_of_results(vendor, name, expected):
    """The same lines in a file of another form."""
    plain = vendor()
    plain = raw_lines(plain, plain.later(plain.create(LINES)))
    odd = vendor(oddities=(name,))
    text = raw_lines(odd, odd.later(odd.create(LINES)))
    assert expected(text, plain)


@cases(("one_file", None), ("error_file_empty", None), ("only_errors", None), ("credit_low", None), ("row_404", None))
def test_odd_places_of_errors(vendor, name, expected):
    """Failed rows in the output file, an empty error file, or nothing but errors, of which none is billed."""
    vendor = vendor(oddities=(name,))
    lines = [*LINES[:-1], chat_line("bad", temperature=9)] if name == "one_file" else LINES
    batch = vendor.later(vendor.create(lines))
    output, errors = vendor.results(batch)
    statuses = [line["response"]["status_code"] for line in (*output.values(), *errors.values())]
    if name == "one_file":
        assert (statuses.count(200), statuses.count(400), batch["error_file_id"]) == (39, 1, None)
    elif name == "error_file_empty":
        assert raw_lines(vendor, batch, "error") == b""
        assert vendor.get(f"/files/{batch['error_file_id']}")["bytes"] == 0
    elif name == "row_404":
        assert (statuses.count(200), statuses.count(404)) == (39, 1)
    else:
        assert (batch["status"], batch["output_file_id"], len(errors)) == ("completed", None, 40)
    assert vendor.behaviour.told()["billed"]["requests"] == statuses.count(200)


def test_the_rest_of_an_expired_batch_may_be_left_out(vendor):
    """It is in neither file."""
    vendor = vendor(oddities=("half_expired", "rest_left_out"))
    batch = vendor.later(vendor.create(LINES), 25)
    output, errors = vendor.results(batch)
    assert batch["status"] == "expired"
    assert 10 < len(output) < 30
    assert not errors


@cases(
    ("row_429", ("error", lambda line: line["response"]["status_code"] == 429, 0, 0)),
    ("row_500", ("error", lambda line: line["response"]["status_code"] == 500, 0, 0)),
    ("row_error_bare", ("error", lambda line: {*line["error"]} == {"type", "message"}, 0, 0)),
    ("row_error_text", ("error", lambda line: isinstance(line["error"], str), 0, 0)),
    ("body_string", ("output", lambda line: json.loads(line["response"]["body"])["choices"], 40, 0)),
    ("no_role", ("output", lambda line: "role" not in line["response"]["body"]["choices"][0]["message"], 40, 0)),
    (
        "row_starved",
        ("output", lambda line: line["response"]["body"]["choices"][0]["finish_reason"] == "length", 40, 0),
    ),
    ("line_separators", ("output", lambda line: line["response"]["request_id"].endswith("\u2028\u2029\x85"), 40, 0)),
)
def test_odd_rows(vendor, name, expected):
    """Every row is odd in the same way; only successful ones are billed."""
    kind, is_odd, billed, lost = expected
    vendor = vendor(oddities=(name,))
    batch = vendor.later(vendor.create(LINES))
    lines = [json.loads(line) for line in raw_lines(vendor, batch, kind).split(b"\n") if line]
    assert len(lines) == 40
    assert all(is_odd(line) for line in lines)
    told = vendor.behaviour.told()
    assert (told["billed"]["requests"], told["billed_lost"]["requests"]) == (billed, lost)


@cases(
    ("row_missing", 20),
    ("row_twice", 60),
    ("row_failed_first", 60),
    ("row_foreign", 60),
    ("row_no_id", 60),
    ("row_broken", 40),
)
def test_rows_that_are_not_there_or_too_often(vendor, name, expected):
    """A half of the rows, and the books tell what was bought and what of it nobody can read."""
    vendor = vendor(oddities=(f"{name}=0.5",))
    batch = vendor.later(vendor.create(LINES))
    lines = raw_lines(vendor, batch).split(b"\n")[:-1]
    assert abs(len(lines) - expected) < 10
    told = vendor.behaviour.told()
    if name == "row_missing":
        assert told["billed"]["requests"] == len(lines)
    elif name == "row_broken":
        assert told["billed_lost"]["requests"] == sum(not line.endswith(b"}") for line in lines) > 0
    else:
        assert told["billed"]["requests"] == 40
        named = [json.loads(line).get("custom_id") for line in lines]
        known = {line["custom_id"] for line in LINES}
        extra = [name for name in named if name not in known]
        every = len({*named}) == 40
        assert {"row_twice": every, "row_failed_first": every, "row_no_id": {*extra} == {None}}.get(
            name, len({*extra}) > 5
        )


def test_errors_with_other_names(vendor):
    """Of rows that failed, and of rows that were not executed."""
    vendor = vendor(oddities=("error_code_name", "half_expired"))
    lines = [chat_line(f"bad-{i}", temperature=9) for i in range(20)]
    _, errors = vendor.results(vendor.later(vendor.create(lines), 25))
    failed = [line for line in errors.values() if line["response"]]
    assert {line["response"]["body"]["error"]["error_message"] for line in failed}
    assert {line["error"]["error_code"] for line in errors.values() if not line["response"]} == {"batch_expired"}


def test_a_share_and_a_number_of_times():
    """A share is drawn anew for each, by its number; `Nx` are the first N."""
    half = Oddities(("row_500=0.5",), seed=1)
    met = [half.meets("row_500", number) for number in range(400)]
    assert 150 < sum(met) < 250
    assert met == [Oddities(("row_500=0.5",), seed=1).meets("row_500", number) for number in range(400)]
    first = Oddities(("create_lost=2x",), seed=1)
    assert [first.meets("create_lost", number) for number in range(4)] == [True, True, False, False]
    again = Oddities(("create_lost=2x",), seed=1, met=first.met)
    assert not again.meets("create_lost", 9)
    assert not Oddities((), seed=1).meets("create_lost", 1)


@pytest.mark.parametrize("entry", ["unheard_of", "row_500=2", "row_500=x", "row_500=-1", "row_500=1.5x"])
def test_entries_that_are_none(entry):
    """Are refused with a word on how to write them, or with all the names that there are."""
    with pytest.raises(ValueError, match=r"write NAME|no oddity"):
        Settings(oddities=(entry,))


def test_each_oddity_is_explained_and_tested():
    """In one place each."""
    assert len(ODDITIES) == sum(map(len, (CALLS, FILES, BATCHES, ROWS)))
    assert {*ODDITIES} == TESTED
