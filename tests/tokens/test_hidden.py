"""What a request costs beside its own text is seen, in every form that vendors give it; plain text is left alone."""

import pytest

from batchgen.tokens.hidden import AUDIO, FILES, IMAGES, VIDEO, added_by_provider, media_of
from batchgen.tokens.parameters import effective_parameters
from batchgen.values import Prompt


def kinds(content, role="user"):
    return [part.kind for part in media_of(Prompt(messages=[{"role": role, "content": content}]))]


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}}, IMAGES),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, IMAGES),
        ({"type": "input_image", "image_url": "https://pictures.example/a.png"}, IMAGES),
        ({"image": "https://pictures.example/a.png"}, IMAGES),
        ({"type": "image", "source": {"type": "base64", "data": "AAAA"}}, IMAGES),
        ({"type": "video_url", "video_url": {"url": "https://pictures.example/a.mp4"}}, VIDEO),
        ({"type": "video", "video": ["https://pictures.example/1.png", "https://pictures.example/2.png"]}, VIDEO),
        ({"video": "https://pictures.example/a.mp4"}, VIDEO),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, AUDIO),
        ({"audio": "https://pictures.example/a.wav"}, AUDIO),
        ({"type": "file", "file": {"file_id": "file-1"}}, FILES),
        ({"type": "document", "source": {"type": "url", "url": "https://pictures.example/a.pdf"}}, FILES),
        ({"type": "text", "text": "look", "image": "https://pictures.example/a.png"}, IMAGES),
        ({"type": "something_new", "something_new": 1}, FILES),
    ],
)
def test_what_is_not_text_is_seen(part, kind):
    """By its type or its key, alone and beside text."""
    assert kinds([part]) == [kind]
    assert kinds([{"type": "text", "text": "What is this?"}, part, part]) == [kind, kind]
    assert kinds([{"type": "tool_result", "tool_use_id": "1", "content": [part]}]) == [kind]


@pytest.mark.parametrize(
    "content",
    [
        "an image at https://pictures.example/a.png",
        None,
        [],
        ["plain", {"text": "native"}, {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
        [{"type": "refusal", "refusal": "no"}, {"type": "tool_result", "tool_use_id": "1", "content": "42"}],
    ],
)
def test_text_is_text(content):
    """In all its forms."""
    assert kinds(content) == []


def test_documents_by_their_ids_are_files():
    """The ids stand in a system message and look like text; an earlier spoken answer is named by its id."""
    assert kinds("fileid://file-fe-1,fileid://file-fe-2", "system") == [FILES, FILES]
    assert kinds("what does fileid:// mean?") == []
    spoken = Prompt(messages=[{"role": "assistant", "content": "", "audio": {"id": "audio_1"}}])
    assert [part.kind for part in media_of(spoken)] == [AUDIO]


@pytest.mark.parametrize(
    "parameters",
    [
        {"enable_search": True},
        {"extra_body": {"enable_search": True}},
        {"web_search_options": {}},
        {"search_parameters": {"mode": "auto"}},
        {"plugins": [{"id": "web"}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "web_search"}]},
        {"tools": [{"type": "code_interpreter"}]},
        {"tools": [{"google_search": {}}]},
        {"enable_code_interpreter": True},
        {"data_sources": [{"type": "azure_search"}]},
        {"modalities": ["text", "audio"]},
    ],
)
def test_what_the_provider_adds_is_seen(parameters):
    """Searches, tools that run there, spoken answers."""
    assert added_by_provider("m", effective_parameters(parameters)) is not None


@pytest.mark.parametrize(
    "model", ["gpt-4o-search-preview", "gpt-4o-mini-search-preview-2025-03-11", "perplexity/sonar"]
)
def test_models_that_always_search(model):
    """Their names say so."""
    assert added_by_provider(model, {}) is not None


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"enable_search": False, "search_options": {"forced_search": False}},
        {"search_parameters": {"mode": "off"}, "plugins": [], "modalities": ["text"]},
        {"tools": [{"type": "function", "function": {"name": "web_search"}}, {"function": {"name": "f"}}]},
        {"tools": None, "web_search_options": None},
    ],
)
def test_what_adds_nothing_is_left_alone(parameters):
    """Switches that are off, and functions that the caller runs."""
    assert added_by_provider("qwen-plus", parameters) is None
