"""The desk as lines of the `load` files, and copies of it for measurements.

Lines are made as text, column by column, because a scaled desk has hundreds of thousands. Every file starts with the
instrument (trades with their id), so that a copy of a line is the line with `~2`, `~3`, ... behind the name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import date

from position_server.demo.books import History
from position_server.demo.desk import Instrument
from position_server.demo.quotes import Quote

COUPON_STEP_PCT, COUPON_STEPS = 0.125, 17  # a copied bond's coupon is up to 8 eighths above or below the original's
INSTRUMENT_COLUMNS = tuple(field.name for field in fields(Instrument))
POSITION_COLUMNS = ("instrument", "book", "pos_date", "quantity", "entry_price", "investment_class")
TRADE_COLUMNS = ("trade_id", "instrument", "book", "trade_date", "trade_time", "side", "quantity", "price")
CLOSE_COLUMNS = ("instrument", "close_date", "close", "open", "high", "low", "volume", "source")
QUOTE_COLUMNS = tuple(field.name for field in fields(Quote))
CURVE_COLUMNS = ("curve", "curve_date", "tenor", "rate_pct")
FX_COLUMNS = ("pair", "fx_date", "rate")
Row = tuple[object, ...]


def lines(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """The header and one line per row. No value of the demo holds a comma, a quote or a line break."""
    yield ",".join(columns)
    for row in rows:
        yield ",".join(map(_text, row))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() else repr(value)
    return value.isoformat() if isinstance(value, date) else str(value)


def copied(
    originals: Iterable[str],
    scale: int,
    *,
    names: int = 1,
    since: str = "",
    at: int = 0,
    without: frozenset[str] = frozenset(),
) -> Iterator[str]:
    """The header and the lines, then each line `scale` - 1 times more, its first `names` columns renamed.

    Not copied are lines whose column `at` is before `since` (an ISO date), and lines of the instruments `without`.
    """
    header, *kept = originals
    yield header
    yield from kept
    fields_of_lines = ((line, line.split(",", at + 1)) for line in kept)
    chosen = [line for line, found in fields_of_lines if found[at] >= since and found[0] not in without]
    parts = [line.split(",", names) for line in chosen]
    for copy in range(2, scale + 1):
        suffix = f"~{copy}"
        for *renamed, rest in parts:
            yield ",".join([name + suffix for name in renamed]) + "," + rest


def with_copies(desk: Sequence[Instrument], scale: int) -> Iterator[Instrument]:
    """The instruments and `scale` - 1 copies of each: bonds with other coupons, the rest with the same terms."""
    yield from desk
    for copy in range(2, scale + 1):
        yield from (_copy_of(row, copy) for row in desk)


def _copy_of(row: Instrument, copy: int) -> Instrument:
    name = f"{row.instrument}~{copy}"
    if row.coupon_pct is None:
        return replace(row, instrument=name)
    step = (copy * 5) % COUPON_STEPS - COUPON_STEPS // 2
    coupon = max(COUPON_STEP_PCT, row.coupon_pct + step * COUPON_STEP_PCT)
    return replace(row, instrument=name, isin=name, coupon_pct=coupon, name=f"{row.name} ({coupon:g}%)")


def instrument_rows(desk: Iterable[Instrument]) -> Iterator[Row]:
    """Rows of INSTRUMENT_COLUMNS."""
    return (tuple(getattr(row, column) for column in INSTRUMENT_COLUMNS) for row in desk)


def position_rows(history: History, classes: Mapping[str, str]) -> Iterator[Row]:
    """Rows of POSITION_COLUMNS: whole books, day by day."""
    for on, books in history.positions.items():
        for book, holdings in books.items():
            for name, holding in sorted(holdings.items()):
                yield name, book, on, holding.quantity, holding.entry_price, classes[name]


def trade_rows(history: History) -> Iterator[Row]:
    """Rows of TRADE_COLUMNS."""
    for trade in history.trades:
        at = trade.time.isoformat()
        yield trade.trade_id, trade.instrument, trade.book, trade.on, at, trade.side, trade.quantity, trade.price


def quote_rows(quotes: Iterable[Quote]) -> Iterator[Row]:
    """Rows of QUOTE_COLUMNS."""
    return (tuple(getattr(quote, column) for column in QUOTE_COLUMNS) for quote in quotes)
