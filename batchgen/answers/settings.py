"""`[response]` of a job: what an answer has to be, and what is done when it is not."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from batchgen.errors import JobError
from batchgen.providers.vendor import Means


class OnLength(Struct, frozen=True, forbid_unknown_fields=True):
    """`on_length`: an answer cut at its limit is asked for once more with this limit, under the provider's own name."""

    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None

    @property
    def parameters(self) -> dict[str, int]:
        """The one parameter that gives more room."""
        both = {"max_tokens": self.max_tokens, "max_completion_tokens": self.max_completion_tokens}
        return {name: value for name, value in both.items() if value is not None}


class ResponseSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[response]`: exactly one of `schema` (file with a JSON Schema, or its text) and `labels` (one of these).

    - `multiple`: a row may have several of the labels, or none.
    - `means`: how JSON is asked for; absent, the best the provider and model are known to have.
    - `instruction`: the text added to the system message; absent, one made from schema or labels where the means
      need it; empty, none.
    - `max_repairs`: further turns for an answer that does not fit, with the error told to the model.
    - `on_length`: more room for an answer that was cut; absent, a cut answer fails.
    - `votes`: samples a row, for labels; the label of most of them counts.
    - `confidence`: the column `parsed.confidence`: the share of agreeing `votes`, or from `logprobs`.
    """

    schema: str | None = None
    labels: list[str] | None = None
    multiple: bool = False
    means: Means | None = None
    instruction: str | None = None
    max_repairs: Annotated[int, Meta(ge=0, le=10)] = 1
    on_length: OnLength | None = None
    votes: Annotated[int, Meta(ge=1, le=100)] = 1
    confidence: Literal["votes", "logprobs"] | None = None

    def check(self) -> None:
        """Raise `JobError`, naming key and fix, for keys that contradict each other."""
        if (self.schema is None) == (self.labels is None):
            raise JobError("[response] needs exactly one of schema (a file) and labels (a list).")
        if self.on_length is not None and len(self.on_length.parameters) != 1:
            raise JobError("response.on_length needs exactly one of max_tokens and max_completion_tokens.")
        if self.multiple and (self.labels is None or self.votes > 1 or self.confidence is not None):
            raise JobError("response.multiple needs labels, and goes with neither votes nor confidence.")
        if self.labels is None:
            if self.votes > 1:
                raise JobError("response.votes is for labels: with a schema, leave it out.")
            if self.confidence is not None:
                raise JobError("response.confidence is for labels: with a schema, leave it out.")
        elif self.confidence == "votes" and self.votes == 1:
            raise JobError('response.confidence = "votes" needs response.votes of at least 2.')
        elif self.confidence == "logprobs" and self.means == "tool":
            raise JobError('response.confidence = "logprobs" needs an answer in text: response.means cannot be "tool".')
