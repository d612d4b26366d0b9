"""Which certificate authorities are trusted: the system's, or those of `SSL_CERT_FILE` / `SSL_CERT_DIR`.

OpenSSL reads the two variables by itself, but it does not report a file that cannot be read, and it trusts no server on
a system without authorities (a minimal container, a python.org build on macOS).
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import certifi

from batchgen.errors import JobError


def tls_context() -> ssl.SSLContext:
    """Return a TLS context that verifies certificate and host name. Raises `JobError` as `extra_authorities` does."""
    context = ssl.create_default_context()
    if (extra := extra_authorities()) is not None:
        context.load_verify_locations(cafile=extra)
    return context


def extra_authorities() -> Path | None:
    """Return a PEM file of authorities to trust as well: certifi's, if the system has none; otherwise None.

    Raises `JobError` if `SSL_CERT_FILE` or `SSL_CERT_DIR` names something that cannot be read.
    """
    file, directory = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
        except OSError as error:  # ssl.SSLError is one
            raise JobError(f"SSL_CERT_FILE={file} cannot be read as certificates in PEM form: {error}") from None
    if directory and not Path(directory).is_dir():
        raise JobError(f"SSL_CERT_DIR={directory} is no directory")
    if file or directory:
        return None
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        return None
    return Path(certifi.where())
