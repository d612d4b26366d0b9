"""A row's way from completion to answer: done, repaired, asked with more room, or given up; and the column."""

import json

import pyarrow as pa
import pytest
from msgspec import ValidationError, convert

from batchgen.answers.enforcement import Target
from batchgen.answers.reading import Stage
from batchgen.answers.schema import AnswerSchema
from batchgen.answers.settings import ResponseSettings
from batchgen.answers.structured import Done, GiveUp, Longer, Repair, StructuredAnswers, TurnsUsed
from batchgen.answers.votes import Label
from batchgen.errors import JobError
from batchgen.providers import ModelSettings, open_provider
from batchgen.values import Completion, FailureKind, Prompt, Result, Status, Usage

SCHEMA = AnswerSchema(
    {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "note": {"type": ["string", "null"]}},
        "required": ["name", "note"],
    },
    "a.json",
)
TARGET = Target(provider="dashscope", base_url="https://dashscope-intl.aliyuncs.com", model="qwen-plus")
ASKED = Prompt(messages=[{"role": "system", "content": "Read."}, {"role": "user", "content": "Ann is 7."}])
USAGE = Usage(input_tokens=5, output_tokens=3, total_tokens=8)
GOOD = '{"name": "Ann", "age": 7, "note": null}'


def _settings(**keys):
    return convert({"schema": "a.json"} | keys if "labels" not in keys else keys, ResponseSettings)


def _answers(target=TARGET, **keys):
    return StructuredAnswers(_settings(**keys), target, SCHEMA if "labels" not in keys else None)


def _completion(text, finish_reason="stop", **more):
    return Completion(text=text, finish_reason=finish_reason, usage=USAGE, **more)


def test_an_answer_that_fits_is_done():
    """The value and the stage that read it."""
    found = _answers().next(ASKED, _completion(f"```\n{GOOD}\n```"))
    assert isinstance(found, Done)
    assert found.answer.value == {"name": "Ann", "age": 7, "note": None}
    assert found.answer.stage is Stage.FENCED


@pytest.mark.parametrize("key", ["arguments", "parameters"])
@pytest.mark.parametrize("form", ["%s", "<tool_call>\n%s\n</tool_call>", "```json\n%s\n```"])
def test_a_call_of_our_function_that_is_written_as_text(form, key):
    """A server without a parser for calls leaves it so; its own name is no part of the answer."""
    answers = _answers()
    text = form % json.dumps({"name": "answer", key: json.loads(GOOD)})
    found = answers.next(ASKED, _completion(text))
    assert isinstance(found, Done)
    assert found.answer.value == {"name": "Ann", "age": 7, "note": None}
    result = Result(row=0, status=Status.SUCCEEDED, attempts=1, finished_at_us=0, completion=text)
    assert answers.column([result]).to_pylist()[0]["name"] == "Ann"


def test_what_only_looks_like_a_call_is_the_answer():
    """The schema's own names come first, and another function is not ours."""
    own = {"type": "object", "properties": {"name": {"type": "string"}, "arguments": {"type": "object"}}}
    answer = {"name": "answer", "arguments": {"a": 1}}
    settings = convert({"schema": "a.json"}, ResponseSettings)
    found = StructuredAnswers(settings, TARGET, AnswerSchema(own, "a.json")).next(
        ASKED, _completion(json.dumps(answer))
    )
    assert isinstance(found, Done)
    assert found.answer.value == answer
    other = _answers().next(ASKED, _completion('{"name": "Ann", "note": null}'))
    assert isinstance(other, Done)


def test_null_for_what_may_be_absent_is_absent():
    """Strict mode makes optional nullable, and models write null anyway: not an error, where absent would be none."""
    answers = _answers()
    found = answers.next(ASKED, _completion('{"name": "Ann", "age": null, "note": null}'))
    assert isinstance(found, Done)
    assert found.answer.value == {"name": "Ann", "note": None}
    assert isinstance(answers.next(ASKED, _completion('{"name": null, "note": null}')), Repair)


def test_a_repair_goes_on_with_the_conversation():
    """The model sees its own answer and where it was wrong; the first messages stay as they were."""
    wrong = _completion('{"name": 5, "note": "x"}')
    found = _answers().next(ASKED, wrong)
    assert isinstance(found, Repair)
    assert found.spent == TurnsUsed(repairs=1)
    *before, said, told = found.prompt.messages
    assert before == ASKED.messages
    assert said == {"role": "assistant", "content": wrong.text}
    assert told["role"] == "user"
    assert "- at /name:" in told["content"]
    assert 'not of type "string"' in told["content"]


