"""Replies of a batch API → plain values: batches, files, times, and why something was refused.

Vendors and gateways write the same object in many ways: words in capitals, times as numbers, texts or objects, counts
that are absent, lists under several names. One reader takes them all, and nothing in them raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import structs

from batchgen.providers.batch_api import NO_REASON, BatchError, BatchFile, BatchPhase, BatchStatus
from batchgen.providers.error_body import find_error, read_error
from batchgen.providers.error_catalogue import find_batch_rule
from batchgen.providers.error_rule import Rule
from batchgen.providers.error_words import queue_limit
from batchgen.providers.protocol import Provider
from batchgen.providers.wire import UnreadableError, decode_json, printable, word_or_none
from batchgen.values import Failure, FailureKind, Request, Response, Throttle, Verdict

_PHASES: Mapping[str, BatchPhase] = {
    **dict.fromkeys(("validating", "checking"), "checking"),
    **dict.fromkeys(("queued", "pending", "created", "submitted", "scheduled", "not_started"), "queued"),
    **dict.fromkeys(("finalizing", "cancelling", "canceling", "cancellation_requested"), "closing"),
    **dict.fromkeys(("completed", "success", "succeeded", "partially_succeeded", "ended", "done"), "ended"),
    **dict.fromkeys(("expired", "timeout_exceeded", "cancelled", "canceled", "failed", "error"), "ended"),
}
_FAILED = frozenset({"failed", "error"})
_EXPIRED = frozenset({"expired", "timeout_exceeded"})

_PREFIX = re.compile(r"^(?:job|batch)_(?:state|status)_")
_EARLIEST_S = 1_262_304_000.0  # 2010: no vendor is older, and some write an earlier day for "not yet"
_LATEST_S = 32_503_680_000.0
_MILLISECONDS = 1e11
_TIME_FIELDS = ("seconds", "$date", "value", "time", "timestamp")
_GOOD_WORDS = re.compile(r"success|complete|finished|\bok\b", re.IGNORECASE)
_NOT_READY = frozenset({"pending", "uploaded", "uploading", "running", "processing", "validating", "notrunning"})
_FILE_FAILED = frozenset({"error", "failed", "deleted", "deleting", "expired", "rejected"})
_LISTS = ("data", "value", "batches", "jobs", "files", "items", "results")
_PERHAPS_DONE = frozenset({408, 409, 425, 429})


def document(response: Response) -> Any:
    """Return the JSON value of a reply with a status of success; None for any other."""
    if not 200 <= response.status < 300:
        return None
    try:
        return decode_json(response.body)
    except UnreadableError:
        return None


def one_object(response: Response) -> Mapping[str, Any] | None:
    """Return the object with an id that a reply shows, also where it is wrapped in another one."""
    value = document(response)
    if not isinstance(value, dict):
        return None
    wrapped = (value.get(name) for name in ("job", "batch", "data", "file", "result"))
    places = (value, *wrapped)
    return next((place for place in places if isinstance(place, dict) and word_or_none(place.get("id"))), None)


def listed(response: Response) -> Sequence[Mapping[str, Any]] | None:
    """Return the objects of a list; None if the reply is none."""
    value = document(response)
    if isinstance(value, dict):
        value = next((value[name] for name in _LISTS if isinstance(value.get(name), list)), None)
    if not isinstance(value, list):
        return None
    return [one for one in value if isinstance(one, dict) and word_or_none(one.get("id"))]


def next_after(response: Response, asked: int) -> str | None:
    """Return the id after which a list goes on; None at its end.

    One that does not say whether there is more may go on behind a full page, of as many things as were `asked` for.
    """
    value, items = document(response), listed(response) or ()
    if not isinstance(value, dict):
        return None
    more = value.get("has_more")
    if more is not True and (more is not None or len(items) < asked):
        return None
    return word_or_none(value.get("last_id")) or (str(items[-1]["id"]) if items else None)


def read_status(given: Mapping[str, Any], errors: Sequence[Rule]) -> BatchStatus:
    """Return a batch of OpenAI's form, or of a vendor's that differs from it in names."""
    word = word_or_none(given.get("status")) or word_or_none(given.get("state")) or ""
    results = [
        name
        for field in ("output_file_id", "output_file", "error_file_id", "error_file")
        if (name := word_or_none(given.get(field))) is not None
    ]
    reasons = batch_errors(given, errors)
    counts = given.get("request_counts")
    counted = counts if isinstance(counts, dict) else {}
    completed = whole(counted.get("completed", given.get("succeeded_requests")))
    phase = phase_of(word, results=bool(results or completed), reasons=bool(reasons))
    inputs = given.get("input_files")
    metadata = given.get("metadata")
    return BatchStatus(
        id=str(given["id"]),
        phase=phase,
        word=word,
        input_file=word_or_none(given.get("input_file_id"))
        or (word_or_none(inputs[0]) if isinstance(inputs, list) and inputs else None),
        results=tuple(dict.fromkeys(results)),
        errors=reasons or ((NO_REASON,) if phase == "refused" else ()),
        total=whole(counted.get("total", given.get("total_requests"))),
        completed=completed,
        failed=whole(counted.get("failed", given.get("failed_requests"))),
        created_s=time_s(given.get("created_at")),
        ended_s=next(
            (
                moment
                for field in ("completed_at", "failed_at", "expired_at", "cancelled_at", "ended_at")
                if (moment := time_s(given.get(field))) is not None
            ),
            None,
        ),
        metadata={str(key): str(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {},
    )


def phase_of(word: str, *, results: bool, reasons: bool) -> BatchPhase:
    """Return what a vendor's word for a batch's state means. `results`: it names files of them, or rows that it has
    finished.

    A batch without results that failed, or that ended for a stated reason, was refused: no row ran.
    """
    known = _PREFIX.sub("", re.sub(r"[\s-]+", "_", word.strip().lower()))
    phase = _PHASES.get(known, "running")
    if phase == "ended" and not results and (known in _FAILED or (reasons and known not in _EXPIRED)):
        return "refused"
    return phase


def batch_errors(given: Mapping[str, Any], errors: Sequence[Rule]) -> tuple[BatchError, ...]:
    """Return the reasons that stand in a batch: OpenAI's list, a plain list, texts, or one error."""
    found = given.get("errors")
    if isinstance(found, dict):
        found = found["data"] if isinstance(found.get("data"), list) else [found]
    entries = found if isinstance(found, list) else [found]
    entries = [*entries, given.get("error"), *(text for name, text in given.items() if _is_reason(name, text))]
    return tuple(batch_error(entry, 0, errors) for entry in entries[:1_000] if entry)


