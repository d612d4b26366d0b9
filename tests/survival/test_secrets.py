"""The key is in no file, stream, traceback, title or argument, whatever goes wrong and however much is logged."""

import asyncio
import base64
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from tests.inputs import write_csv
from tests.survival.harness import ROOT
from tests.survival.vendor import WHOLE_FAULTS, Vendor, answer
from tests.transport.fault_scripts import fault
from tests.transport.faults import FAULTS
from tests.waiting import wait_until

KEYS = ["sk-canary-7f3a9c51e2d84b06", "canary+7f3a9c51/e2d84b06=="]
"""One in the vendor's own shape, one that only its letters give away."""

DEBUG = (
    "import logging, sys; logging.basicConfig(level=logging.DEBUG); from batchgen.cli import main as cli;"
    " cli.main(sys.argv[1:])"
)

LOUD = {"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1", "RUST_LOG": "trace", "RUST_BACKTRACE": "full"}


def key_of(exchange):
    """Return the key that a request carried."""
    for line in exchange.head.decode().split("\r\n"):
        if line.lower().startswith("authorization:"):
            return line.split(" ", 2)[2]
    return "no key"


@fault
async def quotes_key_401(exchange):
    """A gateway that says which key it does not know."""
    told = {"error": {"message": f"Incorrect API key provided: {key_of(exchange)}.", "code": "invalid_api_key"}}
    await exchange.reply(json.dumps(told).encode(), status="401 Unauthorized")


@fault
async def quotes_key_400(exchange):
    """A row's refusal with the key in every field that is kept, and once more where the message is cut."""
    key = key_of(exchange)
    message = f"bad {key}: " + "x" * (1990 - 6 - len(key)) + key
    told = {"code": f"Bad-{key}", "message": message, "request_id": f"r-{key}", "model": key}
    await exchange.reply(json.dumps(told).encode(), status="400 Bad Request")


@fault
async def quotes_key_502(exchange):
    """A proxy's page that shows the request it could not send on."""
    page = f"<html><title>502 {key_of(exchange)}</title><pre>Authorization: Bearer {key_of(exchange)}</pre></html>"
    await exchange.reply(page.encode(), status="502 Bad Gateway")


@fault
async def quotes_key_200(exchange):
    """A good answer whose ids quote the key."""
    key = key_of(exchange)
    choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": "fine"}}
    told = {"output": {"choices": [choice]}, "usage": {}, "request_id": key, "model": key}
    await exchange.reply(json.dumps(told).encode())


def forms(key):
    """Return the key as software writes it when it is not being careful: escaped, encoded, dumped."""
    bearer = base64.b64encode(f"Bearer {key}".encode()).decode()
    by_code = "".join(f"\\u{ord(letter):04x}" for letter in key)
    by_number = "".join(f"&#{ord(letter)};" for letter in key)
    escaped = json.dumps(key)[1:-1].replace("/", "\\/")
    user = base64.urlsafe_b64encode(f"u:{key}".encode()).decode()
    return [
        quote(key, safe=""),
        quote(key, safe="").lower(),
        escaped,
        by_code,
        by_number,
        bearer,
        user,
        key.encode().hex(),
    ]


@fault
async def encodes_key_500(exchange):
    """A page of a gateway that dumps the request in every notation, cut in two in the middle of the key."""
    key = key_of(exchange)
    page = f"failed: {key} {' '.join(forms(key))}".encode()
    await exchange.write(b"HTTP/1.1 500 Oops\r\ncontent-length: %d\r\n\r\n" % len(page))
    middle = 8 + len(key) // 2
    for part in (page[:middle], page[middle:]):
        await exchange.write(part)
        await asyncio.sleep(0.05)


@fault
async def encodes_key_400(exchange):
    """The same as a vendor's refusal."""
    told = {"code": "Bad", "message": " ".join(forms(key_of(exchange)))}
    await exchange.reply(json.dumps(told).encode(), status="400 Bad Request")


@fault
async def answers_key_200(exchange):
    """A server for tests that answers with what it was sent."""
    choice = {"finish_reason": key_of(exchange), "message": {"role": "assistant", "content": exchange.head.decode()}}
    choice["message"]["reasoning_content"] = f"the key is {key_of(exchange)}"
    await exchange.reply(json.dumps({"output": {"choices": [choice]}, "usage": {}}).encode())


