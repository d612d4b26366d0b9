"""The report's figures against sums made by another engine, on real and hand-made run directories."""

import json
from decimal import Decimal

import duckdb
import msgspec
import pyarrow.parquet as pq
import pytest

from batchgen.errors import OutputError
from batchgen.report import accumulate as fold_module
from batchgen.report.estimate import compared
from batchgen.report.html import page
from batchgen.report.read import read_cost_summary, read_report
from batchgen.report.sections import breakdown_text, report_text, run_document
from tests.report.estimates import estimate
from tests.report.runs import failed_row, hand_made, real_run, row


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run through faults: some rows refused, some retried, some cut."""
    return real_run(tmp_path_factory.mktemp("run"), error_500=0.03, length=0.1, content_filter=0.05)


def asked(directory, query):
    """Ask the published parts with DuckDB."""
    return duckdb.sql(query.replace("RESULTS", f"read_parquet('{directory}/results/*.parquet')")).fetchall()


def check_against_duckdb(report, directory):
    """Every figure of a report, found again with SQL."""
    (totals,) = asked(
        directory,
        "select count(*), sum(attempts), sum(input_tokens), sum(output_tokens), sum(total_tokens), sum(cost), "
        "sum(greatest(attempts - 1, 0)), sum((attempts > 1)::int) from RESULTS",
    )
    sums = report.totals
    assert (sums.rows, sums.attempts, sums.input_tokens, sums.output_tokens, sums.total_tokens) == totals[:5]
    assert sums.cost == totals[5]
    assert (report.attempts.sent, report.attempts.wasted, report.attempts.retried_rows) == (totals[1], *totals[6:])
    groups = asked(
        directory,
        "select model, status, finish_reason, error_kind, count(*), sum(attempts), sum(input_tokens), "
        "sum(output_tokens), sum(cost) from RESULTS group by all",
    )
    found = {
        (
            *(line.model, line.status, line.finish_reason, line.error_kind),
            *(line.rows, line.attempts, line.input_tokens, line.output_tokens, line.cost),
        )
        for line in report.lines
    }
    assert found == set(groups)
    for spread, column in ((report.input_tokens, "input_tokens"), (report.output_tokens, "output_tokens")):
        (expected,) = asked(
            directory,
            f"select count({column}), avg({column}), min({column}), quantile_disc({column}, [0.5, 0.9, 0.95, 0.99]), "
            f"max({column}) from RESULTS",
        )
        q = spread.quantiles
        assert (q.rows, q.smallest, [q.p50, q.p90, q.p95, q.p99], q.largest) == (expected[0], *expected[2:])
        assert q.mean == pytest.approx(expected[1])
        assert sum(found.rows for found in spread.bins) == expected[0]
    (latency,) = asked(directory, "select quantile_disc(latency_ms, [0.5, 0.9, 0.95, 0.99]) from RESULTS")
    q = report.latency_ms.quantiles
    assert [q.p50, q.p90, q.p95, q.p99] == pytest.approx(latency[0], rel=0.0051)
    for rows, column in ((report.slowest, "latency_ms"), (report.most_expensive, "cost")):
        best = asked(directory, f"select {column} from RESULTS order by {column} desc nulls last limit 10")
        assert [getattr(line, column) for line in rows] == [value for (value,) in best]
    truncated = asked(directory, "select row_id from RESULTS where finish_reason = 'length'")
    assert report.truncated.rows == len(truncated)
    assert list(report.truncated.first_ids) == [row_id for (row_id,) in truncated[:20]]
    assert sum(moment.rows for moment in report.moments) == totals[0]
    assert sum(moment.cost for moment in report.moments) == (totals[5] or 0)
    errors = asked(
        directory,
        "select error_kind, error_code, http_status, count(*) from RESULTS where status = 'failed' group by all",
    )
    assert {(line.kind, line.code, line.http_status, line.rows) for line in report.errors} == set(errors)


def test_every_figure_equals_its_sum(run):
    """A real run through faults: all figures are found again in the parts."""
    report = read_report(run)
    assert report.state == "complete"
    assert {line.word for line in report.by_error_kind} == {"invalid_request", "content_filter"}
    assert report.truncated.rows
    assert report.attempts.wasted
    assert report.currency == "USD"
    assert report.pace, "pace.parquet is read"
    assert sum(found.sent for found in report.pace) == report.attempts.sent
    check_against_duckdb(report, run)


def test_parts_alone_tell_the_same(run, tmp_path):
    """Without the cost summary the groups are summed from the parts: the same lines."""
    (tmp_path / "results").symlink_to(run / "results")
    (tmp_path / "run.json").symlink_to(run / "run.json")
    alone, whole = read_report(tmp_path), read_report(run)
    assert (alone.lines_of, whole.lines_of) == ("parts", "all finished rows")
    assert sorted(alone.lines, key=str) == sorted(whole.lines, key=str)
    check_against_duckdb(alone, tmp_path)


def test_examples_are_the_first_rows_of_their_kind(tmp_path):
    """An error's example is a failed row of that kind, its message cut."""
    rows = [row(0), failed_row(1, error_message="x" * 900), failed_row(2, error_message="later")]
    rows += [failed_row(3, error_kind="network", error_code=None, http_status=None, error_message=None)]
    invalid, network = read_report(hand_made(tmp_path / "out", rows)).errors
    assert (invalid.rows, invalid.row_id, invalid.message) == (2, "r1", "x" * 300)
    assert (network.rows, network.kind, network.http_status, network.code, network.message) == (
        *(1, "network", None, None, None),
    )


