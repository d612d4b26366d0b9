"""Uploads and downloads over the socket: of any size, in chunks, with `Expect`, cut; and a process that starts anew."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import textwrap

import httpx
import pytest

from batchgen.simulator import Settings, start_in_thread
from tests.simulator.batches.conftest import chat_line, form, jsonl

KEY = {"authorization": "Bearer k"}
FAST = Settings(batch_speed=360_000)
LINES = [chat_line(f"row-{i}") for i in range(50)]


@pytest.fixture
def simulator(tmp_path):
    """A simulator with fast batches, whose state is in a directory."""
    with start_in_thread(FAST, directory=tmp_path / "state") as running:
        yield running


@pytest.fixture
def client(simulator):
    """A client of it."""
    with httpx.Client(base_url=simulator.url, headers=KEY) as made:
        yield made


def ended(client, batch):
    """Return a batch when it has ended."""
    while (shown := client.get(f"/v1/batches/{batch}").json())["status"] in ("validating", "in_progress", "finalizing"):
        pass
    return shown


def completed(client, lines=LINES):
    """Return a completed batch."""
    file = client.post("/v1/files", files={"file": ("a.jsonl", jsonl(lines))}, data={"purpose": "batch"}).json()["id"]
    asked = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    return ended(client, client.post("/v1/batches", json=asked).json()["id"])


@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize("way", ["length", "chunked", "expect"])
def test_an_upload_arrives_whole(simulator, tmp_path, size, way):
    """Below and above the size from which on a body is written to disk while it arrives."""
    content = b"x" * size + b"\n"
    kind, body = form(content)
    host, port = simulator.url.removeprefix("http://").split(":")
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Type: {kind}\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        if way == "chunked":
            pieces = [body[i : i + 70_000] for i in range(0, len(body), 70_000)]
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks)
        else:
            expect = "Expect: 100-continue\r\n" if way == "expect" else ""
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n{expect}\r\n".encode())
            if way == "expect":
                assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
            connection.sendall(body)
        reply = connection.recv(10_000)
    assert reply.startswith(b"HTTP/1.1 200"), reply
    file = json.loads(reply.partition(b"\r\n\r\n")[2])
    assert file["bytes"] == len(content)
    assert (tmp_path / "state" / file["id"]).read_bytes() == content
    assert not list((tmp_path / "state").glob("*.partial"))


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_an_upload_is_cut(simulator, client, tmp_path, size):
    """The connection breaks; nothing is stored, and the next upload is in order."""
    simulator.change(oddities=("upload_broken=1x",))
    files = {"file": ("a.jsonl", b"x" * size)}
    with pytest.raises(httpx.TransportError):
        client.post("/v1/files", files=files, data={"purpose": "batch"})
    assert client.get("/v1/files").json()["data"] == []
    assert client.post("/v1/files", files=files, data={"purpose": "batch"}).json()["bytes"] == size
    assert not list((tmp_path / "state").glob("*.partial"))


def test_a_client_that_leaves_in_the_middle_leaves_nothing(simulator, client, tmp_path):
    """Its half of a file is deleted."""
    kind, body = form(b"x" * 3_000_000)
    host, port = simulator.url.removeprefix("http://").split(":")
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nContent-Type: {kind}\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:2_000_000])
    while list((tmp_path / "state").glob("*.partial")):
        client.get("/v1/files")
    assert client.get("/v1/files").json()["data"] == []


def test_downloads_whole_cut_and_compressed(simulator, client):
    """A file that is larger than a socket takes at once, and what becomes of it on its way."""
    batch = completed(client, [chat_line(f"row-{i}", text="word " * 40) for i in range(2000)])
    path = f"/v1/files/{batch['output_file_id']}/content"
    whole = client.get(path).content
    assert len(whole.splitlines()) == 2000
    assert len(whole) == client.get(f"/v1/files/{batch['output_file_id']}").json()["bytes"] > 600_000
    for oddity in ("download_cut", "download_short"):
        simulator.change(oddities=(f"{oddity}=1x",))
        with pytest.raises(httpx.TransportError):
            client.get(path)
    simulator.change(oddities=("download_chunked_short=1x",))
    assert client.get(path).content == whole[: len(whole) // 2]
    rest = client.get(path, headers={"range": "bytes=1000-"})
    assert (rest.status_code, rest.content) == (206, whole[1000:])
    assert rest.headers["content-range"] == f"bytes 1000-{len(whole) - 1}/{len(whole)}"
    assert client.get(path, headers={"range": f"bytes={len(whole)}-"}).status_code == 416
    for told in ({"if-range": '"another"'}, {}):
        simulator.change(oddities=("range_ignored=1x",) if not told else ())
        again = client.get(path, headers={"range": "bytes=1000-"} | told)
        assert (again.status_code, again.content) == (200, whole)
    simulator.change(oddities=("download_redirect=1x",))
    again = client.get(path, follow_redirects=True)
    assert ([step.status_code for step in again.history], again.content) == ([302], whole)
    simulator.change(oddities=("download_gzip=1x",))
    with client.stream("GET", path) as reply:
        assert gzip.decompress(b"".join(reply.iter_raw())) == whole
    assert client.get(path).content == whole


def test_a_process_that_starts_again_finds_everything(tmp_path):
    """Also after a record of its log was cut by a kill; what was to be met once is not met again."""
    state = tmp_path / "state"
    settings = Settings(batch_speed=3600, oddities=("create_lost=1x",))
    with start_in_thread(settings, directory=state) as simulator, httpx.Client(headers=KEY) as client:
        url = simulator.url
        file = client.post(f"{url}/v1/files", files={"file": ("a.jsonl", jsonl(LINES))}, data={"purpose": "batch"})
        asked = {
            "input_file_id": file.json()["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        with pytest.raises(httpx.TransportError):
            client.post(f"{url}/v1/batches", json=asked)
    with (state / "log.jsonl").open("ab") as log:
        log.write(b'{"batch":{"id":"batch_cut","num')
    (state / "upload-9.partial").write_bytes(b"half")
    with (
        start_in_thread(settings, directory=state) as simulator,
        httpx.Client(base_url=simulator.url, headers=KEY) as client,
    ):
        [found] = client.get("/v1/batches").json()["data"]
        batch = ended(client, found["id"])
        assert batch["request_counts"]["completed"] == 50
        assert client.post("/v1/batches", json=asked).status_code == 200
        billed = simulator.stats()["batches"][0]["billed"]
        assert not list(state.glob("*.partial"))
    with start_in_thread(FAST, directory=state) as simulator, httpx.Client(headers=KEY) as client:
        assert len(client.get(f"{simulator.url}/v1/batches").json()["data"]) == 2
        assert simulator.stats()["batches"][0]["billed"] == billed
        assert client.get(f"{simulator.url}/batch-rows").json()[0]["batch"] == batch["id"]


def test_without_a_directory_nothing_is_left(tmp_path, monkeypatch):
    """The state is in a temporary directory, which is deleted at the end."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with start_in_thread(FAST) as simulator, httpx.Client(base_url=simulator.url, headers=KEY) as client:
        assert not list(tmp_path.iterdir())
        completed(client)
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_live_requests_do_not_wait_for_a_batch(simulator, client):
    """Rows are answered in slices, and other requests between them: in one piece there would be two or three looks."""
    lines = [chat_line(f"row-{i}") for i in range(20_000)]
    file = client.post("/v1/files", files={"file": ("a.jsonl", jsonl(lines))}, data={"purpose": "batch"}).json()["id"]
    asked = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = client.post("/v1/batches", json=asked).json()["id"]
    looks = 0
    while client.get(f"/v1/batches/{batch}").json()["status"] != "completed":
        looks += 1
    assert looks > 5


