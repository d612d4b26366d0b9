"""What is wrong with structured answers, at given rates, the same each time."""

from __future__ import annotations

import ast
import json

import pytest

from batchgen.simulator import BLEMISHES, Settings
from batchgen.simulator.answers import compose
from batchgen.simulator.blemishes import blemished

GOOD = '{"name":"Ann","age":7}'
LABELS = ("red", "green", "blue")


def test_each_blemish_spoils_an_object_in_its_way():
    """Form, end, type or completeness; the rest of the answer stays."""
    spoilt = {name: blemished(name, GOOD, (), 1) for name in BLEMISHES}
    assert spoilt["fenced"].startswith("```json\n")
    assert GOOD in spoilt["wrapped"]
    assert spoilt["trailing_comma"] == '{"name":"Ann","age":7,}'
    assert ast.literal_eval(spoilt["single_quoted"]) == json.loads(GOOD)
    assert GOOD.startswith(spoilt["cut_json"])
    assert spoilt["cut_json"] != GOOD
    assert json.loads(spoilt["wrong_type"]) == {"name": "Ann", "age": {"value": 7}}
    assert json.loads(spoilt["missing_field"]) == {"name": "Ann"}
    assert spoilt["wrong_label"] == GOOD


def test_a_label_is_wrapped_or_another():
    """All else leaves it alone, and prose too."""
    for name in BLEMISHES:
        spoilt = blemished(name, "green", LABELS, 4)
        assert (spoilt != "green") is (name in ("wrapped", "wrong_label"))
        assert blemished(name, "Just words", LABELS, 4) == "Just words"
    assert blemished("wrong_label", "green", LABELS, 4) in ("red", "blue")


def test_an_answer_says_what_befell_it():
    """Only where something did."""
    messages = [{"role": "user", "content": 'Reply in JSON like {"name": "who"}. Kind regards,\nAnn Smith'}]
    assert compose(messages, seed=0, blemish="fenced").blemish == "fenced"
    assert compose(messages, seed=0, blemish="wrong_label").blemish == ""
    assert compose([{"role": "user", "content": "Hello"}], seed=0, blemish="fenced").blemish == ""


@pytest.mark.parametrize("note", ["That is not valid. Answer again with the object.", "Please correct your answer."])
def test_asked_again_it_answers_what_was_asked(note):
    """A complaint is no email: the values come from the message before it."""
    asked = [{"role": "system", "content": 'Reply in JSON like {"customer": "who"}.'}]
    asked += [{"role": "user", "content": "Kind regards,\nAnn Smith"}]
    again = [*asked, {"role": "assistant", "content": "?"}, {"role": "user", "content": note}]
    assert compose(again, seed=0).text == compose(asked, seed=0).text == '{"customer":"Ann Smith"}'


def test_rates_together_are_at_most_one():
    """One thing goes wrong with an answer."""
    with pytest.raises(ValueError, match="structured answers"):
        Settings(fenced=0.6, wrapped=0.6)
