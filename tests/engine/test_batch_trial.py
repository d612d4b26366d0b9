"""A free trial of the vendor's batches, against the simulated one."""

import anyio
import pytest

from batchgen.engine.batch_trial import ROWS, try_batch
from batchgen.errors import InputError, ProviderStop, UsageError
from batchgen.job.endpoint import endpoint_of
from batchgen.job.settings import Job
from batchgen.simulator import Settings, start_in_thread
from tests.inputs import write_csv

SOON = 0.02


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Return a job in batches at an address; `rows` are its texts."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-test-0123456789abcdef")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdef")

    def make(provider, base_url, rows=5, user="{{ text }}"):
        path = write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(rows)])
        model = {"provider": provider, "name": "qwen-plus", "base_url": base_url, "lane": "batch"}
        return Job.from_dict(
            {
                "name": "trial",
                "input": {"path": str(path)},
                "prompt": {"user": user},
                "model": model,
                "output": {"path": str(tmp_path / "out")},
            }
        )

    return make


def tried(job):
    async def soon(pause_s):
        await anyio.sleep(SOON)

    return anyio.run(lambda: try_batch(job, endpoint_of(job), sleep=soon))


@pytest.mark.parametrize(("provider", "path"), [("dashscope", ""), ("openai", "/compatible-mode/v1")])
@pytest.mark.parametrize("oddities", [(), ("shuffled", "bom", "blank_lines")])
def test_a_trial(job, provider, path, oddities):
    """Three rows go all the way, for nothing, and leave nothing at the vendor."""
    with start_in_thread(Settings(batch_hours=0.05, oddities=oddities)) as server:
        trial = tried(job(provider, server.url + path))
        assert server.stats()["billed"]["requests"] == 0
    assert (trial.rows, trial.answered, trial.text, trial.left) == (ROWS, ROWS, "This is a test result.", [])


@pytest.mark.parametrize(
    ("oddity", "words"),
    [
        ("upload_500", "did not take its file"),
        ("create_refused", "did not create the batch: The model"),
        ("failed_billing", "did not take the batch: Billing"),
        ("download_404", "did not give the results"),
        ("upload_lost", "did not take its file"),
    ],
)
def test_a_step_that_fails(job, oddity, words):
    """Is named, with the vendor's own words."""
    with (
        start_in_thread(Settings(batch_hours=0.05, oddities=(oddity,))) as server,
        pytest.raises(ProviderStop, match=words),
    ):
        tried(job("dashscope", server.url))


def test_where_there_is_none(job):
    """Is said before anything is sent."""
    with start_in_thread(Settings()) as server:
        with pytest.raises(UsageError, match="DashScope alone"):
            tried(job("openai", server.url + "/v1"))
        with pytest.raises(InputError, match="nothing to try"):
            tried(job("dashscope", server.url, rows=0))
        assert server.stats()["requests"] == 0
