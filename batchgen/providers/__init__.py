"""Who answers (`vendors/`), and how it is spoken to (the wire formats): a job's model made ready to be asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import structs

from batchgen.errors import JobError
from batchgen.nearest import nearest
from batchgen.providers.lane import Lane
from batchgen.providers.protocol import ModelSettings, Provider, Remark
from batchgen.providers.vendor import Vendor, WireName
from batchgen.providers.vendors import VENDORS, lane_of, vendor_of

if TYPE_CHECKING:
    from batchgen.providers.batch_api import BatchApi


def wire_of(provider: str) -> WireName:
    """Return the wire format that a word in `model.provider` means. Raises JobError if it means none."""
    try:
        return VENDORS[provider].wires[0]
    except KeyError:
        near = nearest(provider, VENDORS, cutoff=0.4)
        hint = f" Did you mean {near!r}?" if near else ""
        raise JobError(f"model.provider: {provider!r} is not one of {', '.join(VENDORS)}.{hint}") from None


def default_base_url(provider: str) -> str:
    """Return where a vendor's API is. Raises JobError for one that has no address for all its users."""
    if not (base_url := VENDORS[provider].base_url):
        raise JobError(f"model.base_url is missing: {provider} has no address that is the same for all its users.")
    return base_url


def open_provider(
    provider: str, settings: ModelSettings, clock: Callable[[], float] = time.time, lane: Lane | None = None
) -> Provider:
    """Return the wire format bound to `settings`. Raise JobError if there is none of that name, or no valid URL.

    In a `lane` the settings have its address already, and the parameters of the job.

    `clock` gives Unix seconds; it is read only to measure dates in response headers.
    """
    wire = wire_of(provider)
    try:
        urlsplit(settings.base_url)
    except ValueError as error:
        raise JobError(f"model.base_url: {settings.base_url!r} is not a URL: {error}") from None
    vendor = vendor_of(provider, settings.base_url)
    if lane is not None:
        given = lane.chat(settings.parameters) if wire == "dashscope" else settings.parameters
        settings = structs.replace(settings, parameters=lane.parameters(given))
    return _format(wire, in_lane=lane is not None)(settings, vendor, clock)


def open_reader(provider: str, settings: ModelSettings, *, in_lane: bool) -> Provider:
    """Return a wire format that only reads replies, as the one of `open_provider` does: of the settings it needs no
    more than name, address and what is left out of requests."""
    vendor = vendor_of(provider, settings.base_url)
    return _format(wire_of(provider), in_lane=in_lane)(settings, vendor, time.time)


def _format(wire: WireName, *, in_lane: bool) -> Callable[[ModelSettings, Vendor, Callable[[], float]], Provider]:
    """Return a wire format. A run needs one, and the others are not imported."""
    if wire == "anthropic":
        from batchgen.providers.anthropic_messages import AnthropicMessages

        return AnthropicMessages
    if wire == "openai":
        from batchgen.providers.openai_chat import OpenAIChat

        return OpenAIChat
    from batchgen.providers.dashscope_native import DashScopeInChatForm, DashScopeNative

    return DashScopeInChatForm if in_lane else DashScopeNative


def open_batches(
    provider: str, settings: ModelSettings, lane: Lane, wire_format: Provider, *, trial: bool = False
) -> BatchApi:
    """Return the batch API of a lane that has one, for the requests that `wire_format` makes and reads in that lane.

    `trial`: for a free trial without inference, where the vendor has one.
    """
    vendor = vendor_of(provider, settings.base_url)
    assert lane.batch is not None
    if wire_of(provider) == "anthropic":
        from batchgen.providers.message_batches import MessageBatches

        return MessageBatches(settings, vendor, lane.batch, wire_format)
    from batchgen.providers.file_batches import FileBatches

    return FileBatches(settings, vendor, lane.batch, wire_format, trial=trial)


__all__ = [
    "VENDORS",
    "ModelSettings",
    "Provider",
    "Remark",
    "Vendor",
    "default_base_url",
    "lane_of",
    "open_batches",
    "open_provider",
    "open_reader",
    "vendor_of",
    "wire_of",
]
