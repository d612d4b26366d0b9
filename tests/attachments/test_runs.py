"""Jobs with files, as the command runs them: answers, keys, budget, mails with their attachments."""

import base64
import json
from email.message import EmailMessage
from pathlib import Path

import anyio
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batchgen
from batchgen.api import arun
from batchgen.cli.main import main
from batchgen.errors import OutputError
from batchgen.job.check import check_job
from batchgen.job.endpoint import Endpoint, endpoint_of
from batchgen.job.parts import assemble
from batchgen.job.render import loaded, rendered
from batchgen.mail.kept_files import KeptFiles
from batchgen.money.worst_case import WorstCase
from batchgen.secret import Secret
from batchgen.simulator import Settings, start_in_thread
from batchgen.tokens.pictures import picture_tokens
from tests.attachments.making import noise, pdf, picture
from tests.tokens.test_recordings import waves

PARAMETERS = {"max_tokens": 64, "enable_thinking": False, "temperature": 0}


@pytest.fixture
def simulator():
    """A simulated provider."""
    handle = start_in_thread(Settings(seed=2))
    yield handle
    handle.close()


def make_job(folder, rows, provider="dashscope", **more):
    """Return a job over rows with a column `files`."""
    pq.write_table(pa.Table.from_pylist(rows), folder / "in.parquet")
    return batchgen.Job.from_dict(
        {
            "name": "files",
            "input": {"path": str(folder / "in.parquet"), **more.pop("input", {})},
            "prompt": {"user": "What is on it?"},
            "attach": {"column": "files", **more.pop("attach", {})},
            "model": {"provider": provider, "name": "qwen3.6-plus", "parameters": PARAMETERS},
            "output": {"path": str(folder / "out"), "columns": ["n"]},
            **more,
        }
    )


def run(job, simulator, **options):
    """Run a job against the simulator; return the summary and the rows."""
    endpoint = Endpoint(simulator.url, Secret("sk-test-0123456789abcdef"), "http://simulator")
    summary = anyio.run(lambda: arun(job, endpoint=endpoint, **options))
    return summary, batchgen.read_results(job.output.path).to_pylist()


def test_a_row_that_cannot_be_sent_fails_alone_and_costs_nothing(tmp_path, simulator):
    (tmp_path / "a.png").write_bytes(picture())
    rows = [{"n": 1, "files": ["a.png"]}, {"n": 2, "files": ["b.png"]}, {"n": 3, "files": []}]
    summary, results = run(make_job(tmp_path, rows), simulator)
    assert [row["status"] for row in results] == ["succeeded", "failed", "succeeded"]
    assert results[1]["error_kind"] == "prompt"
    assert "b.png" in results[1]["error_message"]
    assert simulator.stats()["requests"] == 2
    assert summary.failed == 1


def test_binary_columns_and_lists_of_them_are_files(tmp_path, simulator):
    rows = [{"n": 1, "files": [picture()]}, {"n": 2, "files": [picture((9, 9)), picture((70, 70))]}]
    _, results = run(make_job(tmp_path, rows), simulator)
    assert [row["status"] for row in results] == ["succeeded", "failed"]  # 9 pixels are too few
    (tmp_path / "flat").mkdir()
    _, results = run(make_job(tmp_path / "flat", [{"n": 1, "files": picture()}]), simulator)
    assert results[0]["status"] == "succeeded"


def test_a_changed_file_is_another_request_and_the_same_bytes_are_not(tmp_path, simulator):
    """Files count by their bytes: an update asks what has changed and nothing else."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(picture((len(name) * 10 + ord(name[0]), 64)))
    rows = [{"n": 1, "files": ["a.png"]}, {"n": 2, "files": ["b.png"]}]
    job = make_job(tmp_path, rows)
    run(job, simulator)
    assert simulator.stats()["requests"] == 2
    (tmp_path / "b.png").write_bytes(picture((90, 90)))
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes())
    job = make_job(tmp_path, [{"n": 1, "files": ["c.png"]}, {"n": 2, "files": ["b.png"]}])
    _, results = run(job, simulator, update=True)
    assert [row["reused"] for row in results] == [True, False]
    assert simulator.stats()["requests"] == 3


def test_a_file_that_changes_under_the_same_table_is_asked_again_by_an_update(tmp_path, simulator):
    """The table names it only; and once asked, the same update sends nothing and moves nothing."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(picture((ord(name[0]), 64)))
    job = make_job(tmp_path, [{"n": 1, "files": ["a.png"]}, {"n": 2, "files": ["b.png"]}])
    run(job, simulator)
    (tmp_path / "b.png").write_bytes(picture((90, 90)))
    for _ in range(2):
        _, results = run(job, simulator, update=True)
        assert [row["reused"] for row in results] == [True, False]
        assert simulator.stats()["requests"] == 3
    assert len([*tmp_path.glob("out.old-*")]) == 1


