"""What a summary says of the pace."""

import math

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
