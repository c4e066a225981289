"""Exchange rates at a MarketTime: US dollars for one unit of each currency, and the day of each rate.

The rule: of each pair the newest rate on or before the day asked for (the previous business day at SOD, else env_date).
LIVE prefers a quote of the pair: on a past date the last one of env_date, on the business date the newest known, unless
the rate is of a later day than the quote. Every rate goes through the dollar: EURUSD is used as it is, USDJPY inverted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import and_, func, or_, select, true

from position_server.store.columns import ColumnReader
from position_server.store.snapshot.market_time import MarketTime
from position_server.store.snapshot.pricing import is_priced, quote_columns, quote_prices
from position_server.store.tables import fx, instruments, quotes

DOLLAR = "USD"


class DollarRate(NamedTuple):
    """One observation; of one currency the greatest counts: the later day, then a quote, then the direct pair."""

    rate_date: date
    is_quote: bool
    is_direct: bool
    rate: float


DollarRates = Mapping[str, DollarRate]  # by currency


@dataclass(frozen=True, slots=True)
class FxRates:
    """US dollars for one unit of each currency, and the day each rate is of. The dollar itself is not listed."""

    usd_per_unit: Mapping[str, float]
    dates: Mapping[str, date]

    def rate(self, from_currency: str | None, to_currency: str | None) -> float:
        """Units of `to_currency` for one unit of `from_currency`; NaN where either is unknown."""
        if from_currency is None or to_currency is None:
            return math.nan
        if from_currency == to_currency:
            return 1.0
        return self._in_dollars(from_currency) / self._in_dollars(to_currency)

    def rates(self, from_currencies: Iterable[str | None], to_currency: str) -> npt.NDArray[np.float64]:
        """`rate` of each of `from_currencies`, one value each."""
        wanted = from_currencies.tolist() if isinstance(from_currencies, np.ndarray) else list(from_currencies)
        known = {currency: self.rate(currency, to_currency) for currency in set(wanted)}
        return np.fromiter(map(known.__getitem__, wanted), np.float64, len(wanted))

    def rate_date(self, from_currency: str, to_currency: str) -> date | None:
        """The day of the older of the rates that `rate` uses; None where it uses none or one is unknown."""
        if from_currency == to_currency:
            return None
        used = [self.dates.get(currency) for currency in (from_currency, to_currency) if currency != DOLLAR]
        known = [day for day in used if day is not None]
        return min(known) if len(known) == len(used) else None

    def _in_dollars(self, currency: str) -> float:
        return 1.0 if currency == DOLLAR else self.usd_per_unit.get(currency, math.nan)


def fx_rates(reader: ColumnReader, market_time: MarketTime) -> FxRates:
    """The exchange rates at `market_time`. Raises StoreUnavailable."""
    fixed = fixed_rates(reader, market_time.close_date)
    return newest_rates(fixed, quoted_rates(reader, market_time)) if market_time.takes_quotes else newest_rates(fixed)


def fixed_rates(reader: ColumnReader, asked: date) -> DollarRates:
    """What the newest rate of each pair on or before `asked` says. Reads fx. Raises StoreUnavailable."""
    return _greatest(
        observed
        for pair, day, rate in _fixings(reader, asked)
        for observed in _dollar_rate(pair[:3], pair[3:], day, rate, is_quote=False)
    )


def quoted_rates(reader: ColumnReader, market_time: MarketTime) -> DollarRates:
    """What the quotes say that LIVE prefers. Reads quotes and instruments. Raises StoreUnavailable."""
    return _greatest(
        observed
        for base, currency, day, rate in _quotes(reader, market_time)
        for observed in _dollar_rate(base, currency, min(day, market_time.env_date), rate, is_quote=True)
    )


def newest_rates(*known: DollarRates) -> FxRates:
    """Of each currency the rate that counts."""
    best = _greatest(observed for rates in known for observed in rates.items())
    return FxRates(
        {currency: observed.rate for currency, observed in sorted(best.items())},
        {currency: observed.rate_date for currency, observed in sorted(best.items())},
    )


def _greatest(observations: Iterable[tuple[str, DollarRate]]) -> DollarRates:
    best: dict[str, DollarRate] = {}
    for currency, observed in observations:
        if currency not in best or observed > best[currency]:
            best[currency] = observed
    return best


def _dollar_rate(
    base: str, currency: str, day: date, rate: float, *, is_quote: bool
) -> Iterator[tuple[str, DollarRate]]:
    """`rate` units of `currency` for one of `base` as dollars per unit of the leg that is not the dollar."""
    if not rate > 0 or base == currency:
        return
    if currency == DOLLAR:
        yield base, DollarRate(day, is_quote, True, rate)
    elif base == DOLLAR:
        yield currency, DollarRate(day, is_quote, False, 1 / rate)


def _fixings(reader: ColumnReader, asked: date) -> Iterator[tuple[str, date, float]]:
    """(pair, day, rate) of the newest rate of each pair on or before `asked`."""
    newest = (
        select(fx.c.pair, func.max(fx.c.fx_date).label("fx_date"))
        .where(fx.c.fx_date <= asked)
        .group_by(fx.c.pair)
        .subquery("newest")
    )
    found = reader.read(
        select(fx.c.pair, fx.c.fx_date, fx.c.rate).join(
            newest, and_(fx.c.pair == newest.c.pair, fx.c.fx_date == newest.c.fx_date)
        )
    )
    return zip(found["pair"].tolist(), found["fx_date"].tolist(), found["rate"].tolist(), strict=True)


def _quotes(reader: ColumnReader, market_time: MarketTime) -> Iterator[tuple[str, str, date, float]]:
    """(base, currency, day, price) of the last quote of each spot pair against the dollar."""
    of_day = true() if market_time.is_now else quotes.c.quote_date == market_time.env_date
    newest = (
        select(quotes.c.instrument, func.max(quotes.c.quote_date).label("quote_date"))
        .join(instruments, instruments.c.instrument == quotes.c.instrument)
        .where(instruments.c.kind == "SPOT", is_priced(), of_day)
        .where(or_(instruments.c.base_currency == DOLLAR, instruments.c.currency == DOLLAR))
        .group_by(quotes.c.instrument)
        .subquery("newest")
    )
    same = and_(quotes.c.instrument == newest.c.instrument, quotes.c.quote_date == newest.c.quote_date)
    found = reader.read(
        select(instruments.c.base_currency, instruments.c.currency, *quote_columns())
        .join(instruments, instruments.c.instrument == quotes.c.instrument)
        .join(newest, same)
        .where(instruments.c.base_currency.is_not(None))
    )
    legs = (found["base_currency"].tolist(), found["currency"].tolist(), found["quote_date"].tolist())
    return zip(*legs, quote_prices(found).tolist(), strict=True)
