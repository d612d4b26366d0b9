"""SIGKILL at random moments: every row once, in order, right; what is paid twice is bounded."""

import random
import signal
import time

from batchgen.simulator import expected_answer
from tests.cli.conftest import results_of
from tests.inputs import messages, write_csv

KILLS = 5
ROWS = 4_000
IN_FLIGHT = 64
COMMIT_WINDOW_S = 0.15
"""50 ms until a group commit begins, and time for the commit itself on a slow, shared disk."""


def test_five_kills_and_one_more_run(command, simulator, job, tmp_path):
    """5 × SIGKILL in a run of 4,000 rows, then one more run."""
    server = simulator(latency_ms=40, latency_sigma=0.5)
    texts = [f"row {n}" for n in range(ROWS)]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=IN_FLIGHT)
    rng = random.Random(11)
    fastest = 0.0
    for _ in range(KILLS):
        process = command.start("run", path, "--no-progress", "--set", "output.path=out")
        before = server.stats()["served"]
        while server.stats()["served"] == before:
            time.sleep(0.01)
        began, served = time.monotonic(), server.stats()["served"]
        time.sleep(rng.uniform(0.05, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        fastest = max(fastest, (server.stats()["served"] - served) / (time.monotonic() - began))
    code, summary = command.summary(path)
    assert (code, summary["succeeded"], summary["failed"]) == (0, ROWS, 0)
    rows, _ = results_of(tmp_path / "out")
    assert [row["row_id"] for row in rows] == [str(n) for n in range(ROWS)]
    assert [row["completion"] for row in rows] == [expected_answer(messages(text)) for text in texts]
    assert not list((tmp_path / "out").glob("journal.sqlite*"))
    stats = server.stats()
    paid_twice = stats["billed"]["requests"] - ROWS
    assert 0 <= paid_twice <= KILLS * (IN_FLIGHT + fastest * COMMIT_WINDOW_S)
