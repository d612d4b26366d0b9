"""`batchgen simulate`: the simulated provider on a port, with an option for each of its settings."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Any

import click
import msgspec

from batchgen.errors import UsageError
from batchgen.simulated import BASE_PATHS
from batchgen.simulator import FIELD_HELP, Settings, serve


def setting_options() -> list[click.Parameter]:
    """Return a command-line option for each setting of the simulator, in order."""
    options: list[click.Parameter] = []
    hints = typing.get_type_hints(Settings)
    for field in msgspec.structs.fields(Settings):
        name, default = field.name, field.default
        flag = "--" + name.replace("_", "-")
        kind = _without_none(hints[name])
        if kind is bool:
            flags = [f"{flag}/--no-{flag[2:]}" if default else flag, name]
            options.append(click.Option(flags, is_flag=True, default=default, help=FIELD_HELP[name]))
        else:
            many = typing.get_origin(kind) is tuple
            options.append(
                click.Option(
                    [flag, name], default=default, multiple=many, type=_click_type(kind), help=FIELD_HELP[name]
                )
            )
    return options


def serve_settings(values: dict[str, Any], port: int, state: str | None = None) -> dict[str, Any]:
    """Serve until interrupted and return what was counted. Raises `UsageError` for settings out of range.

    `state`: the directory in which files and batches are kept.
    """
    given = {name: value for name, value in values.items() if value not in (None, ())}
    try:
        settings = msgspec.convert(given, Settings)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"simulate: {error}") from None
    try:
        return serve(settings, port, directory=Path(state) if state else None, on_ready=_tell)
    except OSError as error:
        raise UsageError(f"simulate: port {port} cannot be used: {error}.") from None


def _tell(url: str) -> None:
    click.echo(f"Serving on {url}, until Ctrl-C. In a job: model.base_url =", err=True)
    for provider, path in BASE_PATHS.items():
        click.echo(f'  "{url}{path}"  (provider {provider})', err=True)
    click.echo(f"What was served and billed: {url}/stats", err=True)


def _without_none(kind: Any) -> Any:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next(option for option in typing.get_args(kind) if option is not types.NoneType)
    return kind


def _click_type(kind: Any) -> Any:
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return click.Choice(typing.get_args(kind))
    return str if origin is tuple else kind
