"""Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage: by obstore."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from batchgen.stores.protocol import (
    ChangedError,
    ExistsError,
    MissingError,
    OutageError,
    StoredObject,
    StoreError,
)

_TIMEOUT, _CONNECT_TIMEOUT = timedelta(seconds=300), timedelta(seconds=10)
_SINGLE_PUT_BYTES = 256 * 1024 * 1024
"""A larger file goes in pieces and comes into being at the end. Stores then take no condition: its name must be new."""

_STATUS = re.compile(r"status code: ((\d{3})[A-Za-z ]*)")
_CODE = re.compile(r"<Code>([^<]{1,100})</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist")
_HINTS = {
    "s3": "Credentials are found as by the AWS tools (environment, ~/.aws, AWS_PROFILE); a public bucket needs "
    "AWS_SKIP_SIGNATURE=true; other services than Amazon's need AWS_ENDPOINT_URL.",
    "gs": "Credentials are those of `gcloud auth application-default login` or GOOGLE_APPLICATION_CREDENTIALS; a "
    "public bucket needs GOOGLE_SKIP_SIGNATURE=true.",
    "az": "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY (or a connection string, a SAS token, "
    "or AZURE_USE_AZURE_CLI=true after `az login`).",
}


class ObjectStore:
    """One bucket or container."""

    together = False

    def __init__(self, scheme: str, bucket: str) -> None:
        self._scheme, self._name = scheme, f"{scheme}://{bucket}"
        self._obstore = importlib.import_module("obstore")
        kinds = importlib.import_module("obstore.store")
        self._errors = importlib.import_module("obstore.exceptions")
        kind = {"s3": kinds.S3Store, "gs": kinds.GCSStore, "az": kinds.AzureStore}[scheme]
        options = {"timeout": _TIMEOUT, "connect_timeout": _CONNECT_TIMEOUT, "allow_http": True}
        given = _aws() if scheme == "s3" else _azure() if scheme == "az" else {}
        with self._worded(""):
            self._store = kind(bucket, client_options=options, retry_config={"max_retries": 0}, **given)

    def listing(self, prefix: str) -> list[StoredObject]:
        with self._worded(prefix):
            found = [entry for page in self._obstore.list(self._store, prefix or None) for entry in page]
        return sorted((_object(entry) for entry in found), key=lambda entry: entry.key)

    def head(self, key: str) -> StoredObject:
        with self._worded(key):
            return _object(self._obstore.head(self._store, key))

    def read(self, key: str, start: int, length: int, version: str) -> bytes:
        options: dict[str, Any] = {"range": (start, start + length)}
        if version:
            options["if_match"] = f'"{version}"'
        with self._worded(key):
            return bytes(self._obstore.get(self._store, key, options=options).bytes())

    def put(self, key: str, body: bytes | Path) -> None:
        large = isinstance(body, Path) and body.stat().st_size > _SINGLE_PUT_BYTES
        with self._worded(key, putting=True):
            if large:
                self._obstore.put(self._store, key, body, mode="overwrite")
            else:
                self._obstore.put(self._store, key, body, mode="create", use_multipart=False)

    def replace(self, key: str, body: bytes, version: str) -> None:
        with self._worded(key, putting=True):
            found = self._obstore.head(self._store, key)
            if _object(found).version != version:
                raise ChangedError(f"{self._name}/{key} has been replaced by somebody else.")
            condition = {name: found[name] for name in ("e_tag", "version") if found[name] is not None}
            self._obstore.put(self._store, key, body, mode=condition, use_multipart=False)

    def put_all(self, files: Mapping[str, bytes | Path]) -> None:
        raise NotImplementedError

    def may_write(self, key: str) -> None:
        never = {"e_tag": '"0"', "version": "1"}  # a condition that cannot hold; who may not write is told that first
        with self._worded(key, putting=True):
            try:
                self._obstore.put(self._store, key, b"", mode=never, use_multipart=False)
            except (self._errors.PreconditionError, FileNotFoundError) as error:
                if any(word in str(error) for word in _NO_BUCKET):
                    raise
                return
        self.delete(key)
        raise StoreError(f"{self._name}: this server ignores the conditions of a put, which writing needs.")

    def delete(self, key: str) -> None:
        try:
            with self._worded(key):
                self._obstore.delete(self._store, key)
        except MissingError:
            pass

    @contextmanager
    def _worded(self, key: str, *, putting: bool = False) -> Iterator[None]:
        """Raise what went wrong as one of the store's errors, with the server's own words."""
        place = f"{self._name}/{key}" if key else self._name
        try:
            yield
        except self._errors.AlreadyExistsError:
            raise ExistsError(f"{place} exists already.") from None
        except (self._errors.PreconditionError, self._errors.NotModifiedError) as error:
            if any(word in str(error) for word in _NO_BUCKET):
                raise self._as_store_error(place, error, putting) from None
            raise ChangedError(f"{place} has changed.") from None
        except (self._errors.BaseError, FileNotFoundError) as error:
            raise self._as_store_error(place, error, putting) from None

    def _as_store_error(self, place: str, error: Exception, putting: bool) -> StoreError:
        text = str(error)
        status = _STATUS.search(text)
        code = int(status[2]) if status else None
        if any(word in text for word in _NO_BUCKET) or (putting and isinstance(error, FileNotFoundError)):
            return StoreError(
                f"{self._name} does not exist: there is no such bucket or container for these credentials."
            )
        if isinstance(error, FileNotFoundError):
            return MissingError(f"{place} does not exist.")
        said = ": ".join(found[1].strip() for pattern in (_CODE, _MESSAGE) if (found := pattern.search(text)))
        said = said or (status[1].strip() if status else text.partition("\n")[0].rpartition(" - ")[2][:300])
        if isinstance(error, self._errors.PermissionDeniedError | self._errors.UnauthenticatedError) or code in (
            401,
            403,
        ):
            return StoreError(f"{place}: access is refused ({said.rstrip('.')}). {_HINTS[self._scheme]}")
        if code is not None and 300 <= code < 400:
            return StoreError(f"{self._name} is in another region ({said.rstrip('.')}): set AWS_REGION to it.")
        if code is None and ("credential" in text.lower() or "account" in text.lower()):
            return StoreError(f"{place} cannot be opened ({said.rstrip('.')}). {_HINTS[self._scheme]}")
        if "invalid path" in text:
            return StoreError(
                f"{place} holds an object whose name the library for stores cannot read, so that nothing there can be "
                f"listed ({said.rstrip('.')}): rename it, or name a folder or file beside it."
            )
        if code == 501 or isinstance(error, self._errors.NotSupportedError):
            return StoreError(
                f"{place}: this server lacks what is needed ({said.rstrip('.')}); writing needs conditional puts."
            )
        if code is None or code >= 500 or code in (408, 409, 425, 429):
            return OutageError(f"{place} cannot be reached now ({said.rstrip('.')}).")
        return StoreError(f"{place}: the store refuses ({said.rstrip('.')}).")


def _object(entry: Any) -> StoredObject:
    version = (entry["e_tag"] or "").removeprefix("W/").strip('"')  # lists of Azure have no quotes round it
    return StoredObject(entry["path"], entry["size"], version)


def _aws() -> dict[str, Any]:
    """Return what obstore does not find by itself: profiles, SSO and the region in ~/.aws, which boto3 knows."""
    if os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_SKIP_SIGNATURE"):
        return {}
    try:
        session = importlib.import_module("boto3").Session()
    except ImportError:
        return {}
    except Exception as error:  # botocore's own kinds: a profile that is not there, a file that is no configuration
        raise StoreError(f"The AWS settings cannot be used: {error}.") from None
    if session.get_credentials() is None:
        raise StoreError(f"No AWS credentials are found. {_HINTS['s3']}")
    provider = importlib.import_module("obstore.auth.boto3").Boto3CredentialProvider(session)
    return {"credential_provider": provider}


def _azure() -> dict[str, Any]:
    """Return the settings of a connection string, as the Azure tools know it."""
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    parts = dict(part.partition("=")[::2] for part in text.split(";") if part)
    names = {"AccountName": "account_name", "AccountKey": "account_key", "BlobEndpoint": "endpoint",
             "SharedAccessSignature": "sas_key"}  # fmt: skip
    return {name: parts[word] for word, name in names.items() if parts.get(word)}
