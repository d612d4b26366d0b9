"""Prices: figures and rules of the shipped file, a user's file over it, and costs that are exact to the last digit."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchgen.errors import JobError
from batchgen.money.prices import OUTPUT_SLACK, PriceTable, load_prices
from batchgen.values import Cost, Usage

TABLE = load_prices()


def price(model, region="international"):
    found = TABLE.find(model, region)
    assert found is not None
    return found


def total(cost):
    assert cost is not None
    return cost.input + cost.output


@pytest.mark.parametrize(
    ("model", "region", "input_tokens", "figures"),
    [
        ("qwen-plus", "international", 1, "0.4 1.2 4"),
        ("qwen-plus", "international", 256_000, "0.4 1.2 4"),
        ("qwen-plus", "international", 256_001, "1.2 3.6 12"),
        ("qwen-plus", "beijing", 128_000, "0.8 2 8"),
        ("qwen-plus", "beijing", 128_001, "2.4 20 24"),
        ("qwen-plus", "beijing", 1_000_000, "4.8 48 64"),
        ("qwen-plus", "beijing", 2_000_000, "4.8 48 64"),
        ("qwen3-max", "international", 32_001, "2.4 12 12"),
        ("qwen3-max", "beijing", 256_000, "7 28 28"),
        ("qwen-turbo", "beijing", 9, "0.3 0.6 3"),
        ("qwen3.7-flash", "international", 1, "0.03 0.13 0.13"),
        ("qwen3-coder-plus", "international", 999_999, "6 60 60"),
        ("qwen3-next-80b-a3b-thinking", "beijing", 1, "1 10 10"),
        ("gpt-5.4", "international", 272_001, "5 22.5 22.5"),
        ("gpt-5.6", "international", 272_001, "8 30 30"),
        ("gpt-4o-mini", "international", 1, "0.15 0.6 0.6"),
    ],
)
def test_the_input_length_picks_the_tier(model, region, input_tokens, figures):
    """Tiers include their upper bound, and what is longer than all of them falls into the last."""
    tier = price(model, region).tier(input_tokens)
    assert (tier.input, tier.output, tier.thinking_output) == tuple(map(Decimal, figures.split()))


def test_every_price_says_where_and_when():
    """Each entry has its region's currency, a source and a date, and each model's larger tiers ascend."""
    prices = list(TABLE)
    assert len({price.model for price in prices}) >= 60
    for entry in prices:
        assert entry.currency == {"international": "USD", "beijing": "CNY"}[entry.region]
        assert entry.price_source
        assert dt.date(2024, 1, 1) < entry.price_date < dt.date(2027, 1, 1)
        bounds = [tier.up_to for tier in entry.tiers[:-1]]
        assert bounds == sorted(set(bounds))


def test_all_tokens_are_charged_at_the_one_tier():
    """A request just over a bound pays the dearer price for all its tokens, not for the excess."""
    cost = price("qwen-plus").cost(Usage(256_001, 1_000))
    assert cost == Cost(Decimal("0.3072012"), Decimal("0.0036"))


def test_thinking_makes_all_output_dearer():
    """Reported thinking, or the caller's word, charges the whole output at the thinking price."""
    plus = price("qwen-plus")
    assert total(plus.cost(Usage(0, 1_000_000))) == Decimal("1.2")
    assert total(plus.cost(Usage(0, 1_000_000, reasoning_tokens=1))) == 4
    assert total(plus.cost(Usage(0, 1_000_000), thinking=True)) == 4
    assert total(plus.cost(Usage(0, 1_000_000, reasoning_tokens=1), thinking=False)) == Decimal("1.2")


def test_recordings_have_a_price_of_their_own():
    """Where it is not known the cost is not either: the price of text would be too low."""
    usage = Usage(1_000, 100, 1_100, audio_tokens=900)
    plain = price("qwen-plus")
    assert plain.cost(usage) is None
    spoken = msgspec.structs.replace(
        plain, tiers=tuple(msgspec.structs.replace(tier, audio_input=Decimal(32)) for tier in plain.tiers)
    )
    assert spoken.cost(usage) == Cost(
        (100 * plain.tiers[0].input + 900 * 32) / 1_000_000, 100 * plain.tiers[0].output / 1_000_000
    )
    half = msgspec.structs.replace(spoken, tiers=tuple(tier.times(Decimal("0.5")) for tier in spoken.tiers))
    assert total(half.cost(usage)) * 2 == total(spoken.cost(usage))


