"""`[output]` of a job file: where results go."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct

from batchgen.errors import JobError
from batchgen.storage.mirror import state_directory
from batchgen.stores.address import Address, is_address, parse_address


class OutputSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[output]`: the directory, the input columns that are carried into the results, and the files' permissions.

    `path` may be an address in an object store; the run then lies on this machine, in `state`, and is published there.
    """

    path: str
    state: str | None = None
    columns: Literal["all"] | list[str] = "all"
    mode: Literal["private", "group"] = "private"

    @property
    def address(self) -> Address | None:
        """Return the address to publish at; None for a directory of this machine. Raises `JobError`."""
        return parse_address(self.path, JobError, writing=True) if is_address(self.path) else None

    @property
    def directory(self) -> Path:
        """Return the directory of the run on this machine."""
        if self.address is None:
            return Path(self.path)
        return state_directory(self.address) if self.state is None else Path(self.state)
