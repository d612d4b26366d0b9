"""`[[model.endpoints]]`: what each takes from the job, and what it is called."""

from batchgen.job.endpoint_settings import endpoint_jobs, endpoint_names
from batchgen.job.key_settings import key_settings
from batchgen.job.settings import Job

TABLE = {
    "name": "several",
    "input": {"path": "in.csv"},
    "prompt": {"user": "{{ text }}"},
    "output": {"path": "out"},
    "model": {"provider": "openai", "name": "m", "base_url": "https://a.example/v1", "api_key_env": "A_KEY"},
    "limits": {"requests_per_minute": 100, "concurrency": 8},
}


def job_with(*endpoints, **model):
    """Return a job with these endpoints."""
    return Job.from_dict(TABLE | {"model": TABLE["model"] | model | {"endpoints": list(endpoints)}})


def test_what_an_endpoint_leaves_out_is_the_jobs():
    """Its own settings win."""
    first, second = endpoint_jobs(
        job_with({}, {"base_url": "https://b.example", "name": "n", "requests_per_minute": 5, "region": "beijing"})
    )
    assert (first.model.base_url, first.model.name, first.limits.requests_per_minute) == (
        "https://a.example/v1",
        "m",
        100,
    )
    assert (second.model.base_url, second.model.api_key_env) == ("https://b.example", "A_KEY")
    assert (second.model.name, second.limits.requests_per_minute, second.pricing.region) == ("n", 5, "beijing")
    assert second.model.endpoints == []


def test_a_job_without_endpoints_is_its_own():
    """Nothing changes for it."""
    job = job_with()
    assert endpoint_jobs(job) == [job]


def test_names_tell_endpoints_apart():
    """By host, then by model, by the key's variable, by number."""
    jobs = endpoint_jobs(job_with({}, {"name": "n"}, {"api_key_env": "B_KEY"}, {}, {}))
    names = endpoint_names(["a", "a", "a", "a", "b"], jobs)
    assert names == ["a m A_KEY 1", "a n", "a m B_KEY", "a m A_KEY 4", "b"]


def test_addresses_are_shown_without_their_secrets():
    """In `run.json` and the report."""
    job = job_with({"base_url": "https://user:pass@b.example/v1?key=abc"})
    shown = str(key_settings(job))
    assert "b.example" in shown
    assert "pass" not in shown
    assert "abc" not in shown


def test_a_job_with_endpoints_is_the_same_from_its_own_text():
    """`to_toml` writes them as tables of their own."""
    job = job_with({}, {"base_url": "https://b.example", "weight": 0})
    assert "[[model.endpoints]]" in job.to_toml() or "endpoints = [" in job.to_toml()
    assert Job.from_toml(job.to_toml()) == job
