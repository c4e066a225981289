"""What a worker does with a model-day: tools and an account of its own, the decisions, all of it in one transaction.

The functions that compute/tasks.py names. Nothing is left in the worker but the price history, which only grows; the
state of a model-day is the call's and ends with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from position_server.clock import Clock, SystemClock
from position_server.errors import NoPrices, Problem
from position_server.simulation import registry
from position_server.simulation.calls import ModelDayCall
from position_server.simulation.holdings import Account
from position_server.simulation.prices import Bar, PricedDay, PriceHistory, in_micros
from position_server.simulation.records import model_days, prices
from position_server.simulation.splits import split_ratio
from position_server.simulation.tools import Occasion, Toolbox
from position_server.store.engine import Store, open_store


@dataclass(slots=True)
class Workbench:
    """What one worker process keeps: the open store and the prices read so far."""

    store: Store
    history: PriceHistory
    clock: Clock


def open_workbench(store_url: str, currency: str) -> Workbench:
    """The workbench of a new worker. The store is opened when first used: it may be down now and up later."""
    store = open_store(store_url)

    def load(first: date, last: date) -> Iterator[PricedDay]:
        with store.read() as connection:
            for day, symbol, opened, high, low, close, volume in prices.bars(connection, first, last, currency):
                yield day, symbol, Bar(in_micros(opened), in_micros(high), in_micros(low), in_micros(close), volume)

    return Workbench(store, PriceHistory(load), SystemClock())


def check_models(_: Any, entries: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[Problem]:
    """What is wrong with the kinds and parameters of models: (place in the configuration, kind, parameters) each."""
    return registry.problems_of(entries)


def run_model_day(bench: Workbench, call: ModelDayCall) -> float:
    """Runs and commits one model-day; returns the seconds it took. Raises what the model raises, or Superseded."""
    since = bench.clock.monotonic()
    entry = call.model_config
    model = registry.load(entry.kind)
    params = model.params.model_validate(entry.params)
    market = bench.history.market(call.day, call.config.universe)
    if not market.opens:
        raise NoPrices(f"The store has no opening price on {call.day}.")
    with bench.store.read() as connection:
        before = model_days.before(connection, call.model, call.day)
    tools = Toolbox(market, _account(call, before), _occasion(call, bench.clock))
    model.decide(tools, params)
    value = tools.account.value_cents(bench.history.closing(call.day, tools.account.holdings))
    worth_before = call.config.initial_cents if before is None else before.value_cents
    seconds = bench.clock.monotonic() - since
    done = _completed(call, tools, value, value - worth_before, seconds, bench.clock)
    with bench.store.write() as connection:
        model_days.complete(connection, done)
    return seconds


def _occasion(call: ModelDayCall, clock: Clock) -> Occasion:
    return Occasion(
        job_id=call.job_id,
        model=call.model,
        attempt=call.attempt,
        clock=clock,
        root=call.root,
        log_file=call.log_file,
        tool_servers=call.tool_servers,
        environment=os.environ,
    )


def _account(call: ModelDayCall, before: model_days.DayBefore | None) -> Account:
    """What the model has when the day opens: what it had, with the splits since then."""
    costs, shorts = call.config.costs.as_costs(), call.model_config.allow_short
    if before is None:
        return Account(call.config.initial_cents, costs=costs, allow_short=shorts)
    account = Account(before.cash_cents, before.holdings, costs=costs, allow_short=shorts)
    for symbol in before.holdings:
        account.split(symbol, split_ratio(symbol, before.day, call.day))
    return account


def _completed(
    call: ModelDayCall, tools: Toolbox, value: int, profit: int, seconds: float, clock: Clock
) -> model_days.CompletedDay:
    steps = [(one.step, one.role, one.content) for one in tools.steps]
    return model_days.CompletedDay(
        job_id=call.job_id,
        model=call.model,
        day=call.day,
        attempt=call.attempt,
        cash_cents=tools.account.cash_cents,
        value_cents=value,
        profit_cents=profit,
        holdings=tools.account.holdings,
        trades=tools.account.trades,
        steps=steps,
        tool_usage={name: (count, tools.errors[name]) for name, count in tools.calls.items()},
        stop_signal_received=tools.stop_signal_received,
        summary=tools.summary or (steps[-1][2] if steps else None),
        log_file_path=str(call.log_file) if call.log_file.exists() else None,
        duration_seconds=seconds,
        now=clock.now(),
    )
