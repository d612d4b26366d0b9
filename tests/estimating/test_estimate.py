"""The estimate from Python: what rows ask for themselves, prices by rule, limits, earlier runs. Nothing is sent."""

import math
import random
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batchgen
from batchgen.errors import InputError, OutputError, UsageError
from batchgen.estimating.cost import Answers, Sampled, calibration_of, fit_answers
from batchgen.estimating.histogram import Asked, CountedRow, Histogram
from batchgen.estimating.observed import Observed
from batchgen.job.check import check_job
from batchgen.job.endpoint import Endpoint
from batchgen.job.settings import parse_job
from batchgen.pace.rate_limit import SAFETY
from batchgen.secret import Secret
from batchgen.simulator import Settings, start_in_thread
from batchgen.tokens.count import counter_for
from batchgen.values import Prompt

MILLION = 1_000_000


@pytest.fixture
def make_job(tmp_path):
    """Build a job over a table; keyword arguments are further tables of the job."""

    def make(columns, *, name="qwen-plus", parameters=None, **more):
        pq.write_table(pa.table(columns), tmp_path / "in.parquet")
        table = {
            "name": "test",
            "input": {"path": str(tmp_path / "in.parquet")},
            "prompt": {"user": "{{ text }}"},
            "model": {
                "provider": "dashscope",
                "name": name,
                "parameters": {"max_tokens": 100} if parameters is None else parameters,
            },
            "output": {"path": str(tmp_path / "out")},
            **more,
        }
        return parse_job(table, "test")

    return make


def counted(text, model="qwen-plus"):
    """Return the tokens of a row's prompt."""
    return counter_for(model).count(Prompt(messages=[{"role": "user", "content": text}]))


def test_thinking_is_charged_as_output_at_its_own_price(make_job):
    """The thinking budget comes on top of max_tokens, and all output costs the higher price."""
    told = batchgen.estimate(
        make_job({"text": ["Why?"]}, parameters={"max_tokens": 100, "enable_thinking": True, "thinking_budget": 400})
    )
    assert told.output_tokens.high == 500
    assert told.cost.high == (Decimal("0.4") * counted("Why?") + 4 * 500) / MILLION
    quick = batchgen.estimate(make_job({"text": ["Why?"]}, parameters={"max_tokens": 100, "enable_thinking": False}))
    assert quick.cost.high == (Decimal("0.4") * counted("Why?") + Decimal("1.2") * 100) / MILLION


def test_rows_that_name_their_model_and_parameters_are_priced_by_them(make_job):
    """Model and max_tokens from columns: each row at its own price, bounded by its own limit."""
    job = make_job(
        {"text": ["one", "two", "three"], "who": ["qwen-plus", "qwen-turbo", "qwen-plus"], "most": [10, 20, 30]},
        name={"column": "who"},
        parameters={"max_tokens": {"column": "most"}},
    )
    told = batchgen.estimate(job)
    plus = Decimal("0.4") * (counted("one") + counted("three")) + Decimal("1.2") * 40
    turbo = Decimal("0.05") * counted("two") + Decimal("0.2") * 20
    assert told.model == "column who"
    assert told.output_tokens.high == 60
    assert told.cost.high == (plus + turbo) / MILLION
    assert told.currency == "USD"


def test_rows_keep_their_order_and_count_on_all_cores(make_job, tmp_path):
    """3,000 rows in slices on threads: every line of the table is its own row's."""
    texts = [f"row {n} " + "x " * (n % 50) for n in range(3000)]
    batchgen.estimate(make_job({"text": texts}), output=tmp_path / "est")
    table = pq.read_table(tmp_path / "est" / "estimate.parquet")
    assert table.column("row_id").to_pylist() == [str(n) for n in range(3000)]
    assert table.column("input_tokens").to_pylist() == [counted(text) for text in texts]


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        ({"requests_per_minute": 60}, 40 / SAFETY),
        ({"requests_per_minute": 6000, "tokens_per_minute": 600}, None),
        ({}, False),
    ],
)
def test_duration_follows_the_limit_that_binds(make_job, limits, seconds):
    """40 rows at one a second, or all their tokens at 600 a minute; without limits and answers nothing is known."""
    told = batchgen.estimate(make_job({"text": ["What?"] * 40}, limits=limits))
    if seconds is False:
        assert told.duration_s is None
        return
    if seconds is None:
        seconds = (40 * counted("What?") + 40 * 100) / (10 * SAFETY)
    assert told.duration_s.high == pytest.approx(seconds, abs=0.1)


def test_without_any_bound_the_cost_has_none_either(make_job):
    """A price but no longest answer: low is the input, the rest unknown, and the way out is said."""
    job = make_job({"text": ["a"]}, name="qwen3.6-max-preview", parameters={"enable_thinking": True})
    told = batchgen.estimate(job)
    assert told.output_tokens.high is None
    assert told.cost.low > 0
    assert told.cost.high is None
    assert any("--pilot" in note for note in told.notes)


