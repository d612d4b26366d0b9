"""What workers cost the driver for a row, as the number of functions that are called for it: a figure that no slow
machine changes."""

from tests.benchmarks.server import serving
from tests.benchmarks.whole_run import JOB, SYSTEM, write_input
from tests.engine.test_calls_per_row import ROWS, calls_of_run

SENT_AND_READ = ("cluster/", "transport/", *(f"providers/{name}" for name in ("reader", "quick_decode", "thinking")))
"""The modules that hand a request over or send it, and that read its reply."""

MOST_CALLS = 6
"""Calls of functions of these, coroutines aside, for a row on the driver's event loop; 0.4 when this bound was set, as
groups are handled as one and the workers read the replies. It leaves room for groups of two, where a busy machine has
nothing to gather."""


def test_a_row_takes_the_driver_few_calls(tmp_path):
    """Fewer than where it sends the requests itself: else workers would make a run slower."""
    write_input(tmp_path / "input.parquet", 2 * ROWS)
    job = tmp_path / "job.toml"
    with serving() as url:
        places = {"input": tmp_path / "input.parquet", "output": tmp_path / "out", "base_url": url}
        text = JOB.format(system=SYSTEM, provider="dashscope", concurrency=64, **places)
        job.write_text(f"{text}\n[engine]\nworkers = 2\n")
        once, twice = calls_of_run(job, ROWS), calls_of_run(job, 2 * ROWS)
    more = {name: (calls - once.get(name, 0)) / ROWS for name, calls in twice.items()}
    found = {name: each for name, each in more.items() if name.startswith(SENT_AND_READ)}
    listed = "\n".join(f"{each:7.2f} {name}" for name, each in sorted(found.items(), key=lambda item: -item[1]))
    assert sum(found.values()) <= MOST_CALLS, f"{sum(found.values()):.1f} calls a row:\n{listed}"
    assert sum(more.values()) > 20, "the calls were not counted"