def test_codes_without_end_do_not_grow_the_report(tmp_path):
    """A vendor that puts an id into each code: forty are told apart, the rest is one line for each kind."""
    rows = [failed_row(n, error_code=f"E{n}") for n in range(100)]
    errors = read_report(hand_made(tmp_path / "out", rows[:50], rows[50:])).errors
    assert len(errors) == 41
    assert errors[0].code == "(other codes)"
    assert sum(line.rows for line in errors) == 100


def test_parts_of_several_batches_models_and_dictionaries(tmp_path, monkeypatch):
    """What is folded batch by batch adds up, whatever words come in which batch."""
    monkeypatch.setattr(fold_module, "_BATCH_ROWS", 7)
    parts = [
        [row(n, model="a", input_tokens=n, latency_ms=n + 0.5) for n in range(20)],
        [row(n, model="b", finish_reason="length", cost=Decimal(n).scaleb(-12)) for n in range(20, 50)],
        [failed_row(n, attempts=n % 4) for n in range(50, 60)],
    ]
    directory = hand_made(tmp_path / "out", *parts)
    report = read_report(directory)
    check_against_duckdb(report, directory)
    assert {line.model for line in report.lines} == {"a", "b", None}


def test_no_price(tmp_path):
    """Costs that are not known are none, not nothing."""
    report = read_report(hand_made(tmp_path / "out", [row(n, cost=None) for n in range(3)], currency=None))
    assert report.totals.cost is None
    assert report.cost_per_1000_rows is None
    assert report.most_expensive == []
    assert report.cost.quantiles is None
    assert "unknown (the model has no known price" in report_text(report)


@pytest.mark.parametrize("parts", [[], [[]]], ids=["no part", "an empty part"])
def test_no_rows(tmp_path, parts):
    """A job without rows has a report without figures."""
    report = read_report(hand_made(tmp_path / "out", *parts))
    assert (report.rows, report.totals, report.moments, report.rows_per_s) == (0, None, [], None)
    assert report_text(report).startswith(f"by-hand in {tmp_path / 'out'}: complete")


def test_only_failed_rows(tmp_path):
    """Rows that never got an answer: no tokens, no cost, all examples."""
    report = read_report(hand_made(tmp_path / "out", [failed_row(n, latency_ms=None) for n in range(12)]))
    assert report.totals.input_tokens is None
    assert report.input_tokens.quantiles is None
    assert report.slowest == []
    assert report.cost_per_1000_answers is None
    assert "12 x invalid_request" in report_text(report)


def test_money_is_exact(tmp_path):
    """The smallest amounts are summed without rounding."""
    cost = Decimal("0.000000000001")
    report = read_report(hand_made(tmp_path / "out", [row(n, cost=cost) for n in range(999)]))
    assert report.totals.cost == 999 * cost
    assert report.cost_per_1000_rows == 1000 * cost


def test_what_replies_say_that_they_cost_is_summed_and_shown(tmp_path):
    """Beside our own cost, without a currency; parts of versions without the column say nothing."""
    told = [row(n, reported_cost=Decimal("0.0000000001")) for n in range(3)]
    directory = hand_made(tmp_path / "run", told, [row(3)])
    old = directory / "results" / "part-00001.parquet"
    pq.write_table(pq.read_table(old).drop_columns(["reported_cost"]), old)
    report = read_report(directory)
    assert report.totals.reported_cost == Decimal("0.0000000003")
    assert "0.0000000003" in report_text(report)
    assert "cost as the replies state it" not in report_text(read_report(hand_made(tmp_path / "other", [row(0)])))


def test_a_killed_run(tmp_path):
    """State `running` with nobody holding the lock is a killed run; what has no part yet is said."""
    directory = hand_made(tmp_path / "out", [row(n) for n in range(10)], state="running", rows=100, succeeded=25)
    report = read_report(directory)
    assert (report.state, report.published, report.lines_of) == ("killed", 10, "parts")
    assert "This report covers 10 rows; 15 more are finished" in report_text(report)


