"""Several endpoints answer one job: which are left out, what results say, what it costs. Over real sockets."""

import json
import sys
from collections import Counter
from decimal import Decimal

import pyarrow.parquet as pq
import pytest

import batchgen
from batchgen.cli.messages import check_text, summary_text
from batchgen.cli.status_command import show_status
from batchgen.engine.reporter import Reporter
from batchgen.errors import JobError, UsageError
from batchgen.job.check import check_job
from batchgen.job.settings import Job
from batchgen.report.costs import read_costs
from batchgen.report.read import read_report
from batchgen.report.sections import report_text
from batchgen.simulator import Settings, start_in_thread
from tests.inputs import write_csv

KEYS = {"FIRST_KEY": "sk-first-0123456789abcdef", "SECOND_KEY": "sk-second-0123456789abcdef"}
PRICE = {"input": 2.0, "cached_input": 0.4, "output": 8.0, "currency": "USD"}
PATH = "/compatible-mode/v1"


class Notes(Reporter):
    """Keeps what is said, and whether an endpoint was ever left out."""

    def __init__(self):
        self.said, self.out = [], set()

    def note(self, text):
        self.said.append(text)

    def moved(self, standing):
        self.out.add(standing.left_out)


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    """The keys of two accounts."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def servers():
    """Start simulated providers; all end with the test."""
    opened = []

    def start(**settings):
        opened.append(start_in_thread(Settings(**settings)))
        return opened[-1]

    yield start
    for handle in opened:
        handle.close()


def job_of(tmp_path, servers, rows=60, endpoints=None, **tables):
    """Return a job whose endpoints are the servers; `endpoints` are further keys of each."""
    path = write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(rows)])
    model = {
        "provider": "openai",
        "name": "m",
        "api_key_env": "FIRST_KEY",
        "parameters": {"max_tokens": 1_000},
        "endpoints": [
            {"base_url": server.url + PATH, **more}
            for server, more in zip(servers, endpoints or [{}] * len(servers), strict=True)
        ],
    }
    return Job.from_dict(
        {
            "name": "several",
            "input": {"path": str(path)},
            "prompt": {"user": "{{ text }}"},
            "output": {"path": str(tmp_path / "out")},
            "pricing": {"models": {"m": PRICE}},
            **tables,
            "model": {**model, **tables.pop("model", {})},
        }
    )


def host(server):
    """What results call a server."""
    return server.url.removeprefix("http://")


def answered_by(job):
    """Count the rows of each endpoint."""
    return Counter(batchgen.read_results(job.output.path).column("endpoint").to_pylist())


def test_both_answer_and_the_books_say_who(tmp_path, servers):
    """Results, cost summary and summary agree with what each server has billed."""
    both = servers(latency_ms=20), servers(latency_ms=20)
    job = job_of(tmp_path, both)
    summary = batchgen.run(job)
    assert (summary.succeeded, summary.failed) == (60, 0)
    rows = answered_by(job)
    assert set(rows) == {host(one) for one in both}
    assert sum(rows.values()) == 60
    groups = pq.read_table(tmp_path / "out/cost_summary.parquet").to_pylist()
    for server, figures in zip(both, summary.endpoints, strict=True):
        billed = server.stats()["billed_delivered"]
        cost = (2 * Decimal(billed["input_tokens"]) + 8 * Decimal(billed["output_tokens"])) / 1_000_000
        assert figures["endpoint"] == host(server)
        assert figures["rows"] == rows[host(server)] == billed["requests"]
        assert figures["cost"] == cost == sum(g["cost"] for g in groups if g["endpoint"] == host(server))


def test_a_job_with_one_endpoint_has_no_such_column(tmp_path, servers):
    """And an input column may be called so."""
    job = job_of(tmp_path, [servers()], rows=2, model={"endpoints": []})
    job = Job.from_dict(job.to_dict() | {"model": job.to_dict()["model"] | {"base_url": servers().url + PATH}})
    path = write_csv(tmp_path / "in.csv", ["a", "b"]).read_text().replace("text", "endpoint")
    (tmp_path / "in.csv").write_text(path)
    table = job.to_dict() | {"prompt": {"user": "{{ endpoint }}"}}
    batchgen.run(Job.from_dict(table))
    assert batchgen.read_results(job.output.path).column("endpoint").to_pylist() == ["a", "b"]
    assert "endpoint" not in pq.read_table(tmp_path / "out/cost_summary.parquet").column_names


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"api_key": "sk-another-0123456789abcdef"}, "HTTP 401"),
        ({"models": ("another",)}, "HTTP 404"),
        ({"fatal_after": 0}, "HTTP"),
    ],
)
def test_one_that_refuses_for_good_is_left_out_and_said(tmp_path, servers, fault, said):
    """A wrong key, an unknown model, no balance: no row is lost, and few are asked there."""
    bad, good = servers(**fault), servers(latency_ms=5)
    job = job_of(tmp_path, [bad, good], limits={"concurrency": 8})
    notes = Notes()
    summary = batchgen.run(job, reporter=notes)
    assert (summary.state, summary.succeeded) == ("complete", 60)
    assert answered_by(job) == {host(good): 60}
    told = [text for text in notes.said if text.startswith(f"Endpoint {host(bad)} is left out")]
    assert len(told) == 1
    assert said in told[0]
    assert said in summary.endpoints[0]["left_out"]
    assert summary.endpoints[1]["left_out"] is None
    assert bad.stats()["requests"] <= 12
    assert any(host(bad) in (out or "") for out in notes.out)


def test_the_last_one_stops_the_run_as_the_only_one_does(tmp_path, servers):
    """With the remedy, and without a failed row."""
    both = servers(api_key="sk-another-0123456789abcdef"), servers(api_key="sk-another-0123456789abcdef")
    summary = batchgen.run(job_of(tmp_path, both))
    assert (summary.state, summary.failed, summary.pending) == ("stopped", 0, 60)
    assert "refused for good" in summary.error["message"]
    assert f"No endpoint was left: {host(both[0])}" in summary.error["message"] or host(both[1]) in str(summary.error)
    assert summary.error["remedy"]


def test_a_bad_row_is_not_asked_elsewhere(tmp_path, servers):
    """A 400 is the row's own fault."""
    both = servers(poison="row 7"), servers(poison="row 7")
    summary = batchgen.run(job_of(tmp_path, both, rows=9))
    assert (summary.succeeded, summary.failed) == (8, 1)
    assert sum(server.stats()["requests"] for server in both) == 9


