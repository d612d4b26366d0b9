"""Files on web servers, read by ranges."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import httpx

from batchgen.stores.protocol import ChangedError, MissingError, NoRangesError, OutageError, StoredObject, StoreError

_BUSY = (408, 425, 429)


class WebFiles:
    """One host; a key is what follows it in the address, with the query."""

    together = False

    def __init__(self, scheme: str, host: str) -> None:
        self._base = f"{scheme}://{host}/"
        self._client = httpx.Client(follow_redirects=True, timeout=httpx.Timeout(60, connect=10))

    def listing(self, prefix: str) -> list[StoredObject]:
        raise StoreError(
            f"{self._base}{prefix.partition('?')[0]}: a web server does not list its files; name one file."
        )

    def head(self, key: str) -> StoredObject:
        # by a range: servers that sign an address for GET refuse HEAD, and some HEAD replies lack the length
        with self._get(key, {"Range": "bytes=0-0"}) as reply:
            total = reply.headers.get("Content-Range", "").rpartition("/")[2] or reply.headers.get("Content-Length", "")
            if reply.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                total = "0"
            if not total.isdecimal():
                raise StoreError(
                    f"{self._shown(key)}: the server does not say how long the file is; download it first."
                )
            return StoredObject(key, int(total), _version(reply))

    def read(self, key: str, start: int, length: int, version: str) -> bytes:
        with self._get(key, {"Range": f"bytes={start}-{start + length - 1}"}) as reply:
            if _version(reply) != version:
                raise ChangedError(f"{self._shown(key)} has changed.")
            if reply.status_code == httpx.codes.OK:
                if start:
                    raise NoRangesError(f"{self._shown(key)}: the server sends the file only whole.")
                return self._some(key, reply, length)
            return self._some(key, reply, length)

    def _some(self, key: str, reply: httpx.Response, length: int) -> bytes:
        body = bytearray()
        try:
            for piece in reply.iter_raw():
                body += piece
                if len(body) >= length:
                    break
        except httpx.HTTPError as error:
            raise OutageError(f"{self._shown(key)} broke off ({type(error).__name__}).") from None
        return bytes(body[:length])

    def put(self, key: str, body: bytes | Path) -> None:
        raise StoreError(f"{self._shown(key)}: results cannot be written to a web address.")

    def replace(self, key: str, body: bytes, version: str) -> None:
        self.put(key, body)

    def put_all(self, files: Mapping[str, bytes | Path]) -> None:
        raise NotImplementedError

    def may_write(self, key: str) -> None:
        self.put(key, b"")

    def delete(self, key: str) -> None:
        raise NotImplementedError

    def _get(self, key: str, headers: Mapping[str, str]) -> _Reply:
        request = self._client.build_request(
            "GET", self._base + key, headers={"Accept-Encoding": "identity", **headers}
        )
        try:
            reply = self._client.send(request, stream=True)
        except httpx.HTTPError as error:
            raise OutageError(f"{self._shown(key)} cannot be reached ({error or type(error).__name__}).") from None
        status = reply.status_code
        if status in (200, 206, 416):
            return _Reply(reply)
        reply.close()
        what = f"{self._shown(key)}: the server answers {status} {reply.reason_phrase}"
        if status in (404, 410):
            raise MissingError(f"{self._shown(key)} does not exist.")
        if status in _BUSY or status >= 500:
            raise OutageError(f"{what}.")
        raise StoreError(f"{what}.")

    def _shown(self, key: str) -> str:
        return self._base + key.partition("?")[0]


class _Reply:
    """A reply that is closed at the end of the block."""

    def __init__(self, reply: httpx.Response) -> None:
        self._reply = reply

    def __enter__(self) -> httpx.Response:
        return self._reply

    def __exit__(self, *_: object) -> None:
        self._reply.close()


def _version(reply: httpx.Response) -> str:
    return str(reply.headers.get("ETag") or reply.headers.get("Last-Modified") or "")
