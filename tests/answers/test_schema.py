"""Which Arrow type a schema becomes, which schemas are refused and how, and how an error is told."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from batchgen.answers.enforcement import Target
from batchgen.answers.kinds import Answer, SchemaAnswers
from batchgen.answers.schema import AnswerSchema, load_schema
from batchgen.answers.settings import ResponseSettings
from batchgen.answers.structured import StructuredAnswers
from batchgen.errors import JobError
from batchgen.values import Completion, Result, Status, Usage
from tests.linear import check_linear


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
    ({"type": "string", "nullable": True}, "string"),
    ({"type": "string", "enum": ["a"], "nullable": True, "example": "a"}, WORD),
    ({"type": "array", "prefixItems": [{"type": "integer"}] * 2, "maxItems": 2}, "list<item: int64>"),
    ({"type": "array", "items": [{"type": "number"}] * 2, "additionalItems": False}, "list<item: double>"),
    ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "maxItems": 2}, "string"),
    ({"type": "array", "prefixItems": [{"type": "integer"}]}, "string"),
    ({"type": "object", "patternProperties": {"^x": {"type": "integer"}}}, "map<string, int64>"),
    ({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]}, "string"),
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
    ({"if": {}}, "/properties/v/if", "use anyOf"),
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


@pytest.mark.parametrize("document", [{"type": "string"}, {"type": "object"}, {}, {"$ref": "#"}, {"enum": [{}]}])
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


def _accepts(document, *texts):
    """The schema's answers to texts, as its column gives them; None for one that does not fit."""
    settings = ResponseSettings(schema="a.json", max_repairs=0)
    schema = AnswerSchema(document, "a.json")
    answers = StructuredAnswers(settings, Target(provider="openai", base_url="http://x", model="m"), schema)
    found = []
    for text in texts:
        done = isinstance(answers.read(Completion(text, "stop", Usage())), Answer)
        result = Result(0, Status.SUCCEEDED if done else Status.FAILED, 1, 0, text)
        found += answers.column([result]).to_pylist()
    return found


ITEM = {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}


def test_a_list_at_the_top_is_wrapped():
    """A root list is asked for as an object's only property; the bare list is taken too, however it stands."""
    for document in (
        {"type": "array", "items": ITEM},
        {"$ref": "#/$defs/L", "$defs": {"L": {"type": "array", "items": {"$ref": "#/$defs/I"}}, "I": ITEM}},
        {"type": "array", "items": {"$ref": "#/definitions/I"}, "definitions": {"I": ITEM}},
    ):
        two = {"items": [{"sku": "a"}, {"sku": "b"}]}
        assert _accepts(
            document,
            '{"items": [{"sku": "a"}, {"sku": "b"}]}',
            '[{"sku": "a"}, {"sku": "b"}]',
            '```json\n[{"sku": "a"}, {"sku": "b"}]\n```',
            "[{'sku': 'a'}, {'sku': 'b'}]",
            "[]",
            '[{"sku": 1}]',
            '{"sku": "a"}',
        ) == [two, two, two, two, {"items": []}, None, None]


def test_a_list_within_prose_or_without_brackets():
    """A list in brackets, an object a line, or a list in an object of any name; objects in prose are still none."""
    two = {"items": [{"sku": "a"}, {"sku": "b"}]}
    assert _accepts(
        {"type": "array", "items": ITEM},
        'Here it is:\n```json\n[{"sku": "a"}, {"sku": "b"}]\n```\nDone.',
        '{"sku": "a"}\n{"sku": "b"}',
        '```\n{"sku": "a"},\n{"sku": "b"}\n```',
        '{"results": [{"sku": "a"}, {"sku": "b"}]}',
        'First {"sku": "a"} and then {"sku": "b"}',
        '{"sku": "a"}\n{"sku": "b"',
    ) == [two, two, two, two, None, None]


def test_an_answer_in_another_object_is_found():
    """A lone member of another name, the schema repeated, or a call of a tool as text; never round free keys."""
    closed = ITEM | {"additionalProperties": False}
    for document in (ITEM, closed):
        assert (
            _accepts(
                document,
                '{"result": {"sku": "a"}}',
                '{"response": {"data": {"sku": "a"}}}',
                '{"results": [{"sku": "a"}]}',
                '{"type": "object", "properties": {"sku": "a"}}',
                '{"results": [{"sku": "a"}, {"sku": "b"}]}',
                '{"result": {"sku": "a"}, "more": 1}',
                '{"type": "object", "properties": {"sku": {"type": "string"}}}',
            )
            == [{"sku": "a"}] * 4 + [None] * 3
        )
    free = {"type": "object", "additionalProperties": ITEM}
    assert _accepts(free, '{"x": {"sku": "a"}}') == [{"values": [("x", {"sku": "a"})]}]


def test_a_map_at_the_top_is_wrapped():
    """A root map likewise."""
    document = {"type": "object", "additionalProperties": {"type": "integer"}}
    found = {"values": [("a", 1)]}
    assert _accepts(document, '{"values": {"a": 1}}', '{"a": 1}', '{"a": "x"}') == [found, found, None]


def test_vendors_wrappers_are_taken_off():
    """The object of `response_format`, or what is in it, gives the schema."""
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    inner = {"name": "x", "strict": True, "schema": schema}
    for document in (schema, inner, {"type": "json_schema", "json_schema": inner}, {"type": "json_schema"} | inner):
        assert _accepts(document, '{"a": "b"}', "{}") == [{"a": "b"}, None]
    own = {"type": "object", "properties": {"schema": {"type": "string"}}}
    assert _accepts(own, '{"schema": "b"}') == [{"schema": "b"}]


