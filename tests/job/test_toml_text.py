"""What people write into job files: read where it is plain, else refused with what to write instead."""

from __future__ import annotations

import pytest

from batchgen.errors import JobError
from batchgen.job.settings import load_job

JOB = """name = "colours"

[input]
path = "in.csv"

[prompt]
user = "{{ thing }}?"

[model]
provider = "openai"
name = "m"
stream = false

[model.parameters]
temperature = 0.5

[output]
path = "out"
"""


@pytest.fixture
def write(tmp_path):
    def written(content, name="job.toml"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_what_windows_programs_write_is_read(write, encoding, ends):
    """Line ends, a byte order mark, or UTF-16 with one."""
    job = load_job(write(JOB.replace("?", " – grün?").replace("\n", ends).encode(encoding)))
    assert job.prompt.user == "{{ thing }} – grün?"


MISTAKES = [
    ('"in.csv"', "“in.csv”", "straight quotes"),
    ('"in.csv"', "in.csv", "put text into quotes"),
    ('"in.csv"', '"in.csv', "the quote is not closed"),
    ('"in.csv"', '"C:\\data\\in.csv"', "with / in place of"),
    ('"in.csv"', '"C:\\Users\\in.csv"', "with / in place of"),
    ("stream = false", "stream = False", "true or false"),
    ("stream = false", "stream = no", "true or false"),
    ("0.5", "0,5", "decimal point"),
    ("0.5", "0.5 // cold", "begins with #"),
    ("0.5", "0.5;", "semicolon"),
    ('name = "m"', 'name: "m"', "key = value"),
    ('name = "m"', 'name = "m"\nname = "n"', "twice: keep one"),
    ("[output]", '[model]\nname = "n"\n[output]', "twice: put its keys"),
]


@pytest.mark.parametrize(("right", "wrong", "remedy"), MISTAKES)
def test_a_mistake_is_told_with_what_to_write(write, right, wrong, remedy):
    """In one sentence, without the line itself: there may be a key in it."""
    with pytest.raises(JobError, match="not valid TOML") as caught:
        load_job(write(JOB.replace(right, wrong, 1)))
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_in_a_broken_line_is_not_shown(write):
    with pytest.raises(JobError) as caught:
        load_job(write(JOB.replace('name = "m"', "api_key = “sk-canary-1234567890”")))
    assert "sk-canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "mails.mbox"])
def test_a_table_in_place_of_the_job(write, name):
    with pytest.raises(JobError, match=r"no job file\. `batchgen init NAME --input "):
        load_job(write(b"PAR1\xff" if name.endswith("t") else "id,text\n1,a\n", name))


@pytest.mark.parametrize(
    ("content", "words"), [('{"name": "x"}', "This is JSON"), ("name = 'Gr\xfcn'".encode("latin-1"), "UTF-8")]
)
def test_another_language_or_encoding(write, content, words):
    with pytest.raises(JobError, match=words):
        load_job(write(content))


@pytest.mark.parametrize(
    ("line", "words"),
    [('[output]\ncolumns = "text"', "or a list"), ('[limits]\nbudget = "5 EUR"\n[output]', "budget = 5.00")],
)
def test_a_value_of_another_kind(write, line, words):
    with pytest.raises(JobError) as caught:
        load_job(write(JOB.replace("[output]", line)))
    assert words in str(caught.value)