def in_headers(status):
    """Return a script that quotes the key in every header that a client may read, keep or log."""

    async def script(exchange):
        key = key_of(exchange)
        names = (
            "x-request-id",
            "retry-after",
            "retry-after-ms",
            "set-cookie",
            "www-authenticate",
            "location",
            "server",
        )
        names += ("x-ratelimit-limit-requests", "x-should-retry", "content-type", "content-language")
        choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": "fine"}}
        told = {"output": {"choices": [choice]}, "usage": {}} if status[0] == "2" else {"code": "c", "message": "m"}
        await exchange.write(
            f"HTTP/1.1 {status} {key}\r\ncontent-length: {len(json.dumps(told))}\r\n".encode()
            + b"".join(f"{name}: {key}\r\n".encode() for name in names)
            + b"\r\n"
            + json.dumps(told).encode()
        )

    FAULTS[f"headers_{status}"] = script
    return f"headers_{status}"


HEADERS = {status: in_headers(status) for status in ("200", "400", "429", "503", "401", "302")}


@fault
async def unpacks_to_key(exchange):
    """A content encoding that is the key."""
    await exchange.reply(b"x", headers=f"content-encoding: {key_of(exchange)}\r\n")


@fault
async def redirects_with_key(exchange):
    """A redirect whose target has the key in it."""
    where = f"location: https://example.org/{key_of(exchange)}?key={key_of(exchange)}\r\n"
    await exchange.reply(b"", status="302 Found", headers=where)


def pieces(key):
    """What must not be found: the key, what is left of it when it is cut off at either end, its other notations."""
    encoded = [base64.b64encode(b"x" * place + key.encode()).decode()[4:-4] for place in range(3)]
    return {key, key[:12], key[-12:], *forms(key), *encoded}


def readable(path):
    """Return a file's bytes, with what is compressed or in pages in plain text behind them."""
    body = path.read_bytes()
    if path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        body += repr(file.read().to_pylist()).encode() + repr(file.metadata.metadata).encode()
    return body


def assert_clean(key, directory, *texts):
    """No piece of the key in any file below the directory, in any file's name, or in these texts."""
    for path in directory.rglob("*"):
        body = str(path).encode() + (readable(path) if path.is_file() else b"")
        for piece in pieces(key):
            assert piece.encode() not in body, f"{path}: {body[max(0, body.find(piece.encode()) - 80) :][:200]}"
    for text in texts:
        for piece in pieces(key):
            assert piece not in text, text[max(0, text.find(piece) - 200) :][:300]


