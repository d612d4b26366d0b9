"""What the commands print: plain text for people, without control characters."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from batchgen.engine.batches.leaving import CREATE_LEAVE_S
from batchgen.engine.summary import AskedLive, Summary
from batchgen.storage.batch_table import BatchShown
from batchgen.storage.run_state import EndpointShown
from batchgen.text.figures import duration, money, plain, quantity
from batchgen.text.terminal import harmless

if TYPE_CHECKING:
    from batchgen.engine.batch_trial import BatchTrial
    from batchgen.job.check import Checked, LongRows
    from batchgen.job.reuse import ReusePlan


def summary_text(summary: Summary, breakdown: Sequence[str] = (), failed: Sequence[str] = ()) -> str:
    """Return the end of a run in a few lines; `breakdown` are lines on how the rows ended, `failed` name the first rows
    that failed, each with why."""
    currency = summary.currency or ""
    state = _STATES[summary.state] + (" (simulated)" if summary.simulated else "")
    lines = [f"{state}: {quantity(summary.rows, 'row')}, {summary.succeeded:,} succeeded, {summary.failed:,} failed"]
    if summary.pending:
        lines[0] += f", {summary.pending:,} still to do"
    lines += breakdown
    if summary.error is not None:
        lines.append(f"stopped by  {summary.error['message']}")
    lines.append(f"requests    {summary.attempts:,} sent in all, {summary.refused:,} rate-limited in this run")
    lines += _taken_over_text(summary, currency)
    if summary.unknown_finish_reasons:
        words = ", ".join(f"{word!r} ({rows:,})" for word, rows in summary.unknown_finish_reasons.items())
        lines.append(f"ends        unknown finish reasons, see whether these answers are whole: {words}")
    lines += _bill_text(summary, currency)
    lines.append(f"time        {duration(summary.wall_s)}, {summary.rows_per_s:,.1f} rows/s")
    lines += [_endpoint_text(msgspec.convert(one, EndpointShown), currency) for one in summary.endpoints]
    if summary.limited_by:
        lines.append(f"limited by  {summary.limited_by}")
    if summary.cut:
        lines.append(
            f"cut         {quantity(summary.cut, 'answer ends', 'answers end')} at the longest allowed length "
            "(finish_reason length); a higher max_tokens under model.parameters gives them room"
        )
    if failed:
        lines += ["failed rows", *(f"  {one}" for one in failed)]
        if summary.failed > len(failed):
            lines.append(f"  and {summary.failed - len(failed):,} more: batchgen report {shlex.quote(summary.output)}")
    lines += _results_text(summary)
    lines += _next_text(summary)
    return harmless("\n".join(lines))


def _taken_over_text(summary: Summary, currency: str) -> list[str]:
    """Say how many rows took an answer that was there already, of another row or of an earlier run."""
    lines = []
    if summary.shared:
        rows = quantity(summary.shared, "row")
        lines.append(f"duplicates  {rows} had the request of another row and took its answer{_saved(summary)}")
    if summary.reused:
        saved = f": about {money(summary.saved, currency)} saved" if summary.saved else ""
        lines.append(f"reused      {quantity(summary.reused, 'row')} took the answer of an earlier run{saved}")
    if summary.refreshed is not None:
        asked, moved = summary.refreshed.asked, summary.refreshed.moved
        share = f" ({moved / asked:.1%})" if asked else ""
        lines.append(
            f"refreshed   {quantity(asked, 'row')} with an earlier answer asked again: "
            f"{quantity(moved, 'answer')} moved{share}"
        )
    return lines


def _bill_text(summary: Summary, currency: str) -> list[str]:
    """Say what the run took in tokens and cost, and what may be billed beyond."""
    lines = [
        f"tokens      {_count(summary.input_tokens)} in, {_count(summary.output_tokens)} out, "
        f"{_count(summary.total_tokens)} together"
    ]
    if summary.cached_tokens and summary.input_tokens:
        saved = f": about {money(summary.cached_saved, currency)} saved" if summary.cached_saved else ""
        part = summary.cached_tokens / summary.input_tokens
        lines.append(f"cached      {part:.0%} of the input tokens came from the provider's prompt cache{saved}")
    if summary.cost is None:
        lines.append(f"cost        {'nothing yet' if currency else 'unknown: the model has no known price'}")
    else:
        simulated = "simulated: " if summary.simulated else ""
        each = summary.cost * 1000 / summary.succeeded if summary.succeeded else None
        per_thousand = "" if each is None else f" ({money(each, currency)} per 1,000 answers)"
        lines.append(f"cost        {simulated}{money(summary.cost, currency)}{per_thousand}")
    if summary.asked_live is not None and summary.asked_live.rows:
        lines.append(_asked_live_text(summary.asked_live, currency))
    lost = summary.possibly_billed
    if lost.requests:
        most = f", at most {money(lost.cost, currency)}" if lost.cost else ""
        lines.append(f"            {quantity(lost.requests, 'request')} got no answer and may be billed{most}")
    return lines


def _next_text(summary: Summary) -> list[str]:
    """Say what is open at the vendor, and which command goes on from here."""
    if summary.state == "complete":
        return ["The same command with --retry-failed tries the failed rows again."] if summary.failed else []
    lines = [(summary.error or {}).get("remedy") or "Running the same command again goes on from here."]
    there = [batch for batch in summary.batches if batch.at_vendor]
    if there:
        lines.insert(0, f"{_open_text(there)}.")
        lines.append(f"To end the batches and keep what they have: batchgen cancel {shlex.quote(summary.output)}")
    return lines


def _results_text(summary: Summary) -> list[str]:
    """Say where the results are: first where the job wants them."""
    if summary.directory is None:
        return [f"results     {summary.output}/results"]
    then = "the job is run again" if summary.state == "complete" else "the run is complete"
    first = summary.published or f"{summary.output} once {then}"
    return [f"results     {first}", f"            on this machine: {summary.directory}/results"]


def _open_text(batches: Sequence[BatchShown]) -> str:
    """Say that batches are open, and what that means."""
    rows = quantity(sum(batch.rows for batch in batches), "row")
    if len(batches) == 1:
        return f"1 batch with {rows} stays open at the vendor, which goes on with it and bills it"
    return f"{len(batches):,} batches with {rows} stay open at the vendor, which goes on with them and bills them"


def interrupted_text(batches: Sequence[BatchShown], directory: str, *, again: bool, cancels: bool) -> str:
    """Return what is said when a run is interrupted; `again`: it was before.

    `batches` are open, and go on; `cancels`: they were to be cancelled.
    """
    created = any(batch.state == "creating" for batch in batches)
    if again:
        looks = "; the next run looks for the batch that was being created" if created else ""
        return f"Interrupted again: what is in flight is given up, and may be billed{looks}."
    if not batches:
        return "Interrupted: waiting for what is in flight. Once more stops at once."
    cancel = f"batchgen cancel {shlex.quote(directory)}"
    ways = f"The same command collects the answers; {cancel} ends what is open."
    if cancels:
        ways = f"{cancel} once more cancels and collects the rest."
    if created:
        ways += (
            f" The vendor's reply to the batch that is being created is waited for, up to {CREATE_LEAVE_S:.0f} s; "
            "without it the next run looks for that batch before anything is created again."
        )
    return f"Interrupted. {_open_text(batches)}. {ways} Once more stops at once."


def _asked_live_text(asked: AskedLive, currency: str) -> str:
    """Return how many rows were asked at the full price in the lane of batches, and what for."""
    rows = quantity(asked.rows, "row of this run was", "rows of this run were")
    longer = ""
    if asked.too_long:
        longer = f" ({asked.too_long:,} longer than a line of a batch may be)"
    cost = f" for {money(asked.cost, currency)}" if currency else ""
    return f"            {rows} asked live, at the full price{cost}{longer}"


def _endpoint_text(one: EndpointShown, currency: str) -> str:
    """Return what one of several endpoints has done."""
    from batchgen.report.endpoints import endpoint_text

    return f"endpoint    {one.endpoint}: {endpoint_text(one, currency)}"


def _saved(summary: Summary) -> str:
    """Return what the rows that were not sent would have cost, at the mean cost of those that were sent."""
    asked = summary.succeeded + summary.failed - summary.shared - summary.reused
    if not summary.cost or asked <= 0:
        return ""
    return f": about {money(summary.cost / asked * summary.shared, summary.currency or '')} saved"


def trial_text(trial: BatchTrial) -> str:
    """Return what came of a trial of the vendor's batches."""
    left = f" These files could not be deleted there: {', '.join(trial.left)}." if trial.left else ""
    return harmless(
        f"batches   tried at no cost: batch {trial.batch} of {quantity(trial.rows, 'row')} has ended, {trial.answered} "
        f"answered with {trial.text or 'no text'!r}.{left}"
    )


