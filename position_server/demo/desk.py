"""The instruments of the desk, as rows of the `instruments` load file. Terms only: no prices, no positions.

Copies for measurements (`--scale`) are made in `copies`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from position_server.business_days import Calendar
from position_server.demo import contracts
from position_server.demo.sources import Market, Treasury

OPTION_UNDERLYINGS = (
    "AAPL", "AMD", "AMZN", "AVGO", "GOOGL", "META", "MSFT", "NFLX", "NVDA", "PLTR", "QQQ", "TSLA",
)  # fmt: skip
OPTION_SHAPES = (("C", 1.05), ("P", 0.95), ("C", 1.0))  # right, and strike against the price, by expiry
STRIKES_SET_ON = date(2025, 9, 2)
STRIKE_STEPS = ((100.0, 2.5), (250.0, 5.0), (600.0, 10.0), (float("inf"), 20.0))  # up to this price, this step
ONBOARDED = "ZNEWCO"  # invented, held by EXO alone: the one instrument that never has a price
CLASS_OF_KIND = {"OPTION": "OPTIONS", "PRIVATE": "PRIVATE"}


@dataclass(frozen=True, slots=True)
class Instrument:
    """One row of the `instruments` file; empty text is null."""

    instrument: str
    kind: str
    name: str
    currency: str
    exchange: str = ""
    multiplier: float = 1.0
    tick_size: float | None = None
    root: str = ""
    expiry: date | None = None
    isin: str = ""
    coupon_pct: float | None = None
    maturity: date | None = None
    issue_date: date | None = None
    underlying: str = ""
    right: str = ""
    strike: float | None = None
    base_currency: str = ""

    @property
    def investment_class(self) -> str:
        """The class of a position in it."""
        return CLASS_OF_KIND.get(self.kind, "PUBLIC")


def instruments(market: Market, futures: Sequence[contracts.Contract], calendar: Calendar) -> list[Instrument]:
    """Every instrument of the desk, by kind and name."""
    return [
        *(_bond(bond) for bond in market.treasuries),
        *(_equity(symbol, name) for symbol, name in market.names.items()),
        Instrument(ONBOARDED, "EQUITY", "Newco Robotics (invented; no market)", "USD", "XNAS"),
        *(_future(contract) for contract in futures),
        *_options(market, calendar),
        *_private(market),
        *(_spot(pair, market) for pair in (*market.fx_pairs(), *market.coins)),
    ]


def _bond(bond: Treasury) -> Instrument:
    return Instrument(
        bond.isin,
        "BOND",
        f"UST {bond.coupon_pct:g}% {bond.maturity}",
        "USD",
        isin=bond.isin,
        coupon_pct=bond.coupon_pct,
        maturity=bond.maturity,
        issue_date=bond.issue_date,
    )


def _equity(symbol: str, name: str) -> Instrument:
    return Instrument(symbol, "EQUITY", name, "USD", "XNAS", tick_size=0.01)


def _future(contract: contracts.Contract) -> Instrument:
    root = contract.root
    return Instrument(
        contract.symbol,
        "FUTURE",
        f"{root.name} {contract.first_delivery:%b %Y}",
        "USD",
        root.exchange,
        root.multiplier,
        root.tick_size,
        root.root,
        contract.expiry,
        underlying=root.underlying,
    )


def _options(market: Market, calendar: Calendar) -> Iterator[Instrument]:
    for underlying in OPTION_UNDERLYINGS:
        price = market.bars[underlying][STRIKES_SET_ON].close
        step = next(step for limit, step in STRIKE_STEPS if price <= limit)
        for (year, month), (right, moneyness) in zip(contracts.OPTION_EXPIRIES, OPTION_SHAPES, strict=True):
            expiry = contracts.option_expiry(year, month, calendar)
            yield _option(underlying, expiry, right, round(price * moneyness / step) * step)


def _option(underlying: str, expiry: date, right: str, strike: float) -> Instrument:
    return Instrument(
        contracts.occ_symbol(underlying, expiry, right, strike),
        "OPTION",
        f"{underlying} {expiry} {strike:g} {'call' if right == 'C' else 'put'}",
        "USD",
        "OPRA",
        100.0,
        0.01,
        expiry=expiry,
        underlying=underlying,
        right=right,
        strike=strike,
    )


def _private(market: Market) -> list[Instrument]:
    terms = {mark.instrument: (mark.name, mark.currency) for mark in market.marks}
    return [Instrument(symbol, "PRIVATE", name, currency) for symbol, (name, currency) in terms.items()]


def _spot(pair: str, market: Market) -> Instrument:
    base, quote = pair[:-3], pair[-3:]
    kind = "crypto" if pair in market.coins else "currency pair"
    return Instrument(pair, "SPOT", f"{base}/{quote} {kind}", quote, base_currency=base)
