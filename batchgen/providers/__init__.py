"""The wire formats by name, and what each assumes when the job file is silent."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from msgspec import Struct

from batchgen.errors import JobError
from batchgen.providers.dashscope import DashScope
from batchgen.providers.openai_chat import OpenAIChat
from batchgen.providers.protocol import ModelSettings, Provider, Remark


class WireFormat(Struct, frozen=True):
    """One entry of the registry: the class, and the defaults of `model.base_url` and `model.api_key_env`."""

    open: Callable[[ModelSettings, Callable[[], float]], Provider]
    base_url: str
    api_key_env: str


PROVIDERS: dict[str, WireFormat] = {
    "dashscope": WireFormat(DashScope, "https://dashscope-intl.aliyuncs.com", "DASHSCOPE_API_KEY"),
    "openai": WireFormat(OpenAIChat, "https://api.openai.com/v1", "OPENAI_API_KEY"),
}


def open_provider(provider: str, settings: ModelSettings, clock: Callable[[], float] = time.time) -> Provider:
    """Return the wire format bound to `settings`. Raise JobError if there is none of that name, or no valid URL.

    `clock` gives Unix seconds; it is read only to measure dates in response headers.
    """
    try:
        wire_format = PROVIDERS[provider]
    except KeyError:
        nearest = difflib.get_close_matches(provider, PROVIDERS, n=1, cutoff=0.4)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise JobError(f"model.provider: {provider!r} is not one of {', '.join(PROVIDERS)}{hint}") from None
    try:
        urlsplit(settings.base_url)
    except ValueError as error:
        raise JobError(f"model.base_url: {settings.base_url!r} is not a URL: {error}") from None
    return wire_format.open(settings, clock)


__all__ = ["PROVIDERS", "ModelSettings", "Provider", "Remark", "WireFormat", "open_provider"]
