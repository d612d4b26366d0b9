"""What both formats do before encoding: constant parts once, the row's own parts per row, the headers.

A request is almost always the job's constant bytes round the row's messages, so these bytes are made once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from batchgen.values import Prompt

_FIELDS = ("role", "content")
_as_given = msgspec.json.Encoder().encode
_by_name = msgspec.json.Encoder(order="sorted").encode

text_as_sent: Callable[[str], bytes] = _as_given
"""Returns the JSON of a text, as it stands in a request."""


def encoder(*, canonical: bool) -> Callable[[Any], bytes]:
    """Return what makes JSON; `canonical` with the fields of every object in the order of their names."""
    return _by_name if canonical else _as_given


def ends_in_text(prompt: Prompt) -> bool:
    """Whether a prompt is nothing but messages, and the last of them a text, as nearly always."""
    messages = prompt.messages
    if not messages or prompt.model is not None or prompt.parameters is not None:
        return False
    return prompt.text is None and not prompt.attached and type(messages[-1].get("content")) is str


def last_text(prompt: Prompt) -> bytes | None:
    """Return the JSON of the text that a prompt ends in, which both its request and its key are made of; None for a
    prompt that is not plain messages with a text of the user at the end."""
    if not ends_in_text(prompt):
        return None
    last = prompt.messages[-1]
    usual = tuple(last) == _FIELDS and last["role"] == "user"  # in the order in which they are sent
    return text_as_sent(last["content"]) if usual else None


def from_column(value: Any) -> bool:
    """Whether a setting is `{"column": NAME}`: the row gives the value."""
    return isinstance(value, Mapping) and value.keys() == {"column"} and isinstance(value["column"], str)


def constant_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that are the same for every row."""
    return {name: value for name, value in parameters.items() if not from_column(value)}


def without(fields: Mapping[str, Any], omit: Sequence[str]) -> dict[str, Any]:
    """Return the fields that are to be sent: `model.omit` names those that a server refuses."""
    return {name: value for name, value in fields.items() if name not in omit}


def with_user_headers(ours: Mapping[str, str], users: Mapping[str, str]) -> dict[str, str]:
    """Return our headers with the user's over them; names are compared without case."""
    taken = {name.lower() for name in users}
    return {name: value for name, value in ours.items() if name.lower() not in taken} | dict(users)


def members(fields: Mapping[str, Any], encode: Callable[[Any], bytes]) -> bytes:
    """Return `fields` as the inside of a JSON object: `"a":1,"b":2`, without the braces."""
    return encode(fields)[1:-1]