def _is_reason(name: str, text: Any) -> bool:
    """Whether a field of a vendor's own says why a batch has ended (xAI's `cancel_by_xai_message`)."""
    named = name.endswith(("_message", "_reason"))
    return named and isinstance(text, str) and bool(text) and _GOOD_WORDS.search(text) is None


def batch_error(entry: Any, status: int, errors: Sequence[Rule]) -> BatchError:
    """Return one reason; `status` is that of the reply in which it stands alone, else 0."""
    error = read_error({"message": entry} if isinstance(entry, str) else entry)
    rule = find_batch_rule(errors, status, error)
    said = f"{error.message} {error.details}"
    places = (entry, entry.get("error")) if isinstance(entry, dict) else ()  # a reply that refuses wraps it
    line = next((place["line"] for place in places if isinstance(place, dict) and "line" in place), None)
    full = rule.throttle is Throttle.QUEUE
    return BatchError(
        message=error.message or error.code or NO_REASON.message,
        code=error.code or error.type,
        line=line if type(line) is int and line > 0 else None,
        kind=rule.kind,
        queue_full=full,
        queue_limit=queue_limit(said) if full else None,
        too_large=rule.kind is FailureKind.TOO_LONG,
        stops=rule.verdict is Verdict.STOP,
    )


def read_file_object(given: Mapping[str, Any], *, needs_ready: bool) -> BatchFile:
    """Return a file; where files are checked first, one that nobody has said to be processed is not ready."""
    state = (word_or_none(given.get("status")) or "").lower()
    why = None
    if state in _FILE_FAILED:
        detail = given.get("status_details") or given.get("error")
        why = read_error(detail).message or f"the file's status is {state}"
    return BatchFile(
        id=str(given["id"]),
        name=word_or_none(given.get("filename")) or word_or_none(given.get("name")) or "",
        bytes=whole(next((given[name] for name in ("bytes", "size_bytes", "size") if name in given), None)),
        created_s=time_s(given.get("created_at")),
        ready=why is None and not (needs_ready and state in _NOT_READY),
        failed=why,
    )


