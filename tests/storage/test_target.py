"""An output in a store: claimed by one, published whole, and never a mix, whatever the store does."""

import io
import re
import shutil
import signal
import subprocess
import sys
from functools import partial
from unittest.mock import Mock

import pyarrow.parquet as pq
import pytest

from batchgen import api
from batchgen.cli.main import main
from batchgen.cli.messages import summary_text
from batchgen.engine import run as engine_run
from batchgen.engine.control import Control
from batchgen.errors import JobError, OutputError
from batchgen.job.check import check_job
from batchgen.job.settings import Job
from batchgen.results.committed import read_results
from batchgen.simulated import simulated_endpoint
from batchgen.storage import mirror, target
from batchgen.storage.shards import cut
from batchgen.stores.address import parse_address
from batchgen.stores.protocol import StoreError
from batchgen.text.storable import json_bytes

ADDRESS = "s3://out/run"
PUBLISH = """
import sys
from pathlib import Path
from batchgen.errors import OutputError
from batchgen.storage.target import OutputTarget
from batchgen.stores.address import parse_address
target = OutputTarget(parse_address(sys.argv[1], OutputError, writing=True), Path(sys.argv[2]), "job")
target.claim(fresh=False)
target.publish()
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user's folders of state and copies; parts of ten rows."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_run, "cut", partial(cut, rows=10))
    monkeypatch.setattr(target, "_FIRST_WAIT_S", 0.02)
    return tmp_path


def job(home, rows=35, **changes):
    """Return a job whose output is in the bucket."""
    path = home / f"rows-{rows}.csv"
    path.write_text("text\n" + "".join(f"row {row}\n" for row in range(rows)))
    return Job.from_dict(
        {
            "name": "job",
            "input": {"path": str(path)},
            "prompt": {"user": changes.pop("user", "Say {{ text }}")},
            "model": {"provider": "dashscope", "name": "qwen-flash", "parameters": {"max_tokens": 20}},
            "output": {"path": ADDRESS},
            **changes,
        }
    )


def check(job):
    """Return what `check` says against the run."""
    with simulated_endpoint(job) as endpoint:
        return check_job(job, endpoint=endpoint).problem


def run(job, **options):
    """Run a job against the simulator."""
    with simulated_endpoint(job) as endpoint:
        return api.run(job, endpoint=endpoint, **options)


def published(home):
    """Return what a reader on another machine finds: the completions, or None."""
    shutil.rmtree(home / "elsewhere", ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home / "elsewhere"))
        patch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
        patch.setattr(mirror.socket, "gethostname", lambda: "elsewhere")
        try:
            return read_results(ADDRESS)["completion"].to_pylist()
        except OutputError:
            return None


def test_a_run_is_published_whole(s3, home):
    """Each part below its generation, `run.json` last, and the claim is given back."""
    summary = run(job(home))
    assert summary.state == "complete"
    written = [request.path.rpartition("/")[2] for request in s3.served("PUT")]
    assert written[:2] == ["claim.json"] * 2  # the first under a condition that cannot hold
    assert written[2:6] == [f"part-{number:05d}.parquet" for number in range(4)]
    assert written[-2:] == ["run.json", "run.json"]
    assert "run/claim.json" not in s3.keys("out")
    found = published(home)
    assert len(found) == 35
    assert found == read_results(ADDRESS)["completion"].to_pylist()
    again = run(job(home))
    assert (summary.output, again.output, again.published) == (ADDRESS, ADDRESS, summary.published)
    assert read_results(summary.path)["completion"].to_pylist() == found
    said = summary_text(summary).splitlines()
    at = said.index(f"results     {summary.published}")
    assert said[at + 1] == f"            on this machine: {summary.path}/results"
    [generation] = {key.split("/")[1] for key in s3.keys("out") if "/results/" in key}
    keys = [key for key in s3.keys("out") if key.startswith(f"run/{generation}/results/")]
    assert sum(pq.read_metadata(_file(s3, key)).num_rows for key in keys) == 35


def _file(s3, key):
    return io.BytesIO(s3.get("out", key))


def test_an_update_leaves_the_old_generation_as_it_was(s3, home):
    """The new one has a folder of its own; who reads the address sees the new one."""
    run(job(home, 15))
    before = {key: s3.get("out", key) for key in s3.keys("out") if key != "run/run.json"}
    summary = run(job(home, 25), update=True)
    assert (summary.state, summary.reused) == ("complete", 15)
    assert len(published(home)) == 25
    assert before == {key: s3.get("out", key) for key in before}


def test_retried_rows_are_published_in_a_generation_of_their_own(s3, home):
    """Names of parts are never used for another content."""
    wrong = {"response": {"labels": ["yes", "no"], "max_repairs": 0}}
    first = run(job(home, **wrong))
    names = {key: s3.get("out", key) for key in s3.keys("out") if key != "run/run.json"}
    again = run(job(home, **wrong), retry_failed=True)
    assert (first.state, again.state) == ("complete", "complete")
    assert names == {key: s3.get("out", key) for key in names}
    assert len(published(home)) == 35


def test_a_second_machine_is_refused_before_it_pays(s3, home, monkeypatch):
    """It is told who holds the target, and what to do."""
    claim = target.OutputTarget(parse_address(ADDRESS, OutputError, writing=True), home / "state" / "first", "other")
    claim.claim(fresh=False)
    with pytest.raises(OutputError, match=rf"claimed by the run of other on .*remove {ADDRESS}/claim.json"):
        run(job(home))
    assert not any("part-" in key for key in s3.keys("out"))


def test_a_claim_is_sure_on_servers_that_forget_replies(s3, home):
    """A reply that was lost is settled by reading."""
    s3.fault = lambda method, path: "lost" if method == "PUT" and not s3.served("PUT", path) else None
    assert run(job(home, 12)).state == "complete"
    assert len(published(home)) == 12
    place = parse_address(ADDRESS, OutputError, writing=True)
    target.OutputTarget(place, home / "state" / "first", "other").claim(fresh=True)
    with pytest.raises(OutputError, match="claimed by"):
        target.OutputTarget(place, home / "state" / "second", "other").claim(fresh=True)


@pytest.mark.parametrize(
    "fault", [503, "lost", pytest.param(500, marks=pytest.mark.slow), pytest.param("dropped", marks=pytest.mark.slow)]
)
def test_every_request_may_fail_twice(s3, home, fault):
    """Also the reply to each put may be lost: what is there is compared."""
    counted = {}

    def fail(method, path):
        counted[method, path] = counted.get((method, path), 0) + 1
        return fault if counted[method, path] <= 2 else None

    s3.fault = fail
    assert run(job(home)).state == "complete"
    s3.fault = lambda method, path: None
    assert len(published(home)) == 35
    assert "run/claim.json" not in s3.keys("out")


def test_a_lost_reply_to_the_last_write_is_settled_by_reading(s3, home):
    """`run.json` is replaced once, and the run is complete."""
    run(job(home, 5))
    left = ["lost"]
    s3.fault = lambda method, path: left.pop() if left and method == "PUT" and path.endswith("/run/run.json") else None
    assert run(job(home, 8), update=True).state == "complete"
    assert (left, len(published(home))) == ([], 8)


def test_a_claim_that_is_overwritten_at_once_is_given_up(s3, home):
    """As on a server that forgets conditions, when two runs begin in the same moment."""
    other = json_bytes(mirror.Claim("other", "host", 1, "/state", "their job", "now"))

    def overwrite(method, path):
        if "claim" in path and method != "PUT" and s3.served("PUT", "claim"):
            s3.put("out", "run/claim.json", other)

    s3.fault = overwrite
    with pytest.raises(OutputError, match="claimed by the run of their job on host"):
        run(job(home, 5))


def test_an_outage_pauses_the_run_and_loses_nothing(s3, home, monkeypatch):
    """No new rows are begun while parts cannot be put; then it goes on by itself."""
    monkeypatch.setattr(target, "_LONGEST_WAIT_S", 0.05)
    left = [40]

    def fail(method, path):
        if "part-" in path and method == "PUT" and left[0]:
            left[0] -= 1
            return 503
        return None

    s3.fault = fail
    notes = []

    class Told(api.Reporter):
        def note(self, text):
            notes.append(text)

    summary = run(job(home), reporter=Told())
    assert (summary.state, summary.attempts) == ("complete", 35)
    assert any("The run pauses until it can be" in note for note in notes)
    assert any("can be written again" in note for note in notes)


def test_an_interruption_does_not_wait_for_a_store_that_is_out_of_order(s3, home):
    """What was answered stays here; the same command publishes it."""
    s3.fault = lambda method, path: 503 if "part-" in path and method == "PUT" else None
    control = Control()

    class Impatient(api.Reporter):
        def note(self, text):
            if "pauses" in text:
                assert control.attached
                control.interrupt()

    summary = run(job(home), reporter=Impatient(), control=control)
    assert (summary.state, summary.pending > 0) == ("interrupted", True)
    assert (summary.output, summary.published) == (ADDRESS, None)
    assert f"results     {ADDRESS} once the run is complete" in summary_text(summary)
    s3.fault = lambda method, path: None
    again = run(job(home))
    assert (again.state, again.attempts, len(published(home))) == ("complete", 35, 35)


def test_a_store_that_refuses_for_good_stops_the_run(s3, home):
    """What was answered is kept; when the store is mended nothing is paid twice."""
    s3.fault = lambda method, path: 403 if method == "PUT" and "claim" not in path else None
    summary = run(job(home))
    assert summary.state == "stopped"
    assert "access is refused" in summary.error["message"]
    assert published(home) is None
    s3.fault = lambda method, path: None
    again = run(job(home))
    assert (again.state, again.attempts) == ("complete", 35)
    assert len(published(home)) == 35


@pytest.mark.parametrize("fault", [403, 501, 400, "unconditional"])
def test_read_only_credentials_are_found_out_before_anything_is_paid(s3, home, fault):
    """The claim is the first thing that is written; a server that would let others replace it is refused, too."""
    s3.fault = lambda method, path: fault if method == "PUT" else None
    with pytest.raises(OutputError):
        run(job(home))
    assert s3.keys("out") == []
    assert not (home / "state" / "batchgen" / "journal.sqlite").exists()


@pytest.mark.parametrize(
    ("fault", "told"),
    [(None, None), (403, "access is refused"), (501, "lacks what is needed"), ("unconditional", "ignores the cond")],
)
def test_check_finds_out_whether_the_results_could_be_put(s3, home, fault, told):
    """And leaves nothing there, not even on a server that ignores conditions."""
    s3.fault = lambda method, path: fault if method == "PUT" else None
    problem = check(job(home))
    assert problem is None if told is None else told in problem
    assert s3.keys("out") == []
    assert not (home / "state").exists()


def test_check_names_who_has_claimed_the_output(s3, home, monkeypatch):
    """A claim of this machine's own is none."""
    output = job(home).output
    target.OutputTarget(output.address, output.directory, "first").claim(fresh=False)
    assert check(job(home)) is None
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "other"))
    assert "is claimed by the run of first" in check(job(home))
    assert s3.keys("out") == ["run/claim.json"]