def test_a_stopped_run_shows_all_that_it_has(tmp_path):
    """A run stopped before its first shard was finished: every finished row is in the report."""
    output = real_run(tmp_path, rows=60, limits={"budget": 0.004})
    report = read_report(output)
    assert report.state == "stopped"
    assert report.lines_of == "all finished rows"
    assert report.published == report.totals.rows == report.succeeded + report.failed > 0
    text = report_text(report)
    assert "Stopped by" in text
    assert "not published yet" not in text
    assert "cannot be read now" not in text


def test_a_stale_cost_summary_is_not_believed(tmp_path):
    """A run killed while it went on has parts that an older cost summary does not know."""
    old = real_run(tmp_path, rows=40)
    state = json.loads((old / "run.json").read_text())
    state["state"] = "running"
    (old / "run.json").write_text(json.dumps(state))
    assert read_report(old).lines_of == "parts"


def test_a_directory_that_is_none(tmp_path):
    """One sentence."""
    with pytest.raises(OutputError, match=r"run\.json"):
        read_report(tmp_path)


def test_a_damaged_part(tmp_path):
    """The part is named, with the fix."""
    directory = hand_made(tmp_path / "out", [row()])
    (directory / "results" / "part-00000.parquet").write_bytes(b"PAR1 nonsense PAR1")
    with pytest.raises(OutputError, match=r"part-00000\.parquet cannot be read.*Run the job again"):
        read_report(directory)


def test_lines_for_the_end_of_a_run(run, tmp_path):
    """A word is listed where there is more than one, errors always."""
    lines = breakdown_text(read_cost_summary(run / "cost_summary.parquet").lines)
    assert [line.split()[0] for line in lines] == ["status", "finish", "errors"]
    assert "content_filter" in lines[2]
    assert breakdown_text(read_report(hand_made(tmp_path / "out", [row(0), row(1)])).lines) == []


def test_foreign_text_cannot_act_on_a_terminal(tmp_path):
    """Escapes and overrides from rows and vendors are not printed."""
    bad = "\x1b[2J\x07\u202ebad\u2066\x9b\nline"
    rows = [failed_row(0, row_id=bad, error_message=bad, error_code=bad), row(1, row_id=bad, model=bad)]
    text = report_text(read_report(hand_made(tmp_path / "out", rows, job=bad)))
    assert not [char for char in text if char != "\n" and not char.isprintable()]
    assert "bad" in text


def test_estimate_against_actual(tmp_path):
    """Each figure has its verdict: exact, inside, above."""
    directory = hand_made(tmp_path / "out", [row(n) for n in range(10)], estimate=estimate())
    text = report_text(read_report(directory))
    table = text[
        text.index("Estimate against actual (input tokens exact, output tokens from pilot, 95 % confidence)") :
    ]
    found = [line.strip().split("  ") for line in table.split("\n\n")[0].splitlines()[2:]]
    assert [(words[0], words[-1].strip()) for words in found] == [
        ("input tokens", "exact"),
        ("output tokens", "inside"),
        ("cost", "above the estimate"),
        ("duration", "above the estimate"),
    ]


def test_an_estimate_of_other_rows_is_no_verdict(tmp_path):
    """Another number of rows is said instead of a verdict."""
    directory = hand_made(tmp_path / "out", [row(n) for n in range(10)], estimate=estimate(rows=20))
    text = report_text(read_report(directory))
    assert "for 20 rows" in text
    assert "above the estimate" not in text


NOTHING = {"low": None, "expected": None, "high": None}


@pytest.mark.parametrize(
    ("cost", "verdict"),
    [
        (NOTHING, ""),
        ({**NOTHING, "low": "0.0001"}, "inside"),
        ({**NOTHING, "low": "1"}, "below the estimate"),
        ({**NOTHING, "high": "0.0001"}, "above the estimate"),
        (None, None),
    ],
)
def test_an_estimate_without_a_bound(tmp_path, cost, verdict):
    """Answers without max_tokens have no upper bound: the rest is told, as text, as page and as JSON."""
    told = estimate(cost=cost, output_tokens={"low": 0, "expected": None, "high": None}, duration_s=None)
    report = read_report(hand_made(tmp_path / "out", [row(n) for n in range(10)], estimate=told))
    lines = {line.name: line for line in compared(report)}
    assert ("cost" in lines) == (cost is not None)
    assert cost is None or lines["cost"].verdict == verdict
    assert lines["output tokens"].verdict == "inside"
    assert "output tokens" in report_text(report)
    assert "Estimate against actual" in page([run_document(report)])
    assert msgspec.json.decode(msgspec.json.encode(report))["estimate"]["output_tokens"]["high"] is None


@pytest.mark.parametrize("told", [{}, {"rows": "many"}, {"rows": 1, "output_tokens": [1, 2]}])
def test_an_estimate_that_cannot_be_read(tmp_path, told):
    """One of another version costs the comparison, not the report."""
    report = read_report(hand_made(tmp_path / "out", [row(n) for n in range(10)], estimate=told))
    assert report.estimate is None
    assert report.rows == 10
