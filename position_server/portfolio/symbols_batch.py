"""`batch symbols`: the prices of a night, then factor exposures of its equities. One run per date, by `coordination`.

Its phases: which symbols; one call for all stocks; options that have no close of the date; the histories of symbols
that lack theirs; the fits. Closes are committed as they come, since each cost a call; fits and the completion of the
run in one transaction. A symbol without a price is a gap, and named; too many gaps fail the run before anything is
fitted. What is done twice changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from typing import Any, TypeVar

from position_server.analytics.factors import FLAGS
from position_server.errors import BatchStopped, TooManyGaps
from position_server.portfolio import factors
from position_server.portfolio.choice import CURRENCY, Choice, choose, configured_names
from position_server.portfolio.coordination import Run
from position_server.portfolio.factors import Panel
from position_server.portfolio.night import Night
from position_server.portfolio.prices import PriceSource, SourceError, UnknownSymbol, history_start, patiently
from position_server.portfolio.records import factors as fit_records
from position_server.portfolio.records import prices
from position_server.portfolio.records.factors import Fit
from position_server.portfolio.records.prices import Bar
from position_server.portfolio.records.runs import SYMBOL_BATCH, BatchRun
from position_server.store.load.upsert import Changes
from position_server.symbols import OptionSymbol

T = TypeVar("T")

NAMED_GAPS = 10  # in the message of a failed run
MOST_OPTION_CALLS = 25  # one each, for options that the snapshot does not show as of the date
OpenSource = Callable[[], AbstractContextManager[PriceSource]]


def run_symbols(night: Night, open_source: OpenSource) -> BatchRun:
    """Runs the batch, or waits for the process that does; returns the completed run.

    Raises TooManyGaps, BatchAborted, BatchStopped, RunSuperseded, StoreUnavailable: a run that was begun is then
    recorded as failed. The source is opened only where this process runs the batch.
    """
    run = night.coordinator.begin(SYMBOL_BATCH, night.day, night.stop)
    if isinstance(run, BatchRun):
        return run
    with run, open_source() as source:
        return _SymbolsBatch(night, source, run).process()


class _SymbolsBatch:
    """One run at work."""

    def __init__(self, night: Night, source: PriceSource, run: Run) -> None:
        self._night, self._source, self._run = night, source, run
        self._store, self._day = night.store, night.day
        self._settings = night.settings.portfolio
        self._priced: set[str] = set()  # what the source gave a price of the date for
        self._why: dict[str, str] = {}  # what it said of what it did not price
        self._warnings: list[str] = []
        self._closes_inserted = self._closes_updated = self._histories = 0
        self._seconds: dict[str, float] = {}

    def process(self) -> BatchRun:
        """All phases."""
        with self._timed("prices"):
            choice = self._choose()
            self._price_stocks(choice)
            self._price_options(choice)
        with self._timed("histories"):
            self._fetch_histories(choice)
        gaps = self._gaps(choice)
        with self._timed("factors"):
            panel, fits = self._fit(choice)
        with self._store.write() as connection:
            self._run.check(connection)
            inserted, updated = fit_records.write(connection, self._day, fits)
            options = prices.closes_on(connection, self._day, choice.options)
            counts = self._counts(choice, gaps, fits) | {"fit_rows_inserted": inserted, "fit_rows_updated": updated}
            return self._run.complete(connection, input_hash=self._hash(choice, panel, options), counts=counts)

    # --- which symbols -------------------------------------------------------------------------------------------

    def _choose(self) -> Choice:
        self._night.progress.begin("symbols", 1)
        with self._store.read() as connection:
            held = prices.held(connection, self._day)
            known = prices.known(connection, configured_names(self._settings))
            listed = prices.equities(connection, CURRENCY)
        self._night.progress.advance()
        return choose(held, known, listed, self._settings, self._day)

    # --- prices --------------------------------------------------------------------------------------------------

    def _price_stocks(self, choice: Choice) -> None:
        """One call; the bars of the stocks that are wanted are written together."""
        self._night.progress.begin("stocks", len(choice.stocks))
        try:
            found = self._ask(lambda: self._source.stock_bars(self._day, self._night.stop))
        except SourceError as error:
            self._warn(f"stocks were not priced: {error}")
            return
        self._write_bars(choice, {name: found[name] for name in choice.stocks if name in found})
        self._night.progress.advance(len(choice.stocks))

    def _price_options(self, choice: Choice) -> None:
        """A call for every 250 options that have no close of the date; a few of those it cannot price one by one."""
        with self._store.read() as connection:
            there = prices.closes_on(connection, self._day, choice.options)
        wanted = {name: symbol for name, symbol in choice.options.items() if name not in there}
        self._night.progress.begin("options", len(wanted))
        if not wanted:
            return
        symbols = list(dict.fromkeys(wanted.values()))
        try:
            answers = self._ask(lambda: self._source.option_bars(symbols, self._day, self._night.stop))
        except SourceError as error:
            self._warn(f"options were not priced: {error}")
            return
        found = {name: answers[symbol] for name, symbol in wanted.items()}
        left = [name for name, bar in found.items() if isinstance(bar, SourceError)]
        for name in left[:MOST_OPTION_CALLS]:
            found[name] = self._bar_of_history(choice.options[name]) or found[name]
        self._write_bars(choice, found)
        self._night.progress.advance(len(wanted))

    def _bar_of_history(self, option: OptionSymbol) -> Bar | None:
        """The option's bar of the date; None where its history has none."""
        try:
            bars = self._ask(lambda: self._source.history(option, self._day, self._day, self._night.stop))
        except SourceError:
            return None
        return bars[-1]

    def _write_bars(self, choice: Choice, found: Mapping[str, Bar | SourceError]) -> None:
        """Writes bars of the date, with the instruments that the store does not know yet."""
        bars = {name: bar for name, bar in found.items() if not isinstance(bar, SourceError)}
        self._why |= {name: str(bar) for name, bar in found.items() if isinstance(bar, SourceError)}
        self._priced |= bars.keys()
        if bars:
            with self._store.write() as connection:
                self._run.check(connection)
                for name in sorted(bars.keys() & choice.added.keys()):
                    prices.add_instrument(connection, choice.added[name])
                self._count(prices.write_day(connection, bars))

    def _fetch_histories(self, choice: Choice) -> None:
        """One call for each stock that the source prices and whose history was never fetched."""
        first = history_start(self._day, self._settings, self._night.calendar)
        wanted = self._priced & {*choice.equities, *choice.factors}
        with self._store.read() as connection:
            lacking = prices.without_history(connection, wanted, first, self._day, self._settings.factor_window_days)
        self._night.progress.begin("histories", len(lacking))
        for name in lacking:
            self._fetch_history(name, first)
            self._night.progress.advance()

    def _fetch_history(self, name: str, first: date) -> None:
        try:
            bars = self._ask(lambda: self._source.history(name, first, self._day, self._night.stop))
        except UnknownSymbol:
            bars = []
        except SourceError as error:
            self._warn(f"{name}: no history: {error}")
            return
        with self._store.write() as connection:
            self._run.check(connection)
            self._count(prices.write_history(connection, name, bars, first))
        self._histories += 1

    def _gaps(self, choice: Choice) -> dict[str, str]:
        """Why each symbol without a close of the date has none. Raises TooManyGaps."""
        with self._store.read() as connection:
            there = prices.closes_on(connection, self._day, choice.needed)
        unpriced = f"no price of {self._day}"
        gaps = {name: self._why.get(name, unpriced) for name in choice.needed if name not in there}
        if len(gaps) > self._settings.max_gap_share * len(choice.needed):
            named = [f"{name}: {why}" for name, why in list(gaps.items())[:NAMED_GAPS]]
            told = "; ".join([*self._warnings, *named, *(["..."] if len(gaps) > NAMED_GAPS else [])])
            raise TooManyGaps(f"{len(gaps)} of {len(choice.needed)} symbols have no price: {told}")
        return gaps

    # --- factors -------------------------------------------------------------------------------------------------

    def _fit(self, choice: Choice) -> tuple[Panel, list[Fit]]:
        """The fits of every equity that the store knows, and the closes that they are of."""
        self._night.progress.begin("factor exposures", len(choice.equities))
        with self._store.read() as connection:
            known = sorted(prices.known(connection, choice.equities))
            panel = factors.read_panel(connection, self._day, known, self._settings, self._night.calendar)
        fits = factors.fits_of(panel, known, self._settings)
        self._night.progress.advance(len(choice.equities))
        return panel, fits

    # --- what the run says of itself -----------------------------------------------------------------------------

    def _hash(self, choice: Choice, panel: Panel, options: Mapping[str, tuple[float, str]]) -> str:
        inputs = {
            "date": self._day.isoformat(),
            "factors": self._settings.factor_symbols,
            "market_factor": self._settings.market_factor,
            "window_days": self._settings.factor_window_days,
            "symbols": choice.needed,
            "options": options,
            "closes": panel.digest(),
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()

    def _counts(self, choice: Choice, gaps: Mapping[str, str], fits: list[Fit]) -> dict[str, Any]:
        return {
            "symbols": len(choice.needed),
            "equities": len(choice.equities),
            "factors": len(choice.factors),
            "options": len(choice.options),
            "calls": self._source.calls_made,
            "histories": self._histories,
            "closes_inserted": self._closes_inserted,
            "closes_updated": self._closes_updated,
            "fits": len(fits),
            "exposures": sum(len(fit.betas) for fit in fits),
            "gaps": gaps,
            "flags": {flag: names for flag in FLAGS if (names := [f.instrument for f in fits if flag in f.flags])},
            "skipped": choice.skipped,
            "warnings": self._warnings,
            "seconds": self._seconds,
        }

    def _ask(self, call: Callable[[], T]) -> T:
        if self._night.stop.is_set():
            raise BatchStopped
        return patiently(call, self._night.clock, self._night.stop)

    def _warn(self, line: str) -> None:
        self._warnings.append(line)
        self._night.progress.say(line)

    def _count(self, changes: Changes) -> None:
        self._closes_inserted += changes.inserted
        self._closes_updated += changes.updated

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        since = self._night.clock.monotonic()
        yield
        self._seconds[phase] = round(self._night.clock.monotonic() - since, 3)
