"""What a worker does with a section: reads its inputs, times it, catches what it raises, encodes what it returns.

The functions that compute/tasks.py names. A failure is a value: the outcome carries the traceback.
"""

from __future__ import annotations

import traceback
import zlib
from dataclasses import dataclass, field
from datetime import datetime

from position_server.business_days import Calendar
from position_server.clock import Clock, SystemClock
from position_server.errors import BadRequest
from position_server.outcomes import SectionCall, SectionInfo, SectionOutcome
from position_server.sections.base.compression import deflate
from position_server.sections.base.discovery import discover
from position_server.sections.base.encoding import encode
from position_server.sections.base.inputs import Source
from position_server.sections.base.section import Section, SectionData
from position_server.store.columns import open_reader

BOND_CALENDAR = "XSIF"  # US government bonds settle on the days that SIFMA recommends


@dataclass(slots=True)
class Workbench:
    """What one worker process keeps: the open store, and the sections once they were asked for."""

    source: Source
    clock: Clock
    sections: dict[str, Section] = field(default_factory=dict)

    def section(self, name: str) -> Section:
        """The section of that name; the first call imports them all."""
        if not self.sections:
            self.sections = discover()
        return self.sections[name]


def open_workbench(store_url: str, calendar: str, base_currency: str) -> Workbench:
    """The workbench of a new worker. The store is opened when first read: it may be down now and up later."""
    source = Source(open_reader(store_url), Calendar.named(calendar), Calendar.named(BOND_CALENDAR), base_currency)
    return Workbench(source, SystemClock())


def list_sections(workbench: Workbench) -> list[SectionInfo]:
    """Every section's name and parameters. Raises BrokenSection, naming the file."""
    workbench.sections = discover()
    return [section.info() for section in workbench.sections.values()]


def run_section(workbench: Workbench, call: SectionCall) -> SectionOutcome:
    """Computes one section. Never raises what the section raises."""
    computed_at, since = workbench.clock.now(), workbench.clock.monotonic()
    try:
        result = _compute(workbench, call, computed_at)
        data = encode(result)
    except Exception as error:  # noqa: BLE001 whatever a section raises is that section's outcome, with its traceback
        return SectionOutcome(
            section=call.section,
            computed_at=computed_at,
            duration_ms=_elapsed_ms(workbench, since),
            data=None,
            error_line=_last_line(error),
            error_stack=traceback.format_exc(),
            refused=isinstance(error, BadRequest) and call.section_params is not None,
        )
    return SectionOutcome(
        section=call.section,
        computed_at=computed_at,
        duration_ms=_elapsed_ms(workbench, since),
        data=data,
        market_data_as_of=result.market_data_as_of,
        positions_as_of=result.positions_as_of,
        oldest_price_date=result.oldest_price_date,
        symbols=result.symbols,
        deflated=deflate(data),
        crc=zlib.crc32(data),
    )


def _compute(workbench: Workbench, call: SectionCall, now: datetime) -> SectionData:
    section = workbench.section(call.section)
    params = section.read_params(call.section_params)
    fetched = section.fetch(call.base, params) if section.fetch else None
    inputs = workbench.source.read(section.needs, call.base, call.business_date, now, fetched)
    answer = section.compute(inputs, params)
    return answer if isinstance(answer, SectionData) else SectionData(notes=answer)


def _elapsed_ms(workbench: Workbench, since: float) -> int:
    return round((workbench.clock.monotonic() - since) * 1000)


def _last_line(error: Exception) -> str:
    return traceback.format_exception_only(error)[-1].strip()
