"""What a vendor's batch API offers: pure functions, calls to make and replies to read. No I/O, no clock, no state.

Vendors differ in two shapes. Most take a file of requests and give files of results (OpenAI's form); Anthropic takes
all requests in the call that creates the batch. What the rest of the program sees is one shape: a batch is created from
a file of lines, it has a state, and its results are lines that name the request that they answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from msgspec import Struct

from batchgen.values import Completion, Failure, Request, Response

BatchPhase = Literal["checking", "queued", "running", "closing", "ended", "refused"]
"""What becomes of a batch. `ended`: look into the results, each row has its own end; also an expired or cancelled batch
has finished rows that are paid. `refused`: as a whole, no row ran. A word that nobody knows counts as `running`."""


class ApiCall(Struct, frozen=True):
    """One call of a batch API; the key is not in here.

    `body` is sent as JSON unless `upload` names a local file, which is then streamed: as a multipart form with the
    fields of `form` where `file_field` is set, else as the body itself, between `before` and `after`. `creates`: done
    twice it would buy or leave something twice, so that a lost reply is looked up, never sent again.
    """

    method: Literal["GET", "POST", "DELETE"]
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    upload: Path | None = None
    file_name: str = ""
    file_field: str | None = None
    form: Mapping[str, str] = {}
    before: bytes = b""
    after: bytes = b""
    creates: bool = False


class BatchLimits(Struct, frozen=True, kw_only=True):
    """The largest batch a vendor takes. `needs_file_ready`: an uploaded file is checked before it may be used."""

    rows: int
    file_bytes: int
    line_bytes: int | None = None
    open_batches: int | None = None
    windows: Sequence[str] = ("24h",)
    needs_file_ready: bool = False


class BatchFile(Struct, frozen=True):
    """A file at the vendor. `ready`: it may be used; `failed`: it never will be, with the vendor's reason."""

    id: str
    name: str = ""
    bytes: int | None = None
    created_s: float | None = None
    ready: bool = True
    failed: str | None = None


class BatchError(Struct, frozen=True):
    """Why a batch was refused as a whole. `queue_full`: as too much is waiting already (`queue_limit` tokens are
    allowed, where the vendor says so), so that the rows have lost nothing. `stops`: no other batch would be taken
    either (no balance, unknown model). `line` counts from 1.
    """

    message: str
    code: str | None = None
    line: int | None = None
    queue_full: bool = False
    queue_limit: int | None = None
    stops: bool = False


class BatchStatus(Struct, frozen=True, kw_only=True):
    """A batch as the vendor shows it. `word` is the vendor's own for its state; `results` are where its lines are
    (file ids, or an address); the counts are a hint only. Times are seconds since 1970.
    """

    id: str
    phase: BatchPhase
    word: str
    input_file: str | None = None
    results: Sequence[str] = ()
    errors: Sequence[BatchError] = ()
    total: int | None = None
    completed: int | None = None
    failed: int | None = None
    created_s: float | None = None
    ended_s: float | None = None
    metadata: Mapping[str, str] = {}


class BatchIntent(Struct, frozen=True, kw_only=True):
    """A batch that is to be created. `run` and `part` name it in the vendor's list; `path` holds its lines."""

    run: str
    part: int
    sha: str
    path: Path
    rows: int
    window: str
    input_file: str | None = None


class BatchPage(Struct, frozen=True):
    """Some of the vendor's batches or files, newest first. `next` is the call for those before; None at the end."""

    batches: Sequence[BatchStatus] = ()
    files: Sequence[BatchFile] = ()
    next: ApiCall | None = None


class ResultLine(Struct, frozen=True):
    """A line of results. `custom_id` is None where the line cannot be read; `again`: the row never ran (expired,
    cancelled, its model unknown for the moment), so that it is to be sent once more without having used an attempt.
    """

    custom_id: str | None
    outcome: Completion | Failure
    again: bool = False


class BatchApi(Protocol):
    """The batch API of one vendor, bound to one model's settings."""

    @property
    def limits(self) -> BatchLimits:
        """The largest batch that the vendor takes."""

    @property
    def inline(self) -> bool:
        """Whether the requests travel in the call that creates the batch, so that there is no file at the vendor."""

    def line(self, custom_id: str, request: Request) -> bytes:
        """Return a request as a line of the file, without its newline."""

    def upload(self, path: Path, name: str) -> ApiCall:
        """Return the call that uploads a file of lines."""

    def file(self, file_id: str) -> ApiCall:
        """Return the call that shows a file."""

    def read_file(self, response: Response) -> BatchFile | Failure:
        """Return the file that a reply shows."""

    def list_files(self) -> ApiCall:
        """Return the call for the newest files."""

    def delete_file(self, file_id: str) -> ApiCall:
        """Return the call that deletes a file."""

    def create(self, intent: BatchIntent) -> ApiCall:
        """Return the call that creates a batch."""

    def retrieve(self, batch_id: str) -> ApiCall:
        """Return the call that shows a batch."""

    def list_batches(self, since_s: float) -> ApiCall:
        """Return the call for the newest batches, those created since then at least."""

    def cancel(self, batch_id: str) -> ApiCall:
        """Return the call that cancels a batch; what is finished by then stays and is billed."""

    def clean_up(self, status: BatchStatus) -> Sequence[ApiCall]:
        """Return the calls that delete everything of a collected batch at the vendor."""

    def read_batch(self, response: Response) -> BatchStatus | BatchError | Failure:
        """Return the batch that a reply shows, or why it was refused as a whole; a `Failure` tells nothing of it."""

    def read_page(self, response: Response) -> BatchPage | Failure:
        """Return a page of batches or files."""

    def results(self, status: BatchStatus) -> Sequence[ApiCall]:
        """Return the calls that download the results of an ended batch: of every kind of end, both files."""

    def read_line(self, line: bytes) -> ResultLine:
        """Return what a line of results means. Never raises, whatever the bytes are."""
