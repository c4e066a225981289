"""Factor fits and exposures of equities, by day. A fit without betas says in its flags why it has none."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, bindparam, delete, select

from position_server.portfolio.records.prices import among
from position_server.store.load.kinds import Kind
from position_server.store.load.upsert import upsert
from position_server.store.load.validation import Batch, Cells
from position_server.store.tables import factor_exposures, factor_fits

FITS = Kind(factor_fits, ())
EXPOSURES = Kind(factor_exposures, (), states_whole=("instrument", "exposure_date"))


@dataclass(frozen=True, slots=True)
class Fit:
    """One equity's exposures on a day: betas by factor, empty where nothing could be fitted."""

    instrument: str
    betas: Mapping[str, float]
    r_squared: float | None
    market_beta: float | None
    observations: int
    flags: tuple[str, ...]


def fits(connection: Connection, day: date, names: Collection[str]) -> dict[str, Fit]:
    """The fits of `day`, of those instruments that have one."""
    betas: dict[str, dict[str, float]] = {}
    exposures = factor_exposures.c
    query = select(exposures.instrument, exposures.factor, exposures.beta).where(exposures.exposure_date == day)
    ordered = query.order_by(exposures.instrument, exposures.factor)
    for instrument, factor, beta in among(connection, ordered, exposures.instrument, names):
        betas.setdefault(instrument, {})[factor] = beta
    c = factor_fits.c
    found = select(c.instrument, c.r_squared, c.market_beta, c.observations, c.flags).where(c.fit_date == day)
    rows = among(connection, found.order_by(c.instrument), c.instrument, names)
    return {
        name: Fit(name, betas.get(name, {}), r_squared, market_beta, observations, tuple(json.loads(flags)))
        for name, r_squared, market_beta, observations, flags in rows
    }


def missing(connection: Connection, day: date, names: Collection[str]) -> list[str]:
    """Those of `names` for which `day` has no fit, not even one without betas."""
    query = select(factor_fits.c.instrument).where(factor_fits.c.fit_date == day)
    return sorted(set(names) - {row[0] for row in among(connection, query, factor_fits.c.instrument, names)})


def write(connection: Connection, day: date, found: Iterable[Fit]) -> tuple[int, int]:
    """Writes fits of `day` over those that are there; returns how many rows were new and how many changed."""
    rows = sorted(found, key=lambda fit: fit.instrument)
    if not rows:
        return 0, 0
    of_fits = upsert(connection, FITS, _fit_rows(day, rows))
    bare = [fit.instrument for fit in rows if not fit.betas]
    _forget_bare(connection, day, bare)
    if len(bare) == len(rows):
        return of_fits.inserted, of_fits.updated
    of_betas = upsert(connection, EXPOSURES, _exposure_rows(day, rows))
    return of_fits.inserted + of_betas.inserted, of_fits.updated + of_betas.updated


def _forget_bare(connection: Connection, day: date, names: list[str]) -> None:
    """Removes what exposures there were of fits that have none any more."""
    exposures = factor_exposures.c
    query = delete(factor_exposures).where(exposures.exposure_date == day, exposures.instrument == bindparam("bare"))
    if names:
        connection.execute(query, [{"bare": name} for name in names])


def _fit_rows(day: date, rows: list[Fit]) -> Batch:
    columns: dict[str, Cells] = {
        "instrument": [fit.instrument for fit in rows],
        "fit_date": [day] * len(rows),
        "r_squared": [fit.r_squared for fit in rows],
        "observations": [fit.observations for fit in rows],
        "market_beta": [fit.market_beta for fit in rows],
        "flags": [json.dumps(list(fit.flags)) for fit in rows],
    }
    return Batch(columns, len(rows))


def _exposure_rows(day: date, rows: list[Fit]) -> Batch:
    cells = [(fit.instrument, factor, beta) for fit in rows for factor, beta in sorted(fit.betas.items())]
    columns: dict[str, Cells] = {
        "instrument": [instrument for instrument, _, _ in cells],
        "exposure_date": [day] * len(cells),
        "factor": [factor for _, factor, _ in cells],
        "beta": [beta for _, _, beta in cells],
    }
    return Batch(columns, len(cells))
