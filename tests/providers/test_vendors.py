"""What is known of each vendor stands in one module, and a new vendor is one value in one table."""

import pytest

from batchgen.answers.enforcement import Target, choose_means, shape_request
from batchgen.errors import JobError, UsageError
from batchgen.job.endpoint import endpoint_of
from batchgen.job.requests import request_parts
from batchgen.job.settings import answer_parts, parse_job
from batchgen.money.price_file import REGIONS
from batchgen.providers import VENDORS, ModelSettings, open_provider, vendor_of
from batchgen.providers.error_catalogue import CHAT_COMPLETIONS
from batchgen.providers.error_rule import rule
from batchgen.providers.vendor import (
    Range,
    Vendor,
    known_to_think,
    means_rule,
)
from batchgen.providers.vendors import other, region_of
from batchgen.values import Failure, FailureKind, Prompt, Response, Verdict

ASKED = Prompt(messages=[{"role": "user", "content": "?"}])
DASHSCOPE = "https://dashscope-intl.aliyuncs.com"


@pytest.mark.parametrize(
    ("base_url", "region"),
    [
        ("https://dashscope.aliyuncs.com", "beijing"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "beijing"),
        ("https://batch.dashscope.aliyuncs.com/compatible-mode/v1", "beijing"),
        ("https://ws-1.cn-beijing.maas.aliyuncs.com", "beijing"),
        ("https://trial.cn-beijing.maas.aliyuncs.com", "beijing"),
        ("HTTPS://DashScope.aliyuncs.com:443", "beijing"),
        ("dashscope.aliyuncs.com", "beijing"),
        ("https://dashscope-intl.aliyuncs.com", "international"),
        ("https://dashscope-us.aliyuncs.com", "international"),
        ("https://cn-hongkong.dashscope.aliyuncs.com", "international"),
        ("https://ws-1.cn-hongkong.maas.aliyuncs.com", "international"),
        ("https://api.openai.com/v1", "international"),
        ("http://127.0.0.1:8000/v1?host=dashscope.aliyuncs.com", "international"),
        ("https://dashscope.aliyuncs.com.example.org", "international"),
    ],
)
def test_the_host_tells_the_region(base_url, region):
    """Only Alibaba's mainland hosts are priced in CNY."""
    assert region_of(base_url) == region


@pytest.mark.parametrize(
    ("provider", "base_url", "name"),
    [
        ("dashscope", DASHSCOPE, "dashscope"),
        ("dashscope", "https://gate.example.com/qwen", "dashscope"),
        ("dashscope", "https://me.openai.azure.com", "dashscope"),  # it does not speak the native format
        ("openai", f"{DASHSCOPE}/compatible-mode/v1", "dashscope"),
        ("openai", "http://127.0.0.1:8000/compatible-mode/v1", "dashscope"),
        ("openai", "https://api.openai.com/v1", "openai"),
        ("openai", "https://eu.api.openai.com/v1", "openai"),
        ("openai", "https://me.openai.azure.com", "azure"),
        ("openai", "https://me.services.ai.azure.com/openai/v1", "azure"),
        ("openai", "https://api.groq.com/openai/v1", "groq"),
        ("openai", "https://api.mistral.ai/v1", "mistral"),
        ("openai", "https://api.deepseek.com", "deepseek"),
        ("deepseek", "https://gate.example.com/v1", "deepseek"),
        ("deepseek", "http://127.0.0.1:8000/compatible-mode/v1", "dashscope"),
    ],
)
def test_a_known_address_tells_the_vendor_and_else_the_word_does(provider, base_url, name):
    """One word speaks to many servers: whose facts hold is seen at the address."""
    assert vendor_of(provider, base_url) is VENDORS[name]


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8000/v1", "https://api.openai.com.example.org/v1"])
def test_openai_at_an_unknown_address_is_some_server(base_url):
    """Nothing of what holds for OpenAI alone is assumed of it."""
    assert vendor_of("openai", base_url) is other.OTHER


@pytest.mark.parametrize(
    ("vendor", "model", "means"),
    [
        ("groq", "openai/gpt-oss-120b", "json_schema"),
        ("groq", "llama-3.3-70b-versatile", "json_object"),
        ("mistral", "mistral-small-latest", "json_schema"),
        ("mistral", "open-codestral-mamba", "json_object"),
        ("azure", "my-deployment", "json_schema"),
        ("azure", "gpt-35-turbo", "json_object"),
        ("deepseek", "deepseek-reasoner", "json_object"),
        ("dashscope", "deepseek-r1", "instruction"),  # it always thinks
    ],
)
def test_the_means_of_each_vendor(vendor, model, means):
    """As far as its models are known to go."""
    assert VENDORS[vendor].json_means(model, {}) == means


@pytest.mark.parametrize(
    ("provider", "model", "parameters", "key", "fatal"),
    [
        ("mistral", "mistral-large-latest", {"seed": 1}, "seed", True),
        ("mistral", "mistral-large-latest", {"random_seed": -1}, "random_seed", True),
        ("mistral", "mistral-large-latest", {"max_completion_tokens": 9}, "max_completion_tokens", True),
        ("deepseek", "deepseek-reasoner", {"temperature": 0}, "temperature", False),
        ("deepseek", "deepseek-reasoner", {"logprobs": True}, "logprobs", False),
        ("deepseek", "deepseek-chat", {"temperature": 0}, None, None),
    ],
)
def test_what_one_vendor_refuses_or_ignores(provider, model, parameters, key, fatal):
    """`check` says it before a request is paid for."""
    settings = ModelSettings(name=model, base_url=VENDORS[provider].base_url, parameters=parameters)
    found = [(remark.key, remark.fatal) for remark in open_provider(provider, settings).remarks()]
    assert found == ([(f"model.parameters.{key}", fatal)] if key else [])


