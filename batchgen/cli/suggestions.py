"""Suggestions for commands and options that do not exist."""

from __future__ import annotations

import click

_OTHER_WORDS = {
    "validate": "check", "lint": "check", "test": "check", "dry-run": "check",
    "start": "run", "resume": "run", "continue": "run", "retry": "run", "go": "run",
    "new": "init", "create": "init", "example": "init", "examples": "init",
    "ls": "status", "list": "status", "ps": "status", "progress": "status",
    "eval": "evaluate", "score": "evaluate", "compare": "diff", "price": "prices", "models": "prices",
    "convert": "mail", "mbox": "mail", "serve": "simulate", "server": "simulate", "mock": "simulate",
    "head": "show", "cat": "show", "results": "show", "tail": "show", "csv": "export", "excel": "export",
    "download": "export", "browse": "view", "ui": "view", "bill": "cost", "costs": "cost", "help": "--help",
    "docs": "manual", "doc": "manual", "man": "manual", "guide": "manual",
}  # fmt: skip
"""Words that other programs use for our commands."""

_OTHER_OPTIONS = {
    "workers": "limits.concurrency", "parallel": "limits.concurrency", "threads": "limits.concurrency",
    "jobs": "limits.concurrency", "rpm": "limits.requests_per_minute", "tpm": "limits.tokens_per_minute",
    "timeout": "limits.timeout_s", "retries": "retry.max_attempts", "max-retries": "retry.max_attempts",
    "max-tokens": "model.parameters.max_tokens", "temperature": "model.parameters.temperature",
    "seed": "model.parameters.seed", "top-p": "model.parameters.top_p", "url": "model.base_url",
    "api-key": "model.api_key_env", "key": "model.api_key_env", "id-column": "input.id", "id": "input.id",
    "system": "prompt.system", "prompt": "prompt.user", "force": "--fresh", "overwrite": "--fresh",
    "resume": "", "continue": "",
}  # fmt: skip
"""Options of other programs → our job key or option; empty where none is needed."""


class Commands(click.Group):
    """Lists the commands in the order in which they were added, and suggests a command for an unknown word."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0] if args else ""
        if word not in self.commands and not word.startswith("-"):
            meant = _OTHER_WORDS.get(word.lower())
            if word.endswith(".toml"):
                ctx.fail(f"{word} is no command. Did you mean: batchgen run {word}")
            if meant is not None and (meant == "--help" or meant in self.commands):
                ctx.fail(f"There is no command {word}. Did you mean: batchgen {' '.join([meant, *args[1:]])}")
        return super().resolve_command(ctx, args)


def explained(error: click.UsageError) -> click.UsageError:
    """Return an error that suggests a job key or an option for an unknown option."""
    takes_job = error.ctx is not None and any(option.name == "assignments" for option in error.ctx.command.params)
    if not takes_job or not isinstance(error, click.NoSuchOption) or not error.option_name.startswith("--"):
        return error
    name = error.option_name[2:]
    key = _OTHER_OPTIONS.get(name)
    if key is None and not error.possibilities:
        key = _job_key(name.replace("-", "_"))
    if key is None:
        return error
    if not key:
        meant = "Running the same command again goes on where it stopped."
    elif key.startswith("--"):
        meant = f"Did you mean {key}?"
    else:
        meant = f"Write --set {key}=VALUE, or {key} in the job file."
    return click.UsageError(f"There is no option {error.option_name}. {meant}", error.ctx)


def _job_key(name: str) -> str | None:
    """Return the job key whose last part is this name, if there is exactly one."""
    from batchgen.job.settings import JOB_KEYS

    found = [key for key in JOB_KEYS if key.replace(".", "_") == name or key.rpartition(".")[2] == name]
    return found[0] if len(found) == 1 else None
