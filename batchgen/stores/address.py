"""Addresses such as `s3://bucket/folder/file.parquet`, told from paths and taken apart."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from msgspec import Struct

from batchgen.errors import UsageError
from batchgen.nearest import nearest

WRITABLE = ("s3", "gs", "az", "oss", "hf")
SCHEMES = (*WRITABLE, "https", "http")
_ALIASES = {
    "s3a": "s3", "s3n": "s3", "gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az", "wasb": "az", "wasbs": "az",
    "adl": "az", "htps": "https",
}  # fmt: skip
_SIGNATURE = re.compile(r"\?[A-Za-z0-9_-]+=.*", re.DOTALL)
"""What follows the name in an address that was copied with its right of access."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://?")


_ADDRESS_START = re.compile(rf"({_ADDRESS.pattern}/?)")


class Address(Struct, frozen=True):
    """A place: `bucket` is the bucket, container, repository or host, `key` what is in it, without a slash at the end.

    `text` is how it may be shown and stored: without password and query, which may hold a signature.
    """

    scheme: str
    bucket: str
    key: str
    text: str

    def below(self, name: str) -> str:
        """Return the key of a file under this place."""
        return f"{self.key}/{name}" if self.key else name


def is_address(text: str) -> bool:
    """Whether a text is meant as an address (`scheme://...`), also with a mistyped scheme."""
    return _ADDRESS.match(text) is not None


def shown(text: str) -> str:
    """Return an address without what must not be shown (password, query); a path as it is."""
    if not is_address(text):
        return text
    if text[:4].lower() == "http":
        parts = urlsplit(text)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    scheme, rest = _ADDRESS_START.split(text, maxsplit=1)[1:]
    if ":" in rest.partition("/")[0]:  # a password, which may have slashes
        rest = rest.rpartition("@")[2]
    return scheme + _SIGNATURE.sub("", rest)  # names in stores may have question marks and hash signs


def parse_address(text: str, error: type[UsageError], *, writing: bool = False) -> Address:
    """Take an address apart. Raises `error`, a sentence with the scheme that was probably meant."""
    scheme, sign, rest = text.partition("://")
    allowed = WRITABLE if writing else SCHEMES
    if not sign:
        scheme, _, rest = text.partition(":/")
        raise error(f"{shown(text)}: an address has two slashes. Did you mean {scheme.lower()}://{rest}?")
    scheme = scheme.lower()
    if scheme == "file":
        raise error(f"{text}: name a file on this machine by its path, without file://.")
    if scheme not in SCHEMES:
        near = _ALIASES.get(scheme) or nearest(scheme, SCHEMES, cutoff=0.5)
        if near == "az" and "@" in rest:  # CONTAINER@ACCOUNT.dfs.core.windows.net/PATH
            rest = rest.partition("@")[0] + "/" + rest.partition("@")[2].partition("/")[2]
        meant = f"Did you mean {near}://{rest.partition('?')[0]}?" if near else f"Known are {_listed(allowed)}."
        raise error(f"{shown(text)}: {scheme}:// is no kind of address that is known here. {meant}")
    if scheme not in allowed:
        raise error(f"{shown(text)}: results cannot be written to a web address; known are {_listed(allowed)}.")
    if scheme in ("http", "https"):
        return Address(scheme, urlsplit(text).netloc, text.partition("://")[2].partition("/")[2], shown(text))
    bucket, _, key = rest.partition("/")
    if scheme == "hf":
        bucket, key = _repository(rest)
    if not bucket:
        example = "datasets/OWNER/NAME" if scheme == "hf" else "BUCKET"
        raise error(f"{text}: the bucket's name is missing: write {scheme}://{example}/FOLDER.")
    if scheme != "hf" and ("@" in bucket or ":" in bucket):
        raise error(f"{shown(text)}: user and password have no place in an address; see `batchgen manual buckets`.")
    if scheme == "az" and _SIGNATURE.search(key):
        raise error(f"{shown(text)}: a SAS token has no place in an address: set AZURE_STORAGE_SAS_KEY to it.")
    key = key.rstrip("/")
    if key and any(name in ("", ".", "..") or not name.isprintable() for name in key.split("/")):
        raise error(
            f"{shown(text)!a}: each folder and file in it needs a name, which is neither dots alone nor holds control "
            "characters: others cannot be reached by the libraries for stores."
        )
    if writing and not key:
        raise error(f"{text}: name a folder in it too, such as {scheme}://{bucket}/out: results get one of their own.")
    return Address(scheme, bucket, key, f"{scheme}://{bucket}/{key}" if key else f"{scheme}://{bucket}")


def _repository(rest: str) -> tuple[str, str]:
    """Split `datasets/OWNER/NAME@REVISION/PATH` behind the name."""
    kind, owner, name, key = [*rest.split("/", 3), "", "", "", ""][:4]
    return (f"{kind}/{owner}/{name}", key) if kind in ("datasets", "spaces", "models") and owner and name else ("", "")


def _listed(schemes: tuple[str, ...]) -> str:
    return ", ".join(f"{scheme}://" for scheme in schemes if scheme != "http")
