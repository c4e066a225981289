"""Factor exposures of equities: closes of the window out of the store, fits, fits into the store.

For batches and workers: it imports numpy. `records.factors` reads what is there already. Nothing is fetched here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from position_server.analytics.factors import FLAGS, FactorFits, fit_factors
from position_server.analytics.returns import DailyReturns, daily_returns
from position_server.business_days import Calendar
from position_server.portfolio.records import factors, prices
from position_server.portfolio.records.factors import Fit
from position_server.settings import PortfolioSettings
from position_server.store.engine import Store

DIGITS = 12  # decimals that are kept: the last bits depend on which symbols are solved for together


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Closes (days, symbols) of a window of business days; NaN where there is none."""

    days: Sequence[date]
    symbols: tuple[str, ...]
    closes: npt.NDArray[np.float64]

    def digest(self) -> str:
        """SHA-256 of all of it: equal for equal closes."""
        named = hashlib.sha256(repr((self.days[0], self.days[-1], self.symbols)).encode())
        named.update(np.ascontiguousarray(self.closes).tobytes())
        return named.hexdigest()


def window(day: date, settings: PortfolioSettings, calendar: Calendar) -> list[date]:
    """The business days whose closes the fits of `day` use: one more than there are returns."""
    return calendar.between(calendar.shift(day, -settings.factor_window_days), day)


def read_panel(
    connection: Connection, day: date, names: Collection[str], settings: PortfolioSettings, calendar: Calendar
) -> Panel:
    """The closes of the instruments `names` and of the factors' symbols."""
    days = window(day, settings, calendar)
    symbols = tuple(sorted({*names, *settings.factor_symbols.values()}))
    row_of = {on: row for row, on in enumerate(days)}
    column_of = {name: column for column, name in enumerate(symbols)}
    closes = np.full((len(days), len(symbols)), np.nan)
    for name, on, close in prices.window(connection, symbols, days[0], days[-1]):
        if on in row_of:
            closes[row_of[on], column_of[name]] = close
    return Panel(days, symbols, closes)


def fits_of(panel: Panel, names: Collection[str], settings: PortfolioSettings) -> list[Fit]:
    """The fits of `names` on the last day of the panel, by name."""
    wanted = sorted(names)
    returns = daily_returns(panel.closes)
    place = {name: column for column, name in enumerate(panel.symbols)}
    columns = [place[name] for name in wanted]
    of_factors = returns.values[:, [place[symbol] for symbol in settings.factor_symbols.values()]]
    market = list(settings.factor_symbols).index(settings.market_factor)
    found = fit_factors(DailyReturns(returns.values[:, columns], returns.jumped[:, columns]), of_factors, market)
    return [_fit(name, row, found, list(settings.factor_symbols)) for row, name in enumerate(wanted)]


def compute_fits(
    connection: Connection, day: date, names: Collection[str], settings: PortfolioSettings, calendar: Calendar
) -> dict[str, Fit]:
    """The fits of the instruments `names` on `day`, from the closes that the store has."""
    panel = read_panel(connection, day, names, settings, calendar)
    return {fit.instrument: fit for fit in fits_of(panel, names, settings)}


def keep_missing(
    store: Store,
    day: date,
    names: Collection[str],
    settings: PortfolioSettings,
    calendar: Calendar,
    check: Callable[[Connection], None] = lambda _: None,
) -> list[str]:
    """Computes and writes the fits of `day` that are missing; returns whose. `check` begins the transaction."""
    with store.read() as connection:
        absent = factors.missing(connection, day, names)
        found = compute_fits(connection, day, absent, settings, calendar) if absent else {}
    if found:
        with store.write() as connection:
            check(connection)
            still = factors.missing(connection, day, absent)  # another process may have written some meanwhile
            factors.write(connection, day, [found[name] for name in still])
    return absent


def _fit(name: str, row: int, found: FactorFits, factor_names: Sequence[str]) -> Fit:
    flags = tuple(flag for flag in FLAGS if found.flags[flag][row])
    betas = {factor: round(float(beta), DIGITS) for factor, beta in zip(factor_names, found.betas[row], strict=True)}
    return Fit(
        instrument=name,
        betas={} if any(map(math.isnan, betas.values())) else betas,
        r_squared=_known(found.r_squared[row]),
        market_beta=_known(found.market_beta[row]),
        observations=int(found.observations[row]),
        flags=flags,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), DIGITS)
