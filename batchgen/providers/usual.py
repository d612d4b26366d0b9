"""The reply that nearly always comes, as types: decoding into them costs half of reading a document key by key.

All that the general reader (`answer`, `error_body`) looks at is declared. Where the usual reply has nothing the type
allows nothing, so whatever is out of the ordinary (an error, tool calls, parts, several choices, text format, a frame
of a stream) does not fit and is left to that reader. What nobody looks at is skipped.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

_Empty = Annotated[list[Any], Meta(max_length=0)]


class UsualMessage(Struct, gc=False):
    """A message of text, with the thinking before it under either of its names."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: _Empty | None = None
    function_call: None = None


class UsualChoice(Struct, gc=False):
    """The only choice. `finish_reason` may still be a word for none."""

    message: UsualMessage
    finish_reason: str
    index: Literal[0] | None = None
    logprobs: None = None


class _Document(Struct, gc=False, kw_only=True):
    """What stands at the top in both formats. SDKs and gateways put `code`, `message` and a status beside an answer."""

    usage: dict[str, Any] | None = None
    model: str | None = None
    request_id: str | None = None
    other_request_id: None = field(name="requestId", default=None)
    third_request_id: None = field(name="request_Id", default=None)
    id: str | None = None
    object: Literal["chat.completion"] | None = None
    error: None = None
    code: Literal["", "200"] | None = None
    status_code: Literal[200] | None = None


class _Output(Struct, gc=False):
    choices: tuple[UsualChoice]


class UsualNative(_Document, gc=False, kw_only=True):
    """A reply of DashScope's native API, in message format."""

    output: _Output

    @property
    def choice(self) -> UsualChoice:
        """The only choice."""
        return self.output.choices[0]


class UsualChat(_Document, gc=False, kw_only=True):
    """A reply of chat completions."""

    choices: tuple[UsualChoice]

    @property
    def choice(self) -> UsualChoice:
        """The only choice."""
        return self.choices[0]


UsualReply = UsualNative | UsualChat

native_reply = msgspec.json.Decoder(UsualNative).decode
chat_reply = msgspec.json.Decoder(UsualChat).decode
