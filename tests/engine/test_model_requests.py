"""A request put together round a row's text is, byte for byte, the one that the provider builds; so is its key."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.engine.model_requests import FRAMES, ModelRequests
from batchgen.providers import open_provider
from batchgen.providers.protocol import ModelSettings
from batchgen.providers.request_key import RequestKeys
from batchgen.providers.request_parts import last_text
from batchgen.values import Attachment, Prompt

URL = "https://a.test/v1"
PICTURE = {"type": "image_url", "image_url": {"url": "https://a.test/a.png"}}
TEXTS = st.sampled_from(["?", "", '"', "the text of another row", "\u2028\x00", "\N{GRINNING FACE}"]) | st.text()
CONTENTS = TEXTS | st.just([{"type": "text", "text": "Which?"}, PICTURE])
ROLES = st.sampled_from(["system", "user", "assistant", "developer", "tool"])
MESSAGE = st.fixed_dictionaries(
    {"role": ROLES, "content": CONTENTS}, optional={"name": st.just("n"), "tool_call_id": st.just("c")}
)
LAST = st.fixed_dictionaries({"role": st.just("user"), "content": TEXTS})
PROMPT = st.builds(
    Prompt,
    messages=st.builds(lambda before, last: [*before, last], st.lists(MESSAGE, max_size=2), LAST | MESSAGE),
    model=st.none() | st.just("another"),
    parameters=st.none() | st.just({"top_p": 0.5}),
    attached=st.just(()) | st.just((Attachment("a", "image", "png", b"digest"),)),
)
MODELS = [
    ("openai", {"parameters": {"stop": ["the text of a row of batchgen"], "max_tokens": 5}}),
    ("openai", {}),
    ("dashscope", {"parameters": {"max_tokens": 5}}),
    ("dashscope", {"name": "qwen-vl-plus"}),
    ("anthropic", {"name": "claude-x", "parameters": {"max_tokens": 5}}),
]


@settings(max_examples=60, deadline=None)
@given(model=st.sampled_from(MODELS), prompts=st.lists(PROMPT, min_size=1, max_size=3), stream=st.booleans())
def test_a_text_changes_neither_request_nor_key(model, prompts, stream):
    vendor, given_settings = model
    model_settings = ModelSettings(**{"name": "qwen-plus", "base_url": URL, **given_settings})
    provider, keys = open_provider(vendor, model_settings), RequestKeys(vendor, model_settings)
    requests = ModelRequests(provider, model_settings.name, stream=stream)
    for prompt in prompts * 2:
        text = last_text(prompt)
        assert requests.build(prompt, text) == provider.build_request(prompt, stream=requests.streams(prompt))
        fresh = RequestKeys(vendor, model_settings)
        assert keys.of(prompt, text) == keys.of(prompt) == fresh.of(prompt)


@pytest.mark.parametrize("asked", ["", "A system message."])
def test_prompts_that_begin_alike_are_built_by_the_provider_once(asked):
    built = []

    class Provider:
        def build_request(self, prompt, *, stream):
            built.append(prompt)
            return provider.build_request(prompt, stream=stream)

        def __getattr__(self, name):
            return getattr(provider, name)

    provider = open_provider("openai", ModelSettings(name="m", base_url=URL))
    requests = ModelRequests(Provider(), "m", stream=False)
    before = [{"role": "system", "content": asked}] if asked else []
    for number in range(100):
        prompt = Prompt([*before, {"role": "user", "content": f"row {number}"}])
        assert requests.build(prompt, last_text(prompt)) == provider.build_request(prompt, stream=False)
    assert len(built) == 2

    requests.stream_from_now_on(prompt)
    assert requests.build(prompt, last_text(prompt)) == provider.build_request(prompt, stream=True)


def test_where_every_prompt_begins_in_another_way_the_provider_builds_them():
    built = []
    provider = open_provider("openai", ModelSettings(name="m", base_url=URL))
    build = provider.build_request

    def counted(prompt, *, stream):
        built.append(prompt)
        return build(prompt, stream=stream)

    provider.build_request = counted
    requests = ModelRequests(provider, "m", stream=False)
    for number in range(100):
        prompt = Prompt([{"role": "system", "content": f"{number}"}, {"role": "user", "content": "?"}])
        assert requests.build(prompt, last_text(prompt)) == build(prompt, stream=False)
    assert len(built) == 100 + FRAMES