def test_cached_and_written_input():
    """Cache hits cost a stated price or 20 %, writes 125 %, and counts beyond the input are cut to it."""
    assert total(price("qwen3.8-max").cost(Usage(1_000_000, 0, cached_tokens=1_000_000))) == Decimal("0.25")
    assert total(price("qwen-max").cost(Usage(1_000_000, 0, cached_tokens=500_000))) == Decimal("0.96")
    assert total(price("qwen-max").cost(Usage(1_000_000, 0, cache_write_tokens=1_000_000))) == 2
    assert total(price("qwen-max").cost(Usage(1_000_000, 0, cached_tokens=2_000_000))) == Decimal("0.32")


@pytest.mark.parametrize("usage", [Usage(), Usage(5, None), Usage(None, 5), Usage(total_tokens=10)])
def test_unknown_tokens_have_no_cost(usage):
    """A cost is never made up from half of the counts."""
    assert price("qwen-plus").cost(usage) is None


def test_batches_cost_half():
    """File batches halve input and output without a cache discount; qwen4-max has none.

    Outside of China the vendor's page names five models of its own, here with their other names.
    """
    batch = price("qwen-plus").batch()
    assert batch is not None
    assert total(batch.cost(Usage(1_000_000, 1_000_000, cached_tokens=1_000_000))) == Decimal("2.4")
    assert price("qwen4-max").batch_factor is None
    assert price("qwen4-max").batch() is None
    there = {entry.model for entry in TABLE if entry.batch_factor and entry.region == "international"}
    there -= {entry.model for entry in TABLE if entry.model.startswith(("gpt-", "o3", "o4-", "claude-"))}
    names = {"qwen-max", "qwen-plus", "qwen-flash", "qwen-turbo", "qwen3.5-flash"}
    assert there == names | {"qwen-plus-latest", "qwen-plus-2025-07-28", "qwen-turbo-latest"}
    assert all(entry.batch_factor for entry in TABLE if entry.region == "beijing")


def test_the_cache_inside_of_batches():
    """At Anthropic its prices hold there too, times the batch's own factor; elsewhere all input costs the same."""
    claude = price("claude-haiku-4-5-20251001").in_lane("batch").tiers[0]
    assert (claude.input, claude.cached_input, claude.cache_write) == (
        Decimal("0.5"),
        Decimal("0.05"),
        Decimal("0.625"),
    )
    other = price("gpt-4o").in_lane("batch").tiers[0]
    assert other.input == other.cached_input == other.cache_write == Decimal("1.25")


def test_a_job_may_say_what_a_batch_costs():
    """Also for a model whose list price says that there are none, and of a server of one's own it stays nothing."""
    own = {"qwen4-max": {"lanes": {"batch": Decimal("0.4")}}, "gpt-4o": {"lanes": {"batch": Decimal("0.8")}}}
    table = load_prices(None, own)
    assert table.find("qwen4-max", "international").in_lane("batch").tiers[0].input == Decimal("0.6")
    assert table.find("gpt-4o", "international").in_lane("batch").tiers[0].output == 8
    free = PriceTable({}, free=True).find("m", "international")
    assert free.in_lane("batch").free


PRICES = list(TABLE) + [batch for entry in TABLE if (batch := entry.batch()) is not None]
COUNTS = st.one_of(st.none(), st.integers(0, 2_000_000))


@settings(deadline=None)
@given(
    st.sampled_from(PRICES),
    st.builds(Usage, st.integers(0, 2_000_000), st.integers(0, 400_000), COUNTS, COUNTS, COUNTS, COUNTS),
    st.integers(0, 1_000_000),
    st.integers(0, 1_000_000),
)
def test_costs_fit_the_column_and_the_worst_case(entry, usage, more_input, more_output):
    """Every cost is a decimal128(20, 12) as it stands, and no request with at most these tokens costs more."""
    cost = total(entry.cost(usage))
    pa.scalar(cost, pa.decimal128(20, 12))
    worst = entry.worst_case((usage.input_tokens or 0) + more_input, (usage.output_tokens or 0) + more_output)
    assert worst is not None
    assert 0 <= cost <= worst