FLAT = """
    import re, sys
    from batchgen.simulator import Settings, start_in_thread
    simulator = start_in_thread(Settings(batch_speed=360_000))
    print(simulator.url, flush=True)
    sys.stdin.read()
    print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
    simulator.close()
"""


@pytest.mark.parametrize("megabytes", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_memory_is_flat(megabytes):
    """A file goes up, is answered, and comes down in a process that holds none of it."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FLAT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    assert process.stdout
    row = json.dumps(chat_line("ID", text="word " * 200_000)).encode() + b"\n"
    count = megabytes * 1_000_000 // len(row)
    kind, body = form(b"CONTENT")
    start, _, end = body.partition(b"CONTENT")

    def pieces():
        yield start
        for number in range(count):
            yield row.replace(b'"ID"', b'"row-%06d"' % number, 1)
        yield end

    with httpx.Client(base_url=process.stdout.readline().strip(), headers=KEY, timeout=600) as client:
        reply = client.post("/compatible-mode/v1/files", content=pieces(), headers={"content-type": kind})
        file = reply.json()["id"]
        with client.stream("GET", f"/compatible-mode/v1/files/{file}/content") as reply:
            assert sum(map(len, reply.iter_bytes())) > 0.98 * megabytes * 1_000_000
        asked = {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        batch = client.post("/compatible-mode/v1/batches", json=asked).json()["id"]
        while (shown := client.get(f"/compatible-mode/v1/batches/{batch}").json())["status"] not in (
            "completed",
            "failed",
        ):
            pass
        assert shown["request_counts"]["completed"] == count
    told, _ = process.communicate("")
    assert int(told) < 130
