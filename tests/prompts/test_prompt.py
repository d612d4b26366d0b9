"""From a row to a prompt: keys, columns, messages, parameters, failures."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.errors import InputError, JobError
from batchgen.prompts.prompt import PromptSettings, PromptTemplate
from batchgen.providers.request_parts import last_text, text_as_sent
from batchgen.values import Failure, FailureKind, Prompt, Verdict


def build(parameters=None, model=None, **keys):
    return PromptTemplate(PromptSettings(**keys), parameters, model)


def test_system_and_user():
    """Templates become a system and a user message; a blank system message is left out."""
    template = build(system="{{ s }}", user="Hi {{ a }}")
    assert template.columns == {"s", "a"}
    assert template.render({"s": "Be short.", "a": "you"}) == Prompt(
        messages=[{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi you"}]
    )
    assert template.render({"s": " ", "a": "you"}) == Prompt(messages=[{"role": "user", "content": "Hi you"}])


def test_templates_from_files(tmp_path):
    """Templates may stand in files, with a byte order mark or without; their text counts, not their name."""
    path = tmp_path / "user.txt"
    path.write_bytes("\ufeffHi {{ a }}\n".encode())
    template = build(user_file=str(path))
    assert template.render({"a": "you"}) == Prompt(messages=[{"role": "user", "content": "Hi you"}])
    assert template.fingerprint_parts() == {"prompt.user": "Hi {{ a }}\n"}
    assert build(user="Hi {{ a }}\n").fingerprint_parts() == template.fingerprint_parts()


def test_messages_column():
    """A conversation from a column; the job's system message leads unless the row has its own."""
    template = build(system="Job {{ s }}", messages="m")
    user = {"role": "user", "content": "{{ s }}"}
    own = {"role": "system", "content": "Row"}
    assert template.render({"m": [user], "s": "x"}).messages == [{"role": "system", "content": "Job x"}, user]
    assert template.render({"m": [own, user], "s": None}).messages == [own, user]


def test_prompt_and_history():
    """The older form: one text, with the turns before it."""
    template = build(prompt="Hi {{ a }}", history="h")
    turns = [{"user": "x", "bot": "y"}]
    assert template.render({"a": "you", "h": turns}) == Prompt(text="Hi you", history=turns)
    assert template.render({"a": "you", "h": None}) == Prompt(text="Hi you", history=[])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("max_tokens", 7, 7),
        ("max_tokens", "7", 7),
        ("temperature", "0.5", 0.5),
        ("enable_thinking", "true", True),
        ("stop", "7", "7"),
        ("stop", '["a", "b"]', ["a", "b"]),
        ("reasoning_effort", "low", "low"),
        ("tool_choice", '"auto', '"auto'),
        ("tools", ["x"], ["x"]),
    ],
)
def test_parameters_from_columns(name, value, expected):
    """A column's value becomes the parameter; text from a CSV is read as what it says."""
    assert build({name: "p"}, user="Hi").render({"p": value}).parameters == {name: expected}


@pytest.mark.parametrize("value", [None, "", "null"])
def test_absent_parameters(value):
    """Null and empty leave the parameter, and the model, to the job."""
    template = build({"max_tokens": "p"}, "model", user="Hi")
    prompt = template.render({"p": value, "model": None})
    assert (prompt.parameters, prompt.model) == (None, None)
    assert template.render({"p": value, "model": "qwen-max"}).model == "qwen-max"


