"""The job file: strict reading, overrides, and errors that name key and fix."""

from decimal import Decimal

import msgspec
import pytest

from batchgen.errors import JobError
from batchgen.job.settings import ColumnReference, Job, answer_parts, load_job, parse_assignment
from batchgen.providers import lane_of

JOB = """
name = "colours"
[input]
path = "in.csv"
[prompt]
user = "What colour is {{ thing }}?"
[model]
provider = "dashscope"
name = "qwen-plus"
[model.parameters]
max_tokens = 16
stop = [[1, 2]]
[limits]
concurrency = 8
budget = 5.10
[output]
path = "out/colours"
"""


@pytest.fixture
def write(tmp_path):
    """Write a job file and return its path."""

    def write(text):
        path = tmp_path / "job.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_job_file_becomes_settings_with_their_defaults(write):
    """Keys that are left out have the documented defaults; money is exact."""
    job = load_job(write(JOB))
    assert job.name == "colours"
    assert job.limits.concurrency == 8
    assert job.limits.timeout_s == 300
    assert job.limits.budget == Decimal("5.1")
    assert job.retry.max_attempts == 6
    assert job.retry.rate_limit_patience_s == 900
    assert job.model.transport == "fast"
    assert job.model.parameters == {"max_tokens": 16, "stop": [[1, 2]]}
    assert job.output.columns == "all"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("concurrency = 8", "concurency = 8", ["unknown key limits.concurency", "limits.concurrency?"]),
        ("[limits]", "[limit]", ["unknown key limit;", "limits?"]),
        (
            "[model.parameters]",
            "temperature = 0.5\n[model.parameters]",
            ["model.temperature", "model.parameters.temperature"],
        ),
        ("[prompt]", "[prompt]\nconcurrency = 3", ["unknown key prompt.concurrency", "limits.concurrency?"]),
        ("concurrency = 8", 'concurrency = "8"', ["limits.concurrency", "a whole number", "text"]),
        ("concurrency = 8", "concurrency = 0", ["limits.concurrency", "at least 1"]),
        ("concurrency = 8", "timeout_s = inf", ["limits.timeout_s", "at most 31,622,400 seconds"]),
        ("concurrency = 8", "stalled_s = nan", ["limits.stalled_s"]),
        ("budget = 5.10", "budget = -1", ["limits.budget", "above 0"]),
        ('path = "in.csv"', "", ["input.path is missing"]),
        ('name = "colours"', "", ["name is missing"]),
        ('provider = "dashscope"', 'provider = "dashscop"', ["model.provider", "dashscope", "openai"]),
        ('name = "qwen-plus"', "name = 3", ["model.name"]),
        ("[input]", "[input", ["not valid TOML", "line"]),
    ],
)
def test_a_mistake_is_named_with_its_key_and_the_fix(write, old, new, words):
    """Every mistake gives one sentence with the file, the key and what was expected."""
    path = write(JOB.replace(old, new, 1))
    with pytest.raises(JobError) as caught:
        load_job(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_missing_job_file_is_said_plainly(tmp_path):
    """The path is in the sentence."""
    with pytest.raises(JobError, match=r"nowhere\.toml: there is no such job file"):
        load_job(tmp_path / "nowhere.toml")


def test_overrides_win_over_the_file(write):
    """Dotted paths and short forms; None leaves what the file says."""
    job = load_job(write(JOB), input="other.csv", output=None, limit=3, **{"limits.concurrency": 2, "model.name": "m"})
    assert (job.input.path, job.input.limit, job.limits.concurrency, job.model.name) == ("other.csv", 3, 2, "m")
    assert job.output.path.endswith("/out/colours")


def test_an_override_of_an_unknown_key_is_refused(write):
    """`--set` is as strict as the file."""
    with pytest.raises(JobError, match=r"unknown key limits\.colour"):
        load_job(write(JOB), **{"limits.colour": 1})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("limits.concurrency=8", ("limits.concurrency", 8)),
        ("model.name=qwen-plus", ("model.name", "qwen-plus")),
        ('model.name="8"', ("model.name", "8")),
        ("model.stream=true", ("model.stream", True)),
        ("model.parameters.stop=['a', 'b']", ("model.parameters.stop", ["a", "b"])),
        ("prompt.user=a = b", ("prompt.user", "a = b")),
        ("prompt.user=", ("prompt.user", "")),
        ("x.y=1\nz=2", ("x.y", "1\nz=2")),
    ],
)
def test_an_assignment_is_toml_or_else_a_bare_word(text, expected):
    """TOML value syntax; anything else is a string."""
    assert parse_assignment(text) == expected


