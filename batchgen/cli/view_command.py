"""`batchgen view`: the page where answers are looked at and corrected."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from batchgen.cli.options import EXIT_COMPLETE
from batchgen.cli.unforeseen import remember


@click.command(name="view")
@click.argument("directory", metavar="DIR", type=click.Path())
@click.argument("other", metavar="[DIR]", required=False, type=click.Path())
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="Listen here.  [default: a free one]")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--by", metavar="NAME", help="Who checks, in review.parquet.  [default: the user's name]")
@click.option("--html", metavar="FILE", type=click.Path(), help="Write a page of sampled rows to hand on, and end.")
def view_command(
    directory: str, other: str | None, *, port: int, no_browser: bool, by: str | None, html: str | None
) -> int:
    """Look at answers in a browser, filter and sort them, accept or correct them by keyboard; two runs side by side.

    The page is served to this machine alone, below an address with a random part; Ctrl-C ends it. It works while a run
    goes on: reload to see more rows. Corrections go to review.parquet in DIR, never into the results; batchgen evaluate
    --reviewed takes them as gold, batchgen export --reviewed applies them.

    \b
    Example:
      batchgen view out/email-extraction
      batchgen view out/email-extraction --html for-a-colleague.html
    """
    remember(directory)
    from batchgen.errors import UsageError
    from batchgen.extras import missing

    if lacking := missing("view"):
        raise UsageError(f"The page needs {lacking}")
    from batchgen.review.room import ReviewRoom
    from batchgen.storage.mirror import local_directory
    from batchgen.stores.address import is_address
    from batchgen.text.figures import quantity

    places = [local_directory(name) for name in (directory, other) if name is not None]
    if is_address(directory) and html is None:
        click.echo(f"Corrections are kept in {places[0]} on this machine.", err=True)
    room = ReviewRoom(places[0], places[1] if other is not None else None, by or _user())
    if html is not None:
        from batchgen.review.static_page import write_static_page

        click.echo(f"{quantity(write_static_page(room, Path(html)), 'row')} in {html}", err=True)
        return EXIT_COMPLETE
    import webbrowser

    from batchgen.review.server import serve

    def tell(address: str) -> None:
        click.echo(f"{quantity(room.current.table.rows.rows, 'row')}: {address}")
        click.echo("Open this address on this machine; Ctrl-C ends the page.", err=True)
        if not no_browser:
            with suppress(webbrowser.Error, OSError):
                webbrowser.open(address)

    try:
        serve(room, port, tell)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        raise UsageError(f"--port {port}: {error.strerror or error}.") from error
    return EXIT_COMPLETE


def _user() -> str:
    try:
        import getpass

        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"