def test_a_second_repair_keeps_the_first():
    """Further turns add to the conversation, up to `max_repairs`; then the row fails with path, text and usage."""
    answers = _answers(max_repairs=2)
    first = answers.next(ASKED, _completion("no"))
    second = answers.next(first.prompt, _completion('{"name": "Ann"}'), first.spent)
    assert isinstance(second, Repair)
    assert [message["role"] for message in second.prompt.messages] == [
        "system", "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip
    last = _completion('{"name": "Ann", "age": "x", "note": null}', request_id="r-1", model="m")
    third = answers.next(second.prompt, last, second.spent)
    assert isinstance(third, GiveUp)
    assert third.completion is last
    assert third.failure.kind is FailureKind.INVALID_OUTPUT
    assert third.failure.message.startswith("at /age: ")
    assert third.failure.usage == USAGE
    assert (third.failure.request_id, third.failure.model, third.failure.http_status) == ("r-1", "m", 200)


def test_no_repairs_if_none_are_wanted():
    """`max_repairs = 0` fails at once."""
    assert isinstance(_answers(max_repairs=0).next(ASKED, _completion("no")), GiveUp)


def test_an_empty_answer_is_repaired_with_alternating_roles():
    """Some providers refuse an empty assistant message."""
    found = _answers().next(ASKED, _completion("  "))
    assert found.prompt.messages[-2] == {"role": "assistant", "content": "(no answer)"}


def test_a_cut_answer_is_asked_for_with_more_room_once():
    """`length` is no mistake of the model's: the same prompt again, with the row's other parameters kept."""
    prompt = Prompt(messages=ASKED.messages, parameters={"seed": 1, "max_tokens": 10})
    answers = _answers(on_length={"max_tokens": 2048})
    cut = _completion('{"name": "An', "length")
    found = answers.next(prompt, cut)
    assert isinstance(found, Longer)
    assert found.prompt.messages == ASKED.messages
    assert found.prompt.parameters == {"seed": 1, "max_tokens": 2048}
    again = answers.next(found.prompt, cut, found.spent)
    assert isinstance(again, GiveUp)
    assert "even with more room" in again.failure.message


def test_a_cut_answer_fails_with_the_way_out_named():
    """Without `on_length` there is no second request, and the message says what to set."""
    found = _answers().next(ASKED, _completion('{"name": "An', "length"))
    assert isinstance(found, GiveUp)
    assert found.failure.finish_reason == "length"
    assert "response.on_length" in found.failure.message


def test_a_whole_answer_at_its_limit_counts():
    """The limit may fall just behind the last brace."""
    assert isinstance(_answers().next(ASKED, _completion(GOOD, "length")), Done)


@pytest.mark.parametrize(
    "completion",
    [_completion(None, refusal="I will not."), _completion('{"name":', "content_filter")],
)
def test_refused_and_filtered_answers_are_not_repaired(completion):
    """Asking again would be refused again, and be paid for."""
    assert isinstance(_answers().next(ASKED, completion), GiveUp)


def _call(arguments, name="answer"):
    return json.dumps([{"id": "c-1", "type": "function", "function": {"name": name, "arguments": arguments}}])


def test_tool_calls_are_read_and_repaired_as_calls():
    """The arguments are the answer; a wrong call is answered by its tool result."""
    answers = _answers(means="tool")
    assert isinstance(answers.next(ASKED, _completion(None, "tool_calls", tool_calls=_call(GOOD))), Done)
    found = answers.next(ASKED, _completion(None, "tool_calls", tool_calls=_call("{}")))
    assert isinstance(found, Repair)
    assert found.prompt.messages[-2]["tool_calls"][0]["id"] == "c-1"
    assert found.prompt.messages[-1]["role"] == "tool"
    assert found.prompt.messages[-1]["tool_call_id"] == "c-1"
    assert isinstance(answers.next(ASKED, _completion(GOOD, tool_calls=_call("{}", "other"))), Done)
    assert isinstance(answers.next(ASKED, _completion(None, tool_calls=_call("{}", "other"))), Repair)


def _result(row, text, status=Status.SUCCEEDED, **more):
    return Result(row=row, status=status, attempts=1, finished_at_us=0, completion=text, **more)


def test_the_column_is_rebuilt_from_what_results_keep():
    """The journal stores text alone: by the same rule it becomes the same struct; failed rows are null."""
    answers = _answers()
    results = [
        _result(0, GOOD),
        _result(1, '{"name": 5}', Status.FAILED),
        _result(2, "Here: {'name': 'Bo', 'note': 'x',}"),
        _result(3, None, tool_calls=_call('{"name": "Cy", "note": "y"}')),
    ]
    column = answers.column(results)
    assert column.type == answers.type
    assert column.to_pylist() == [
        {"name": "Ann", "age": 7, "note": None},
        None,
        {"name": "Bo", "age": None, "note": "x"},
        {"name": "Cy", "age": None, "note": "y"},
    ]


def test_labels_end_to_end():
    """A label is asked for in words, read, and becomes a struct of one dictionary column."""
    answers = _answers(labels=["bug", "how_to"])
    assert answers.shaping.parameters == {}
    prepared = answers.prepare(ASKED)
    assert prepared.messages[0]["content"].startswith("Read.\n\nAnswer with exactly one of these labels")
    assert answers.next(prepared, _completion("Label: How to")).answer.value == Label("how_to")
    repair = answers.next(prepared, _completion("bug or how_to"))
    assert "not just one of the labels" in repair.prompt.messages[-1]["content"]
    assert "bug, how_to" in repair.prompt.messages[-1]["content"]
    column = answers.column([_result(0, "Label: how-to"), _result(1, "x", Status.FAILED), _result(2, "Bug!")])
    assert column.type == pa.struct([("label", pa.dictionary(pa.int32(), pa.string()))])
    assert column.to_pylist() == [{"label": "how_to"}, None, {"label": "bug"}]


def test_labels_as_json_where_asked():
    """With `means`, a label is an object of one key."""
    answers = _answers(labels=["bug", "how_to"], means="json_object")
    assert answers.shaping.parameters == {"response_format": {"type": "json_object"}}
    assert '"enum":["bug","how_to"]' in answers.shaping.instruction
    assert answers.next(ASKED, _completion('{"label": "bug"}')).answer.value == Label("bug")
    assert answers.example_answer("Bug") == '{"label":"bug"}'


def test_votes_and_confidence_are_columns():
    """Agreement and confidence stand in the result, since no text has them."""
    answers = _answers(labels=["bug", "how_to"], votes=3, confidence="votes")
    label = answers.vote([Label("bug"), None, Label("bug")])
    assert label == Label("bug", 2 / 3, 2 / 3)
    assert answers.vote([None]) is None
    column = answers.column([_result(0, "bug", confidence=label.confidence, agreement=label.agreement)])
    assert column.to_pylist() == [{"label": "bug", "confidence": 2 / 3, "agreement": 2 / 3}]


def test_confidence_from_logprobs_is_asked_for_and_read():
    """The parameter is sent, the label's tokens are read, samples with the label are averaged."""
    answers = _answers(labels=["bug", "how_to"], confidence="logprobs", votes=3)
    assert answers.shaping.parameters == {"logprobs": True}
    tokens = json.dumps({"content": [{"token": "bug", "logprob": 0.0}]})
    assert answers.read(_completion("bug", logprobs=tokens)).value == Label("bug", 1.0)
    assert answers.read(_completion("bug")).value == Label("bug", None)
    label = answers.vote([Label("bug", 1.0), Label("bug", 0.5), Label("how_to", 0.9)])
    assert label == Label("bug", 0.75, 2 / 3)


def test_votes_that_cannot_differ_are_fatal_and_json_without_the_word_is_remarked():
    """What `check` must say before anything is paid."""
    fixed = Target(provider="dashscope", base_url=TARGET.base_url, model="qwen-plus", parameters={"temperature": 0})
    [remark] = _answers(fixed, labels=["a", "b"], votes=3).remarks
    assert (remark.key, remark.fatal) == ("response.votes", True)
    remark = _answers(instruction="").remarks[-1]
    assert (remark.key, remark.fatal) == ("response.instruction", False)
    assert [remark.key for remark in _answers().remarks] == ["response.schema"]


def test_what_a_model_is_not_told_is_remarked():
    """Fields without a description, and a limit that thinking may use up."""
    [remark] = _answers().remarks
    assert remark.text.startswith("gives no description of name, age, note:")
    properties = {"a": {"type": "string", "description": "the name"}, "b": {"enum": ["x"]}, "c": {"$ref": "#/$defs/C"}}
    schema = AnswerSchema(
        {"type": "object", "properties": properties, "$defs": {"C": {"type": "string", "description": "the city"}}},
        "a.json",
    )
    assert StructuredAnswers(_settings(), TARGET, schema).remarks == []
    for model, limit, said in (("qwq-plus", 500, True), ("qwq-plus", 8000, False), ("qwen-plus", 500, False)):
        target = Target(provider="dashscope", base_url=TARGET.base_url, model=model, parameters={"max_tokens": limit})
        keys = [remark.key for remark in _answers(target, labels=["a", "b"]).remarks]
        assert ("model.parameters.max_tokens" in keys) is said


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({}, "exactly one of schema"),
        ({"schema": "a", "labels": ["a", "b"]}, "exactly one of schema"),
        ({"schema": "a", "votes": 3}, r"response\.votes is for labels"),
        ({"schema": "a", "confidence": "logprobs"}, r"response\.confidence is for labels"),
        ({"labels": ["a", "b"], "confidence": "votes"}, r"needs response\.votes"),
        ({"labels": ["a", "b"], "confidence": "logprobs", "means": "tool"}, "cannot be"),
        ({"schema": "a", "on_length": {}}, r"response\.on_length needs exactly one"),
        ({"schema": "a", "on_length": {"max_tokens": 1, "max_completion_tokens": 2}}, "exactly one"),
    ],
)
def test_contradictory_settings_are_refused(keys, words):
    """Each has its sentence, with the key named."""
    with pytest.raises(JobError, match=words):
        convert(keys, ResponseSettings).check()


