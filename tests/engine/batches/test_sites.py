"""Batches at several endpoints: where files go, what a refusal does, and that each is collected where it was made."""

from collections import Counter
from decimal import Decimal

import pytest

import batchgen
from batchgen.engine.batches import sites
from batchgen.engine.batches.sites import BatchSites
from batchgen.engine.reporter import Reporter
from batchgen.errors import JobError
from batchgen.job.batch_job import read_batch_job
from batchgen.job.settings import Job
from batchgen.simulator import Settings, start_in_thread
from tests.engine.batches.conftest import PRICE, price_of
from tests.inputs import write_csv

KEYS = {"FIRST_KEY": "sk-first-0123456789abcdef", "SECOND_KEY": "sk-second-0123456789abcdef"}


class Notes(Reporter):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def note(self, text):
        self.said.append(text)


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    """The keys of two accounts."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def servers(tmp_path):
    """Start simulated vendors whose batches take half a second; all end with the test."""
    opened = []

    def start(**settings):
        place = tmp_path / f"vendor-{len(opened)}"
        opened.append(start_in_thread(Settings(batch_speed=7200, batch_sigma=0, **settings), directory=place))
        return opened[-1]

    yield start
    for handle in opened:
        handle.close()


def several(tmp_path, servers, rows=40, own=None, **tables):
    """Return a job in the lane of batches whose endpoints are the servers; `own` are further keys of each."""
    path = write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(rows)])
    endpoints = [
        {"base_url": server.url + "/v1", **more}
        for server, more in zip(servers, own or [{}] * len(servers), strict=True)
    ]
    model = {"provider": "openai", "name": "m", "api_key_env": "FIRST_KEY", "lane": "batch", "endpoints": endpoints}
    return Job.from_dict(
        {
            "name": "several",
            "input": {"path": str(path), "dedupe": False},
            "prompt": {"user": "{{ text }}"},
            "model": {**model, "parameters": {"max_tokens": 30}},
            "output": {"path": str(tmp_path / "out")},
            "batch": {"poll_s": 0.02, "rows": 10, **tables.pop("batch", {})},
            "pricing": {"models": {"m": PRICE}},
            **tables,
        }
    )


def hand_in(tmp_path, servers, **more):
    """Hand everything in and look at nothing: the batches are open when this returns."""
    done = batchgen.run(
        several(tmp_path, servers, batch={"poll_s": 60, "queued_tokens": 1_000_000}, **more), mode="detach"
    )
    assert done.state == "handed in"


def host(server):
    """What results call a server."""
    return server.url.removeprefix("http://")


def answered_by(job):
    """Count the rows of each endpoint."""
    return Counter(batchgen.read_results(job.output.path).column("endpoint").to_pylist())


def handed_in(server):
    """Return how many batches a server was given."""
    return len(server.stats().get("batches", ()))


def test_files_are_divided_and_the_books_say_who(tmp_path, servers):
    """Of equally cheap endpoints each gets files by its weight; rows and cost of each are those of its vendor."""
    both = servers(), servers()
    job = several(tmp_path, both, rows=60, own=[{}, {"weight": 2}])
    done = batchgen.run(job)
    assert (done.state, done.succeeded, done.attempts) == ("complete", 60, 60)
    assert answered_by(job) == {host(both[0]): 20, host(both[1]): 40}
    for server, figures in zip(both, done.endpoints, strict=True):
        billed = server.stats()["billed_delivered"]
        assert (figures["endpoint"], figures["rows"]) == (host(server), billed["requests"])
        assert figures["cost"] == price_of(billed)
    assert {batch.endpoint for batch in done.batches} == {host(server) for server in both}
    assert not list((tmp_path / "out").glob("batch-*"))


def test_the_cheaper_one_gets_the_files_as_long_as_its_queue_has_room(tmp_path, servers):
    """Its price is that of its own model's batches."""
    dear, cheap = servers(), servers()
    prices = {"m": PRICE, "n": PRICE | {"input": 1.0, "output": 1.0}}
    job = several(tmp_path, (dear, cheap), own=[{}, {"name": "n"}], pricing={"models": prices})
    done = batchgen.run(job)
    assert done.succeeded == 40
    assert answered_by(job) == {host(cheap): 40}
    tokens = cheap.stats()["billed_delivered"]
    assert done.cost == Decimal("0.5") * (tokens["input_tokens"] + tokens["output_tokens"]) / 1_000_000


def test_a_full_queue_sends_its_rows_to_the_next_endpoint(tmp_path, servers):
    """Also to a dearer one; no row is asked twice and none waits a day."""
    cheap, dear = servers(), servers()
    prices = {"m": PRICE | {"input": 1.0}, "n": PRICE}
    job = several(
        tmp_path, (cheap, dear), own=[{}, {"name": "n"}], pricing={"models": prices}, batch={"queued_tokens": 500}
    )
    done = batchgen.run(job)
    assert (done.state, done.succeeded) == ("complete", 40)
    rows = answered_by(job)
    assert min(rows[host(cheap)], rows[host(dear)]) >= 10
    assert sum(server.stats()["billed"]["requests"] for server in (cheap, dear)) == 40


