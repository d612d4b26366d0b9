"""Evaluations of real runs against the simulator, and of published parts written with answers that are known."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batchgen
from batchgen.errors import InputError, OutputError, UsageError
from batchgen.evaluation.comparison import COMPARED_COLUMNS
from batchgen.evaluation.evaluate import (
    EvaluationSettings,
    evaluate,
    gold_setting,
    measures,
    settings_of_run,
    write_measures,
)
from batchgen.evaluation.sections import evaluation_text
from batchgen.evaluation.text import plain
from batchgen.simulator import Settings, expected_answer, start_in_thread
from tests.evaluation.publishing import publish

pytest.importorskip("numpy")


LABELS = EvaluationSettings(gold="label")


def test_labels_are_scored_as_in_a_worked_example(tmp_path):
    """Accuracy, precision, recall and F1 by hand; case, quotes and full stops of an answer do not matter."""
    gold = ["cat", "cat", "cat", "cat", "dog", "dog", "bird", None]
    answers = ["cat", " Cat.", '"CAT"', "dog", "dog", "cat", "a bird of some kind", "cat"]
    found = evaluate(publish(tmp_path / "run", {"label": gold}, answers), LABELS)
    assert (found.rows, found.without_gold, found.unanswered) == (7, 1, 0)
    assert found.accuracy.value == 4 / 7
    assert found.accuracy.low < 4 / 7 < found.accuracy.high
    cat, dog, bird = found.labels.labels
    assert (cat.label, cat.support, cat.predicted) == ("cat", 4, 4)
    assert (cat.precision.value, cat.recall.value, cat.f1.value) == (3 / 4, 3 / 4, 3 / 4)
    assert (dog.precision.value, dog.recall.value, dog.f1.value) == (1 / 2, 1 / 2, 1 / 2)
    assert (bird.precision.value, bird.recall.value, bird.f1.value) == (None, 0.0, 0.0)
    assert found.labels.macro_f1.value == pytest.approx((3 / 4 + 1 / 2 + 0) / 3)
    assert {(cell.gold, cell.predicted): cell.rows for cell in found.labels.confusion} == {
        ("cat", "cat"): 3,
        ("cat", "dog"): 1,
        ("dog", "dog"): 1,
        ("dog", "cat"): 1,
        ("bird", "(other)"): 1,
    }


def test_failed_rows_count_as_wrong(tmp_path):
    """A run is not better for having failed on the hard rows."""
    run = publish(tmp_path / "run", {"label": ["a", "b", "a", "b"]}, ["a", "b", "a", "b"], failed={1})
    found = evaluate(run, LABELS)
    assert (found.rows, found.unanswered, found.accuracy.value) == (4, 1, 3 / 4)
    assert ("b", "(no answer)", 1) in [(c.gold, c.predicted, c.rows) for c in found.labels.confusion]
    assert "answer: none: the row failed" in evaluation_text(found)


def test_labels_that_are_called_like_no_label(tmp_path):
    """A gold label named as the evaluation names what is no label does not take those answers for its own."""
    gold, answers = ["(other)", "(no answer)", "(other)", "(no answer)"], ["cat", "x", "(other)", "(no answer)"]
    found = evaluate(publish(tmp_path / "run", {"label": gold}, answers, failed={1}), LABELS)
    assert found.accuracy.value == found.labels.macro_f1.value - 1 / 6 == 1 / 2
    assert {(one.label, one.predicted) for one in found.labels.labels} == {("(other)", 1), ("(no answer)", 1)}
    assert {cell.predicted for cell in found.labels.confusion} == {*gold, "((other))", "((no answer))"}


def test_parsed_labels_come_with_what_to_look_at_first(tmp_path):
    """Disagreements begin with the surest; right answers that are unsure are listed apart."""
    type_ = pa.struct(
        [("label", pa.dictionary(pa.int32(), pa.string())), ("confidence", pa.float64()), ("agreement", pa.float64())]
    )
    sure = [0.9, 0.2, 0.5, 0.99, 1.0, 0.7]
    said = ["a", "a", "b", "b", "a", "b"]
    values = [{"label": label, "confidence": c, "agreement": 1.0} for label, c in zip(said, sure, strict=True)]
    run = publish(tmp_path / "run", {"label": ["a", "a", "a", "a", "a", "b"]}, ["?"] * 6, (type_, values))
    found = evaluate(run, LABELS, show=2)
    assert [(row.row_id, row.confidence) for row in found.disagreements] == [("3", 0.99), ("2", 0.5)]
    assert [(row.row_id, row.confidence) for row in found.unsure] == [("1", 0.2), ("5", 0.7)]
    assert found.accuracy.value == 4 / 6
    assert evaluate(run, LABELS, show=0).disagreements == []


TYPED = pa.struct(
    [
        ("amount", pa.float64()),
        ("paid", pa.bool_()),
        ("when", pa.timestamp("us", "UTC")),
        ("tags", pa.list_(pa.string())),
        ("place", pa.struct([("city", pa.string()), ("code", pa.int64())])),
        ("more", pa.map_(pa.string(), pa.int64())),
        ("note", pa.string()),
    ]
)
TYPED_GOLD = {
    "amount": "g_amount",
    "paid": "g_paid",
    "when": "g_when",
    "tags": "g_tags",
    "place": "g_place",
    "place.code": "g_code",
    "more.k": "g_k",
    "note": "g_note",
}


def typed_run(directory, *, sign=1, parsed=True):
    """A run whose answers are all right (`sign` 1), or right but for a sign, a symbol or a digit (-1)."""
    when = datetime(2024, 5, 1, 10, tzinfo=UTC)
    said = [
        {
            "amount": sign * (n + 0.5),
            "paid": sign > 0,
            "when": when if sign > 0 else when.replace(minute=1),
            "tags": ["a", "b"][::sign],
            "place": {"city": "Köln", "code": sign * (n + 1)},
            "more": [("k", sign * (n + 1))],
            "note": None if sign > 0 else "-",
        }
        for n in range(6)
    ]
    gold = {
        "g_amount": [f"{n}.50" for n in range(6)],
        "g_paid": [1] * 6,
        "g_when": ["2024-05-01 12:00+02:00"] * 6,
        "g_tags": ['["A", "b"]'] * 6,
        "g_place": [f'{{"code": "{n + 1}.0", "city": "KÖLN"}}' for n in range(6)],
        "g_code": [float(n + 1) for n in range(6)],
        "g_k": [f"{n + 1}" for n in range(6)],
        "g_note": ["nan"] * 6,
    }
    texts = [json.dumps(one | {"when": one["when"].isoformat(), "more": dict(one["more"])}) for one in said]
    return publish(directory, gold, texts, (TYPED, said) if parsed else None)


@pytest.mark.parametrize("parsed", [True, False])
def test_typed_values_equal_their_gold_in_another_spelling(tmp_path, parsed):
    """With and without `parsed`; wrong by a sign, a symbol or a digit is wrong in every field."""
    settings = EvaluationSettings(gold=TYPED_GOLD if parsed else {k: v for k, v in TYPED_GOLD.items() if k != "paid"})
    found = evaluate(typed_run(tmp_path / "right", parsed=parsed), settings)
    assert {field.field: field.match.value for field in found.fields} == dict.fromkeys(settings.gold, 1.0)
    assert found.accuracy.value == 1.0
    wrong = evaluate(typed_run(tmp_path / "wrong", sign=-1, parsed=parsed), settings)
    assert {field.field: field.match.value for field in wrong.fields} == dict.fromkeys(settings.gold, 0.0)


@pytest.mark.parametrize(
    ("gold", "answers"),
    [
        ([">50K", "<=50K"], ["<=50K", ">50K"]),
        (["👍", "👎"], ["👎", "👍"]),
        (["A", "A-"], ["A-", "A"]),
        ([-1, 1], ["1", "-1"]),
        (["+", "-"], ["-", "+"]),
        (["none", "n/a"], ["n/a", "none"]),
        (["<18", ">18"], [">18", "<18"]),
    ],
)
def test_labels_told_apart_by_a_sign_are_different_labels(tmp_path, gold, answers):
    """Every wrong row is wrong, every right one right, and the labels stay two."""
    wrong = evaluate(publish(tmp_path / "wrong", {"label": gold}, answers), LABELS)
    assert (wrong.accuracy.value, len(wrong.labels.labels), wrong.same_gold) == (0.0, 2, [])
    right = evaluate(publish(tmp_path / "right", {"label": gold}, answers[::-1]), LABELS)
    assert right.accuracy.value == 1.0


def test_gold_spellings_that_fall_together_are_said(tmp_path):
    """Of labels and of fields; a failed row's null is no spelling."""
    gold = ["Cat", "cat", "dog", "CAT.", None, "dog"]
    found = evaluate(publish(tmp_path / "run", {"label": gold}, ["cat"] * 6), LABELS)
    assert [(one.column, one.spellings) for one in found.same_gold] == [("label", ["Cat", "cat", "CAT."])]
    assert 'label\n    "Cat", "cat", "CAT."' in evaluation_text(found)
    fields = evaluate(tmp_path / "run", EvaluationSettings(gold={"x": "label"}))
    assert fields.same_gold == found.same_gold


