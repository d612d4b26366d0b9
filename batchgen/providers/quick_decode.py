"""The reply that nearly always comes, as types: decoding into them costs half of reading a document key by key.

All that the general reader (`reply_fields`, `error_body`) looks at is declared. Where the usual reply has nothing the
type allows nothing, and of a usage only names known here are allowed, with counts that agree. So whatever is out of the
ordinary (an error, tool calls, parts, several choices, text format, a frame of a stream, an end other than the four,
figures that contradict each other) does not fit and is left to that reader: no rule for the odd is written twice.
What nobody looks at is skipped.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from batchgen.providers.usage import LARGEST_COUNT
from batchgen.values import Usage

_Empty = Annotated[list[Any], Meta(max_length=0)]
_Count = Annotated[int, Meta(ge=0, le=LARGEST_COUNT // 2)]
_Tokens = Annotated[int, Meta(ge=1, le=LARGEST_COUNT // 2)]


class UsualMessage(Struct, gc=False):
    """A message of text, with the thinking before it under either of its names."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: _Empty | None = None
    thinking: None = None
    thinking_content: None = None
    reasoning_text: None = None
    thinking_blocks: _Empty | None = None
    thought: None = None
    thoughts: None = None
    reasoning_in_camel_case: None = field(name="reasoningContent", default=None)
    reasoning_summary: None = None
    refusal: None = None
    tool_calls: _Empty | None = None
    function_call: None = None


class UsualChoice(Struct, gc=False):
    """The only choice, at an end that is the same word for all vendors."""

    message: UsualMessage
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]
    index: Literal[0] | None = None
    logprobs: None = None
    error: None = None
    usage: None = None
    delta: None = None


class _Read(Struct, gc=False, forbid_unknown_fields=True):
    """What of the input came out of a cache, or went into one."""

    cached_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None
    text_tokens: Any = None
    audio_tokens: Any = None
    image_tokens: Any = None
    video_tokens: Any = None
    cache_type: Any = None


class _Written(Struct, gc=False, forbid_unknown_fields=True):
    """What of the output was thinking."""

    reasoning_tokens: _Count | None = None
    text_tokens: Any = None
    audio_tokens: Any = None
    image_tokens: Any = None
    accepted_prediction_tokens: Any = None
    rejected_prediction_tokens: Any = None


class UsualUsage(Struct, gc=False, forbid_unknown_fields=True):
    """Token counts under the names of either format."""

    input_tokens: _Tokens | None = None
    output_tokens: _Tokens | None = None
    total_tokens: _Tokens | None = None
    prompt_tokens: _Tokens | None = None
    completion_tokens: _Tokens | None = None
    prompt_tokens_details: _Read | None = None
    input_tokens_details: _Read | None = None
    output_tokens_details: _Written | None = None
    completion_tokens_details: _Written | None = None
    prompt_cache_hit_tokens: _Count | None = None
    prompt_cache_miss_tokens: Any = None
    image_tokens: Any = None
    audio_tokens: Any = None
    video_tokens: Any = None

    def read(self) -> Usage | None:
        """Return what `read_usage` would; None where there is more than one thing to choose from."""
        tokens_in = self.prompt_tokens
        tokens_out = self.completion_tokens
        if tokens_in is None or tokens_out is None:
            if (
                tokens_in is not None
                or tokens_out is not None
                or self.input_tokens is None
                or self.output_tokens is None
            ):
                return None
            tokens_in, tokens_out = self.input_tokens, self.output_tokens
        elif self.input_tokens is not None or self.output_tokens is not None:
            return None
        total = tokens_in + tokens_out
        if self.total_tokens is not None and self.total_tokens != total:
            return None
        cached, stored = self.prompt_cache_hit_tokens, None
        read = self.prompt_tokens_details or self.input_tokens_details
        if read is not None:
            if self.prompt_tokens_details and self.input_tokens_details:
                return None
            if cached is None:
                cached = read.cached_tokens
            elif read.cached_tokens != cached:
                return None
            stored = read.cache_creation_input_tokens
            if read.audio_tokens:
                return None
        if self.audio_tokens:
            return None
        if (cached or 0) + (stored or 0) > tokens_in:
            return None
        reasoning = None
        written = self.output_tokens_details or self.completion_tokens_details
        if written is not None:
            reasoning = written.reasoning_tokens
            if (reasoning or 0) > tokens_out or (self.output_tokens_details and self.completion_tokens_details):
                return None
        return Usage(tokens_in, tokens_out, total, cached, reasoning, stored)


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
    service_tier: None = None


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


class _Block(Struct, gc=False, forbid_unknown_fields=True):
    type: Literal["text"]
    text: str
    citations: None = None


class _Thought(Struct, gc=False, forbid_unknown_fields=True):
    thinking_tokens: _Count | None = None


class _ForMinutes(Struct, gc=False):
    ephemeral_1h_input_tokens: Literal[0] | None = None


class _ClaudeUsage(Struct, gc=False):
    input_tokens: _Count
    output_tokens: _Tokens
    cache_read_input_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None
    cache_creation: _ForMinutes | None = None
    output_tokens_details: _Thought | None = None
    service_tier: Literal["standard"] | None = None

    def read(self) -> Usage | None:
        """Return what `read_usage` would: cached tokens come on top of the input."""
        tokens_in = self.input_tokens + (self.cache_read_input_tokens or 0) + (self.cache_creation_input_tokens or 0)
        if not tokens_in:
            return None
        thought = None if self.output_tokens_details is None else self.output_tokens_details.thinking_tokens
        if (thought or 0) > self.output_tokens:
            return None
        cached, stored = self.cache_read_input_tokens, self.cache_creation_input_tokens
        return Usage(tokens_in, self.output_tokens, tokens_in + self.output_tokens, cached, thought, stored)


_ENDS: dict[str, Literal["stop", "length"]] = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length"}


class UsualClaude(Struct, gc=False):
    """A reply of Anthropic's Messages API: one block of text."""

    type: Literal["message"]
    content: tuple[_Block]
    stop_reason: Literal["end_turn", "stop_sequence", "max_tokens"]
    usage: _ClaudeUsage
    model: str | None = None
    id: str | None = None
    request_id: str | None = None
    error: None = None

    @property
    def choice(self) -> UsualChoice:
        """The answer as chat completions have it."""
        return UsualChoice(UsualMessage(self.content[0].text), _ENDS[self.stop_reason])


UsualReply = UsualNative | UsualChat | UsualClaude

native_reply = msgspec.json.Decoder(UsualNative).decode
claude_reply = msgspec.json.Decoder(UsualClaude).decode
chat_reply = msgspec.json.Decoder(UsualChat).decode
