"""Servers that want their key elsewhere, and what must then show nowhere."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.cli.conftest import results_of
from tests.inputs import write_csv

TEAM, CODE = "team-secret-55aa66bb77", "code+secret/9988"
ENV = {"GATE_KEY": "gate-key-0011223344", "TEAM": f"Bearer {TEAM}"}
SECRETS = (ENV["GATE_KEY"], TEAM, CODE, "code%2Bsecret%2F9988")


@contextmanager
def server(reply, port=0):
    """Serve chat completions by `reply(handler, body) -> (status, document)`; yields the address and the heads."""
    heads = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            """Keep silent."""

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            heads.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            status, document = reply(self, body)
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    httpd = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}", heads
    finally:
        httpd.shutdown()
        thread.join()
        httpd.socket.close()


def quoting(handler, body):
    """Rows that say so are refused, with every secret of the request in the words."""
    told = " ".join([handler.path, *handler.headers.values()])
    if "refuse" in body["messages"][-1]["content"]:
        return 400, {"error": {"message": f"no: {told} {CODE}", "code": handler.headers["X-Team"]}}
    choice = {"index": 0, "message": {"role": "assistant", "content": f"your {TEAM}"}, "finish_reason": "stop"}
    return 200, {
        "id": handler.headers["api-key"],
        "choices": [choice],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }


def written(directory):
    """All bytes below a directory."""
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


@pytest.mark.parametrize("transport", ["fast", "httpx"])
def test_a_gateway_with_secrets_in_three_places(command, job, tmp_path, transport):
    """A key in `api-key`, a header from a variable and a code in the address arrive, and show nowhere else."""
    more = """
[model.headers]
X-Team = { env = "TEAM" }
"""
    path = write_csv(tmp_path / "in.csv", ["refuse me", "one", "two", "refuse me too"])
    with server(quoting) as (url, heads):
        address = f"{url}/openai/deployments/d?api-version=2024-10-21&code=code%2Bsecret%2F9988"
        file = job(path, address, provider="openai", more=more)
        settings = ("--set", "model.api_key_header=api-key", "--set", "model.api_key_env=GATE_KEY")
        settings += ("--set", f"model.transport={transport}")
        checked = command("check", file, *settings, env=ENV)
        assert (checked.returncode, heads) == (0, [])
        for shown in ("api-key: ***", "X-Team: Bearer ***", "api-version=2024-10-21&code=***"):
            assert shown in checked.stdout
        assert "Authorization" not in checked.stdout
        done = command("run", file, *settings, env=ENV)
    assert done.returncode == 1, done.stderr
    for asked, headers, _ in heads:
        assert asked.startswith("/openai/deployments/d/chat/completions?api-version=2024-10-21&code=code%2B")
        assert (headers["api-key"], headers["x-team"]) == (ENV["GATE_KEY"], f"Bearer {TEAM}")
        assert "authorization" not in headers
    rows, _ = results_of(tmp_path / "out")
    assert [row["status"] for row in rows] == ["failed", "succeeded", "succeeded", "failed"]
    assert rows[1]["completion"] == "your ***"
    everything = checked.stdout + checked.stderr + done.stdout + done.stderr + str(rows)
    kept = written(tmp_path / "out")
    for secret in SECRETS:
        assert secret not in everything
        assert secret.encode() not in kept


def strict(handler, body):
    """Refuses every field that it does not know."""
    unknown = body.keys() - {"model", "messages", "max_tokens", "stream"}
    if unknown:
        return 422, {
            "detail": [{"type": "extra_forbidden", "loc": ["body", name], "msg": "not permitted"} for name in unknown]
        }
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


def test_a_server_that_refuses_a_field_of_ours_can_be_served(command, job, tmp_path):
    """`model.omit` leaves it out; `check` shows the body without it."""
    path = write_csv(tmp_path / "in.csv", ["one"])
    with server(strict) as (url, heads):
        file = job(path, f"{url}/v1", provider="openai", more="")
        streamed = ("--set", "model.stream=true", "--set", "model.omit=['stream_options']")
        checked = command("check", file, *streamed)
        assert "stream_options" not in checked.stdout
        code, summary = command.summary(file, *streamed)
    assert (code, summary["succeeded"]) == (0, 1)
    assert heads[0][2]["stream"] is True


@pytest.mark.parametrize(
    "url", ["https://api.test/v1%00", "https://api.test/v1\u0001", "https://api.test:0", "https://{me}.test"]
)
def test_check_refuses_an_address_that_can_never_work(command, job, tmp_path, url):
    """Exit 2, naming the key; also where the simulator would answer."""
    file = job(write_csv(tmp_path / "in.csv", ["one"]), "http://127.0.0.1:1")
    for more in ((), ("--simulate",)):
        done = command("check", file, "--set", f"model.base_url={json.dumps(url)}", *more)
        assert done.returncode == 2, done.stdout
        assert "model.base_url" in done.stderr


def test_check_says_what_is_missing_on_the_way(command, job, tmp_path):
    """A SOCKS proxy or unreadable certificates are said before anything is sent."""
    file = job(write_csv(tmp_path / "in.csv", ["one"]), "https://api.test/v1", provider="openai")
    for env, words in (
        ({"all_proxy": "socks5://127.0.0.1:1"}, "SOCKS"),
        ({"SSL_CERT_FILE": "/nowhere.pem"}, "SSL_CERT_FILE"),
    ):
        for name in ("check", "run"):
            done = command(name, file, env={"HTTPS_PROXY": "", "https_proxy": "", "all_proxy": "", **env})
            assert (done.returncode, words in done.stderr) == (2, True), done.stderr
