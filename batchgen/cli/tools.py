"""Commands that need no job: `mail` makes an input, `prices` lists prices, `simulate` serves a simulated provider."""

from __future__ import annotations

from typing import Any

import click

from batchgen.cli.options import EXIT_COMPLETE, EXIT_ROWS_FAILED


@click.command(name="mail")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@click.argument("output", metavar="OUT.parquet", type=click.Path())
@click.option("--files", "with_files", is_flag=True, help="Keep attached files beside the table, see attach.column.")
@click.option("--no-progress", is_flag=True, help="Show no progress bar.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the counts.")
def mail_command(paths: tuple[str, ...], output: str, with_files: bool, no_progress: bool, as_json: bool) -> int:
    """Turn mails into a table that a job can read.

    PATH is a mail (.eml, .emlx or without an extension), an mbox, a Maildir or a folder of these, as mail programs
    keep them; several may be named. A mail that cannot be decoded is a row whose column `error` says why. The exit code
    is 1 if there are such mails, or files that were left out. The column `id` is unique and the same in a later export
    (the Message-ID, else a hash of the mail): use it as input.id.

    \b
    Example:
      batchgen mail ~/Mail/support.mbox ~/Mail/old mails.parquet
      batchgen run jobs/email_extraction.toml --input mails.parquet --set input.id=id
    """
    import msgspec

    from batchgen.mail.convert import convert_mails, input_size, summary_text
    from batchgen.progress.bar import bytes_bar
    from batchgen.text.terminal import harmless

    with bytes_bar(input_size(paths), shown=not no_progress) as moved:
        summary = convert_mails(paths, output, moved, with_files=with_files)
    click.echo(msgspec.json.encode(summary) if as_json else harmless(summary_text(summary)))
    return EXIT_ROWS_FAILED if summary.with_error or summary.left_out else EXIT_COMPLETE


@click.command()
@click.option("--model", metavar="NAME", help="Only this model; a pattern such as 'qwen3*' takes several.")
@click.option("--region", type=click.Choice(["international", "beijing"]), help="Only this region.")
@click.option("--prices", metavar="FILE", type=click.Path(), help="Check this file and lay it over the shipped prices.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def prices(model: str | None, region: str | None, prices: str | None, as_json: bool) -> int:
    """List the known prices with source and date, and check them.

    \b
    Example:
      batchgen prices --model qwen-plus
      batchgen prices --prices my-prices.toml --region beijing
    """
    from batchgen.cli.prices import show_prices

    show_prices(prices, model=model, region=region, as_json=as_json)
    return EXIT_COMPLETE


_OWN_OPTIONS = 2  # of `simulate`


class _SimulateCommand(click.Command):
    """Takes its options from the simulator's settings, which are only imported when they are needed."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if len(self.params) == _OWN_OPTIONS:
            from batchgen.cli.simulate import setting_options

            self.params += setting_options()
        return super().get_params(ctx)


@click.command(cls=_SimulateCommand)
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--state", metavar="DIR", type=click.Path(file_okay=False), help="Keep files and batches here, for the next time."
)
def simulate(port: int, state: str | None, **settings: Any) -> int:
    """Serve a simulated provider on 127.0.0.1, all wire formats and batch APIs, until Ctrl-C.

    GET /stats returns what was served and billed; the same is printed at the end. GET /batch-rows returns the rows of
    batches that were billed. GET /oddities lists what batch APIs can be made to do with --oddities.

    \b
    Example:
      batchgen simulate --port 8080 --rpm 600 --error-500 0.03
    """
    import json

    from batchgen.cli.simulate import serve_settings

    click.echo(json.dumps(serve_settings(settings, port, state), indent=2))
    return EXIT_COMPLETE
