"""Structured answers in whole runs: turns, votes, labels, shared requests; every bill equals the server's."""

import json
import signal
import time
from decimal import Decimal

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import results_of
from tests.inputs import write_csv

SCHEMA = {
    "type": "object",
    "properties": {
        "customer": {"type": ["string", "null"]},
        "count": {"type": "integer", "minimum": 0},
        "kind": {"enum": ["order", "complaint", "question"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["customer", "count", "kind", "tags"],
    "additionalProperties": False,
}
LABELS = '[response]\nlabels = ["red", "green", "blue"]\n'
PRICE_IN, PRICE_OUT = Decimal("0.4"), Decimal("1.2")  # qwen-plus, USD per million tokens


@pytest.fixture
def schema(tmp_path):
    """Write the schema and return the job's table for it, up to its end."""
    path = tmp_path / "answer.schema.json"
    path.write_text(json.dumps(SCHEMA), encoding="utf-8")
    return f'[response]\nschema = "{path}"\n'


def emails(rows, *, same=1):
    """Return texts to be read, each `same` times in a row."""
    return [
        f"Message {n}: a complaint about {n} items.\nKind regards,\nAnn Smith" for n in range(rows) for _ in range(same)
    ]


def check_bill(rows, server, summary=None):
    """The rows' tokens, cost and attempts are what the server has billed and served, to the last token."""
    billed = server.stats()["billed"]
    assert sum(row["input_tokens"] or 0 for row in rows) == billed["input_tokens"]
    assert sum(row["output_tokens"] or 0 for row in rows) == billed["output_tokens"]
    cost = (PRICE_IN * billed["input_tokens"] + PRICE_OUT * billed["output_tokens"]) / 1_000_000
    assert sum(row["cost"] for row in rows) == cost
    assert sum(row["attempts"] for row in rows) == server.stats()["requests"]
    if summary is not None:
        assert Decimal(summary["cost"]) == cost
        assert summary["attempts"] == server.stats()["requests"]


def test_a_wrong_answer_is_repaired_in_a_further_turn(command, simulator, job, tmp_path, schema):
    """Wrong types and missing fields: a second turn mends them; both turns are on the row's bill."""
    server = simulator(wrong_type=0.2, missing_field=0.2, error_500=0.05, seed=4)
    path = job(write_csv(tmp_path / "in.csv", emails(120)), server.url, more=schema + "max_repairs = 9\n")
    code, summary = command.summary(path)
    rows, _ = results_of(tmp_path / "out")
    assert code == 0, [row["error_message"] for row in rows if row["error_message"]][:3]
    check_bill(rows, server, summary)
    assert {row["parsed"]["customer"] for row in rows} == {"Ann Smith"}
    assert [row["parsed"]["count"] for row in rows] == [n if n else rows[0]["parsed"]["count"] for n in range(120)]
    assert {row["parsed"]["kind"] for row in rows} == {"complaint"}
    turns = server.stats()["faults"]
    further = sum(row["attempts"] for row in rows) - 120
    assert further == turns["wrong_type"] + turns["missing_field"] + turns["error_500"] > 40


def test_repairs_cost_no_attempts(command, simulator, job, tmp_path, schema):
    """Each turn has the row's attempts anew: a failure before each of three turns, with two attempts a row."""
    server = simulator(wrong_type=1.0, fail_first=1)
    path = job(write_csv(tmp_path / "in.csv", emails(4)), server.url, more=schema + "max_repairs = 2\n")
    code, summary = command.summary(path, "--set", "retry.max_attempts=2")
    rows, _ = results_of(tmp_path / "out")
    assert (code, summary["failed"]) == (1, 4)
    assert [row["attempts"] for row in rows] == [6] * 4
    check_bill(rows, server, summary)


def test_an_answer_that_never_fits_keeps_its_text_and_its_cost(command, simulator, job, tmp_path, schema):
    """`invalid_output` with the path of the error; `parsed` is null."""
    server = simulator(missing_field=1.0)
    path = job(write_csv(tmp_path / "in.csv", emails(5)), server.url, more=schema)
    code, summary = command.summary(path)
    rows, _ = results_of(tmp_path / "out")
    assert code == 1
    for row in rows:
        assert (row["status"], row["error_kind"], row["http_status"]) == ("failed", "invalid_output", 200)
        assert "required" in row["error_message"]
        assert json.loads(row["completion"])
        assert row["parsed"] is None
        assert row["attempts"] == 2
    check_bill(rows, server, summary)
    [line] = pq.read_table(tmp_path / "out" / "cost_summary.parquet").to_pylist()
    assert (line["error_kind"], line["rows"], line["cost"]) == ("invalid_output", 5, Decimal(summary["cost"]))


def test_a_cut_answer_is_asked_for_with_more_room(command, simulator, job, tmp_path, schema):
    """`on_length` sends the row again with its limit; without it the row fails and says why."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", emails(6)), server.url, more=schema)
    small = ("--set", "model.parameters.max_tokens=5")
    code, _ = command.summary(path, *small, "--set", "output.path=cut")
    cut, _ = results_of(tmp_path / "cut")
    assert code == 1
    assert all("on_length" in row["error_message"] and row["finish_reason"] == "length" for row in cut)
    server.reset_stats()
    code, summary = command.summary(path, *small, "--set", "response.on_length={max_tokens=400}")
    rows, _ = results_of(tmp_path / "out")
    assert code == 0
    assert [row["attempts"] for row in rows] == [2] * 6
    assert all(row["parsed"]["customer"] == "Ann Smith" for row in rows)
    check_bill(rows, server, summary)


def test_labels_are_found_round_prose(command, simulator, job, tmp_path):
    """One label per row in a dictionary column."""
    server = simulator(wrapped=0.5)
    path = job(
        write_csv(tmp_path / "in.csv", [f"{c} {n}" for n in range(20) for c in ("red", "blue")]),
        server.url,
        more=LABELS,
    )
    code, _ = command.summary(path)
    rows, _ = results_of(tmp_path / "out")
    assert code == 0
    assert [row["parsed"]["label"] for row in rows] == ["red", "blue"] * 20
    assert any("described" in row["completion"] for row in rows)
    assert pq.read_schema(tmp_path / "out/results/part-00000.parquet").field("parsed").type == pa.struct(
        [("label", pa.dictionary(pa.int32(), pa.string()))]
    )


def test_votes_agree_and_disagree(command, simulator, job, tmp_path):
    """Five samples a row, some wrong: the majority wins, its share is the confidence, all samples are billed."""
    server = simulator(wrong_label=0.25, error_500=0.05, seed=9)
    more = LABELS + 'votes = 5\nconfidence = "votes"\n'
    texts = [f"red {n}" for n in range(60)] + ["red 1"]
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, more=more)
    code, summary = command.summary(path, "--set", "model.parameters.temperature=0.8")
    rows, _ = results_of(tmp_path / "out")
    assert code == 0
    shares = {row["parsed"]["agreement"] for row in rows}
    assert {0.6, 0.8, 1.0} <= shares
    assert all(row["parsed"]["confidence"] == row["parsed"]["agreement"] for row in rows)
    assert sum(row["parsed"]["label"] == "red" for row in rows) > 50
    for row in rows:
        assert row["completion"] == row["parsed"]["label"]
    assert server.stats()["served"] == 5 * 61
    check_bill(rows, server, summary)
    for row in rows:
        said = [turn["label"] for turn in json.loads(row["answer_turns"]) if "label" in turn]
        assert (len(said), said.count(row["parsed"]["label"]) / 5) == (5, row["parsed"]["agreement"])
    more = ["--reuse", str(tmp_path / "out"), "--output", str(tmp_path / "new")]
    code, again = command.summary(path, *more, "--set", "model.parameters.temperature=0.8")
    kept, _ = results_of(tmp_path / "new")
    assert (code, again["attempts"]) == (0, 0)
    assert [row["answer_turns"] for row in kept] == [row["answer_turns"] for row in rows]


def test_votes_do_not_go_with_one_answer_for_all(command, simulator, job, tmp_path):
    """Temperature 0 or sharing answers with votes is refused, with the key and the fix."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", ["red"]), server.url, more=LABELS + "votes = 3\n")
    done = command("run", path, "--set", "input.dedupe=true")
    assert done.returncode == 2
    assert "input.dedupe" in done.stderr
    done = command("run", path, "--set", "model.parameters.temperature=0")
    assert done.returncode == 2
    assert "response.votes" in done.stderr
    assert server.stats()["requests"] == 0


@pytest.mark.parametrize("settings", [{}, {"error_500": 0.1, "poison": "Message 7:"}])
def test_rows_that_ask_the_same_are_sent_once(command, simulator, job, tmp_path, schema, settings):
    """300 requests for 1,200 rows; every row has its result, the sharing ones cost nothing; a failure is shared too."""
    server = simulator(latency_ms=20, seed=2, **settings)
    texts = emails(300) + emails(300) + emails(300, same=2)
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, more=schema)
    code, summary = command.summary(path, "--set", "input.dedupe=true", "--set", "input.id=id")
    rows, _ = results_of(tmp_path / "out")
    assert [row["row_id"] for row in rows] == [f"r{n}" for n in range(1200)]
    stats = server.stats()
    by_text = {}
    for row in rows:
        by_text.setdefault(row["text"], []).append(row)
    for same in by_text.values():
        assert len({json.dumps(row["parsed"]) for row in same}) == 1
        assert len({row["status"] for row in same}) == 1
    check_bill(rows, server, summary)
    if not settings:
        assert (code, stats["requests"], stats["served"]) == (0, 300, 300)
        assert sum(row["attempts"] == 0 for row in rows) == summary["shared"] == 900
        for row in rows:
            if not row["attempts"]:
                assert (row["cost"], row["input_tokens"], row["latency_ms"]) == (0, None, None)
                assert row["request_id"]
    else:
        assert (code, stats["served"], summary["failed"]) == (1, 299, 4)
        assert stats["errors"]["total"] >= 1


