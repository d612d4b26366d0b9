"""The environment of LiteLLM's proxy, which cannot share the tests' own (see `litellm.txt`)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("litellm.txt")
VARIABLE = "BATCHGEN_LITELLM"
"""Environment variable that names a `litellm` command to use instead of building an environment."""


def litellm_command(cache):
    """Return a `litellm` command: the one that `BATCHGEN_LITELLM` names, else one in a virtual environment in `cache`.

    The environment is built once, with pip from its configured index (minutes), and again when the requirements or
    the Python change. Raises `subprocess.CalledProcessError` when pip fails; its output is on stderr.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return named
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = cache / key
    with (cache / f"{key}.lock").open("w") as lock:  # workers of pytest-xdist share the cache
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = home / "built"
        if not built.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
            pip = [home / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            subprocess.run([*pip, "-r", REQUIREMENTS], check=True)
            built.touch()
    return str(home / "bin" / "litellm")
