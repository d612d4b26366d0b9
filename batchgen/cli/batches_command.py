"""Commands for what is in a vendor's batch queue: `batches`, `cancel`."""

from __future__ import annotations

from typing import Any

import click

from batchgen.cli.options import EXIT_COMPLETE, EXIT_INTERRUPTED, EXIT_STOPPED, endpoint_for
from batchgen.cli.unforeseen import remember


@click.command(name="batches")
@click.argument("directory", metavar="DIR", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def batches_command(directory: str, as_json: bool) -> int:
    """List the batches of a run, with how far they were when the run last looked.

    \b
    Example:
      batchgen batches out/email-extraction
    """
    remember(directory)
    from batchgen.report.batches import batches_table
    from batchgen.storage.mirror import local_directory
    from batchgen.storage.run_state import read_state
    from batchgen.text.sections import Document, Section, sections_text
    from batchgen.text.storable import json_bytes

    state, _ = read_state(local_directory(directory, state_only=True))
    if as_json:
        click.echo(json_bytes(state.summary.batches))
    elif not state.summary.batches:
        click.echo("No rows of this run were handed in as batches.")
    else:
        number = len(state.summary.batches)
        title = f"{number:,} batch{'es' * (number != 1)}, as of {state.updated_at}"
        click.echo(sections_text(Document(title, [], [Section("", [batches_table(state.summary.batches)])])))
    return EXIT_COMPLETE


@click.command(name="cancel")
@click.argument("directory", metavar="DIR", type=click.Path())
@click.option("--take-over", is_flag=True, help="Do so although a copy of the directory knows of the batches too.")
@click.option("--no-progress", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with the summary.")
def cancel_command(directory: str, *, take_over: bool, no_progress: bool, as_json: bool) -> int:
    """Cancel the open batches of a run at the vendor, and collect what was finished by then.

    The other rows stay pending: running the job again asks them, in whatever lane.

    \b
    Example:
      batchgen cancel out/email-extraction
    """
    remember(directory)
    import os

    import anyio
    import msgspec

    from batchgen.cli.jobs import run_under_signals
    from batchgen.cli.messages import summary_text
    from batchgen.job.batch_job import read_batch_job, wanted_at
    from batchgen.progress.log import reporters
    from batchgen.storage.mirror import local_directory
    from batchgen.storage.run_state import read_state
    from batchgen.transport.event_loop import loop_options

    path = local_directory(directory, state_only=True)
    state, _ = read_state(path)
    job, address = read_batch_job(path), wanted_at(path)
    remember(directory, {**job.model.headers, "": os.environ.get(job.model.api_key_env or "", "")})
    with endpoint_for(job, state.simulated) as endpoint, reporters(progress=not no_progress) as reporter:

        async def main() -> Any:
            return await run_under_signals(job, lambda: job, endpoint, reporter, mode="cancel", take_over=take_over)

        summary = anyio.run(main, backend_options=loop_options())
    if address is not None:  # a store that is out of order must not keep batches from being ended
        summary = msgspec.structs.replace(summary, output=address, directory=summary.output)
    click.echo(summary.to_json() if as_json else summary_text(summary))
    if summary.state == "interrupted":
        return EXIT_INTERRUPTED
    return EXIT_STOPPED if summary.error is not None else EXIT_COMPLETE