def test_sharing_is_the_default_at_temperature_zero_only(command, simulator, job, tmp_path):
    """And `input.dedupe = false` switches it off."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", ["a", "a", "a", "b"]), server.url)
    for options, requests in (
        ((), 4),
        (("--set", "model.parameters.temperature=0"), 2),
        (("--set", "model.parameters.temperature=0", "--set", "input.dedupe=false"), 4),
    ):
        server.reset_stats()
        assert command.summary(path, *options, "--fresh")[0] == 0
        assert server.stats()["requests"] == requests
    shown = command("run", path, "--set", "model.parameters.temperature=0", "--fresh", "--no-progress")
    assert "2 rows had the request of another row" in shown.stdout


def test_a_killed_run_pays_no_shared_answer_again(command, simulator, job, tmp_path):
    """SIGKILL between the first rows and those that ask the same: what the journal has is not asked again."""
    server = simulator(latency_ms=30, latency_sigma=0.3)
    texts = [f"row {n}" for n in range(600)] * 3
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, concurrency=16)
    sharing = ("--set", "input.dedupe=true")
    for wanted in (150, 350):
        process = command.start("run", path, "--no-progress", *sharing)
        while server.stats()["served"] < wanted:
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    for file in (tmp_path / "out").glob("shared.sqlite*"):
        file.unlink()  # the worst that can befall the cache: the journal has them all the same
    code, summary = command.summary(path, *sharing)
    rows, _ = results_of(tmp_path / "out")
    assert (code, summary["succeeded"]) == (0, 1800)
    assert [row["completion"] for row in rows[:600]] == [row["completion"] for row in rows[600:1200]]
    assert summary["shared"] == 1200
    in_flight_and_uncommitted = 2 * (16 + 16 * 6)
    assert 600 <= server.stats()["served"] <= 600 + in_flight_and_uncommitted
    assert not list((tmp_path / "out").glob("shared*"))


def test_an_interrupted_row_keeps_what_its_turns_have_cost(command, simulator, job, tmp_path, schema):
    """Ctrl-C while repairs are in flight: nothing that was billed is lost from the bill, nor counted twice."""
    server = simulator(wrong_type=0.7, latency_ms=150, seed=1)
    path = job(write_csv(tmp_path / "in.csv", emails(60)), server.url, concurrency=8, more=schema + "max_repairs = 9\n")
    process = command.start("run", path, "--no-progress")
    while server.stats()["served"] < 40:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    billed = server.stats()["billed"]
    state = json.loads((tmp_path / "out" / "run.json").read_text())["summary"]
    assert (state["input_tokens"], state["output_tokens"]) == (billed["input_tokens"], billed["output_tokens"])
    assert state["attempts"] == server.stats()["requests"]
    server.change(latency_ms=1)
    _, summary = command.summary(path)
    rows, _ = results_of(tmp_path / "out")
    assert len(rows) == 60
    check_bill(rows, server, summary)


def test_failed_rows_are_tried_again_and_the_others_keep_their_columns(command, simulator, job, tmp_path):
    """`--retry-failed` rewrites the part: labels, confidence and agreement of the good rows stay as they were."""
    server = simulator(wrong_label=0.3, poison="POISON", seed=5)
    texts = [f"red {n}" for n in range(30)] + ["blue POISON"]
    more = LABELS + 'votes = 3\nconfidence = "votes"\n'
    path = job(write_csv(tmp_path / "in.csv", texts), server.url, more=more)
    assert command.summary(path)[0] == 1
    before, _ = results_of(tmp_path / "out")
    assert before[-1]["parsed"] is None
    assert len({row["parsed"]["agreement"] for row in before[:-1]}) > 1
    server.change(poison=None, wrong_label=0)
    code, summary = command.summary(path, "--retry-failed")
    after, _ = results_of(tmp_path / "out")
    assert code == 0
    assert after[:-1] == before[:-1]
    assert after[-1]["parsed"] == {"label": "blue", "confidence": 1.0, "agreement": 1.0}
    check_bill(after, server, summary)


def test_other_readers_see_the_fields(command, simulator, job, tmp_path, schema):
    """pandas, Polars and DuckDB read `parsed` as a struct of typed fields."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", emails(9)), server.url, more=schema)
    assert command.summary(path)[0] == 0
    pattern = str(tmp_path / "out" / "results" / "*.parquet")
    query = f"select sum(parsed.count), max(parsed.kind), count(*) filter (len(parsed.tags) > 0) from '{pattern}'"
    total, kind, tagged = duckdb.sql(query).fetchall()[0]
    rows, _ = results_of(tmp_path / "out")
    assert total == sum(row["parsed"]["count"] for row in rows)
    assert (kind, tagged) == ("complaint", 9)
    fields = polars.read_parquet(pattern).unnest("parsed")
    assert fields["count"].sum() == total
    assert set(fields["kind"].cast(polars.String)) == {"complaint"}
    table = pandas.read_parquet(tmp_path / "out" / "results")
    assert sum(value["count"] for value in table["parsed"]) == total