def test_azure_has_no_address_of_its_own():
    """Each of its users has another one, so the job must give it."""
    job = parse_job(_table("azure"), "job.toml")
    with pytest.raises(JobError, match=r"model\.base_url is missing"):
        endpoint_of(job, {"AZURE_OPENAI_API_KEY": "k"})


def test_the_word_for_a_vendor_does_not_alter_an_answer():
    """A run that was begun with `openai` and the vendor's address goes on under the vendor's own word."""
    parts = [answer_parts(parse_job(_table(word), "job.toml"), {}) for word in ("openai", "deepseek")]
    assert parts[0] == parts[1]


# A vendor as somebody else might add it: everything that can be particular to one.
NEW = Vendor(
    name="acme",
    base_url="https://llm.acme.example",
    api_key_env="ACME_KEY",
    hosts=("llm.acme.example", ".acme.example"),
    chat_root="/serve/v2",
    omits=("stream_options",),
    key_headers={"openai": "x-acme-key"},
    regions={"cn.acme.example": "beijing"},
    ranges={"heat": Range(lambda n: n < 1, "a number below 1")},
    check=lambda settings, parameters: (
        ("parameters.mood", "is not sent", False) for name in parameters if name == "mood"
    ),
    errors=(rule("acme_nap", FailureKind.SERVER_ERROR, Verdict.RETRY, "https://acme.example"), *CHAT_COMPLETIONS),
    means=(means_rule("^small", "tool"), means_rule("", "json_schema")),
    shows_schema=True,
    thinks=lambda model, parameters: model == "ponder",
    streams_only=lambda model, parameters: model == "river",
)


def _table(provider, **model):
    return {
        "name": "j",
        "input": {"path": "in.csv"},
        "prompt": {"user": "{{ text }}"},
        "model": {"provider": provider, "name": "m", **model},
        "output": {"path": "out"},
    }


@pytest.fixture
def acme(monkeypatch):
    """The table with one more line."""
    monkeypatch.setitem(VENDORS, NEW.name, NEW)


@pytest.mark.usefixtures("acme")
def test_a_new_vendor_is_one_value_in_the_table():
    """Job file, address, key, price region, checks, errors and the means of asking for JSON: all take it from there."""
    job = parse_job(_table("acme"), "job.toml")
    with pytest.raises(UsageError, match="ACME_KEY"):
        endpoint_of(job, {})
    endpoint = endpoint_of(job, {"ACME_KEY": "key-0123456789"})
    parts = request_parts(job, endpoint)
    request = parts.provider.build_request(ASKED, stream=False)
    assert request.url == "https://llm.acme.example/serve/v2/chat/completions"
    assert [str(header.name) for header in parts.secrets.headers] == ["x-acme-key"]
    assert [region_of(f"https://{host}") for host in ("llm.acme.example", "cn.acme.example")] == list(REGIONS)
    body = b'{"error":{"code":"acme_nap","message":"zzz"}}'
    failure = parts.provider.read_response(request, Response(400, {}, body))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.verdict) == (FailureKind.SERVER_ERROR, Verdict.RETRY)
    assert b"stream_options" not in parts.provider.build_request(ASKED, stream=True).body
    assert parts.provider.must_stream("river")
    assert not parts.provider.must_stream("m")


@pytest.mark.usefixtures("acme")
def test_a_new_vendors_checks_are_heard():
    """Its ranges refuse, its own check warns, and both only for its parameters."""
    with pytest.raises(JobError, match=r"model\.parameters\.heat: must be a number below 1"):
        _parts({"heat": 2})
    assert any("mood: is not sent" in note for note in _parts({"mood": 1}).notes)
    assert not any("parameters" in note for note in _parts({"top_p": 5}).notes)


def _parts(parameters):
    job = parse_job(_table("acme", parameters=parameters), "job.toml")
    return request_parts(job, endpoint_of(job, {"ACME_KEY": "k"}))


@pytest.mark.usefixtures("acme")
def test_a_new_vendor_is_found_by_its_host_under_the_word_openai():
    """So that a job with nothing but `base_url` has the same facts, and a strict schema no instruction."""
    target = Target(provider="openai", base_url="https://eu.acme.example/v1", model="small-1")
    assert choose_means(target) == "tool"
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    plain = Target(provider="acme", base_url=NEW.base_url, model="m")
    assert shape_request(schema, None, plain, None).instruction is None


@pytest.mark.parametrize(
    ("model", "parameters", "thinks"),
    [
        ("qwen3-max", {"enable_thinking": True}, True),
        ("o3-mini", {}, True),
        ("openai/gpt-5-mini", {"reasoning_effort": "low"}, True),
        ("gpt-5.1", {"reasoning_effort": "none"}, False),
        ("qwen3-8b", {"chat_template_kwargs": {"enable_thinking": True}}, True),
        ("deepseek-v3.1", {"chat_template_kwargs": {"thinking": True}}, True),
        ("some-model", {"reasoning": {"effort": "high"}}, True),
        ("some-model", {"reasoning": {"enabled": False}}, False),
        ("glm-4.6", {"thinking": {"type": "enabled", "budget_tokens": 1000}}, True),
        ("deepseek-reasoner", {"thinking": {"type": "disabled"}}, False),
        ("llama-3", {"think": True}, True),
        ("llama-3", {"max_tokens": 10}, False),
    ],
)
def test_a_parameter_says_whether_a_model_thinks(model, parameters, thinks):
    """Whatever it is called, and whatever the name of the model lets one expect."""
    assert known_to_think(model, parameters) is thinks
