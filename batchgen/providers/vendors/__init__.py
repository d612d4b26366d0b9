"""The vendors. A new one is a module here with a `Vendor` value, and one line in `VENDORS`."""

from __future__ import annotations

from batchgen.errors import JobError
from batchgen.providers.lane import LIVE, Lane
from batchgen.providers.vendor import INTERNATIONAL, Vendor
from batchgen.providers.vendors.anthropic import ANTHROPIC
from batchgen.providers.vendors.azure import AZURE
from batchgen.providers.vendors.dashscope import DASHSCOPE
from batchgen.providers.vendors.deepseek import DEEPSEEK
from batchgen.providers.vendors.groq import GROQ
from batchgen.providers.vendors.mistral import MISTRAL
from batchgen.providers.vendors.openai import OPENAI
from batchgen.providers.vendors.together import TOGETHER

VENDORS = {vendor.name: vendor for vendor in (DASHSCOPE, OPENAI, ANTHROPIC, AZURE, DEEPSEEK, GROQ, MISTRAL, TOGETHER)}
"""The vendors by the word that names them in `model.provider`."""


def vendor_of(provider: str, base_url: str) -> Vendor:
    """Return who answers at an address that is spoken to in the wire format of `provider`, a word of `VENDORS`.

    A host that is known tells; at any other address the job's own word does.
    """
    named = VENDORS[provider]
    for vendor in VENDORS.values():
        if named.wires[0] in vendor.wires and vendor.serves(base_url):
            return vendor
    return named.elsewhere or named


def lane_of(name: str, provider: str, base_url: str | None) -> Lane | None:
    """Return the lane of this name where a job's requests go, None for the ordinary calls.

    Raises `JobError` with the reason where there is none such.
    """
    if name == LIVE:
        return None
    address = base_url or VENDORS[provider].base_url
    vendor = vendor_of(provider, address)
    for lane in vendor.lanes:
        if lane.name == name:
            lane.address(address)
            return lane
    known = ", ".join([LIVE, *(lane.name for lane in vendor.lanes)])
    where = address or "an address of its own"
    raise JobError(f"model.lane: {vendor.name} has no lane {name} at {where}; it has {known}.")


def region_of(base_url: str) -> str:
    """Return the region whose prices hold at an address."""
    for vendor in VENDORS.values():
        if vendor.serves(base_url):
            return vendor.region(base_url)
    return INTERNATIONAL


__all__ = ["VENDORS", "Vendor", "lane_of", "region_of", "vendor_of"]