def test_check_names_a_bucket_that_is_not_there(s3, home):
    """The run would not begin either."""
    assert "s3://nowhere does not exist" in check(job(home, output={"path": "s3://nowhere/out"}))


def test_cancelled_batches_are_published_by_the_next_run(s3, home, capsys):
    """A store that is out of order must not keep batches from being ended; it is said that they are still to come."""
    (home / "job.toml").write_text(job(home, 6).to_toml())
    run_it = ["run", str(home / "job.toml"), "--simulate", "--lane", "batch"]
    for arguments, code in (([*run_it, "--detach"], 4), (["cancel", ADDRESS], 0)):
        with pytest.raises(SystemExit, match=rf"^{code}$"):
            main(arguments)
        assert f"results     {ADDRESS} once " in capsys.readouterr().out
    assert s3.keys("out") == ["run/claim.json"]
    with pytest.raises(SystemExit, match=r"^0$"):
        main(run_it)
    assert len(published(home)) == 6
    assert "run/claim.json" not in s3.keys("out")


def test_another_machine_goes_on_with_what_is_published(s3, home, monkeypatch):
    """It fetches the run first: nothing is sent twice, and an update takes its answers."""
    run(job(home, 15))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "second"))
    assert run(job(home, 15)).attempts == 15  # those of the first machine
    summary = run(job(home, 20), update=True)
    assert (summary.reused, summary.attempts) == (15, 5)
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    with pytest.raises(OutputError, match="published from elsewhere"):
        run(job(home, 15))