@pytest.mark.parametrize("whole", [False, True])
def test_a_file_that_changes_between_two_sessions_is_noticed_as_other_input(tmp_path, simulator, whole):
    """Where its row has an answer, in the journal or in a part; an update asks that row again and no other."""
    names = ["a.png", "b.png", "c.png"]
    for name in names:
        (tmp_path / name).write_bytes(picture((ord(name[0]), 64)))
    job = make_job(tmp_path, [{"n": n, "files": [name]} for n, name in enumerate(names)])
    run(job, simulator, only=None if whole else {0, 1})
    before = simulator.stats()["requests"]
    endpoint = Endpoint(simulator.url, Secret("sk-test-0123456789abcdef"), "http://simulator")
    assert check_job(job, endpoint=endpoint).problem is None
    (tmp_path / "b.png").write_bytes(picture((90, 90)))
    with pytest.raises(OutputError, match=r"files of 1 answered row \(of row 1 first.*--update"):
        run(job, simulator)
    assert "files of 1 answered row (of row 1 first" in check_job(job, endpoint=endpoint).problem
    assert check_job(job, endpoint=endpoint, update=True).problem is None
    assert simulator.stats()["requests"] == before
    _, results = run(job, simulator, update=True)
    assert [row["reused"] for row in results] == [True, False, whole]
    assert simulator.stats()["requests"] == 4


@pytest.mark.parametrize("touched", ["answered", "pending", "failed"])
def test_files_that_no_answer_is_about_may_change(tmp_path, simulator, touched):
    """One that is written anew with the same bytes, one that has not been sent, and one that was damaged before."""
    good = picture((70, 64))
    (tmp_path / "a.png").write_bytes(good)
    (tmp_path / "b.png").write_bytes(good[:60] if touched == "failed" else picture((90, 64)))
    job = make_job(tmp_path, [{"n": n, "files": [name]} for n, name in enumerate(["a.png", "b.png"])])
    run(job, simulator, only={0, 1} if touched == "failed" else {0})
    if touched == "answered":
        (tmp_path / "a.png").write_bytes(good)
    else:
        (tmp_path / "b.png").write_bytes(picture((99, 64)))
    summary, results = run(job, simulator, retry_failed=touched == "failed")
    assert (summary.state, [row["status"] for row in results]) == ("complete", ["succeeded", "succeeded"])
    assert simulator.stats()["requests"] == 2


def test_rows_with_the_same_file_are_asked_once(tmp_path, simulator):
    (tmp_path / "a.png").write_bytes(picture())
    summary, results = run(make_job(tmp_path, [{"n": n, "files": ["a.png"]} for n in range(5)]), simulator)
    assert (summary.shared, simulator.stats()["requests"]) == (4, 1)
    assert {row["status"] for row in results} == {"succeeded"}


