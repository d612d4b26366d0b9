"""Where a job's requests go and with which secrets."""

import pytest

from batchgen.errors import JobError, UsageError
from batchgen.job.endpoint import endpoint_of, keyless_endpoint
from batchgen.job.requests import request_parts
from batchgen.job.settings import answer_parts, parse_job

SECRET = "team-secret-55aa"


def job(**model):
    """A job with these keys of `[model]`."""
    return parse_job(
        {
            "name": "n",
            "input": {"path": "in.csv"},
            "prompt": {"user": "{{ text }}"},
            "model": {"provider": "openai", "name": "m", "base_url": "http://127.0.0.1:1/v1", **model},
            "output": {"path": "out"},
        },
        "test",
    )


def lines(job, environ):
    """The secret headers of its requests as they go out."""
    secrets = request_parts(job, endpoint_of(job, environ)).secrets
    return sorted(f"{header.name}: {header.reveal()}" for header in secrets.headers)


@pytest.mark.parametrize(
    ("model", "environ", "sent"),
    [
        ({}, {"OPENAI_API_KEY": "k1"}, ["Authorization: Bearer k1"]),
        ({"api_key_env": ""}, {}, []),
        ({"api_key_env": "OTHER", "api_key_header": "x-api-key"}, {"OTHER": " k2\n"}, ["x-api-key: k2"]),
        (
            {"headers": {"X-Team": {"env": "TEAM"}, "X-Plain": "a"}},
            {"OPENAI_API_KEY": "k1", "TEAM": "Basic abc"},
            ["Authorization: Bearer k1", "X-Team: Basic abc"],
        ),
        ({"headers": {"authorization": {"env": "LOGIN"}}}, {"LOGIN": "Token t"}, ["authorization: Token t"]),
        ({"headers": {"X-Api-Token": SECRET}, "api_key_env": ""}, {}, [f"X-Api-Token: {SECRET}"]),
        (
            {"base_url": "https://me.openai.azure.com", "headers": {"API-KEY": {"env": "AZURE"}}},
            {"AZURE": "k3"},
            ["API-KEY: k3"],
        ),
    ],
)
def test_the_headers_that_hold_secrets(model, environ, sent):
    """The key, headers from variables, and headers that look like secrets; no key is asked for that is not sent."""
    assert lines(job(**model), environ) == sent


@pytest.mark.parametrize(
    ("model", "environ", "words"),
    [
        (
            {"headers": {"X-Team": {"env": "TEAM"}}},
            {"OPENAI_API_KEY": "k"},
            "variable TEAM is not set.*model.headers.X-Team",
        ),
        ({}, {}, "variable OPENAI_API_KEY is not set"),
        ({"headers": {"X-Team": {"env": SECRET}}}, {"OPENAI_API_KEY": "k"}, "no name of an environment variable"),
        ({"headers": {"X-Team": {"env": "TEAM"}}}, {"TEAM": f"{SECRET}\n{SECRET}"}, "no header can carry"),
        ({"headers": {"Content-Length": {"env": "TEAM"}}}, {"TEAM": SECRET}, "no header that a job can set"),
        ({"headers": {"X Team": {"env": "TEAM"}}}, {"TEAM": SECRET}, "no header that a job can set"),
        ({"api_key_header": "x:y"}, {"OPENAI_API_KEY": "k"}, "name of a header"),
        ({}, {"OPENAI_API_KEY": f"{SECRET} {SECRET}"}, "no API key has"),
        ({}, {"OPENAI_API_KEY": f"{SECRET}\u00e9"}, "no API key has"),
        ({"base_url": "https://h.test/v1%00"}, {"OPENAI_API_KEY": "k"}, "model.base_url"),
    ],
)
def test_what_no_request_can_carry_is_refused_unquoted(model, environ, words):
    """Before anything is sent, naming key and variable."""
    with pytest.raises(UsageError, match=words) as caught:
        endpoint_of(job(**model), environ)
    assert SECRET not in str(caught.value)


def test_check_goes_on_without_the_variables(monkeypatch):
    """It says which is unset, and shows what would be sent."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    endpoint, problem = keyless_endpoint(job(headers={"X-Team": {"env": "NO_SUCH_TEAM"}}))
    assert "NO_SUCH_TEAM" in problem
    assert [header.name for header in endpoint.headers] == ["X-Team"]
    with pytest.raises(JobError):
        keyless_endpoint(job(base_url="https://h.test/ v1"))


def test_secrets_are_no_part_of_what_an_answer_depends_on():
    """A new key, or a header that moves into a variable, goes on with the same run; another workspace does not."""
    environ = {"OPENAI_API_KEY": "k", "TEAM": SECRET}
    plain, moved = job(headers={"X-Token": SECRET}), job(headers={"X-Token": {"env": "TEAM"}})
    assert answer_parts(plain, {}) == answer_parts(moved, {}) == answer_parts(job(), {})
    assert answer_parts(job(headers={"X-DashScope-WorkSpace": "a"}), {}) != answer_parts(job(), {})
    first, second = (
        endpoint_of(job(base_url=f"http://h.test/v1?region=a&key={key}"), environ)
        for key in ("0123456789", "9876543210")
    )
    assert first.identity == second.identity == "http://h.test/v1?region=a&key=***"
    assert answer_parts(job(omit=["stream_options"]), {}) == answer_parts(job(), {})
    assert answer_parts(job(provider="dashscope", omit=["result_format"]), {}) != answer_parts(
        job(provider="dashscope"), {}
    )


def test_a_field_is_left_out_or_set_but_not_both():
    """Two opinions on one field are an error that names it."""
    both = job(omit=["stream_options"], parameters={"stream_options": {}})
    with pytest.raises(JobError, match="stream_options"):
        request_parts(both, endpoint_of(both, {"OPENAI_API_KEY": "k"}))