def test_the_worst_case_allows_for_cache_writes():
    """An input that is all written to a cache costs more than plain input, and the bound covers it."""
    top = price("qwen-max")
    assert top.worst_case(1_000_000, 0) == 2
    assert total(top.cost(Usage(1_000_000, 0, cache_write_tokens=1_000_000))) == 2


def test_the_worst_case_may_lie_in_a_lower_tier(tmp_path):
    """Where a higher tier is cheaper, the bound is that of the dearest tier a shorter input could fall into."""
    table = load_prices(
        written(
            tmp_path,
            """
            [models.odd.international]
            source = "a quote"
            date = 2026-11-01
            tiers = [
                { up_to = 1_000, input = 10, output = 100, cache_write = 10 },
                { input = 1, output = 1, cache_write = 1 },
            ]
            """,
        )
    )
    odd = table.find("odd", "international")
    assert odd is not None
    assert odd.worst_case(1_001, 10) == Decimal("0.011")
    assert odd.worst_case(1_001, None) is None


@pytest.mark.parametrize(
    ("model", "parameters", "bound"),
    [
        ("qwen-max", {"max_tokens": 500}, 500),
        ("qwen-max", {}, 8_192),
        ("qwen-max", {"max_tokens": 500, "n": 2}, 510 + 500),
        ("qwen-long", {}, None),
        ("qwen-plus", {"max_tokens": 500}, 500),
        ("qwen-plus", {"max_tokens": 500, "enable_thinking": True}, None),
        ("qwen-plus", {"max_tokens": 500, "enable_thinking": True, "thinking_budget": 1_000}, 1_500),
        ("qwen3.7-max", {"max_tokens": 500}, None),
        ("qwen3.7-max", {"max_tokens": 500, "enable_thinking": False}, 500),
        ("qwen3.7-max", {"max_completion_tokens": 500}, 500),
        ("qwen3.8-max", {"max_tokens": 500}, 262_644),
        ("qwq-plus", {"max_tokens": 500, "enable_thinking": False, "thinking_budget": 10}, 510),
        ("qwen4-max", {"max_tokens": 500}, 500),
        ("qwen-max", {"max_tokens": {"column": "limit"}}, None),
    ],
)
def test_what_bounds_the_output(model, parameters, bound):
    """Thinking that `max_tokens` does not limit comes on top of it, and without any bound there is none."""
    region = "beijing" if model == "qwen-long" else "international"
    expected = None if bound is None else bound + OUTPUT_SLACK
    assert price(model, region).output_bound(parameters) == expected


@pytest.mark.parametrize("model", ["qwen-plus-2024-09-19", "Qwen-Plus", "gpt-4o-2024-05-13", "", "qwen"])
def test_unlisted_names_have_no_price(model):
    """Nothing is guessed: another snapshot may cost something else."""
    assert TABLE.find(model, "international") is None


def test_listed_snapshots_and_suggestions():
    """A listed snapshot has its base's price and its own limits; for the rest the nearest names are said."""
    latest = price("qwen-plus-latest")
    assert latest.tiers == price("qwen-plus").tiers
    assert latest.max_input == 997_952
    assert "did you mean qwen-plus?" in TABLE.suggestion("qwen-plus-2024-09-19", "international")
    assert "it has one in international" in TABLE.suggestion("qwen4-max", "beijing")
    assert "qwen-turbo" in TABLE.suggestion("qwen-tubro", "international")


def test_limits_without_a_price():
    """Context limits are known also for models that nobody lists a price for."""
    limits = TABLE.limits("qwen1.5-14b-chat")
    assert limits is not None
    assert (limits.max_input, limits.max_output) == (6_000, 2_000)
    assert TABLE.find("qwen1.5-14b-chat", "beijing") is None
    assert TABLE.limits("unheard-of") is None


def test_prices_grow_old():
    """A price is remarked on from six months after it was read."""
    plus = price("qwen-plus")
    assert not plus.is_stale(plus.price_date + dt.timedelta(days=183))
    assert plus.is_stale(plus.price_date + dt.timedelta(days=184))


