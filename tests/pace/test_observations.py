"""What a summary says of the pace."""

import math

import pytest

from batchgen.pace.latency_histogram import LatencyHistogram
from batchgen.pace.observations import _phrase


class Rate:
    """A rate as it is left at the end of a run."""

    def __init__(self, pace, named=math.inf):
        self.pace = self.ceiling = pace
        self.named = named

    def found(self):
        return self.pace


def test_a_rate_that_was_let_go_again_has_no_figure():
    """It held requests back for a while; at the end there is none that could be named."""
    assert _phrase("requests per minute", Rate(math.inf), None) == "requests per minute for a while"
    assert _phrase("requests per minute", Rate(2.0), None) == "requests per minute, about 120 found"
    assert _phrase("requests per minute", Rate(2.0, named=2.0), 120.0) == "requests per minute, 120 given"


@pytest.mark.parametrize("q", [0.0, 0.5, 0.95, 0.99, 1.0])
def test_quantiles_of_latencies_are_right_to_five_percent(q):
    """In all histograms that they are counted in, a sum of several looks included."""
    window, lasting = LatencyHistogram(), LatencyHistogram()
    latencies_s = [0.0012 * 1.01**n for n in range(997)]
    window.add(latencies_s[:400], lasting)
    window.add(latencies_s[400:], lasting)
    known = latencies_s[max(0, math.ceil(q * 997) - 1)]
    assert window.quantile(q) == lasting.quantile(q)
    assert known <= window.quantile(q) <= 1.051 * known
    assert window.count == 997
    assert LatencyHistogram().quantile(q) is None
