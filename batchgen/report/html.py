"""Reports as one HTML page that needs nothing else: no network, no scripts, drawings inline.

All text is escaped by the template engine and isolated from the direction of the text around it (`<bdi>`). A content
security policy forbids all but inline styles.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined

from batchgen.text.sections import Document
from batchgen.version import __version__


def page(documents: Sequence[Document]) -> str:
    """Return the page of one document, or of several one after the other."""
    environment = Environment(
        loader=FunctionLoader(lambda name: resources.files("batchgen.report").joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = lambda block: type(block).__name__
    text = environment.get_template("page.html").render(documents=documents, version=__version__)
    return text.lstrip()  # the macros before it leave blank lines
