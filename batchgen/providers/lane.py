"""Lanes: other ways to send the same requests at another price (`model.lane`). What a vendor has is in its module.

A lane never changes what an answer means. It says how a request travels, so that a run may go on in another lane, and
an answer of one lane is reused in another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from batchgen.errors import JobError
from batchgen.providers.batch_terms import BatchTerms

LIVE = "live"
"""The ordinary calls, which every vendor has."""

BATCH = "batch"
"""The vendors' batches: requests handed in together, answered within a day."""


def _same_address(base_url: str) -> str:
    return base_url


def _same_parameters(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    return parameters


class Lane(Struct, frozen=True, kw_only=True):
    """One lane of a vendor.

    - `timeout_s`: the default of `limits.timeout_s`, and of the time a run may wait for any answer at all.
    - `address`: the lane's address for a job's `model.base_url`; raises `JobError` with the reason where it has none.
    - `fields`: what is added to the body. `chat`: converts the parameters of a job of another wire format, which is
      sent as chat completions; raises `JobError` for those that have no place there.
    - `held`: the server holds requests back until it has room, so that nothing is to be learnt from how long others
      took.
    - `may_refuse`: the server may refuse a request because the lane is full, and `model.lane_fallback` helps.
    - `batch`: how the vendor takes batches of requests; None for lanes that are ordinary calls.
    """

    name: str
    timeout_s: float
    address: Callable[[str], str] = _same_address
    fields: Mapping[str, Any] = {}
    chat: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _same_parameters
    held: bool = False
    may_refuse: bool = False
    batch: BatchTerms | None = None

    def parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a job's parameters with the lane's fields. Raises `JobError` where they contradict each other."""
        for name, value in self.fields.items():
            if given.get(name, value) != value:
                raise JobError(
                    f"model.parameters.{name} is {given[name]!r}, but model.lane = {self.name!r} sends {value!r}: "
                    "leave one of them out."
                )
        return {**given, **self.fields}


def batch_lane(
    terms: BatchTerms,
    *,
    address: Callable[[str], str] = _same_address,
    chat: Callable[[Mapping[str, Any]], Mapping[str, Any]] = _same_parameters,
) -> Lane:
    """Return the lane of a vendor's batches. Its time is that of the calls that are made live beside them."""
    return Lane(name=BATCH, timeout_s=300.0, address=address, chat=chat, batch=terms)


FLEX = Lane(  # https://platform.openai.com/docs/guides/flex-processing advises 15 minutes
    name="flex", timeout_s=900.0, fields={"service_tier": "flex"}, held=True, may_refuse=True
)
"""OpenAI's `service_tier = "flex"`; gateways pass the field on."""
