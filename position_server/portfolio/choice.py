"""Which symbols a night processes, and what it names instead of processing it. Pure: no store, no clock.

An instrument that the store knows is routed by its kind; only a symbol of the universe that it does not know is judged
by its text. PRIVATE positions are never looked up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from position_server.portfolio.records.prices import Terms
from position_server.settings import PortfolioSettings
from position_server.symbols import OptionSymbol, SymbolKind, kind_of

CURRENCY = "USD"  # of what the provider prices: a ticker of another market may be another company's here
EQUITY, OPTION = "EQUITY", "OPTION"
PRIVATE = "PRIVATE"  # the investment class that is never looked up
EXPIRED, FOREIGN, UNREADABLE = "expired", "not_in_usd", "no_symbol"  # why something is skipped, beside its kind


@dataclass(frozen=True, slots=True)
class Choice:
    """The symbols of a night. Options are by their names in the store, with their OCC symbols.

    `priced_only` are the other equities of the store: their closes come with the same call, and keep their histories
    whole. `added` are the rows of instruments that the store does not know, to be inserted once the source does.
    `skipped` says why: names by kind, or by one of the words above.
    """

    equities: tuple[str, ...]
    factors: tuple[str, ...]
    priced_only: tuple[str, ...]
    options: Mapping[str, OptionSymbol]
    added: Mapping[str, Mapping[str, object]]
    skipped: Mapping[str, tuple[str, ...]]

    @property
    def stocks(self) -> tuple[str, ...]:
        """Everything that a bar of the stock market prices."""
        return tuple(sorted({*self.equities, *self.factors, *self.priced_only}))

    @property
    def needed(self) -> tuple[str, ...]:
        """Everything whose missing price is a gap."""
        return tuple(sorted({*self.equities, *self.factors, *self.options}))


def configured_names(settings: PortfolioSettings) -> set[str]:
    """The names in the store of the universe and the factors."""
    return {*map(store_name, settings.universe), *settings.factor_symbols.values()}


def choose(
    held: Iterable[tuple[Terms, str]],
    known: Mapping[str, Terms],
    listed: Iterable[str],
    settings: PortfolioSettings,
    day: date,
) -> Choice:
    """The choice for `day`: from what the books hold, what the store knows of the configured names, and its equities.

    `listed` are the equities of the store in CURRENCY.
    """
    chosen = _Chosen(day)
    for terms, investment_class in held:
        if investment_class == PRIVATE:
            chosen.skip(PRIVATE, terms.instrument)
        else:
            chosen.take(terms)
    for name in map(store_name, settings.universe):
        if name in known:
            chosen.take(known[name])
        else:
            chosen.take_new(name)
    for name in settings.factor_symbols.values():
        if name not in known:
            chosen.added[name] = _equity(name)
    return chosen.choice(set(settings.factor_symbols.values()), set(listed))


def store_name(symbol: str) -> str:
    """The name in the store of a symbol: options are named without prefix and padding."""
    try:
        return OptionSymbol.parse(symbol).compact
    except ValueError:
        return symbol


def new_instrument(symbol: str) -> dict[str, object]:
    """The row of an instrument that the store does not know, from its symbol alone. Raises ValueError for no symbol."""
    kind = kind_of(symbol)
    if kind is SymbolKind.OPTION:
        return _option(OptionSymbol.parse(symbol))
    if kind is SymbolKind.EQUITY:
        return _equity(symbol)
    raise ValueError(f"{symbol!r} is neither an equity nor an OCC option symbol")


class _Chosen:
    """The choice as it grows."""

    def __init__(self, day: date) -> None:
        self._day = day
        self._equities: set[str] = set()
        self._options: dict[str, OptionSymbol] = {}
        self._skipped: defaultdict[str, set[str]] = defaultdict(set)
        self.added: dict[str, Mapping[str, object]] = {}

    def skip(self, why: str, name: str) -> None:
        """Names it."""
        self._skipped[why].add(name)

    def take(self, terms: Terms) -> None:
        """Routes an instrument of the store by its kind."""
        if terms.kind not in (EQUITY, OPTION):
            self.skip(terms.kind, terms.instrument)
        elif terms.currency != CURRENCY:
            self.skip(FOREIGN, terms.instrument)
        elif terms.kind == EQUITY:
            self._equities.add(terms.instrument)
        else:
            self._take_option(terms.instrument)

    def take_new(self, symbol: str) -> None:
        """Routes a symbol that the store does not know by its text."""
        try:
            row = new_instrument(symbol)
        except ValueError:
            self.skip(UNREADABLE, symbol)
            return
        if row["kind"] == EQUITY:
            self._equities.add(symbol)
        elif not self._take_option(symbol):
            return
        self.added[symbol] = row

    def choice(self, factors: set[str], listed: set[str]) -> Choice:
        """All that was taken."""
        looked_up = {*self._equities, *self._options}  # held by one book as PRIVATE, by another one not
        skipped = {why: tuple(sorted(names - looked_up)) for why, names in sorted(self._skipped.items())}
        return Choice(
            equities=tuple(sorted(self._equities)),
            factors=tuple(sorted(factors)),
            priced_only=tuple(sorted(listed - self._equities - factors - self._skipped[PRIVATE])),
            options=dict(sorted(self._options.items())),
            added=self.added,
            skipped={why: names for why, names in skipped.items() if names},
        )

    def _take_option(self, name: str) -> bool:
        try:
            symbol = OptionSymbol.parse(name)
        except ValueError:
            self.skip(UNREADABLE, name)
            return False
        if symbol.expiry < self._day:
            self.skip(EXPIRED, name)
            return False
        self._options[name] = symbol
        return True


def _equity(symbol: str) -> dict[str, object]:
    return {"instrument": symbol, "kind": EQUITY, "currency": CURRENCY, "multiplier": 1.0}


def _option(symbol: OptionSymbol) -> dict[str, object]:
    if symbol.multiplier is None:
        raise ValueError(f"{symbol.compact} is an adjusted option: what it delivers has to be loaded")
    return {
        "instrument": symbol.compact,
        "kind": OPTION,
        "currency": CURRENCY,
        "multiplier": symbol.multiplier,
        "expiry": symbol.expiry,
        "underlying": symbol.underlying,
        "option_right": symbol.right,
        "strike": symbol.strike,
    }