def time_s(value: Any) -> float | None:
    """Return a time in seconds since 1970: from seconds, milliseconds, an ISO text, or an object with one of them.

    None for what is none, and for the days long ago that stand for "not yet".
    """
    if isinstance(value, dict):
        value = next((value[name] for name in _TIME_FIELDS if name in value), None)
        if isinstance(value, dict):
            return None
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            try:
                moment = datetime.fromisoformat(value.strip())
            except ValueError:
                return None
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            try:
                value = moment.timestamp()
            except (ValueError, OverflowError):
                return None
    if not isinstance(value, (int, float)):
        return None
    seconds = value / 1000 if abs(value) >= _MILLISECONDS else value
    return float(seconds) if _EARLIEST_S <= seconds <= _LATEST_S else None


def whole(value: Any) -> int | None:
    """Return a count, also one that is written as a text or with decimals; None for what is none."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**53:
        return None
    return int(value)


class ReplyReader:
    """Says why a reply is not what was asked for. `url` is where the requests themselves would go; `errors` is the
    vendor's table, `model` the job's own."""

    def __init__(self, provider: Provider, url: str, errors: Sequence[Rule], model: str) -> None:
        self._provider = provider
        self._request = Request(url, b"", {}, model=model)
        self.errors = errors

    def refused(self, response: Response) -> BatchError | None:
        """Return why a batch was refused when it was to be created; None where the reply does not say that it was.

        What stops the run, and what may pass, is a `Failure`: see `unusable`.
        """
        if not 400 <= response.status < 500:
            return None
        try:
            given = decode_json(response.body)
        except UnreadableError:
            return None
        rule = find_batch_rule(self.errors, response.status, read_error(given))
        final = rule.verdict is Verdict.FAIL and response.status not in _PERHAPS_DONE
        if final or rule.throttle is Throttle.QUEUE or rule.kind is FailureKind.MODEL_UNAVAILABLE:
            return batch_error(given, response.status, self.errors)
        return None

    def unusable(self, response: Response) -> Failure:
        """Return what a reply means that is an error, or something that cannot be read.

        Whatever was to be created may have been, unless the status says that it was not. A call that is refused for
        good stops the run, as all others would be refused, too; but a smaller file may be taken.
        """
        status = response.status
        if not 200 <= status < 300 or find_error(document(response)) is not None:
            outcome = self._provider.read_response(self._request, response)
            if isinstance(outcome, Failure):
                return self._judged(outcome, response)
        said = printable(response.body[:200].decode("utf-8", "replace"))
        return Failure(
            FailureKind.UNREADABLE,
            Verdict.RETRY,
            f"HTTP {status} without the object that was asked for: {said}",
            http_status=status,
            request_id=response.headers.get("x-request-id"),
            maybe_billed=True,
        )

    def _judged(self, failure: Failure, response: Response) -> Failure:
        status = response.status
        try:
            said = read_error(decode_json(response.body))
        except UnreadableError:
            said = None
        rule = None if said is None or 300 <= status < 400 else find_batch_rule(self.errors, status, said)
        kind, verdict = (failure.kind, failure.verdict) if rule is None else (rule.kind, rule.verdict)
        if verdict is Verdict.WAIT and status >= 500:
            kind = FailureKind.SERVER_ERROR
        if verdict is Verdict.FAIL and kind is not FailureKind.TOO_LONG:
            verdict = Verdict.STOP
        perhaps = failure.maybe_billed or status in _PERHAPS_DONE or status < 300 or status >= 500
        refused = verdict is Verdict.STOP and rule is not None  # for want of balance, say, whatever the status
        return structs.replace(failure, kind=kind, verdict=verdict, maybe_billed=perhaps and not refused, usage=None)
