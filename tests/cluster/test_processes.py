"""Workers as processes: real commands, real sockets, workers that are killed, suspended or cannot begin."""

import os
import signal
from contextlib import closing

import psutil
import pytest

from batchgen.simulator import Settings, start_in_thread
from tests.cluster.runs import KEY, Runs, workers_of
from tests.waiting import wait_until

ROWS = 150
THREE = "[engine]\nworkers = 3"
SECOND_KEY = "sk-of-the-second-5c20aa"
TWO = """
[[model.endpoints]]
[[model.endpoints]]
base_url = "{url}/compatible-mode/v1"
api_key_env = "SECOND_TEST_KEY"
"""


@pytest.fixture
def runs(tmp_path):
    """Make runs in this test's directory; whatever they started is ended."""
    made = []

    def make(rows=ROWS, more=THREE, **settings):
        made.append(Runs(tmp_path, rows, more=more, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def ready(process, number):
    """Wait until a run has so many workers; return them."""
    wait_until(lambda: len(workers_of(process)) >= number, 60)
    return workers_of(process)


def test_workers_bring_the_same_results_as_one_process(runs, tmp_path):
    """Only who sends the requests differs: rows, answers, tokens and costs are equal."""
    run = runs()
    code, summary, _ = run.run()
    assert (code, summary["succeeded"]) == (0, ROWS)
    by_workers = run.results()
    billed = run.served()["billed"]
    run.job.write_text(run.job.read_text().replace(THREE, ""))
    assert run.run("--fresh")[0] == 0
    alone = run.results()
    same = ("row_id", "status", "completion", "finish_reason", "input_tokens", "output_tokens", "cost")
    assert [[row[name] for name in same] for row in by_workers] == [[row[name] for name in same] for row in alone]
    assert run.served()["billed"]["input_tokens"] == 2 * billed["input_tokens"]


def test_a_killed_worker_costs_what_it_had_and_another_takes_its_place(runs):
    """No row is lost, and what may have been billed is counted as such."""
    run = runs(latency_ms=150)  # so that the run is not over before another worker is there
    process = run.start("--set", "limits.concurrency=12")
    first = ready(process, 3)
    run.answered(30)
    first[0].kill()
    wait_until(lambda: any(worker.pid not in {one.pid for one in first} for worker in workers_of(process)))
    code, summary, said = run.end(process)
    assert (code, summary["succeeded"], summary["failed"]) == (0, ROWS, 0)
    assert "was lost" in said
    assert "signal 9" in said
    assert summary["possibly_billed"]["requests"] <= 12
    assert run.books_agree(summary)


@pytest.mark.slow
def test_a_suspended_worker_is_given_up_and_what_it_says_later_is_not_heard(runs, monkeypatch):
    """A worker that gives no sign of life is replaced; every row has one answer.

    Answers take long until all three have sent something: one that has not begun yet, or the end of the run, would meet
    no rows that are lost with it.
    """
    run = runs(latency_ms=2_000)
    process = run.start("--set", "limits.concurrency=12")
    workers = ready(process, 3)
    wait_until(lambda: all(worker.net_connections("tcp4") for worker in workers), 60)
    suspended = workers[1]
    suspended.send_signal(signal.SIGSTOP)
    run.simulator.change(latency_ms=60)
    code, summary, said = run.end(process)
    assert (code, summary["succeeded"]) == (0, ROWS)
    assert "nothing was heard of it" in said
    assert not suspended.is_running()
    assert len({row["row_id"] for row in run.results()}) == ROWS


def test_the_workers_end_with_a_driver_that_is_killed_and_the_run_goes_on(runs):
    """Nobody is left behind, and only what was in flight is asked twice, with what came within a commit's time."""
    run = runs(latency_ms=200)  # the twelve that came before the last twelve are committed, on a busy machine too
    process = run.start("--set", "limits.concurrency=12")
    left = ready(process, 3)
    run.answered(60)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(left, timeout=20)
    assert not alive
    code, summary, _ = run.run("--set", "limits.concurrency=12")
    assert (code, summary["succeeded"]) == (0, ROWS)
    assert run.served()["requests"] <= ROWS + 12 + 12  # in flight at the kill, and answered but not committed


def test_an_interrupt_keeps_what_is_in_flight(runs):
    """Ctrl-C reaches the driver alone: it sends nothing more and takes the answers that are on their way."""
    run = runs(latency_ms=100)
    process = run.start("--set", "limits.concurrency=12")
    ready(process, 3)
    run.answered(30)
    os.kill(process.pid, signal.SIGINT)
    code, summary, _ = run.end(process)
    assert code == 130
    assert summary["succeeded"] == run.served()["requests"]
    assert run.run()[1]["succeeded"] == ROWS
    assert run.served()["requests"] == ROWS


def test_workers_of_another_version_are_refused(runs, tmp_path):
    """The run stops with the reason, its rows pending, and nothing is sent."""
    run = runs()
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'batchgen.cluster.worker' in ' '.join(sys.orig_argv):\n"
        "    import batchgen.version\n"
        "    batchgen.version.__version__ = '0.0.0'\n"
    )
    code, summary, said = run.run(path=tmp_path)
    assert (code, summary["pending"]) == (3, ROWS)
    assert "it has batchgen 0.0.0" in said
    assert run.served()["requests"] == 0


def test_workers_that_cannot_begin_stop_the_run(runs, tmp_path):
    """Not for ever started again: the run ends with what is known, its rows pending."""
    run = runs()
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'batchgen.cluster.worker' in ' '.join(sys.orig_argv):\n    os._exit(7)\n"
    )
    code, summary, said = run.run(path=tmp_path)
    assert (code, summary["pending"]) == (3, ROWS)
    assert "ended with exit code 7" in said
    assert run.served()["requests"] == 0