@pytest.mark.parametrize(
    "fault",
    [
        {"api_key": "sk-another-0123456789abcdef"},
        {"models": ("another",)},
        {"oddities": ("create_refused",)},
        {"oddities": ("failed_billing",)},
        {"oddities": ("failed_model",)},
        {"oddities": ("credit_low",)},
    ],
    ids=["key", "model", "create", "balance", "model later", "every row"],
)
def test_one_that_refuses_sends_its_rows_to_another(tmp_path, servers, fault):
    """It is left out with the vendor's reason, which is said once."""
    bad, good = servers(**fault), servers()
    job = several(tmp_path, [bad, good])
    notes = Notes()
    done = batchgen.run(job, reporter=notes)
    assert (done.state, done.succeeded, done.failed) == ("complete", 40, 0), done.error
    assert answered_by(job) == {host(good): 40}
    told = [text for text in notes.said if text.startswith(f"Endpoint {host(bad)} gets no more rows")]
    assert len(told) == 1
    assert done.endpoints[0]["left_out"]
    assert done.endpoints[1]["left_out"] is None
    assert good.stats()["billed"]["requests"] == 40
    assert handed_in(bad) <= 3


@pytest.mark.parametrize("fault", [{"oddities": ("upload_500",)}, {"oddities": ("create_500",)}, None])
def test_one_that_fails_every_call_sends_its_rows_to_another(tmp_path, servers, fault, monkeypatch):
    """Or that is not there at all; a file that nobody has taken is not waited for."""
    monkeypatch.setattr("batchgen.engine.batches.handing_in.SOON_S", 0.01)
    bad, good = servers(**(fault or {})), servers()
    job = several(tmp_path, [bad, good])
    if fault is None:
        bad.close()
    done = batchgen.run(job)
    assert (done.state, done.succeeded, done.failed) == ("complete", 40, 0), done.error
    assert answered_by(job) == {host(good): 40}


def test_all_refuse(tmp_path, servers):
    """The run stops with the reasons of all of them and every row pending."""
    wrong = {"api_key": "sk-another-0123456789abcdef"}
    both = servers(**wrong), servers(**wrong)
    done = batchgen.run(several(tmp_path, both))
    assert (done.state, done.failed, done.pending) == ("stopped", 0, 40)
    assert all(host(server) in done.error["message"] for server in both)


def test_what_is_open_is_collected_where_it_was_made(tmp_path, servers):
    """Handed in by one process, collected by the next: nothing is bought twice."""
    both = servers(), servers()
    job = several(tmp_path, both)
    hand_in(tmp_path, both)
    assert [handed_in(server) for server in both] == [2, 2]
    done = batchgen.run(job)
    assert (done.state, done.succeeded) == ("complete", 40)
    assert [server.stats()["billed"]["requests"] for server in both] == [20, 20]


def test_cancelling_ends_the_batches_of_all_endpoints(tmp_path, servers):
    """By the job that is kept in the output directory."""
    both = servers(oddities=("stuck",)), servers(oddities=("stuck",))
    batchgen.run(several(tmp_path, both), mode="detach")
    done = batchgen.run(read_batch_job(tmp_path / "out"), mode="cancel")
    assert (done.state, done.pending) == ("stopped", 40)
    assert [batch.state for batch in done.batches] == ["cleaned"] * 4
    assert all(batch["status"] == "cancelled" for server in both for batch in server.stats()["batches"])


def test_an_endpoint_with_open_batches_cannot_be_left_out_of_the_job(tmp_path, servers):
    """Its rows would be paid again; another one may come, and names that change with it do not matter."""
    both = servers(), servers()
    hand_in(tmp_path, both)
    third = servers()
    with pytest.raises(JobError, match="batch 1 of this run is open at"):
        batchgen.run(several(tmp_path, (both[1], third)))
    with pytest.raises(JobError, match="open at"):
        batchgen.run(several(tmp_path, both, own=[{"api_key_env": "SECOND_KEY"}, {}]))
    more = (*both, both[0])
    done = batchgen.run(several(tmp_path, more, own=[{}, {}, {"api_key_env": "SECOND_KEY"}]))
    assert (done.state, done.succeeded) == ("complete", 40)
    assert sum(server.stats()["billed"]["requests"] for server in both) == 40


