"""What is said where the packages of an extra are missing: the same for a checkout and an installed wheel."""

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from batchgen.extras import EXTRAS
from tests.evaluation.publishing import publish

BLOCKED = """
import importlib.util, runpy, sys
find = importlib.util.find_spec
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {modules!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
importlib.util.find_spec = lambda name, package=None: None if name in {modules!r} else find(name, package)
sys.argv[1:] = {arguments!r}
runpy.run_module("batchgen", run_name="__main__")
"""


def run_without(modules, *arguments, cwd):
    """Run the command as on a machine that lacks some packages; return its exit code and what it says on stderr."""
    code = BLOCKED.format(modules={*modules}, arguments=[str(one) for one in arguments])
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_extras_are_those_of_the_package():
    """pip is asked for the versions that pyproject.toml names."""
    with open(Path(__file__).parents[1] / "pyproject.toml", "rb") as file:
        declared = tomllib.load(file)["project"]["optional-dependencies"]
    assert {extra: sorted(packages.values()) for extra, packages in EXTRAS.items()} == {
        extra: sorted(packages) for extra, packages in declared.items() if extra not in ("test", "servers", "dev")
    }


@pytest.fixture
def folder(tmp_path):
    """A table, a workbook by its name, a mailbox, a job over the table, and its results."""
    (tmp_path / "in.csv").write_text("id,text,label\n1,a,a\n", encoding="utf-8")
    (tmp_path / "in.xlsx").write_bytes(b"PK\x03\x04 no workbook")
    (tmp_path / "in.mbox").write_text("From a@b.c Mon Jan  1 00:00:00 2026\nSubject: x\n\ntext\n", encoding="utf-8")
    (tmp_path / "job.toml").write_text(
        'name = "x"\n[input]\npath = "in.csv"\nid = "id"\n[prompt]\nuser = "{{ text }}"\n'
        '[model]\nprovider = "dashscope"\nname = "qwen-plus"\napi_key_env = ""\n[output]\npath = "new"\n',
        encoding="utf-8",
    )
    publish(tmp_path / "out", {"label": ["a"]}, ["a"])
    return tmp_path


@pytest.mark.parametrize(
    ("extra", "modules", "arguments"),
    [
        ("view", ["duckdb", "uvicorn"], ["view", "out"]),
        ("view", ["starlette"], ["view", "out"]),
        ("evaluate", ["numpy"], ["evaluate", "out", "--gold", "label"]),
        ("mail", ["selectolax"], ["mail", "in.mbox", "out.parquet"]),
        ("mail", ["selectolax", "charset_normalizer"], ["mail", "in.mbox", "out.parquet"]),
        ("xlsx", ["xlsxwriter"], ["export", "out", "out.xlsx"]),
        ("xlsx", ["python_calamine"], ["check", "job.toml", "--input", "in.xlsx"]),
    ],
)
def test_what_is_missing_is_named_with_the_command_that_brings_it(folder, extra, modules, arguments):
    """The command names the packages themselves and the pip of this interpreter, and nothing that is there already."""
    code, _, said = run_without(modules, *arguments, cwd=folder)
    assert (code, said.count("\n")) == (2, 1), said
    told, _, command = said.strip().rpartition(f" (extra {extra}): ")
    assert told.startswith("batchgen: ")
    words = shlex.split(command)
    assert words[-len(modules) :] == [EXTRAS[extra][name] for name in EXTRAS[extra] if name in modules]
    assert words[: -len(modules)] in (["pip", "install"], [sys.executable, "-m", "pip", "install"])
    assert not (folder / "out.parquet").exists()


@pytest.mark.parametrize("module", ["tiktoken", "dashscope"])
def test_an_estimate_without_the_vocabulary_says_how_to_count_exactly(folder, module):
    """It counts by a rule."""
    code, said, _ = run_without([module], "estimate", "job.toml", cwd=folder)
    assert code == 0, said
    assert f" (extra estimate): pip install '{EXTRAS['estimate'][module]}'" in said.replace(
        f"{sys.executable} -m pip", "pip"
    )
