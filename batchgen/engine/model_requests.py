"""Requests to the job's models, and what their replies mean; which of the models only stream is learnt on the way."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_

import anyio.to_thread
from msgspec import Struct

from batchgen.attachments.load import Attachments
from batchgen.providers.protocol import Provider
from batchgen.providers.request_parts import last_text
from batchgen.values import Failure, Message, Prompt, Request

FRAMES = 3
"""So many beginnings of prompts are looked at: where each row has another, requests are made one by one."""


class _Frame(Struct, frozen=True):
    """What all requests share that have the same `messages` before the last text: the bytes on both sides of it, and
    all that is not the body. `sides` are None where the text decides more than what stands between them."""

    messages: Sequence[Message]
    sides: tuple[bytes, bytes] | None
    request: Request

    def fits(self, messages: Sequence[Message]) -> bool:
        """Whether a conversation begins with the same bytes."""
        known = self.messages
        if len(messages) - 1 != len(known):
            return False
        if all(map(is_, known, messages)):  # the very same, as of one template
            return True
        return all(mine == other and _is_plain(other) for mine, other in zip(known, messages, strict=False))


class ModelRequests:
    """Builds requests and reads replies. `model` is the job's own; `stream` asks every model for a stream.

    `attachments` loads the files of rows, None if there are none. `live` builds requests for rows that the job's lane
    has refused, None if they wait for the lane.
    """

    def __init__(
        self,
        provider: Provider,
        model: str,
        *,
        stream: bool,
        live: Provider | None = None,
        attachments: Attachments | None = None,
    ) -> None:
        self._provider = provider
        self.live = live
        self._model = model
        self._attachments = attachments
        self._stream = stream
        self._streamed_models: dict[str, bool] = {}
        self._frame: _Frame | None = None
        self._frames_left = FRAMES
        self.read = provider.read_response
        """Returns what a whole response to a request means."""

    def build(self, prompt: Prompt, text: bytes | None = None, *, live: bool = False) -> Request:
        """Return the request for a prompt, in the job's lane or `live`; `text` is its `last_text`, where that is
        known."""
        if text is not None and not live:
            frame = self._frame
            fits = frame is not None and frame.fits(prompt.messages)
            if not fits and self._frames_left:
                self._frames_left -= 1
                frame, fits = self._frame_of(prompt), True
                self._frame = frame
            if fits and frame is not None and frame.sides is not None:
                before, after = frame.sides
                like = frame.request
                return Request(like.url, b"".join((before, text, after)), like.headers, like.streamed, like.model)
        provider = self.live if live and self.live is not None else self._provider
        stream = self._streamed_models.get(prompt.model or self._model)  # nearly all rows are spared the call
        return provider.build_request(prompt, stream=self.streams(prompt) if stream is None else stream)

    def _frame_of(self, prompt: Prompt) -> _Frame:
        """Return what requests have in common whose messages before the last are those of `prompt`.

        It is found by building two requests with other last texts.
        """
        messages, found = prompt.messages[:-1], []
        for words in ("the text of a row of batchgen", "the text of another row"):
            probe = Prompt([*messages, {"role": "user", "content": words}])
            request = self._provider.build_request(probe, stream=self.streams(probe))
            found.append((tuple(request.body.split(last_text(probe) or b"")), request))
        (sides, request), (others, _) = found
        alike = sides == others and len(sides) == 2 and all(map(_is_plain, messages))
        return _Frame(messages, (sides[0], sides[1]) if alike else None, request)

    async def load(self, prompt: Prompt) -> Prompt | Failure:
        """Return a prompt with its files as parts of its messages, or why it cannot be asked."""
        assert self._attachments is not None
        return await anyio.to_thread.run_sync(self._attachments.load, prompt)

    def streams(self, prompt: Prompt) -> bool:
        """Whether the prompt's model is asked for a stream."""
        if self._stream:
            return True
        model = prompt.model or self._model
        known = self._streamed_models.get(model)
        if known is None:
            known = self._streamed_models[model] = self._provider.must_stream(model)
        return known

    def stream_from_now_on(self, prompt: Prompt) -> None:
        """Ask the prompt's model for streams only: it has refused everything else."""
        self._streamed_models[prompt.model or self._model] = True
        self._frame, self._frames_left = None, FRAMES


def _is_plain(message: Message) -> bool:
    """Whether a message is a role and a text, in this order, so that an equal one has the same bytes."""
    return [*message] == ["role", "content"] and all(type(value) is str for value in message.values())
