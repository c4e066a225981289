"""A model's account in whole shares and whole cents, and what a trade, a cost and a split do to it.

Pure, and no float anywhere: prices are integers of millionths of the currency, so that a day can be added up to the
cent. Where something has to be rounded (a price with more than two decimals, a cost), it is once, half to even.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

MICROS = 1_000_000  # of a price, per unit of the currency
MICROS_PER_CENT = 10_000


class Refused(ValueError):
    """What a tool was asked for is not allowed; the message says why."""


@dataclass(frozen=True, slots=True)
class Holding:
    """Shares held and what they cost, in cents; both are negative for a short position."""

    quantity: int
    cost_cents: int


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade. `total_cents` is the cash that moved: amount × price, and the costs on top of a buy, off a sale."""

    sequence: int
    action: str
    symbol: str
    amount: int
    price_micros: int
    costs_cents: int
    total_cents: int


@dataclass(frozen=True, slots=True)
class Costs:
    """What trading costs: in the currency per trade and per share, and in basis points of what is traded."""

    per_trade: Decimal = Decimal(0)
    per_share: Decimal = Decimal(0)
    bps: Decimal = Decimal(0)

    def cents(self, amount: int, price_micros: int) -> int:
        """The costs of one trade, in cents."""
        traded = Decimal(amount * price_micros) / MICROS
        return round((self.per_trade + self.per_share * amount + traded * self.bps / 10_000) * 100)


class Account:
    """Cash and holdings in the course of one day. Refuses what would overdraw it."""

    def __init__(
        self,
        cash_cents: int,
        holdings: Mapping[str, Holding] | None = None,
        *,
        costs: Costs | None = None,
        allow_short: bool = False,
    ) -> None:
        self.cash_cents = cash_cents
        self.holdings = dict(holdings or {})
        self.trades: list[Trade] = []
        self._costs = costs or Costs()
        self._allow_short = allow_short

    def quantity(self, symbol: str) -> int:
        """Shares held."""
        return self.holdings[symbol].quantity if symbol in self.holdings else 0

    def split(self, symbol: str, ratio: int) -> None:
        """Each share becomes `ratio` shares; what they cost stays."""
        held = self.holdings.get(symbol)
        if held is not None:
            self.holdings[symbol] = Holding(held.quantity * ratio, held.cost_cents)

    def buy(self, symbol: str, amount: int, price_micros: int) -> Trade:
        """Buys; raises Refused where the cash does not suffice."""
        _check_amount(amount)
        costs = self._costs.cents(amount, price_micros)
        total = in_cents(amount * price_micros) + costs
        if total > self.cash_cents:
            raise Refused(f"{amount} {symbol} cost {total / 100:.2f}; there are {self.cash_cents / 100:.2f}")
        return self._book("buy", symbol, amount, price_micros, costs, total)

    def sell(self, symbol: str, amount: int, price_micros: int) -> Trade:
        """Sells; raises Refused for more than is held (unless shorts are allowed) and where costs overdraw the cash."""
        _check_amount(amount)
        if amount > self.quantity(symbol) and not self._allow_short:
            raise Refused(f"{self.quantity(symbol)} {symbol} are held; {amount} cannot be sold")
        costs = self._costs.cents(amount, price_micros)
        total = in_cents(amount * price_micros) - costs
        if self.cash_cents + total < 0:
            raise Refused(f"the costs of selling {amount} {symbol} exceed the cash")
        return self._book("sell", symbol, amount, price_micros, costs, total)

    def affordable(self, wanted: int, price_micros: int) -> int:
        """The largest amount not above `wanted` that the cash buys at this price, costs included."""
        bound = (self.cash_cents * MICROS_PER_CENT + MICROS_PER_CENT // 2) // price_micros  # half a cent is rounded off
        least, most = 0, max(0, min(wanted, bound))
        while least < most:
            amount = (least + most + 1) // 2
            if in_cents(amount * price_micros) + self._costs.cents(amount, price_micros) <= self.cash_cents:
                least = amount
            else:
                most = amount - 1
        return least

    def value_cents(self, prices_micros: Mapping[str, int]) -> int:
        """Cash and holdings at these prices; raises ValueError naming the holdings that have none."""
        missing = sorted(self.holdings.keys() - prices_micros.keys())
        if missing:
            raise ValueError(f"no price is known of {', '.join(missing)}")
        held = sum(holding.quantity * prices_micros[symbol] for symbol, holding in self.holdings.items())
        return self.cash_cents + in_cents(held)

    def _book(self, action: str, symbol: str, amount: int, price_micros: int, costs: int, total: int) -> Trade:
        sign = 1 if action == "buy" else -1
        trade = Trade(len(self.trades) + 1, action, symbol, amount, price_micros, costs, total)
        after = _after(self.holdings.get(symbol, Holding(0, 0)), sign * amount, price_micros)
        if after.quantity:
            self.holdings[symbol] = after
        else:
            self.holdings.pop(symbol, None)
        self.cash_cents -= sign * total
        self.trades.append(trade)
        return trade


def in_cents(micros: int) -> int:
    """Millionths of the currency as cents, half to even."""
    return rounded(micros, MICROS_PER_CENT)


def rounded(numerator: int, denominator: int) -> int:
    """The integer nearest to the quotient, half to even. The denominator is positive."""
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient % 2 == 1))


def total_of(trades: Iterable[Trade]) -> int:
    """What the trades do to the cash, in cents."""
    return sum(-trade.total_cents if trade.action == "buy" else trade.total_cents for trade in trades)


def _check_amount(amount: object) -> None:
    if not isinstance(amount, int) or isinstance(amount, bool) or amount < 1:
        raise Refused(f"an amount is a whole number of shares above zero, not {amount!r}")


def _after(held: Holding, change: int, price_micros: int) -> Holding:
    """A holding after `change` shares were traded: what is reduced keeps its average cost."""
    quantity = held.quantity + change
    if held.quantity * change >= 0:  # opened or added to
        return Holding(quantity, held.cost_cents + in_cents(change * price_micros))
    if quantity * held.quantity >= 0:  # reduced
        return Holding(quantity, rounded(held.cost_cents * abs(quantity), abs(held.quantity)))
    return Holding(quantity, in_cents(quantity * price_micros))  # turned round: what is left was opened now
