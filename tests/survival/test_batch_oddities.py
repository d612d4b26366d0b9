"""Jobs in the batch lane against a vendor that does everything oddly: each row once, right, and bought once.

The books of the simulator are compared with those of the run to the token, whatever set of oddities was drawn and
whenever the run is killed.
"""

import json
import random
import re
import subprocess
import sys

import msgspec
import pyarrow.compute as pc
import pytest
import tomli_w

import batchgen
from batchgen.job.endpoint import Endpoint
from batchgen.job.settings import Job
from batchgen.results.committed import read_results
from batchgen.secret import Secret
from batchgen.simulator import Settings, expected_answer, start_in_thread
from batchgen.simulator.batches.oddity_names import ODDITIES
from batchgen.storage.run_state import SIMULATOR
from tests.inputs import write_csv
from tests.survival.harness import ROOT

PATHS = {"openai": "/v1", "dashscope": "/compatible-mode/v1", "anthropic": ""}
STOPS = {"failed_billing", "credit_low", "failed_model", "create_refused", "ended_empty"}
"""The vendor says that nothing can succeed: the run stops, and says why."""

APART = {"row_starved", "gone", "create_hang"}
"""Answers are others than live, or are paid and lost, or take their time: compared elsewhere."""

UNREADABLE = {"one_array"}
"""The run stops, and does so again until the vendor has mended it: drawn in a test of its own."""

RANDOM = sorted({*ODDITIES} - STOPS - APART)
FOR_ALL = {"status_case", "counts_zero", "counts_null", "counts_absent", "error_id_empty", "times_iso", "times_ms"}
FOR_ALL |= {"times_placeholder", "expires_null", "metadata_null", "shuffled", "bom", "crlf", "blank_lines", "no_role"}
FOR_ALL |= {"no_final_newline", "one_file", "error_file_empty", "body_string", "error_code_name", "line_separators"}
FOR_ALL |= {"output_id_early", "output_id_late", "unknown_word", "rest_left_out", "file_slow", "file_lag", "list_lag"}
FOR_ALL |= {"list_oldest_first", "list_repeats"}
"""What may be so every time; other oddities meet a part."""


def drawn(seed):
    """Return a set of oddities, each with its share or its number of times."""
    chance = random.Random(seed)
    names = chance.sample(RANDOM, chance.randint(1, 7))
    shares = [(name, "" if name in FOR_ALL else f"={chance.choice(['1x', '2x', '0.1', '0.3'])}") for name in names]
    return tuple(f"{name}{share}" for name, share in shares if name not in UNREADABLE)


@pytest.fixture
def table(tmp_path):
    """Return a job in the batch lane, and the texts of its rows."""

    def make(provider, rows, seed=0):
        texts = [f"text {n} of {seed}" for n in range(rows)]
        return texts, {
            "name": "odd",
            "input": {"path": str(write_csv(tmp_path / "in.csv", texts))},
            "prompt": {"user": "{{ text }}"},
            "model": {"provider": provider, "name": "m", "lane": "batch", "parameters": {"max_tokens": 300}},
            "output": {"path": str(tmp_path / "out")},
            "batch": {"rows": 25, "poll_s": 1},
            "pricing": {"models": {"m": {"input": 2, "output": 8, "currency": "USD"}}},
            "retry": {"max_attempts": 8},
        }

    return make


@pytest.fixture
def trial(table, tmp_path):
    """Run a job against a vendor with these oddities; return what the run says, the vendor's books, and its rows."""

    def run(oddities, provider="openai", rows=60, seed=0):
        settings = Settings(seed=seed, batch_speed=1_000_000, oddities=tuple(oddities), hang_s=0.2)
        texts, tables = table(provider, rows, seed)
        with start_in_thread(settings, directory=tmp_path / "vendor") as server:
            endpoint = Endpoint(server.url + PATHS[provider], Secret("k"), SIMULATOR)
            done = batchgen.run(Job.from_dict(tables), endpoint=endpoint)
            return done, server.stats(), server.batch_rows(), texts

    return run


def judge(summary, stats, rows, texts, path, seed=0, *, forgets_live=False):
    """Each row is there once with its answer, and both sides' books are the same.

    `forgets_live`: a vendor that was begun again has the books of its batches only. Rows that were asked live have a
    latency.
    """
    found = read_results(path)
    assert found["row_id"].to_pylist() == [str(n) for n in range(len(texts))]
    for text, answer, status in zip(texts, found["completion"].to_pylist(), found["status"].to_pylist(), strict=True):
        assert (status, answer) == ("succeeded", expected_answer(text, seed=seed))
    for name in ("input_tokens", "output_tokens"):
        live = found.filter(pc.is_valid(found["latency_ms"]))[name].to_pylist() if forgets_live else []
        assert summary[name] == stats["billed_delivered"][name] + sum(live)
    bought = [row.digest for row in rows if not row.lost]
    assert len({*bought}) == len(bought)


@pytest.mark.parametrize("provider", PATHS)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 200))])
def test_any_set_of_oddities(trial, tmp_path, provider, seed):
    """A draw in the usual suite, hundreds by hand."""
    odd = drawn(f"{provider} {seed}")
    done, stats, rows, texts = trial(odd, provider, seed=seed)
    assert done.state == "complete", odd
    judge(
        {"input_tokens": done.input_tokens, "output_tokens": done.output_tokens},
        stats,
        rows,
        texts,
        tmp_path / "out",
        seed,
    )


