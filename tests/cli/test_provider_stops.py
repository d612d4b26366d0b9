"""Whole runs against servers that refuse: what is one row's, what is everybody's, what passes by itself."""

import itertools
import socket
import threading
import time

import pytest

from tests.cli.conftest import results_of
from tests.cli.test_any_server import server
from tests.inputs import write_csv

OK = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]}
OK["usage"] = {"prompt_tokens": 4, "completion_tokens": 1, "total_tokens": 5}


def says(message, **more):
    """The body of an error."""
    return {"error": {"message": message, **more}}


def text_of(body):
    """What a row asks."""
    return body["messages"][-1]["content"]


def when(bad, status, document):
    """Refuse the rows whose text has this word in it."""
    return lambda handler, body: (status, document) if bad in text_of(body) else (200, OK)


def after(good, status, document):
    """Answer so many requests, then refuse everything."""
    counter = itertools.count()
    return lambda handler, body: (200, OK) if next(counter) < good else (status, document)


@pytest.fixture
def run(command, job, tmp_path):
    """Run a job over rows with these texts against a server; return exit code, summary and what the server saw."""

    def once(reply, texts, *settings):
        with server(reply) as (url, heads):
            file = job(write_csv(tmp_path / "in.csv", texts), f"{url}/v1", provider="openai")
            code, summary = command.summary(file, *settings)
        return code, summary, heads

    return once


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (403, says("This request was stopped by policy 17.")),
        (402, says("Your plan does not cover this request.")),
        (404, says("No file behind this link.")),
        (405, {}),
        (400, says("The picture cannot be read.")),
    ],
)
@pytest.mark.parametrize("place", [0, 4, 29])
def test_one_rows_refusal_is_that_rows(run, tmp_path, status, document, place):
    """At the beginning, in the middle and at the end: all others are answered, it fails with its own words.

    It is asked once more where the status may be that of one server or key of several behind the address.
    """
    texts = [f"row {n}" + (" bad" if n == place else "") for n in range(30)]
    code, summary, heads = run(when("bad", status, document), texts)
    assert (code, summary["succeeded"], summary["failed"]) == (1, 29, 1)
    assert len(heads) == (30 if status == 400 else 31)
    rows, _ = results_of(tmp_path / "out")
    assert [(row["row_id"], row["http_status"]) for row in rows if row["status"] == "failed"] == [(str(place), status)]


def test_many_scattered_refusals_are_their_rows(run):
    """Every fourth row is blocked at once while answers take their time."""

    def reply(handler, body):
        if "bad" in text_of(body):
            return 403, says("blocked")
        time.sleep(0.1)
        return 200, OK

    texts = [f"row {n}" + (" bad" if n % 4 == 1 else "") for n in range(400)]
    code, summary, _ = run(reply, texts)
    assert (code, summary["succeeded"], summary["failed"]) == (1, 300, 100)


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (403, says("No funds left.")),
        (402, {}),
        (412, says("qwx 7")),
        (400, says("plan ended", code="plan_ended")),
    ],
)
@pytest.mark.parametrize("good", [0, 5])
def test_what_no_row_can_survive_stops_in_any_words(run, status, document, good):
    """From the first request on, or in mid-run: exit 3 soon, the words shown, the rows pending."""
    code, summary, heads = run(after(good, status, document), [f"row {n}" for n in range(600)])
    assert code == 3
    assert len(heads) <= 250
    assert summary["succeeded"] == good
    assert summary["failed"] == 0
    assert summary["pending"] == 600 - good
    assert next(iter(document.values()), {"message": "HTTP 402"})["message"] in summary["error"]["message"]


def test_a_few_rows_and_a_wrong_parameter(run):
    """A small job stops as well: its rows are pending and not failed."""
    refusal = says("Unrecognized argument: top_z", type="invalid_request_error", param="top_z")
    code, summary, _ = run(lambda handler, body: (400, refusal), [f"row {n}" for n in range(6)])
    assert (code, summary["pending"], summary["failed"]) == (3, 6, 0)
    assert "top_z" in summary["error"]["message"]


def test_a_stop_on_404_names_the_address(run):
    """So that a wrong base_url is seen."""
    code, summary, heads = run(lambda handler, body: (404, {}), ["a", "b", "c"])
    assert (code, summary["pending"]) == (3, 3)
    assert f"{heads[0][0]} " in summary["error"]["message"]


def test_after_a_stop_the_same_command_goes_on(run, tmp_path):
    """What was held back is asked again."""
    texts = [f"row {n}" for n in range(50)]
    code, summary, _ = run(after(7, 429, says("Insufficient balance")), texts)
    assert (code, summary["succeeded"], summary["failed"]) == (3, 7, 0)


