"""What the commands have in common: the options that describe a job, and the exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from batchgen.cli.unforeseen import remember
from batchgen.errors import UsageError

if TYPE_CHECKING:
    from batchgen.job.endpoint import Endpoint
    from batchgen.job.settings import Job

EXIT_COMPLETE, EXIT_ROWS_FAILED, EXIT_USAGE, EXIT_STOPPED, EXIT_UNFORESEEN, EXIT_INTERRUPTED = 0, 1, 2, 3, 70, 130
EXIT_HANDED_IN = 4


def job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `run`, `check` and `estimate` have in common."""
    options = [
        click.argument("job_path", metavar="JOB.toml", type=click.Path()),
        click.option("-i", "--input", "input_path", metavar="PATH", help="Read rows from here instead of input.path."),
        click.option(
            "-o",
            "--output",
            metavar="DIR",
            help="Write here instead of output.path.",
        ),
        click.option("--limit", metavar="N", type=click.IntRange(min=1), help="Take the first N rows only."),
        click.option(
            "--set",
            "assignments",
            metavar="KEY=VALUE",
            multiple=True,
            help="Set any job key by its dotted path, for example --set limits.concurrency=8. Repeatable.",
        ),
        click.option("-m", "--model", metavar="NAME", help="Ask this model instead of model.name."),
        click.option("--lane", metavar="NAME", help="Send by another lane: live, flex, batch-chat or batch."),
        click.option("--budget", metavar="AMOUNT", help="Stop before the cost could pass this amount."),
        click.option("--prices", metavar="FILE", help="Prices that replace or add models, instead of pricing.file."),
        click.option(
            "--update",
            is_flag=True,
            help="Ask only for what is new: the earlier run in the output directory is moved aside, and rows take its "
            "answers to the same requests.",
        ),
        click.option(
            "--reuse",
            metavar="DIR",
            multiple=True,
            help="Take the answers of another output directory to the same requests. Repeatable.",
        ),
        click.option(
            "--add-to",
            metavar="DIR",
            help="Ask only for the fields that response.schema has beyond the answers in DIR, and join them by row_id.",
        ),
        click.option("--simulate", is_flag=True, help="Use the built-in simulated provider; no key is needed."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def load_from(options: dict[str, Any]) -> Job:
    """Read the job that the options describe."""
    from msgspec import structs

    from batchgen.job.settings import load_job, parse_assignment

    overrides: dict[str, Any] = dict(parse_assignment(text) for text in options["assignments"])
    budget = options["budget"]
    if budget is not None:
        try:
            budget = float(budget)
        except ValueError:
            raise UsageError(f"--budget {budget}: expected an amount, for example --budget 5.00.") from None
    named = {
        "input.path": options["input_path"],
        "output.path": options["output"],
        "input.limit": options["limit"],
        "model.name": options["model"],
        "model.lane": options["lane"],
        "limits.budget": budget,
        "pricing.file": options["prices"],
    }
    overrides |= {key: value for key, value in named.items() if value is not None}
    job = load_job(options["job_path"], **overrides)
    if options["reuse"]:
        reuse = [*job.input.reuse, *options["reuse"]]
        job = structs.replace(job, input=structs.replace(job.input, reuse=reuse))
    if options["add_to"]:
        from batchgen.difference.add_fields import narrowed

        job = narrowed(job, options["add_to"])
    key = os.environ.get(job.model.api_key_env or "", "")
    remember(str(job.output.directory), {**job.model.headers, "": key})
    return job


def endpoint_for(job: Job, wanted: bool, *, keeps: bool = True) -> AbstractContextManager[Endpoint | None]:
    """Yield the simulator's endpoint if it is wanted, else None; see `simulated_endpoint`."""
    if not wanted:
        return nullcontext()
    from batchgen.simulated import simulated_endpoint

    return simulated_endpoint(job, keeps=keeps)
