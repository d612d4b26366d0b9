"""A pilot that has answered every row, and a run after it that is interrupted before it could publish."""

import json
import signal

from tests.inputs import write_csv


def test_a_pilot_of_all_rows_is_published_by_the_next_run(command, simulator, job, tmp_path):
    """The run sends nothing and completes."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(20)]), server.url)
    assert command("estimate", path, "--pilot", 20, "--json", "--no-progress").returncode == 0
    assert server.stats()["requests"] == 20
    process = command.start("run", path, "--json", "--no-progress")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    code, summary = command.summary(path)
    assert (code, summary["state"], summary["succeeded"]) == (0, "complete", 20)
    assert server.stats()["requests"] == 20
    assert json.loads(out)["state"] in ("interrupted", "complete") if out else process.returncode in (-15, 130, 143)
