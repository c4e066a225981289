"""What a section computes from: declared as `Needs`, read in a worker, given to `compute` as `Inputs`."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from sqlalchemy import select

from position_server.business_days import Calendar
from position_server.params import BaseParams
from position_server.store import tables
from position_server.store.arrow import Columns
from position_server.store.columns import ColumnReader
from position_server.store.kept import Kept
from position_server.store.snapshot import (
    FactorBetas,
    FxRates,
    MarketTime,
    ParCurve,
    Prices,
    Valuations,
    factor_betas,
    instruments,
    par_curve,
    positions,
    trades,
    valuations,
)
from position_server.store.snapshot.currencies import DollarRates, fixed_rates, newest_rates, quoted_rates
from position_server.store.snapshot.pricing import Names, closing_prices, last_quotes, named, with_quotes

POSITIONS: tuple[tables.VersionedTable, ...] = ("instruments", "positions")  # they come with their instruments
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Needs:
    """What a section reads: positions of which kinds of instrument, and which market data.

    `instruments` asks for all instruments of a kind, held or not. `previous` asks for the previous business day's EOD
    market beside today's. `underlyings` are prices of what the positions' options are on, `valuations` values entered
    by hand, `factors` betas of the positions' instruments.
    """

    positions: str | tuple[str, ...] | None = None
    prices: bool = False
    curve: bool = False
    fx: bool = False
    trades: bool = False
    instruments: str | None = None
    previous: bool = True
    underlyings: bool = False
    valuations: bool = False
    factors: bool = False

    @property
    def read_store(self) -> bool:
        """Whether anything is read from the store."""
        return bool(self.kinds or self.prices or self.curve or self.fx or self.trades or self.instruments)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of instrument whose positions are read."""
        return (self.positions,) if isinstance(self.positions, str) else self.positions or ()


@dataclass(frozen=True, slots=True)
class Market:
    """The market at one time: par curve, FX, the bonds' settlement date, and row by row with the positions the rest."""

    time: MarketTime
    prices: Prices | None
    curve: ParCurve | None
    fx: FxRates | None
    settlement: date
    underlying_prices: Prices | None = None
    valuations: Valuations | None = None
    factors: FactorBetas | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything `compute` sees. What was not asked for in `Needs` is None or without rows."""

    base: BaseParams
    base_currency: str
    business_date: date
    now: datetime
    positions: Columns
    trades: Columns
    instruments: Columns
    market: Market
    previous: Market | None
    empty_books: tuple[str, ...]
    fetched: object = None

    @property
    def size(self) -> int:
        """How many positions there are."""
        return len(self.positions["instrument"]) if self.positions else 0

    @property
    def prices(self) -> Prices:
        """The market's prices, row by row with the positions."""
        return declared(self.market.prices, "prices=True")

    @property
    def previous_prices(self) -> Prices:
        """The prices of the previous business day's EOD, row by row with the positions."""
        return declared(self.previous_market.prices, "prices=True")

    @property
    def previous_market(self) -> Market:
        """The market of the previous business day's EOD."""
        return declared(self.previous, "previous=True")

    @property
    def fx(self) -> FxRates:
        """The market's exchange rates."""
        return declared(self.market.fx, "fx=True")


def without(inputs: Inputs, keys: npt.NDArray[np.object_], excluded: Collection[str]) -> Inputs:
    """The inputs without the positions whose key (n,) is among `excluded`."""
    if not excluded:
        return inputs
    kept = ~np.isin(keys.astype(str), list(excluded))
    held = {name: column[kept] for name, column in inputs.positions.items()}
    previous = _with_prices_of(inputs.previous, held) if inputs.previous else None
    return replace(inputs, positions=held, market=_with_prices_of(inputs.market, held), previous=previous)


def _with_prices_of(market: Market, held: Columns) -> Market:
    return replace(market, prices=market.prices.at(held["instrument"]) if market.prices else None)


def declared(value: T | None, need: str) -> T:
    """The value, or the author's mistake: the section uses what its Needs do not name."""
    if value is None:
        raise LookupError(f"the section must declare Needs({need})")
    return value


