"""The store of an address."""

from __future__ import annotations

import importlib
from functools import lru_cache

from batchgen.errors import UsageError
from batchgen.extras import missing
from batchgen.stores.address import Address
from batchgen.stores.protocol import Store

_HOMES = {
    "s3": ("objects", "ObjectStore", "obstore", "s3"),
    "gs": ("objects", "ObjectStore", "obstore", "gcs"),
    "az": ("objects", "ObjectStore", "obstore", "azure"),
    "oss": ("aliyun", "AliyunStore", "alibabacloud_oss_v2", "oss"),
    "hf": ("hub", "HubRepository", "huggingface_hub", "hf"),
    "https": ("web", "WebFiles", "", ""),
    "http": ("web", "WebFiles", "", ""),
}
"""By scheme: module and class of the store, the library that it needs, and the extra that brings it."""


@lru_cache(maxsize=32)
def _opened(scheme: str, bucket: str) -> Store:
    module, name, _, _ = _HOMES[scheme]
    store: Store = getattr(importlib.import_module(f"batchgen.stores.{module}"), name)(scheme, bucket)
    return store


def open_store(address: Address) -> Store:
    """Return the store that an address is in. Raises `UsageError` where its library is missing, `StoreError`."""
    _, _, library, extra = _HOMES[address.scheme]
    lacking = missing(extra, library) if extra else None
    if lacking is not None:
        raise UsageError(f"{address.text}: {address.scheme}:// needs {lacking}")
    return _opened(address.scheme, address.bucket)
