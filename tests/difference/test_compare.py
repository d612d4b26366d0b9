"""Two runs side by side: real ones against the simulator, and published parts whose differences are known."""

import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchgen
from batchgen.difference.compare import difference
from batchgen.difference.join import joined
from batchgen.difference.text import difference_text
from batchgen.errors import InputError, OutputError, UsageError
from batchgen.job.evaluation_settings import EvaluationSettings
from batchgen.simulator import Settings, start_in_thread
from tests.evaluation.publishing import publish


def test_agreement_and_changes_are_counted(tmp_path):
    """Same letters, same after normalisation, another answer, a failed row, rows of one run alone."""
    a = publish(tmp_path / "a", {"id": list("uvwxy")}, ["one", "two", "three", "four", "five"], failed={4})
    b = publish(tmp_path / "b", {"id": list("uvwx")}, ["one", "Two.", "3", "four"], failed={3})
    found = difference(a, b)
    assert (found.rows, found.only_in_a, found.only_in_b) == (4, 1, 0)
    assert (found.status.same, found.answer.rows, found.answer.same, found.completion.same) == (3, 3, 2, 1)
    assert [(row.row_id, row.completion_a, row.completion_b) for row in found.changed] == [
        ("2", "three", "3"),
        ("3", "four", "four"),
    ]
    assert found.changed_rows == 2
    assert difference(a, b, show=1).changed == found.changed[:1]
    text = difference_text(found)
    assert "4 rows in both, 1 only in A" in text
    assert "3: succeeded in A, failed in B" in text


def test_fields_of_one_run_alone_are_named(tmp_path):
    """`same answer` says nothing of them; gold for a field that a run does not have is refused."""
    old = pa.struct([("x", pa.string()), ("was", pa.string())])
    new = pa.struct([("x", pa.string()), ("total", pa.string()), ("confidence", pa.float64())])
    a = publish(tmp_path / "a", {"gold": ["p"]}, ["p"], (old, [{"x": "p", "was": "q"}]))
    b = publish(tmp_path / "b", {"gold": ["p"]}, ["p"], (new, [{"x": "p", "total": "r", "confidence": 1.0}]))
    found = difference(a, b)
    assert (found.fields_only_in_a, found.fields_only_in_b) == (["was"], ["total"])
    text = difference_text(found)
    assert "only in A, not compared: parsed.was" in text
    assert "only in B, not compared: parsed.total" in text
    assert json.loads(found.to_json())["fields_only_in_b"] == ["total"]
    with pytest.raises(UsageError, match=r"b have no field 'was'.*'total'"):
        difference(a, b, EvaluationSettings(gold={"was": "gold"}))


def test_parsed_fields_are_compared_one_by_one(tmp_path):
    """The prose around them does not matter, nor does confidence."""
    type_ = pa.struct([("x", pa.string()), ("n", pa.int64()), ("confidence", pa.float64())])
    one = [
        {"x": "a", "n": 1, "confidence": 0.1},
        {"x": "b", "n": 2, "confidence": 0.1},
        {"x": "c", "n": 3, "confidence": 1},
    ]
    two = [
        {"x": "A ", "n": 1, "confidence": 0.9},
        {"x": "b", "n": 5, "confidence": 0.1},
        {"x": None, "n": 4, "confidence": 1},
    ]
    a = publish(tmp_path / "a", {"k": [1, 2, 3]}, ["p", "q", "r"], (type_, one))
    b = publish(tmp_path / "b", {"k": [1, 2, 3]}, ["s", "t", "u"], (type_, two))
    found = difference(a, b, changed=tmp_path / "changed.parquet")
    assert {name: (f.same, f.rows) for name, f in found.fields.items()} == {"x": (2, 3), "n": (1, 3)}
    assert (found.answer.same, found.completion.same) == (1, 0)
    assert [(row.row_id, dict(row.fields)) for row in found.changed] == [
        ("1", {"n": ("2", "5")}),
        ("2", {"x": ("c", None), "n": ("3", "4")}),
    ]
    lines = pq.read_table(tmp_path / "changed.parquet").to_pylist()
    assert lines[0]["fields"] == [{"name": "n", "a": "2", "b": "5"}]
    assert [line["row_id"] for line in lines] == ["1", "2"]
    assert '2 x: "c" → null' in difference_text(found)


def test_a_changed_sign_is_a_changed_answer(tmp_path):
    """In text, in numbers and in nested fields; another spelling of the same value is none."""
    type_ = pa.struct([("n", pa.int64()), ("code", pa.string()), ("deep", pa.struct([("x", pa.list_(pa.float64()))]))])
    one = [{"n": 5, "code": "+1", "deep": {"x": [1.0]}}, None, {"n": 5, "code": "a b", "deep": None}]
    two = [{"n": -5, "code": "-1", "deep": {"x": [-1.0]}}, None, {"n": 5, "code": "A_B.", "deep": None}]
    a = publish(tmp_path / "a", {"k": [1, 2, 3]}, ["p", "👍", "r"], (type_, one), failed={1})
    b = publish(tmp_path / "b", {"k": [1, 2, 3]}, ["s", "👎", "u"], (type_, two), failed={1})
    found = difference(a, b)
    assert [(row.row_id, dict(row.fields)) for row in found.changed] == [
        ("0", {"n": ("5", "-5"), "code": ("+1", "-1"), "deep": ('{"x": [1.0]}', '{"x": [-1.0]}')})
    ]
    assert (found.answer.same, found.answer.rows) == (1, 2)
    plain = difference(
        publish(tmp_path / "c", {"k": [1, 2, 3]}, [">5", "👍", "Yes."]),
        publish(tmp_path / "d", {"k": [1, 2, 3]}, ["<5", "👎", "yes"]),
    )
    assert [row.row_id for row in plain.changed] == ["0", "1"]
    mixed = difference(a, tmp_path / "c")
    assert (mixed.answer.rows, mixed.fields) == (2, {})