def test_a_damaged_object_is_noticed_by_who_copies_it(s3, home):
    """Its CRC is in `run.json`."""
    run(job(home, 5))
    [key] = [key for key in s3.keys("out") if "part-" in key]
    body = bytearray(s3.get("out", key))
    body[100] ^= 1
    s3.put("out", key, bytes(body))
    assert published(home) is None


def test_answers_can_be_reused_from_an_address(s3, home):
    """As from a directory."""
    run(job(home, 10))
    other = job(
        home, 12, output={"path": "s3://out/other"}, input={"path": str(home / "rows-12.csv"), "reuse": [ADDRESS]}
    )
    summary = run(other)
    assert (summary.reused, summary.attempts) == (10, 2)


def test_output_state_is_where_the_run_lies(s3, home):
    """And is refused for an output on this machine."""
    place = home / "mine"
    run(job(home, 5, output={"path": ADDRESS, "state": str(place)}))
    assert (place / "run.json").is_file()
    with pytest.raises(JobError, match=r"output\.state is for"):
        job(home, 5, output={"path": str(home / "x"), "state": str(place)})


BOUNDARIES = ["claim.json", "part-00000", "part-00003", "cost_summary", "job.json", "run-.*/run.json", "/run/run.json"]


def killed(s3, home, boundary, after):
    """Kill the publishing process when the put of a boundary comes in, or when it has been done."""
    process = None

    def kill(method, path):
        if method != "PUT" or not re.search(boundary, path):
            return None
        process.send_signal(signal.SIGKILL)
        process.wait()
        return "lost" if after else "dropped"

    s3.fault = kill
    directory = home / "state" / "batchgen" / mirror.state_directory(parse_address(ADDRESS, OutputError)).name
    process = subprocess.Popen([sys.executable, "-c", PUBLISH, ADDRESS, str(directory)])
    process.wait()
    s3.fault = lambda method, path: None
    return process.returncode


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "boundary",
    [*(pytest.param(name, marks=pytest.mark.slow) for name in BOUNDARIES[:-1]), BOUNDARIES[-1]],
)
def test_a_kill_leaves_the_old_or_the_new(s3, home, monkeypatch, boundary, after):
    """Killed at each put of the second publication; the same command then brings it to its end."""
    run(job(home, 15))
    old = published(home)
    again = job(home, 35, user="Now say {{ text }}")
    with monkeypatch.context() as patch:  # all is answered, and nothing of it is published yet
        patch.setattr(target.OutputTarget, "submit", lambda self, number, then: then())
        patch.setattr(target.OutputTarget, "_publish", Mock(side_effect=StoreError("as told")))
        assert run(again, fresh=True).state == "stopped"
    assert killed(s3, home, boundary, after) in (0, -signal.SIGKILL)
    new = read_results(mirror.state_directory(parse_address(ADDRESS, OutputError)))["completion"].to_pylist()
    assert published(home) in (old, new)
    summary = run(again)
    assert (summary.state, summary.attempts) == ("complete", 35)
    assert published(home) == new
