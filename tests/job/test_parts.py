"""What a part does not say of its rows is worked out again from what it says."""

import sys
from decimal import Decimal
from types import SimpleNamespace

import pytest

import batchgen
from batchgen.errors import UsageError
from batchgen.job.check import check_job
from batchgen.job.parts import input_cost_of
from batchgen.job.settings import Job
from batchgen.money.prices import load_prices
from batchgen.values import Result, Status

PRICE = load_prices().find("gpt-5-mini", "international")


@pytest.mark.parametrize("factor", ["1", "0.5", "0.1", "3"])
def test_the_input_has_its_share_of_what_a_row_cost(factor):
    """At the list's price, and in proportion where another lane, class of service or list decided it."""
    parts = SimpleNamespace(model="gpt-5-mini", price_of=lambda name: PRICE)
    listed = Decimal("0.00025"), Decimal("0.0002")  # 1,000 tokens in, 100 out
    result = Result(0, Status.SUCCEEDED, 1, 0, input_tokens=1000, output_tokens=100)
    stored = sum(listed) * Decimal(factor)
    result = Result(
        **{name: getattr(result, name) for name in Result.__struct_fields__}
        | {"input_cost": Decimal(0), "output_cost": stored}
    )
    assert input_cost_of(parts)(result) == listed[0] * Decimal(factor)


def test_nothing_is_divided_where_no_price_or_no_tokens_are_known():
    """Then the whole cost is the output's, as before."""
    result = Result(0, Status.SUCCEEDED, 1, 0, input_tokens=1000, output_tokens=100)
    assert input_cost_of(SimpleNamespace(model="m", price_of=lambda name: None))(result) is None
    assert (
        input_cost_of(SimpleNamespace(model="m", price_of=lambda name: PRICE))(Result(0, Status.FAILED, 1, 0)) is None
    )


@pytest.mark.parametrize(
    ("user", "told"),
    [
        ("Sort: {body}", True),
        ("Sort: $body", True),
        ("Sort: <body>", True),
        ("Sort: %(body)s", True),
        ("Sort: «body»", True),
        ("Sort: {{ body }}", False),
        ("Say yes. {no}", False),
    ],
)
def test_a_column_that_is_written_as_elsewhere_is_told(tmp_path, user, told):
    """All rows would ask the same, and be paid."""
    (tmp_path / "in.csv").write_text("ticket,body\n1,The lamp is broken\n", encoding="utf-8")
    job = Job.from_dict(
        {
            "name": "tickets",
            "input": {"path": str(tmp_path / "in.csv"), "id": "ticket"},
            "prompt": {"user": user},
            "model": {"provider": "openai", "name": "gpt-5-mini", "base_url": "http://127.0.0.1:9/v1"},
            "output": {"path": str(tmp_path / "out")},
        }
    )
    notes = check_job(job).notes
    assert any("write {{ body }}" in note for note in notes) is told


def engine_job(tmp_path, **engine):
    """Return a job with an engine."""
    (tmp_path / "in.csv").write_text("text\nhello\n")
    return Job.from_dict(
        {
            "name": "engines",
            "input": {"path": str(tmp_path / "in.csv")},
            "prompt": {"user": "{{ text }}"},
            "model": {"provider": "openai", "name": "m", "base_url": "http://127.0.0.1:9/v1", "api_key_env": ""},
            "engine": engine,
            "output": {"path": str(tmp_path / "out")},
        }
    )


def test_check_names_the_extra_that_the_engine_lacks(tmp_path, monkeypatch):
    """As the run would, before anybody waits for it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    told = check_job(engine_job(tmp_path, kind="ray")).problem
    assert told.startswith('engine.kind = "ray" needs ray (extra ray)')
    assert "pip install" in told
    with pytest.raises(UsageError, match="extra ray"):
        batchgen.run(engine_job(tmp_path, kind="ray"))
    assert check_job(engine_job(tmp_path, workers=2)).problem is None


def test_an_address_that_no_engine_uses_is_told(tmp_path):
    """The job is run by this machine, as it says, and the key that has no use is named."""
    notes = check_job(engine_job(tmp_path, address="10.0.0.5:6379")).notes
    assert any("engine.address" in note for note in notes)
    assert not any("engine" in note for note in check_job(engine_job(tmp_path)).notes)