def test_several_labels_a_row_are_compared_as_sets(tmp_path):
    """By hand: a row is right when the sets are equal; precision and recall by label; no confusion."""
    type_ = pa.struct([("label", pa.list_(pa.dictionary(pa.int32(), pa.string())))])
    gold = [["a", "b"], ["b"], ["a"], [], None, ["b", "a"]]
    said = [["b", "a"], ["a", "b"], [], [], ["a"], ["x"]]
    values = [{"label": one} for one in said]
    found = evaluate(publish(tmp_path / "run", {"label": gold}, ["?"] * 6, (type_, values), failed={5}), LABELS)
    assert (found.rows, found.without_gold, found.unanswered) == (5, 1, 1)
    assert found.accuracy.value == 2 / 5
    a, b = found.labels.labels
    assert (a.label, a.support, a.predicted, a.precision.value, a.recall.value) == ("a", 3, 2, 1 / 2, 1 / 3)
    assert (b.label, b.support, b.predicted, b.precision.value, b.recall.value) == ("b", 3, 2, 1.0, 2 / 3)
    assert found.labels.macro_f1.value == pytest.approx((2 / 5 + 4 / 5) / 2)
    assert found.labels.confusion == []
    written = {"label": [None if one is None else json.dumps(one) for one in gold]}
    again = evaluate(publish(tmp_path / "text", written, ["?"] * 6, (type_, values), failed={5}), LABELS)
    assert again.labels == found.labels


