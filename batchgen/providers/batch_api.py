"""What a vendor's batch API offers: pure functions, calls to make and replies to read. No I/O, no clock, no state.

Vendors differ in two shapes. Most take a file of requests and give files of results (OpenAI's form); Anthropic takes
all requests in the call that creates the batch. What the rest of the program sees is one shape: a batch is created from
a file of lines, it has a state, and its results are lines that name the request that they answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from batchgen.values import ApiCall, Completion, Failure, FailureKind, LocalPath, Request, Response

BatchPhase = Literal["checking", "queued", "running", "closing", "ended", "refused"]
"""What becomes of a batch. `ended`: look into the results, each row has its own end; also an expired, cancelled or
failed batch may have finished rows that are paid. `refused`: as a whole, no row ran. A word that nobody knows counts as
`running`."""


class BatchLimits(Struct, frozen=True, kw_only=True):
    """The largest batch a vendor takes. `window_h` are the least and the most hours that it may be given, None where
    any word is passed on. `needs_file_ready`: an uploaded file is checked before it may be used."""

    rows: int
    file_bytes: int
    line_bytes: int | None = None
    open_batches: int | None = None
    window_h: tuple[int, int] | None = (24, 24)
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
    allowed, where the vendor says so), so that the rows have lost nothing. `too_large`: a smaller one may be taken.
    `stops`: no other batch would be taken either (no balance, unknown model). `line` counts from 1.
    """

    message: str
    code: str | None = None
    line: int | None = None
    kind: FailureKind = FailureKind.INVALID_REQUEST
    queue_full: bool = False
    queue_limit: int | None = None
    too_large: bool = False
    stops: bool = False


NO_REASON = BatchError("the vendor gives no reason")


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
    """A batch that is to be created. `run` and `part` name it in the vendor's list; `path` holds its lines, each with a
    newline; `model` is that of all its requests."""

    run: str
    part: int
    sha: str
    path: LocalPath
    rows: int
    window: str
    input_file: str | None = None
    model: str = ""


class BatchPage(Struct, frozen=True):
    """Some of the vendor's batches or files. `next` is the call for those that follow, None at the end.
    `at_s` is when the reply was made, by the vendor's clock."""

    batches: Sequence[BatchStatus] = ()
    files: Sequence[BatchFile] = ()
    next: ApiCall | None = None
    at_s: float | None = None


class ResultLine(Struct, frozen=True):
    """A line of results. `custom_id` is None where the line cannot be read; `again`: the row never ran (expired,
    cancelled, its model unknown for the moment), so that it is to be sent once more without having used an attempt.
    """

    custom_id: str | None
    outcome: Completion | Failure
    again: bool = False


class BatchApi(Protocol):
    """The batch API of one vendor, bound to one model's settings.

    A `Failure` of a reading says what a live call's would: with the verdict STOP no other call can succeed, with WAIT
    and RETRY the same call may later, with FAIL (kind TOO_LONG) it was too large. `maybe_billed`: a call that creates
    may have done so all the same. After a call that names a file or a batch, `http_status` 404 or 410 says that there
    is none such (any more).
    """

    @property
    def limits(self) -> BatchLimits:
        """The largest batch that the vendor takes."""

    @property
    def inline(self) -> bool:
        """Whether the requests travel in the call that creates the batch, so that there is no file at the vendor."""

    def group(self, request: Request) -> str:
        """Return what all requests of one file have to have in common, such as the model."""

    def line(self, custom_id: str, request: Request) -> bytes:
        """Return a request as a line of the file, without its newline."""

    def upload(self, path: LocalPath, name: str) -> ApiCall:
        """Return the call that uploads a file of lines; `name` ends in `.jsonl`."""

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

    def list_batches(self, since_s: float, input_file: str | None = None) -> ApiCall:
        """Return the call for the newest batches, those created since then at least; only those of an input file where
        the vendor can tell them."""

    def is_of(self, status: BatchStatus, intent: BatchIntent) -> bool | None:
        """Return whether a listed batch is the one that was to be created; None where only its results can tell."""

    def cancel(self, batch_id: str) -> ApiCall:
        """Return the call that cancels a batch; what is finished by then stays and is billed."""

    def clean_up(self, status: BatchStatus) -> Sequence[ApiCall]:
        """Return the calls that delete everything of a collected batch at the vendor."""

    def read_batch(self, response: Response) -> BatchStatus | BatchError | Failure:
        """Return the batch that a reply shows, or why it was refused as a whole when it was to be created; a `Failure`
        tells nothing of it."""

    def read_page(self, response: Response) -> BatchPage | Failure:
        """Return a page of batches or files."""

    def refusal(self, response: Response) -> Failure | None:
        """Return why a call failed whose reply has nothing to read (a deletion, a download); None if it did not."""

    def results(self, status: BatchStatus) -> Sequence[ApiCall]:
        """Return the calls that download the results of an ended batch: of every kind of end, both files."""

    def read_line(self, line: bytes, model: str = "") -> ResultLine:
        """Return what a line of results means; `model` is that of the requests of the file, the job's own by default.
        Never raises, whatever the bytes are."""
