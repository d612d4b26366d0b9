"""One rate limit (requests/s or tokens/s): sends evenly, and finds the limit by its refusals. Pure arithmetic.

A provider's limit is a bucket that fills at a constant rate. A refusal is a measurement: at that moment the bucket is
empty, so what was admitted between two refusals, divided by the time between them, is the provider's rate.
"""

from __future__ import annotations

import math

from batchgen.pace.closings import DEAR, PROVOKED, Closings
from batchgen.pace.neighbours import CUT, Neighbours

SAFETY = 0.985
"""Share of a measured rate that is used: the rest allows for the error of the measurement."""
NAMED = 0.99
"""Share that is used of a limit named by the job or the provider: the rest allows for clocks and network jitter."""
SLACK_S = 0.05
"""How many seconds of lateness are caught up: timers and event loops lag, and the rate must not fall because of it."""
ENOUGH = 10
"""Requests between two refusals from which the rate is measured; the error is about one request in so many."""
FALL = 0.98
"""A measurement below this share of the one before counts as lower: a constant limit measures the same again."""
FIRST_STEP, UNSURE_STEP, TOP_STEP = 0.01, 0.1, 0.25
"""Steps of the pace: the first one above what was measured, those while nothing is measured, the greatest."""
HOLD_S, STEP_S = 8.0, 3.0
"""Seconds at a measured pace before the first step, and between the next ones, each 1.7 times the one before."""
SHUT_S, SHUT_FOR = 10.0, 4
"""Nothing is known of the rate where nothing was admitted for so long, and for the time of so many requests; for less,
a bucket or a short window was empty ("200 a clock 10 s", "10 RPM, bucket of one, refusals count")."""
WRONG = 1.2
"""Above this multiple of the limit that the provider names, a refusal shows that another one is in force."""
BUCKET = 0.1
"""Share of a limit that is left in the provider's bucket, where it says what remains."""
SUREST = 2
"""Measurements in a row with the same result, up to so many, lengthen the time until the first step."""
FEW = 3
"""Admitted requests that suffice for each step after the first: ten take minutes at a low pace."""
FAST = 20
"""Above so many requests per second the first climb is twice as steep: a short job would end before it is done."""
LEAST_PER_S = 0.05
"""Requests per second below which no refusal lowers the pace: a limit that refuses most even then opens the circuit
breaker instead."""
LIGHT, LIGHT_CUT = 0.3, 0.25
"""Up to this share refused since the last measurement, too early for another one, the pace is cut by the second over
the requests admitted: a greater cut compounds where several jobs share a limit."""
LONG_ENOUGH, SETTLED_S, HELD = 120, 5.0, 300
"""Refusals tell of others after so many requests and seconds, unless the pace has held for the third ("3,000 RPM")."""
BURST, REFILLS = 6, 2.5
"""Requests that are sent at once to see whether refusals are random, and how many times what a limit admits meanwhile
they are at least: it must refuse most of them ("600 RPM, after ten, prolonged": more would be a ban)."""
EATEN = 0.5
"""Share of refused requests that counts as admitted: with some vendors they use up quota, with others they do not."""