def test_unknown_and_impossible_settings_are_refused():
    """The settings are read strictly."""
    for keys in ({"schemas": "a"}, {"schema": "a", "max_repairs": -1}, {"schema": "a", "means": "magic"}):
        with pytest.raises(ValidationError):
            convert(keys, ResponseSettings)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({"max_tokens": 4096}, "must be above"), ({"max_completion_tokens": 10}, "exclude each other")],
)
def test_more_room_must_be_more(parameters, words):
    """`on_length` is compared with what is sent."""
    target = Target(provider="openai", base_url="https://api.openai.com", model="gpt-4o", parameters=parameters)
    with pytest.raises(JobError, match=words):
        _answers(target, on_length={"max_tokens": 2048})


@pytest.mark.parametrize(
    ("provider", "base_url", "model"),
    [
        ("dashscope", "https://dashscope-intl.aliyuncs.com", "qwen-plus"),
        ("openai", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "qwen-flash"),
        ("openai", "https://api.openai.com/v1", "gpt-4o-mini"),
        ("openai", "http://localhost:8000/v1", "m"),
    ],
)
@pytest.mark.parametrize("means", [None, "json_schema", "json_object", "tool", "instruction"])
def test_what_is_added_passes_the_providers_own_checks(provider, base_url, model, means):
    """The parameters of every means go out in the body as they are, and no check refuses them."""
    answers = _answers(Target(provider=provider, base_url=base_url, model=model), means=means)
    settings = ModelSettings(name=model, base_url=base_url, parameters=answers.shaping.parameters)
    wire_format = open_provider(provider, settings)
    assert [remark for remark in wire_format.remarks() if remark.fatal] == []
    body = json.loads(wire_format.build_request(answers.prepare(ASKED), stream=False).body)
    sent = body["parameters"] if provider == "dashscope" else body
    assert {name: sent[name] for name in answers.shaping.parameters} == answers.shaping.parameters