@dataclass(slots=True)
class Source:
    """Where inputs come from: the store, and the calendars that dates are counted on.

    What was read is kept until a table that it was read from changes: a run on the same tables reads nothing again.
    """

    reader: ColumnReader
    calendar: Calendar
    bond_calendar: Calendar
    base_currency: str
    _kept: Kept = field(init=False)

    def __post_init__(self) -> None:
        self._kept = Kept(self.reader)

    def read(self, needs: Needs, base: BaseParams, business_date: date, now: datetime, fetched: object) -> Inputs:
        """The inputs of one computation that starts `now`. Raises StoreUnavailable."""
        if needs.read_store:  # a section with a source of its own does not fail with the store
            self._kept.refresh()
        at = MarketTime(base.env_date, base.time_of_day, business_date, self.calendar)  # type: ignore[arg-type]
        held = self._positions(needs, base)
        return Inputs(
            base=base,
            base_currency=self.base_currency,
            business_date=business_date,
            now=now,
            positions=held,
            trades=self._trades(base) if needs.trades else {},
            instruments=self._instruments(needs.instruments) if needs.instruments else {},
            market=self._market(needs, base, at, held),
            previous=self._market(needs, base, at.previous_close(), held) if needs.previous else None,
            empty_books=self._empty_books(base) if needs.kinds or needs.trades else (),
            fetched=fetched,
        )

    def _positions(self, needs: Needs, base: BaseParams) -> Columns:
        if not needs.kinds:
            return {}
        return self._kept.get(
            ("positions", needs.kinds, base.pos_date, base.books),
            POSITIONS,
            lambda: positions(self.reader, base.pos_date, base.books, needs.kinds),
        )

    def _trades(self, base: BaseParams) -> Columns:
        return self._kept.get(
            ("trades", base.pos_date, base.env_date, base.books),
            ("instruments", "trades"),
            lambda: trades(self.reader, base.pos_date, base.env_date, base.books),
        )

    def _instruments(self, kind: str) -> Columns:
        return self._kept.get(("instruments", kind), ("instruments",), lambda: instruments(self.reader, kind))

    def _market(self, needs: Needs, base: BaseParams, at: MarketTime, held: Columns) -> Market:
        return Market(
            time=at,
            prices=self._prices(needs, base, at, held) if needs.prices else None,
            curve=self._curve(at) if needs.curve else None,
            fx=self._fx(at) if needs.fx else None,
            settlement=self.bond_calendar.next(at.env_date),
            underlying_prices=self._underlying_prices(needs, base, at, held) if needs.underlyings else None,
            valuations=self._valuations(needs, base, at, held) if needs.valuations else None,
            factors=self._factors(needs, base, at, held) if needs.factors else None,
        )

    def _curve(self, at: MarketTime) -> ParCurve | None:
        return self._kept.get(("curve", at.close_date), ("curves",), lambda: par_curve(self.reader, at))

    def _fx(self, at: MarketTime) -> FxRates:
        """The exchange rates. A new quote has the pairs' quotes read again, not the rates of the day."""
        if not at.takes_quotes:
            return self._kept.get(("fx", at), ("fx",), lambda: newest_rates(self._fixed_rates(at)))
        return self._kept.get(
            ("fx", at),
            ("fx", "instruments", "quotes"),
            lambda: newest_rates(self._fixed_rates(at), quoted_rates(self.reader, at)),
        )

    def _fixed_rates(self, at: MarketTime) -> DollarRates:
        key = ("fixed rates", at.close_date)
        return self._kept.get(key, ("fx",), lambda: fixed_rates(self.reader, at.close_date))

    def _prices(self, needs: Needs, base: BaseParams, at: MarketTime, held: Columns) -> Prices:
        return self._prices_of(held["instrument"], (needs.kinds, base.pos_date, base.books), at)

    def _underlying_prices(self, needs: Needs, base: BaseParams, at: MarketTime, held: Columns) -> Prices:
        return self._prices_of(held["underlying"], ("underlyings", needs.kinds, base.pos_date, base.books), at)

    def _prices_of(self, names: npt.NDArray[np.object_], whose: Hashable, at: MarketTime) -> Prices:
        """The prices, row by row with the names. A new quote has the quotes read again, not the closes."""
        if not at.takes_quotes:
            return self._closing_prices(at, whose, names)
        return self._kept.get(
            ("prices", at, whose),
            (*POSITIONS, "closes", "quotes"),
            lambda: with_quotes(
                self._closing_prices(at, whose, names),
                last_quotes(self.reader, _named(names), at),
                at,
            ),
        )

    def _closing_prices(self, at: MarketTime, whose: Hashable, names: npt.NDArray[np.object_]) -> Prices:
        return self._kept.get(
            ("closing prices", at.close_date, whose),
            (*POSITIONS, "closes"),
            lambda: closing_prices(self.reader, _named(names), at.close_date).at(names),
        )

    def _valuations(self, needs: Needs, base: BaseParams, at: MarketTime, held: Columns) -> Valuations:
        return self._kept.get(
            ("valuations", at.close_date, needs.kinds, base.pos_date, base.books),
            (*POSITIONS, "private_valuations"),
            lambda: valuations(self.reader, at.close_date, base.books, (held["book"], held["instrument"])),
        )

    def _factors(self, needs: Needs, base: BaseParams, at: MarketTime, held: Columns) -> FactorBetas:
        return self._kept.get(
            ("factors", at.close_date, needs.kinds, base.pos_date, base.books),
            (*POSITIONS, "factor_exposures", "factor_fits"),
            lambda: factor_betas(self.reader, at.close_date, held["instrument"]),
        )

    def _empty_books(self, base: BaseParams) -> tuple[str, ...]:
        known = self._kept.get(("books", base.pos_date), ("positions",), lambda: self._books(base.pos_date))
        return _not_among(base.books, known)

    def _books(self, pos_date: date) -> tuple[str | None, ...]:
        held = tables.positions
        return tuple(self.reader.read(select(held.c.book).where(held.c.pos_date == pos_date).distinct())["book"])


def _named(names: npt.NDArray[np.object_]) -> Names:
    """The query for these instruments; an option may lack the name of its underlying."""
    return named(name for name in names.tolist() if name is not None)


def _not_among(names: Iterable[str], known: Iterable[str | None]) -> tuple[str, ...]:
    there = set(known)
    return tuple(name for name in names if name not in there)
