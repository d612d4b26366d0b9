"""The job that `batchgen init` writes, for tables as they come."""

import json
import tomllib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.errors import InputError, UsageError
from batchgen.job.settings import load_job, parse_job
from batchgen.prompts.template import Template
from batchgen.source import Reading
from batchgen.starting.begin import begin
from batchgen.starting.first_job import AskedRows, Wish, job_text, look_at, parse_fields, reference, schema_text

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(NAMES)
def test_any_column_can_be_shown(column):
    """Whatever a column is called, the template that names it prints its value."""
    template = Template("prompt.user", reference(column))
    assert template.columns == {column}
    assert template.render({column: "the value"}) == "the value"


@given(columns=st.lists(NAMES, min_size=1, max_size=4, unique=True), label=NAMES, path=NAMES, model=NAMES)
def test_any_name_is_written_so_that_the_job_reads_it_back(columns, label, path, model):
    """Quotes, backslashes, control characters and emoji come back from the TOML as they went in."""
    rows = AskedRows(path, columns[0], tuple(columns), tuple(columns))
    wish = Wish(name=path, model=model, labels=(label, label + "2"))
    job = parse_job(tomllib.loads(job_text(rows, wish)), "job.toml")
    assert (job.input.path, job.input.id, job.model.name) == (path, columns[0], model)
    assert job.output.columns == columns
    assert job.response.labels == [label, label + "2"]
    assert Template("prompt.user", job.prompt.user).columns == {*columns}


@pytest.mark.parametrize(
    ("table", "identifier", "shown"),
    [
        ({"id": [1, 2], "text": ["a", "b"]}, "id", ("text",)),
        ({"id": [1, 1], "text": ["a", "b"]}, None, ("text",)),
        ({"Ticket ID": ["x", "y"], "Note": ["long words", "and here"], "lang": ["de", "en"]}, "Ticket ID", ("Note",)),
        ({"title": ["t", "u"], "abstract": ["many words " * 9] * 2, "n": [1, 2]}, None, ("abstract",)),
        ({"from": ["a"], "subject": ["s"], "body": ["b"], "id": ["<1@x>"]}, "id", ("from", "subject", "body")),
    ],
)  # fmt: skip
def test_id_and_text_are_chosen_by_looking(table, identifier, shown, tmp_path):
    """An id must differ from row to row; the text has a text's name or is the longest."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(table), path)
    rows = look_at(str(path), "rows.parquet")
    assert (rows.id, rows.shown) == (identifier, shown)


def test_a_table_without_texts_is_refused(tmp_path):
    """There is nothing to ask about."""
    pq.write_table(pa.table({"id": [1, 2], "n": [1.5, 2.5]}), tmp_path / "rows.parquet")
    with pytest.raises(InputError, match="no column of texts"):
        look_at(str(tmp_path / "rows.parquet"), "rows.parquet")
    (tmp_path / "talk.jsonl").write_text('{"messages": [{"role": "user", "content": "Hello"}]}\n')
    with pytest.raises(InputError, match="--example multi-turn"):
        look_at(str(tmp_path / "talk.jsonl"), "talk.jsonl")


def test_columns_that_have_the_name_of_a_result_are_not_carried(tmp_path):
    """A job that carries them would be refused."""
    (tmp_path / "rows.csv").write_text("id,status,cost,priority,text\n1,open,3,high,Where is my parcel?\n")
    assert look_at(str(tmp_path / "rows.csv"), "rows.csv").carried == ("priority",)


def test_what_is_known_of_a_delimited_file_is_said_by_the_job(tmp_path):
    """A file whose encoding is in doubt could not be begun with, as the remedy was a key of a job that is not there."""
    (tmp_path / "rows.csv").write_bytes("text^n\nMüller schreibt^1\n".encode("cp1252"))
    with pytest.raises(InputError, match="batchgen init these are the options --delimiter, --encoding"):
        begin(tmp_path / "new", str(tmp_path / "rows.csv"), Wish(name="x"))
    begin(tmp_path / "new", str(tmp_path / "rows.csv"), Wish(name="x"), Reading("^", "cp1252"))
    job = load_job(tmp_path / "new" / "job.toml")
    assert (job.input.delimiter, job.input.encoding, job.input.quotes) == ("^", "cp1252", None)
    assert job.output.columns == ["n"]


@pytest.mark.parametrize(
    ("name", "content", "said", "unsaid"),
    [
        ("book.ods", b"PK\x03\x04", "save the sheet as .xlsx", "mail"),
        ("page.csv", b"<html><body>no</body></html>", "a page of HTML", "mail"),
        ("a.msg", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "save the mail as .eml", "As a table"),
        ("rows", b"a,b\n1,2\n", "As a table: .*--delimiter", "save the"),
    ],
)
def test_an_input_that_is_neither_is_told_as_what_it_is_meant(tmp_path, name, content, said, unsaid):
    """A workbook is no archive to be unpacked, and a web page named .csv no mail."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        begin(tmp_path / "new", str(tmp_path / name), Wish(name="x"))
    assert unsaid not in str(caught.value).replace(str(tmp_path), "")


