"""`batchgen init`, and what is said of commands and options that do not exist."""

import subprocess
import sys

import pytest


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "batchgen", *map(str, arguments)], cwd=cwd, check=False, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "options", [(), ("--labels", "yes,no"), ("--fields", "customer,due:date"), ("--base-url", "http://localhost:9/v1")]
)
def test_a_first_job_is_ready(options, tmp_path):
    """What `init` writes passes `check` and runs against the simulator, from the folder that it was written to."""
    made = command("init", "first", *options, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    checked = command("check", "job.toml", "--simulate", cwd=tmp_path / "first")
    assert checked.returncode == 0, checked.stderr
    done = command("run", "job.toml", "--simulate", "-o", "out/trial", cwd=tmp_path / "first")
    assert "3 rows" in done.stdout
    assert "3 succeeded" in done.stdout


def test_a_table_given_as_the_folder_is_named_with_the_fix(tmp_path):
    """The mistake that everybody makes once."""
    (tmp_path / "rows.csv").write_text("a\nb\n")
    refused = command("init", "rows.csv", cwd=tmp_path)
    assert (refused.returncode, "batchgen init --input rows.csv" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("validate", "job.toml"), "batchgen check job.toml"),
        (("job.toml",), "batchgen run job.toml"),
        (("run", "job.toml", "--concurrency", "8"), "--set limits.concurrency=VALUE"),
        (("run", "job.toml", "--max-tokens", "8"), "--set model.parameters.max_tokens=VALUE"),
        (("check", "job.toml", "--force"), "Did you mean --fresh?"),
        (("run", "job.toml", "--outptu", "x"), "'--output'"),
        (("run", "jbo.toml"), "Did you mean job.toml?"),
        (("check", "job.toml", "--input", "row.csv"), "Did you mean rows.csv?"),
    ],
)
def test_what_was_meant_is_named(arguments, meant, tmp_path):
    """Other programs' words, mistyped options and files: exit 2 and the way on."""
    command("init", cwd=tmp_path)
    refused = command(*arguments, cwd=tmp_path)
    assert (refused.returncode, meant in refused.stderr) == (2, True), refused.stderr


def test_a_dry_run_sends_nothing(tmp_path):
    """`run -n` is `check`: the first request is shown, and no directory appears."""
    command("init", cwd=tmp_path)
    shown = command("run", "job.toml", "-n", "--simulate", "-m", "qwen-max", cwd=tmp_path)
    assert shown.returncode == 0
    assert '"model": "qwen-max"' in shown.stdout
    assert not (tmp_path / "out").exists()
