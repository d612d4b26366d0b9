"""One rate limit (requests/s or tokens/s): sends evenly, and finds the limit by its refusals. Pure arithmetic.

A provider's limit is a bucket that fills at a constant rate. A refusal is a measurement: at that moment the bucket is
empty, so what was admitted between two refusals, divided by the time between them, is the provider's rate. One that
saves nothing up admits more: then the middle between the pace that has held and the one that was refused is tried.
"""

from __future__ import annotations

import math

from batchgen.pace.closings import DEAR, PROVOKED, Closings
from batchgen.pace.neighbours import CUT, HELD, LONG_ENOUGH, SETTLED_S, Neighbours
from batchgen.pace.rate_states import RateEvent, RateState, after
from batchgen.pace.refused_quota import EATEN, RefusedQuota

SAFETY = 0.985
"""Share of a measured rate that is used: the rest allows for the error of the measurement."""
NAMED = 0.99
"""Share that is used of a limit named by the job or the provider: the rest allows for clocks and network jitter."""
SLACK_S = 0.05
"""How many seconds of lateness are caught up: timers and event loops lag, and the rate must not fall because of it."""
ENOUGH, FEW = 10, 3
"""Requests between two refusals from which the rate is measured, with an error of about one; so many also show that a
pace holds, and the second for each step after the first: ten take minutes at a low pace."""
FALL, CHANGED = 0.98, 0.95
"""A measurement below this share of the one before counts as lower; below the second the limit has changed, or is one
on tokens, and a pace that has held says nothing."""
CLOSE = 1.03
"""The pace that has held is kept if the one that was refused is no higher than this ("100 a sliding 10 s")."""
FIRST_STEP, UNSURE_STEP, TOP_STEP = 0.01, 0.1, 0.25
"""Steps of the pace: the first one above what was measured, those while nothing is measured, the greatest."""
HOLD_S, STEP_S = 8.0, 3.0
"""Seconds at a measured pace before the first step, and between the next ones, each 1.7 times the one before."""
SHUT_S, SHUT_FOR = 10.0, 4
"""Nothing is known of the rate where nothing was admitted for so long, and for the time of so many requests; for less,
a bucket or a short window was empty ("200 a clock 10 s", "10 RPM, bucket of one, refusals count")."""
WRONG = 1.2
"""Above this multiple of the limit that the provider names, a refusal shows that another one is in force."""
LOW, BUCKET = 0.05, 0.1
"""Shares of a limit that remain, where the provider says so: below the first it is gone slower, the second is left."""
SUREST = 2
"""Measurements in a row with the same result, up to so many, lengthen the time until the first step."""
FAST = 20
"""Above so many requests per second the first climb is twice as steep: a short job would end before it is done."""
LEAST_PER_S = 0.05
"""Requests per second below which no refusal lowers the pace: a limit that refuses most even then opens the circuit
breaker instead."""
LIGHT, LIGHT_CUT = 0.3, 0.25
"""Up to this share refused since the last measurement, too early for another one, the pace is cut by the second over
the requests admitted: a greater cut compounds where several jobs share a limit."""
RARE_PER_S, RARE_STEP = 0.4, 0.15
"""Below so many requests a second the climb makes up for the seconds between them, up to the second: a job that others
have left next to nothing would take minutes ("8 at 1,200 RPM"; a greater one is refused by "10 RPM, bucket of one")."""
PASSED = 0.3
"""While nothing is measured, no cut goes below this share of what was admitted per second since the start: a search
that ends beside those of other jobs is refused many times in a row ("8 at 1,200 RPM")."""
BURST, REFILLS = 6, 2.5
"""Requests that are sent at once to see whether refusals are random, and how many times what a limit admits meanwhile
they are at least: it must refuse most of them ("600 RPM, after ten, prolonged": more would be a ban)."""


