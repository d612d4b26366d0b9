"""Values fit their schema, whatever the text."""

from __future__ import annotations

import re
from datetime import date, datetime

import pytest

from batchgen.simulator.demo.fitting import Fitter, choose

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": [
        "status",
        "count",
        "share",
        "tags",
        "who",
        "when",
        "at",
        "mail",
        "maybe",
        "pair",
        "code",
        "kind",
        "tree",
    ],
    "properties": {
        "status": {"enum": ["open", "closed"]},
        "count": {"type": "integer", "minimum": 3, "exclusiveMaximum": 9},
        "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 4}, "minItems": 2, "uniqueItems": True},
        "who": {"$ref": "#/$defs/person"},
        "when": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "mail": {"type": "string", "format": "email"},
        "maybe": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        "pair": {"type": "array", "prefixItems": [{"type": "boolean"}, {"const": 7}], "items": False},
        "code": {"type": "string", "minLength": 12},
        "kind": {"allOf": [{"type": "integer"}, {"multipleOf": 5, "minimum": 1, "maximum": 20}]},
        "tree": {"$ref": "#/$defs/tree"},
        "optional": {"type": ["integer", "null"]},
    },
    "$defs": {
        "person": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        "tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}, "leaf": {"type": "boolean"}}},
    },
}


@pytest.mark.parametrize("seed", range(40))
def test_every_keyword_in_scope_is_obeyed(seed):
    """Types, enums, bounds, lengths, formats, references, alternatives, recursion."""
    value = Fitter(SCHEMA, f"text {seed}", seed).fit(SCHEMA)
    assert set(SCHEMA["required"]) <= set(value) <= set(SCHEMA["properties"])
    assert value["status"] in ("open", "closed")
    assert isinstance(value["count"], int)
    assert 3 <= value["count"] < 9
    assert 0 < value["share"] <= 1
    assert len(value["tags"]) >= 2
    assert len(set(value["tags"])) == len(value["tags"])
    assert all(len(tag) <= 4 for tag in value["tags"])
    assert isinstance(value["who"]["name"], str)
    assert date.fromisoformat(value["when"])
    assert datetime.fromisoformat(value["at"]).tzinfo is not None
    assert re.fullmatch(r"[^@\s]+@[^@\s]+\.\w+", value["mail"])
    assert value["maybe"] is None or isinstance(value["maybe"], str)
    assert [type(part) for part in value["pair"]] == [bool, int]
    assert value["pair"][1] == 7
    assert len(value["code"]) >= 12
    assert value["kind"] in (5, 10, 15, 20)
    assert isinstance(value["tree"], dict)
    assert value["optional"] is None or isinstance(value["optional"], int)


def test_schemas_without_a_type_and_map_like_objects():
    """The type is inferred from the keywords; additionalProperties fills what is required beyond the properties."""
    assert isinstance(Fitter({}, "x", 0).fit({"minimum": 2}), int | float)
    filled = Fitter({}, "x", 0).fit({"additionalProperties": {"type": "integer"}, "minProperties": 2})
    assert [type(value) for value in filled.values()] == [int, int]


def test_what_fits_nothing_is_an_error():
    """The schema false, and references in a circle."""
    loop = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    for schema in (False, loop):
        with pytest.raises(ValueError, match=r"false|circles"):
            Fitter(loop, "x", 0).fit(schema)


def test_choose_prefers_names_to_explanations():
    """A name in the text wins over a word of an explanation; the number decides a draw at nothing."""
    options = {"refund": "money back", "bug": "crash refund money"}
    assert choose(options, "I want a refund of my money", 0) == "refund"
    assert choose(options, "hello", 1) == "bug"
