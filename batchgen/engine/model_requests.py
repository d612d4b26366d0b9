"""Requests to the job's models, and what their replies mean; which of the models only stream is learnt on the way."""

from __future__ import annotations

import anyio.to_thread

from batchgen.attachments.load import Attachments
from batchgen.providers.protocol import Provider
from batchgen.values import Failure, Prompt, Request


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
        self.read = provider.read_response
        """Returns what a whole response to a request means."""

    def build(self, prompt: Prompt, *, live: bool = False) -> Request:
        """Return the request for a prompt, in the job's lane or `live`."""
        provider = self.live if live and self.live is not None else self._provider
        stream = self._streamed_models.get(prompt.model or self._model)  # nearly all rows are spared the call
        return provider.build_request(prompt, stream=self.streams(prompt) if stream is None else stream)

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
