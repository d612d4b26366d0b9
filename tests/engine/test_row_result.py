"""What a row costs, by the class of service that answered."""

from decimal import Decimal

import pytest

from batchgen.engine.masking import Masker
from batchgen.engine.row_result import RowResults
from batchgen.engine.work import RowInProgress
from batchgen.money.prices import load_prices
from batchgen.pace.retry import AttemptCounts
from batchgen.secret import Secrets
from batchgen.values import Completion, Failure, FailureKind, Prompt, Usage, Verdict

USAGE = Usage(input_tokens=1_000_000, output_tokens=1_000_000, cached_tokens=1_000_000)


def cost(outcome, **entry):
    table = load_prices(None, {"m": {"input": Decimal(2), "cached_input": Decimal(1), "output": Decimal(8),
                                     "currency": "USD", **entry}})  # fmt: skip
    results = RowResults("m", lambda name: table.find(name, "international"), Masker(Secrets()))
    found = results.cost(RowInProgress(0, Prompt(), AttemptCounts()), outcome)
    return None if found is None else found.input + found.output


@pytest.mark.parametrize(
    ("entry", "live", "batch"),
    [
        ({}, 9, 5),
        ({"batch_cache": True}, 9, Decimal("4.5")),
        ({"lanes": {"batch": Decimal("0.25")}}, 9, Decimal("2.5")),
        ({"batch": False}, 9, None),
    ],
)
def test_what_a_batch_answered_has_its_price(entry, live, batch):
    """With its rule for cached input; what was asked live beside it is paid as such, and so is what failed."""
    assert cost(Completion("x", "stop", USAGE), **entry) == live
    assert cost(Completion("x", "stop", USAGE, service_tier="batch"), **entry) == batch
    failed = Failure(FailureKind.CONTENT_FILTER, Verdict.FAIL, "held back", usage=USAGE, service_tier="batch")
    assert cost(failed, **entry) == batch
