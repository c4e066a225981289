"""What `/results` answers: of one day each model's portfolio, of a range its days and their figures. Plain data.

Money leaves as numbers of the currency with at most two decimals; it is cents until then. Computes no prices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from itertools import groupby
from typing import Any

from sqlalchemy import Connection

from position_server.errors import NoData
from position_server.simulation.figures import Figures, figures
from position_server.simulation.holdings import MICROS, Trade
from position_server.simulation.records import results as records
from position_server.simulation.records.results import Asked, Key, Portfolio
from position_server.simulation.requests import ResultsQuery

CASH = "CASH"  # beside the symbols of a portfolio
DIGITS = 6  # of percentages


@dataclass(frozen=True, slots=True)
class _Full:
    """What belongs to completed days beside their values, by model and day."""

    holdings: Mapping[Key, Mapping[str, int]]
    trades: Mapping[Key, list[Trade]]
    tool_usage: Mapping[Key, Mapping[str, int]]


def results(connection: Connection, query: ResultsQuery) -> dict[str, Any]:
    """The answer to the query. Raises NoData where no model has completed any of it."""
    asked = Asked(query.start_date, query.end_date, query.model, query.job_id)
    found = records.portfolios(connection, asked)
    if not found:
        raise NoData(f"Nothing was completed {_wording(query)}.")
    if query.is_range:
        more = _more(connection, asked) if query.full else None
        start, end = min(one.day for one in found), max(one.day for one in found)
        models = [_of_range(model, list(days), more) for model, days in groupby(found, lambda one: one.model)]
        return {**_range(query.start_date or start, query.end_date or end), "results": models}
    more = _more(connection, asked) if query.full else _Full(records.holdings(connection, asked), {}, {})
    return {"date": found[0].day.isoformat(), "results": [_of_day(one, more, query.full) for one in found]}


def range_figures(days: Iterable[Portfolio]) -> dict[str, Any]:
    """The figures of consecutive days of one model, with where they began and ended."""
    listed = list(days)
    returns = [_return(one) for one in listed]
    known = [gain for gain in returns if gain is not None]
    found = asdict(figures(known)) if len(known) == len(listed) else dict.fromkeys(Figures.__dataclass_fields__)
    rounded = {name: None if value is None else round(value, DIGITS) for name, value in found.items()}
    first, last = listed[0], listed[-1]
    return {
        "trading_days": len(listed),
        "starting_portfolio_value": _money(first.value_cents - first.profit_cents),
        "ending_portfolio_value": _money(last.value_cents),
        **rounded,
    }


def _more(connection: Connection, asked: Asked) -> _Full:
    return _Full(
        records.holdings(connection, asked), records.trades(connection, asked), records.tool_usage(connection, asked)
    )


def _of_day(one: Portfolio, more: _Full, full: bool) -> dict[str, Any]:
    answer = {"model": one.model, "positions": _positions(one, more), "daily_pnl": _daily_pnl(one)}
    return {**answer, **_reasons(one, more)} if full else answer


def _of_range(model: str, days: list[Portfolio], more: _Full | None) -> dict[str, Any]:
    daily: list[dict[str, Any]] = []
    for one in days:
        entry: dict[str, Any] = {"date": one.day.isoformat(), **_daily_pnl(one)}
        if more is not None:
            entry |= {"positions": _positions(one, more), **_reasons(one, more)}
        daily.append(entry)
    return {"model": model, "daily": daily, "metrics": range_figures(days)}


def _positions(one: Portfolio, more: _Full) -> dict[str, float]:
    return {**more.holdings.get((one.model, one.day), {}), CASH: _money(one.cash_cents)}


def _daily_pnl(one: Portfolio) -> dict[str, float | None]:
    gain = _return(one)
    return {
        "profit": _money(one.profit_cents),
        "return_pct": None if gain is None else round(gain * 100, DIGITS),
        "portfolio_value": _money(one.value_cents),
    }


def _reasons(one: Portfolio, more: _Full) -> dict[str, Any]:
    key = (one.model, one.day)
    reasoning = {
        "total_steps": one.total_steps,
        "stop_signal_received": one.stop_signal_received,
        "reasoning_summary": one.reasoning_summary,
        "tool_usage": dict(more.tool_usage.get(key, {})),
    }
    made = [_trade(one, trade) for trade in more.trades.get(key, [])]
    return {"trades": made, "ai_reasoning": reasoning, "log_file_path": one.log_file_path}


def _trade(one: Portfolio, trade: Trade) -> dict[str, Any]:
    return {
        "id": f"{one.model}-{one.day}-{trade.sequence}",
        "action": trade.action,
        "symbol": trade.symbol,
        "amount": trade.amount,
        "price": trade.price_micros / MICROS,
        "costs": _money(trade.costs_cents),
        "total": _money(trade.total_cents),
    }


def _return(one: Portfolio) -> float | None:
    """The day's return as a decimal; None where there was nothing left to lose (short sales can do that)."""
    before = one.value_cents - one.profit_cents
    return one.profit_cents / before if before > 0 else None


def _money(cents: int) -> float:
    return cents / 100


def _range(start: date, end: date) -> dict[str, str]:
    return {"start_date": start.isoformat(), "end_date": end.isoformat()}


def _wording(query: ResultsQuery) -> str:
    by = "" if query.model is None else f" by {query.model}"
    of = "" if query.job_id is None else f" in the job {query.job_id}"
    if query.start_date is None:
        return f"{by}{of}".strip()
    days = f"from {query.start_date} to {query.end_date}" if query.is_range else f"on {query.start_date}"
    return f"{days}{by}{of}"
