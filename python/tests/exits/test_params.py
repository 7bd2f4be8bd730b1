"""The policy's exit parameters: what is taken, and how a mistake is named."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_exit.exits.params import (
    BUILT_IN,
    InvalidParamsError,
    TakeProfit,
    parse_harvest_params,
)


def test_every_field_is_read_exactly() -> None:
    params = parse_harvest_params(
        """{"default": {"stop_loss_pct": "2.0", "stop_loss_atr_multiple": 1.5, "atr_period": 20,
            "take_profits": [{"pct": "3.0", "fraction": "0.5"}, {"pct": 6, "fraction": 0.1}],
            "break_even_at_pct": "1.5", "trailing_start_pct": "2.0",
            "trailing_distance_pct": "1.0", "max_hold_s": 3600}}"""
    ).default
    assert params.stop_loss_pct == Decimal("2.0")
    assert params.stop_loss_atr_multiple == Decimal("1.5")
    assert params.atr_period == 20
    assert params.take_profits == (
        TakeProfit(Decimal(3), Decimal("0.5")),
        TakeProfit(Decimal(6), Decimal("0.1")),  # not 0.1000000000000000055
    )
    assert (params.trailing_start_pct, params.trailing_distance_pct) == (2, 1)
    assert params.max_hold_s == 3600


def test_a_symbol_replaces_single_fields_and_may_switch_a_rule_off() -> None:
    params = parse_harvest_params(
        """{"default": {"stop_loss_pct": 2, "break_even_at_pct": 1},
            "symbols": {"BTCUSDT": {"stop_loss_pct": 1}, "ETHUSDT": {"break_even_at_pct": null}}}"""
    )
    assert params.for_symbol("BTCUSDT").stop_loss_pct == 1
    assert params.for_symbol("BTCUSDT").break_even_at_pct == 1
    assert params.for_symbol("ETHUSDT").stop_loss_pct == 2
    assert params.for_symbol("ETHUSDT").break_even_at_pct is None
    assert params.for_symbol("AVAXUSDT") == params.default


def test_without_a_policy_there_is_a_stop_and_nothing_else() -> None:
    params = BUILT_IN.for_symbol("BTCUSDT")
    assert params.stop_loss_pct > 0
    assert params.take_profits == ()
    assert params.trailing_start_pct is None
    assert params.max_hold_s is None


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", "harvest_params"),
        ("[]", "harvest_params"),
        ("{}", "default"),
        ('{"default": {}}', "default.stop_loss_pct"),
        ('{"default": {"stop_loss_pct": null}}', "default.stop_loss_pct"),
        ('{"default": {"stop_loss_pct": 0}}', "default.stop_loss_pct"),
        ('{"default": {"stop_loss_pct": -1}}', "default.stop_loss_pct"),
        ('{"default": {"stop_loss_pct": 100}}', "default.stop_loss_pct"),
        ('{"default": {"stop_loss_pct": true}}', "default.stop_loss_pct"),
        ('{"default": {"stop_loss_pct": "2,5"}}', "default.stop_loss_pct"),
        ('{"default": {"stop_loss_pct": "1e1"}}', "default.stop_loss_pct"),
        ('{"default": {"stop_loss_pct": NaN}}', "harvest_params"),
        ('{"default": {"stop_loss_pct": 1, "stop_loss_pct": 50}}', "harvest_params"),
        ('{"default": {"stop_loss_pct": 2, "atr_period": 2.5}}', "default.atr_period"),
        ('{"default": {"stop_loss_pct": 2, "atr_period": 1}}', "default.atr_period"),
        ('{"default": {"stop_loss_pct": 2, "trailing_start_pct": 1}}', "default.trailing_dist"),
        ('{"default": {"stop_loss_pct": 2, "take_profits": {}}}', "default.take_profits"),
        (
            '{"default": {"stop_loss_pct": 2, "take_profits": [{"pct": 1}]}}',
            "default.take_profits[0].fraction",
        ),
        ('{"default": {"stop_loss_pct": 2}, "symbols": {"btcusdt": {}}}', "symbols.btcusdt"),
        ('{"default": {"stop_loss_pct": 2}, "symbols": {"A": []}}', "symbols.A"),
        ('{"default": {"stop_loss_pct": 2}, "symbols": {"A": {"x": 1}}}', "symbols.A.x"),
        ('{"default": {"stop_loss_pct": 2}, "extra": 1}', "extra"),
    ],
)
def test_a_mistake_is_named_by_its_path(text: str, path: str) -> None:
    with pytest.raises(InvalidParamsError) as caught:
        parse_harvest_params(text)
    assert str(caught.value).startswith(path)


def test_a_misspelt_name_gets_the_nearest_known_one() -> None:
    with pytest.raises(InvalidParamsError, match="did you mean stop_loss_pct"):
        parse_harvest_params('{"default": {"stop_los_pct": 2}}')


def test_levels_must_rise() -> None:
    levels = [{"pct": 3, "fraction": "0.1"}, {"pct": 3, "fraction": "0.1"}]
    with pytest.raises(InvalidParamsError, match=r"take_profits\[1\]\.pct"):
        parse_harvest_params(_with_levels(levels))


@given(st.lists(st.decimals("0.01", "1", places=2), min_size=1, max_size=8))
def test_fractions_over_one_are_never_taken(fractions: list[Decimal]) -> None:
    levels = [{"pct": i + 1, "fraction": str(f)} for i, f in enumerate(fractions)]
    if sum(fractions) > 1:
        with pytest.raises(InvalidParamsError, match="over 1"):
            parse_harvest_params(_with_levels(levels))
    else:
        taken = parse_harvest_params(_with_levels(levels)).default.take_profits
        assert [level.fraction for level in taken] == fractions


@given(st.text(max_size=200))
def test_noise_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(InvalidParamsError):
        parse_harvest_params(text)


def _with_levels(levels: list[dict[str, object]]) -> str:
    return json.dumps({"default": {"stop_loss_pct": 2, "take_profits": levels}})
