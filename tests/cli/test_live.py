"""A run in progress takes over the limits of the edited job file on SIGHUP."""

import json
import signal
import time

from tests.inputs import write_csv
from tests.waiting import wait_until


def test_limits_change_without_a_restart(command, simulator, job, tmp_path):
    """A pace of two a second becomes as fast as the server; a mistake in the file changes nothing."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(400)]), server.url)
    text = path.read_text()
    path.write_text(text.replace("[limits]", "[limits]\nrequests_per_minute = 120"))
    process = command.start("run", path, "--json", "--no-progress")
    wait_until(lambda: server.stats()["served"] >= 2)
    path.write_text(text.replace("[limits]", "[limits]\nrequests_per_minute = -5"))
    process.send_signal(signal.SIGHUP)
    refusal = next(line for line in process.stderr if "stay as they are" in line)
    assert "requests_per_minute" in refusal
    path.write_text(text)
    process.send_signal(signal.SIGHUP)
    started = time.monotonic()
    out, err = process.stdout.read(), process.stderr.read()
    assert process.wait(60) == 0
    assert time.monotonic() - started < 30  # at two a second it would take 200 s
    assert json.loads(out)["succeeded"] == 400
    assert "read again" in err


def test_fewer_in_flight_from_now_on(command, simulator, job, tmp_path):
    """A lower concurrency binds once what is in flight is answered."""
    server = simulator(latency_ms=100)
    path = job(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(2_000)]), server.url, concurrency=30)
    process = command.start("run", path, "--json", "--no-progress")
    wait_until(lambda: server.stats()["served"] >= 60)
    assert server.stats()["peak_in_flight"] == 30
    path.write_text(path.read_text().replace("concurrency = 30", "concurrency = 3"))
    process.send_signal(signal.SIGHUP)
    # Thirty answers that come at once leave a moment with none in flight, so that moment proves nothing by itself.
    assert any("read again" in line for line in process.stderr)
    wait_until(lambda: server.stats()["in_flight"] <= 3)
    server.reset_stats()
    wait_until(lambda: server.stats()["served"] >= 20)
    assert server.stats()["peak_in_flight"] <= 3
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