def test_an_endpoint_that_is_not_there_does_not_stop_the_run(tmp_path, servers):
    """Nor does a login page in place of one."""
    gone = servers()
    gone.close()
    good = servers(latency_ms=5)
    summary = batchgen.run(job_of(tmp_path, [gone, good], rows=200))
    assert (summary.state, summary.succeeded) == ("complete", 200)
    assert summary.attempts <= 200 + 20


def test_each_key_goes_to_its_own_host_and_none_is_shown(tmp_path, servers):
    """Not in results, notes, `run.json` or the summary, though a server quotes it."""
    first = servers(api_key=KEYS["FIRST_KEY"], latency_ms=5)
    second = servers(api_key="sk-another-0123456789abcdef")
    job = job_of(tmp_path, [first, second], endpoints=[{}, {"api_key_env": "SECOND_KEY"}])
    notes = Notes()
    summary = batchgen.run(job, reporter=notes)
    assert (summary.succeeded, summary.refused) == (60, 0)
    assert first.stats()["errors"]["total"] == 0
    kept = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    for text in (kept, summary.to_json(), "\n".join(notes.said).encode()):
        for key in KEYS.values():
            assert key[:20].encode() not in text


def test_own_model_names_and_prices(tmp_path, servers):
    """Each is asked for its own name and priced by it; a budget counts the dearest."""
    both = servers(latency_ms=5, models=("m",)), servers(latency_ms=5, models=("n",))
    prices = {"m": PRICE, "n": PRICE | {"input": 20.0, "output": 80.0}}
    own = [{"concurrency": 1}, {"name": "n"}]
    limits = {"concurrency": 4, "budget": 1.0}
    job = job_of(tmp_path, both, endpoints=own, limits=limits, pricing={"models": prices})
    summary = batchgen.run(job)
    assert summary.succeeded == 60
    for server, figures, factor in zip(both, summary.endpoints, (1, 10), strict=True):
        billed = server.stats()["billed_delivered"]
        assert billed["requests"]
        cost = factor * (2 * Decimal(billed["input_tokens"]) + 8 * Decimal(billed["output_tokens"])) / 1_000_000
        assert figures["cost"] == cost


