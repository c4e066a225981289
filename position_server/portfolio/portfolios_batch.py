"""`batch portfolios`: waits for the symbols of its date, then takes one snapshot of every book. One run per date.

It never works from half a night. It waits a while for symbols being onboarded, computes what fits are missing itself,
and has all books valued before it writes any. Its last transaction looks once more whether the positions are the ones
that were valued, and whether the symbols run that it has waited for is still the one that counts; where they are not,
it starts over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from position_server.errors import BatchStopped, SnapshotFailed
from position_server.portfolio import onboarding
from position_server.portfolio.choice import CURRENCY, EQUITY
from position_server.portfolio.coordination import Run
from position_server.portfolio.factors import keep_missing
from position_server.portfolio.night import Night
from position_server.portfolio.records import runs
from position_server.portfolio.records import snapshots as records
from position_server.portfolio.records.prices import RECENT
from position_server.portfolio.records.runs import PORTFOLIO_REFRESH, SYMBOL_BATCH, BatchRun
from position_server.portfolio.records.snapshots import HeldPosition
from position_server.portfolio.snapshots import Answers, PositionsChanged, Taken, Valuer, by_book, open_valuer, take


def run_portfolios(night: Night) -> BatchRun:
    """Runs the batch, or waits for the process that does; returns the completed run.

    Raises BatchAborted where the symbols run of the date failed or did not complete in time, SnapshotFailed,
    BatchStopped, RunSuperseded, StoreUnavailable: a run that was begun is then recorded as failed.
    """
    run = night.coordinator.begin(PORTFOLIO_REFRESH, night.day, night.stop)
    if isinstance(run, BatchRun):
        return run
    with run:
        while True:
            symbols = night.coordinator.wait_for(SYMBOL_BATCH, night.day, night.stop)
            done = _refresh(night, run, symbols)
            if done is not None:
                return done
            night.progress.say(f"symbols or positions of {night.day} have changed meanwhile: starting over")


def _refresh(night: Night, run: Run, symbols: BatchRun) -> BatchRun | None:
    """Works on the books and completes the run; None where what it worked from is out of date."""
    night.progress.begin("onboarding", 0)
    still = onboarding.wait_for_held(night, _held(night))
    held = _held(night)
    fitted = _fit_missing(night, run, held)
    try:
        taken, told = _snapshots(night, held)
    except PositionsChanged:
        if _held(night) == held:
            raise SnapshotFailed(f"the sections of {night.day} show other positions than the store has") from None
        return None
    counts = _counts(taken, fitted, still) | {"symbols_run": symbols.run_id}
    with night.store.write() as connection:
        run.check(connection)
        current = runs.current(connection, SYMBOL_BATCH, night.day)
        if current is None or current.run_id != symbols.run_id or records.held_on(connection, night.day) != held:
            return None
        near = records.books_with_positions(connection, night.day - RECENT, night.day)
        counts["books_without_positions"] = sorted(near - {one.book for one in held})
        records.write(connection, night.day, taken)
        return run.complete(connection, input_hash=_hash(symbols, told), counts=counts)


def _held(night: Night) -> list[HeldPosition]:
    with night.store.read() as connection:
        return records.held_on(connection, night.day)


def _fit_missing(night: Night, run: Run, held: Sequence[HeldPosition]) -> list[str]:
    """Computes the fits that PUBLIC equities of the books still lack; returns whose."""
    names = {
        one.instrument
        for one in held
        if one.kind == EQUITY and one.investment_class == "PUBLIC" and one.currency == CURRENCY
    }
    fitted = keep_missing(night.store, night.day, names, night.settings.portfolio, night.calendar, run.check)
    night.progress.begin("missing factors", len(fitted))
    night.progress.advance(len(fitted))
    return fitted


def _snapshots(night: Night, held: Sequence[HeldPosition]) -> tuple[list[Taken], list[Answers]]:
    """Every book's snapshot, and what the sections said. Raises PositionsChanged, SnapshotFailed."""
    books = by_book(held)
    night.progress.begin("snapshots", len(books))
    taken: list[Taken] = []
    told: list[Answers] = []
    if books:
        with open_valuer(night.settings) as valuer:
            for book, rows in books.items():
                answers = _answers(night, valuer, book, rows)
                taken.append(take(book, night.day, night.settings.base_currency, rows, answers))
                told.append(answers)
                night.progress.advance()
    return taken, told


def _answers(night: Night, valuer: Valuer, book: str, held: Sequence[HeldPosition]) -> Answers:
    if night.stop.is_set():
        raise BatchStopped
    return valuer.answers(book, night.day, {one.kind for one in held})


def _hash(symbols: BatchRun, told: Sequence[Answers]) -> str:
    """SHA-256 of what the snapshots were made from."""
    whole = json.dumps([symbols.input_hash, told], sort_keys=True)
    return hashlib.sha256(whole.encode()).hexdigest()


def _counts(taken: Sequence[Taken], fitted: Sequence[str], still: Sequence[str]) -> dict[str, Any]:
    warnings: Mapping[str, str] = {
        snapshot.book: "; ".join(snapshot.warnings) for snapshot, _ in taken if snapshot.warnings
    }
    return {
        "books": len(taken),
        "positions": sum(snapshot.position_count for snapshot, _ in taken),
        "priced": sum(snapshot.priced_count for snapshot, _ in taken),
        "total_value": {snapshot.book: snapshot.total_value for snapshot, _ in taken},
        "fits_computed": list(fitted),
        "still_onboarding": list(still),
        "warnings": warnings,
    }