def test_a_server_that_fails_from_the_start_stops_the_run_in_time(run):
    """It is told what the last error was, and the limit that stopped it is named."""
    started = time.monotonic()
    code, summary, heads = run(
        lambda handler, body: (500, says("engine down")),
        [f"r {n}" for n in range(90)],
        "--set",
        "limits.startup_wait_s=2",
    )
    assert time.monotonic() - started < 15
    assert (code, summary["pending"]) == (3, 90)
    assert "engine down" in summary["error"]["message"]
    assert "limits.startup_wait_s" in summary["error"]["message"]
    assert len(heads) < 90


def test_a_server_that_dies_in_mid_run_stops_the_run_in_time(run):
    """The bar does not freeze for ever."""
    code, summary, _ = run(
        after(20, 500, says("engine down")), [f"r {n}" for n in range(300)], "--set", "limits.stalled_s=2"
    )
    assert (code, summary["succeeded"], summary["failed"], summary["pending"]) == (3, 20, 0, 280)
    assert "engine down" in summary["error"]["message"]


def test_the_run_waits_while_a_model_is_loaded_and_says_so(command, job, tmp_path):
    """503 until it was seen to wait, then answers; the last error is in `status` and `report` meanwhile."""
    loaded = threading.Event()

    def reply(handler, body):
        return (200, OK) if loaded.is_set() else (503, says("Loading model"))

    with server(reply) as (url, _):
        file = job(write_csv(tmp_path / "in.csv", ["a", "b"]), f"{url}/v1", provider="openai")
        process = command.start("run", file, "--no-progress")
        said = next(line for line in process.stderr if "waits" in line)
        shown = ""
        while process.poll() is None and "last error" not in shown:
            shown = command("status", "out").stdout
        reported = command("report", "out").stdout
        loaded.set()
        out, err = process.communicate(timeout=90)
    assert process.returncode == 0, out + err
    assert "Loading model" in said
    assert "Loading model" in shown
    assert "Loading model" in reported


def test_the_run_waits_for_a_server_that_is_not_there_yet(command, job, tmp_path):
    """A refused connection is waited for, for `limits.startup_wait_s`; then the host is named."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = job(write_csv(tmp_path / "in.csv", ["a", "b"]), f"http://127.0.0.1:{port}/v1", provider="openai")
    process = command.start("run", file, "--no-progress")
    assert any("waits" in line for line in process.stderr)
    with server(lambda handler, body: (200, OK), port) as _:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    code, summary = command.summary(file, "--fresh", "--set", "limits.startup_wait_s=1")
    assert (code, summary["pending"]) == (3, 2)
    assert f"127.0.0.1:{port}" in summary["error"]["message"]


@pytest.mark.parametrize(("setting", "most"), [("10", 40), ("0.2", 60)])
def test_the_user_says_how_many_rows_may_fail(run, setting, most):
    """A count, or a share of the rows so far; the same command does not go on until it is raised."""
    texts = [f"row {n}" + (" bad" if n % 2 else "") for n in range(400)]
    settings = ("--set", f"limits.max_failed={setting}", "--set", "limits.concurrency=4")
    code, summary, _ = run(when("bad", 400, says("no")), texts, *settings)
    assert code == 3
    assert summary["error"]["kind"] == "FailuresStop"
    assert "limits.max_failed" in summary["error"]["message"]
    assert int(float(setting) if float(setting) > 1 else 100 * float(setting)) <= summary["failed"] < 200
    assert summary["pending"] > 0


def test_rows_that_fail_alike_of_themselves_are_told_early(command, job, tmp_path):
    """Answers without a label: said after twenty; the run goes on, as nothing says that it should not."""
    more = '\n[response]\nlabels = ["a", "b"]\nmax_repairs = 0\n'
    with server(lambda handler, body: (200, OK)) as (url, _):
        file = job(
            write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(60)]), f"{url}/v1", provider="openai", more=more
        )
        done = command("run", file, "--no-progress")
    assert done.returncode == 1
    assert "The last 20 rows all failed with invalid_output" in done.stderr


def test_one_unlucky_duplicate_does_not_fail_the_others(run):
    """Rows that ask the same: when the first has used up its tries, the next is asked."""
    counter = itertools.count()

    def reply(handler, body):
        unlucky = text_of(body) == "same" and next(counter) < 2
        return (500, says("bad luck")) if unlucky else (200, OK)

    settings = ("--set", "input.dedupe=true", "--set", "retry.max_attempts=1", "--set", "limits.concurrency=1")
    code, summary, heads = run(reply, ["same"] * 5 + ["other"], *settings)
    assert (code, summary["succeeded"], summary["failed"]) == (1, 4, 2)
    assert len(heads) == 4
