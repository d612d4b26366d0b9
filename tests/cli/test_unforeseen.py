"""An error that nobody foresaw: exit 70, one line, and a file with versions and traceback, without any secret."""

import os
import re
import stat
import subprocess
import sys

import pytest

from tests.cli.conftest import KEY
from tests.inputs import write_csv

BREAKS = """
import sys
import {module}
from batchgen.cli import main as cli
def breaks(*arguments, **options):
    raise {error}
{module}.{name} = breaks
cli.main(sys.argv[1:])
"""
PLACES = [
    ("batchgen.api", "assemble", "run"),
    ("batchgen.source.Source", "batches", "run"),
    ("batchgen.engine.attempt.Attempts", "send", "run"),
    ("batchgen.engine.run", "_batches", "run"),
    ("batchgen.storage.journal.Journal", "append", "run"),
    ("batchgen.job.check", "check_job", "check"),
    ("batchgen.estimating.estimate", "estimate", "estimate"),
]


@pytest.fixture
def path(job, simulator, tmp_path):
    """A job with secrets in several places."""
    more = '[model.headers]\nX-Tenant = "tenant-hush-hush"\n'
    table = write_csv(tmp_path / "in.csv", [f"row {n}" for n in range(5)])
    return job(table, simulator().url, more=more)


def broken(tmp_path, module, name, error, *arguments):
    """Run the command with a function that raises."""
    root = module if module.rpartition(".")[2].islower() else module.rpartition(".")[0]
    script = BREAKS.format(module=module, name=name, error=error).replace(f"import {module}\n", f"import {root}\n")
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=tmp_path,
        env={**os.environ, "DASHSCOPE_API_KEY": KEY, "TMPDIR": str(tmp_path / "tmp"), "MY_TOKEN": "token-of-mine"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("module", "name", "command"), PLACES)
def test_one_line_and_a_file(path, tmp_path, module, name, command):
    """Wherever it comes from; in the output directory if a run is there, else in the temporary folder."""
    (tmp_path / "tmp").mkdir()
    text = f"bad {KEY} tenant-hush-hush token-of-mine https://me:pass@host/"
    done = broken(tmp_path, module, name, f"ZeroDivisionError({text!r})", command, path)
    assert done.returncode == 70, done.stderr
    assert done.stdout == ""
    [line] = [line for line in done.stderr.splitlines() if line.startswith("batchgen: ")]
    assert "Traceback" not in done.stderr
    assert "ZeroDivisionError" in line
    named = re.search(r"Details are in (\S+\.txt)", line)[1]
    begun = (tmp_path / "out" / "run.json").exists()
    assert os.path.dirname(named) == str(tmp_path / ("out" if begun else "tmp"))
    assert stat.S_IMODE(os.stat(named).st_mode) == 0o600
    with open(named, encoding="utf-8") as file:
        body = file.read()
    assert "Traceback" in body
    assert "breaks" in body
    for told in ("Python 3", "pyarrow ", "batchgen "):
        assert told in body
    for secret in (KEY, "hush-hush", "token-of-mine", "me:pass"):
        assert secret not in body + done.stderr
        for file in (tmp_path / "out").rglob("*.*"):
            assert secret.encode() not in file.read_bytes(), file


def test_the_run_goes_on_afterwards(path, tmp_path, command):
    """What the broken run left is taken up; it says itself that it was stopped, and by what."""
    (tmp_path / "tmp").mkdir()
    done = broken(tmp_path, "batchgen.engine.attempt.Attempts", "send", "KeyError('choices')", "run", path)
    assert done.returncode == 70
    told = command("status", "out")
    assert "stopped" in told.stdout
    assert "KeyError" in told.stdout
    assert command("run", path, "--no-progress").returncode == 0


def test_a_name_is_not_what_decides(tmp_path):
    """A directory that is none of ours gets no file."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "mine").mkdir()
    done = broken(tmp_path, "batchgen.report.read", "read_report", "RuntimeError", "report", "mine")
    assert done.returncode in (2, 70)
    assert list((tmp_path / "mine").iterdir()) == []