def test_an_update_takes_the_answers_of_all_endpoints(tmp_path, servers):
    """Also of one that was asked for another model's name; nothing is paid twice."""
    both = servers(latency_ms=5), servers(latency_ms=5)
    job = job_of(tmp_path, both, endpoints=[{"concurrency": 2}, {"name": "n", "concurrency": 2}])
    batchgen.run(job)
    write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(70)])
    summary = batchgen.run(job, update=True)
    assert (summary.reused, summary.succeeded) == (60, 70)
    assert sum(server.stats()["requests"] for server in both) == 70


def test_the_same_request_has_the_same_key_at_every_endpoint(tmp_path, servers):
    """The key of the job with one endpoint, whichever that is."""
    one, two = servers(), servers()
    several = job_of(tmp_path, [one, two], rows=6)
    batchgen.run(several)
    table = several.to_dict()
    table["model"] |= {"base_url": two.url + PATH}
    del table["model"]["endpoints"]
    summary = batchgen.run(Job.from_dict(table), update=True)
    assert (summary.reused, summary.succeeded) == (6, 6)


def test_endpoints_may_change_between_two_runs(tmp_path, servers):
    """The run goes on with those that are named now."""
    slow = servers(latency_ms=5), servers(latency_ms=5)
    job = job_of(tmp_path, slow, limits={"max_failed": 1}, rows=30)
    batchgen.run(job, only={1, 2})
    more = servers(latency_ms=5)
    summary = batchgen.run(job_of(tmp_path, (slow[1], more), rows=30))
    assert (summary.state, summary.succeeded) == ("complete", 30)


@pytest.mark.parametrize(
    ("endpoints", "said"),
    [
        ([{"base_url": "ftp://x"}, {}], "model.endpoints, number 1"),
        ([{}, {"api_key_env": "UNSET_KEY"}], "model.endpoints, number 2"),
        ([{}, {"region": "beijing"}], "pricing.currency"),
        ([{"wieght": 2}, {}], "model.endpoints.weight"),
        ([{}, {"weight": -1}], "weight"),
        ([{"weight": 0}, {"weight": 0}], "every weight is 0"),
    ],
)
def test_what_is_wrong_with_an_endpoint_is_said_before_anything_is_sent(tmp_path, servers, endpoints, said):
    """By its number and key."""
    job = job_of(tmp_path, [servers()], rows=2).to_dict()
    job["model"]["name"] = "qwen-plus"
    job["pricing"] = {}
    base = {"base_url": "https://dashscope-intl.aliyuncs.com" + PATH}
    job["model"]["endpoints"] = [base | one for one in endpoints]
    with pytest.raises((JobError, UsageError), match=said):
        batchgen.run(Job.from_dict(job))


def test_check_names_all_of_them(tmp_path, servers):
    """And shows the first request as it is sent to the first."""
    both = servers(), servers()
    prices = {"m": PRICE, "n": PRICE | {"input": 20.0}}
    checked = check_job(job_of(tmp_path, both, rows=2, endpoints=[{}, {"name": "n"}], pricing={"models": prices}))
    assert all(server.url in checked.endpoint for server in both)
    assert "***" in json.dumps(checked.requests[0].headers)
    assert [(one.endpoint, one.model, one.lane) for one in checked.endpoints] == [
        (host(both[0]), "m", "live"),
        (host(both[1]), "n", "live"),
    ]
    lines = [line for line in check_text(checked).splitlines() if line.startswith("endpoint ")]
    assert ["2 in" in lines[0], "20 in" in lines[1]] == [True, True]


