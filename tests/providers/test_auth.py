"""How servers are shown the key, and what of a job is likely a secret."""

import pytest

from batchgen.providers import ModelSettings, open_provider
from batchgen.providers.auth import is_secret_name, public_url, query_secrets, secret_header
from batchgen.secret import Secret
from batchgen.values import Prompt

KEY = Secret("key-0123456789")
ASKED = Prompt(messages=[{"role": "user", "content": "?"}])


@pytest.mark.parametrize(
    ("base_url", "named", "line"),
    [
        ("https://api.openai.com/v1", None, "Authorization: Bearer key-0123456789"),
        ("http://127.0.0.1:8000", "x-api-key", "x-api-key: key-0123456789"),
        ("http://127.0.0.1:8000", "authorization", "authorization: Bearer key-0123456789"),
        ("https://me.openai.azure.com", None, "api-key: key-0123456789"),
        ("https://me.openai.azure.com", "Authorization", "Authorization: Bearer key-0123456789"),
    ],
)
@pytest.mark.parametrize("provider", ["openai", "azure"])
def test_the_key_stands_in_one_header(provider, base_url, named, line):
    """The job names it, else the server's host tells; without a key there is none."""
    settings = ModelSettings(name="m", base_url=base_url, api_key_header=named)
    provider = open_provider(provider, settings)
    [header] = provider.headers(KEY)
    assert f"{header.name}: {header.reveal()}" == line
    assert "0123456789" not in f"{header} {header!r} {provider.build_request(ASKED, stream=False)}"
    assert provider.headers(None) == []


def test_a_host_that_only_begins_like_azures_gets_a_bearer():
    """What the address shows counts from its end."""
    settings = ModelSettings(name="m", base_url="https://me.openai.azure.com.evil.test")
    [header] = open_provider("openai", settings).headers(KEY)
    assert header.name == "Authorization"


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://me.openai.azure.com", "https://me.openai.azure.com/openai/v1/chat/completions"),
        ("https://me.openai.azure.com/openai", "https://me.openai.azure.com/openai/v1/chat/completions"),
        (
            "https://gate.test/x/openai/deployments/gpt-4o/?api-version=2024-10-21",
            "https://gate.test/x/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        ),
    ],
)
def test_azure_is_asked_by_its_paths(base_url, url):
    """By deployment and version, or in the newer form that needs neither."""
    provider = open_provider("openai", ModelSettings(name="m", base_url=base_url))
    assert provider.build_request(ASKED, stream=False).url == url


@pytest.mark.parametrize(
    ("settings", "stream", "present", "absent"),
    [
        ({"omit": ["stream_options"]}, True, b'"stream":true', b"stream_options"),
        ({"omit": ["model"]}, False, b'{"messages":', b"model"),
        (
            {"omit": ["tool_choice"], "parameters": {"tools": [], "tool_choice": "auto"}},
            False,
            b"tools",
            b"tool_choice",
        ),
    ],
)
def test_fields_that_a_server_refuses_are_left_out(settings, stream, present, absent):
    """Everything else stays; a row's own parameters change nothing of it."""
    provider = open_provider("openai", ModelSettings(name="m", base_url="http://h", **settings))
    for prompt in (ASKED, Prompt(messages=ASKED.messages, parameters={"top_p": 0.5})):
        body = provider.build_request(prompt, stream=stream).body
        assert present in body
        assert absent not in body
    assert [remark for remark in provider.remarks() if remark.key == "model.omit"] == []


def test_the_native_form_leaves_its_defaults_out_too():
    """Without `incremental_output` the frames of a stream repeat the text so far, and are read so."""
    settings = ModelSettings(name="qwen-plus", base_url="http://h", omit=["result_format", "incremental_output"])
    request = open_provider("dashscope", settings).build_request(ASKED, stream=True)
    assert b'"parameters":{}' in request.body


@pytest.mark.parametrize("name", ["messages", "stream", "temperature"])
def test_what_is_no_default_of_ours_cannot_be_left_out(name):
    """The remark names what can."""
    remarks = open_provider("openai", ModelSettings(name="m", base_url="http://h", omit=[name])).remarks()
    assert any(remark.fatal and remark.key == "model.omit" and "stream_options" in remark.text for remark in remarks)


@pytest.mark.parametrize(
    ("url", "fatal"),
    [
        ("https://h.test/v1/completions", True),
        ("https://h.test/v1/responses/", True),
        ("https://h.test/v1/messages", True),
        ("https://h.test/v1/chat/completions", False),
        ("https://me.openai.azure.com/openai/deployments/d", True),
        ("https://gate.test/openai/deployments/d", False),
        ("https://me.openai.azure.com/openai/deployments/d?api-version=2024-10-21", False),
    ],
)
def test_addresses_of_other_endpoints_are_refused(url, fatal):
    """Chat completions are asked below them, where nothing answers."""
    remarks = open_provider("openai", ModelSettings(name="m", base_url=url)).remarks()
    assert any(remark.fatal and remark.key == "model.base_url" for remark in remarks) is fatal


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("X-Api-Key", True),
        ("Ocp-Apim-Subscription-Key", True),
        ("cf-aig-authorization", True),
        ("X-Auth-Token", True),
        ("Cookie", True),
        ("code", True),
        ("sig", True),
        ("client_secret", True),
        ("X-DashScope-WorkSpace", False),
        ("api-version", False),
        ("X-Max-Tokens", False),
        ("Idempotency-Key", False),
        ("HTTP-Referer", False),
    ],
)
def test_secrets_are_known_by_their_names(name, secret):
    """Of headers and of parameters in an address."""
    assert is_secret_name(name) is secret


def test_the_query_is_shown_without_its_secrets():
    """What stands there is masked in whatever form others quote it."""
    url = "https://h.test/v1?api-version=1&subscription-key=ab%2Fcd%3D0123&flag&sig="
    assert public_url(url) == "https://h.test/v1?api-version=1&subscription-key=***&flag&sig="
    secrets = query_secrets(url)
    assert {secret.reveal() for secret in secrets} == {"ab/cd=0123", "ab%2Fcd%3D0123"}


@pytest.mark.parametrize(
    ("value", "scheme", "secret"),
    [
        ("Bearer abc def", "Bearer ", "abc def"),
        ("Api-Key  k-1", "Api-Key  ", "k-1"),
        ("abc", "", "abc"),
        ("Bearer", "", "Bearer"),
    ],
)
def test_the_secret_of_a_header_begins_after_its_scheme(value, scheme, secret):
    """So that the key alone is masked where a server quotes it alone."""
    header = secret_header("X", value)
    assert (header.scheme, header.secret.reveal(), header.reveal()) == (scheme, secret, value)
