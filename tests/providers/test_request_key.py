"""Two requests have one key if they are the same to the server: every single field counts but those that only carry."""

import itertools

import msgspec
import pytest

from batchgen.providers import open_provider
from batchgen.providers.protocol import ModelSettings
from batchgen.providers.request_key import CARRIERS, CARRYING_HEADERS, LIMITS, RequestKeys, limit_in
from batchgen.values import KEY_HASH_BYTES, Prompt

TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
PICTURE = "data:image/png;base64,iVBORw0KGgo="
MESSAGES = [
    {"role": "system", "content": "Answer in one word."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "Which?"}, {"type": "image_url", "image_url": {"url": PICTURE}}],
    },
    {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "4", "name": "n"},
]
PARAMETERS = {
    "max_tokens": 16,
    "max_completion_tokens": 17,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "n": 1,
    "seed": 3,
    "stop": ["END", "\n\n"],
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
    "enable_thinking": False,
    "thinking_budget": 100,
    "reasoning_effort": "low",
    "logprobs": True,
    "logit_bias": {"5": 1},
    "presence_penalty": 0.1,
    "enable_search": False,
    "user": "u",
    "metadata": {"a": "b"},
    "extra_body": {"min_p": 0.1, "guided": {"regex": "a+"}},
    "a_field_of_next_year": {"deep": [{"er": 1}]},
}
HEADERS = {"X-DashScope-WorkSpace": "ws", "OpenAI-Organization": "org"}
PROVIDERS = ["openai", "dashscope"]
KEYS = ["afc0674f5d36d3923a1711a5b65a168500000005", "cf6cb33695a0492ed1aaa2cc2489c50200000005"]


def settings(**changes):
    base = {"name": "qwen-plus", "base_url": "https://a.test/v1", "parameters": PARAMETERS, "headers": HEADERS}
    return ModelSettings(**{**base, **changes})


def key(provider, prompt=None, response=None, **changes):
    return RequestKeys(provider, settings(**changes), response).of(prompt or Prompt(messages=MESSAGES))


def variants(value):
    """Yield (where, the same JSON value with one thing in it changed, dropped or added)."""
    if isinstance(value, dict):
        yield "+", {**value, "one_more": 1}
        for name, inner in value.items():
            yield f"-{name}", {other: v for other, v in value.items() if other != name}
            for where, changed in variants(inner):
                yield f"{name}.{where}", {**value, name: changed}
    elif isinstance(value, list):
        yield "+", [*value, "one more"]
        for place, inner in enumerate(value):
            yield f"-{place}", value[:place] + value[place + 1 :]
            for where, changed in variants(inner):
                yield f"{place}.{where}", [*value[:place], changed, *value[place + 1 :]]
    elif isinstance(value, bool):
        yield "not", not value
    elif isinstance(value, int | float):
        yield "+1", value + 1
    else:
        yield "+", f"{value} "
        if value.swapcase() != value:
            yield "case", value.swapcase()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_single_field_counts(provider):
    """Changed one at a time, however deep: no two of several hundred requests have one key, but where they are the
    same bytes (a field with its own value as the default)."""
    bodies = {}
    for what, value in {"messages": MESSAGES, "parameters": PARAMETERS, "headers": HEADERS}.items():
        for where, changed in variants(value):
            if what == "messages" and not all(isinstance(message, dict) for message in changed):
                continue  # refused before a request is made
            made = settings() if what == "messages" else settings(**{what: changed})
            prompt = Prompt(messages=changed if what == "messages" else MESSAGES)
            request = open_provider(provider, made).build_request(prompt, stream=False)
            sent = msgspec.json.encode([msgspec.json.decode(request.body), dict(request.headers)], order="sorted")
            found = RequestKeys(provider, made).of(prompt)
            assert bodies.setdefault(sent, found) == found, where
    assert len(bodies) > 150
    assert len({*bodies.values()}) == len(bodies)
    unchanged = [sent for sent, found in bodies.items() if found == key(provider)]
    assert len(unchanged) <= 1  # what this format never sends may change


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "change",
    [
        {"name": "qwen-max"},
        {"prompt": Prompt(messages=MESSAGES, model="qwen-max")},
        {"prompt": Prompt(messages=MESSAGES, parameters={"temperature": 0.7})},
        {"prompt": Prompt(text="Which?")},
        {"prompt": Prompt(messages=MESSAGES[:1], text="Which?")},
        {"response": {"labels": ["a", "b"]}},
        {"base_url": "https://a.test/deployments/mine/v1"},
        {"base_url": "https://a.test/v1?api-version=2"},
        {"omit": ("seed",)},
    ],
)
def test_what_stands_beside_the_fields_counts_too(provider, change):
    """The model, the row's own values, how answers are read, a deployment in the path, fields that are left out."""
    assert key(provider, **change) != key(provider)


