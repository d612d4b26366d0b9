"""The vendors. A new one is a module here with a `Vendor` value, and one line in `VENDORS`."""

from __future__ import annotations

from batchgen.providers.vendor import INTERNATIONAL, Vendor
from batchgen.providers.vendors.azure import AZURE
from batchgen.providers.vendors.dashscope import DASHSCOPE
from batchgen.providers.vendors.deepseek import DEEPSEEK
from batchgen.providers.vendors.groq import GROQ
from batchgen.providers.vendors.mistral import MISTRAL
from batchgen.providers.vendors.openai import OPENAI

VENDORS = {vendor.name: vendor for vendor in (DASHSCOPE, OPENAI, AZURE, DEEPSEEK, GROQ, MISTRAL)}
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


def region_of(base_url: str) -> str:
    """Return the region whose prices hold at an address."""
    for vendor in VENDORS.values():
        if vendor.serves(base_url):
            return vendor.region(base_url)
    return INTERNATIONAL


__all__ = ["VENDORS", "Vendor", "region_of", "vendor_of"]