def mend_arrays(server, message):
    """Turn the results of the batch that a message names from arrays into lines; return its id."""
    (name,) = re.findall(r"\((\S+)\) cannot be read", message)
    records = server._simulator._behaviour.desk.records
    batch = records.batches[name]
    for path in (records.path(file) for file in (batch.output_file, batch.error_file) if file):
        body = path.read_bytes()
        assert not body or body.startswith(b"[")
        lines = re.sub(rb',(?=\s*\{"(?:id|custom_id|result)":)', b"\n", body[1:].rstrip())
        path.write_bytes((b"\n" + lines.removesuffix(b"]")).ljust(len(body), b"\n"))
    return name


@pytest.mark.parametrize("provider", PATHS)
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 34))])
def test_results_that_nobody_can_read_among_any_oddities(table, tmp_path, provider, seed):
    """The run stops with words and a remedy; the same command reads what the vendor has mended, and buys nothing."""
    chance = random.Random(f"unreadable {provider} {seed}")
    odd = [name for name in drawn(f"with {provider} {seed}") if not name.startswith("row_broken")]
    odd.append(f"one_array={chance.choice(['1x', '2x', '0.3'])}")
    settings = Settings(seed=seed, batch_speed=1_000_000, oddities=tuple(odd), hang_s=0.2)
    texts, tables = table(provider, 60, seed)
    mended = set()
    with start_in_thread(settings, directory=tmp_path / "vendor") as server:
        endpoint = Endpoint(server.url + PATHS[provider], Secret("k"), SIMULATOR)
        for _ in range(12):
            done = batchgen.run(Job.from_dict(tables), endpoint=endpoint)
            if done.state == "complete":
                break
            assert (done.state, done.error["kind"]) == ("stopped", "ProviderStop"), odd
            assert done.error["remedy"], odd
            if "cannot be read" in done.error["message"]:  # else the draw has refused something time and again
                assert "Running the same command again" in done.error["remedy"]
                mended.add(mend_arrays(server, done.error["message"]))
        assert done.state == "complete", odd
        stats, rows = server.stats(), server.batch_rows()
    for row in rows:
        if row.lost and row.batch in mended:
            stats["billed_delivered"]["input_tokens"] += row.input_tokens
            stats["billed_delivered"]["output_tokens"] += row.output_tokens
    rows = [msgspec.structs.replace(row, lost=row.lost and row.batch not in mended) for row in rows]
    sums = {"input_tokens": done.input_tokens, "output_tokens": done.output_tokens}
    judge(sums, stats, rows, texts, tmp_path / "out", seed)


def test_results_that_never_come_are_given_up(trial):
    """A batch that has ended without results is not looked at for ever: its rows are asked again."""
    done, _, _, _ = trial(("ended_empty=1x",), "anthropic")
    assert (done.state, done.succeeded) == ("complete", 60)


@pytest.mark.parametrize("provider", PATHS)
def test_a_download_that_ends_too_soon_is_made_again(trial, tmp_path, provider):
    """Also if the server says that it was all of it: the file's size, or the number of lines, tells otherwise."""
    done, stats, rows, texts = trial(("download_chunked_short=2x",), provider)
    judge(
        {"input_tokens": done.input_tokens, "output_tokens": done.output_tokens}, stats, rows, texts, tmp_path / "out"
    )


@pytest.mark.parametrize("oddity", sorted(STOPS))
def test_after_a_stop_the_run_goes_on(trial, tmp_path, oddity):
    """The reason has gone, the same command again answers the rest, and nothing was bought twice."""
    done, _, _, _ = trial((f"{oddity}=1x",))
    assert done.state == "stopped"
    assert done.error
    done, stats, rows, texts = trial(())
    assert done.state == "complete"
    judge(
        {"input_tokens": done.input_tokens, "output_tokens": done.output_tokens}, stats, rows, texts, tmp_path / "out"
    )


@pytest.mark.slow
@pytest.mark.parametrize("provider", PATHS)
@pytest.mark.parametrize("seed", range(30))
def test_a_run_that_is_killed_again_and_again(table, tmp_path, provider, seed):
    """Before or after any state of a batch is recorded, the vendor's process with it, oddities or none."""
    chance = random.Random(seed)
    texts, tables = table(provider, 60)
    path = tmp_path / "job.toml"
    path.write_text(tomli_w.dumps(tables))
    odd = drawn(f"killed {provider} {seed}") if seed % 2 else ("create_lost=0.3",)
    for kill in (*(chance.randint(1, 12) for _ in range(4)), 0):
        order = json.dumps({"oddities": odd, "vendor": str(tmp_path / "vendor"), "kill": kill})
        command = [
            sys.executable,
            "-m",
            "tests.survival.killed_batches",
            order,
            "run",
            str(path),
            "--simulate",
            "--json",
        ]
        done = subprocess.run(
            [*command, "--no-progress"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode in ((-9, 0) if kill else (0,)), done.stderr
    summary = json.loads(done.stdout)
    with start_in_thread(Settings(), directory=tmp_path / "vendor") as server:
        judge(summary, server.stats(), server.batch_rows(), texts, tmp_path / "out", forgets_live=True)