def test_the_report_divides_rows_and_cost_by_endpoint(tmp_path, servers):
    """Its table says who answered; that of a job with one endpoint has no such column."""
    both = servers(latency_ms=20), servers(latency_ms=20)
    job = job_of(tmp_path, both)
    summary = batchgen.run(job)
    for summed_up in (True, False):
        if not summed_up:
            (tmp_path / "out/cost_summary.parquet").unlink()  # then the parts are read
        report = read_report(tmp_path / "out")
        costs = {}
        for line in report.lines:
            costs[line.endpoint] = costs.get(line.endpoint, 0) + line.cost
        assert costs == {one["endpoint"]: one["cost"] for one in summary.endpoints}
        assert all(host(server) in report_text(report) for server in both)


def test_cost_and_status_are_told_by_endpoint(tmp_path, servers, capsys):
    """Each with its own model, prices and key; an endpoint that left the job keeps what it cost."""
    both = servers(latency_ms=5), servers(latency_ms=5)
    prices = {"m": PRICE, "n": PRICE | {"input": 20.0, "output": 80.0}}
    own = [{"concurrency": 2}, {"name": "n", "api_key_env": "SECOND_KEY", "concurrency": 2}]
    job = job_of(tmp_path, both, endpoints=own, pricing={"models": prices})
    batchgen.run(job, only=set(range(20)))
    left, third = both[0], servers(latency_ms=5)
    job = job_of(tmp_path, [both[1], third], endpoints=[own[1], {}], pricing={"models": prices})
    job = Job.from_dict(job.to_dict() | {"model": job.to_dict()["model"] | {"name": "m"}})
    summary = batchgen.run(job)
    assert (summary.state, summary.succeeded) == ("complete", 60)
    assert [one["endpoint"] for one in summary.endpoints] == [host(both[1]), host(third), host(left)]
    assert sum(one["rows"] for one in summary.endpoints) == 60
    costs = read_costs([tmp_path / "out"], by=["endpoint", "model", "key"])
    told = {line.endpoint: (line.model, line.key, line.cost) for line in costs.lines}
    by_name = {one["endpoint"]: one["cost"] for one in summary.endpoints}
    assert told == {
        host(left): ("m", "FIRST_KEY", by_name[host(left)]),
        host(both[1]): ("n", "SECOND_KEY", by_name[host(both[1])]),
        host(third): ("m", "FIRST_KEY", by_name[host(third)]),
    }
    assert sum(line.cost for line in costs.lines) == summary.cost
    anew = read_costs([tmp_path / "out"], by=["endpoint"], changed={"pricing.factor": 0.5})
    assert {line.endpoint: line.cost for line in anew.lines} == {name: cost / 2 for name, cost in by_name.items()}
    show_status([str(tmp_path / "out")], as_json=False, watch=False, file=sys.stdout)
    assert capsys.readouterr().out.count("\nendpoint ") == 3
    again = batchgen.run(job)
    assert again.endpoints == summary.endpoints
    assert "requests" in summary_text(again)


def test_status_says_which_endpoint_is_left_out(tmp_path, servers, capsys):
    """With the reason."""
    bad, good = servers(api_key="sk-another-0123456789abcdef"), servers(latency_ms=5)
    job = job_of(tmp_path, [bad, good], limits={"concurrency": 8})
    batchgen.run(job)
    show_status([str(tmp_path / "out")], as_json=False, watch=False, file=sys.stdout)
    out = " ".join(capsys.readouterr().out.split())
    assert f"endpoint {host(bad)} (0 rows" in out
    assert "left out: HTTP 401" in out


