"""`batchgen export` from outside: several runs into one file, named last."""

import csv

import openpyxl

from tests.inputs import write_csv


def test_runs_become_one_table(command, job, tmp_path):
    """Also by a glob; what is wrong is said, with the exit code of a wrong command."""
    path = job(write_csv(tmp_path / "in.csv", ["=1+1", "b"]), "http://127.0.0.1:9")
    for name in ("out-a", "out-b"):
        assert command.summary(path, "--simulate", "--output", name)[0] == 0
    done = command("export", "out-*", "all.csv", "--columns", "run, row_id, text")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert done.stderr == "4 rows, 3 columns in all.csv\n"
    with (tmp_path / "all.csv").open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [
            ["run", "row_id", "text"],
            ["out-a", "0", "'=1+1"],
            ["out-a", "1", "b"],
            ["out-b", "0", "'=1+1"],
            ["out-b", "1", "b"],
        ]
    assert command("export", "out-a", "a.xlsx").returncode == 0
    [sheet] = openpyxl.load_workbook(tmp_path / "a.xlsx")
    assert sheet["B2"].value == "=1+1"
    assert sheet["B2"].data_type != "f"
    for arguments, said in (
        (["out-a", "out-b"], "the name's ending says what is written"),
        (["nothing", "a.csv"], "no row is answered there yet"),
        (["out-a", "a.csv", "--columns", "texd"], 'did you mean "text"?'),
        (["out-a", "a.csv", "--columns", "te\nxt"], 'no column "te"'),
    ):
        done = command("export", *arguments)
        assert done.returncode == 2
        assert said in done.stderr