def test_the_bound_of_a_budget_holds_for_pictures_and_does_not_count_their_letters(tmp_path, monkeypatch):
    """2,562 tokens at most for the largest picture, not its megabytes of base64."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-0123456789abcdef0123")
    (tmp_path / "a.jpg").write_bytes(noise((3000, 2000), quality=95))
    job = make_job(tmp_path, [{"n": 1, "files": ["a.jpg"]}], limits={"budget": "0.01"})
    parts = assemble(job, endpoint_of(job))
    ((_, prompt),) = rendered(parts, next(iter(parts.source.batches(0, ["files"]))))
    whole = loaded(parts, prompt)
    request = parts.provider.build_request(whole, stream=False)
    assert len(request.body) > 2_000_000
    worst = WorstCase(parts.price_of, parts.model, PARAMETERS)(request, whole)
    assert 0.5 * 2_000 / 1e6 < float(worst) < 0.01
    assert check_job(job).unaskable == 0


def test_check_says_before_what_cannot_be_sent(tmp_path):
    rows = [
        {"n": 1, "files": [picture((5, 100))]},
        {"n": 2, "files": [pdf("A page that has some words on it to read.")]},
    ]
    report = check_job(make_job(tmp_path, rows))
    assert report.unaskable == 1
    assert "11 on each side" in next(iter(report.unaskable_examples.values()))


def test_mails_keep_their_files_for_a_job(tmp_path, capsys, simulator):
    """From a mailbox to answers: the table names the files, also two of one name and one with a bad name."""
    mails = tmp_path / "mails"
    mails.mkdir()
    for number in range(2):
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "a@example.org", "b@example.org", f"invoice {number}"
        mail["Message-ID"] = f"<{number}@example.org>"
        mail.set_content("The invoice is attached.")
        if number == 0:
            body = pdf("Invoice 7 of the fifth of May: 40.00 EUR in total.")
            mail.add_attachment(body, maintype="application", subtype="pdf", filename="invoice.pdf")
            mail.add_attachment(picture(), maintype="image", subtype="png", filename="scan.png")
            mail.add_attachment(picture((80, 80)), maintype="image", subtype="png", filename="SCAN.png")
        (mails / f"{number}.eml").write_bytes(mail.as_bytes())
    table = tmp_path / "mails.parquet"
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["mail", str(mails), str(table), "--files", "--no-progress"])
    assert "Files kept" in capsys.readouterr().out
    rows = {row["subject"]: row for row in pq.read_table(table).to_pylist()}
    files = rows["invoice 0"]["files"]
    assert rows["invoice 1"]["files"] == []
    assert [Path(name).name for name in files] == ["invoice.pdf", "scan.png", "SCAN (2).png"]
    assert all((tmp_path / name).is_file() and name.startswith("mails.parquet.files/") for name in files)
    assert (tmp_path / files[1]).read_bytes() == picture()
    assert (tmp_path / files[0]).stat().st_mode & 0o777 == 0o600
    job = batchgen.Job.from_dict(
        {
            "name": "mails",
            "input": {"path": str(table), "id": "id"},
            "prompt": {"user": "{{ body }}"},
            "attach": {"column": "files"},
            "model": {"provider": "dashscope", "name": "qwen3.6-plus", "parameters": PARAMETERS},
            "output": {"path": str(tmp_path / "out"), "columns": ["subject"]},
        }
    )
    _, results = run(job, simulator)
    assert {row["status"] for row in results} == {"succeeded"}


def test_the_data_of_files_is_cut_where_check_shows_a_request(tmp_path):
    report = check_job(make_job(tmp_path, [{"n": 1, "files": [noise((300, 300), "PNG")]}]), show=1)
    text = json.dumps(report.requests[0].body)
    assert "letters)" in text
    assert len(text) < 2_000
    assert base64.b64encode(b"\x89PNG").decode()[:5] in text


@pytest.mark.parametrize(
    "name", ["../../x.png", "/etc/passwd", "a\\b.png", "..", "", "x" * 300 + ".png", "n\0ul.png", "CON"]
)
def test_no_name_of_an_attachment_leads_elsewhere(tmp_path, name):
    """Names come from the sender."""
    kept = KeptFiles(tmp_path / "t.parquet")
    (path,) = kept.keep("<1@example.org>", [(name, b"1")])
    assert (tmp_path / path).resolve().parent.parent == (tmp_path / "t.parquet.files").resolve()
    assert (tmp_path / path).read_bytes() == b"1"


def test_the_vendors_batches_take_files_too(tmp_path, capsys):
    """A row whose file cannot be sent fails alone, and the others come back from their batch."""
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "thin.png").write_bytes(picture((5, 99)))
    job = make_job(tmp_path, [{"n": 1, "files": "a.png"}, {"n": 2, "files": "thin.png"}, {"n": 3, "files": None}])
    (tmp_path / "job.toml").write_text(job.to_toml())
    with pytest.raises(SystemExit, match=r"^1$"):
        main(["run", str(tmp_path / "job.toml"), "--simulate", "--lane", "batch", "--json", "--quiet"])
    summary = json.loads(capsys.readouterr().out)
    assert (summary["succeeded"], summary["failed"]) == (2, 1)
    results = batchgen.read_results(tmp_path / "out").to_pylist()
    assert [row["status"] for row in results] == ["succeeded", "failed", "succeeded"]
    assert "11 on each side" in results[1]["error_message"]


@pytest.mark.parametrize("lane", ["live", "batch"])
def test_a_rehearsal_takes_what_the_jobs_own_vendor_takes(tmp_path, capsys, lane):
    """The simulator stands in for OpenAI there, which takes pictures that DashScope refuses for their size."""
    (tmp_path / "thin.png").write_bytes(picture((5, 99)))
    job = make_job(tmp_path, [{"n": 1, "files": "thin.png"}], "openai")
    (tmp_path / "job.toml").write_text(job.to_toml())
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["run", str(tmp_path / "job.toml"), "--simulate", "--lane", lane, "--json", "--quiet"])
    assert json.loads(capsys.readouterr().out)["succeeded"] == 1


def test_what_pictures_cost_is_within_the_bound_of_the_budget(tmp_path, simulator):
    """The provider's count, which is computed apart, is the one that was reserved and estimated."""
    sizes = [(64, 48), (640, 480), (3000, 200), (1700, 2300)]
    rows = [{"n": n, "files": picture(size)} for n, size in enumerate(sizes)]
    job = make_job(tmp_path, rows, limits={"budget": 1.0})
    summary, results = run(job, simulator)
    assert summary.state == "complete"
    with_pictures = [row["input_tokens"] for row in results]
    text = with_pictures[0] - picture_tokens("qwen3.6-plus", sizes[0], {})
    assert with_pictures == [text + picture_tokens("qwen3.6-plus", size, {}) for size in sizes]
    assert 0 < text < 40