def test_times_without_a_zone_are_taken():
    """As Python and pydantic write local times; nonsense is still refused."""
    moment = {"type": "object", "properties": {"t": {"type": "string", "format": "date-time"}}, "required": ["t"]}
    noon = {"t": datetime(2024, 5, 1, 12, tzinfo=UTC)}
    assert _accepts(
        moment,
        '{"t": "2024-05-01T12:00:00"}',
        '{"t": "2024-05-01T12:00:00Z"}',
        '{"t": "2024-05-01T14:00:00+02:00"}',
        '{"t": "2024-05-01"}',
        '{"t": "2024-05-01T25:00:00"}',
    ) == [noon, noon, noon, None, None]
    time = {"type": "object", "properties": {"t": {"type": "string", "format": "time"}}, "required": ["t"]}
    assert _accepts(time, '{"t": "14:30:00"}', '{"t": "14:30:00Z"}', '{"t": "half past two"}') == [
        {"t": "14:30:00"},
        {"t": "14:30:00Z"},
        None,
    ]


def test_decimals_and_tuples_keep_their_digits():
    """A number that may be text is text; a tuple of one type is a list."""
    document = {
        "type": "object",
        "properties": {
            "price": {"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]},
            "at": {"type": "array", "prefixItems": [{"type": "integer"}] * 2, "minItems": 2, "maxItems": 2},
        },
    }
    assert _accepts(
        document, '{"price": 12.5, "at": [1, 2]}', '{"price": "12.50"}', '{"price": null}', '{"at": [1]}'
    ) == [
        {"price": "12.5", "at": [1, 2]},
        {"price": "12.50", "at": None},
        {"price": None, "at": None},
        None,
    ]


def test_keys_of_a_pattern_are_a_map():
    """Other keys have no type, so an answer with one is invalid."""
    map_ = {"type": "object", "patternProperties": {"^x": {"type": "string"}}}
    document = {"type": "object", "properties": {"m": map_}}
    assert _accepts(document, '{"m": {"x1": "a"}}', '{"m": {"y": "a"}}') == [{"m": [("x1", "a")]}, None]


def test_errors_of_a_large_answer_are_not_all_counted():
    """Each error costs time; thousands of them would hold everybody up."""
    items = {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    schema = _schema({"type": "array", "items": items})
    check_linear(lambda length: schema.problems({"v": ["x" * 100] * length}))
    assert len(schema.problems({"v": ["x"] * 5_000}).all) == 1
    assert len(schema.problems({"v": ["x"] * 50}).all) == 5


INSIDE = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


@pytest.mark.parametrize(
    "document",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": INSIDE}}},
        {"format": {"type": "json_schema", "name": "x", "schema": INSIDE}},
        {"type": "function", "function": {"name": "x", "description": "d", "parameters": INSIDE}},
        {"name": "x", "description": "d", "input_schema": INSIDE},
        {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"], "propertyOrdering": ["a"]},
        {"properties": {"a": {"type": "string"}}, "required": ["a"]},
        {"allOf": [{"$ref": "#/definitions/A"}, {"type": "object"}], "definitions": {"A": INSIDE}},
    ],
    ids=["response_format", "text format", "tool", "Anthropic's tool", "Gemini", "no type", "allOf"],
)
def test_what_vendors_wrap_round_a_schema_is_taken_off(document):
    """The schema inside, or the same in today's words."""
    schema = AnswerSchema(document, "a.json")
    assert schema.type == pa.struct([("a", pa.string())])
    assert schema.problems({"a": "x"}) is None
    assert schema.problems({}) is not None


def test_several_objects_that_all_apply_are_one():
    """As OpenAPI writes a base and what is added to it; not where two have one property."""
    base = {"type": "object", "properties": {"id": {"type": "integer", "minimum": 0, "exclusiveMinimum": True}}}
    more = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    document = {
        "type": "object",
        "properties": {"item": {"allOf": [{"$ref": "#/components/schemas/Base"}, more]}},
        "components": {"schemas": {"Base": base}},
    }
    schema = AnswerSchema(document, "a.json")
    assert schema.type == pa.struct([("item", pa.struct([("id", pa.int64()), ("name", pa.string())]))])
    assert schema.problems({"item": {"id": 1, "name": "x"}}) is None
    assert schema.problems({"item": {"id": 0, "name": "x"}}) is not None
    assert schema.problems({"item": {"id": 1}}) is not None
    for parts in ([more, more], [{"$ref": "#/$defs/R"}, more]):
        with pytest.raises(JobError, match="allOf"):
            AnswerSchema({"allOf": parts, "$defs": {"R": {"allOf": [{"$ref": "#/$defs/R"}, more]}}}, "a.json")


ENUM = {"enum": ["spam", "Not Spam", "Café", "etc.", "A", "a"]}
WORDS = [
    ("Spam", "spam"), ("spam.", "spam"), ("NOT_SPAM", "Not Spam"), ("cafe\u0301", "Café"), ("Etc.", "etc."),
    ("etc", None), ("cafe", None), ("A.", None), ("spam or not", None), ("", None),
]  # fmt: skip


@pytest.mark.parametrize(("said", "word"), WORDS)
def test_words_of_an_enum_in_another_spelling(said, word):
    """Case, accents and a full stop do not cost a further answer; where two words fit, or none, it is none."""
    schema = {"type": "object", "properties": {"w": ENUM, "l": {"type": "array", "items": ENUM}}, "required": ["w"]}
    answers = SchemaAnswers(AnswerSchema(schema, "x"))
    text = json.dumps({"w": said, "l": [said, "A"]})
    found = answers.read(text, complete=True)
    if word is None:
        assert not isinstance(found, Answer)
        return
    assert found.value == {"w": word, "l": [word, "A"]}
    assert answers.column([None], [text]).to_pylist() == [{"w": word, "l": [word, "A"]}]
