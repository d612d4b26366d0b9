"""`[attach]` of a job."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, to_builtins


class AttachSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[attach]`: `column` holds a row's files: a path, a URL, bytes, or a list of these.

    Paths count from `folder` (by default that of the input) and must lie below it. `pages` says how a PDF is sent:
    `auto` takes its text where it has one, else pictures of its pages. A file may have `max_pages` pages. Pictures are
    made smaller if a side is longer than `max_side` pixels, or if the provider takes no larger ones. `detail` is passed
    on with each picture. `unreadable`: a file that cannot be sent fails its row, or only its name is told to the model.
    """

    column: str
    folder: str | None = None
    pages: Literal["auto", "text", "images"] = "auto"
    max_pages: Annotated[int, Meta(ge=1, le=1_000)] = 20
    max_side: Annotated[int, Meta(ge=64)] | None = None
    detail: Literal["low", "high", "auto", "original"] | None = None
    unreadable: Literal["fail", "name"] = "fail"

    def parts(self) -> dict[str, Any]:
        """Return the settings that decide what is sent for a file."""
        found: dict[str, Any] = to_builtins(self)
        del found["folder"]
        return found