def test_several_labels_end_to_end():
    """`multiple`: a list is asked for, by words or as JSON, and becomes a list column; an empty list is an answer."""
    answers = _answers(labels=["bug", "how_to"], multiple=True)
    assert "JSON list" in answers.prepare(ASKED).messages[0]["content"]
    found = answers.next(ASKED, _completion('["how_to", "bug", "how_to"]'))
    assert found.answer.value == {"labels": ["how_to", "bug"]}
    assert isinstance(answers.next(ASKED, _completion("bug or how_to")), Repair)
    results = [
        Result(
            row=row, status=Status.SUCCEEDED if text else Status.FAILED, attempts=1, finished_at_us=0, completion=text
        )
        for row, text in enumerate(['["how_to", "bug", "how_to"]', "[]", None])
    ]
    column = answers.column(results)
    assert column.type == answers.type
    assert column.to_pylist() == [{"labels": ["how_to", "bug"]}, {"labels": []}, None]
    assert answers.example_answer(["bug"]) == '["bug"]'
    as_object = _answers(labels=["bug", "how_to"], multiple=True, means="json_schema")
    schema = as_object.shaping.parameters["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["labels"]["type"] == "array"
    assert as_object.example_answer('["bug"]') == '{"labels":["bug"]}'
    for wrong in ({"votes": 2}, {"confidence": "logprobs"}, {"labels": None, "schema": "a.json"}):
        with pytest.raises(JobError, match=r"response\.multiple"):
            convert({"labels": ["a", "b"], "multiple": True} | wrong, ResponseSettings).check()


def test_thinking_alone_is_no_answer():
    """A provider that gives thinking and nothing else has not answered, however good the draft in it is."""
    for text in (None, "", "\n"):
        found = _answers().next(ASKED, _completion(text, reasoning=GOOD))
        assert isinstance(found, Repair)
        assert "after the model's thinking" in found.prompt.messages[-1]["content"]


@pytest.mark.parametrize(
    ("keys", "text"),
    [({"labels": ["bug", "how_to"]}, "bug"), ({}, GOOD[:-2]), ({}, f"```json\n{GOOD}\n```"), ({}, f"{GOOD} {{")],
)
def test_a_cut_answer_passes_as_nothing(keys, text):
    """What the limit cut is no label and no object, though what is there looks like one."""
    found = _answers(**keys).next(ASKED, _completion(text, "length"))
    assert isinstance(found, GiveUp)
    assert "cut off at its limit" in found.failure.message
