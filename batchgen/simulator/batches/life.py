"""What a batch is at a time: a function of its plan and of the virtual seconds since it was created."""

from __future__ import annotations

from collections.abc import Collection
from math import exp, inf
from statistics import NormalDist

from msgspec import Struct

from batchgen.simulator.faults import drawn
from batchgen.simulator.settings import Settings

_HOUR_S = 3600.0
_NORMAL = NormalDist()
LAG_S = 300.0
"""Virtual seconds for which a thing is in no list, if it lags."""
LATE_S = 600.0
"""Virtual seconds for which a file is not ready, or the ids of files are not told, if they are late."""
ENDED = frozenset({"completed", "expired", "cancelled", "failed"})


class BatchPlan(Struct, frozen=True):
    """How long each state of a batch lasts, in virtual seconds. `cut_s`: when the vendor cancels it, since creation.

    `window_s` and `cut_s` are None where that never happens.
    """

    validating_s: float
    running_s: float | None
    finalizing_s: float
    cancelling_s: float
    window_s: float | None
    cut_s: float | None = None


class BatchLife(Struct, frozen=True):
    """A batch at a time. `end` is how it ends, at `stop_s` with the share `done` of its rows finished; `close_s` is
    when that is told. `next_s`: when it changes next; infinite at the end."""

    word: str
    end: str
    done: float
    stop_s: float
    close_s: float
    next_s: float


def plan_of(settings: Settings, number: int, odd: Collection[str], window_s: float | None) -> BatchPlan:
    """Return the plan of a batch, which depends on its number and its oddities."""
    running_s = settings.batch_hours * _HOUR_S
    if settings.batch_sigma and running_s:
        point = min(max(drawn("running", settings.seed, number, 0), 1e-9), 1 - 1e-9)
        running_s *= exp(settings.batch_sigma * _NORMAL.inv_cdf(point))
    long_s = 6 * _HOUR_S
    validating_s = long_s if "long_validating" in odd else 60.0
    if "half_expired" in odd:
        window_s = window_s or 24 * _HOUR_S
        running_s = 2 * (window_s - validating_s)
    elif "slow" in odd:
        running_s *= 10
    return BatchPlan(
        validating_s,
        None if "stuck" in odd else running_s,
        long_s if "long_finalizing" in odd else 60.0,
        long_s if "cancel_slow" in odd else 120.0,
        window_s,
        validating_s + running_s / 2 if "half_cancelled" in odd else None,
    )


def life_of(
    plan: BatchPlan, elapsed_s: float, *, scanned: bool, failed: bool, built: bool, cancel_s: float | None
) -> BatchLife:
    """Return what a batch is after `elapsed_s`. It ends when its files are `built`, however late that is."""
    valid_s = plan.validating_s
    cancel_s = min(
        cancel_s if cancel_s is not None else inf,
        plan.cut_s if plan.cut_s is not None else inf,
    )
    if failed and cancel_s > valid_s:
        word = "failed" if elapsed_s >= valid_s else "validating"
        return BatchLife(word, "failed", 0.0, valid_s, valid_s, inf if word == "failed" else valid_s)
    finished_s = inf if plan.running_s is None else valid_s + plan.running_s
    expiry_s = inf if plan.window_s is None else max(plan.window_s, valid_s)
    stop_s, end = min((finished_s, "completed"), (expiry_s, "expired"), (cancel_s, "cancelled"))
    if end == "completed":
        done = 1.0
    elif plan.running_s:
        done = min(1.0, max(0.0, (min(stop_s, 1e12) - valid_s) / plan.running_s))
    else:
        done = 0.0
    close_s = stop_s + (plan.cancelling_s if end == "cancelled" else plan.finalizing_s)
    if elapsed_s < min(valid_s, stop_s) or not scanned:
        word, next_s = "validating", min(valid_s, stop_s)
    elif elapsed_s < stop_s:
        word, next_s = "in_progress", stop_s
    elif elapsed_s < close_s or not built:
        word, next_s = "cancelling" if end == "cancelled" else "finalizing", close_s
    else:
        word, next_s = end, inf
    return BatchLife(word, end, done, stop_s, close_s, next_s)


def progress(plan: BatchPlan, elapsed_s: float) -> float:
    """Return the share of the rows that are finished while a batch runs."""
    if not plan.running_s:
        return 0.0 if plan.running_s is None else 1.0
    return min(1.0, max(0.0, (elapsed_s - plan.validating_s) / plan.running_s))