def check_text(checked: Checked) -> str:
    """Return what `check` found, with the first requests at the end."""
    lines = [
        f"job       {checked.job}",
        f"input     {checked.input}: {quantity(checked.rows, 'row')}, columns {', '.join(map(plain, checked.columns))}",
        f"model     {checked.model} by {checked.provider} at {checked.endpoint}",
        f"price     {checked.price or 'unknown: costs will be empty'}",
    ]
    lines += [
        f"endpoint  {one.endpoint}: {one.model or 'the model of each row'}, {one.lane}, at {one.url}; price "
        f"{one.price or 'unknown'}"
        for one in checked.endpoints
    ]
    if checked.response is not None:
        fields = ", ".join(f"{name} {kind}" for name, kind in checked.response.parsed.items())
        lines += [f"response  asked for by {checked.response.means}", f"parsed    {fields}"]
        if checked.response.instruction is not None:
            lines += ["added to the system message:", textwrap.indent(checked.response.instruction, "  ")]
    if checked.reuse is not None:
        lines.append(f"reuse     {_plan_text(checked.reuse, checked.currency or '')}")
    if checked.repeats:
        lines.append(f"repeats   {checked.repeats:,} of the requests are duplicates and are not sent")
    if checked.asked_live is not None:
        lines.append(f"live      {_long_text(checked.asked_live, checked.currency or '')}")
    if checked.unaskable:
        lines.append(f"rows that cannot be asked: {checked.unaskable:,}; they will fail with error_kind prompt")
        lines += [f"  row {row}: {reason}" for row, reason in checked.unaskable_examples.items()]
    lines += [f"note      {note}" for note in checked.notes]
    for request in checked.requests:
        lines += ["", f"row {request.row}: POST {request.url}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        lines.append(json.dumps(request.body, ensure_ascii=False, indent=2))
    return harmless("\n".join(lines))


def _long_text(long: LongRows, currency: str) -> str:
    """Return how many rows are too long for a batch, and what the full price means for them."""
    rows = quantity(long.rows, "row is", "rows are")
    most = f", at most {money(long.most, currency)}" if long.most is not None else ""
    return f"{rows} longer than a line of a batch may be, and asked live, at the full price{most}"


def _plan_text(plan: ReusePlan, currency: str) -> str:
    """Return how many rows earlier answers leave to be asked, with the money on either side."""
    saved = f", which saves about {money(plan.saved, currency)}" if plan.saved else ""
    cost = f" for about {money(plan.cost, currency)}" if plan.cost else ""
    reused = (
        f"{quantity(plan.reused, 'row takes', 'rows take')} an earlier answer{saved}"
        if plan.reused
        else "no row has an earlier answer"
    )
    return f"{reused}; {plan.asked:,} would be asked{cost}"


_STATES = {"complete": "Complete", "stopped": "Stopped", "interrupted": "Interrupted", "handed in": "Handed in"}


def _count(tokens: int | None) -> str:
    return "unknown" if tokens is None else f"{tokens:,}"
