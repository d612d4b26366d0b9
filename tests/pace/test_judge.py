"""What the scenes are judged by."""

from __future__ import annotations

from tests.pace.judge import _crawled_s
from tests.pace.world import Seen


def test_a_last_row_that_is_sent_again_is_no_slow_pace():
    """One row in 200 that timed out after two minutes made a job of 100 s crawl."""
    seen = Seen(rows=200, t99_s=99.0, sent_at=[0.5 * number for number in range(200)] + [240.0])
    assert _crawled_s(seen) == 0.0
    seen.t99_s = 250.0
    assert _crawled_s(seen) > 60.0
