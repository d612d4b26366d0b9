"""moto's S3 server behind a layer that counts the requests and can lie: lose replies, refuse, be out of order."""

import contextlib
import logging
import re
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-tester",
    "AWS_REGION": "us-east-1",
}
_CODES = {503: "SlowDown", 500: "InternalError", 403: "AccessDenied", 501: "NotImplemented", 400: "InvalidArgument"}


class Request(NamedTuple):
    """A request as it came, and what was answered."""

    method: str
    path: str
    range: str | None
    status: int
    bytes: int


class S3Server:
    """`with S3Server() as server:` serves on a free port; `fault` is asked about each request before it is served.

    It gets the method and the path and returns None, a status to answer with, `"lost"` (do it, and hang up instead of
    answering), `"dropped"` (hang up before), or `"unconditional"` (forget the conditions, as some servers do).
    """

    def __init__(self):
        self.requests = []
        self.fault: Callable[[str, str], str | int | None] = lambda method, path: None
        self._app = DomainDispatcherApplication(create_backend_app)

    def __enter__(self):
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        )
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def environment(self):
        """What a user has set who works with this server."""
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.url}

    def bucket(self, name):
        """Make an empty bucket."""
        with contextlib.suppress(self.client.exceptions.BucketAlreadyOwnedByYou):
            self.client.create_bucket(Bucket=name)
        for key in self.keys(name):
            self.client.delete_object(Bucket=name, Key=key)
        self.requests.clear()
        return name

    def keys(self, bucket):
        """Return the keys of all objects."""
        return [found["Key"] for found in self.client.list_objects_v2(Bucket=bucket).get("Contents", [])]

    def put(self, bucket, key, body):
        """Put an object."""
        self.client.put_object(Bucket=bucket, Key=key, Body=body)

    def get(self, bucket, key):
        """Return the content of an object."""
        return self.client.get_object(Bucket=bucket, Key=key)["Body"].read()

    def served(self, method, pattern=""):
        """Return the requests of a method whose path has a pattern."""
        return [request for request in self.requests if request.method == method and re.search(pattern, request.path)]

    def _serve(self, environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        fault = None if "boto" in environ.get("HTTP_USER_AGENT", "").lower() else self.fault(method, path)
        if isinstance(fault, int):
            body = f"<Error><Code>{_CODES[fault]}</Code><Message>as told</Message></Error>".encode()
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            self._note(environ, fault, 0)
            start_response(f"{fault} Fault", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [b"" if method == "HEAD" else body]
        if fault == "dropped":
            return self._hang_up(environ, 0)
        if fault == "unconditional":
            environ.pop("HTTP_IF_NONE_MATCH", None)
            environ.pop("HTTP_IF_MATCH", None)
        found = {}

        def start(status, headers, error=None):
            found.update(status=status, headers=headers)
            return None

        body = b"".join(self._app(environ, start))
        status = int(found["status"].split()[0])
        if fault == "lost":
            return self._hang_up(environ, status)
        self._note(environ, status, len(body))
        start_response(found["status"], found["headers"])
        return [body]

    def _note(self, environ, status, size):
        if "boto" not in environ.get("HTTP_USER_AGENT", "").lower():
            request = Request(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ.get("HTTP_RANGE"), status, size)
            self.requests.append(request)

    def _hang_up(self, environ, status):
        self._note(environ, status, 0)
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError("as the test says")
