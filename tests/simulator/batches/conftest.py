"""Shared by the tests of the simulated batch APIs: a vendor whose clock the test sets, and clients of it."""

from __future__ import annotations

import json

import pytest

from batchgen.simulator import Behaviour, HttpRequest, Settings

BASES = ("/v1", "/compatible-mode/v1", "/openai/v1")
HOUR_S = 3600


def chat_line(custom_id, text=None, model="qwen-plus", **body):
    """Return a line of an input file."""
    messages = [{"role": "user", "content": text or f"text of {custom_id}"}]
    fields = {"model": model, "messages": messages, **body}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": fields}


def jsonl(lines):
    """Return lines as the bytes of a file."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def form(content, name="rows.jsonl", boundary="XyZ", **fields):
    """Return content type and body of an upload."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in ({"purpose": "batch"} | fields).items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = "".join(parts).encode() + head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return f"multipart/form-data; boundary={boundary}", body


class Vendor:
    """A simulated vendor in this thread, at the virtual second `now`; `key` is that of its client."""

    def __init__(self, directory, base="/v1", **settings):
        self.now = 1_800_000_000.0
        self.base = base
        self.key = "test-key"
        given = {"batch_speed": 1, "batch_sigma": 0} | settings
        self.behaviour = Behaviour(Settings(**given), wall_clock=lambda: self.now, directory=directory)

    def call(self, method, path, body=b"", **headers):
        """Return the reply to a call."""
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        return self.behaviour.reply(HttpRequest(method, self.base + path, headers, body), 0.0)

    def get(self, path):
        """Return what a GET shows."""
        return json.loads(self.call("GET", path).body)

    def upload(self, lines, **fields):
        """Upload a file and return it."""
        kind, body = form(lines if isinstance(lines, bytes) else jsonl(lines), **fields)
        return json.loads(self.call("POST", "/files", body, content_type=kind).body)

    def create(self, lines, **fields):
        """Upload a file, create a batch of it, and return that."""
        asked = {
            "input_file_id": self.upload(lines)["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        return json.loads(self.call("POST", "/batches", asked | fields).body)

    def later(self, batch, hours=2):
        """Return a batch some virtual hours later."""
        self.now += hours * HOUR_S
        return self.get(f"/batches/{batch['id']}")

    def content(self, file_id):
        """Return the bytes of a file."""
        if not file_id:
            return b""
        reply = self.call("GET", f"/files/{file_id}/content")
        assert reply.file is not None, reply.body
        with open(reply.file.path, "rb") as file:
            return file.read(reply.file.size)

    def results(self, batch):
        """Return the lines of the output file and of the error file, by id."""
        return tuple(
            {line["custom_id"]: line for line in map(json.loads, self.content(batch[f"{kind}_file_id"]).splitlines())}
            for kind in ("output", "error")
        )


@pytest.fixture
def vendor(tmp_path):
    """Return vendors that keep their state in one directory; each that is made closes the one before."""
    made = []

    def make(base="/v1", **settings):
        if made:
            made[-1].behaviour.close()
        made.append(Vendor(tmp_path / "vendor", base, **settings))
        if len(made) > 1:
            made[-1].now = made[-2].now
        return made[-1]

    yield make
    made[-1].behaviour.close()