def written(directory, text):
    path = directory / "my-prices.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_users_file_replaces_and_adds(tmp_path):
    """Its regions and keys win, the rest of a shipped model stays, new models are found."""
    path = written(
        tmp_path,
        """
        [sources.contract]
        url = "contract 42"
        date = 2026-10-02
        [models.qwen-plus.international]
        input = 0.3
        output = 1
        source = "contract"
        [models.qwen-max]
        prices_of = "qwen-turbo"
        [models.house-llm.beijing]
        input = 0.0125
        output = 1
        currency = "EUR"
        source = "our own accounting"
        date = 2026-11-20
        """,
    )
    table = load_prices(path)
    plus = table.find("qwen-plus", "international")
    assert plus is not None
    assert total(plus.cost(Usage(1_000_000, 1_000_000))) == Decimal("1.3")
    assert (plus.price_source, plus.price_date) == ("contract 42", dt.date(2026, 10, 2))
    assert plus.max_input == price("qwen-plus").max_input
    assert table.find("qwen-plus", "beijing") == price("qwen-plus", "beijing")
    own = table.find("house-llm", "beijing")
    assert own is not None
    assert own.currency == "EUR"
    renamed = table.find("qwen-max", "international")
    assert renamed is not None
    assert renamed.tiers == price("qwen-turbo").tiers


VALID = '[models.m.international]\nsource = "s"\ndate = 2026-11-01\ninput = 1\noutput = 2\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model.m]", "unknown key `model`"),
        ("models = 3", "`models` must be a table"),
        ("[models.m\n", "not valid TOML"),
        ("[models.m]\nmax_inptu = 3", "model m: .*`max_inptu`.*did you mean `max_input`"),
        ("[models.m]\nmax_input = 0", "model m: .*max_input"),
        ("[models.m]\nprices_of = 'nobody'", "model m, prices_of: `nobody`"),
        ("[models.m]\nprices_of = 'qwen-plus-latest'", "model m, prices_of"),
        ("[models.m.singapore]\ninput = 1", "`singapore`"),
        ("[models.qwen9.5-max]\nmax_input = 3", 'quote names with a dot: \\[models."qwen9.5-max"\\]'),
        (VALID.replace("output = 2", "output = 'free'"), "model m: .*output"),
        (VALID.replace("output = 2", "output = -2"), "model m.international, output: -2"),
        (VALID.replace("output = 2", "output = nan"), "model m.international, output: NaN"),
        (VALID.replace("output = 2", "output = inf"), "model m.international, output: Inf"),
        (VALID.replace("output = 2", "output = 0.00001"), "more than 4 decimal places"),
        (VALID.replace("output = 2", ""), "model m.international, output: missing"),
        (VALID.replace('source = "s"', ""), "model m.international, source: missing"),
        (VALID.replace("date = 2026-11-01", ""), 'no \\[sources."s"\\]'),
        (VALID + "tiers = [{ input = 1, output = 2 }]", "input: with `tiers`"),
        (VALID.replace("input = 1\noutput = 2", "tiers = []"), "tiers: empty"),
        (
            VALID.replace("input = 1\noutput = 2", "tiers = [{ input = 1, output = 2 }, { input = 1, output = 2 }]"),
            "tier 1, up_to: missing",
        ),
        (
            VALID.replace(
                "input = 1\noutput = 2",
                "tiers = [{ up_to = 9, input = 1, output = 2 }, { up_to = 9, input = 1, output = 2 }]",
            ),
            "tier 2, up_to: 9 is not above",
        ),
        ("[regions.mars]\ncurrency = 'X'\nsource = 's'", "regions.mars: unknown region"),
    ],
)
def test_mistakes_are_named(tmp_path, text, words):
    """Every mistake is an error that names file, model and key."""
    path = written(tmp_path, text)
    with pytest.raises(JobError, match=words) as caught:
        load_prices(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    """A price file that is not there is an error that names it."""
    with pytest.raises(JobError, match="none\\.toml cannot be read: No such file"):
        load_prices(tmp_path / "none.toml")
