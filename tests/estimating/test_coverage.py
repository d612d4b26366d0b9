"""Does the actual cost lie inside the estimate as often as it says? Pilots drawn again and again, truth known."""

import math
import random
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batchgen
from batchgen.engine.reporter import Reporter
from batchgen.estimating.basis import basis_of
from batchgen.estimating.count import Ruler, count_rows
from batchgen.estimating.draw import drawn_rows, pilot_rows
from batchgen.estimating.observed import Observations, Observed, observe
from batchgen.job.endpoint import Endpoint
from batchgen.job.parts import assemble
from batchgen.job.settings import parse_job
from batchgen.money.prices import load_prices
from batchgen.secret import Secret
from batchgen.simulator import Settings, start_in_thread

JOBS = sorted(
    path.name for path in Path("jobs").glob("*.toml") if path.stem != "invoices"
)  # three rows foretell nothing


def counted(parts):
    """Return the census of a job with every row kept."""
    rows = parts.source.scan().rows
    ruler = Ruler(parts, load_prices().limits)
    return count_rows(parts, ruler, others={}, wanted=frozenset(range(rows)), reporter=Reporter())


def share_held(parts, census, settled, pilot, repetitions=200):
    """Return in which share of the pilots cost, and output tokens, of all rows (`settled`) were inside."""
    cost = sum(item.cost for item in settled.values())
    tokens = sum(item.output_tokens for item in settled.values())
    held = [0, 0]
    for seed in range(repetitions):
        drawn = drawn_rows(len(settled), pilot, seed)
        dominating = census.dominating(pilot, pilot // 2)
        sample = [settled[row] for row in pilot_rows(drawn, dominating)]
        paid = sum(item.cost for item in sample)
        basis = basis_of(parts, census, Observations(sample, len(sample), paid), dominating)
        told, answers = basis.cost(), basis.output_tokens()
        held[0] += told.low <= cost <= told.high
        held[1] += answers.low <= tokens <= answers.high
    return [count / repetitions for count in held]


@pytest.fixture(scope="module")
def simulator():
    """One simulated provider for all sample jobs."""
    handle = start_in_thread(Settings())
    yield handle
    handle.close()


@pytest.mark.parametrize("name", JOBS)
def test_sample_jobs_cost_what_a_third_of_their_rows_foretell(name, simulator, tmp_path):
    """The whole job is run; then 200 pilots, of 30 rows at most, are drawn from what it cost."""
    job = batchgen.load_job(Path("jobs") / name, output=str(tmp_path / "out"))
    job = msgspec.structs.replace(job, limits=msgspec.structs.replace(job.limits, requests_per_minute=None))
    job = msgspec.structs.replace(job, input=msgspec.structs.replace(job.input, dedupe=False))  # every row is asked
    base = "" if job.model.provider == "dashscope" else "/compatible-mode/v1"
    endpoint = Endpoint(simulator.url + base, Secret("simulated"), "simulator")
    summary = batchgen.run(job, endpoint=endpoint)
    parts = assemble(job, endpoint)
    scan = parts.source.scan()
    seen = observe(parts, scan.fingerprint, Path(job.output.path))
    assert seen.settled == summary.rows
    census = counted(parts)
    settled = {item.row: item for item in seen.sample}
    assert len(settled) == scan.rows
    pilot = min(30, max(2, scan.rows * 2 // 3))
    cost, tokens = share_held(parts, census, settled, pilot)
    assert cost >= 0.93
    assert tokens >= 0.93


def synthetic(tmp_path, *, sigma, follows, rows=2000, cap=4096):
    """Return a job with heavy-tailed answers, and what each row costs; `follows`: answers grow with the input."""
    rng = random.Random(13)
    texts = ["word " * max(1, round(rng.lognormvariate(4, 0.8))) for _ in range(rows)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet")
    table = {
        "name": "synthetic",
        "input": {"path": str(tmp_path / "in.parquet")},
        "prompt": {"user": "{{ text }}"},
        "model": {"provider": "dashscope", "name": "qwen-plus", "parameters": {"max_tokens": cap}},
        "output": {"path": str(tmp_path / "out")},
    }
    parts = assemble(parse_job(table, "test"), Endpoint("http://127.0.0.1:9", None, "none"))
    census = counted(parts)
    price = parts.price_of("qwen-plus").tiers[0]
    settled = {}
    for row, found in census.wanted.items():
        length = 0.9 * found.tokens * rng.lognormvariate(0, 0.2) if follows else rng.lognormvariate(math.log(80), sigma)
        answer = max(1, min(cap, round(length)))
        cost = (found.tokens * price.input + answer * price.output) / Decimal(1_000_000)
        settled[row] = Observed(row, 1, found.tokens, answer, cost, 900.0, failed=False)
    return parts, census, settled


@pytest.mark.parametrize(
    ("sigma", "follows"),
    [
        pytest.param(1.0, False, id="sigma 1"),
        pytest.param(1.5, False, id="sigma 1.5"),
        pytest.param(0, True, id="long in, long out"),
    ],
)
def test_a_pilot_of_100_rows_holds_for_heavy_tails(sigma, follows, tmp_path):
    """2,000 rows, lognormal answers cut at max_tokens: stated at 95 %, seen at 93 % at least."""
    parts, census, settled = synthetic(tmp_path, sigma=sigma, follows=follows)
    cost, tokens = share_held(parts, census, settled, 100)
    assert cost >= 0.93
    assert tokens >= 0.93


def test_answers_that_follow_the_input_are_estimated_more_closely(tmp_path):
    """Regression on the known input lengths earns its place: less than half the width of a plain mean."""
    parts, census, settled = synthetic(tmp_path, sigma=0, follows=True)
    drawn = drawn_rows(2000, 100, 1)
    basis = basis_of(parts, census, Observations([settled[row] for row in drawn], 100, None), {})
    close = basis.output_tokens()
    mixed = list(settled.values())
    random.Random(2).shuffle(mixed)
    unrelated = {
        row: Observed(row, 1, census.wanted[row].tokens, item.output_tokens, item.cost, 900.0, failed=False)
        for row, item in zip(settled, mixed, strict=True)
    }
    wide = basis_of(parts, census, Observations([unrelated[row] for row in drawn], 100, None), {}).output_tokens()
    assert (close.high - close.low) * 2 < wide.high - wide.low
