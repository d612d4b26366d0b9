"""Repositories on Hugging Face: what is read is pinned to a commit, and what is written is one commit."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from batchgen.stores.protocol import (
    ChangedError,
    ExistsError,
    MissingError,
    NoRangesError,
    OutageError,
    StoredObject,
    StoreError,
)

_HINT = "The token is that of `hf auth login` or HF_TOKEN."


class HubRepository:
    """One repository, such as `datasets/OWNER/NAME` or `datasets/OWNER/NAME@REVISION`."""

    together = True

    def __init__(self, scheme: str, bucket: str) -> None:
        kind, _, rest = bucket.partition("/")
        self._repo, _, self._revision = rest.partition("@")
        self._kind = kind.removesuffix("s")
        self._name = f"{scheme}://{bucket}"
        self._hub: Any = importlib.import_module("huggingface_hub")
        self._api = self._hub.HfApi()
        self._commits: dict[tuple[str, str], str] = {}  # in which a version of a file was seen

    def listing(self, prefix: str) -> list[StoredObject]:
        commit = self._commit()
        try:
            with self._worded(prefix):
                tree = self._api.list_repo_tree(
                    self._repo, prefix or None, recursive=True, revision=commit, repo_type=self._kind
                )
                return sorted(self._objects(tree, commit), key=lambda found: found.key)
        except MissingError:
            return []

    def head(self, key: str) -> StoredObject:
        commit = self._commit()
        with self._worded(key):
            found = self._objects(
                self._api.get_paths_info(self._repo, key, revision=commit, repo_type=self._kind), commit
            )
        if not found:
            raise MissingError(f"{self._name}/{key} does not exist.")
        return found[0]

    def read(self, key: str, start: int, length: int, version: str) -> bytes:
        commit = self._commits.get((key, version)) or self._commit()
        url = self._hub.hf_hub_url(self._repo, key, repo_type=self._kind, revision=commit, endpoint=self._api.endpoint)
        headers = {**self._hub.utils.build_hf_headers(), "Range": f"bytes={start}-{start + length - 1}"}
        with self._worded(key):
            reply = self._hub.utils.get_session().get(url, headers=headers, follow_redirects=True, timeout=60)
            self._hub.utils.hf_raise_for_status(reply)
            if reply.status_code != HTTPStatus.PARTIAL_CONTENT and start:
                raise NoRangesError(f"{self._name}/{key}: the server sends the file only whole.")
            return bytes(reply.content[:length])

    def put(self, key: str, body: bytes | Path) -> None:
        commit = self._commit()
        if self._exists([key], commit):
            raise ExistsError(f"{self._name}/{key} exists already.")
        self._change([self._added(key, body)], commit)

    def replace(self, key: str, body: bytes, version: str) -> None:
        commit = self._commit()
        if self.head(key).version != version:
            raise ChangedError(f"{self._name}/{key} has been replaced by somebody else.")
        self._change([self._added(key, body)], commit)

    def put_all(self, files: Mapping[str, bytes | Path]) -> None:
        commit = self._commit()
        there = self._exists([*files], commit)  # by a request whose reply was lost
        missing = [self._added(key, body) for key, body in files.items() if key not in there]
        if missing:
            self._change(missing, commit)

    def may_write(self, key: str) -> None:
        with self._worded(key):
            self._api.auth_check(self._repo, repo_type=self._kind, write=True)

    def delete(self, key: str) -> None:
        commit = self._commit()
        if self._exists([key], commit):
            self._change([self._hub.CommitOperationDelete(path_in_repo=key)], commit)

    def _added(self, key: str, body: bytes | Path) -> Any:
        return self._hub.CommitOperationAdd(
            path_in_repo=key, path_or_fileobj=body if isinstance(body, bytes) else str(body)
        )

    def _exists(self, keys: list[str], commit: str) -> set[str]:
        with self._worded(""):
            found = self._api.get_paths_info(self._repo, keys, revision=commit, repo_type=self._kind)
            return {entry.path for entry in found}

    def _change(self, operations: list[Any], parent: str) -> None:
        """Make one commit on top of `parent`; where another one has come first, it is an outage: try again."""
        with self._worded(""):
            self._api.create_commit(
                self._repo,
                operations,
                commit_message="batchgen: results",
                repo_type=self._kind,
                revision=self._revision or None,
                parent_commit=parent,
            )

    def _commit(self) -> str:
        with self._worded(""):
            info = self._api.repo_info(self._repo, repo_type=self._kind, revision=self._revision or None)
            return str(info.sha)

    def _objects(self, entries: Any, commit: str) -> list[StoredObject]:
        found = [StoredObject(entry.path, entry.size, entry.blob_id) for entry in entries if hasattr(entry, "blob_id")]
        self._commits |= {(entry.key, entry.version): commit for entry in found}
        return found

    @contextmanager
    def _worded(self, key: str) -> Iterator[None]:
        place = f"{self._name}/{key}" if key else self._name
        errors = self._hub.errors
        try:
            yield
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            what = "revision" if isinstance(error, errors.RevisionNotFoundError) else "repository"
            raise StoreError(f"{self._name}: there is no such {what} for this token. {_HINT}") from None
        except errors.EntryNotFoundError:
            raise MissingError(f"{place} does not exist.") from None
        except errors.HfHubHTTPError as error:
            status = error.response.status_code
            said = f"{status} {error.response.reason_phrase}"
            if status in (401, 403):
                raise StoreError(f"{place}: access is refused ({said}). {_HINT}") from None
            if status in (408, 409, 412, 429) or status >= 500:
                raise OutageError(f"{place} cannot be reached or changed now ({said}).") from None
            raise StoreError(f"{place}: the server refuses ({said}).") from None
        except (errors.HTTPError, OSError) as error:  # what the library's own client raises
            raise OutageError(f"{place} cannot be reached now ({type(error).__name__}).") from None
