"""The reply that nearly always comes, as types: decoding into them costs half of reading a document key by key.

All that the general reader (`answer`, `error_body`) looks at is declared. Where the usual reply has nothing the type
allows nothing, so whatever is out of the ordinary (an error, tool calls, parts, several choices, text format, a frame
of a stream) does not fit and is left to that reader. What nobody looks at is skipped.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from batchgen.providers.reply_fields import LARGEST_COUNT
from batchgen.values import Usage

_Empty = Annotated[list[Any], Meta(max_length=0)]
_Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT)]


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


class _Read(Struct, gc=False):
    """What of the input came out of a cache, or went into one."""

    cached_tokens: _Count | UnsetType | None = UNSET
    cache_creation_input_tokens: _Count | UnsetType | None = UNSET
    cache_write_tokens: _Count | None = None


class _Written(Struct, gc=False):
    """What of the output was thinking."""

    reasoning_tokens: _Count | None = None


class UsualUsage(Struct, gc=False):
    """Token counts under the names of both formats."""

    input_tokens: _Count | UnsetType | None = UNSET
    output_tokens: _Count | UnsetType | None = UNSET
    total_tokens: _Count | None = None
    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    prompt_tokens_details: _Read | None = None
    input_tokens_details: _Read | None = None
    output_tokens_details: _Written | None = None
    completion_tokens_details: _Written | None = None
    prompt_cache_hit_tokens: _Count | None = None

    def read(self) -> Usage | None:
        """Return what `read_usage` would; None where details stand under two names, which only that can tell apart."""
        tokens_in = self.prompt_tokens if self.input_tokens is UNSET else self.input_tokens
        tokens_out = self.completion_tokens if self.output_tokens is UNSET else self.output_tokens
        total = self.total_tokens
        if total is None and tokens_in is not None and tokens_out is not None:
            total = tokens_in + tokens_out
        reads = self.prompt_tokens_details, self.input_tokens_details
        writes = self.output_tokens_details, self.completion_tokens_details
        if None not in reads or None not in writes:
            return None
        cached, stored = self.prompt_cache_hit_tokens, None
        read = reads[0] or reads[1]
        if read is not None:
            if read.cached_tokens is not UNSET:
                cached = read.cached_tokens
            creation = read.cache_creation_input_tokens
            stored = read.cache_write_tokens if creation is UNSET else creation
        written = writes[0] or writes[1]
        reasoning = None if written is None else written.reasoning_tokens
        return Usage(tokens_in, tokens_out, total, cached, reasoning, stored)


_UNKNOWN = Usage()


class _Document(Struct, gc=False, kw_only=True):
    """What stands at the top in both formats. SDKs and gateways put `code`, `message` and a status beside an answer."""

    usage: UsualUsage | None = None
    model: str | None = None
    request_id: str | None = None
    other_request_id: None = field(name="requestId", default=None)
    third_request_id: None = field(name="request_Id", default=None)
    id: str | None = None
    object: Literal["chat.completion"] | None = None
    error: None = None
    code: Literal["", "200"] | None = None
    status_code: Literal[200] | None = None

    def read_usage(self) -> Usage | None:
        """Return the token counts; None where only the general reader can tell."""
        return _UNKNOWN if self.usage is None else self.usage.read()


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