@pytest.mark.parametrize("form", ["schema", "labels", "text"])
def test_examples_come_before_every_row(command, simulator, job, tmp_path, schema, form):
    """As turns with the job's own prompt and the wanted answer; a change in them is a change of the job."""
    server = simulator()
    answers = {
        "schema": {"customer": None, "count": 1, "kind": "order", "tags": []},
        "labels": "Green",
        "text": "Certainly.",
    }
    more = {"schema": schema, "labels": LABELS, "text": ""}[form]
    pq.write_table(pa.table({"text": ["grass?"], "wanted": [answers[form]]}), tmp_path / "examples.parquet")
    path = job(write_csv(tmp_path / "in.csv", ["red 1"]), server.url, more=more)
    few = ("--set", f"prompt.examples={tmp_path / 'examples.parquet'}", "--set", "prompt.examples_answer=wanted")
    done = command("check", path, *few, "--json")
    assert done.returncode == 0, done.stderr
    messages = json.loads(done.stdout)["requests"][0]["body"]["input"]["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[1]["content"] == "grass?"
    said = messages[2]["content"]
    assert (json.loads(said) if form == "schema" else said) == (answers[form] if form != "labels" else "green")
    assert command.summary(path, *few)[0] == 0
    pq.write_table(pa.table({"text": ["leaf?"], "wanted": [answers[form]]}), tmp_path / "examples.parquet")
    done = command("run", path, *few)
    assert done.returncode == 2
    assert "prompt.examples" in done.stderr


def test_examples_that_do_not_fit_are_refused(command, simulator, job, tmp_path):
    """A wrong label, a missing column: named, and nothing is sent."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", ["red"]), server.url, more=LABELS)
    examples = write_csv(tmp_path / "examples.csv", ["grass"])
    done = command("run", path, "--set", f"prompt.examples={examples}")
    assert done.returncode == 2
    assert '"answer"' in done.stderr
    done = command("run", path, "--set", f"prompt.examples={examples}", "--set", "prompt.examples_answer=text")
    assert done.returncode == 2
    assert "row 0" in done.stderr
    assert "one of the labels" in done.stderr
    assert server.stats()["requests"] == 0


def test_a_changed_schema_is_another_job(command, simulator, job, tmp_path, schema):
    """The schema's own text counts, not its file name."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", emails(1)), server.url, more=schema)
    assert command.summary(path)[0] == 0
    (tmp_path / "answer.schema.json").write_text(json.dumps({**SCHEMA, "required": ["count"]}), encoding="utf-8")
    done = command("run", path)
    assert done.returncode == 2
    assert "response.schema" in done.stderr


def test_a_budget_holds_with_repairs(command, simulator, job, tmp_path, schema):
    """Every turn is reserved before it is sent; the run stops below the cap and the bill is whole."""
    server = simulator(wrong_type=0.8, seed=3)
    path = job(
        write_csv(tmp_path / "in.csv", emails(200)), server.url, concurrency=4, more=schema + "max_repairs = 5\n"
    )
    code, summary = command.summary(path, "--budget", "0.01", "--set", "model.parameters.enable_thinking=false")
    assert code == 3
    billed = server.stats()["billed"]
    cost = (PRICE_IN * billed["input_tokens"] + PRICE_OUT * billed["output_tokens"]) / 1_000_000
    assert Decimal(summary["cost"]) == cost <= Decimal("0.01")


def test_check_shows_what_is_asked_for(command, simulator, job, tmp_path, schema):
    """Means, instruction, columns, and how many requests come twice; a remark on what is kept as text."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", emails(3, same=2)), server.url, more=schema)
    done = command("check", path, "--set", "input.dedupe=true")
    assert done.returncode == 0, done.stderr
    for words in (
        "asked for by json_object",
        "count int64",
        "Answer with one JSON object and nothing else",
        "repeats   3 of the requests are duplicates",
        '"type": "json_object"',
    ):
        assert words in done.stdout
    loose = {**SCHEMA, "properties": {**SCHEMA["properties"], "tags": {}}}
    (tmp_path / "answer.schema.json").write_text(json.dumps(loose), encoding="utf-8")
    done = command("check", path)
    assert "/properties/tags is kept as JSON text" in done.stdout
    assert server.stats()["requests"] == 0
