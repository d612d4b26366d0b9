"""Alibaba Cloud's object storage (OSS), by its own SDK: create-only writes are a header of its own there."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from batchgen.stores.protocol import ChangedError, ExistsError, MissingError, OutageError, StoredObject, StoreError

_HINT = (
    "Set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET (with OSS_SESSION_TOKEN for temporary ones), and OSS_REGION, such "
    "as cn-hangzhou; OSS_ENDPOINT is for internal networks."
)


class AliyunStore:
    """One bucket."""

    together = False

    def __init__(self, scheme: str, bucket: str) -> None:
        self._bucket, self._name = bucket, f"{scheme}://{bucket}"
        self._oss: Any = importlib.import_module("alibabacloud_oss_v2")
        region = os.environ.get("OSS_REGION")
        if not region or not os.environ.get("OSS_ACCESS_KEY_ID") or not os.environ.get("OSS_ACCESS_KEY_SECRET"):
            raise StoreError(f"{self._name} cannot be opened: no credentials or no region. {_HINT}")
        settings = self._oss.config.load_default()
        settings.credentials_provider = self._oss.credentials.EnvironmentVariableCredentialsProvider()
        settings.region = region
        settings.endpoint = os.environ.get("OSS_ENDPOINT") or settings.endpoint
        settings.retry_max_attempts = 1
        settings.connect_timeout, settings.readwrite_timeout = 10, 60
        self._client = self._oss.Client(settings)

    def listing(self, prefix: str) -> list[StoredObject]:
        wanted = self._oss.ListObjectsV2Request(self._bucket, prefix=f"{prefix}/" if prefix else None)
        with self._worded(prefix):
            pages = self._client.list_objects_v2_paginator().iter_page(wanted)
            found = [entry for page in pages for entry in page.contents or ()]
        return [StoredObject(entry.key, entry.size, entry.etag.strip('"')) for entry in found]

    def head(self, key: str) -> StoredObject:
        with self._worded(key):
            found = self._client.head_object(self._oss.HeadObjectRequest(self._bucket, key))
        return StoredObject(key, found.content_length, found.etag.strip('"'))

    def read(self, key: str, start: int, length: int, version: str) -> bytes:
        wanted = self._oss.GetObjectRequest(
            self._bucket, key, range_header=f"bytes={start}-{start + length - 1}", if_match=f'"{version}"'
        )
        with self._worded(key):
            return bytes(self._client.get_object(wanted).body.read())

    def put(self, key: str, body: bytes | Path) -> None:
        self._put(key, body, forbid_overwrite=True)

    def replace(self, key: str, body: bytes, version: str) -> None:
        # OSS has no condition for this; that nobody else writes here is what the claim is for
        if self.head(key).version != version:
            raise ChangedError(f"{self._name}/{key} has been replaced by somebody else.")
        self._put(key, body, forbid_overwrite=False)

    def put_all(self, files: Mapping[str, bytes | Path]) -> None:
        raise NotImplementedError

    def may_write(self, key: str) -> None:
        with self._worded(key):  # an upload in parts is nothing until it is ended
            begun = self._client.initiate_multipart_upload(self._oss.InitiateMultipartUploadRequest(self._bucket, key))
            self._client.abort_multipart_upload(
                self._oss.AbortMultipartUploadRequest(self._bucket, key, upload_id=begun.upload_id)
            )

    def delete(self, key: str) -> None:
        with suppress(MissingError), self._worded(key):
            self._client.delete_object(self._oss.DeleteObjectRequest(self._bucket, key))

    def _put(self, key: str, body: bytes | Path, *, forbid_overwrite: bool) -> None:
        with self._worded(key):
            content = body if isinstance(body, bytes) else body.read_bytes()
            self._client.put_object(
                self._oss.PutObjectRequest(self._bucket, key, body=content, forbid_overwrite=forbid_overwrite)
            )

    @contextmanager
    def _worded(self, key: str) -> Iterator[None]:
        place = f"{self._name}/{key}" if key else self._name
        try:
            yield
        except self._oss.exceptions.BaseError as error:
            cause = error.unwrap() if isinstance(error, self._oss.exceptions.OperationError) else error
            raise self._as_store_error(place, cause) from None
        except OSError as error:  # a download that broke off
            raise OutageError(f"{place} cannot be read now ({type(error).__name__}).") from None

    def _as_store_error(self, place: str, error: Any) -> StoreError:
        status, code = getattr(error, "status_code", None), getattr(error, "code", None) or ""
        said = ": ".join(filter(None, [code, getattr(error, "message", None)])) or type(error).__name__
        if code == "FileAlreadyExists":
            return ExistsError(f"{place} exists already.")
        if code == "NoSuchBucket":
            return StoreError(f"{self._name} does not exist: there is no such bucket for these credentials.")
        if status == 404:
            return MissingError(f"{place} does not exist.")
        if status in (304, 412):
            return ChangedError(f"{place} has changed.")
        if status in (401, 403):
            return StoreError(f"{place}: access is refused ({said.rstrip('.')}). {_HINT}")
        if not status or status >= 500 or status in (408, 409, 429):
            return OutageError(f"{place} cannot be reached now ({said.rstrip('.')}).")
        return StoreError(f"{place}: the store refuses ({said.rstrip('.')}).")