def test_an_assignment_without_a_value_is_refused():
    """The message shows the form."""
    with pytest.raises(JobError, match="KEY=VALUE"):
        parse_assignment("limits.concurrency")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limits.timeout_s": float("inf")}, r"a number of at most 31,622,400 seconds \(366 days\)"),
        ({"limits.timeout_s": 0}, "a number above 0"),
        ({"limits.concurrency": 0}, "a whole number of at least 1"),
    ],
)
def test_a_number_out_of_bounds_is_told_with_its_unit(write, change, message):
    """The bounds in words, and a long time in days too."""
    with pytest.raises(JobError, match=message):
        load_job(write(JOB), **change)


def test_a_column_can_stand_for_the_model_name(write):
    """`name = { column = ... }` is kept as a reference."""
    job = load_job(write(JOB.replace('name = "qwen-plus"', 'name = { column = "m" }')))
    assert job.model.name == ColumnReference("m")


def test_only_what_can_alter_an_answer_is_in_the_fingerprint(write):
    """Limits and transport may change between two runs; the prompt, the model and its parameters may not."""
    job = load_job(write(JOB))
    parts = answer_parts(job, {"user": "text"})
    for change in ({"limits.concurrency": 1}, {"model.transport": "httpx"}, {"retry.max_attempts": 1}, {"output": "x"}):
        assert answer_parts(load_job(write(JOB), **change), {"user": "text"}) == parts
    for change in ({"model.name": "other"}, {"model.parameters.max_tokens": 17}, {"input.id": "thing"}):
        assert answer_parts(load_job(write(JOB), **change), {"user": "text"}) != parts
    assert answer_parts(job, {"user": "other"}) != parts


BATCH = {"model.lane": "batch", "model.provider": "openai", "model.base_url": "https://api.openai.com/v1"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"batch.window": "tomorrow"}, "batch.window must be a time"),
        ({"batch.deadline": "0h"}, "batch.deadline must be a time"),
        ({"batch.deadline": "2 fortnights"}, "batch.deadline must be a time"),
        ({"batch.window": "48h"}, 'openai takes "24h", not'),
        ({"batch.rows": 50_001}, "at most 50,000 rows"),
        ({"batch.megabytes": 201}, "at most 200 MB"),
        ({"batch.rows": 0}, "batch.rows"),
        ({"batch.poll_s": 0}, "batch.poll_s"),
        ({"batch.poll_s": 7200, "batch.deadline": "1h"}, "longer than batch.deadline"),
        ({"batch.after_deadline": "stop"}, "batch.after_deadline"),
        ({"batch.windows": "24h"}, "did you mean batch.window"),
    ],
)
def test_what_a_batch_cannot_be(write, given, said):
    """Times that nobody can read, and more than the vendor takes."""
    with pytest.raises(JobError, match=said):
        load_job(write(JOB), **BATCH, **given)


def test_a_batch_as_the_job_has_it(write):
    """The file's size is bounded by the job and by the vendor; times may be written in several units."""
    job = load_job(write(JOB), **BATCH, **{"batch.rows": 10, "batch.deadline": "1d 2.5h", "batch.window": "1d"})
    limits = lane_of("batch", "openai", job.model.base_url).batch.limits
    assert job.batch.deadline_s == 26.5 * 3600
    assert job.batch.largest_file(limits) == (10, 190_000_000)
    assert msgspec.structs.replace(job.batch, megabytes=1.5).largest_file(limits) == (10, 1_500_000)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('[engine]\nkind = "rays"', ["engine.kind: 'rays' is not one of 'local', 'ray' (did you mean 'ray'?)."]),
        ('[batch]\nafter_deadline = "never"', ["batch.after_deadline: 'never' is not one of 'live', 'wait'."]),
        (
            '[[model.endpoints]]\nbase_url = "http://x"\nlane = "btch"',
            ["[0].lane: 'btch' is not one of 'live', 'flex', 'batch-chat'"],
        ),
    ],
)
def test_a_wrong_word_is_told_with_those_that_are_known(table, words):
    """Also in lists of tables and behind an optional key."""
    text = 'name = "x"\n[input]\npath = "a.csv"\n[prompt]\nuser = "u"\n[model]\nprovider = "openai"\nname = "m"\n'
    with pytest.raises(JobError) as caught:
        Job.from_toml(f'{text}{table}\n[output]\npath = "out"\n')
    assert all(word in str(caught.value) for word in words)
