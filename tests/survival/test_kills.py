"""SIGKILL, SIGTERM and SIGINT at random moments: every row once, right, in order, seldom paid twice."""

import random
import signal
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchgen.results.committed import read_results
from tests.attachments.making import noise, pdf
from tests.inputs import write_csv
from tests.survival.harness import assert_whole, durable_rows, killed_after, killed_when
from tests.waiting import wait_until

IN_FLIGHT = 64


@pytest.mark.parametrize(("seed", "kills"), [(1, 10), pytest.param(2, 100, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_kills_from_start_to_end(spare, simulator, job, tmp_path, record_property, seed, kills):
    """After each kill what is lost is within the bound; after the last one the output is whole."""
    server = simulator(latency_ms=30, latency_sigma=0.5, error_500=0.02, reset=0.01)
    chance = random.Random(seed)
    texts = [f"row {n}" for n in range(max(10_600, kills * 350))]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=IN_FLIGHT)
    worst = 0
    lost_before = 0
    for kill in range(kills):
        before = server.stats()
        recent = killed_after(spare.start("run", path, "--no-progress"), server, chance.uniform(0, 0.9))
        after = server.stats()
        # Answered but not stored: by this kill, or by an earlier one and not asked again yet.
        lost = after["prompts_answered"] - durable_rows(tmp_path / "out", tmp_path)
        paid_again = after["prompts_answered_again"] - before["prompts_answered_again"]
        by_this_kill = lost - lost_before + paid_again
        bound = IN_FLIGHT + recent
        assert by_this_kill <= bound, f"kill {kill}: {by_this_kill} answers lost, bound {bound}"
        worst = max(worst, by_this_kill)
        lost_before = max(0, lost)
    code, summary = spare.run(path)
    assert (code, summary["state"], summary["succeeded"]) == (0, "complete", len(texts))
    assert_whole(tmp_path / "out", texts)
    record_property("most answers lost by one kill", worst)
    print(f"{kills} kills: at most {worst} answers lost by one, {server.stats()['prompts_answered_again']} paid again")


def some_time_after(run, answers, seconds):
    """Return whether, given the answers served, so many seconds have passed since the last, or since the run's end."""
    since = []

    def ready(served):
        if served >= answers or not run.running:
            since.append(time.monotonic())
        return bool(since) and time.monotonic() >= since[0] + seconds

    return ready


@pytest.mark.parametrize(("seed", "kills"), [(3, 6), pytest.param(4, 60, marks=pytest.mark.slow)])
def test_kills_round_the_end(spare, simulator, job, tmp_path, seed, kills):
    """Short runs killed round the moment when part, cost summary and run.json are written."""
    server = simulator(latency_ms=5)
    chance = random.Random(seed)
    texts = [f"row {n}" for n in range(150)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=IN_FLIGHT)
    for kill in range(kills):
        server.reset_stats()
        out = tmp_path / f"out-{kill}"
        run = spare.start("run", path, "--no-progress", "--output", out)
        recent = killed_when(run, server, some_time_after(run, len(texts), chance.uniform(0, 0.12)))
        code, summary = spare.run(path, "--output", out)
        assert (code, summary["state"], summary["succeeded"]) == (0, "complete", len(texts))
        assert server.stats()["prompts_answered_again"] <= IN_FLIGHT + recent
        assert_whole(out, texts)


@pytest.mark.parametrize(("seed", "rows"), [(7, 32), pytest.param(8, 160, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
def test_kills_amid_votes(spare, simulator, job, tmp_path, seed, rows):
    """A row of fifteen samples keeps the finished ones: each kill costs what was in flight, not the rows' turns."""
    votes, in_flight = 15, 16
    server = simulator(latency_ms=100, latency_sigma=0.3)
    chance = random.Random(seed)
    texts = [f"{n} is red" for n in range(rows)]
    more = f'[response]\nlabels = ["red", "blue"]\nvotes = {votes}\nconfidence = "votes"\n'
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=in_flight, more=more)
    bound, kills = 0, 0
    while server.stats()["served"] < (votes - 4) * rows:
        run = spare.start("run", path, "--no-progress")
        served = server.stats()["served"]
        wait_until(lambda served=served: server.stats()["served"] >= served + in_flight)
        bound += in_flight + killed_after(run, server, chance.uniform(0.3, 0.9))
        kills += 1
    code, summary = spare.run(path)
    assert (code, summary["succeeded"]) == (0, rows)
    table = read_results(tmp_path / "out")
    assert {label["agreement"] for label in table["parsed"].to_pylist()} == {1.0}
    served = server.stats()["served"]
    assert kills >= 3
    assert votes * rows <= served <= votes * rows + bound
    # No answer counts twice, none that was stored is forgotten: the rest are those that the kills have lost.
    assert table["attempts"].to_pylist() == [votes] * rows
    print(f"{kills} kills amid votes: {served - votes * rows} of {served} answers paid again, bound {bound}")


@pytest.mark.parametrize(("seed", "kills"), [(9, 5), pytest.param(10, 40, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
def test_kills_while_attachments_are_read(spare, simulator, job, tmp_path, seed, kills):
    """Pages are drawn and photographs shrunk for rows to come while others are asked: a kill costs what was in flight,
    and one before the first request costs nothing."""
    server = simulator(latency_ms=30)
    chance = random.Random(seed)
    (tmp_path / "page.pdf").write_bytes(pdf("", ""))
    (tmp_path / "photo.jpg").write_bytes(noise((900, 700)))
    rows = 40 * kills
    files = [["page.pdf"] if n % 2 else ["photo.jpg"] for n in range(rows)]
    pq.write_table(pa.table({"n": range(rows), "text": ["what?"] * rows, "files": files}), tmp_path / "in.parquet")
    more = '[attach]\ncolumn = "files"\nmax_side = 500\n'
    path = job(tmp_path / "in.parquet", server.url, model="qwen3.6-plus", concurrency=8, more=more)
    path.write_text(path.read_text().replace("{{ text }}", "{{ n }} {{ text }}"))
    bound = 0
    for kill in range(kills):
        run = spare.start("run", path, "--no-progress")
        served = server.stats()["served"]
        if kill:
            wait_until(lambda served=served: server.stats()["served"] > served)
        bound += 8 + killed_after(run, server, chance.uniform(0, 0.4))
    code, summary = spare.run(path)
    assert (code, summary["state"], summary["succeeded"]) == (0, "complete", rows)
    assert read_results(tmp_path / "out")["n"].to_pylist() == list(range(rows))
    served = server.stats()["served"]
    assert rows <= served <= rows + bound
    print(f"{kills} kills amid attachments: {served - rows} of {served} answers paid again, bound {bound}")


@pytest.mark.parametrize(("seed", "signals"), [(5, 6), pytest.param(6, 40, marks=pytest.mark.slow)])
@pytest.mark.timeout(600)
def test_interruptions_at_random_moments(spare, simulator, job, tmp_path, seed, signals):
    """SIGTERM or SIGINT once drains and loses nothing; twice ends within seconds; each says 130 and goes on."""
    server = simulator(latency_ms=60, latency_sigma=0.7)
    chance = random.Random(seed)
    texts = [f"row {n}" for n in range(signals * 400)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=IN_FLIGHT)
    lost_before = 0
    for number in range(signals):
        twice = number % 2 == 1
        before = server.stats()
        run = spare.start("run", path, "--json", "--no-progress")
        if number % 4 == 3:  # at any moment of the start
            time.sleep(chance.uniform(0, 0.9))
        else:
            some = before["served"] + chance.randrange(1, 300)
            wait_until(lambda some=some, run=run: server.stats()["served"] >= some or not run.running)
        first = signal.SIGINT if twice else chance.choice([signal.SIGTERM, signal.SIGINT])
        run.send(first)
        if twice:
            time.sleep(chance.uniform(0, 0.15))
            run.send(first)
        signalled = time.monotonic()
        code = run.wait(30)
        took = time.monotonic() - signalled
        # Before the command has come to its own handlers a signal ends it as it ends any process; nothing was sent.
        assert code in (130, 0) or (code == -first and server.stats()["requests"] == before["requests"]), (
            code,
            run.err,
        )
        assert "Traceback" not in run.err, run.err
        assert took < (3 if twice else 10)
        after = server.stats()
        if code == 130 and run.out:
            assert run.summary["state"] == "interrupted"
            assert durable_rows(tmp_path / "out", tmp_path) == run.summary["succeeded"]
        lost = after["prompts_answered"] - durable_rows(tmp_path / "out", tmp_path)
        assert twice or lost <= lost_before
        assert twice or after["abandoned"] == before["abandoned"], "a request that was in flight is cut off"
        lost_before = lost
    code, summary = spare.run(path)
    assert (code, summary["succeeded"]) == (0, len(texts))
    assert_whole(tmp_path / "out", texts)