def test_answers_without_parsed_are_read_as_a_run_reads_them(tmp_path):
    """Thinking is no answer, and of two different objects none is."""
    answers = ['<think>{"label": "a"}</think>{"label": "b"}', '{"label": "a"} or {"label": "b"}', "b"]
    found = evaluate(publish(tmp_path / "run", {"label": ["b", "b", "b"]}, answers), LABELS)
    assert found.accuracy.value == 2 / 3


FIELDS = {"customer": "gold_customer", "version.number": "gold_version"}
FIELD_GOLD = {
    "gold_customer": ["Zoë Ångström", "ACME Ltd.", None, "Bo", None],
    "gold_version": ["3.1.8", "3.1.8", "none", None, None],
}
SAID = [
    {"customer": "zoë  ångström", "version": {"number": "3.1.8"}},
    {"customer": "Acme Ltd", "version": {"number": "31.8"}},
    {"customer": "Eve", "version": {"number": None}},
    {"customer": None, "version": None},
    {"customer": "X", "version": None},
]


def check_fields(found):
    """The counts of the fields above, by hand."""
    assert (found.rows, found.without_gold) == (4, 1)
    customer, version = found.fields
    assert (customer.exact.value, customer.match.value) == (0, 2 / 4)
    assert (customer.missed, customer.invented, customer.wrong) == (1, 1, 0)
    assert (customer.precision.value, customer.recall.value) == (2 / 3, 2 / 3)
    assert customer.f1.value == pytest.approx(2 / 3)
    assert (version.exact.value, version.match.value, version.wrong, version.invented) == (2 / 4, 3 / 4, 1, 0)
    assert found.accuracy.value == 1 / 4


