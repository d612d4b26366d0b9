"""The sample data holds what the tutorials and the evaluation rely on, and every job in jobs/ fits its input."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import jinja2
import jinja2.meta
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT / "sample_data"
JOBS = sorted((ROOT / "jobs").glob("*.toml"))
CORRIDOR = [
    "name",
    "input",
    "prompt",
    "attach",
    "model",
    "limits",
    "retry",
    "pricing",
    "response",
    "evaluate",
    "output",
]
RESULT_COLUMNS = {
    "row_id", "status", "completion", "reasoning", "tool_calls", "parsed", "finish_reason", "input_tokens",
    "output_tokens", "total_tokens", "cached_tokens", "reasoning_tokens", "cost", "model", "request_id", "attempts",
    "latency_ms", "http_status", "error_kind", "error_code", "error_message", "finished_at",
}  # fmt: skip
LABELS = {"billing", "bug", "feature_request", "how_to", "praise", "other"}
EXTRACTED = ["customer", "software_version", "error_code", "problem", "operating_system", "details"]


def read_emails():
    with (DATA / "emails.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def read_conversations():
    return [json.loads(line) for line in (DATA / "questions.jsonl").read_text("utf-8").splitlines()]


def read_table(path):
    match path.suffix:
        case ".csv":
            names = path.read_text("utf-8").partition("\n")[0].split(",")
            return pyarrow.csv.read_csv(
                path,
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            )
        case ".jsonl":
            return pyarrow.json.read_json(path)
        case _:
            return pq.read_table(path)


def read_job(path):
    return tomllib.loads(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def emails():
    return read_emails()


@pytest.fixture(scope="module")
def texts():
    return read_table(DATA / "texts.parquet")


# -- emails -------------------------------------------------------------------------------------------------------


def test_emails_have_their_columns_and_unique_ids(emails):
    """At least 64 emails, numbered without a gap, with the text columns first and the gold columns last."""
    assert list(emails[0]) == [
        "email_id", "received_at", "from", "subject", "body", "language",
        "gold_customer", "gold_software_version", "gold_error_code", "gold_operating_system",
    ]  # fmt: skip
    assert len(emails) >= 64
    assert [email["email_id"] for email in emails] == [f"mail-{n:04}" for n in range(1, len(emails) + 1)]


def test_emails_are_utf_8_without_a_byte_order_mark():
    """The file decodes strictly and its first bytes are the header's."""
    raw = (DATA / "emails.csv").read_bytes()
    assert raw.startswith(b"email_id,")
    raw.decode("utf-8", errors="strict")
    assert len(raw) < 200_000


def test_pyarrow_and_the_csv_module_read_the_same_emails(emails):
    """Quoting, quoted newlines, `NA` and leading zeros come out alike from two independent parsers."""
    assert read_table(DATA / "emails.csv").to_pylist() == emails


def test_most_emails_are_english_and_many_languages_occur(emails):
    """More than half are English; the scripts that break careless code are all there."""
    languages = Counter(email["language"] for email in emails)
    assert languages["en"] > len(emails) / 2
    assert {"de", "fr", "es", "pt", "it", "nl", "pl", "zh", "ja", "ko", "ar", "he", "ru", "tr"} <= set(languages)


def test_bodies_hold_what_makes_emails_difficult(emails):
    """Each trap that the tutorials promise is in at least one body."""
    bodies = [email["body"] for email in emails]
    assert sum("\n" in body for body in bodies) > 60
    assert sum("\r\n" in body for body in bodies) >= 3
    assert sum('"' in body and "," in body for body in bodies) >= 10
    assert sum(body.count("\n> ") >= 3 for body in bodies) >= 3
    assert sum("\n>> " in body for body in bodies) >= 3
    assert sum(body == "" for body in bodies) >= 1
    assert sum(body != "" and not body.strip() for body in bodies) >= 2
    assert any(re.search("[\U0001f300-\U0001faff]", body) for body in bodies)
    assert max(len(body) for body in bodies) > 10_000
    assert any("\t" in body for body in bodies)


