"""A relay that notes what goes through it: between the command and the simulator, so that requests can be read."""

from __future__ import annotations

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Seen(NamedTuple):
    """One request: path, headers with names in lower case, and its JSON body."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Recorder:
    """Passes POSTs on to `upstream` and replies back, whole. `seen` holds the requests in the order they came."""

    def __init__(self, upstream):
        host = urlsplit(upstream).netloc
        self.seen = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                seen.append(Seen(self.path, headers, json.loads(body)))
                onward = http.client.HTTPConnection(host, timeout=30)
                onward.request("POST", self.path, body, {**headers, "host": host, "accept-encoding": "identity"})
                answer = onward.getresponse()
                data = answer.read()
                onward.close()
                self.send_response(answer.status)
                self.send_header("content-type", answer.getheader("content-type", ""))
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_arguments):
                """Say nothing on stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self):
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