def test_the_truth_of_json_is_the_truth_of_gold(tmp_path):
    """However gold spells it: as 0 and 1, in words or as booleans; also in the table of confusions."""
    answers = ['{"label": true}', '{"label": false}', '{"label": true}']
    for gold in (["1", "0", "0"], ["yes", "no", "off"], ["TRUE", "false", "False"], [True, False, False], [1, 0, 0]):
        run = publish(tmp_path / f"{gold[0]}-{type(gold[0]).__name__}", {"label": gold}, answers)
        found = evaluate(run, LABELS)
        assert found.accuracy.value == 2 / 3
    assert {(c.gold, c.predicted): c.rows for c in found.labels.confusion} == {
        ("1", "1"): 1,
        ("0", "0"): 1,
        ("0", "(other)"): 1,
    }


def test_gold_days_beyond_python(tmp_path):
    """A year that Python's dates cannot hold is a value like others."""
    gold = pa.array([5_000_000, 0], pa.int32()).view(pa.date32())
    run = publish(tmp_path / "run", {"label": gold}, ['{"label": "15659-07-15"}', '{"label": "1970-01-02"}'])
    assert evaluate(run, LABELS).accuracy.value == 1 / 2


def test_fields_are_compared_exactly_and_normalised_from_parsed(tmp_path):
    """What was missed, invented and wrong is told apart; rows whose gold is all null are left out."""
    type_ = pa.struct([("customer", pa.string()), ("version", pa.struct([("number", pa.string())]))])
    run = publish(tmp_path / "run", FIELD_GOLD, ["?"] * 5, (type_, SAID))
    check_fields(evaluate(run, EvaluationSettings(gold=FIELDS)))


def test_fields_are_read_from_json_completions_without_parsed(tmp_path):
    """Bare, fenced and introduced objects alike."""
    shapes = ["{}", "```json\n{}\n```", "Here it is: {} I hope this helps.", "{}", "{}"]
    answers = [shape.replace("{}", json.dumps(said)) for shape, said in zip(shapes, SAID, strict=True)]
    run = publish(tmp_path / "run", FIELD_GOLD, answers)
    check_fields(evaluate(run, EvaluationSettings(gold=FIELDS)))


def test_the_tables_hold_what_was_measured(tmp_path):
    """A measure a line, a comparison a line; written whole."""
    run = publish(tmp_path / "run", {"label": ["a", "b", "a"]}, ["a", "a", "a"])
    found = evaluate(run, LABELS, compared=tmp_path / "compared.parquet")
    write_measures(found, tmp_path / "measures.parquet")
    lines = pq.read_table(tmp_path / "measures.parquet").to_pylist()
    assert lines == [{"low": None, "high": None, "value": None} | line for line in measures(found)]
    assert lines[0]["measure"] == "accuracy"
    assert lines[0]["value"] == 2 / 3
    compared = pq.read_table(tmp_path / "compared.parquet")
    assert compared.schema == COMPARED_COLUMNS
    assert compared.column("match").to_pylist() == [True, False, True]
    assert json.loads(found.to_json())["accuracy"]["value"] == 2 / 3


