"""A free trial of a vendor's batches (`check --dry-run-batch`): the way of a batch from file to results, no inference.

DashScope has a model for it, which gives the same answer to all. Key, address, files and the reading of results are
tried with the job's own first rows; what the job's model says to them is not.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from msgspec import Struct

from batchgen.errors import InputError, ProviderStop, UsageError
from batchgen.job.endpoint import Endpoint
from batchgen.job.parts import JobParts, assemble
from batchgen.job.render import prompt_columns, rendered
from batchgen.job.settings import Job
from batchgen.job.spooled_input import input_for_reading
from batchgen.providers.batch_api import BatchApi, BatchError, BatchFile, BatchIntent, BatchStatus
from batchgen.transport import open_file_client
from batchgen.transport.file_client import FileClient
from batchgen.values import ApiCall, Completion, Failure, Response

ROWS = 3
"""So many rows are sent: the vendor takes up to 100."""

_TIMEOUT_S = 60.0
_FIRST_POLL_S = 1.0
_SLOWER = 1.5
_LONGEST_S = 1800.0

_Sleep = Callable[[float], Awaitable[None]]


class BatchTrial(Struct, frozen=True):
    """What came of a trial: so many rows were sent and answered, with `text`; `left` could not be deleted there."""

    batch: str
    rows: int
    answered: int
    text: str | None
    left: list[str]


async def try_batch(job: Job, endpoint: Endpoint, *, sleep: _Sleep = anyio.sleep) -> BatchTrial:
    """Hand in a batch of the job's first rows for the vendor's model for trials, and read its results.

    Raises `UsageError` where there is no such trial, `ProviderStop` with the vendor's reason for a step that fails.
    """
    with input_for_reading(job) as read, TemporaryDirectory(prefix="batchgen-") as place:
        parts = assemble(read, endpoint)
        api = parts.batch_api(trial=True)
        terms = None if parts.lane is None else parts.lane.batch
        if api is None or terms is None or terms.trial is None:
            raise UsageError(
                f"There is no free trial of batches for {job.model.provider}: of the vendors DashScope alone has one. "
                "A run of a few rows (--limit 3) shows the same for little."
            )
        path = Path(place) / "trial.jsonl"
        lines = _lines(parts, api)
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        async with open_file_client(endpoint.base_url, parts.secrets) as client:
            return await _Trial(api, client, parts, sleep).run(path, len(lines))


def _lines(parts: JobParts, api: BatchApi) -> list[bytes]:
    lines: list[bytes] = []
    for batch in parts.source.batches(0, prompt_columns(parts)):
        for row, prompt in rendered(parts, batch):
            if not isinstance(prompt, str):
                lines.append(api.line(f"trial-{row}", parts.provider.build_request(prompt, stream=False)))
            if len(lines) == ROWS:
                return lines
    if not lines:
        raise InputError("No row of the input can be asked: there is nothing to try.")
    return lines


class _Trial:
    """The steps of one trial."""

    def __init__(self, api: BatchApi, client: FileClient, parts: JobParts, sleep: _Sleep) -> None:
        self._api = api
        self._client = client
        self._secrets = parts.secrets
        self._sleep = sleep
        self._waited_s = 0.0

    async def run(self, path: Path, rows: int) -> BatchTrial:
        api, name = self._api, secrets.token_hex(4)
        file = await self._file(api.upload(path, f"bg-trial-{name}.jsonl"), "take its file")
        left = [file.id]
        try:
            while not file.ready:
                if file.failed is not None:
                    raise self._stop("use the file", file.failed)
                await self._wait("check the file")
                file = await self._file(api.file(file.id), "show its file")
            intent = BatchIntent(run=f"trial-{name}", part=1, sha=name, path=path, rows=rows, window="24h",
                                 input_file=file.id)  # fmt: skip
            status = await self._batch(api.create(intent), "create the batch")
            while status.phase not in ("ended", "refused"):
                await self._wait("answer it")
                status = await self._batch(api.retrieve(status.id), "show the batch")
            left += status.results
            if status.phase == "refused":
                raise self._stop("take the batch", status.errors[0].message if status.errors else status.word)
            answers = [answer for place, call in enumerate(api.results(status))
                       for answer in await self._answers(call, path.with_name(f"results-{place}"))]  # fmt: skip
        finally:
            kept = [one for one in left if not await self._deleted(one)]
        text = next((answer.text for answer in answers), None)
        return BatchTrial(status.id, rows, len(answers), text, kept)

    async def _file(self, call: ApiCall, step: str) -> BatchFile:
        found = self._api.read_file(await self._reply(call, step))
        if isinstance(found, Failure):
            raise self._stop(step, found.message)
        return found

    async def _batch(self, call: ApiCall, step: str) -> BatchStatus:
        found = self._api.read_batch(await self._reply(call, step))
        if isinstance(found, (Failure, BatchError)):
            raise self._stop(step, found.message)
        return found

    async def _answers(self, call: ApiCall, path: Path) -> list[Completion]:
        reply = await self._client.download(call, path, timeout_s=_TIMEOUT_S)
        refused = reply if isinstance(reply, Failure) else self._api.refusal(reply)
        if refused is not None:
            raise self._stop("give the results", refused.message)
        lines = (await anyio.Path(path).read_bytes()).split(b"\n")
        read = [self._api.read_line(line).outcome for line in lines if line.strip()]
        return [outcome for outcome in read if isinstance(outcome, Completion)]

    async def _reply(self, call: ApiCall, step: str) -> Response:
        reply = await self._client.call(call, timeout_s=_TIMEOUT_S)
        if isinstance(reply, Failure):
            raise self._stop(step, reply.message)
        return reply

    async def _deleted(self, file_id: str) -> bool:
        reply = await self._client.call(self._api.delete_file(file_id), timeout_s=_TIMEOUT_S)
        return isinstance(reply, Response) and (reply.status in (404, 410) or self._api.refusal(reply) is None)

    async def _wait(self, step: str) -> None:
        pause_s = max(_FIRST_POLL_S, min(_TIMEOUT_S, self._waited_s * (_SLOWER - 1)))
        self._waited_s += pause_s
        if self._waited_s > _LONGEST_S:
            raise self._stop(step, f"nothing has come of it in {_LONGEST_S / 60:g} minutes")
        await self._sleep(pause_s)

    def _stop(self, step: str, reason: str) -> ProviderStop:
        return ProviderStop(
            self._secrets.mask(f"The trial of a batch has failed, as the vendor did not {step}: {reason}")
        )
