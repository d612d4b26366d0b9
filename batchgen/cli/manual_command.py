"""`batchgen manual`: the pages of the manual, which are Markdown files in `batchgen/manual`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from batchgen.cli.options import EXIT_COMPLETE
from batchgen.errors import UsageError
from batchgen.nearest import nearest

PAGES = Path(__file__).parents[1] / "manual"
ORDER = (
    "commands", "job-file", "input", "buckets", "mail", "structured-answers", "results", "looking", "money", "update",
    "running", "recipes", "vendors", "endpoints", "python", "pace", "reliability", "benchmarks", "architecture",
    "glossary",
)  # fmt: skip
"""The topics in the order in which a user needs them; other pages are listed after them."""

_COMMENT = r"(?sm)^<!--.*?-->\n"


@click.command(name="manual")
@click.argument("topic", required=False)
def manual_command(topic: str | None) -> int:
    """Print a page of the manual, or the list of its topics.

    \b
    Example:
      batchgen manual
      batchgen manual job-file
      batchgen manual recipes > recipes.md
    """
    if topic is None:
        click.echo(contents())
    else:
        click.echo_via_pager(page(topic))  # without a terminal this writes the text alone
    return EXIT_COMPLETE


def topics() -> list[str]:
    """Return the names of all pages."""
    found = {path.stem for path in PAGES.glob("*.md")}
    return [name for name in ORDER if name in found] + sorted(found.difference(ORDER))


def page(topic: str) -> str:
    """Return the text of a page, without the comments that are meant for tests. Raises `UsageError`."""
    name = topic.casefold().removesuffix(".md").replace("_", "-").replace(" ", "-")
    if name not in topics():
        raise UsageError(f"The manual has no page {topic!r}. {_meant(name)}")
    return re.sub(_COMMENT, "", (PAGES / f"{name}.md").read_text(encoding="utf-8"))


def contents() -> str:
    """Return the list of topics: a line each, from the page's title."""
    width = max(map(len, topics()))
    lines = (f"  {name:{width}}  {_title(name)}" for name in topics())
    return "\n".join(["batchgen manual TOPIC prints a page:", "", *lines])


def _title(name: str) -> str:
    title = page(name).partition("\n")[0].removeprefix("# ")
    return title.partition(": ")[2] or title


def _meant(wanted: str) -> str:
    """Return a sentence with the topics that were probably meant: by name, or by a heading with the word."""
    meant = nearest(wanted, topics())
    near = [meant] if meant is not None else [name for name in topics() if wanted in name or name in wanted]
    words = re.compile(rf"^#.*\b{re.escape(wanted.replace('-', ' '))}", re.IGNORECASE | re.MULTILINE)
    near = near or [name for name in topics() if words.search(page(name))]
    if near:
        return f"Did you mean: {' or '.join(f'batchgen manual {name}' for name in near[:3])}"
    return f"The pages are: {', '.join(topics())}."
