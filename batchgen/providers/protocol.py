"""What a wire format has to offer: two pure functions, bytes to values and back. No I/O, no clock, no state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from batchgen.secret import Secret, SecretHeader
from batchgen.values import Completion, Failure, Prompt, Request, Response


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[model]` of a job, as far as the wire format needs it.

    `parameters` are the provider's own names, passed through untouched; a value `{"column": NAME}` means that the
    row gives it (then it arrives in `Prompt.parameters`). `headers` are those without a secret; `api_key_header` is
    the one that carries the key, None for the server's own. `omit` are fields of the body that are not sent although
    they are a default of ours. `canonical`: the fields of all objects are in the order of
    their names, for `request_key`.
    """

    name: str
    base_url: str
    parameters: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}
    api_key_header: str | None = None
    omit: Sequence[str] = ()
    canonical: bool = False


class Remark(Struct, frozen=True):
    """Something `check` says about the settings: `key` is the dotted job key; `fatal` refuses the job (exit 2)."""

    key: str
    text: str
    fatal: bool


class Provider(Protocol):
    """One wire format, bound to one model's settings."""

    def headers(self, key: Secret | None) -> list[SecretHeader]:
        """Return the headers that show the key to the server. The provider itself never holds it."""

    def build_request(self, prompt: Prompt, *, stream: bool) -> Request:
        """Return the request for one prompt; `stream` asks for server-sent events."""

    def read_response(self, request: Request, response: Response) -> Completion | Failure:
        """Return what a whole response means. Never raises, whatever the bytes are."""

    def must_stream(self, model: str) -> bool:
        """Whether this model, with the settings' parameters, is known to answer streamed requests only."""

    def remarks(self) -> list[Remark]:
        """Return what is wrong or doubtful in the settings, known ranges and forbidden combinations included."""