def test_the_wire_formats_are_not_mixed():
    """The same words mean two requests."""
    assert key("openai") != key("dashscope")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("field", sorted(CARRIERS))
def test_what_only_carries_does_not_count(provider, field):
    """How the answer comes, in pieces or whole, at once or later at half the price, changes nothing of it."""
    with_it = {**PARAMETERS, field: True}
    assert key(provider, parameters=with_it) == key(provider)
    assert key(provider, prompt=Prompt(messages=MESSAGES, parameters={field: True})) == key(provider)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_neither_do_host_usual_path_order_and_spelling_of_headers(provider):
    """The same request to another region, gateway or way of writing it down is the same request."""
    for url in (
        "https://b.test",
        "https://b.test:8443/v1",
        "http://127.0.0.1:9/compatible-mode/v1",
        "https://b.test/api/v1",
    ):
        assert key(provider, base_url=url) == key(provider), url
    assert key(provider, base_url="https://a.test/v1?key=one") == key(provider, base_url="https://a.test/v1?key=two")
    backwards = dict(reversed(PARAMETERS.items()))
    assert key(provider, parameters=backwards) == key(provider)
    turned = [dict(reversed(message.items())) for message in MESSAGES]
    assert key(provider, prompt=Prompt(messages=turned)) == key(provider)
    carrying = {name: "x" for name in CARRYING_HEADERS}
    lower = {name.lower(): value for name, value in HEADERS.items()}
    assert key(provider, headers={**lower, **carrying}) == key(provider)
    assert key(provider, api_key_header="x-api-key", omit=("stream_options",)) == key(provider)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_value_of_the_row_and_the_same_value_of_the_job_are_one(provider):
    """What is sent decides, not where it comes from; a null cell sends nothing."""
    rest = {name: value for name, value in PARAMETERS.items() if name != "seed"}
    own = Prompt(messages=MESSAGES, parameters={"seed": 3, "absent": None})
    assert key(provider, prompt=own, parameters={**rest, "seed": {"column": "seed"}}) == key(provider)
    named = Prompt(messages=MESSAGES, model="qwen-plus")
    assert key(provider, prompt=named, name="") == key(provider)


def test_a_key_stays_what_it_is():
    """It is stored with results: a change of these bytes makes every stored answer unknown, and paid again."""
    small = settings(parameters={"max_tokens": 5}, headers={})
    prompt = Prompt(messages=[{"role": "user", "content": "é"}])
    keys = [RequestKeys(provider, small) for provider in PROVIDERS]
    assert [one.of(prompt).hex() for one in keys] == KEYS
    assert [one.before.of(prompt).hex() for one in keys] == [
        "91e100b753f1616663fa6ece68b5b9b1",
        "dce927781c12bb853bed679af8935c16",
    ]


BEGINNINGS = {
    "": KEYS,
    "system": ["f8e461ac89fd2c13787a997a2fd1e70d00000005", "2e7731e37e52a8283d50a46083f212d000000005"],
    "talk": ["6a270d32c04b501a8619251a366d70c900000005", "23c016a346779aebaa7707a81620f8d200000005"],
}


