"""What a refusal puts in doubt: a pace or the cap, tried lower until it is known whether chance refuses."""

from __future__ import annotations

import math
from collections.abc import Iterable

from batchgen.pace.cap import Cap
from batchgen.pace.noise import Finding, Noise
from batchgen.pace.rate import Rate
from batchgen.pace.values import IN_FLIGHT, REQUESTS, TOKENS

LAG = 20
"""Most requests that are let by before a trial counts: what was sent before still weighs on the provider."""


class Doubt:
    """One open question at a time. `sent` (or `last`) and `in_flight` are the run's counts now."""

    __slots__ = ("noise", "what")

    def __init__(self, first: Rate) -> None:
        self.noise = Noise()
        self.what: Rate | Cap = first

    def concludes(self, now_s: float, number: int, sent: int, in_flight: int, *, refused: bool) -> bool:
        """Count an outcome for the open doubt; True if it shows that refusals come by chance."""
        noise = self.noise
        found = noise.decided(number, refused=refused)
        if found is Finding.NOISE:
            self.what.restore(now_s, noise.top)
        elif found is Finding.UNSURE:
            noise.try_again(sent + min(LAG, in_flight))
            self.what.try_at(now_s, noise.trial)
        elif found is Finding.LIMIT:
            self.what.go_on(now_s)
        return found is Finding.NOISE

    def spares(
        self, now_s: float, what: Rate | Cap, load: float, number: int, *, last: int, in_flight: int, refused: int,
        after: Iterable[bool], safe: bool, rough: bool, above: bool,
    ) -> bool:  # fmt: skip
        """Whether a refusal of request `number` is no reason to cut: one is under way or begins, or it is too early.

        `load` is infinite while nothing is known, `refused` counts the run's refusals, `after` are outcomes of later
        requests, True if admitted; `above`: a first trial may be above the load.
        """
        noise = self.noise
        if what is self.what and (noise.in_trial or (noise.in_search and math.isinf(load))):
            return True
        if what is not self.what:
            self.end(now_s)
            self.what = what
        if math.isinf(load):
            return noise.search_refused(number, refused, last, after)
        if noise.surprised(number, refused, load, safe=safe, rough=rough):
            if above and noise.may_rise and isinstance(what, Rate):
                noise.begin_trial_above(last, load)
                what.try_above(now_s, noise.trial)
                return True
            noise.begin_trial(last + min(LAG, in_flight), load)
            what.try_at(now_s, noise.trial)
            return True
        return False

    def end(self, now_s: float) -> None:
        """Something else has come between: a trial ends without a finding."""
        if self.noise.in_trial:
            self.what.go_on(now_s)
        self.noise.start_over()


def is_steady(bound: int, requests: Rate, tokens: Rate, cap: Cap) -> bool:
    """Whether what holds a request back, by the bits of `bound`, is known to be safe."""
    rates = (bound & REQUESTS and not requests.safe) or (bound & TOKENS and not tokens.safe)
    return not rates and not (bound & IN_FLIGHT and not cap.safe(cap.limit))
