"""Which Arrow type a schema becomes, which schemas are refused and how, and how an error is told."""

import json

import pytest

from batchgen.answers.schema import AnswerSchema, load_schema
from batchgen.errors import JobError


def _schema(property_, **more):
    return AnswerSchema({"type": "object", "properties": {"v": property_}, **more}, "a.json")


WORD = "dictionary<values=string, indices=int32, ordered=0>"
TYPES = [
    ({"type": "string"}, "string"),
    ({"type": ["string", "null"]}, "string"),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string"),
    ({"oneOf": [{"type": "null"}, {"type": "integer"}]}, "int64"),
    ({"type": "integer"}, "int64"),
    ({"type": "number"}, "double"),
    ({"type": ["integer", "number"]}, "double"),
    ({"type": "boolean"}, "bool"),
    ({"type": "string", "format": "date"}, "date32[day]"),
    ({"type": "string", "format": "date-time"}, "timestamp[us, tz=UTC]"),
    ({"type": "string", "format": "time"}, "string"),
    ({"enum": ["a", "b", None]}, WORD),
    ({"type": "string", "enum": ["a", "b"]}, WORD),
    ({"const": "a"}, WORD),
    ({"anyOf": [{"const": "a"}, {"enum": ["b", "a"]}]}, WORD),
    ({"anyOf": [{"enum": ["a"]}, {"type": "string"}]}, "string"),
    ({"anyOf": [{"type": "string"}, {"type": "integer"}], "enum": ["a", "b"]}, WORD),
    ({"enum": [1, 2]}, "int64"),
    ({"enum": [1, 2.5]}, "double"),
    ({"enum": [True]}, "bool"),
    ({"enum": [1, "a"]}, "string"),
    ({"type": "array", "items": {"type": "integer"}}, "list<item: int64>"),
    ({"type": "array"}, "string"),
    ({"type": "object"}, "string"),
    ({"type": "object", "properties": {"a": {"type": "string"}}}, "struct<a: string>"),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, "map<string, int64>"),
    (
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}},
        "struct<a: string, additional_properties: map<string, int64>>",
    ),
    ({"type": ["string", "integer"]}, "string"),
    ({}, "string"),
    (True, "string"),
    ({"type": "null"}, "string"),
    ({"$ref": "#/$defs/inner"}, "list<item: bool>"),
    ({"allOf": [{"$ref": "#/$defs/inner"}], "description": "as some generators write it"}, "list<item: bool>"),
    ({"$ref": "#/$defs/tree"}, "struct<n: int64, below: list<item: string>>"),
]
DEFS = {
    "inner": {"type": "array", "items": {"type": "boolean"}},
    "tree": {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "below": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
    },
}


@pytest.mark.parametrize(("property_", "type_"), TYPES, ids=[json.dumps(row[0]) for row in TYPES])
def test_types(property_, type_):
    """Each construct has the Arrow type the documentation promises."""
    assert str(_schema(property_, **{"$defs": DEFS}).type.field("v").type) == type_


def test_what_has_no_single_type_is_remarked():
    """Columns of JSON text are no surprise: `check` names where and why, and what would make a type of it."""
    schema = _schema({"properties": {"a": {"type": "string"}}})
    assert [remark.text for remark in schema.remarks] == [
        '/properties/v is kept as JSON text: no type is given; add "type": "object" if that is meant'
    ]
    assert _schema({"type": "string"}).remarks == []