class RateLimit:
    """The pace of one quantity, in units per second; `math.inf` while nothing has ever refused it.

    `ceiling` is never exceeded. `admitted` and `sent` arguments are running totals in the same units, seen from the
    moment at which the request in question was sent. `caution` slows the climb: tokens are charged when answers
    end, seconds after the pace has let them through.
    """

    def __init__(self, limit_per_s: float | None, now_s: float, slack_s: float = SLACK_S, caution: float = 1.0) -> None:
        self._slack_s = self._least_slack_s = slack_s
        self._caution, self._top_step = caution, TOP_STEP / caution
        self.next_s = self.first_s = now_s  # when the schedule allows the next request, and the first one
        self.cut_s = -math.inf  # refusals of requests sent before this say nothing new
        self.brake = 1.0  # > 1 while the provider says that hardly anything remains
        self._floor, self._unit = 0.0, 1.0  # the least pace, the mean size of a request
        # The rate, as named or measured, and as last measured; when that was, and the totals then.
        self._measured: float | None = None
        self._last: float | None = None
        self._mark_s, self._mark_admitted, self._mark_sent = -math.inf, 0.0, 0.0
        self._same, self._asked = 0, math.inf  # measurements in a row that gave the same, requests of the last
        # The pace; after so many requests and seconds it rises by the step; so many came since it rose last.
        self.state, self.pace = RateState.SEARCHING, math.inf
        self._least, self._hold_s, self._step, self._clean, self._grown_s = 0.0, 0.0, 0.0, 0, now_s
        self._held, self._failed = 0.0, math.inf  # the greatest that has held, the least that was refused
        self._before, self._cut_admitted = math.inf, -math.inf  # the one before the last cut, the total then
        self.closings, self.neighbours, self._refused_quota = Closings(now_s), Neighbours(), RefusedQuota()
        self.limit(limit_per_s)

    def spend(self, now_s: float, cost: float) -> bool:
        """Schedule one request; return True if this rate is what delayed it."""
        cost *= self.brake
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
        self._in_bucket = most_per_s is not None  # whether what the provider says that remains may be sent at once
        self.given = limit_per_s is not None and most_per_s is None  # by the job
        if limit_per_s is not None or math.isinf(self._mark_s):
            self._forget(self.next_s)

    def remains(self, now_s: float, remaining: float, limit: float) -> None:
        """Use up what the provider says that remains; slow down while that is less than 5 % of the limit.

        Only half of it goes at once, since others may use it too.
        """
        share = remaining / limit
        self.brake = 1.25 if share < LOW else 1.0
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
        known = self._exact and self.state is not RateState.RETURNING
        return known and self.pace <= 1.001 * NAMED * (self._measured or 0.0)

    def held(self, now_s: float, sent_s: float) -> None:
        """Count an admitted request that this pace had delayed; only a pace that binds may rise. A known one rises late
        and by growing steps: a constant limit is met seldom, a raised one found in a minute.
        """
        if sent_s < self._grown_s:
            return  # says nothing about this pace
        self._clean += 1
        if self._clean < self._least or now_s - self._grown_s < self._hold_s or self.pace >= self._top:
            return
        since_s, step = now_s - self._grown_s, self._step
        if self.state is RateState.SHARED:
            step = self.neighbours.step(since_s, now_s - self.cut_s, self.pace / self._unit)
        elif self.state is RateState.RETURNING:
            known = SAFETY * self.found()  # faster from far below
            self.pace = max(self.pace, min(self.pace * (1.5 if self.pace < 0.7 * known else 1.1), known, self.ceiling))
            self._on(RateEvent.BACK if self.pace >= known else RateEvent.REFUSED, now_s)
            return
        elif self.state is RateState.CLIMBING:
            self._least, self._hold_s = 1.0, 1.0
            if self.pace < RARE_PER_S * self._unit:
                step = min(max(step, RARE_STEP), step * since_s)
        else:
            if self.state in (RateState.HOLDING, RateState.TRYING):
                self._held = max(self._held, self.pace)
            self.state = after(self.state, RateEvent.HELD)
            self._step = min(self._top_step, 1.7 * step)
            self._least, self._hold_s = FEW, self._caution * STEP_S * (1.0 if self._step < self._top_step else 0.5)
        if self.pace >= self.ceiling:
            self.ceiling = min(self._top, self.ceiling * (1 + max(FIRST_STEP, step)))
        self.pace = min(self.pace * (1 + step), self.ceiling)
        self._clean, self._grown_s = 0, now_s

    def refused(
        self, now_s: float, sent_s: float, *, admitted: float, sent: float, unit: float, stop_s: float = 0.0,
        noisy: bool = False, overloaded: bool = False,
    ) -> bool | None:  # fmt: skip
        """Learn from the first refusal since the last cut; return whether the measurement is lower, None if it is none.

        `unit` is the mean size of a request, `stop_s` the pause that this refusal causes (a `Retry-After`).
        `noisy`: some requests are refused at random. `overloaded`: the provider called itself so.
        """
        self.cut_s = now_s
        self._in_bucket, self._slack_s = False, self._least_slack_s
        if self.ceiling < self._top:
            if self.pace > WRONG * self.named:  # what the provider names is not in force
                self.ceiling, self._measured = self._top, None
                self._on(RateEvent.LOST, now_s)
            else:
                self._top = NAMED * self.named
                if self.ceiling > self._top:
                    self.ceiling = self._top
                    self._forget(now_s)
                    return None
        self._floor, self._unit = LEAST_PER_S * unit, unit
        self.closings.refused(sent_s, admitted)
        fresh = self._are_others(now_s, admitted, not (self.given or overloaded or stop_s))
        span_s, tried, got = sent_s - self._mark_s, sent - self._mark_sent, admitted - self._mark_admitted
        self._cut_admitted = admitted
        enough = got >= ENOUGH * unit and span_s > 0
        if enough or got < unit or math.isinf(span_s):  # else too early to know: the count grows
            self._mark_s, self._mark_admitted, self._mark_sent = sent_s, admitted, sent
        if math.isinf(span_s):
            self._begin(now_s, max(admitted, unit) / max(1.0, sent_s - self.first_s))
            return None
        if not enough:
            return self._cut(now_s, got / unit, tried / unit, fresh)
        seen = (got + (0.0 if noisy else EATEN) * (tried - got)) / span_s
        self._exact = tried / span_s >= 0.75 * self.pace
        if not self._exact:  # climbed far since the mark: the bucket may have run over meanwhile
            seen = 0.5 * (seen + self.pace)
        change = math.inf if self._last is None else seen / self._last
        same = abs(change - 1) <= 1 - FALL
        self._same = min(SUREST, self._same + 1) if same else 0
        self._measured, self._last, self._asked = seen, seen, got / unit
        if abs(seen / self.named - 1) <= WRONG - 1:  # what was named is in force after all
            self._top = self.ceiling = min(self._top, NAMED * self.named)
        if self.state is RateState.SHARED:
            self.neighbours.measured(same=same)
            if not self.neighbours.present:
                self._on(RateEvent.ALONE, now_s)
            return self._give_way(now_s, fresh)
        between = self._exact and not noisy and change >= CHANGED and self._is_between(seen)
        if not between:
            self.pace = min(SAFETY * self.found(), 0.99 * self.pace)
        self._on(RateEvent.BETWEEN if between else RateEvent.MEASURED, now_s)
        self._hold_s = max(self._hold_s * (1 + self._same), DEAR * stop_s)
        return self._exact and change < FALL

    def _are_others(self, now_s: float, admitted: float, tells: bool) -> bool:
        """Look whether the refusal shows that others use the limit; return whether it says something about the pace."""
        since = (admitted - self._cut_admitted) / self._unit
        if since < 1:  # the limit is closed
            return False
        self._before = self.pace
        safe = since < HELD and self._measured is not None and self.pace <= 1.005 * SAFETY * self._measured
        tells = tells and self._caution == 1 and admitted >= LONG_ENOUGH and now_s >= self.first_s + SETTLED_S
        self.neighbours.refused(self.pace / self._unit, since, self._asked if safe else 0.0, tells=tells)
        if self.neighbours.present:
            self._on(RateEvent.OTHERS, now_s)
        return True

    def _begin(self, now_s: float, passed_per_s: float) -> None:
        """Handle the first refusal: step down, and climb fast until the next one, since nothing is measured yet."""
        if math.isinf(self.pace):  # the search ends: all that passed may have come out of a full bucket
            self.pace, self.next_s = 0.5 * passed_per_s, now_s
        else:
            self.pace *= 0.8
        self._on(RateEvent.REFUSED, now_s)
        self._step = self._top_step * (2 if self.pace > FAST * self._unit else 1)

    def _cut(self, now_s: float, got: float, tried: float, fresh: bool) -> bool | None:
        """Step down where too few were admitted for a measurement; return what `refused` returns."""
        if self.state is RateState.SHARED:
            return self._give_way(now_s, fresh)
        light = self._measured is not None and tried - got <= LIGHT * tried
        if self.state is RateState.TRYING:
            self._failed, self.pace = self.pace, self._held
            self._on(RateEvent.REFUSED, now_s)
            return None
        self._held = 0.0
        if light:  # the measurement was too high by its error, or others are at the same limit: their refusals come so
            self.pace *= 1 - LIGHT_CUT / (1 + got)
        else:
            least = 0.0 if self._measured else PASSED * self._cut_admitted / max(1.0, now_s - self.first_s)
            self.pace = max(self.pace * (0.75 if got >= 1 or self.pace > self._unit else 0.5), min(self.pace, least))
            if self._measured is not None and self.pace <= self._measured:
                self._measured *= 0.9
        self._on(RateEvent.REFUSED, now_s)
        return light or None

    def _is_between(self, seen: float) -> bool:
        """Whether the rate lies between a pace that has held and one that was refused; then set one between them."""
        self._failed = min(self.pace, math.inf if seen > self._failed else self._failed)
        if not 0 < self._held < 0.99 * self.pace:
            self._held = 0.0
            return False
        self._held = max(self._held, SAFETY * seen)
        self._measured = self._held / SAFETY
        if self._failed <= CLOSE * self._held:
            return False
        self.pace = (self._held + self._failed) / 2
        return True

    def _give_way(self, now_s: float, fresh: bool) -> bool | None:
        """Leave others some of the limit; return whether the pace fell below the cut before."""
        if fresh:
            self.pace *= 1 - CUT
            self.next_s = max(self.next_s, now_s) + self.neighbours.pause_s(self.pace / self._unit)
        self._settle(now_s)
        return self.neighbours.fell(self.pace) if fresh else None

    def uses_up(self, now_s: float, sent_s: float, admitted: float, unit: float) -> bool:
        """Note a refusal; return whether it costs a slot."""
        at_measured = self._measured is not None and self.pace <= 1.02 * self._measured
        return self._refused_quota.refused(now_s, sent_s, admitted, unit, at_measured=at_measured)

    def opened(self, now_s: float, closed_s: float, admitted: float) -> None:
        """Go on after nothing was admitted for `closed_s` seconds: at the pace of before, unless that has caused it."""
        most, rate = self.closings.opened(now_s, closed_s, admitted, self._unit)
        self.next_s = self.cut_s = now_s
        found = rate is not None and math.isfinite(rate)
        short = closed_s < (SHUT_S if found else max(SHUT_S, SHUT_FOR * self._unit / self.pace))
        if math.isinf(self.pace) or (short and self.state is RateState.SHARED):  # there, others have used it up
            return
        if short:
            known = self._measured is not None and self._measured != self.named
            self.pace = min(self._before, SAFETY * self.found()) if known else 0.5 * self.pace
            self._on(RateEvent.MEASURED if known else RateEvent.LOST, now_s)
            return
        if self._measured is None and math.isfinite(most):
            self.pace = most
        elif math.isfinite(self._before):
            self.pace = self._before
        if rate is None:
            self._on(RateEvent.REFUSED, now_s)
            return
        self.pace = rate if found else min(PROVOKED * self.pace, most)
        self._on(RateEvent.MEASURED, now_s)
        share = min(1.0, self.pace * (now_s - self.first_s) / max(admitted, self._unit))  # of what was admitted so far
        self._measured, self._hold_s = self.pace / SAFETY, max(self._hold_s, DEAR * closed_s * share)

    def began(self, now_s: float) -> None:
        """Measure from now on: the first request goes out, or nothing was ever admitted."""
        self.first_s = now_s
        self.closings.began(now_s, 0.0)

    def forget(self, now_s: float) -> None:
        """Begin again at `now_s`: nothing was ever admitted."""
        self.next_s, self.cut_s = now_s, -math.inf
        self.began(now_s)
        self._forget(now_s)

    def restore(self, now_s: float) -> None:
        """Search again, up to what is given, as the refusals came at random."""
        self._slack_s = self._least_slack_s
        self.next_s = max(min(self.next_s, now_s), now_s - self._slack_s)
        self._forget(now_s)

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

    def go_at(self, now_s: float, pace: float, held: float) -> None:
        """Go on at this pace, which rises after `held` admitted requests."""
        self.pace, self.next_s, self._measured = min(pace, self.ceiling), min(self.next_s, now_s), None
        self._on(RateEvent.LOST, now_s)
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
            self.pace = max(admitted, 1.0) / max(1.0, sent_s - self.first_s)
            self.next_s = now_s
        self.pace *= 0.7
        self._top_step = max(0.08, self._top_step / 2)
        self._on(RateEvent.REFUSED, now_s)
        self._hold_s = 5.0
        self.next_s = max(self.next_s, now_s + 1.0)
        return rests

    def _forget(self, now_s: float) -> None:
        """Go as fast as is named, or search."""
        named = self.named if math.isfinite(self.named) else None
        self.pace, self._mark_s, self._measured, self._last = self.ceiling, -math.inf, named, named
        self._exact, self._held, self._failed = True, 0.0, math.inf
        self._on(RateEvent.NAMED if named else RateEvent.FORGOTTEN, now_s)

    def _on(self, event: RateEvent, now_s: float) -> None:
        """Go to the state that follows, with the pace that was set."""
        before, self.state = self.state, after(self.state, event)
        if before is RateState.SHARED and self.state is not before:
            self.neighbours.set(False)
        self._settle(now_s)

    def _settle(self, now_s: float) -> None:
        """Set when and how the pace may rise: late and gently if it is known, else after a second and by a tenth."""
        sure = self.state in (RateState.HOLDING, RateState.TRYING)
        self._least = ENOUGH if sure else 1.0
        if self.state is RateState.TRYING:  # so many requests tell it from the one that has held
            self._least += 1 / (self.pace / self._held - 1)
        self._hold_s = self._caution * HOLD_S if sure else 1.0
        self._step = min(self._top_step, FIRST_STEP if sure else UNSURE_STEP)
        self._clean, self._grown_s = 0, now_s
        self.pace = min(max(self.pace, self._floor), self.ceiling)
