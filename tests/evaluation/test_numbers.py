"""Amounts: a number and its currency or per cent sign are one value."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from batchgen.evaluation.values import ValueReader

TEXT = ValueReader([pa.string(), pa.string()])
UNTYPED = ValueReader([None, pa.string()])
REAL = ValueReader([pa.float64(), pa.string()])


@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from("$€£¥₹%"), st.sampled_from("$€£¥₹%"))
def test_an_amount_equals_its_other_spellings(number, sign, other):
    """With another currency, another sign or none it is another value."""
    spelled = [f"{number:f}{sign}", f"{number:,.2f} {sign}", f"{number.normalize():f} {sign}"]
    if sign != "%":
        spelled += [f"{sign}{number:f}", f"{sign} {number:,.2f}"]
    for reader in (TEXT, UNTYPED, REAL):
        assert len({reader.key(text) for text in spelled}) == 1
        assert reader.key(spelled[0]) != reader.key(number)
        assert (reader.key(f"{number:f}{other}") == reader.key(spelled[0])) == (sign == other)
