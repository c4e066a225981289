"""What every built-in model keeps to, each found by itself; and what each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from position_server.errors import BrokenModel
from position_server.simulation import models, registry
from position_server.simulation.holdings import Account, Costs, Holding, total_of
from position_server.simulation.models.base import Model, ModelParams, is_due, trade_towards
from position_server.simulation.prices import PriceHistory
from position_server.simulation.tools import Toolbox
from tests.simulation.desk import DAYS, bar, bars
from tests.simulation.test_look_ahead import EAGER, KINDS, history

JULY = date(2025, 7, 1)


def toolbox(day: date, account: Account | None = None, prices: PriceHistory | None = None) -> Toolbox:
    return Toolbox((prices or history(bars())).market(day, None), account or Account(10_000_000))


def decided(kind: str, tools: Toolbox, **params: Any) -> Toolbox:
    model = registry.load(kind)
    model.decide(tools, model.params.model_validate(EAGER.get(kind, {}) | params))
    return tools


def quantities(tools: Toolbox) -> dict[str, int]:
    return {symbol: held.quantity for symbol, held in tools.account.holdings.items()}


@pytest.mark.parametrize("kind", KINDS)
class TestEveryModel:
    def test_its_parameters_have_defaults_and_no_others_are_taken(self, kind: str) -> None:
        model = registry.load(kind)
        assert isinstance(model, Model)
        assert model.params.model_validate({}) is not None
        assert registry.problems_of([("models.x", kind, {"no_such": 1})])[0].field == "models.x.no_such"

    def test_it_decides_the_same_twice(self, kind: str) -> None:
        first, second = (decided(kind, toolbox(DAYS[-1])) for _ in range(2))
        assert first.account.trades == second.account.trades
        assert first.steps == second.steps
        assert first.account.trades

    @settings(max_examples=10)
    @given(seed=st.integers(0, 1000), cash=st.integers(0, 10**9), days=st.integers(1, len(DAYS) - 1))
    def test_it_never_overdraws_nor_sells_what_it_has_not(self, kind: str, seed: int, cash: int, days: int) -> None:
        account = Account(cash, {"AAA": Holding(7, 100)}, costs=Costs(per_trade=1, bps=5))  # type: ignore[arg-type]
        tools = decided(kind, toolbox(DAYS[days], account, history(bars(seed))))
        assert account.cash_cents >= 0
        assert account.cash_cents == cash + total_of(account.trades)
        assert min(quantities(tools).values(), default=1) > 0

    def test_without_history_or_prices_it_is_at_peace(self, kind: str) -> None:
        decided(kind, toolbox(DAYS[0]))
        assert decided(kind, toolbox(JULY)).account.trades == []


def test_buy_and_hold_buys_once() -> None:
    tools = decided("buy_and_hold", toolbox(DAYS[0]))
    assert {trade.action for trade in tools.account.trades} == {"buy"}
    assert quantities(tools).keys() == {"AAA", "BBB", "CCC", "ORLY"}
    worth = {t.symbol: t.total_cents for t in tools.account.trades}
    assert max(worth.values()) - min(worth.values()) < 40_000, "equal amounts but for one share"
    again = decided("buy_and_hold", toolbox(DAYS[1], tools.account))
    assert len(again.account.trades) == 4


def test_buy_and_hold_can_be_told_what_to_buy() -> None:
    tools = decided("buy_and_hold", toolbox(DAYS[0]), symbols=["BBB", "ZZZ"])
    assert quantities(tools).keys() == {"BBB"}


def test_equal_weight_comes_back_to_equal_amounts() -> None:
    account = Account(0, {"AAA": Holding(10_000, 1), "BBB": Holding(1, 1)})
    tools = decided("equal_weight", toolbox(DAYS[5], account), rebalance="daily")
    opens = tools.market.opens
    worth = [count * opens[symbol] for symbol, count in quantities(tools).items()]
    assert max(worth) - min(worth) < 2 * max(opens.values())


def test_momentum_holds_what_rose_most_splits_taken_out() -> None:
    """ORLY falls to a tenth by its split and rises beneath it; CCC rises less."""
    days, rows = DAYS[:10], []
    for n, day in enumerate(days):
        split = 15 if day >= date(2025, 6, 10) else 1
        for symbol, price in (("AAA", 100 - n), ("BBB", 100), ("CCC", 100 + n), ("ORLY", (1500 + 30 * n) / split)):
            rows.append(bar(symbol, day, price, price, price, price))
    tools = decided("momentum", toolbox(days[-1], prices=history(rows)), lookback_days=8, hold=2)
    assert quantities(tools).keys() == {"CCC", "ORLY"}


def test_min_variance_leaves_out_what_has_no_whole_history() -> None:
    rows = [row for row in bars() if not (row["instrument"] == "BBB" and row["close_date"] == DAYS[12])]
    tools = decided("min_variance", toolbox(DAYS[14], prices=history(rows)), window_days=10)
    assert "BBB" not in quantities(tools)
    assert quantities(tools)


def test_models_wait_in_cash_until_there_is_enough_history() -> None:
    for kind, needed in (("momentum", {"lookback_days": 5}), ("min_variance", {"least_days": 5, "window_days": 5})):
        early = decided(kind, toolbox(DAYS[5]), **needed)
        assert early.account.trades == []
        assert "history are there" in early.steps[-1].content
        assert decided(kind, toolbox(DAYS[6]), **needed).account.trades


@pytest.mark.parametrize(
    ("day", "due"),
    [(DAYS[1], ["daily"]), (DAYS[5], ["daily", "weekly"]), (JULY, ["daily", "monthly"])],
)
def test_periods_begin_on_their_first_day_with_prices(day: date, due: Sequence[str]) -> None:
    prices = history(bars(days=[*DAYS, JULY]))
    held = Account(0, {"AAA": Holding(1, 1)})
    found = [name for name in ("daily", "weekly", "monthly") if is_due(toolbox(day, held, prices), name)]  # type: ignore[arg-type]
    assert found == list(due)
    assert is_due(toolbox(day, prices=prices), "monthly"), "who holds nothing begins at once"


def test_a_holding_that_does_not_open_stays_as_it_is() -> None:
    account = Account(0, {"AAA": Holding(10, 1), "GONE": Holding(5, 1)})
    rows = [*bars(), bar("GONE", DAYS[3], 10, 10, 10, 10)]
    tools = toolbox(DAYS[5], account, history(rows))
    trade_towards(tools, {"BBB": 0.5})
    assert quantities(tools)["GONE"] == 5
    assert "AAA" not in quantities(tools)


def test_a_module_that_is_no_model_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "hollow.py").write_text("X = 1\n")
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    with pytest.raises(BrokenModel, match="hollow: defines no MODEL"):
        registry.load("hollow")
    with pytest.raises(BrokenModel, match="broken: ModuleNotFoundError"):
        registry.load("broken")
    with pytest.raises(BrokenModel, match="no kind of model 'nothing'"):
        registry.load("nothing")
    assert "broken" in registry.problems_of([("models.a", "broken", {})])[0].message
    assert ModelParams().model_dump() == {}
