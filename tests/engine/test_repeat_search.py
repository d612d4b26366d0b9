"""Duplicate requests are found before the run or beside it, and asked once either way."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batchgen
from batchgen.engine import deduplication
from batchgen.engine.repeat_search import RepeatSearch
from batchgen.job.endpoint import Endpoint
from batchgen.job.parts import assemble
from batchgen.job.settings import Job
from batchgen.secret import Secret
from batchgen.simulator import Settings, start_in_thread

ROWS = 3_000
TEMPLATES = {
    "text": "Say {{ text }}.",
    "two columns": "{{ text }}{{ number }}",
    "rendered": "{{ text | trim }}",
    "null fails": "{{ gap }}{{ text }}",
}


class Directory:
    """Where a search keeps what it found, with a run's name."""

    def __init__(self, path):
        self.path = path
        self.journal = self
        self.identity = self
        self.run = "a run"


@pytest.fixture
def job(tmp_path):
    """Return a job over rows of which each comes about three times."""
    rng = random.Random(5)
    numbers = [rng.randrange(ROWS // 3) for _ in range(ROWS)]
    table = {
        "text": [f" {number} " if number % 2 else f" {number}" for number in numbers],
        "number": [number % 10 for number in numbers],
        "gap": [None if number % 7 == 0 else "g" for number in numbers],
    }
    pq.write_table(pa.table(table), tmp_path / "in.parquet", row_group_size=700)

    def make(template, base_url="http://127.0.0.1:9/v1"):
        return Job.from_dict(
            {
                "name": "repeats",
                "input": {"path": str(tmp_path / "in.parquet"), "dedupe": True},
                "prompt": {"user": template},
                "model": {"provider": "openai", "name": "qwen-plus", "base_url": base_url},
                "limits": {"concurrency": 32},
                "output": {"path": str(tmp_path / "out")},
            }
        )

    return make


def search_of(made, path):
    parts = assemble(made, Endpoint("http://127.0.0.1:9/v1", Secret("sk-test"), identity="nowhere"))
    return parts, RepeatSearch(parts, ROWS, Directory(path))


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_the_rows_of_a_repeated_request_are_found_exactly(job, tmp_path, template):
    """All of them and no others; a second search takes what the first has kept."""
    parts, search = search_of(job(template), tmp_path)
    rows_of = {}
    for batch in parts.source.batches():
        for row, values in enumerate(batch.table.to_pylist(), batch.first_row):
            prompt = parts.template.render(values)
            if isinstance(prompt, batchgen.values.Prompt):
                rows_of.setdefault(parts.keys.of(prompt), []).append(row)
    assert search.wait(60) is True
    again = RepeatSearch(parts, ROWS, Directory(tmp_path))
    assert again.wait(0) is True
    for found in (search, again):
        for rows in rows_of.values():
            assert {found.may_repeat(row) for row in rows} == {len(rows) > 1}
        found.close()


def test_values_of_different_kinds_may_make_the_same_text(tmp_path):
    """Such as an object, and a text that looks as objects do in a prompt: the column alone does not tell."""
    (tmp_path / "in.jsonl").write_text(
        '{"t": {"a": 1}}\n{"t": "{\\"a\\": 1}"}\n{"t": true}\n{"t": "True"}\n{"t": "x"}\n'
    )
    table = {
        "name": "kinds",
        "input": {"path": str(tmp_path / "in.jsonl"), "dedupe": True},
        "prompt": {"user": "{{ t }}"},
        "model": {"provider": "openai", "name": "qwen-plus"},
        "output": {"path": str(tmp_path / "out")},
    }
    parts = assemble(Job.from_dict(table), Endpoint("http://127.0.0.1:9/v1", Secret("sk-test"), identity="nowhere"))
    prompts = [parts.template.render(row) for batch in parts.source.batches() for row in batch.values(["t"])]
    assert prompts[0] == prompts[1]
    assert prompts[2] == prompts[3]
    search = RepeatSearch(parts, 5, Directory(tmp_path))
    assert search.wait(60) is True
    assert [search.may_repeat(row) for row in range(5)] == [True] * 4 + [False]
    search.close()


def test_what_changes_meanwhile_leaves_it_open(job, tmp_path):
    """Whoever reads the input for the run says what is wrong with it; until then every row may be repeated."""
    made = job("{{ text }}")
    parts = assemble(made, Endpoint("http://127.0.0.1:9/v1", Secret("sk-test"), identity="nowhere"))
    (tmp_path / "in.parquet").write_bytes(b"PAR1 and nothing more")
    search = RepeatSearch(parts, ROWS, Directory(tmp_path))
    assert search.wait(60) is None
    assert search.may_repeat(5)
    search.close()
    assert not list(tmp_path.glob("repeated*"))


@pytest.mark.parametrize("template", [TEMPLATES["text"], TEMPLATES["rendered"]])
@pytest.mark.parametrize("wait_s", [0, 60])
def test_each_request_is_sent_once_while_the_search_goes_on_and_after_it(job, monkeypatch, template, wait_s):
    """The run need not wait for it."""
    monkeypatch.setattr(deduplication, "WAIT_S", wait_s)
    with start_in_thread(Settings(latency_ms=0)) as server:
        made = job(template, f"{server.url}/compatible-mode/v1")
        summary = batchgen.run(made, endpoint=Endpoint(made.model.base_url, Secret("sk-test"), identity="here"))
        asked = server.stats()["requests"]
    rows = batchgen.read_results(made.output.path).to_pylist()
    texts = [row["text"].strip() if "trim" in template else row["text"] for row in rows]
    assert (summary.state, summary.succeeded, len(rows)) == ("complete", ROWS, ROWS)
    assert asked == summary.attempts == len(set(texts))
    answers = {}
    for text, row in zip(texts, rows, strict=True):
        answers.setdefault(text, set()).add(row["completion"])
    assert all(len(found) == 1 for found in answers.values())