REFUSED = [
    ({"type": "array", "prefixItems": [{}]}, "/properties/v/prefixItems", "prefixItems is not supported"),
    ({"if": {}}, "/properties/v/if", "use anyOf"),
    ({"patternProperties": {}}, "/properties/v/patternProperties", "use additionalProperties"),
    ({"allOf": [{}, {}]}, "/properties/v/allOf", "write the properties into one object"),
    ({"allOf": [{}], "type": "string"}, "/properties/v/type", "beside $ref or allOf"),
    ({"anyOf": [{}], "properties": {}}, "/properties/v/properties", "move it into each branch"),
    ({"$ref": "other.json"}, "/properties/v/$ref", "copy it into $defs"),
    ({"not": {"$ref": "https://example.com/s.json"}}, "/properties/v/not/$ref", "copy it into $defs"),
    ({"$ref": "#/$defs/nothing"}, "", "/$defs/nothing"),
    ({"type": "text"}, "/properties/v/type", "not a valid JSON Schema"),
    ({"type": "string", "pattern": "("}, "/properties/v/pattern", "not a valid JSON Schema"),
    ({"type": "object", "propertes": {}}, "/properties/v/propertes", "did you mean properties?"),
    ({"items": {"items": {"then": {}}}}, "/properties/v/items/items/then", "not supported"),
    (
        {
            "type": "object",
            "properties": {"additional_properties": {"type": "string"}},
            "additionalProperties": True,
        },
        "/properties/v/properties/additional_properties",
        "rename it",
    ),
]


@pytest.mark.parametrize(("property_", "path", "words"), REFUSED, ids=[json.dumps(row[0])[:60] for row in REFUSED])
def test_refused_schemas_name_their_place(property_, path, words):
    """What cannot be followed is a `JobError` with file, JSON pointer and what to write instead."""
    with pytest.raises(JobError) as error:
        _schema(property_)
    assert "response.schema a.json" in str(error.value)
    assert path in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "document", [{"type": "array", "items": {}}, {"type": "object"}, {}, {"$ref": "#"}, {"enum": [{}]}]
)
def test_the_top_must_be_an_object_with_properties(document):
    """An answer becomes a struct, so the top has to name fields."""
    with pytest.raises(JobError, match="the answer must be an object"):
        AnswerSchema(document, "a.json")


def test_files_that_are_no_schema_are_named(tmp_path):
    """A missing file, text that is no JSON and JSON that is no object each have their sentence."""
    with pytest.raises(JobError, match=r"none\.json cannot be read: No such file"):
        load_schema(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{,}")
    with pytest.raises(JobError, match=r"bad\.json is not valid JSON"):
        load_schema(tmp_path / "bad.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(JobError, match=r"list\.json must hold a JSON object"):
        load_schema(tmp_path / "list.json")
    (tmp_path / "good.json").write_text('{"type":"object","properties":{"a":{"type":"string"}}}')
    assert str(load_schema(tmp_path / "good.json").type) == "struct<a: string>"


@pytest.mark.parametrize(
    ("property_", "value", "path", "words"),
    [
        ({"type": "integer"}, "7", "/v", 'not of type "integer"'),
        (
            {"anyOf": [{"type": "object", "properties": {"n": {"type": "integer"}}}, {"type": "null"}]},
            {"n": "x"},
            "/v/n",
            "integer",
        ),
        ({"anyOf": [{"type": "integer", "maximum": 5}, {"type": "null"}]}, 9, "/v", "maximum of 5"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x", "/v", "anyOf"),
        ({"type": "array", "items": {"type": "string"}}, ["a", 1], "/v/1", "string"),
        ({"type": "object", "required": ["a/b"], "properties": {"a/b": {}}}, {}, "/v", "required"),
        ({"type": "object", "properties": {"a/b": {"const": 1}}}, {"a/b": 2}, "/v/a~1b", "1"),
        ({"type": "string", "maxLength": 5}, "x" * 5000, "/v", "..."),
        ({"type": "string", "format": "email"}, "no mail", "/v", "email"),
    ],
)
def test_errors_name_the_innermost_place(property_, value, path, words):
    """The path is where the model has to change something, inside a nullable branch too; the text stays short."""
    problems = _schema(property_).problems({"v": value})
    assert problems.first.path == path
    assert words in problems.first.message
    assert len(problems.first.message) < 320


def test_several_errors_are_told_at_once():
    """A repair turn is paid for, so it names the first few errors, not one."""
    schema = AnswerSchema(
        {"type": "object", "properties": {name: {"type": "integer"} for name in "abcdefgh"}}, "a.json"
    )
    problems = schema.problems(dict.fromkeys("abcdefgh", "x"))
    assert len(problems.all) == 5
    assert problems.first == problems.all[0]
