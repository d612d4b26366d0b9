"""What tells one vendor's batch API from the others: an entry of the vendor's table in `vendors/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from batchgen.providers.batch_api import BatchIntent, BatchLimits


def openai_body(intent: BatchIntent, url: str) -> dict[str, Any]:
    """Return the body of the call that creates a batch, as OpenAI has it; `url` is that of the requests."""
    return {
        "input_file_id": intent.input_file,
        "endpoint": url,
        "completion_window": intent.window,
        "metadata": named(intent),
    }


def named(intent: BatchIntent) -> dict[str, str]:
    """Return what names a batch in the vendor's list."""
    return {"batchgen_run": intent.run, "batchgen_part": str(intent.part), "batchgen_sha": intent.sha}


def _no_switch(model: str) -> bool | None:
    return None


class BatchTerms(Struct, frozen=True, kw_only=True):
    """How a vendor's batches differ from OpenAI's; what is left out is as OpenAI has it.

    - `purpose`: what an upload says it is for, with the further fields of `form`; `upload`, `batches`: paths.
    - `request_path`: the path of the requests in the lines; by default the last part of the address's own and
      `/chat/completions`.
    - `list_files`, `list_batches`: the queries of the two lists; `by_input` and `since`: the fields of the second
      one that ask for the batches of an input file, and for those created since a time.
    - `body`: makes the body of the call that creates a batch; its `metadata` names the batch in the list.
    - `bare_lines`: a line has an id and a body without a model, which stands in the call that creates the batch.
    - `trial`: the model and the path of requests of a free trial without inference, None where there is none.
    - `thinks`: whether a model thinks unless told not to, where each request of a file has to say so; None for models
      that have no such switch.
    """

    limits: BatchLimits
    purpose: str = "batch"
    form: Mapping[str, str] = {}
    upload: str = "/files"
    batches: str = "/batches"
    request_path: str | None = None
    list_files: Mapping[str, str] = MappingProxyType({"limit": "1000", "order": "desc"})
    list_batches: Mapping[str, str] = MappingProxyType({"limit": "100"})
    by_input: str | None = None
    since: str | None = None
    body: Callable[[BatchIntent, str], Mapping[str, Any]] = openai_body
    bare_lines: bool = False
    trial: tuple[str, str] | None = None
    thinks: Callable[[str], bool | None] = _no_switch