def test_fields_become_a_schema():
    """Each field has the type that was asked for, and may be null."""
    schema = json.loads(schema_text(parse_fields("customer, amount:number,due:date ,tags:list")))
    kinds = {name: field["type"] for name, field in schema["properties"].items()}
    assert kinds == {
        "customer": ["string", "null"], "amount": ["number", "null"], "due": ["string", "null"], "tags": "array",
    }  # fmt: skip
    assert schema["properties"]["due"]["format"] == "date"


@pytest.mark.parametrize("text", ["", "a:money", "a,a", ":date"])
def test_fields_that_make_no_schema_are_refused(text):
    """Unknown types, names twice, no name, no field."""
    with pytest.raises(UsageError):
        parse_fields(text)


def test_nothing_that_is_there_is_replaced(tmp_path):
    """Job, schema and rows of somebody stay, and nothing else is written beside them."""
    for name in ("job.toml", "answer.schema.json", "rows.csv"):
        folder = tmp_path / name.split(".")[0]
        folder.mkdir()
        (folder / name).write_text("mine")
        with pytest.raises(UsageError, match="is there already"):
            begin(folder, None, Wish(name="x"))
        assert [(path.name, path.read_text()) for path in folder.iterdir()] == [(name, "mine")]


def test_mails_become_a_table_beside_the_job(tmp_path):
    """A mailbox is read once; the job reads the table."""
    box = tmp_path / "support.mbox"
    box.write_text(
        "From a@b.example Mon Jan  5 10:00:00 2026\nFrom: Ann <a@b.example>\nSubject: One\n\n"
        "First text\n\nFrom c@b.example Mon Jan  5 11:00:00 2026\nFrom: c@b.example\nSubject: Two\n\nSecond text\n"
    )
    written, said = begin(tmp_path / "new", str(box), Wish(name="mails"))
    assert {path.name for path in written} == {"job.toml", "answer.schema.json", "mails.parquet"}
    assert said[0].startswith("2 mails")
    job = load_job(tmp_path / "new" / "job.toml")
    assert job.input.id == "id"
    assert {*Template("prompt.user", job.prompt.user).columns} == {"from", "date", "date_text", "subject", "body"}


@pytest.mark.parametrize("date", ["Date: Tue, 6 Jan 2026 08:30:00 +0000\n", "Date: one of these days\n", ""])
@pytest.mark.parametrize("subject", ["Subject: Late\n", ""])
def test_a_mail_is_asked_whatever_headers_it_has(tmp_path, date, subject):
    """A header that is missing leaves its line out, and never fails the row."""
    box = tmp_path / "inbox.mbox"
    box.write_text(f"From d@b.example Tue Jan  6 08:30:00 2026\nFrom: d@b.example\n{date}{subject}\nWhere is it?\n")
    begin(tmp_path / "new", str(box), Wish(name="mails"))
    job = load_job(tmp_path / "new" / "job.toml")
    row = pq.read_table(tmp_path / "new" / "mails.parquet").to_pylist()[0]
    text = Template("prompt.user", job.prompt.user).render(row)
    assert "From: d@b.example" in text
    assert text.count("Date") == bool(date)
    assert ("Subject: Late" in text) == bool(subject)
    assert text.endswith("Where is it?")
