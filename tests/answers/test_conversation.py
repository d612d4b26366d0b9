"""Where instruction, examples and repair turns stand in a conversation."""

import pytest

from batchgen.answers.conversation import example_turns, instructed
from batchgen.answers.enforcement import Target
from batchgen.answers.schema import AnswerSchema
from batchgen.answers.settings import ResponseSettings
from batchgen.answers.structured import StructuredAnswers
from batchgen.errors import InputError
from batchgen.values import Failure, FailureKind, Prompt, Verdict

USER = {"role": "user", "content": "Hello"}
TURNS = [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}]


def _roles(prompt):
    return [message["role"] for message in prompt.messages]


def test_the_instruction_ends_the_system_message():
    """The user's own words come first; the rest of the row's prompt is untouched."""
    prompt = Prompt(messages=[{"role": "system", "content": "Be brief.\n"}, USER], model="m", parameters={"seed": 1})
    found = instructed(prompt, "Use JSON.")
    assert found.messages == [{"role": "system", "content": "Be brief.\n\nUse JSON."}, USER]
    assert (found.model, found.parameters) == ("m", {"seed": 1})
    assert prompt.messages[0]["content"] == "Be brief.\n"


def test_without_a_system_message_one_is_put_first():
    """Also where the prompt has none or an empty one, and before examples."""
    assert _roles(instructed(Prompt(messages=[USER]), "Use JSON.")) == ["system", "user"]
    assert instructed(Prompt(messages=[{"role": "system", "content": ""}, USER]), "J").messages[0]["content"] == "J"
    found = instructed(Prompt(messages=[USER]), "Use JSON.", TURNS)
    assert _roles(found) == ["system", "user", "assistant", "user"]


def test_a_developer_message_and_content_in_parts():
    """OpenAI's newer role counts as system; a list of parts gets one more."""
    parts = [{"type": "text", "text": "Be brief."}]
    found = instructed(Prompt(messages=[{"role": "developer", "content": parts}, USER]), "Use JSON.")
    assert found.messages[0] == {"role": "developer", "content": [*parts, {"type": "text", "text": "Use JSON."}]}


def test_the_older_form_keeps_its_form():
    """A single text takes the instruction before itself; with examples it becomes messages, history included."""
    prompt = Prompt(text="Hello", history=[{"user": "a", "bot": "b"}])
    assert instructed(prompt, "Use JSON.").text == "Use JSON.\n\nHello"
    assert instructed(prompt, None).text == "Hello"
    found = instructed(prompt, "Use JSON.", TURNS)
    assert _roles(found) == ["system", "user", "assistant", "user", "assistant", "user"]
    assert found.text is None
    assert found.history == ()


def test_nothing_to_add_changes_nothing():
    """No instruction, no examples: the messages as they were."""
    prompt = Prompt(messages=[{"role": "system", "content": "x"}, USER])
    assert list(instructed(prompt, None).messages) == prompt.messages


def _render(row):
    if row["body"] is None:
        return Failure(FailureKind.PROMPT, Verdict.FAIL, "body is null")
    return Prompt(
        messages=[{"role": "system", "content": "Read."}, {"role": "user", "content": f"Mail: {row['body']}"}]
    )


SCHEMA = AnswerSchema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, "a.json")
ANSWERS = StructuredAnswers(
    ResponseSettings(schema="a.json"), Target(provider="openai", base_url="http://localhost"), SCHEMA
)


def _answer(row):
    return ANSWERS.example_answer(row["wanted"])


def test_examples_are_turns_as_the_job_would_have_them():
    """Each row's prompt without its system message, then the wanted answer as the model should write it."""
    rows = [{"body": "one", "wanted": {"n": 1}}, {"body": "two", "wanted": ' {"n":  2} '}]
    turns = example_turns(rows, _render, _answer)
    assert turns == [
        {"role": "user", "content": "Mail: one"},
        {"role": "assistant", "content": '{"n":1}'},
        {"role": "user", "content": "Mail: two"},
        {"role": "assistant", "content": '{"n":2}'},
    ]
    prepared = ANSWERS.prepare(_render({"body": "three"}), turns)
    assert _roles(prepared) == ["system", "user", "assistant", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"body": None, "wanted": {"n": 1}}, "row 1: body is null"),
        ({"body": "x", "wanted": {"n": "1"}}, "row 1: the wanted answer does not fit: at /n"),
    ],
)
def test_a_bad_example_is_named(row, words):
    """An example that teaches the wrong thing, or cannot be asked, is found before anything is sent."""
    with pytest.raises(InputError, match=words):
        example_turns([{"body": "one", "wanted": {"n": 1}}, row], _render, _answer)