def test_gold_tells_which_run_is_right_more_often(tmp_path):
    """The paired interval is narrower than that of two unrelated runs, and holds the difference."""
    pytest.importorskip("numpy")
    gold = ["a"] * 100
    a = publish(tmp_path / "a", {"label": gold}, ["a"] * 80 + ["b"] * 20, per_part=50)
    b = publish(tmp_path / "b", {"other": gold}, ["a"] * 78 + ["b"] * 2 + ["a"] * 15 + ["b"] * 5, per_part=50)
    found = difference(a, b, EvaluationSettings(gold="label")).gold
    assert (found.rows, found.accuracy_a.value, found.accuracy_b.value) == (100, 0.8, 0.93)
    assert (found.only_a, found.only_b) == (2, 15)
    assert found.difference.value == pytest.approx(0.13)
    assert 0.04 < found.difference.low < 0.08
    assert 0.18 < found.difference.high < 0.22
    with pytest.raises(InputError, match="label"):
        difference(b, a, EvaluationSettings(gold="label"))


def test_runs_of_other_inputs_are_refused(tmp_path):
    """No row in common; no table is left."""
    a = publish(tmp_path / "a", {"k": [1]}, ["p"])
    (tmp_path / "b/results").mkdir(parents=True)
    table = pq.read_table(a / "results/part-00000.parquet")
    pq.write_table(
        table.set_column(table.schema.get_field_index("row_id"), "row_id", [["z"]]),
        tmp_path / "b/results/part-00000.parquet",
    )
    with pytest.raises(OutputError, match="no row_id in common"):
        difference(a, tmp_path / "b", changed=tmp_path / "changed.parquet")
    assert not (tmp_path / "changed.parquet").exists()


def batches(ids, rows, side="", width=0):
    """Yield record batches of so many rows, each value saying which side and row it is of."""
    for first in range(0, len(ids), rows):
        some = ids[first : first + rows]
        texts = [f"{side}{n}".ljust(width, "x") for n in some]
        yield pa.RecordBatch.from_pydict({"row_id": [str(n) for n in some], "completion": texts})


@given(
    st.lists(st.integers(0, 30), unique=True),
    st.lists(st.integers(0, 30), unique=True),
    st.integers(1, 7),
    st.integers(1, 7),
    st.integers(0, 12),
)
def test_any_two_orders_are_joined(ids_a, ids_b, rows_a, rows_b, most_waiting):
    """In memory and by files alike, every row that both have comes exactly once, beside its other half."""
    found = []
    for a, b in joined(batches(ids_a, rows_a, "a"), batches(ids_b, rows_b, "b"), most_waiting):
        assert a.column("row_id") == b.column("row_id")
        assert a.column("completion").to_pylist() == [f"a{n}" for n in a.column("row_id").to_pylist()]
        assert b.column("completion").to_pylist() == [f"b{n}" for n in a.column("row_id").to_pylist()]
        found += a.column("row_id").to_pylist()
    assert sorted(found) == sorted(map(str, {*ids_a} & {*ids_b}))


def test_memory_is_bounded_when_the_orders_are_opposite():
    """40,000 rows in opposite orders need a fraction of what holding them needs."""
    ids = list(range(40_000))
    before = pa.total_allocated_bytes()
    peak = pairs = 0
    for a, _ in joined(batches(ids, 500, width=2000), batches(ids[::-1], 500, width=2000), 2_000):
        pairs += a.num_rows
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert pairs == 40_000
    assert peak < 24_000_000  # all of them: 160 MB


JOB = """
name = "test"
input.path = "{input}"
prompt.user = "{prompt}"
output.path = "{output}"
model.provider = "openai"
model.name = "{model}"
model.base_url = "{url}/compatible-mode/v1"
model.api_key_env = "TEST_KEY"
"""


def test_two_runs_of_the_simulator_are_compared(tmp_path, monkeypatch):
    """Model against model: costs as the summaries have them, latencies, models; the same run against itself."""
    monkeypatch.setenv("TEST_KEY", "sk-test")
    pq.write_table(pa.table({"text": [f"Question {n}" for n in range(30)]}), tmp_path / "in.parquet")
    server = start_in_thread(Settings(seed=5, latency_ms=5))
    summaries = {}
    try:
        for name, model, prompt in (("a", "qwen-plus", "{{ text }}"), ("b", "qwen-max", "Answer: {{ text }}")):
            values = {
                "input": tmp_path / "in.parquet",
                "output": tmp_path / name,
                "model": model,
                "prompt": prompt,
                "url": server.url,
            }
            (tmp_path / "job.toml").write_text(JOB.format(**values))
            summaries[name] = batchgen.run(batchgen.load_job(tmp_path / "job.toml"))
    finally:
        server.close()
    found = difference(tmp_path / "a", tmp_path / "b")
    assert (found.rows, found.only_in_a, found.only_in_b) == (30, 0, 0)
    for side, name in ((found.a, "a"), (found.b, "b")):
        summary = summaries[name]
        assert (side.cost, side.currency, side.input_tokens) == (summary.cost, summary.currency, summary.input_tokens)
        assert 4 < side.latency_p50_ms <= side.latency_p95_ms
    assert found.a.models == {"qwen-plus": 30}
    decoded = json.loads(found.to_json())
    assert Decimal(decoded["b"]["cost"]) == summaries["b"].cost
    itself = difference(tmp_path / "a", tmp_path / "a")
    assert (itself.changed_rows, itself.answer.same) == (0, 30)
    assert "No answer has changed." in difference_text(itself)
