"""Figures that no column can hold: whatever a row says of itself, it is stored, published and summed."""

from decimal import Decimal

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.money.ledger import Charges, Sums
from batchgen.storage.bounds import MOST_MONEY, MOST_TOKENS, bounded
from batchgen.storage.cost_summary import write_cost_summary
from batchgen.storage.journal import Journal
from batchgen.storage.parts import part_path, read_part, write_part
from batchgen.storage.result_schema import Layout, Parsed, PriceLabel
from batchgen.storage.shards import ShardRecord
from tests.storage.example_shard import LAYOUT, shard_of, succeeded

TOKENS = ["input_tokens", "output_tokens", "total_tokens", "cached_tokens", "reasoning_tokens"]
POWERS = (15, 31, 53, 63, 64, 90)
edges = st.sampled_from([sign * (2**power + more) for power in POWERS for sign in (1, -1) for more in (-1, 0, 1)])
figures = st.one_of(st.none(), edges, st.integers(0, 10**6), st.integers())
money = st.one_of(
    st.none(),
    st.decimals(places=12, allow_nan=True, allow_infinity=True),
    st.sampled_from([Decimal(10) ** 9, Decimal("NaN")]),
)


def published(tmp_path, rows):
    """Store rows in a journal, publish them, write the cost summary; return the part's rows."""
    journal = Journal(tmp_path / "journal")
    journal.record([ShardRecord(0, 0, len(rows))])
    stored = journal.append(rows)
    write_cost_summary(tmp_path / "cost.parquet", journal.sums(), lambda model: PriceLabel())
    journal.close()
    (tmp_path / "journal").unlink()
    part = write_part(tmp_path, shard_of(len(rows)), [stored], LAYOUT)
    assert part.sums == Sums.from_json(part.sums.to_json())
    return read_part(part_path(tmp_path, 0))[1].to_pylist()


@settings(deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.tuples(*[figures] * 5), money, money, figures, st.one_of(edges, st.integers(0, 9))),
        min_size=1,
        max_size=4,
    )
)
def test_any_figure_is_stored(tmp_path_factory, rows):
    """What fits stays as it was, what does not is null; the status word and the text are untouched."""
    results = [
        msgspec.structs.replace(
            succeeded(row),
            http_status=status,
            attempts=abs(attempts),
            input_cost=one,
            output_cost=two,
            **dict(zip(TOKENS, counts, strict=True)),
        )
        for row, (counts, one, two, status, attempts) in enumerate(rows)
    ]
    found = published(tmp_path_factory.mktemp("out"), results)
    for result, line in zip(results, found, strict=True):
        for name in TOKENS:
            value = getattr(result, name)
            assert line[name] == (value if value is not None and 0 <= value <= MOST_TOKENS else None)
        assert line["completion"] == result.completion


def test_a_usual_result_is_not_copied():
    """The guard is on the way of every row."""
    usual = succeeded(0)
    assert bounded(usual) is usual
    spent = Charges(0, 3, 10, 20, 30, 0, 0, Decimal("0.1"), Decimal("0.2"))
    assert bounded(spent) is spent


@pytest.mark.parametrize("value", [2**63, 2**70, -1, 1.5, True])
def test_charges_are_bounded_too(tmp_path, value):
    """What an unfinished row has cost goes through the same guard."""
    journal = Journal(tmp_path / "journal")
    journal.record([ShardRecord(0, 0, 1)])
    journal.append([], [Charges(0, 1, total_tokens=value, input_cost=MOST_MONEY * 2, output_cost=Decimal(1))])
    [stored] = journal.append([succeeded(0, total_tokens=5)])
    assert stored.total_tokens == 5
    journal.close()


def test_parsed_values_that_do_not_fit_are_null_in_their_row(tmp_path):
    """An answer's own figure of 70 bits costs its row the parsed column, and no other row anything."""
    kind = pa.struct([("x", pa.int64())])
    parsed = Parsed(kind, lambda rows: pa.array([{"x": 2 ** (70 * (r.row == 3))} for r in rows], kind))
    write_part(tmp_path, shard_of(5), [[succeeded(row) for row in range(5)]], Layout(LAYOUT.carried, parsed=parsed))
    found = read_part(part_path(tmp_path, 0))[1].column("parsed").to_pylist()
    assert found == [{"x": 1}] * 3 + [None, {"x": 1}]
