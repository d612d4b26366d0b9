"""What the command imports: what takes long is left out until it is needed, or altogether."""

TIMES = {"PYTHONPROFILEIMPORTTIME": "1"}
"""Has Python name every module on stderr as it is imported."""


def test_the_help_is_there_without_arrow_or_the_simulator(command):
    """`batchgen --help` imports neither pyarrow nor msgspec nor a line of the simulator, nor what only one of its
    commands or the report of a bug needs."""
    done = command("--help", env=TIMES)
    assert "simulate" in done.stdout
    rare = ("importlib.metadata._adapters", "email.message", "webbrowser", "difflib", "traceback", "batchgen.text.")
    assert not [name for name in ("pyarrow", "msgspec", "batchgen.simulator", *rare) if name in done.stderr]


def test_a_run_does_without_pandas(command, simulator, job, tmp_path):
    """pyarrow would import pandas, which tests have installed; the command's process refuses it."""
    (tmp_path / "in.csv").write_text("text\nWhat is salt?\n")
    done = command("run", job(tmp_path / "in.csv", simulator().url), "--no-progress", env=TIMES)
    assert done.returncode == 0
    assert "pyarrow" in done.stderr
    assert "pandas.core" not in done.stderr
