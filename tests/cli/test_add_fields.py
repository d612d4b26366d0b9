"""A schema with one field more: only that is asked for, and it stands beside the others in the end."""

import json

import pyarrow.parquet as pq
import pytest

from batchgen.results.committed import read_results
from tests.inputs import write_csv

RESPONSE = '[response]\nschema = "{schema}"\n'


def schema_file(path, **fields):
    """Write a schema of these fields."""
    document = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def answered(command, simulator, job, tmp_path):
    """A complete run that asked for two fields; return a job file whose schema has three, and the simulator."""
    server = simulator()
    first = schema_file(tmp_path / "first.json", name={"type": "string"}, urgent={"type": "boolean"})
    table = write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(8)])
    path = job(table, server.url, more=RESPONSE.format(schema=first), name="first.toml")
    path.write_text(path.read_text().replace("[input]", '[input]\nid = "id"'))
    code, summary = command.summary(path)
    assert (code, summary["succeeded"]) == (0, 8)
    more = {"name": {"type": "string"}, "urgent": {"type": "boolean"}, "words": {"type": "integer"}}
    second = schema_file(tmp_path / "second.json", **more)
    text = path.read_text().replace(str(first), str(second))
    (tmp_path / "second.toml").write_text(text)
    return tmp_path / "second.toml", server


def test_only_the_new_field_is_asked(command, answered, tmp_path):
    """The request names it alone; the file has all fields of each row, and the earlier answers as they were."""
    path, server = answered
    told = command("check", path, "--add-to", "out", "--output", "more")
    assert told.returncode == 0, told.stderr
    assert "words" in told.stdout
    assert "urgent" not in told.stdout
    before = read_results(tmp_path / "out")
    write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(7)])  # the last row has gone since
    told = command("run", path, "--add-to", "out", "--output", "more", "--no-progress")
    assert told.returncode == 0, told.stderr
    assert server.stats()["served"] == 8 + 7
    table = pq.read_table(tmp_path / "more" / "joined.parquet")
    assert table.schema.names == before.schema.names
    found = {row["row_id"]: row["parsed"] for row in table.to_pylist()}
    added = {row["row_id"]: row["parsed"] for row in read_results(tmp_path / "more").to_pylist()}
    assert found == {
        row["row_id"]: {**row["parsed"], **added[row["row_id"]]} for row in before.to_pylist() if row["row_id"] in added
    }
    assert len(found) == 7
    assert {*found["r0"]} == {"name", "urgent", "words"}
    told = command("run", path, "--add-to", "out", "--output", "more", "--no-progress")
    assert (told.returncode, server.stats()["served"]) == (0, 8 + 7)
    assert "joined.parquet, 7 rows" in told.stderr


def test_what_cannot_be_added_is_refused(command, answered, tmp_path):
    """Nothing to add, nothing to add to, or no place for it: exit 2 with the reason, and nothing is sent."""
    path, server = answered
    first = tmp_path / "first.toml"
    for arguments, words in (
        ([path, "--add-to", "out"], "output directory of its own"),
        ([first, "--add-to", "out", "--output", "more"], "every field"),
        ([path, "--add-to", "missing", "--output", "more"], "missing"),
    ):
        told = command("run", *arguments, "--no-progress")
        assert (told.returncode, words in told.stderr) == (2, True), told.stderr
    assert server.stats()["served"] == 8
