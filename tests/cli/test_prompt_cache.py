"""The vendor's prompt cache: one request is answered before all others, which then find their beginning there."""

from tests.cli.conftest import results_of
from tests.inputs import write_csv

SYSTEM = "Letters to the support desk are sorted by the rules below, which are the same for each. " * 100


def test_only_the_first_row_pays_in_full(command, simulator, job, tmp_path):
    """All that the vendor counts as cached stands in the results, and is priced as such."""
    server = simulator(cache_tokens=1_024, latency_ms=100)
    path = job(write_csv(tmp_path / "in.csv", [f"letter {n}" for n in range(40)]), server.url)
    told = command("run", path, "--no-progress", "--set", f"prompt.system={SYSTEM}")
    rows, _ = results_of(tmp_path / "out")
    assert told.returncode == 0, told.stderr
    assert "of the input tokens came from the provider's prompt cache" in told.stdout
    cached = [row["cached_tokens"] for row in rows]
    assert (cached.count(0), server.stats()["cached_tokens"]) == (1, sum(cached))
    first = next(row for row in rows if not row["cached_tokens"])
    assert all(row["cost"] < first["cost"] / 2 for row in rows if row is not first)
