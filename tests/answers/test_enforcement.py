"""How each server and model is asked for JSON, and the strict subset of a schema."""

import json

import jsonschema_rs
import pytest

from batchgen.answers.enforcement import Target, choose_means, shape_request
from batchgen.answers.strict import strict_schema
from batchgen.errors import JobError
from batchgen.providers.vendors import VENDORS
from batchgen.providers.vendors.other import OTHER

NATIVE = ("dashscope", "https://dashscope-intl.aliyuncs.com")
COMPATIBLE = ("openai", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1")
OPENAI = ("openai", "https://api.openai.com/v1")
VLLM = ("openai", "http://localhost:8000/v1")
DEEPSEEK = ("openai", "https://api.deepseek.com")

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


def _target(server, model, **parameters):
    return Target(provider=server[0], base_url=server[1], model=model, parameters=parameters)


@pytest.mark.parametrize(
    ("server", "model", "parameters", "means"),
    [
        (NATIVE, "qwen-plus", {}, "json_object"),
        (COMPATIBLE, "qwen-flash", {"enable_thinking": False}, "json_object"),
        (NATIVE, "qwen-plus", {"enable_thinking": True}, "instruction"),
        (NATIVE, "qwen3.5-plus", {}, "instruction"),  # thinks unless told not to
        (NATIVE, "qwen3.5-plus", {"enable_thinking": False}, "json_object"),
        (COMPATIBLE, "qwq-plus", {}, "instruction"),
        (NATIVE, "qwen2.5-72b-instruct", {}, "json_object"),
        (NATIVE, "qwen2.5-math-7b-instruct", {}, "instruction"),
        (NATIVE, "qwen1.5-14b-chat", {}, "instruction"),
        (OPENAI, "gpt-4o-mini", {}, "json_schema"),
        (OPENAI, "gpt-6", {}, "json_schema"),
        (OPENAI, "gpt-4o-2024-05-13", {}, "json_object"),
        (OPENAI, "gpt-4-turbo", {}, "json_object"),
        (OPENAI, "gpt-4", {}, "tool"),
        (OPENAI, "o1-mini", {}, "instruction"),
        (DEEPSEEK, "deepseek-chat", {}, "json_object"),
        (VLLM, "Qwen/Qwen3-8B", {}, "json_schema"),
        (("openai", "https://llm.example.com/v1"), "claude-x", {}, "tool"),
        (("openai", "https://llm.example.com/v1"), "deepseek-v3", {}, "json_object"),
        (OPENAI, None, {}, "instruction"),
    ],
)
def test_the_table(server, model, parameters, means):
    """The tightest means each server and model is known to have."""
    assert choose_means(_target(server, model, **parameters)) == means


def test_every_server_has_a_last_row_for_all_models():
    """No model falls through the table."""
    for vendor in (*VENDORS.values(), OTHER):
        last = vendor.means[-1]
        assert last.model.pattern == ""
        assert not last.thinking


def test_openai_gets_the_strict_schema_and_no_instruction():
    """Strict mode shows the schema to the model: nothing is said, or paid for, twice."""
    shaping = shape_request(SCHEMA, None, _target(OPENAI, "gpt-4o-mini"), None)
    form = shaping.parameters["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"]["required"] == ["name", "age"]
    assert shaping.instruction is None


def test_servers_that_only_constrain_get_the_schema_in_words_too():
    """vLLM's grammar does not show the model what the keys mean."""
    shaping = shape_request(SCHEMA, None, _target(VLLM, "m"), None)
    assert shaping.parameters["response_format"]["type"] == "json_schema"
    assert '"minLength":1' in shaping.instruction
    assert "$schema" not in shaping.instruction


def test_json_object_has_the_word_json_in_its_instruction():
    """DashScope refuses json_object where no message says JSON."""
    shaping = shape_request(SCHEMA, None, _target(NATIVE, "qwen-plus"), None)
    assert shaping.parameters == {"response_format": {"type": "json_object"}}
    assert "JSON" in shaping.instruction
    assert shaping == shape_request(SCHEMA, None, _target(NATIVE, "qwen-plus"), None)


def test_a_tool_call_is_forced():
    """The schema is the function's parameters, and the choice names the function."""
    shaping = shape_request(SCHEMA, "tool", _target(NATIVE, "qwen-plus"), None)
    assert shaping.parameters["tools"][0]["function"]["parameters"] == SCHEMA
    assert shaping.parameters["tool_choice"]["function"]["name"] == "answer"
    assert shaping.instruction is None


def test_the_users_own_text_replaces_the_instruction():
    """A prompt that already names the keys needs no second text; an empty one is none."""
    target = _target(NATIVE, "qwen-plus")
    assert shape_request(SCHEMA, None, target, "As JSON, please.").instruction == "As JSON, please."
    assert shape_request(SCHEMA, None, target, "").instruction is None


def test_the_jobs_own_response_format_wins():
    """`model.parameters.response_format` is sent as it is and names the means; a contradiction is an error."""
    target = _target(OPENAI, "gpt-4o", response_format={"type": "json_object"})
    shaping = shape_request(SCHEMA, None, target, None)
    assert shaping.means == "json_object"
    assert shaping.parameters == {}
    assert "JSON" in shaping.instruction
    with pytest.raises(JobError, match=r"response\.means is 'tool'"):
        shape_request(SCHEMA, "tool", target, None)
    with pytest.raises(JobError, match="does not go with"):
        shape_request(SCHEMA, None, _target(OPENAI, "gpt-4o", response_format={"type": "text"}), None)
    with pytest.raises(JobError, match="without tools"):
        shape_request(SCHEMA, "tool", _target(OPENAI, "gpt-4o", tools=[]), None)


def test_the_strict_subset_requires_all_and_makes_optional_nullable():
    """Optional becomes required and nullable; what strict mode does not know is left out."""
    strict = strict_schema(SCHEMA)
    assert strict == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    assert jsonschema_rs.is_valid(strict, {"name": "Ann", "age": None})


def test_the_strict_subset_of_nested_schemas():
    """References, unions, arrays, enums and already nullable properties keep their meaning."""
    strict = strict_schema(
        {
            "type": "object",
            "properties": {
                "kind": {"const": "a"},
                "size": {"type": ["integer", "null"]},
                "tree": {"$ref": "#/$defs/tree", "description": "not taken beside $ref"},
                "when": {"oneOf": [{"type": "string", "format": "uri"}, {"type": "null"}]},
                "wrapped": {"allOf": [{"$ref": "#/$defs/tree"}]},
            },
            "required": ["tree", "wrapped"],
            "$defs": {
                "tree": {
                    "type": "object",
                    "properties": {"below": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "uniqueItems": True}},
                }
            },
        }
    )
    assert strict["properties"] == {
        "kind": {"anyOf": [{"enum": ["a"]}, {"type": "null"}]},
        "size": {"type": ["integer", "null"]},
        "tree": {"$ref": "#/$defs/tree"},
        "when": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "wrapped": {"$ref": "#/$defs/tree"},
    }
    below = {"type": "array", "items": {"$ref": "#/$defs/tree"}}
    assert strict["$defs"]["tree"]["properties"] == {"below": {"anyOf": [below, {"type": "null"}]}}
    assert strict["$defs"]["tree"]["required"] == ["below"]
    json.dumps(strict)


@pytest.mark.parametrize(
    "property_",
    [
        True,
        {},
        {"type": "array"},
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
    ],
)
def test_free_values_have_no_strict_subset(property_):
    """A schema that strict mode cannot hold is sent as it is, not strict, and shown in words."""
    schema = {"type": "object", "properties": {"v": property_}}
    assert strict_schema(schema) is None
    shaping = shape_request(schema, None, _target(OPENAI, "gpt-4o"), None)
    assert shaping.parameters["response_format"]["json_schema"] == {"name": "answer", "strict": False, "schema": schema}
    assert shaping.instruction is not None
