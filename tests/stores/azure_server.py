"""Azure Blob Storage behind a layer that counts the requests and can lie: Azurite, or a server of the project's own.

Azurite is Microsoft's emulator, a program of Node.js (`npm install -g azurite`). Where it is not installed, `AzureStub`
answers the few requests that are made here, as Azurite does in the same tests.
"""

import base64
import hashlib
import hmac
import http.client
import os
import re
import shutil
import socket
import subprocess
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import obstore
from obstore.store import AzureStore

from tests.stores.s3_server import Request
from tests.stores.stubs import Stub, serving, tag

ACCOUNT = "tester"
KEY = base64.b64encode(b"secret-of-the-tester").decode()
AZURITE = shutil.which("azurite-blob")
_CODES = {503: "ServerBusy", 500: "InternalError", 403: "AuthorizationFailure", 501: "NotImplemented"}
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class AzureStub(Stub):
    """The containers that were made. Keys are not looked at."""

    def serve(self):
        parts = urlsplit(self.path)
        _, container, *more = unquote(parts.path).lstrip("/").split("/", 2)
        query, body = parse_qs(parts.query), self.body()
        name = f"{container}/{more[0]}" if more else ""
        found = self.files.get(name)
        matches = found is not None and self.headers.get("If-Match") == f'"{tag(found)}"'
        if query.get("restype") == ["container"] and self.command == "PUT":
            self.commits[0][container] = b""
            self.answer(201)
        elif container not in self.commits[0]:
            self.error(404, "ContainerNotFound")
        elif query.get("comp") == ["batch"]:
            self.deleted_together(body.decode())
        elif query.get("comp") == ["list"]:
            self.listed(container, query.get("prefix", [""])[0])
        elif self.command == "PUT":
            if found is not None and self.headers.get("If-None-Match") == "*":
                self.error(409, "BlobAlreadyExists")
            elif "If-Match" in self.headers and not matches:
                self.error(412, "ConditionNotMet")
            else:
                self.files[name] = body
                self.answer(201, ETag=f'"{tag(body)}"')
        elif found is None:
            self.error(404, "BlobNotFound")
        elif self.command == "DELETE":
            del self.files[name]
            self.answer(202)
        elif "If-Match" in self.headers and not matches:
            self.error(412, "ConditionNotMet")
        else:
            said = {"ETag": f'"{tag(found)}"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
            if self.command == "HEAD":
                said["Content_Length"] = str(len(found))
                self.answer(200, **said)
            else:
                self.ranged(found, **said)

    def listed(self, container, prefix):
        entries = "".join(
            f"<Blob><Name>{name.partition('/')[2]}</Name><Properties><Content-Length>{len(content)}</Content-Length>"
            "<Content-Type>application/octet-stream</Content-Type><Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT"
            f"</Last-Modified><Etag>{tag(content)}</Etag></Properties></Blob>"
            for name, content in sorted(self.files.items())
            if name.startswith(f"{container}/{prefix}")
        )
        self.answer(200, f"<EnumerationResults><Blobs>{entries}</Blobs><NextMarker/></EnumerationResults>".encode())

    def deleted_together(self, body):
        """Answer a batch of deletions, each a request within the request."""
        boundary = body.partition("\r\n")[0].strip("-")
        answers = ""
        for number, path in enumerate(re.findall(r"^DELETE (\S+) ", body, re.MULTILINE)):
            there = self.files.pop(unquote(urlsplit(path).path).lstrip("/").partition("/")[2], None) is not None
            status = "202 Accepted" if there else "404 Not Found\r\nx-ms-error-code: BlobNotFound"
            answers += f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
            answers += f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n\r\n"
        self.answer(202, f"{answers}--{boundary}--\r\n".encode(), Content_Type=f"multipart/mixed; boundary={boundary}")

    def error(self, status, code):
        text = f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode()
        self.answer(status, text, Content_Type="application/xml")

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = serve


class AzureServer:
    """`with AzureServer(azurite=...) as server:` is used as `S3Server` is; a fault is what that class knows of."""

    def __init__(self, *, azurite):
        self._azurite = azurite
        self.requests = []
        self.fault = lambda method, path: None

    def __enter__(self):
        self._stub = None if self._azurite else serving(AzureStub)
        self._process = self._start() if self._azurite else None
        address = self._listening() if self._azurite else self._stub.__enter__()[0]
        self._behind = urlsplit(address).netloc
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        else:
            self._stub.__exit__(*error)

    @staticmethod
    def _start():
        """Start Azurite on a free port."""
        options = [
            "--blobPort",
            "0",
            "--inMemoryPersistence",
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--silent",
        ]
        environ = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
        return subprocess.Popen(
            [AZURITE, *options], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def _listening(self):
        for line in self._process.stdout:
            if (found := re.search(r"listens on (http://\S+)", line)) is not None:
                threading.Thread(target=self._process.stdout.read, daemon=True).start()
                return found[1]
        raise AssertionError("Azurite did not begin")

    @property
    def environment(self):
        """What a user has set who works with this server."""
        return {"AZURE_STORAGE_CONNECTION_STRING": self._connection(self.url)}

    @staticmethod
    def _connection(url):
        return f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={url}/{ACCOUNT}"

    def bucket(self, name):
        """Make an empty container."""
        date = formatdate(usegmt=True)
        version = "2021-08-06"
        signed = (
            f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
        )
        digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
        connection = http.client.HTTPConnection(self._behind)
        connection.request(
            "PUT",
            f"/{ACCOUNT}/{name}?restype=container",
            headers={
                "x-ms-date": date,
                "x-ms-version": version,
                "Content-Length": "0",
                "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
            },
        )
        status = connection.getresponse().status
        connection.close()
        assert status in (201, 409), status  # made, or there already
        for key in self.keys(name):
            obstore.delete(self._direct(name), key)
        self.requests.clear()
        return name

    def _direct(self, name):
        endpoint = f"http://{self._behind}/{ACCOUNT}"
        options = {"allow_http": True}
        return AzureStore(name, account_name=ACCOUNT, account_key=KEY, endpoint=endpoint, client_options=options)

    def keys(self, name):
        """Return the keys of all objects."""
        return [entry["path"] for page in obstore.list(self._direct(name)) for entry in page]

    def put(self, name, key, body):
        """Put an object."""
        obstore.put(self._direct(name), key, body)

    def get(self, name, key):
        """Return the content of an object."""
        return bytes(obstore.get(self._direct(name), key).bytes())

    def served(self, method, pattern=""):
        """Return the requests of a method whose path has a pattern."""
        return [request for request in self.requests if request.method == method and re.search(pattern, request.path)]

    def _handler(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self):
                outer._serve(self)

            def log_message(self, *_):
                pass

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = serve

        return Handler

    def _serve(self, handler):
        method, path = handler.command, handler.path.partition("?")[0]
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        fault = self.fault(method, unquote(path))
        if fault == "dropped":
            return self._hang_up(handler, path, 0)
        if isinstance(fault, int):
            text = f"<Error><Code>{_CODES[fault]}</Code><Message>as told</Message></Error>".encode()
            return self._answer(handler, path, fault, {"Content-Type": "application/xml"}, text)
        connection = http.client.HTTPConnection(self._behind)
        connection.request(method, handler.path, body=body, headers=dict(handler.headers))
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if fault == "lost":
            return self._hang_up(handler, path, response.status)
        return self._answer(handler, path, response.status, dict(response.headers), text)

    def _answer(self, handler, path, status, headers, body):
        self._note(handler, path, status, len(body))
        handler.send_response_only(status)
        length = [value for name, value in headers.items() if name.lower() == "content-length"]
        for name, value in headers.items():
            if name.lower() not in _HOP:
                handler.send_header(name, value)
        handler.send_header("Content-Length", length[0] if length and handler.command == "HEAD" else str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    def _note(self, handler, path, status, size):
        wanted = handler.headers.get("Range") or handler.headers.get("x-ms-range")
        self.requests.append(Request(handler.command, unquote(path), wanted, status, size))

    def _hang_up(self, handler, path, status):
        self._note(handler, path, status, 0)
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)
