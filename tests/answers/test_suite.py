"""The public JSON Schema test suite: every schema in scope converts, judges as the suite does, and keeps its values."""

import json
from collections import Counter
from pathlib import Path

import pytest

from batchgen.answers.schema import AnswerSchema
from batchgen.errors import JobError

from .arrow_back import parquet_round_trip, same_as_json

SUITE = Path(__file__).with_name("suite")

REFUSED = {
    "additionalProperties.json": 2,  # dependentSchemas, a property beside allOf
    "defs.json": 1,  # a remote $ref
    "items.json": 1,  # a property beside $ref
    "ref.json": 23,  # an $id inside the schema, remote $ref, if/then/else
}
"""Groups whose schemas are refused, because no column can follow them."""

LOCAL = ("no time offset", "no time offset with second fraction")
"""Times without a zone are taken, which RFC 3339 does not."""

NOT_HELD = ("beyond a 64-bit", "no day of the years", "no moment of the years")
"""What a valid value is refused for when the Arrow type cannot hold it."""


def _groups(pattern):
    for path in sorted(SUITE.glob(pattern)):
        for group in json.loads(path.read_text(encoding="utf-8")):
            yield path.name, group


def _moved(schema):
    """A schema as it must read as the property `value` of an object: its local references follow."""
    if isinstance(schema, list):
        return [_moved(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {
        key: value if key in ("enum", "const") else _moved(value) for key, value in schema.items() if key != "$schema"
    }
    if isinstance(moved.get("$ref"), str) and moved["$ref"].startswith("#"):
        moved["$ref"] = "#/properties/value" + moved["$ref"][1:]
    return moved


def _as_answer(schema):
    return AnswerSchema(
        {"type": "object", "properties": {"value": _moved(schema)}, "required": ["value"]}, "suite.json"
    )


def _judged(schema, cases):
    """Check verdicts and round trip of a group's cases; return how many values were kept and how many not held."""
    kept, not_held = [], 0
    for case in cases:
        value = {"value": case["data"]}
        problems = schema.problems(value)
        if problems is None:
            assert case["valid"] or case["description"] in LOCAL, case
            kept.append(value)
        elif case["valid"]:
            assert any(words in problems.first.message for words in NOT_HELD), (case, problems)
            not_held += 1
    column = schema.shape.column(kept)
    column.validate(full=True)
    assert column.type == schema.type
    for value, arrow in zip(kept, parquet_round_trip(column).to_pylist(), strict=True):
        assert same_as_json(schema.shape, arrow, value), (value, arrow)
    return len(kept), not_held


def test_suite_values_are_judged_as_the_suite_does_and_kept():
    """All tests of all groups in scope; the groups out of scope are refused, not misread."""
    refused, kept = Counter(), 0
    for file, group in _groups("*.json"):
        try:
            schema = _as_answer(group["schema"])
        except JobError:
            refused[file] += 1
            continue
        kept += _judged(schema, group["tests"])[0]
    assert refused == REFUSED
    assert kept > 250


@pytest.mark.parametrize(("format_", "kind"), [("date", "date32[day]"), ("date-time", "timestamp[us, tz=UTC]")])
def test_suite_dates_become_dates(format_, kind):
    """The suite's strings for a format, in a schema that says `type: string` too: typed columns, same verdicts."""
    for _, group in _groups(f"format-{format_}.json"):
        schema = _as_answer({**group["schema"], "type": "string"})
        assert str(schema.type.field("value").type) == kind
        kept, not_held = _judged(schema, [case for case in group["tests"] if isinstance(case["data"], str)])
        assert kept > 5
        assert not_held <= 3  # leap seconds


@pytest.mark.parametrize("format_", ["time", "email", "uuid", "uri"])
def test_suite_formats_stay_text(format_):
    """The formats that have no Arrow type are checked and stay strings."""
    for _, group in _groups(f"format-{format_}.json"):
        schema = _as_answer({**group["schema"], "type": "string"})
        assert str(schema.type.field("value").type) == "string"
        assert _judged(schema, [case for case in group["tests"] if isinstance(case["data"], str)])[1] == 0
