"""What crosses between the serving process and the workers: the only types that both sides know.

Plain frozen data that pickles small and fast; no behaviour, and nothing that a worker would have to import numpy for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from position_server.params import BaseParams


@dataclass(frozen=True, slots=True)
class SectionInfo:
    """A section as the serving process knows it: its name and the parameters that a POST may give."""

    name: str
    description: str
    params: Mapping[str, Mapping[str, Any]]  # parameter name -> JSON schema with its description


@dataclass(frozen=True, slots=True)
class SectionCall:
    """One computation asked of a worker. `business_date` is the server's: a worker has no idea of today."""

    section: str
    base: BaseParams
    business_date: date
    section_params: Mapping[str, Any] | None = None  # None: a GET or a warm-up


@dataclass(frozen=True, slots=True)
class SectionOutcome:
    """What one computation of a section came to.

    `data` is encoded JSON, None where the computation failed; then `error_stack` is the traceback and `error_line` its
    last line, and `refused` says that a value of the POST is to blame, not the section. `deflated` are the same bytes
    as deflate blocks that end on a byte boundary, none of them the last (empty where it was not worth it), and `crc` is
    the CRC-32 of the data. The dates are ISO text and say how old the inputs were.
    """

    section: str
    computed_at: datetime
    duration_ms: int
    data: bytes | memoryview | None
    error_line: str = ""
    error_stack: str = ""
    refused: bool = False
    market_data_as_of: str | None = None
    positions_as_of: str | None = None
    oldest_price_date: str | None = None
    symbols: frozenset[str] = frozenset()
    deflated: bytes | memoryview = b""
    crc: int = 0

    @property
    def failed(self) -> bool:
        """Whether there is no data."""
        return self.data is None
