"""The command against a network that fails on the level of bytes, mixed with good answers."""

import asyncio
import json
import resource
import time
from collections import deque
from pathlib import Path

import pytest

from batchgen.results.committed import read_results
from batchgen.simulator import Settings, start_in_thread
from tests.inputs import write_csv
from tests.survival.harness import assert_whole
from tests.survival.vendor import WHOLE_FAULTS, Vendor, echo, question
from tests.transport.fault_scripts import fault
from tests.transport.faults import FAULTS, FaultServer
from tests.waiting import wait_until

QUICK = ("--set", "limits.timeout_s=1.5", "--set", "limits.concurrency=32")


@pytest.fixture
def vendor():
    """A provider that fails where a row asks for it."""
    with Vendor() as running:
        yield running


ONE_TRY = "[retry]\nmax_attempts = 1\n"

FORMATS = [
    ("dashscope", "fast", False),
    pytest.param("openai", "httpx", True, marks=pytest.mark.slow),
    pytest.param("openai", "fast", True, marks=pytest.mark.slow),
    pytest.param("openai", "fast", False, marks=pytest.mark.slow),
    pytest.param("dashscope", "httpx", False, marks=pytest.mark.slow),
    pytest.param("dashscope", "fast", True, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("provider", "transport", "stream"), FORMATS)
def test_every_row_survives_its_fault(spare, vendor, job, tmp_path, provider, transport, stream):
    """Each fault on some rows' first try, good answers between: every row has its own right answer in the end."""
    faults = [name for name in WHOLE_FAULTS if name != "drip_comments" or (stream and transport == "fast")]
    texts = [f"fault:{faults[n // 4 % len(faults)]} {n}" if n % 4 == 0 else f"row {n}" for n in range(len(faults) * 8)]
    path = job(write_csv(tmp_path / "in.csv", texts), vendor.url(""), provider=provider)
    more = ("--set", f"model.transport={transport}", "--set", f"model.stream={str(stream).lower()}")
    code, summary = spare.run(path, *QUICK, *more)
    table = read_results(tmp_path / "out")
    wrong = [
        (text, status, completion and completion[:60])
        for text, status, completion in zip(
            table["text"].to_pylist(), table["status"].to_pylist(), table["completion"].to_pylist(), strict=True
        )
        if completion != echo(text)
    ]
    assert not wrong
    assert (code, summary["succeeded"]) == (0, len(texts))
    # A kept connection that broke before any reply is worth one more try that counts as none, so 3 at most.
    assert max(vendor.tries.values()) <= 3
    assert sum(table["attempts"].to_pylist()) == summary["attempts"] <= sum(vendor.tries.values())
    assert summary["possibly_billed"]["requests"] >= len(texts) / 8


@pytest.mark.slow
def test_a_fault_that_stays_fails_its_row_alone(spare, vendor, job, tmp_path):
    """After its attempts the row fails with the right kind and a message; the rows beside it succeed."""
    kinds = {"short_length": "network", "hang": "timeout", "html_502": "server_error", "bad_utf8": "unreadable"}
    texts = [f"row {n}" for n in range(100)] + [f"always:{name}" for name in kinds]
    path = job(write_csv(tmp_path / "in.csv", texts), vendor.url(""))
    # With only such rows left the failures look like an outage, which costs patience instead of attempts.
    short = ("limits.timeout_s=0.5", "retry.max_attempts=2", "retry.rate_limit_patience_s=2")
    code, summary = spare.run(path, *QUICK, *(word for text in short for word in ("--set", text)))
    assert (code, summary["succeeded"], summary["failed"]) == (1, 100, 4)
    rows = read_results(tmp_path / "out").to_pylist()[100:]
    assert [row["error_kind"] for row in rows] == list(kinds.values())
    assert all(row["error_message"] and row["attempts"] >= 2 for row in rows)


@pytest.mark.parametrize("name", ["html_200", "redirect"])
def test_what_no_row_can_survive_stops_the_run(spare, vendor, job, tmp_path, name):
    """A login page for an answer, a redirect: exit 3 and a sentence that says where to look."""
    texts = [f"always:{name} {n}" for n in range(400)]
    path = job(write_csv(tmp_path / "in.csv", texts), vendor.url(""))
    run = spare.start("run", path, "--json", "--no-progress", *QUICK)
    assert run.wait(20) == 3, run.err
    word = {"html_200": f"answers from 127.0.0.1:{vendor.port} that are not", "redirect": "model.base_url"}[name]
    assert word in run.summary["error"]["message"]
    assert run.summary["failed"] == 0
    assert len(vendor.heads) < 80


def test_a_redirect_takes_the_key_nowhere(spare, job, tmp_path):
    """The host that a redirect names sees no connection at all."""
    with FaultServer() as elsewhere:

        async def send_there(exchange):
            await exchange.reply(b"", status="307 Temporary Redirect", headers=f"location: {elsewhere.url('ok')}\r\n")

        FAULTS["send_there"] = send_there
        with Vendor() as vendor:
            path = job(write_csv(tmp_path / "in.csv", ["always:send_there"] * 5), vendor.url(""))
            run = spare.start("run", path, "--json", "--no-progress")
            assert run.wait() == 3
        assert elsewhere.connections == 0
        assert f"127.0.0.1:{elsewhere.port}" in run.summary["error"]["message"]


def test_bombs_and_endless_bodies_stay_small(command, vendor, job, tmp_path):
    """Bodies without an end and 500 MB out of 0.5 MB: cut at the cap, and the process stays small."""
    bombs = [f"fault:{name} {n}" for n, name in enumerate(["gzip_bomb", "endless"] * 4)]
    good = [f"row {n}" for n in range(60)]
    texts = [*good[:30], *bombs, *good[30:]]
    path = job(write_csv(tmp_path / "in.csv", texts), vendor.url(""))
    process = command.start("run", path, "--json", "--no-progress", "--set", "limits.concurrency=4")
    peak = peak_mb(process)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["succeeded"] == len(texts)
    assert peak < 130 + 4 * 2 * 32, f"{peak:.0f} MB"
    print(f"peak {peak:.0f} MB")


@fault
async def answer_of_30_mb(exchange):
    """A good answer in the middle of blanks, as fast as it is taken."""
    choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": echo(question(exchange))}}
    told = json.dumps({"output": {"choices": [choice]}, "usage": {}}).encode()
    await exchange.start_chunked()
    for part in (*[b" " * 65536] * 240, told, *[b" " * 65536] * 240, b""):
        await exchange.chunk(part)


def peak_mb(process):
    """Wait for a process to end; return the most memory it had, in MB."""
    peak = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
        time.sleep(0.01)
    return peak / 1024


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["fast", "httpx"])
def test_many_large_replies_at_once_stay_small(command, vendor, job, tmp_path, transport):
    """64 rows are answered with 30 MB each at the same moment: all succeed, in a fraction of the 1.9 GB."""
    texts = [f"always:answer_of_30_mb {n}" for n in range(64)]
    path = job(write_csv(tmp_path / "in.csv", texts), vendor.url(""), more=ONE_TRY)
    process = command.start("run", path, "--json", "--no-progress", "--set", f"model.transport={transport}")
    peak = peak_mb(process)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["attempts"] == 64
    assert [row["completion"] for row in read_results(tmp_path / "out").to_pylist()] == [echo(text) for text in texts]
    print(f"peak {peak:.0f} MB")
    assert peak < 130 + 3 * (96 + 32), f"{peak:.0f} MB"