def test_open_batches_of_a_key_that_was_revoked_wait_for_it(tmp_path, servers):
    """The others go on to their end; then the run stops, and the rows are collected when the key is valid again."""
    shut, good = servers(), servers()
    job = several(tmp_path, (shut, good))
    hand_in(tmp_path, (shut, good))
    shut.change(api_key="sk-another-0123456789abcdef")
    done = batchgen.run(job)
    assert (done.state, done.succeeded, done.pending) == ("stopped", 20, 20)
    assert host(shut) in done.error["message"]
    assert "collects them" in done.error["remedy"]
    shut.change(api_key=None)
    done = batchgen.run(job)
    assert (done.state, done.succeeded) == ("complete", 40)
    assert [server.stats()["billed"]["requests"] for server in (shut, good)] == [20, 20]


def test_a_live_rest_is_asked_at_all_endpoints(tmp_path, servers):
    """Also at one whose own lane is live, which gets no batch."""
    slow, live = servers(oddities=("stuck",)), servers()
    batch = {"poll_s": 0.02, "deadline": "2s", "rows": 100}
    job = several(tmp_path, (slow, live), own=[{}, {"lane": "live"}], batch=batch)
    done = batchgen.run(job)
    assert (done.state, done.succeeded) == ("complete", 40)
    assert set(answered_by(job)) == {host(slow), host(live)}
    assert handed_in(live) == 0
    assert {batch.endpoint for batch in done.batches} == {host(slow)}


def test_a_budget_counts_what_each_endpoint_costs(tmp_path, servers):
    """Rows that leave a cheap endpoint have to fit at the dear one; what does not fit stays pending."""
    cheap, dear = servers(oddities=("failed_billing",)), servers()
    prices = {"m": PRICE | {"input": 0.1, "output": 0.1}, "n": PRICE | {"input": 20.0, "output": 80.0}}
    own = [{}, {"name": "n"}]
    limits = {"budget": 0.02}
    done = batchgen.run(several(tmp_path, (cheap, dear), own=own, pricing={"models": prices}, limits=limits))
    assert done.state == "stopped"
    assert done.error["kind"] == "BudgetStop"
    assert 0 < done.succeeded < 40
    assert done.succeeded + done.pending == 40
    assert done.cost <= Decimal("0.02")
    rest = batchgen.run(several(tmp_path, (cheap, dear), own=own, pricing={"models": prices}, limits={"budget": 1.0}))
    assert (rest.state, rest.succeeded) == ("complete", 40)
    assert dear.stats()["billed"]["requests"] == 40


def test_one_that_was_left_out_is_tried_again_with_a_single_file(tmp_path, servers, monkeypatch):
    """It takes its share again once that was taken."""
    monkeypatch.setattr(sites, "OUT_S", 0.3)
    back, good = servers(oddities=("failed_billing=1x",)), servers()
    job = several(tmp_path, (back, good), rows=200)
    notes = Notes()
    done = batchgen.run(job, reporter=notes)
    assert (done.state, done.succeeded) == ("complete", 200)
    assert answered_by(job)[host(back)] > 0
    assert any("takes batches again" in text for text in notes.said)


class _Room:
    def __init__(self, most):
        self.most = most

    def has_room(self, model, ahead, tokens):
        return ahead + tokens <= self.most


class _Requests:
    model = "m"


class _Site:
    """What is chosen by."""

    requests = _Requests()
    on_trial = False

    def __init__(self, place, price, room=100, weight=1.0, out=None, retry_s=0.0):
        self.place, self.identity, self.name, self.out, self.retry_s = place, f"s{place}", f"s{place}", out, retry_s
        self.price, self.weight, self.planned, self.room = Decimal(price), weight, 0, _Room(room)


@pytest.mark.parametrize(
    ("offered", "waiting", "chosen"),
    [
        ([_Site(0, 2), _Site(1, 1)], {}, 1),
        ([_Site(0, 2), _Site(1, 1, room=5)], {}, 0),
        ([_Site(0, 2), _Site(1, 1, room=15)], {1: 10}, 0),
        ([_Site(0, 2, room=5), _Site(1, 1, room=5)], {}, 1),
        ([_Site(0, 1, weight=0), _Site(1, 2)], {}, 1),
        ([_Site(0, 1, weight=0), _Site(1, 2, out="no balance", retry_s=99)], {}, 0),
        ([_Site(0, 1, out="no balance", retry_s=99), _Site(1, 2)], {}, 1),
        ([_Site(0, 1, out="no balance", retry_s=5), _Site(1, 2)], {}, 0),
        ([_Site(0, 1, out="on trial", retry_s=0), _Site(1, 2)], {}, 1),
    ],
)
def test_the_choice(offered, waiting, chosen):
    """The cheapest that takes rows and has room; a spare and one that is left out only where there is no other."""
    choice = BatchSites(offered, lambda: 10.0, lambda text: None)
    assert choice.choose(waiting, 8).place == chosen