def test_one_email_looks_like_a_template_and_like_chat_markup(emails):
    """A body with template syntax and control-token look-alikes survives being rendered as data."""
    (body,) = [email["body"] for email in emails if "{{ body }}" in email["body"]]
    assert "{% if" in body
    assert "<|im_start|>system" in body
    rendered = jinja2.Environment(autoescape=False).from_string("{{ body }}").render(body=body)
    assert rendered == body


def test_values_that_parsers_like_to_convert_stay_text(emails):
    """`007` is an error code, `NA` a subject and a body, and `Null` somebody's name."""
    assert any(email["gold_error_code"] == "007" for email in emails)
    assert any(email["subject"] == email["body"] == "NA" for email in emails)
    assert any(email["gold_customer"].endswith(" Null") for email in emails)


@pytest.mark.parametrize("field", ["customer", "software_version", "error_code", "operating_system"])
def test_gold_values_stand_in_the_email_and_are_sometimes_absent(emails, field):
    """Every word of a gold value can be read in From, subject or body; some emails have the field and some do not."""
    values = [email[f"gold_{field}"] for email in emails]
    for email, value in zip(emails, values, strict=True):
        seen = "\n".join((email["from"], email["subject"], email["body"]))
        assert all(word in seen for word in value.split()), (email["email_id"], value)
        assert value == value.strip()
    assert sum(map(bool, values)) >= 30
    assert "" in values


def test_gold_values_are_varied(emails):
    """Many versions, error codes and systems, so that an extraction cannot succeed by repeating one."""
    assert len({email["gold_software_version"] for email in emails}) >= 30
    assert len({email["gold_error_code"] for email in emails}) >= 25
    assert len({email["gold_operating_system"] for email in emails}) >= 20


def test_addresses_are_invented(emails):
    """Every mail address and link uses a name that is reserved for examples (RFC 2606)."""
    text = "\n".join(value for email in emails for value in email.values())
    text += (DATA / "questions.jsonl").read_text("utf-8") + "\n".join(
        read_table(DATA / "texts.parquet")["text"].to_pylist()
    )
    hosts = re.findall(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)+)|https?://([\w.-]+)", text)
    assert len(hosts) > 60
    for host in (mail or link for mail, link in hosts):
        assert re.search(r"(\.example|(^|\.)example\.(com|net|org))$", host), host


# -- texts --------------------------------------------------------------------------------------------------------


def test_texts_have_their_schema_and_size(texts):
    """300 rows, integer ids from 1, no nulls, compressed with zstd to less than 100 KB."""
    assert texts.schema.remove_metadata() == pa.schema(
        [("text_id", pa.int64()), ("text", pa.string()), ("label", pa.string()), ("source", pa.string())]
    )
    assert texts["text_id"].to_pylist() == list(range(1, 301))
    assert all(column.null_count == 0 for column in texts.columns)
    path = DATA / "texts.parquet"
    assert path.stat().st_size < 100_000
    assert pq.ParquetFile(path).metadata.row_group(0).column(1).compression == "ZSTD"


def test_labels_are_roughly_balanced_and_not_equal(texts):
    """Six labels, each between a tenth and a quarter of the rows."""
    labels = Counter(texts["label"].to_pylist())
    assert set(labels) == LABELS
    assert all(30 <= count <= 75 for count in labels.values())
    assert len(set(labels.values())) > 1


def test_texts_are_varied(texts):
    """No text occurs twice, few begin alike, and a good part is not written in Latin letters."""
    written = texts["text"].to_pylist()
    assert len(set(written)) == len(written)
    assert all(text.strip() for text in written)
    openings = Counter(" ".join(text.lower().split()[:3]) for text in written)
    assert openings.most_common(1)[0][1] <= 4
    assert sum(bool(re.search("[\u0370-\u1fff\u3040-\ud7ff]", text)) for text in written) >= 25
    assert len(set(texts["source"].to_pylist())) >= 3


# -- conversations ------------------------------------------------------------------------------------------------


def test_conversations_have_unique_ids_and_limits():
    """About twenty rows, each with its own bound for the answer."""
    rows = read_conversations()
    assert len(rows) >= 20
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(type(row["limit"]) is int and 1 <= row["limit"] <= 2048 for row in rows)
    assert len({row["limit"] for row in rows}) > 5