def loud(key, *arguments, cwd, env=None, **options):
    """Start the command with everything logged that can be."""
    return subprocess.Popen(
        [sys.executable, "-c", DEBUG, *map(str, arguments)],
        cwd=cwd,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DASHSCOPE_API_KEY": key,
            "OPENAI_API_KEY": key,
            **LOUD,
            **(env or {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def shown(pid):
    """Return what any user of the machine sees of a process: title, arguments, thread names."""
    place = Path(f"/proc/{pid}")
    return "".join(
        file.read_text(errors="replace")
        for file in (place / "cmdline", place / "comm", place / "status", *place.glob("task/*/comm"))
    )


@pytest.mark.parametrize(
    ("key", "transport"),
    [
        (KEYS[0], "httpx"),
        (KEYS[1], "fast"),
        *(pytest.param(k, t, marks=pytest.mark.slow) for k, t in zip(KEYS, ("fast", "httpx"), strict=True)),
    ],
)
def test_through_every_fault_at_debug_level(job, tmp_path, key, transport):
    """All faults, and a vendor who quotes the key in every field: streams, journal, parts and summary are clean."""
    faults = [name for name in WHOLE_FAULTS if name not in ("drip_comments", "endless")]
    texts = [f"fault:{name}" for name in faults] + [f"row {n}" for n in range(60)]
    texts += ["always:quotes_key_400", "always:quotes_key_200", "fault:quotes_key_502", "always:quotes_key_502"]
    texts += [f"always:{name}" for name in (HEADERS["200"], HEADERS["400"], "encodes_key_400", "answers_key_200")]
    texts += [f"fault:{name}" for name in (HEADERS["429"], HEADERS["503"], "encodes_key_500", "unpacks_to_key")]
    texts += ["always:encodes_key_500", "always:unpacks_to_key"]
    with Vendor() as vendor:
        path = job(write_csv(tmp_path / "in.csv", texts), vendor.url(""))
        more = (
            "limits.timeout_s=1",
            "retry.max_attempts=2",
            f"model.transport={transport}",
            "retry.rate_limit_patience_s=1",
        )
        process = loud(
            key, "run", path, "--json", "--no-progress", *(w for text in more for w in ("--set", text)), cwd=tmp_path
        )
        wait_until(lambda: len(vendor.heads) > 20)
        seen = shown(process.pid)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err[-3000:]
    assert json.loads(out)["failed"] >= 6  # more on a machine so busy that a second is too short
    assert any(key.encode() in head for head in vendor.heads), "the key was not even sent"
    assert transport == "fast" or "DEBUG" in err  # the fast client logs nothing by itself
    assert_clean(key, tmp_path, out, err, seen)


@pytest.mark.parametrize("name", ["quotes_key_401", "redirects_with_key", HEADERS["401"], HEADERS["302"]])
@pytest.mark.parametrize("key", KEYS)
def test_in_the_reason_of_a_stop(job, tmp_path, spare, key, name):
    """The vendor's message is shown when the run stops, without the key in it; in run.json and status too."""
    with Vendor() as vendor:
        path = job(write_csv(tmp_path / "in.csv", [f"always:{name}"] * 5), vendor.url(""))
        run = spare.start("run", path, env={"DASHSCOPE_API_KEY": key})
        assert run.wait() == 3
        looked = spare.start("status", "out")
        assert looked.wait() == 0
    assert_clean(key, tmp_path, run.out, run.err, looked.out)
    assert name != "quotes_key_401" or "***" in run.out


def test_in_a_traceback(job, tmp_path):
    """A bug anywhere on the way, at debug level: the traceback has no key."""
    key = KEYS[0]
    with Vendor() as vendor:
        path = job(write_csv(tmp_path / "in.csv", ["a", "b"]), vendor.url(""))
        script = DEBUG.replace(
            "from batchgen.cli import main as cli;",
            "from batchgen.cli import main as cli;"
            "from batchgen.transport import asyncio_client as fast;"
            "fast.FastTransport.send = lambda self, request, timeout_s: (_ for _ in ()).throw("
            "RuntimeError(f'bug {self!r} {request!r} {vars(self)!r}'));",
        )
        done = subprocess.run(
            [sys.executable, "-c", script, "run", path, "--no-progress"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DASHSCOPE_API_KEY": key, **LOUD},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert "RuntimeError" in done.stderr
    assert_clean(key, tmp_path, done.stdout, done.stderr)


API = """
import json, sys, traceback
import batchgen
from batchgen.secret import Secret

job, *assignments = sys.argv[1:]
told = []
try:
    summary = batchgen.run(batchgen.load_job(job, **json.loads(assignments[0])))
    told.append(repr(summary))
except Exception as error:
    while error is not None:
        told += [repr(error), str(error), repr(error.args), repr(vars(error))]
        told += traceback.format_exception(error)
        error = error.__cause__ or error.__context__
print("\\n".join(told))
"""


@pytest.mark.parametrize(
    ("changed", "overrides", "env", "words"),
    [
        (lambda key: key, {"model.transport": "fast"}, {}, "refused for good"),
        (lambda key: key, {"model.transport": "httpx"}, {}, "refused for good"),
        (lambda key: key[:8] + " " + key[8:], {}, {}, "which no header can carry"),
        (lambda key: key + "\n" + key, {}, {}, "characters that no API key has"),
        (lambda key: key + "\u00e9", {}, {}, "characters that no API key has"),
        (lambda key: key, {"model.api_key_env": KEYS[0]}, {}, "no name of an environment variable"),
        (
            lambda key: key,
            {"model.base_url": "https://provider.invalid"},
            {"HTTPS_PROXY": f"ftp://u:{KEYS[0]}@x", "https_proxy": f"ftp://u:{KEYS[0]}@x"},
            "the proxy in HTTPS_PROXY",
        ),
        (lambda key: key, {"model.base_url": f"https://u:{KEYS[0]}@provider.test"}, {}, "user"),
    ],
    ids=["fast", "httpx", "blank", "line break", "not ASCII", "key for a name", "proxy", "in the URL"],
)
def test_in_what_the_python_functions_raise_and_return(job, tmp_path, changed, overrides, env, words):
    """Neither the exception nor its causes, arguments, attributes and traceback show the key; nor does the summary."""
    key = KEYS[0]
    with Vendor() as vendor:
        path = job(write_csv(tmp_path / "in.csv", [f"always:{HEADERS['401']}"]), vendor.url(""))
        done = subprocess.run(
            [sys.executable, "-c", API, path, json.dumps(overrides)],
            cwd=tmp_path,
            env={**os.environ, "DASHSCOPE_API_KEY": changed(key), **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert words in done.stdout
    assert_clean(key, tmp_path / "out", done.stdout, done.stderr)


@fault
async def escapes_401(exchange):
    """A server that writes to the user's terminal."""
    told = {"code": "C\x1b[2Jode\u202e", "message": "M\x1b]0;title\x07essage\x9b1m", "request_id": "\x1b[1m"}
    await exchange.reply(json.dumps(told).encode(), status="401 Unauthorized")


@fault
async def escapes_200(exchange):
    """An answer whose every word drives a terminal; its text is data and stays."""
    choice = {"finish_reason": "s\x1b[2Jtop", "message": {"role": "assistant", "content": "kept \x1b[0m"}}
    told = {"output": {"choices": [choice]}, "usage": {}, "model": "m\x1b[2J", "request_id": "r\x1b[2J"}
    await exchange.reply(json.dumps(told).encode())


def test_nothing_that_is_shown_drives_the_terminal(job, tmp_path, spare):
    """Escapes in a vendor's words and in the input's cells reach neither stdout nor stderr of any command."""
    shown = []
    with Vendor() as vendor:
        path = job(write_csv(tmp_path / "in.csv", ["always:escapes_200", "row \x1b[2J 1"]), vendor.url(""))
        commands = [("run", path, "--no-progress"), ("status", "out"), ("report", "out"), ("check", path)]
        commands += [("run", path, "--no-progress", "--set", "input.path=\x1b[2J.csv")]
        (tmp_path / "ids.csv").write_text("id,text\nx\x1b[2J,a\nx\x1b[2J,b\n")
        commands += [("run", path, "--set", "input.path=ids.csv", "--set", "input.id=id", "--output", "out-2")]
        (tmp_path / "roles.jsonl").write_text('{"text": [{"role": "x\\u001b[2J", "content": "a"}]}\n{"text": null}\n')
        roles = ("--set", "input.path=roles.jsonl", "--set", "prompt={messages = 'text'}", "--output", "out-3")
        commands += [("check", path, *roles), ("run", path, *roles), ("report", "out-3")]
        stop = ("--input", "stop.csv", "--output", "out-4")
        write_csv(tmp_path / "stop.csv", ["always:escapes_401"])
        commands += [("run", path, *stop), ("status", "out-4"), ("report", "out-4")]
        for arguments in commands:
            run = spare.start(*arguments)
            run.wait()
            assert "Traceback" not in run.err, run.err
            shown.append((arguments[0], run.out + run.err))
    assert all(text for _, text in shown)
    for name, text in shown:
        assert not set(text) & set("\x1b\x07\x9b\u202e"), f"{name}: {text!r}"
    table = pq.read_table(tmp_path / "out" / "results")
    assert table["completion"][0].as_py() == "kept \x1b[0m"
    assert [table[name][0].as_py() for name in ("finish_reason", "model", "request_id")] == ["s[2Jtop", "m[2J", "r[2J"]


def test_by_a_proxy_that_makes_no_tunnel(job, tmp_path):
    """An https:// provider behind a proxy that refuses: neither key nor the proxy's password is shown or sent on."""
    key = KEYS[0]
    with Vendor() as proxy:
        path = job(write_csv(tmp_path / "in.csv", ["a"] * 3), "https://provider.invalid")
        env = {"HTTPS_PROXY": proxy.url("").replace("//", "//user:open-sesame-proxy@"), "NO_PROXY": ""}
        process = loud(key, "run", path, "--no-progress", cwd=tmp_path, env=env)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 3, err
        assert proxy.heads
        assert not any(key.encode() in head for head in proxy.heads)
    assert f"127.0.0.1:{proxy.port}" in err
    assert_clean(key, tmp_path, out, err)
    assert "open-sesame" not in out + err


def test_links_in_the_directory_are_not_followed(job, simulator, spare, tmp_path):
    """Each file of a killed run put elsewhere with a link in its place: what the link leads to is never written."""
    server = simulator(latency_ms=30)
    path = job(write_csv(tmp_path / "in.csv", [f"row {n % 50}" for n in range(400)]), server.url, concurrency=8)
    out, kept, elsewhere = tmp_path / "out", tmp_path / "kept", tmp_path / "elsewhere"
    more = ("--no-progress", "--set", "input.dedupe=true")
    run = spare.start("run", path, *more)
    wait_until(lambda: server.stats()["served"] > 20)
    run.send(signal.SIGKILL)
    run.wait()
    shutil.copytree(out, kept)
    codes = {}
    for name in (*(file.name for file in kept.iterdir() if file.is_file()), ".run.json.partial"):
        shutil.rmtree(out)
        shutil.copytree(kept, out)
        (out / name).touch()
        elsewhere.unlink(missing_ok=True)
        (out / name).rename(elsewhere)
        (out / name).symlink_to(elsewhere)
        before = elsewhere.read_bytes()
        run = spare.start("run", path, *more)
        codes[name] = run.wait()
        assert "Traceback" not in run.err, f"{name}: {run.err}"
        assert elsewhere.read_bytes() == before, name
        assert codes[name] == 0 or "symbolic links" in run.err or "unable to open" in run.err, f"{name}: {run.err}"
    assert codes["run.lock"] == codes["journal.sqlite"] == 2
    assert codes["shared.sqlite"] == codes["journal.spill"] == codes["run.json"] == 0


def test_files_are_private_under_any_umask(job, simulator, tmp_path):
    """Umask 0: directories 0700, files 0600, while it runs, after a kill and at the end."""
    key = KEYS[0]
    server = simulator(latency_ms=30)
    path = job(write_csv(tmp_path / "in.csv", [f"row {n % 300}" for n in range(400)]), server.url, concurrency=8)

    def modes():
        found = {}
        for entry in [tmp_path / "out", *(tmp_path / "out").rglob("*")]:
            try:
                mode = entry.lstat().st_mode
            except FileNotFoundError:
                continue
            found[entry.name] = (stat.S_ISDIR(mode), stat.S_IMODE(mode))
        return found

    start = ("run", path, "--no-progress", "--set", "input.dedupe=true")
    process = loud(key, *start, cwd=tmp_path, umask=0)
    wait_until(lambda: server.stats()["served"] > 40)
    running = modes()
    files = {"journal.sqlite", "journal.sqlite-wal", "journal.spill", "shared.sqlite", "run.json", "run.lock"}
    assert {*files, "results"} <= set(running)
    process.kill()
    process.communicate()
    with sqlite3.connect(shutil.copy(tmp_path / "out" / "journal.sqlite", tmp_path / "copy.sqlite")):
        pass
    killed = modes()
    process = loud(key, *start, cwd=tmp_path, umask=0)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    done = modes()
    assert {"part-00000.parquet", "cost_summary.parquet"} <= set(done)
    for name, (is_directory, mode) in [*running.items(), *killed.items(), *done.items()]:
        assert mode == (0o700 if is_directory else 0o600), f"{name}: {mode:o}"
    assert_clean(key, tmp_path / "out", out, err)


def test_scripts_are_known():
    """The vendor's scripts of this module are registered beside the transport's."""
    assert {"quotes_key_401", "quotes_key_400", "quotes_key_502", "quotes_key_200", "redirects_with_key"} <= set(FAULTS)
    assert FAULTS["answer"] is answer
