"""What the command imports: what takes long is left out until it is needed, or altogether. And Ctrl-C until then."""

import os
import signal
import subprocess
import sys

import pytest

from batchgen.cli.main import main
from batchgen.version import __version__

TIMES = {"PYTHONPROFILEIMPORTTIME": "1"}
"""Has Python name every module on stderr as it is imported."""


def test_the_help_is_there_without_arrow_or_the_simulator(command):
    """`batchgen --help` imports neither pyarrow nor msgspec nor a line of the simulator, nor what only one of its
    commands or the report of a bug needs."""
    done = command("--help", env=TIMES)
    assert "simulate" in done.stdout
    rare = ("importlib.metadata._adapters", "email.message", "webbrowser", "difflib", "traceback", "batchgen.text.")
    rare += ("importlib.resources", "tempfile", "json.decoder")
    assert not [name for name in ("pyarrow", "msgspec", "batchgen.simulator", *rare) if name in done.stderr]


def test_the_package_imports_one_module_of_its_own():
    """Which is that of the errors; even the version is read when somebody asks for it."""
    code = "import sys, batchgen; print(*sorted(name for name in sys.modules if name.startswith('batchgen.')))"
    asked = f"{code}; print(batchgen.__version__)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["batchgen.errors", __version__]


def test_a_run_does_without_pandas(command, simulator, job, tmp_path):
    """pyarrow would import pandas, which tests have installed; the command's process refuses it."""
    (tmp_path / "in.csv").write_text("text\nWhat is salt?\n")
    done = command("run", job(tmp_path / "in.csv", simulator().url), "--no-progress", env=TIMES)
    assert done.returncode == 0
    assert "pyarrow" in done.stderr
    assert "pandas.core" not in done.stderr


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("entry", ["-m batchgen", "-c import batchgen.__main__ as entry; entry.main()"])
def test_an_interrupt_while_modules_are_imported_is_one_line(tmp_path, entry, number):
    """By the module and by the function that the installed command calls: the signal comes from a module that it
    imports early."""
    (tmp_path / "click.py").write_text(f"import os, signal\nos.kill(os.getpid(), signal.{number})\nimport missing\n")
    assert _interrupted(tmp_path, entry.split(" ", 1)) == "Interrupted; nothing was sent.\n"


def test_an_interrupt_that_python_would_drop_ends_the_command(tmp_path):
    """One that comes in a callback, as imports leave them behind, would be shown with a traceback, and forgotten."""
    late = "import os, signal\nclass Late:\n    def __del__(self):\n        raise KeyboardInterrupt\nLate()\n"
    (tmp_path / "click.py").write_text(f"{late}import missing\n")
    assert _interrupted(tmp_path, ["-m", "batchgen"]) == "Interrupted.\n"


def test_an_interrupt_in_the_middle_of_a_command_is_one_line(monkeypatch, capsys):
    """Ctrl-C, and the exit code of interrupted programs."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("batchgen.cli.status_command.show_status", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["status", "nowhere"])
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_an_ignored_interrupt_stays_ignored(tmp_path):
    """As the shell begins commands in the background of a script."""
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise SystemExit(7)\n")
    ignore = "import signal, runpy; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    code = [sys.executable, "-c", f"{ignore}runpy.run_module('batchgen', run_name='__main__')"]
    assert subprocess.run(code, env=_with(tmp_path), timeout=60, check=False).returncode == 7


def _interrupted(modules, arguments):
    """Return what the command says on stderr that finds `modules` first; it has ended as interrupted."""
    command = [sys.executable, *arguments, "status", "nowhere"]
    done = subprocess.run(
        command,
        env=_with(modules),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=_hear_interrupts,
    )
    assert done.returncode == 130
    assert done.stdout == ""
    return done.stderr


def _hear_interrupts():
    """Undo what a shell does to commands that it begins in the background, such as this test."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _with(modules):
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(modules), *filter(None, sys.path)])}
