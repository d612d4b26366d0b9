"""What the package does without being asked: no connection at import, by --help or check, no child process, no file."""

import os
import subprocess
import sys

from tests.cli.conftest import KEY
from tests.inputs import write_csv
from tests.survival.harness import ROOT

WATCHED = """
import os, sys
seen = []
ASIDE = ("/dev/null",)
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind", "socket.gethostbyname"):
        seen.append((event, arguments[1:]))
    elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        seen.append((event, arguments[:1]))
    elif event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        if arguments[0] not in ASIDE:
            seen.append((event, arguments[0]))
sys.addaudithook(hook)
sys.dont_write_bytecode = True
"""

IMPORT_ALL = (
    WATCHED
    + """
import importlib, pkgutil, batchgen
names = [module.name for module in pkgutil.walk_packages(batchgen.__path__, "batchgen.")]
names.remove("batchgen.__main__")
for name in names:
    importlib.import_module(name)
assert len(names) > 40, names
assert not seen, seen
"""
)

RUN_COMMAND = (
    WATCHED
    + """
from batchgen.cli import main as cli
code = cli._code(sys.argv[1:])
assert code == 0, code
assert not seen, seen
"""
)


def python(script, *arguments, cwd):
    """Run a script with nothing but the checkout and a key."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DASHSCOPE_API_KEY": KEY, "HOME": str(cwd)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_importing_every_module_touches_nothing(tmp_path):
    """No socket, no process, no file written."""
    done = python(IMPORT_ALL, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())


def test_help_and_check_touch_nothing(job, tmp_path):
    """`--help`, `--version` and `check` of a job at a real host's address: no lookup, no connection, no file."""
    assert python(RUN_COMMAND, "--help", cwd=tmp_path).returncode == 0
    path = job(write_csv(tmp_path / "in.csv", ["a", "b"]), "https://dashscope-intl.aliyuncs.com")
    before = sorted(tmp_path.iterdir())
    done = python(RUN_COMMAND, "check", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "POST https://dashscope-intl" in done.stdout
    assert sorted(tmp_path.iterdir()) == before


def test_a_run_connects_to_its_provider_only(job, simulator, tmp_path):
    """Nothing but the provider's address is connected to or looked up: no telemetry, no update check."""
    server = simulator()
    path = job(write_csv(tmp_path / "in.csv", ["a", "b"]), server.url)
    script = RUN_COMMAND.replace(
        "assert not seen, seen", "print([item for item in seen if item[0].startswith('socket')])"
    )
    done = python(script, "run", path, "--no-progress", "--set", "model.transport=httpx", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    port = int(server.url.rpartition(":")[2])
    for event, arguments in eval(done.stdout.splitlines()[-1]):
        assert "127.0.0.1" in repr(arguments), (event, arguments)
        assert str(port) in repr(arguments) or event == "socket.bind", (event, arguments)