@pytest.mark.parametrize(
    ("carried", "gold", "error", "message"),
    [
        ({"label": ["a"]}, "lable", InputError, 'did you mean "label"'),
        ({"label": [None, ""]}, "label", InputError, "no row has a gold value"),
        ({"label": [f"text {n}" for n in range(1001)]}, "label", InputError, "holds no labels"),
        ({"label": ["a"]}, "completion", InputError, "output.columns"),
    ],
)
def test_gold_that_cannot_serve_is_refused(tmp_path, carried, gold, error, message):
    """With a sentence that names column and fix; no table is written."""
    run = publish(tmp_path / "run", carried, ["a"] * 1001, per_part=5000)
    with pytest.raises(error, match=message):
        evaluate(run, EvaluationSettings(gold=gold), compared=tmp_path / "compared.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("field", "message"), [("custmer", "did you mean 'customer'"), ("customer.nam", "no field 'nam'.*'name'")]
)
def test_gold_for_a_field_that_no_answer_has_is_refused(tmp_path, field, message):
    """A slip in its name would say that no answer is right."""
    type_ = pa.struct([("customer", pa.struct([("name", pa.string())]))])
    run = publish(tmp_path / "run", {"gold": ["a"]}, ["x"], (type_, [{"customer": {"name": "a"}}]))
    with pytest.raises(UsageError, match=message):
        evaluate(run, EvaluationSettings(gold={field: "gold"}))


def test_results_that_are_not_there_or_damaged_are_refused(tmp_path):
    """A flipped byte is found by the page's checksum."""
    with pytest.raises(OutputError, match="no row is answered there yet; run the job"):
        evaluate(tmp_path, LABELS)
    run = publish(tmp_path / "run", {"label": ["a", "b", "a"]}, ["a" * 500, "b" * 500, "ab" * 300])
    part = run / "results/part-00000.parquet"
    body = bytearray(part.read_bytes())
    body[40] ^= 1
    part.write_bytes(body)
    with pytest.raises(OutputError, match="Run the job again"):
        evaluate(run, LABELS)


def test_gold_is_read_from_the_command_line_or_the_run(tmp_path):
    """One column, or a field for each; else what run.json keeps of the job."""
    assert gold_setting(("label",)) == "label"
    assert gold_setting(("a=b", "c.d=e")) == {"a": "b", "c.d": "e"}
    with pytest.raises(UsageError, match="FIELD=COLUMN"):
        gold_setting(("a", "b"))
    with pytest.raises(UsageError, match="--gold"):
        settings_of_run(tmp_path)
    told = {"state": "complete", "job": "x", "started_at": "", "updated_at": "", "sessions": 1, "fingerprints": {}}
    (tmp_path / "run.json").write_text(json.dumps({**told, "evaluate": {"gold": {"a": "b"}, "seed": 3}}))
    assert settings_of_run(tmp_path) == EvaluationSettings(gold={"a": "b"}, seed=3)


def test_texts_of_models_cannot_steer_the_terminal():
    """Escape sequences, line breaks and direction marks are taken out."""
    assert plain("a\x1b[31mb\nc\u202ed\x07") == "a[31mb cd"
    assert len(plain("x" * 1000)) == 60


def test_a_run_of_the_simulator_is_evaluated(tmp_path):
    """From job file to scores: gold that is the expected answer in half of the rows."""
    server = start_in_thread(Settings(seed=5))
    try:
        texts = [f"Question {n}" for n in range(40)]
        right = [expected_answer([{"role": "user", "content": text}], seed=5) for text in texts]
        gold = [answer if n % 2 else "something else" for n, answer in enumerate(right)]
        pq.write_table(pa.table({"text": texts, "gold": gold}), tmp_path / "in.parquet")
        (tmp_path / "job.toml").write_text(
            f"""
            name = "test"
            input.path = "{tmp_path}/in.parquet"
            prompt.user = "{{{{ text }}}}"
            output.path = "{tmp_path}/out"
            model.provider = "openai"
            model.name = "qwen-plus"
            model.base_url = "{server.url}/compatible-mode/v1"
            model.api_key_env = "TEST_KEY"
            """
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TEST_KEY", "sk-test")
            batchgen.run(batchgen.load_job(tmp_path / "job.toml"))
    finally:
        server.close()
    found = evaluate(tmp_path / "out", EvaluationSettings(gold="gold"))
    assert (found.rows, found.accuracy.value) == (40, 0.5)
    assert len(found.disagreements) == 10
    assert "accuracy               50.0 % (" in evaluation_text(found)