@pytest.mark.parametrize("row", read_conversations(), ids=lambda row: row["id"])
def test_conversations_keep_the_order_that_the_providers_ask_for(row):
    """System first only, user and assistant in turn, tool results after their calls, user or tool last."""
    turns = [message["role"] for message in row["messages"]]
    if turns[0] == "system":
        turns = turns[1:]
    assert turns[0] == "user"
    assert turns[-1] in {"user", "tool"}
    follows = {"user": {"assistant"}, "assistant": {"user", "tool"}, "tool": {"tool", "assistant"}}
    assert all(after in follows[before] for before, after in pairwise(turns))


def test_every_tool_call_is_answered_once_and_names_a_tool_of_the_job():
    """Call ids and results pair up, arguments are JSON objects, and the job declares the tools."""
    job = read_job(ROOT / "jobs" / "multi_turn.toml")
    tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in job["model"]["parameters"]["tools"]}
    called = 0
    for row in read_conversations():
        calls = [call for message in row["messages"] for call in message.get("tool_calls", [])]
        results = [message["tool_call_id"] for message in row["messages"] if message["role"] == "tool"]
        assert [call["id"] for call in calls] == results
        for call in calls:
            arguments = json.loads(call["function"]["arguments"])
            assert set(tools[call["function"]["name"]]["required"]) == set(arguments)
        called += len(calls)
    assert called >= 4


# -- jobs ---------------------------------------------------------------------------------------------------------


def test_the_four_jobs_are_there():
    """Each use named in the README has its job."""
    assert {path.stem for path in JOBS} >= {"email_extraction", "dataset_labelling", "cost_estimation", "multi_turn"}


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_jobs_are_complete_and_in_corridor_order(path):
    """Known tables only, in the order in which a row passes them, with nothing essential left to a default."""
    job = read_job(path)
    assert list(job) == [table for table in CORRIDOR if table in job]
    assert {"name", "input", "prompt", "model", "limits", "retry", "output"} <= set(job)
    assert job["name"] == path.stem.replace("_", "-")
    assert job["output"]["path"] == f"../out/{job['name']}"
    assert {"provider", "name", "base_url", "api_key_env", "parameters"} <= set(job["model"])


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.stem)
def test_jobs_use_only_columns_of_their_input(path):
    """Ids, templates, column parameters and carried columns exist; ids are unique; no name clashes with a result's."""
    job = read_job(path)
    table = read_table(path.parent / job["input"]["path"])
    columns = set(table.column_names)

    ids = table[job["input"]["id"]].to_pylist()
    assert len(set(ids)) == len(ids)

    prompt = job["prompt"]
    environment = jinja2.Environment(autoescape=False)
    templates = [prompt[part] for part in ("system", "user") if part in prompt]
    wanted = set[str]().union(*(jinja2.meta.find_undeclared_variables(environment.parse(text)) for text in templates))
    wanted |= {prompt["messages"]} if "messages" in prompt else set()
    assert wanted
    wanted |= {
        value["column"]
        for value in job["model"]["parameters"].values()
        if isinstance(value, dict) and set(value) == {"column"}
    }
    assert wanted <= columns

    assert set(job["output"]["columns"]) <= columns
    assert not set(job["output"]["columns"]) & RESULT_COLUMNS


def test_email_extraction_asks_for_the_six_fields():
    """The schema has them, and those with a gold column are named in the job and carried into the results."""
    job = read_job(ROOT / "jobs" / "email_extraction.toml")
    schema = json.loads((ROOT / "jobs" / job["response"]["schema"]).read_text(encoding="utf-8"))
    assert set(EXTRACTED) <= set(schema["properties"])
    assert job["evaluate"]["gold"].items() <= {(field, f"gold_{field}") for field in EXTRACTED}
    assert set(job["evaluate"]["gold"].values()) <= set(job["output"]["columns"])


def test_dataset_labelling_defines_exactly_the_gold_labels():
    """The dashed list under `Labels:` has one definition for each gold label."""
    system = read_job(ROOT / "jobs" / "dataset_labelling.toml")["prompt"]["system"]
    listed = re.findall(r"^- (\w+): \S", system.partition("Labels:\n")[2], flags=re.MULTILINE)
    assert set(listed) == LABELS
    assert len(listed) == len(LABELS)
