"""The README's commands are those that exist; its set-up is two commands."""

import re
import shlex
from pathlib import Path

import click
import pytest

from batchgen.cli.main import cli

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
COMMANDS = sorted(
    {
        match[1].split("#")[0].strip()
        for block in BLOCKS
        for line in block.splitlines()
        if (match := re.search(r"(?:^|bin/)(batchgen (?!@)[^|&;]+)", line.strip()))
    }
)


def test_the_readme_shows_commands():
    """So that the next test is not empty."""
    assert len(COMMANDS) > 5


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shown_parses(command):
    """Its name and options exist; nothing is run."""
    arguments = shlex.split(command)[1:]
    if arguments == ["--help"]:
        return
    subcommand = cli.get_command(click.Context(cli), arguments[0])
    assert subcommand is not None, arguments[0]
    subcommand.make_context(arguments[0], arguments[1:])


def test_set_up_is_one_command_for_the_job_and_one_for_the_tests():
    """A fresh machine with Python and pip needs nothing else."""
    run, test = re.findall(r"<!-- (?:run|test) -->\n```sh\n(python3 -m venv [^\n]+)\n```", README)
    assert "batchgen run jobs/email_extraction.toml --simulate" in run
    assert "pytest" in test