@pytest.mark.parametrize("order", list(itertools.permutations(BEGINNINGS)))
def test_a_key_stays_what_it_is_whatever_was_asked_before(order):
    """What a prompt begins with is hashed once for all that follow with the same beginning, and for no others."""
    told = [{"role": "user", "content": "ä?"}, {"role": "assistant", "content": "Yes, " + "ä" * 1500}]
    system = {"role": "system", "content": "Say it short."}
    beginnings = {"": [], "system": [system], "talk": [system, *told]}
    keys = [RequestKeys(provider, settings(parameters={"max_tokens": 5}, headers={})) for provider in PROVIDERS]
    for name in [*order, *order[:1]]:
        prompt = Prompt(messages=[*beginnings[name], {"role": "user", "content": "é"}])
        assert [one.of(prompt).hex() for one in keys] == BEGINNINGS[name]


@pytest.mark.parametrize("provider", [*PROVIDERS, "anthropic"])
@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_stands_behind_the_hash(provider, name):
    """One that is a usual number, from the job or from the row: what it cuts is the same up to there. Where it is none,
    or two are given, it is hashed."""
    prompt = Prompt(messages=[{"role": "user", "content": "?"}])
    plain, none = settings(parameters={name: 5, "seed": 1}), settings(parameters={"seed": 1})
    key, other = RequestKeys(provider, plain).of(prompt), RequestKeys(provider, none).of(prompt)
    assert (key[:KEY_HASH_BYTES] == other[:KEY_HASH_BYTES], limit_in(key), limit_in(other)) == (True, 5, None)
    own = msgspec.structs.replace(prompt, parameters={name: 5})
    assert RequestKeys(provider, none).of(own) == key
    assert RequestKeys(provider, plain).of(msgspec.structs.replace(prompt, parameters={name: None})) == key
    column = settings(parameters={name: {"column": "most"}, "seed": 1})
    assert RequestKeys(provider, column).of(prompt) == other
    assert RequestKeys(provider, msgspec.structs.replace(plain, omit=(name,))).of(prompt) == other
    odd = [{name: 0}, {name: "5"}, {name: True}, {name: 2**32}, dict.fromkeys(LIMITS, 5)]
    hashes = {key[:KEY_HASH_BYTES]}
    for parameters in odd:
        found = RequestKeys(provider, settings(parameters={**parameters, "seed": 1})).of(prompt)
        assert (found[:KEY_HASH_BYTES] in hashes, limit_in(found)) == (False, None)
        hashes.add(found[:KEY_HASH_BYTES])
        assert RequestKeys(provider, none).of(msgspec.structs.replace(prompt, parameters=parameters)) == found


@pytest.mark.parametrize("provider", ["dashscope", "openai"])
@pytest.mark.parametrize("model", ["qwen-plus", "qwen3.5-plus"])
@pytest.mark.parametrize("form", ["messages", "text", "model", "parameters", "parts"])
def test_the_quick_way_to_a_key_gives_the_same_key(provider, model, form):
    """Prompts of plain messages are hashed without building their request; the bytes are those of the request."""
    settings = ModelSettings(
        name=model, base_url="https://h", parameters={"max_tokens": 5, "metadata": {"messages": []}}
    )
    keys, slow = RequestKeys(provider, settings), RequestKeys(provider, settings)
    slow._has_plain = False
    said = [{"content": 'Hi, "you"', "role": "user", "name": "n"}]
    prompt = {
        "messages": Prompt(messages=said),
        "text": Prompt(text="Hi"),
        "model": Prompt(messages=said, model="qwen-max"),
        "parameters": Prompt(messages=said, parameters={"top_p": 0.5}),
        "parts": Prompt(messages=[{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]),
    }[form]
    assert keys.of(prompt) == slow.of(prompt)


def test_the_quick_way_is_used():
    """Where messages are sent as they are; the multimodal path of the native API wants another form."""
    settings = ModelSettings(name="qwen-plus", base_url="https://h")
    assert RequestKeys("dashscope", settings)._has_plain
    assert RequestKeys("openai", settings)._has_plain
    assert not RequestKeys("dashscope", msgspec.structs.replace(settings, name="qwen-vl-max"))._has_plain


def test_a_vendor_s_own_word_for_a_wire_format_is_the_format():
    """`deepseek` and `openai` with its address send the same request."""
    prompt = Prompt(messages=MESSAGES)
    assert RequestKeys("deepseek", settings()).of(prompt) == RequestKeys("openai", settings()).of(prompt)