@fault
async def text_of_24_mb(exchange):
    """An answer of 24 MB of text, which all has to be kept."""
    told = json.dumps({"output": {"choices": [{"finish_reason": "stop", "message": {"content": "%"}}]}, "usage": {}})
    before, _, after = told.encode().partition(b"%")
    await exchange.start_chunked()
    for part in (before, *["ответ ".encode() * 6000] * 380, after, b""):
        await exchange.chunk(part)


@pytest.mark.slow
def test_many_large_answers_at_once_stay_small(command, vendor, job, tmp_path):
    """40 rows get 24 MB of text each at the same moment: more is read only as fast as the disk takes it."""
    path = job(write_csv(tmp_path / "in.csv", [f"always:text_of_24_mb {n}" for n in range(40)]), vendor.url(""))
    process = command.start("run", path, "--json", "--no-progress", "--set", "input.dedupe=false")
    peak = peak_mb(process)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["attempts"] == 40
    print(f"peak {peak:.0f} MB")
    assert peak < 600, f"{peak:.0f} MB"


@fault
async def slow_answer(exchange):
    """A good answer after a second."""
    await asyncio.sleep(1)
    await exchange.reply(b'{"output":{"choices":[{"finish_reason":"stop","message":{"content":"yes"}}]},"usage":{}}')


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["fast", "httpx"])
def test_many_large_prompts_at_once_stay_small(command, job, tmp_path, transport):
    """500 in flight wanted, prompts of 4 MB that take a second: not 2 GB of them at once, and all are answered."""
    with FaultServer(choose=lambda exchange: "slow_answer") as server:
        server.bodies = deque(maxlen=1)
        path = job(write_csv(tmp_path / "in.csv", ["abcd"] * 500), server.url(""), concurrency=500)
        more = ("prompt.user={{ text * 1000000 }}", f"model.transport={transport}", "input.dedupe=false")
        process = command.start(
            "run", path, "--json", "--no-progress", *(word for text in more for word in ("--set", text))
        )
        peak = peak_mb(process)
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert (json.loads(out)["attempts"], len(server.heads)) == (500, 500)
        print(f"peak {peak:.0f} MB")
        assert peak < 130 + 3 * 256, f"{peak:.0f} MB"