class RateLimit:
    """The pace of one quantity, in units per second; `math.inf` while nothing has ever refused it.

    `ceiling` is never exceeded. `admitted` and `sent` arguments are running totals in the same units, seen from the
    moment at which the request in question was sent. `caution` slows the climb: tokens are charged when answers
    end, seconds after the pace has let them through.
    """

    __slots__ = (
        "_before", "_caution", "_clean", "_cut_admitted", "_eats", "_exact", "_first_s", "_floor",
        "_grown_s", "_hold_s", "_in_bucket", "_last", "_least", "_least_slack_s", "_mark_admitted", "_mark_s",
        "_mark_sent", "_measured", "_most_left", "_refused_at", "_refused_s", "_resting_s",
        "_slack_s", "_spent", "_step", "_sure", "_top", "_top_step", "_unit", "brake", "ceiling", "closings", "cut_s",
        "given", "named", "neighbours", "next_s", "pace",
    )  # fmt: skip

    def __init__(self, limit_per_s: float | None, now_s: float, slack_s: float = SLACK_S, caution: float = 1.0) -> None:
        self.named = math.inf if limit_per_s is None else limit_per_s
        self.ceiling = NAMED * self.named
        self.pace = self._top = self.ceiling
        self.given = limit_per_s is not None  # by the job
        self._in_bucket = False  # whether what the provider says that remains may be sent at once
        self.brake = 1.0  # > 1 while the provider says that hardly anything remains
        self.next_s = now_s  # when the schedule allows the next request
        self.cut_s = -math.inf  # refusals of requests sent before this say nothing new
        self._first_s = now_s
        self._slack_s = self._least_slack_s = slack_s
        self._most_left = 0.0
        # What is known: the provider's rate, as named or measured, and whether the pace has kept to it since.
        self._measured = self._last = limit_per_s
        self._exact = True
        self._mark_s: float | None = None  # the last refusal that was a measurement, and the totals then
        self._mark_admitted = self._mark_sent = 0.0
        # How it may rise: after `_least` requests and `_hold_s` seconds, by `_step`.
        self._caution = caution
        self._top_step = TOP_STEP / caution
        self._least: float = ENOUGH
        self._clean, self._hold_s, self._step, self._grown_s = 0, 0.0, 0.0, now_s
        self._resting_s = -math.inf
        self._floor = 0.0
        self.closings = Closings(now_s)
        self._before, self._cut_admitted = math.inf, -math.inf
        self.neighbours = Neighbours()
        self._unit = 1.0  # mean size of a request
        self._sure = 0  # measurements in a row that gave the same
        # Whether refused requests use up quota; the last refusal, and what was admitted until then.
        self._eats = False
        self._refused_s = self._refused_at = -math.inf
        self._settle(now_s, True)

    def spend(self, now_s: float, cost: float) -> bool:
        """Schedule one request; return True if this rate is what delayed it."""
        cost *= self.brake
        self._spent += cost
        late = now_s - self.next_s
        if late < self._slack_s:
            self.next_s += cost / self.pace
            return True
        self.next_s = now_s - self._slack_s + cost / self.pace
        return False

    def limit(self, limit_per_s: float | None, *, most_per_s: float | None = None) -> None:
        """Use a limit that is named, at its `NAMED` share; None goes on searching.

        The job's own is never exceeded. One that the provider names is tried a little above, up to the job's own
        (`most_per_s`), while it is never met: some name one that is not in force.
        """
        self.named = math.inf if limit_per_s is None else limit_per_s
        self.ceiling = NAMED * self.named
        self._top = self.ceiling if most_per_s is None else NAMED * most_per_s
        self._in_bucket = most_per_s is not None
        self.given = limit_per_s is not None and most_per_s is None
        if limit_per_s is not None or self._mark_s is None:
            self.pace = self.ceiling
            self._mark_s, self._measured, self._last, self._exact = None, limit_per_s, limit_per_s, True

    def remains(self, now_s: float, remaining: float, limit: float) -> None:
        """Use up what the provider says that remains; slow down while it is less than 5 % of the limit and was more.

        Only half of it goes at once, since others may use it too.
        """
        share = remaining / limit
        self._most_left = max(self._most_left, share)
        self.brake = 1.25 if share < 0.05 and self._most_left > 0.2 else 1.0
        self._slack_s = self._least_slack_s
        if self._in_bucket and share > BUCKET:
            self._slack_s = 0.5 * (remaining - BUCKET * limit) / self.pace
            self.next_s = min(self.next_s, now_s - self._slack_s)

    def found(self) -> float:
        """The provider's rate as last measured, else the pace."""
        return self.pace if self._measured is None else self._measured

    @property
    def load(self) -> float:
        """The pace."""
        return self.pace

    @property
    def safe(self) -> bool:
        """Whether the pace is what was measured, or below."""
        return self._measured is not None and self._exact and self.pace <= 1.001 * NAMED * self._measured

    def held(self, now_s: float, sent_s: float) -> None:
        """Count an admitted request that this pace had delayed; after enough of them the pace rises.

        Only a pace that binds may grow: by 1 % after about 100 requests, then in growing steps, so that a constant
        limit is touched seldom and a raised one is found within the minute.
        """
        if sent_s < self._grown_s:
            return  # says nothing about this pace
        self._clean += 1
        if self._clean < self._least or now_s - self._grown_s < self._hold_s:
            return
        if now_s < self._resting_s or (self.pace >= self.ceiling and self.ceiling >= self._top):
            return
        if self.neighbours.present:
            step = self.neighbours.step(now_s - self._grown_s, now_s - self.cut_s, self.pace / self._unit)
            self.pace = min(self.ceiling, self.pace * (1 + step))
            self._clean, self._grown_s, self._spent = 0, now_s, 0.0
            return
        if self.pace >= self.ceiling:
            self.ceiling = min(self._top, self.ceiling * (1 + max(FIRST_STEP, self._step)))
        known = None if self._measured is None else SAFETY * self._measured
        if known is not None and self.pace < known:  # back to what was measured, faster from far below
            self.pace = min(self.pace * (1.5 if self.pace < 0.7 * known else 1.1), known, self.ceiling)
            self._settle(now_s, self.pace >= known)
            return
        self.pace = min(self.pace * (1 + self._step), self.ceiling)
        self._clean, self._grown_s, self._spent = 0, now_s, 0.0
        if known is not None:
            self._step = min(self._top_step, 1.7 * self._step)
            self._hold_s = self._caution * STEP_S * (1.0 if self._step < self._top_step else 0.5)
            self._least = FEW

    def refused(
        self,
        now_s: float,
        sent_s: float,
        *,
        admitted: float,
        sent: float,
        unit: float,
        stop_s: float,
        noisy: bool,
        overloaded: bool = False,
    ) -> bool | None:
        """Learn from the first refusal since the last cut; return whether the measurement is lower, None if it is none.

        `unit` is the mean size of a request, `stop_s` the pause that this refusal causes (a `Retry-After`);
        `noisy`: some requests are refused at random. `overloaded`: the provider called itself so.
        """
        self.cut_s = now_s
        self._in_bucket, self._slack_s = False, self._least_slack_s
        if self.ceiling < self._top:
            if self.pace > WRONG * self.named:  # what the provider names is not in force
                self.ceiling = self._top
            else:
                self._top = NAMED * self.named
                if self.ceiling > self._top:
                    self.ceiling = self.pace = self._top
                    self._settle(now_s, True)
                    return None
        self._floor, self._unit = LEAST_PER_S * unit, unit
        self.closings.refused(sent_s, admitted)
        since = (admitted - self._cut_admitted) / unit
        fresh = since >= 1  # else the limit is closed, and the pace says nothing
        if fresh:
            self._before = self.pace
            safe = since < HELD and self._measured is not None and self.pace <= 1.005 * SAFETY * self._measured
            late = admitted >= LONG_ENOUGH and now_s >= self._first_s + SETTLED_S
            tells = late and self._caution == 1 and not (self.given or overloaded or stop_s)
            self.neighbours.refused(self.pace / unit, safe=safe, tells=tells)
        self._cut_admitted = admitted
        if self._mark_s is None:
            self._begin(now_s, sent_s, max(admitted, unit))
            self._step = self._top_step * (2 if self.pace > FAST * unit else 1)
            self._mark(sent_s, admitted, sent)
            return None
        span_s, tried, got = sent_s - self._mark_s, sent - self._mark_sent, admitted - self._mark_admitted
        if got < ENOUGH * unit or span_s <= 0:  # too early to know; keep the mark, so that the count grows
            light = self._measured is not None and tried - got <= LIGHT * tried
            if self.neighbours.present:
                if got < unit:
                    self._mark(sent_s, admitted, sent)
                return self._give_way(now_s, fresh)
            if light:
                # The measurement was too high by its error, or others are at the same limit: their refusals come so.
                self.pace *= 1 - LIGHT_CUT / (1 + got / unit)
            else:
                if self._measured is not None and self.pace <= self._measured:
                    self._measured *= 0.9
                self._exact = False
                self.pace *= 0.75 if got >= unit or self.pace > unit else 0.5
            if got < unit:
                self._mark(sent_s, admitted, sent)
            self._settle(now_s, False)
            return light or None
        seen = (got + (0.0 if noisy else EATEN) * (tried - got)) / span_s
        self._exact = tried / span_s >= 0.75 * self.pace
        if not self._exact:  # climbed far since the mark: the bucket may have run over meanwhile
            lately_s, top = now_s - self._grown_s, self.pace
            if self._last is None and lately_s > 0.5 and self._spent >= ENOUGH * unit:
                top = min(top, self._spent / lately_s)  # the bound in flight may let out less than the pace
            seen = 0.5 * (seen + top)
        fell = self._exact and self._last is not None and seen < FALL * self._last
        same = self._last is not None and abs(seen / self._last - 1) <= 1 - FALL
        self._sure = min(SUREST, self._sure + 1) if same else 0
        self._measured = self._last = seen
        if abs(seen / self.named - 1) <= WRONG - 1:  # what was named is in force after all
            self._top = self.ceiling = min(self._top, NAMED * self.named)
        self._mark(sent_s, admitted, sent)
        if self.neighbours.present:
            self.neighbours.measured(same=same)
            return self._give_way(now_s, fresh)
        self.pace = min(SAFETY * seen, 0.99 * self.pace)
        self._settle(now_s, True)
        self._hold_s = max(self._hold_s * (1 + self._sure), DEAR * stop_s)
        return fell

    def _give_way(self, now_s: float, fresh: bool) -> bool | None:
        """Leave others some of the limit; return whether the pace fell below the cut before."""
        if fresh:
            self.pace *= 1 - CUT
        self._settle(now_s, False)
        return self.neighbours.fell(self.pace) if fresh else None

    def uses_up(self, now_s: float, sent_s: float, admitted: float, unit: float) -> bool:
        """Note a refusal; return whether it costs a slot.

        With some vendors refused requests use up quota, with others they do not. They do if the next request after a
        refusal, sent at a measured pace, is refused too: at that pace there would have been room for it.
        """
        again = sent_s > self._refused_s and admitted - self._refused_at < unit
        if again and self._measured is not None and self.pace <= 1.02 * self._measured:
            self._eats = True
        if sent_s > self._refused_s:
            self._refused_s, self._refused_at = now_s, admitted
        return again or self._eats

    def _begin(self, now_s: float, sent_s: float, admitted: float) -> None:
        """Handle the first refusal: step down, and climb fast until the next one, since nothing is measured yet."""
        passed = admitted / max(1.0, sent_s - self._first_s)
        if math.isinf(self.pace):  # the search ends: all that passed may have come out of a full bucket
            self.pace, self.next_s = 0.5 * passed, now_s
        else:
            self.pace *= 0.8
        self._settle(now_s, False)

    def opened(self, now_s: float, closed_s: float, admitted: float) -> None:
        """Go on after nothing was admitted for `closed_s` seconds, at the pace of before: that says nothing about it.

        Unless our pace has caused it: then it is dear, and is not provoked again for long.
        """
        most, rate = self.closings.opened(now_s, closed_s, admitted, self._unit)
        self.next_s = self.cut_s = now_s
        if math.isinf(self.pace):
            return
        found = rate is not None and math.isfinite(rate)
        if closed_s < (SHUT_S if found else max(SHUT_S, SHUT_FOR * self._unit / self.pace)):
            self.neighbours.set(False)
            known = self._last is not None and self._last != self.named
            self.pace = min(self._before, SAFETY * self.found()) if known else 0.5 * self.pace
            self._settle(now_s, known)
            return
        if self._measured is None and math.isfinite(most):
            self.pace = most
        elif math.isfinite(self._before):
            self.pace = self._before
        if rate is not None:
            self.pace = rate if found else min(PROVOKED * self.pace, most)
            self._measured = self.pace / SAFETY
        self._settle(now_s, rate is not None)
        if rate is not None:
            self._hold_s = max(self._hold_s, DEAR * closed_s)

    def forget(self, now_s: float) -> None:
        """Begin again at `now_s`: nothing was ever admitted."""
        self.pace, self._mark_s, self.next_s, self.cut_s, self._first_s = self.ceiling, None, now_s, -math.inf, now_s
        self.closings.began(now_s, 0.0)
        self._settle(now_s, True)

    def release(self, now_s: float, took_s: float, times: int = 1) -> int:
        """Let some requests go at once, whatever the pace, and return how many; a refusal takes `took_s` to come."""
        count = int(times * max(BURST, REFILLS * self.pace / self._unit * took_s))
        self._slack_s = count * self._unit / self.pace
        self.next_s = now_s - self._slack_s
        return count

    def retract(self, now_s: float, _last: int, count: int) -> None:
        """Go on at the pace: what went out at once, `count` requests, is made up for."""
        self._slack_s = self._least_slack_s
        self.next_s, self.cut_s = max(self.next_s, now_s) + count * self._unit / self.pace, now_s

    def restore(self, now_s: float) -> None:
        """Search again, up to what is given, as the refusals came at random."""
        self.pace, self._exact, self._slack_s = self.ceiling, True, self._least_slack_s
        self.neighbours.set(False)
        self._measured, self._mark_s = (self.named, self._mark_s) if math.isfinite(self.pace) else (None, None)
        self.next_s = max(min(self.next_s, now_s), now_s - self._slack_s)
        self._settle(now_s, False)

    def go_at(self, now_s: float, pace: float, held: float) -> None:
        """Go on at this pace, which rises after `held` admitted requests."""
        self.pace, self._exact = min(pace, self.ceiling), True
        self.neighbours.set(False)
        self._measured = self.pace / SAFETY
        self.next_s = min(self.next_s, now_s)
        self._settle(now_s, False)
        self._step, self._least = self._top_step, held

    def grew_too_fast(self, now_s: float, sent_s: float, admitted: float) -> bool | None:
        """Handle a limit on growth: step down, keep the pace for 5 s, and climb half as steeply from now on.

        Return whether it cannot have been growth, as the pace had not risen lately; None if this was known before.
        """
        if sent_s <= self.cut_s:
            return None
        rests = now_s - self._grown_s > 2.0
        self.cut_s = now_s
        if math.isinf(self.pace):
            self.pace = max(admitted, 1.0) / max(1.0, sent_s - self._first_s)
            self.next_s = now_s
        self.pace *= 0.7
        self._top_step = max(0.08, self._top_step / 2)
        self._settle(now_s, False)
        self._resting_s = now_s + 5.0
        self.next_s = max(self.next_s, now_s + 1.0)
        return rests

    def _mark(self, sent_s: float, admitted: float, sent: float) -> None:
        self._mark_s, self._mark_admitted, self._mark_sent = sent_s, admitted, sent

    def _settle(self, now_s: float, sure: bool) -> None:
        """Set when and how the pace may rise: late and gently if measured, else after a second and by a tenth."""
        self._least = ENOUGH if sure else 1
        self._hold_s = self._caution * HOLD_S if sure else 1.0
        self._step = min(self._top_step, FIRST_STEP if sure else UNSURE_STEP)
        self._clean, self._grown_s, self._spent = 0, now_s, 0.0
        self.pace = min(max(self.pace, self._floor), self.ceiling)