@pytest.mark.parametrize(
    ("keys", "values", "message"),
    [
        ({"user": "{{ a }}"}, {"a": None}, 'prompt.user: column "a" is null'),
        ({"user": "{{ a }}"}, {"a": " \n"}, "prompt.user: the prompt is empty"),
        ({"prompt": "{{ a }}"}, {"a": ""}, "prompt.prompt: the prompt is empty"),
        ({"messages": "a"}, {"a": "[]"}, 'column "a" holds no messages'),
        ({"user": "Hi", "model": "a"}, {"a": 7}, 'column "a" gives the model and holds no text but 7'),
    ],
)
def test_row_failures(keys, values, message):
    """A row that has no prompt is a failure of kind prompt that names the column."""
    assert build(**keys).render(values) == Failure(FailureKind.PROMPT, Verdict.FAIL, message)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "says nothing to ask"),
        ({"system": "x"}, "says nothing to ask"),
        ({"user": "x", "messages": "m"}, r"prompt\.user and prompt\.messages exclude"),
        ({"user": "x", "user_file": "f"}, r"prompt\.user and prompt\.user_file exclude"),
        ({"user": "x", "history": "h"}, r"prompt\.history goes with prompt\.prompt"),
        ({"prompt": "x", "system": "s"}, r"prompt\.prompt has no system message"),
        ({"user": " "}, r"prompt\.user is empty"),
        ({"user_file": "no/such/file"}, r"prompt\.user_file \(no/such/file\) cannot be read: No such file"),
        ({"user": "a\n{{"}, r"prompt\.user, line 2"),
    ],
)
def test_settings_that_cannot_work(keys, message):
    """Contradictory keys and broken templates are errors of the job, by key."""
    with pytest.raises(JobError, match=message):
        build(**keys)


def test_a_template_file_that_is_not_utf8(tmp_path):
    """The byte is named."""
    path = tmp_path / "user.txt"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(JobError, match=r"user\.txt\): byte 3 is not UTF-8"):
        build(user_file=str(path))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (build(user="{{ Body }}"), r'a\.csv: prompt\.user needs column "Body".*did you mean "body"\?.*"id", "body"'),
        (build(messages="talk"), r'prompt\.messages needs column "talk"'),
        (build({"seed": "s"}, user="x"), r'model\.parameters\.seed needs column "s"'),
        (build(model="m", user="x"), r'model\.name needs column "m"'),
    ],
)
def test_missing_columns(template, message):
    """A missing column names who asks for it, the nearest and all there are."""
    with pytest.raises(InputError, match=message):
        template.check_columns(["id", "body"], "a.csv")


@pytest.mark.parametrize("word", ["true", "False", "none", "2024", "1.5", "self"])
def test_a_column_that_is_called_like_a_word_of_the_language(word):
    """Its own text would stand in every row; where there is no such column it is what the template says."""
    template = build(user="Answer: {{ %s | default('x') }} {{ a }}" % word)  # noqa: UP031
    with pytest.raises(InputError, match=rf'{word} .* is no column.*write {{{{ row\["{word}"\] }}}}'):
        template.check_columns(["a", word], "a.csv")
    template.check_columns(["a"], "a.csv")
    build(user='{%% if a == true %%}{{ row["%s"] }}{%% endif %%}' % word).check_columns(["a", word], "a.csv")  # noqa: UP031


def test_columns_that_are_there():
    """Nothing is said when every column is there; keys of templates come from all forms."""
    template = build({"seed": "s"}, "m", user='{{ a }}{{ row["b c"] }}')
    template.check_columns(["a", "b c", "s", "m"], "a.csv")
    assert template.fingerprint_parts() == {
        "prompt.user": '{{ a }}{{ row["b c"] }}',
        "model.parameters.seed": "column s",
        "model.name": "column m",
    }


SIMILAR = st.sampled_from(["", " ", "a", "b", "ab", "a b", "1", "11", "0", "\x00", "é", "e\u0301", None])