def test_one_of_two_may_be_left_between_two_runs(tmp_path, servers):
    """The run goes on with the one, whose rows still say who answered."""
    both = servers(latency_ms=5), servers(latency_ms=5)
    batchgen.run(job_of(tmp_path, both, rows=30), only=set(range(10)))
    summary = batchgen.run(job_of(tmp_path, both[1:], rows=30))
    assert (summary.state, summary.succeeded) == ("complete", 30)
    assert answered_by(job_of(tmp_path, both[1:], rows=30))[host(both[1])] >= 20
    assert None not in answered_by(job_of(tmp_path, both[1:], rows=30))


def test_endpoints_of_two_wire_formats(tmp_path, servers, monkeypatch):
    """DashScope's own form beside chat completions: each is asked in its own, and the answers are alike."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-native-0123456789abcdef")
    native, chat = servers(latency_ms=5), servers(latency_ms=5)
    job = job_of(tmp_path, [native, chat], endpoints=[{"provider": "dashscope", "base_url": native.url}, {}])
    summary = batchgen.run(job)
    assert (summary.succeeded, summary.failed) == (60, 0)
    assert all(one["rows"] for one in summary.endpoints)
    assert [one["api_key_env"] for one in summary.endpoints] == ["", "FIRST_KEY"]
    for server, one in zip((native, chat), summary.endpoints, strict=True):
        assert server.stats()["billed_delivered"]["requests"] == one["rows"]


def test_what_stops_the_run_names_every_endpoint(tmp_path, servers):
    """Each has its own reason; nothing is said to go on where nothing does."""
    three = servers(api_key="sk-another-0123456789abcdef"), servers(models=("x",)), servers(fatal_after=3)
    notes = Notes()
    summary = batchgen.run(job_of(tmp_path, three, limits={"concurrency": 4}), reporter=notes)
    assert (summary.state, summary.failed) == ("stopped", 0)
    assert "No endpoint was left" in summary.error["message"]
    assert f"{host(three[0])} (HTTP 401" in summary.error["message"]


def test_endpoints_that_are_all_down_are_all_named(tmp_path, servers):
    """The last one is not said to be helped by others."""
    both = servers(), servers()
    for server in both:
        server.close()
    notes = Notes()
    limits = {"startup_wait_s": 4, "stalled_s": 4}
    summary = batchgen.run(job_of(tmp_path, both, rows=5, limits=limits), reporter=notes)
    assert (summary.state, summary.pending) == ("stopped", 5)
    assert all(host(server) in summary.error["message"] for server in both)
    assert not any("the others go on" in text for text in notes.said)


def test_a_wait_of_an_hour_at_one_keeps_nobody(tmp_path, servers):
    """It is left out for so long; its rows are asked at the other, now."""
    asks, good = servers(rpm=1, retry_after="seconds", retry_after_s=3600), servers(latency_ms=5)
    job = job_of(tmp_path, [asks, good])
    notes = Notes()
    summary = batchgen.run(job, reporter=notes)
    assert (summary.state, summary.succeeded) == ("complete", 60)
    assert summary.wall_s < 20
    assert any("3,600 s" in text for text in notes.said)


def test_repairs_and_votes_go_on_where_one_endpoint_ends(tmp_path, servers):
    """A row's turns may be answered by several; its cost is that of all of them."""
    ends, good = servers(latency_ms=5, fatal_after=40), servers(latency_ms=5)
    prices = {"m": PRICE, "n": PRICE | {"input": 20.0, "output": 80.0}}
    labels = {"labels": ["red", "green", "blue"], "votes": 3, "confidence": "votes"}
    job = job_of(
        tmp_path,
        [ends, good],
        endpoints=[{}, {"name": "n"}],
        pricing={"models": prices},
        response=labels,
        limits={"concurrency": 8},
    )
    summary = batchgen.run(job)
    assert (summary.state, summary.succeeded, summary.failed) == ("complete", 60, 0)
    billed = [server.stats()["billed_delivered"] for server in (ends, good)]
    cost = [(2 * Decimal(one["input_tokens"]) + 8 * Decimal(one["output_tokens"])) / 1_000_000 for one in billed]
    assert summary.cost == cost[0] + 10 * cost[1]
    assert summary.input_tokens == sum(one["input_tokens"] for one in billed)
