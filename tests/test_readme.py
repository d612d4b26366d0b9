"""The README and the manual say what is so: their commands exist and run, tables are whole, links lead somewhere.

A block after `<!-- runs -->` is run as it stands, block after block of one page in one folder that holds the samples,
with the simulated provider in place of the real one. A block after `<!-- file: NAME -->` is written into that folder.
The other marks have a test each. Not run here are `<!-- run -->` and `<!-- test -->`, the two commands that set up an
environment and start these very tests: continuous integration runs the second word for word.
"""

import ast
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batchgen
from batchgen.cli.main import cli
from batchgen.cli.manual_command import PAGES, topics
from batchgen.extras import EXTRAS
from batchgen.job.settings import JOB_KEYS
from batchgen.starting.samples import SAMPLES, copy_sample
from batchgen.storage.result_schema import RESULT_COLUMNS

ROOT = Path(__file__).parents[1]
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted(PAGES.glob("*.md"))]}
README = TEXTS["README.md"]
BLOCK = re.compile(r"(?:<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = {name: BLOCK.findall(text) for name, text in TEXTS.items()}
SHELLS = {"sh", "bash", "console", "crontab"}
SHOWN = sorted(
    {
        match[1].split(" #")[0].strip()
        for blocks in BLOCKS.values()
        for _, language, body in blocks
        if language in SHELLS
        for line in body.replace("\\\n", " ").splitlines()
        if not line.startswith("#")
        for match in re.finditer(r"(?:^|bin/|&& |; |\$\()(batchgen (?!@)[^|&;>]+)", line.strip())
    }
)
INLINE = sorted(
    {span for text in TEXTS.values() for span in re.findall(r"`(batchgen [^`]+)`", text.replace("\n", " "))}
)
SIMULATED = """#!/bin/sh
case "$1" in run | check | estimate) set -- "$@" --simulate ;; esac
exec "{python}" -m batchgen "$@"
"""
"""Our command, with the simulator in the place of the provider."""
MAILBOX = "".join(
    f"From a@b.example Mon Jan  5 09:0{n}:00 2026\nFrom: A <a@b.example>\nDate: Mon, 5 Jan 2026 09:0{n}:00 +0000\n"
    f"Message-ID: <{n}@b.example>\nSubject: Invoice {n}\n\nPlease pay {n} euros.\n\n"
    for n in range(3)
)


def test_the_readme_shows_commands():
    """So that the next test is not empty."""
    assert len(SHOWN) > 20
    assert len(INLINE) > 20


@pytest.mark.parametrize("command", SHOWN)
def test_every_command_shown_parses(command):
    """Its name and options exist; nothing is run."""
    arguments = shlex.split(command)[1:]
    if arguments == ["--help"]:
        return
    subcommand = cli.get_command(click.Context(cli), arguments[0])
    assert subcommand is not None, arguments[0]
    subcommand.make_context(arguments[0], arguments[1:])


@pytest.mark.parametrize("command", INLINE)
def test_every_command_named_in_a_sentence_exists(command):
    """With its options; a topic of the manual too."""
    name, *arguments = re.findall(r"[^\s\[\]|]+", command)[1:]
    if name.isupper() or name.startswith("-"):
        return
    subcommand = cli.get_command(click.Context(cli), name)
    assert subcommand is not None, name
    known = {
        "--help",
        "-h",
        *(word for option in subcommand.get_params(click.Context(subcommand)) for word in option.opts),
    }
    assert {word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)} <= known
    if name == "manual":
        assert not {word for word in arguments if not word.isupper()}.difference(topics())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the samples, in which `batchgen` means ours with the simulated provider."""
    for sample in SAMPLES:
        for path in copy_sample(sample, tmp_path):
            if path.suffix == ".toml":  # 600 a minute would take eight seconds for each run
                path.write_text(path.read_text("utf-8").replace("requests_per_minute = 600", ""), encoding="utf-8")
    (tmp_path / "tickets.csv").write_text("text\nThe screen is black.\nI was charged twice.\n", encoding="utf-8")
    mailbox = tmp_path / "Mail" / "support.mbox"
    mailbox.parent.mkdir()
    mailbox.write_text(MAILBOX, encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    command = tmp_path / "bin" / "batchgen"
    command.parent.mkdir()
    command.write_text(SIMULATED.format(python=sys.executable))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-of-the-manual")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "page", [name for name, blocks in BLOCKS.items() if any(mark == "runs" for mark, *_ in blocks)]
)
def test_what_a_page_shows_runs(folder, page):
    """Every marked block, in the page's order."""
    if page == "README.md":
        _shell("batchgen run jobs/email_extraction.toml")
    for mark, language, body in BLOCKS[page]:
        if mark.startswith("file: "):
            path = folder / mark.removeprefix("file: ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body, encoding="utf-8")
        elif mark == "runs" and language == "sql":
            for statement in filter(str.strip, body.split(";")):
                duckdb.connect().execute(statement).fetchall()
        elif mark == "runs" and language == "python":
            _told(subprocess.run([sys.executable, "-c", body], capture_output=True, text=True, check=False), body)
        elif mark == "runs":
            _shell(body)


@pytest.fixture
def buckets(s3, folder):
    """The folder beside a bucket of mails."""
    s3.bucket("mails")
    body = pa.BufferOutputStream()
    pq.write_table(pa.table({"mail_id": ["a", "b"], "body": ["Late again!", "Thank you."], "raw": ["", ""]}), body)
    s3.put("mails", "2026/january.parquet", body.getvalue().to_pybytes())
    return folder


def test_what_is_said_of_batches_runs(folder):
    """Line by line: a detached run ends with 4, everything else with 0, and at the end all rows have their answers."""
    lines = [line for mark, _, body in BLOCKS["batch.md"] if mark == "batch" for line in body.splitlines()]
    for line in lines:
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        assert done.returncode == (4 if "--detach" in line else 0), f"{line}\n{done.stdout}\n{done.stderr}"
    one, two = (batchgen.read_results(folder / "out" / name) for name in ("in-one-go", "by-batches"))
    assert one.num_rows == two.num_rows == 300
    assert one.column("completion") == two.column("completion")


def test_what_is_said_of_buckets_runs(buckets):
    """Block after block, with the bucket that the page names."""
    for mark, _, body in BLOCKS["buckets.md"]:
        if mark.startswith("file: "):
            (buckets / mark.removeprefix("file: ")).write_text(body, encoding="utf-8")
        elif mark == "bucket":
            _shell(body)


def _block(mark):
    """Return the only block with a mark."""
    [body] = [body for blocks in BLOCKS.values() for found, _, body in blocks if found == mark]
    return body


def test_every_command_is_run_by_a_test():
    """A block of commands without a mark would only be parsed; so is what installs the extras in a checkout."""
    marks = {"runs", "bucket", "run", "test", "cron", "background", "server", "client", "image", "container", "batch"}
    bare = [body for blocks in BLOCKS.values() for mark, kind, body in blocks if kind in SHELLS and mark not in marks]
    [install] = bare
    named = re.fullmatch(r"\.venv/bin/pip install -e '\.\[([\w,]+)\]'\n", install)[1].split(",")
    assert sorted(named) == sorted(EXTRAS)


@pytest.fixture
def mails(folder):
    """The folder with the job `mails.toml`, as the pages about long runs have it."""
    text = (folder / "jobs" / "email_extraction.toml").read_text(encoding="utf-8")
    text = text.replace('"../', '"').replace('"email.schema.json"', '"jobs/email.schema.json"')
    (folder / "mails.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_crontab_runs(mails):
    """As cron does it: `sh`, the variables that the crontab sets and no others; the second day nothing is sent."""
    lines = _block("cron").replace("/srv/mails/.venv/bin", str(mails / "bin")).replace("/srv/mails", str(mails))
    assert "%" not in lines  # which is a line end to cron
    own = {"HOME": str(mails), "LOGNAME": "me", "SHELL": "/bin/sh"}
    for line in lines.splitlines():
        name, sign, value = line.partition("=")
        if sign and name.isidentifier():
            own[name] = value
            continue
        assert re.match(r"(?:[\d*/,-]+ +){5}", line), line
        command = line.split(None, 5)[5]
        for _ in range(2):
            done = subprocess.run(["/bin/sh", "-c", command], env=own, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    events = [json.loads(line) for line in (mails / "mails.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["succeeded"] for event in events if event["event"] == "finished"] == [82]
    assert events[-1]["text"] == "This run was complete already; nothing was sent."


def test_a_run_in_the_background_is_watched(mails):
    """The terminal is closed meanwhile; the watch ends with the run."""
    first, watch = _block("background").splitlines()
    script = f"{first}\nuntil [ -e out/email-extraction/run.json ]; do :; done\n{watch}\nwait $!"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    _told(done, script)
    assert "82 (82 succeeded" in done.stdout.rpartition("out/email-extraction: ")[2]
    assert "out/email-extraction" in (mails / "mails.log").read_text(encoding="utf-8")


def test_the_simulator_serves_another_terminal(folder):
    """On the port that is named, here a free one."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    server = shlex.split(_block("server").replace("8080", port))
    with subprocess.Popen(server, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert f":{port}" in process.stderr.readline()
        (folder / "bin" / "batchgen").write_text(SIMULATED.replace(" --simulate", "").format(python=sys.executable))
        try:
            _shell(_block("client").replace("8080", port))
        finally:
            process.send_signal(signal.SIGINT)
        assert json.loads(process.communicate(timeout=30)[0])["requests"] >= 81
        assert process.returncode == 0


def test_the_image_can_be_built_and_run(folder):
    """Its steps are taken in folders in the place of an image, as there is no container engine where tests run: the
    package is built and installed from a copy of the tree with what it needs from this environment."""
    steps = [line.split(None, 1) for line in _block("image").splitlines()]
    assert [word for word, _ in steps] == ["FROM", "COPY", "RUN", "WORKDIR", "ENTRYPOINT"]
    version, source, install, work, entry = (rest for _, rest in steps)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = re.fullmatch(r"python:([\d.]+)-slim", version)[1]
    assert f"Programming Language :: Python :: {python}" in declared["classifiers"]
    here, there = source.split()
    tree, image = folder / "tree", folder / "image"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "batchgen", "jobs", "sample_data"):
        path = ROOT / here / name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tree / name)
    pip, *options, what = shlex.split(install)
    assert (pip, options, what.partition("[")[0]) == ("pip", ["install", "--no-cache-dir"], there)
    assert {*re.findall(r"\w+", what.partition("[")[2])} < {*declared["optional-dependencies"]}
    command = [sys.executable, "-m", "pip", "-q", *options, "--no-deps", "--no-build-isolation", "--target", image]
    command.append(what.replace(there, str(tree)))
    _told(subprocess.run(command, capture_output=True, text=True, check=False), install)
    program = image / "bin" / json.loads(entry)[0]
    told = shlex.split(_block("container"))
    assert f"$PWD:{work}" in told
    arguments = told[told.index("our-image") + 1 :]
    for name in ("tickets.toml", "tickets.csv"):
        (folder / name).write_text(_block(f"file: {name}"), encoding="utf-8")
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(image), "DASHSCOPE_API_KEY": "sk-of-the-manual"}
    done = subprocess.run(
        [program, *arguments, "--simulate"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    _told(done, program)


def test_every_piece_of_python_compiles():
    """Also those that need a key or a table to run."""
    pieces = [body for blocks in BLOCKS.values() for _, language, body in blocks if language == "python"]
    assert pieces
    for body in pieces:
        compile(body, "manual", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def _shell(script):
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=False)
    _told(done, script)


def _told(done, script):
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


JOBS = [
    (name, body)
    for name, blocks in BLOCKS.items()
    for mark, language, body in blocks
    if language == "toml" and not mark.endswith("prices.toml")
]


@pytest.mark.parametrize(("name", "body"), JOBS)
def test_every_piece_of_a_job_file_has_keys_that_exist(name, body):
    """Also in the pieces that are no whole job."""
    assert sorted(_unknown_keys(tomllib.loads(body), "")) == []


def _unknown_keys(table, above):
    for key, value in table.items():
        path = f"{above}{key}"
        if path in JOB_KEYS:
            continue
        if isinstance(value, dict) and any(known.startswith(f"{path}.") for known in JOB_KEYS):
            yield from _unknown_keys(value, f"{path}.")
        else:
            yield path


def _first_cells(page):
    """Return the words between back quotes in the first column of a page's tables."""
    rows = re.findall(r"^\| ([^\n]*?) \|", TEXTS[page], re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row)}


def test_the_manual_lists_every_job_key():
    """And none that does not exist."""
    listed = {word for word in _first_cells("job-file.md") if word == "name" or "." in word}
    assert listed == set(JOB_KEYS)


def test_the_manual_lists_every_column_of_the_results():
    """As they are written."""
    assert set(RESULT_COLUMNS.names) | {"parsed"} <= _first_cells("results.md")


def test_the_manual_lists_every_command():
    """And none that does not exist."""
    listed = {word.split()[1] for word in _first_cells("commands.md") if word.startswith("batchgen ")}
    assert listed == set(cli.commands)


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    """Those within the repository."""
    home = ROOT if page == "README.md" else PAGES
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXTS[page]):
        assert (home / target).exists(), target


def test_the_readme_links_every_page():
    """So that each is found from the front page."""
    linked = set(re.findall(r"\(batchgen/manual/([\w-]+)\.md\)", README))
    assert linked == set(topics())


def test_the_readme_is_short():
    """It is a newcomer's page; what it does not need is in the manual."""
    assert len(README.splitlines()) <= 230


def test_set_up_is_one_command_for_the_job_and_one_for_the_tests():
    """A fresh machine with Python and pip needs nothing else."""
    run, test = re.findall(r"<!-- (?:run|test) -->\n```sh\n(python3 -m venv [^\n]+)\n```", README)
    assert "batchgen run jobs/email_extraction.toml --simulate" in run
    assert "pytest" in test