def test_a_low_limit_on_open_files_is_lived_with(command, simulator, job, tmp_path):
    """160 open files and 500 requests in flight wanted: fewer connections, said in a sentence, and every row done."""
    server = simulator(latency_ms=10)
    path = job(write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(300)]), server.url, concurrency=500)
    process = command.start(
        "run",
        path,
        "--no-progress",
        "--json",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160)),
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["succeeded"] == 300
    assert "limit on open files" in err
    assert server.stats()["peak_connections"] <= 160 - 100
    assert server.stats()["requests"] == 300


@pytest.mark.parametrize(
    ("transport", "host"), [("fast", "localhost"), pytest.param("httpx", "127.0.0.1", marks=pytest.mark.slow)]
)
def test_open_files_that_run_out_in_mid_run(command, simulator, job, tmp_path, transport, host):
    """The limit falls below what is in use: no row fails or is tried again for it, and it is said once."""
    server = simulator(latency_ms=100)
    texts = [f"row {n}" for n in range(1200)]
    path = job(
        write_csv(tmp_path / "in.csv", texts), server.url.replace("127.0.0.1", host), concurrency=200, more=ONE_TRY
    )
    process = command.start("run", path, "--no-progress", "--json", "--set", f"model.transport={transport}")
    wait_until(lambda: server.stats()["served"] > 20)
    taken = max(int(entry.name) for entry in Path(f"/proc/{process.pid}/fd").iterdir())
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (taken - 5, 4096))
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, out + err
    summary = json.loads(out)
    assert (summary["succeeded"], summary["attempts"], summary["refused"]) == (1200, 1200, 0)
    assert summary["possibly_billed"]["requests"] == 0
    assert err.count("No file descriptor is left") == 1
    stats = server.stats()
    assert stats["requests"] == 1200
    assert stats["peak_connections"] < taken
    assert_whole(tmp_path / "out", texts)


def test_a_host_that_goes_away_in_mid_run_and_comes_back(spare, job, tmp_path):
    """All connections refused for seconds: the rows wait, none fails for it, and the run ends well."""
    texts = [f"row {n}" for n in range(1500)]
    with start_in_thread(Settings(latency_ms=20)) as server:
        path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=16)
        run = spare.start("run", path, "--json", "--no-progress", "--set", "retry.max_attempts=2")
        wait_until(lambda: server.stats()["served"] > 200)
    time.sleep(2)
    with start_in_thread(Settings(latency_ms=1), int(server.url.rpartition(":")[2])):
        assert run.wait(60) == 0, run.err
    assert_whole(tmp_path / "out", texts)
