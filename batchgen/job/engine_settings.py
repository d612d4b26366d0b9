"""`[engine]` of a job."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct


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
