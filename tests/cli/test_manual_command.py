"""`batchgen manual`: its list, its pages, and what it says to a topic that does not exist."""

import click
import pytest
from click.testing import CliRunner

from batchgen.cli.main import cli
from batchgen.cli.manual_command import ORDER, PAGES, contents, page, topics
from batchgen.errors import UsageError


def test_without_a_topic_every_page_is_listed_with_a_line():
    """In the order in which a user needs them."""
    found = CliRunner().invoke(cli, ["manual"], standalone_mode=False)
    lines = found.output.splitlines()[2:]
    assert [line.split()[0] for line in lines] == topics()
    assert all(len(line.split()) > 3 and len(line) < 110 for line in lines)
    assert topics()[:2] == list(ORDER[:2])


@pytest.mark.parametrize("topic", topics())
def test_a_page_is_printed_whole_and_starts_with_its_title(topic):
    """What is meant for tests alone is left out."""
    found = CliRunner().invoke(cli, ["manual", topic], standalone_mode=False)
    assert found.output.startswith("# ")
    assert "<!--" not in found.output
    last = (PAGES / f"{topic}.md").read_text(encoding="utf-8").rstrip().splitlines()[-1]
    assert last in found.output


def test_a_page_goes_through_a_pager_on_a_terminal_only(monkeypatch):
    """Otherwise it can be piped and kept."""
    shown = []
    monkeypatch.setattr(click, "echo_via_pager", shown.append)
    CliRunner().invoke(cli, ["manual", "mail"], standalone_mode=False)
    assert shown == [page("mail")]


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("vendor", "manual vendors"),
        ("jobfile", "manual job-file"),
        ("labels", "manual structured-answers"),
        ("exit", "manual results"),
        ("xyzzy", "The pages are: commands"),
    ],
)
def test_a_wrong_topic_gets_the_ones_that_were_meant(wrong, meant):
    """By name, else by a heading with the word."""
    with pytest.raises(UsageError, match=meant):
        page(wrong)


@pytest.mark.parametrize("written", ["Job-File", "job_file", "job file", "job-file.md"])
def test_a_topic_may_be_written_otherwise(written):
    """There is no need to be strict."""
    assert page(written) == page("job-file")


def test_a_page_that_nobody_ordered_is_listed_last(tmp_path, monkeypatch):
    """So that adding a file is enough."""
    for name in ("mail", "apples"):
        (tmp_path / f"{name}.md").write_text(f"# {name.title()}: all about {name}\n", encoding="utf-8")
    monkeypatch.setattr("batchgen.cli.manual_command.PAGES", tmp_path)
    assert topics() == ["mail", "apples"]
    assert contents().endswith("apples  all about apples")
