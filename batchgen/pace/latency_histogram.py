"""Latencies as a histogram of constant size: quantiles to 5 %, whatever the number of requests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

_PER_LOG = 1 / math.log(1.05)
_LEAST_S = 1e-3
_LAST = 339  # 1 ms x 1.05 ** 340 = 4.4 hours


class LatencyHistogram:
    """Counts per bin; each bin is 5 % wider than the one before."""

    __slots__ = ("_bins", "count")

    def __init__(self) -> None:
        self._bins: dict[int, int] = {}  # those with any, which are few
        self.count = 0

    def add(self, latencies_s: Sequence[float], *others: LatencyHistogram) -> None:
        """Count some latencies, here and in other histograms."""
        bins = Counter([int(math.log(each / _LEAST_S) * _PER_LOG) if each > _LEAST_S else 0 for each in latencies_s])
        for histogram in (self, *others):
            counts = histogram._bins
            for bin_, n in bins.items():
                place = min(bin_, _LAST)
                counts[place] = counts.get(place, 0) + n
            histogram.count += len(latencies_s)

    def quantile(self, q: float) -> float | None:
        """The latency in seconds that a share `q` of the requests did not exceed; None without any."""
        if not self.count:
            return None
        left = q * self.count
        for bin_, n in sorted(self._bins.items()):
            left -= n
            if left <= 0:
                return _LEAST_S * 1.05 ** (bin_ + 1)
        raise AssertionError("the bins hold `count` latencies")

    def halve(self) -> None:
        """Forget half of everything, so that the present weighs more than the past."""
        self._bins = {bin_: n // 2 for bin_, n in self._bins.items() if n > 1}
        self.count = sum(self._bins.values())

    def clear(self) -> None:
        """Forget everything."""
        self._bins = {}
        self.count = 0
