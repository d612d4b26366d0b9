"""What a row costs the driver where workers send the requests: the functions that are called for it, and the groups of
messages; figures that no slow machine changes."""

from tests.benchmarks.server import serving
from tests.benchmarks.whole_run import JOB, SYSTEM, write_input
from tests.engine.test_calls_per_row import ROWS, calls_of_run

MOST_CALLS = 60
"""Calls of functions of batchgen, coroutines aside, for a row on the driver's event loop; 47 when this bound was set,
and 77 in a process that sends the requests itself."""


def test_a_row_takes_the_driver_few_calls(tmp_path):
    """Fewer than where it sends the requests itself: the workers read the replies, and groups are handled as one."""
    write_input(tmp_path / "input.parquet", 2 * ROWS)
    job = tmp_path / "job.toml"
    with serving() as url:
        places = {"input": tmp_path / "input.parquet", "output": tmp_path / "out", "base_url": url}
        text = JOB.format(system=SYSTEM, provider="dashscope", concurrency=64, **places)
        job.write_text(f"{text}\n[engine]\nworkers = 2\n")
        once, twice = calls_of_run(job, ROWS), calls_of_run(job, 2 * ROWS)
    # What is called until the workers have begun is not the row's, and more often the first time or the second.
    more = {name: max(0, calls - once.get(name, 0)) / ROWS for name, calls in twice.items()}
    found = sum(more.values())
    listed = "\n".join(f"{each:7.2f} {name}" for name, each in sorted(more.items(), key=lambda item: -item[1])[:150])
    assert found <= MOST_CALLS, f"{found:.1f} calls a row:\n{listed}"
    assert found > MOST_CALLS / 2, "the calls were not counted"