def test_large_replies_wait_for_room_and_arrive_whole(runs, tmp_path):
    """Prompts of 200 KB, and answers larger than what a worker may hand over unasked, here 1,000 bytes."""
    run = runs(rows=24, text="x" * 200_000, answer_tokens=2_000)
    run.job.write_text(run.job.read_text().replace("max_tokens = 64", "max_tokens = 6000"))
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'batchgen.cluster.worker' in ' '.join(sys.orig_argv):\n"
        "    import batchgen.transport.reply_memory\n"
        "    batchgen.transport.reply_memory.SMALL_BYTES = 1000\n"
    )
    code, summary, _ = run.run(path=tmp_path)
    assert (code, summary["succeeded"]) == (0, 24)
    assert max(len(row["completion"]) for row in run.results()) > 5_000
    assert run.books_agree(summary)


def test_all_workers_share_one_pace(runs):
    """A limit is met by all together, not by each."""
    run = runs(rows=300, rpm=6_000, more=f"[limits]\nrequests_per_minute = 6000\n{THREE}")
    code, summary, _ = run.run()
    assert (code, summary["succeeded"]) == (0, 300)
    assert run.served()["requests"] <= 303


def test_the_key_is_in_no_argument_and_no_environment_but_its_own(runs):
    """Workers of this machine get it over their pipe."""
    run = runs(latency_ms=60)
    process = run.start("--set", "limits.concurrency=12")
    workers = ready(process, 3)
    assert all(KEY not in " ".join(worker.cmdline()) for worker in workers)
    assert run.end(process)[0] == 0


def test_a_wrong_key_is_told_as_without_workers(runs):
    """The provider's refusal stops the run with its rows pending."""
    run = runs()
    code, summary, said = run.run(key="sk-another-key-0123456789")
    assert (code, summary["pending"]) == (3, ROWS)
    assert "sk-another-key-0123456789" not in said + str(summary)


def test_closing_is_clean_without_any_row(runs):
    """An empty input starts workers and ends them."""
    run = runs(rows=0)
    with closing(run):
        code, summary, _ = run.run()
    assert (code, summary["rows"]) == (0, 0)


@pytest.fixture
def second():
    """Another provider, which wants another key."""
    handle = start_in_thread(Settings(seed=3, api_key=SECOND_KEY, latency_ms=20))
    yield handle
    handle.close()


def test_workers_ask_several_endpoints_each_with_its_own_key(runs, second, monkeypatch):
    """What each has answered is in the books; a worker that is killed in the middle costs what it had."""
    monkeypatch.setenv("SECOND_TEST_KEY", SECOND_KEY)
    run = runs(more=f"{TWO.format(url=second.url)}{THREE}", latency_ms=20)
    process = run.start("--set", "limits.concurrency=12")
    workers = ready(process, 3)
    run.answered(20)
    workers[0].kill()
    code, summary, said = run.end(process)
    assert (code, summary["succeeded"]) == (0, ROWS), said
    assert [one["failed"] for one in summary["endpoints"]] == [one["possibly_billed"] for one in summary["endpoints"]]
    for figures, stats in zip(summary["endpoints"], (run.served(), second.stats()), strict=True):
        assert figures["rows"] > 0
        assert not stats["errors"]["total"]
        assert 0 <= stats["requests"] - figures["rows"] <= figures["possibly_billed"]


def test_an_endpoint_that_refuses_the_workers_is_left_out(runs, second, monkeypatch):
    """As in one process; neither key is said."""
    monkeypatch.setenv("SECOND_TEST_KEY", "sk-which-it-does-not-know-19")
    run = runs(more=f"{TWO.format(url=second.url)}{THREE}", latency_ms=5)
    code, summary, said = run.run()
    assert (code, summary["succeeded"]) == (0, ROWS), said
    assert summary["endpoints"][0]["rows"] == ROWS
    assert "HTTP 401" in summary["endpoints"][1]["left_out"]
    assert "sk-which" not in said