@given(
    st.lists(st.tuples(SIMILAR, SIMILAR, st.none() | st.integers(0, 12)), min_size=1, max_size=30),
    st.sampled_from(
        [
            {"user": "{{ a }}"},
            {"user": "{{ a }}{{ b }}"},
            {"user": "Say {{ a }}{{ n }}{{ row['b'] }}!"},
            {"user": "{{ n }}{{ n }}"},
            {"system": "S {{ b }}", "user": "{{ a }}"},
            {"system": "{{ b }}", "user": "{{ a }}"},
            {"system": "Always.", "user": "{{ n }}"},
            {"prompt": "{{ a }} {{ b }}"},
            {"user": "{{ a | trim }}"},
        ]
    ),
)
def test_hashes_of_rows_are_the_same_where_the_prompts_are(rows, keys):
    """Also where different columns make the same text; where that cannot be told from the columns there is none."""
    template = build(**keys)
    table = pa.table(
        {
            "a": pa.array([row[0] for row in rows], pa.string()),
            "b": pa.array([row[1] for row in rows], pa.string()),
            "n": pa.array([row[2] for row in rows], pa.int64()),
        }
    )
    found = template.row_hashes(table.combine_chunks().to_batches()[0])
    if keys.get("system") == "{{ b }}" or "trim" in keys.get("user", ""):
        assert found is None
        return
    prompts = [template.render(row) for row in table.to_pylist()]
    of = {}
    for prompt, hashed in zip(prompts, found, strict=True):
        if isinstance(prompt, Prompt):
            of.setdefault(repr(prompt), set()).add(hashed)
    assert all(len(hashes) == 1 for hashes in of.values())
    assert len(set.union(set(), *of.values())) == len(of)


WHOLE = st.sampled_from(["", " ", "a", "a b", "é", "{{ a }}"])


@given(
    st.lists(st.tuples(WHOLE, WHOLE, st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=9),
    st.sampled_from(["{{ a }}", "{{ a }}{{ b }}", "Say {{ n }}: {{ a }}{{ n }}!", "{{ n }}", "é{{ row['b'] }}"]),
    st.sampled_from([None, "Always.", "{{ b }}"]),
)
def test_prompts_of_a_table_are_those_of_its_rows(rows, user, system):
    """A table is rendered at once only where each of its rows gives the same prompt."""
    template = build(user=user, **({} if system is None else {"system": system}))
    table = pa.table(dict(zip("abn", map(list, zip(*rows, strict=True)), strict=True)))
    prompts = [template.render(row) for row in table.to_pylist()]
    texts = template.texts(table)
    usual = system != "{{ b }}" and all(isinstance(prompt, Prompt) for prompt in prompts)
    assert (texts is not None) == usual
    if texts is not None:
        assert [template.asking(text) for text in texts] == prompts
        assert template.ends_in_texts
        assert [last_text(prompt) for prompt in prompts] == [text_as_sent(text) for text in texts]


@pytest.mark.parametrize(
    ("user", "columns"),
    [
        ("{{ a }}!", {"a": ["x", None]}),
        ("{{ a }}!", {"a": [1.0, 2.0]}),
        ("{{ a }}!", {"a": [True, False]}),
        ("{{ a | trim }}!", {"a": ["x", "y"]}),
        ("No column.", {"a": ["x", "y"]}),
        ("{{ a }}" * 9, {"a": ["x" * 4_000_000]}),
    ],
)
def test_only_rows_as_usual_are_rendered_as_a_table(user, columns):
    """Nulls, other types and much text are left to each row's own rendering."""
    assert build(user=user).texts(pa.table(columns)) is None


@pytest.mark.parametrize(
    ("keys", "more"),
    [
        ({"user": "{{ f }}"}, {}),
        ({"user": "{{ a }}{{ t }}"}, {}),
        ({"user": "{% if a %}{{ a }}{% endif %}"}, {}),
        ({"messages": "a"}, {}),
        ({"prompt": "{{ a }}", "history": "a"}, {}),
        ({"user": "{{ a }}"}, {"model": "a"}),
        ({"user": "{{ a }}"}, {"parameters": {"max_tokens": "a"}}),
        ({"user": "No column."}, {}),
    ],
)
def test_rows_have_no_hash_where_only_rendering_shows_the_prompt(keys, more):
    """Such rows are rendered to be compared."""
    columns = {"a": ["x"], "f": [1.0], "t": pa.array([0], pa.timestamp("us"))}
    assert build(**keys, **more).row_hashes(pa.RecordBatch.from_pydict(columns)) is None
