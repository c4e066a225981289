"""MarketTime: which day's closes, curves, rates and quotes a time_of_day asks for.

Pure: no clock and no store. What "now" is, is the business date it is given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from position_server.business_days import Calendar

TimeOfDay = Literal["SOD", "EOD", "LIVE"]


@dataclass(frozen=True, slots=True)
class MarketTime:
    """A market snapshot: `time_of_day` of `env_date`, seen on `business_date` by the desk's `calendar`."""

    env_date: date
    time_of_day: TimeOfDay
    business_date: date
    calendar: Calendar

    @property
    def previous_business_day(self) -> date:
        """The last business day before env_date."""
        return self.calendar.previous(self.env_date)

    @property
    def close_date(self) -> date:
        """The day whose closes, curve and FX rates are asked for: the previous business day at SOD, else env_date."""
        return self.previous_business_day if self.time_of_day == "SOD" else self.env_date

    @property
    def takes_quotes(self) -> bool:
        """Whether quotes come before closes."""
        return self.time_of_day == "LIVE"

    @property
    def is_now(self) -> bool:
        """Whether env_date is the business date, so that LIVE means the newest quote known."""
        return self.env_date == self.business_date

    def previous_close(self) -> MarketTime:
        """The EOD of the previous business day: what daily P&L compares with."""
        return replace(self, env_date=self.previous_business_day, time_of_day="EOD")
