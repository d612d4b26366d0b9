"""How a run shows itself: the bar's tail, amounts as people read them, and a terminal that goes away."""

import io
from decimal import Decimal

import pytest

from batchgen.engine.reporter import Progress
from batchgen.progress.bar import ProgressBar, postfix
from batchgen.text.figures import money


@pytest.mark.parametrize(
    ("amount", "shown"),
    [("0", "0.00 USD"), ("0.00002152", "0.00002152 USD"), ("0.5", "0.5 USD"), ("1234.567", "1,234.57 USD")],
)
def test_amounts_are_readable(amount, shown):
    """Two decimals from one on, four significant digits below."""
    assert money(Decimal(amount), "USD") == shown


def test_the_tail_says_what_it_costs_and_what_went_wrong():
    """Cost so far, of the whole, what a budget leaves, failures and refusals."""
    standing = Progress(rows=100, settled=50, failed=2, refused=7, spent=Decimal(1), budget=Decimal(5), currency="USD")
    assert postfix(standing) == "cost 1.00 USD, of about 2.00 USD, budget left 4.00 USD, failed 2, 429s 7"


def test_a_note_cannot_drive_the_terminal():
    """A note may quote a file's name or a server's words: control characters are left out."""
    shown = io.StringIO()
    ProgressBar(bar=False, file=shown).note("part\x1b]0;gone\x07.parquet\u202e is damaged")
    assert shown.getvalue() == "part]0;gone.parquet is damaged\n"


class Gone(io.StringIO):
    """A terminal whose window was closed."""

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")


def test_a_terminal_that_goes_away_takes_nothing_with_it():
    """Notes and the bar fall silent; the run goes on."""
    bar = ProgressBar(file=Gone())
    standing = Progress(rows=2)
    bar.started(standing)
    bar.note("still here")
    standing.settled = 2
    bar.moved(standing)
    bar.finished(standing)
    bar.note("and here")
    bar._file.close()