SPOKEN_PRICE = {"input": 1.0, "output": 4.0, "audio_input": 40.0, "audio_tokens_per_second": 10, "currency": "USD"}


def test_estimate_counts_recordings_where_their_price_is_known(tmp_path):
    """Ten tokens a second at the price of recordings, for the rows and for all of them; without a price it says so."""
    for seconds in (3, 60):
        (tmp_path / f"{seconds}.wav").write_bytes(waves(seconds))
    rows = [{"n": 1, "files": "3.wav"}, {"n": 2, "files": "60.wav"}, {"n": 3, "files": ""}]
    attach = {"folder": str(tmp_path)}
    job = make_job(tmp_path, rows, "openai", attach=attach, pricing={"models": {"qwen3.6-plus": SPOKEN_PRICE}})
    silent = make_job(tmp_path, rows, "openai", attach=attach)
    counted, left_out = batchgen.estimate(job, output=tmp_path / "table"), batchgen.estimate(silent)
    assert counted.input_tokens - left_out.input_tokens == pytest.approx(630, abs=2)
    put_in = (left_out.input_tokens + 630 * 40) * counted.input_band[0]
    assert float(counted.cost.low) * 1_000_000 == pytest.approx(put_in, rel=0.01)
    assert not any("audio" in note for note in counted.notes)
    assert any("2 rows hold audio" in note for note in left_out.notes)
    assert pq.read_table(tmp_path / "table" / "estimate.parquet").column("input_tokens")[1].as_py() > 600


def test_a_pilot_of_recordings_corrects_what_was_counted(tmp_path, simulator):
    """The simulated provider bills no recordings: what the sampled rows cost stands for all, not their seconds."""
    rows = [{"n": number, "files": waves(3 + number % 5, 8_000 + number)} for number in range(12)]
    job = make_job(tmp_path, rows, "openai", pricing={"models": {"qwen3.6-plus": SPOKEN_PRICE}})
    endpoint = Endpoint(simulator.url + "/compatible-mode/v1", Secret("sk-test-0123456789abcdef"), "http://simulator")
    told = batchgen.estimate(job, pilot=6, endpoint=endpoint)
    assert told.cost.low <= told.cost.expected <= told.cost.high
    by_sample = 12 * sum(row["cost"] for row in batchgen.read_results(job.output.path).to_pylist()) / 6
    assert float(told.cost.expected) == pytest.approx(float(by_sample), rel=0.2)
