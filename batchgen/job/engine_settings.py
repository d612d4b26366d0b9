"""`[engine]` of a job."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from batchgen.extras import unusable


class EngineSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[engine]`: which processes send the requests: this one and `workers` of its own, or actors on the nodes of the
    Ray cluster at `address`."""

    kind: Literal["local", "ray"] = "local"
    workers: Annotated[int, Meta(ge=1, le=1_000)] | None = None
    address: str | None = None

    @property
    def shared(self) -> bool:
        """Whether other processes send the requests."""
        return self.kind != "local" or (self.workers or 1) > 1

    def lacking(self) -> str | None:
        """Return what this engine needs and is not installed, with the command that installs it."""
        if self.kind != "ray" or (lacking := unusable("ray")) is None:
            return None
        return f'engine.kind = "ray" needs {lacking}'

    def unused(self) -> str | None:
        """Return a note where a key is set that this engine has no use for."""
        if self.kind == "ray" or self.address is None:
            return None
        return f'engine.address is that of a Ray cluster, which engine.kind = "{self.kind}" does not use.'