def test_an_empty_table_costs_nothing(make_job):
    """No rows: zeros, not a division."""
    told = batchgen.estimate(make_job({"text": pa.array([], pa.string())}), compare=["qwen-max"])
    assert (told.rows, told.input_tokens, told.output_tokens.high, told.cost.high) == (0, 0, 0, 0)


def test_rows_that_cannot_be_asked_are_counted_apart(make_job):
    """A null and an empty text; when it is all of them, that is an error."""
    told = batchgen.estimate(make_job({"text": ["good", None, ""]}))
    assert (told.rows, told.unaskable, sorted(told.unaskable_examples)) == (3, 2, [1, 2])
    assert told.input_tokens == counted("good")
    with pytest.raises(InputError, match="None of the 2 rows"):
        batchgen.estimate(make_job({"text": pa.array([None, ""], pa.string())}))


def test_a_run_of_another_job_is_left_alone(make_job, tmp_path):
    """What lies in the output directory is not of this job: said, not used."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "run.json").write_text(
        '{"state": "stopped", "job": "x", "started_at": "", "updated_at": "", "sessions": 1,'
        ' "fingerprints": {"a": "b"}}'
    )
    told = batchgen.estimate(make_job({"text": ["good"]}))
    assert told.output_method == "max_tokens"
    assert any("another job or input" in note for note in told.notes)
    assert batchgen.load_estimate(out) is None


def test_no_estimate_is_none_and_a_damaged_one_is_said(tmp_path):
    """The reading side, for reports."""
    assert batchgen.load_estimate(tmp_path) is None
    (tmp_path / "estimate.parquet").write_bytes(b"no parquet")
    with pytest.raises(OutputError, match="not an estimate"):
        batchgen.load_estimate(tmp_path)


def test_a_histogram_gives_each_length_to_its_tier():
    """An edge belongs to the part below it; merging adds."""
    histogram, other = Histogram([10, 20]), Histogram([10, 20])
    for tokens in (1, 10, 11, 20, 21):
        histogram.add(tokens, 5)
    other.add(20, None)
    histogram.merge(other)
    assert [(histogram.rows[p], histogram.tokens[p], length) for p, length in histogram.places()] == [
        (2, 11, 10),
        (3, 51, 20),
        (1, 21, 21),
    ]
    assert histogram.unbounded == [0, 1, 0]


def sampled(tokens, answer, *, reported=None, bound=1000, attempts=1):
    """Return a row that was counted and answered."""
    observed = Observed(0, attempts, reported or tokens, answer, Decimal(0), 1.0, failed=False)
    return Sampled(CountedRow(Asked("qwen-plus", False), tokens, bound), observed)


def test_a_line_is_fitted_only_where_it_earns_its_place():
    """Answers that grow with the input; not chance, not a single far row, not answers cut at max_tokens."""
    steps = range(1, 41)
    line = fit_answers([sampled(10 * n, 5 + 20 * n + (n % 3)) for n in steps])
    assert line.slope == pytest.approx(2, rel=0.01)
    assert fit_answers([sampled(10 * n, 100 + 7 * (n * 13 % 10)) for n in steps]).slope == 0
    assert fit_answers([*(sampled(10, 50 + n % 5) for n in steps), sampled(9000, 900)]).slope == 0
    assert fit_answers([sampled(10 * n, min(400, 20 * n), bound=400) for n in steps]).slope == 0
    assert fit_answers([sampled(10, 50)]) == Answers(50.0)


def test_calibration_is_what_the_provider_reported_over_what_was_counted():
    """Rows that were tried twice report both tries and are left out."""
    rows = [sampled(100, 1, reported=110), sampled(50, 1, reported=55), sampled(10, 1, reported=20, attempts=2)]
    assert calibration_of(rows) == pytest.approx(1.1)
    assert calibration_of([]) == 1.0
    assert math.isclose(calibration_of([sampled(7, 1)]), 1.0)


def test_the_names_are_functions_of_the_package():
    """`batchgen.estimate` is the function, whichever module was imported first."""
    assert callable(batchgen.estimate)
    assert batchgen.Estimate.__name__ == "Estimate"


@pytest.mark.parametrize("seed", range(5))
def test_a_sample_of_a_large_input_holds_what_all_rows_take(make_job, seed):
    """Only some rows are counted; the interval says what that leaves open, and the models of a comparison follow."""
    rng = random.Random(seed)
    job = make_job({"text": ["word " * rng.randrange(1, 60) for _ in range(3_000)]})
    whole, part = (
        batchgen.estimate(job, compare=["qwen-max"]),
        batchgen.estimate(job, sample=300, seed=seed, compare=["qwen-max"]),
    )
    assert part.rows == whole.rows == 3_000
    assert part.input_tokens != whole.input_tokens
    low, high = part.input_band
    assert 0.8 < low < 1 < high < 1.2
    assert part.input_tokens * low * 0.97 <= whole.input_tokens <= part.input_tokens * high * 1.03
    assert part.cost.low <= whole.cost.low * Decimal("1.03")
    assert part.cost.high >= whole.cost.high * Decimal("0.97")
    assert part.output_tokens.high == pytest.approx(whole.output_tokens.high, rel=0.001)
    assert part.input_method == "rule"
    assert "300 of 3,000 rows counted" in part.input_rule
    assert part.compare[0].input_tokens == pytest.approx(whole.input_tokens, rel=0.1)
    assert batchgen.estimate(job, sample=3_000).input_tokens == whole.input_tokens, "a sample of everything is exact"


def test_a_sample_has_no_line_for_every_row(make_job, tmp_path):
    """The table and a sample exclude each other."""
    with pytest.raises(UsageError, match="--sample"):
        batchgen.estimate(make_job({"text": ["a"] * 100}), sample=50, output=tmp_path / "est")


def test_votes_count_as_often_as_they_are_asked(make_job, tmp_path):
    """Input, longest answers, cost and duration are those of all votes; the tier is that of a single request."""
    texts = {"text": [f"Which one is number {row}?" for row in range(20)]}
    quick = {"max_tokens": 100, "enable_thinking": False}
    limits = {"requests_per_minute": 60}
    labels = {"labels": ["red", "green"], "max_repairs": 0}
    once = batchgen.estimate(make_job(texts, parameters=quick, response=labels, limits=limits))
    job = make_job(texts, parameters=quick, response={**labels, "votes": 5}, limits=limits)
    often = batchgen.estimate(job, output=tmp_path / "table", compare=["qwen-flash"])
    assert often.input_tokens == 5 * once.input_tokens
    assert (often.output_tokens.high, often.rows) == (5 * once.output_tokens.high, 20)
    assert (often.cost.low, often.cost.high) == (5 * once.cost.low, 5 * once.cost.high)
    assert often.duration_s.high == pytest.approx(5 * once.duration_s.high, rel=0.01)
    assert often.compare[0].input_tokens == 5 * once.input_tokens
    counted = pq.read_table(tmp_path / "table" / "estimate.parquet").column("input_tokens").to_pylist()
    assert sum(counted) == often.input_tokens


def test_a_pilot_of_rows_with_votes_predicts_what_all_of_them_cost(make_job, tmp_path):
    """Whatever each row takes in all."""
    texts = {"text": [f"Which one is number {row}, and why? {'x ' * (row % 40)}" for row in range(200)]}
    response = {"labels": ["red", "green"], "votes": 3, "max_repairs": 0}
    quick = {"max_tokens": 100, "enable_thinking": False}
    with start_in_thread(Settings(seed=3)) as server:
        endpoint = Endpoint(server.url, Secret("sk-test-0123456789abcdef"), "http://simulator")
        told = batchgen.estimate(make_job(texts, parameters=quick, response=response), pilot=40, endpoint=endpoint)
        paid = batchgen.run(make_job(texts, parameters=quick, response=response), endpoint=endpoint)
    assert (paid.succeeded + paid.failed, paid.attempts) == (200, 600)
    assert told.cost.low <= paid.cost <= told.cost.high
    assert told.cost.high <= 2 * told.cost.low


def test_another_number_of_votes_is_told_before_it_is_paid(make_job, tmp_path):
    """Nothing of the answers that are there is taken, and what is asked is priced with the votes of now."""
    texts = {"text": [f"Which one is number {row}?" for row in range(10)]}
    quick = {"max_tokens": 100, "enable_thinking": False, "temperature": 1}

    def job(votes):
        response = {"labels": ["red", "green"], "votes": votes, "max_repairs": 0}
        return make_job(texts, parameters=quick, response=response)

    with start_in_thread(Settings(seed=3)) as server:
        endpoint = Endpoint(server.url, Secret("sk-test-0123456789abcdef"), "http://simulator")
        few = batchgen.run(job(2), endpoint=endpoint)
        checked = check_job(job(6), endpoint=endpoint, update=True)
        assert any("response.votes is 6 and was another number" in note for note in checked.notes)
        assert float(checked.reuse.cost) == pytest.approx(3 * float(few.cost), rel=0.1)
        assert not any("votes" in note for note in check_job(job(2), endpoint=endpoint, update=True).notes)
        told = batchgen.estimate(job(6), endpoint=endpoint, update=True)
        assert any("was another number" in note for note in told.notes)
