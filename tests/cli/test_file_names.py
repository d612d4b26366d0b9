"""File names that are not UTF-8, wherever a path comes in or goes out."""

import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batchgen

TABLE = pa.table({"id": ["a", "b"], "text": ["one", "two"], "gold": ["x", "y"]})
JSONL = b'{"id": "a", "text": "one", "gold": "x"}\n{"id": "b", "text": "two", "gold": "y"}\n'
INPUTS = {
    b"caf\xe9.csv": b"id,text,gold\na,one,x\nb,two,y\n",
    b"caf\xe9.csv.gz": gzip.compress(b"id,text,gold\na,one,x\nb,two,y\n"),
    b"caf\xe9.jsonl": JSONL,
    b"caf\xe9.parquet": None,
    b"dossi\xe9/part-0.jsonl": JSONL,
}


def name(raw):
    """A file name as Python has it."""
    return os.fsdecode(raw)


@pytest.mark.parametrize("written", INPUTS, ids=repr)
def test_a_run_reads_and_writes_under_any_name(command, simulator, job, tmp_path, written):
    """Input, job file, output directory, estimate and page: each command ends well and names the file readably."""
    folder = tmp_path / name(b"d\xe9r")
    path = folder / name(written)
    path.parent.mkdir(parents=True)
    if INPUTS[written] is None:
        with path.open("wb") as file:
            pq.write_table(TABLE, file)
    else:
        path.write_bytes(INPUTS[written])
    jobs = job("unused.csv", simulator().url, name=name(b"j\xf6b.toml"), more='[evaluate]\ngold = "gold"\n')
    given = path.parent if b"/" in written else path
    output = folder / name(b"\xfcber")
    options = (jobs, "--input", given, "--output", output, "--set", "input.id=id")
    every = (
        ("check", *options),
        ("check", *options, "--json"),
        ("estimate", *options),
        ("run", *options),
        ("status", output),
        ("status", output, "--json"),
        ("report", output, "--html", folder / name(b"p\xe9ge.html")),
        ("report", output, "--json"),
        ("evaluate", output),
        ("evaluate", output, "--json"),
        ("diff", output, output),
        ("diff", output, output, "--json"),
    )
    short = (("estimate", *options, "--json"), ("run", *options, "--json", "--no-progress"))
    for arguments in short if written != b"caf\xe9.csv" else short + every:
        done = command(*arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (arguments[0], done.stdout, done.stderr)
        if "--json" in arguments and arguments[0] in ("check", "estimate"):
            assert r"d\xe9r/" in json.loads(done.stdout)["input"]
    assert written != b"caf\xe9.csv" or (folder / name(b"p\xe9ge.html")).stat().st_size
    assert batchgen.read_results(output).num_rows == 2


def test_what_is_wrong_with_such_a_file_is_a_sentence(command, simulator, job, tmp_path):
    """A name that does not exist, an estimate's table, an output directory of somebody else."""
    (tmp_path / "in.jsonl").write_bytes(JSONL)
    path = job("in.jsonl", simulator().url)
    gone = name(b"g\xf6ne")
    for arguments in (
        ("run", path, "--input", gone),
        ("check", path, "--input", gone, "--json"),
        ("run", gone),
        ("status", gone),
        ("report", gone),
        ("evaluate", gone),
        ("prices", "--prices", gone),
        ("mail", gone, "out.parquet"),
    ):
        done = command(*arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert "Traceback" not in done.stderr
    (tmp_path / gone).mkdir()
    (tmp_path / gone / "file").write_text("x")
    done = command("check", path, "--output", gone, "--json")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    done = command("estimate", path, "--output", name(b"\xe9st"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / name(b"\xe9st") / "estimate.parquet").stat().st_size
